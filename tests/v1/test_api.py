"""The Python interface: the code of the first SDK's documents, with its imports changed and nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mlcli import Environment, Estimator, ScriptRunConfig, load_job
from mlcli.domain.errors import InvalidSpecError, MlcliError, NotFoundError
from mlcli.domain.job import CommandJob, Distribution
from tests.conftest import Mlcli
from tests.v1.conftest import ok

TRAIN = """\
import os, sys
print("got", sys.argv[1:])
print("metric: accuracy=0.9")
for step in range(3):
    print(f"metric: loss={1 / (step + 1)} step={step}")
os.makedirs("outputs", exist_ok=True)
open("outputs/my_output_file", "w").write("a model")
"""
DOCUMENTED = """\
from mlcli import Workspace, Experiment, Environment, ScriptRunConfig, ComputeTarget

ws = Workspace.from_config()
experiment_name = 'my_experiment'
experiment = Experiment(workspace=ws, name=experiment_name)

my_compute_target = ComputeTarget(workspace=ws, name='my-compute')
myenv = Environment("user-managed-env")
myenv.python.user_managed_dependencies = True

project_folder = './project'
src = ScriptRunConfig(source_directory=project_folder,
                      script='train.py',
                      arguments=['--rate', 0.1, '--name', 'a b'],
                      compute_target=my_compute_target,
                      environment=myenv,
                      max_run_duration_seconds=300)
src.run_config.target = my_compute_target
run = experiment.submit(config=src)
run.wait_for_completion(show_output=True)
run.download_file(name='outputs/my_output_file', output_file_path='my_destination_path')
details = run.get_details()
assert details['status'] == details.status == 'Completed', details
assert details['runDefinition']['limits'] == {'timeout': 300}
assert details['target'] == 'my-compute'
assert run.get_metrics() == {'accuracy': 0.9, 'loss': [1.0, 0.5, 1 / 3]}, run.get_metrics()
assert run.get_metrics('accuracy') == {'accuracy': 0.9}
assert 'user_logs/std_log.txt' in run.get_file_names()
run.tag('stage', 'final')
assert run.get_tags() == {'stage': 'final'}

src.arguments = ['--wait']
src.script = 'wait.py'
other = experiment.submit(src)
other.cancel()
other.wait_for_completion(raise_on_error=False)
assert other.get_status() == 'Canceled'
assert [one.id for one in experiment.get_runs()] == [other.id, run.id]
print('all of it')
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    project = tmp_path / "project"
    project.mkdir()
    (project / "train.py").write_text(TRAIN)
    (project / "wait.py").write_text("import time; time.sleep(60)")
    return tmp_path


def python(mlcli: Mlcli, code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        check=False,
        cwd=mlcli.cwd,
        env=mlcli.environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_documents_code_runs(mlcli: Mlcli, folder: Path) -> None:
    ok(mlcli("compute", "create", "-n", "my-compute", "--type", "amlcompute", "--max-instances", "1"))
    done = python(mlcli, DOCUMENTED)
    assert done.returncode == 0, done.stderr
    assert "got ['--rate', '0.1', '--name', 'a b']" in done.stdout
    assert (folder / "my_destination_path").read_text() == "a model"
    assert {run["experiment_name"] for run in ok(mlcli("job", "list"))} == {"my_experiment"}


def test_a_job_file_and_what_goes_wrong(mlcli: Mlcli, folder: Path) -> None:
    (folder / "job.yml").write_text("command: exit ${{inputs.code}}\nenvironment: current\ninputs: {code: 0}\n")
    ok(mlcli("folder", "attach", "-e", "mine"))
    code = """
from mlcli import Workspace, load_job
from mlcli.domain.errors import MlcliError, NotFoundError
ws = Workspace.from_config()
run = ws.submit(load_job('job.yml', overrides={'inputs.code': 3}))
try:
    run.wait_for_completion()
except MlcliError as error:
    print(error.message)
assert run.experiment_name == 'mine'
assert "exited with code 3" in run.get_details()['error']['message']
assert ws.get_run(run.id).status == 'Failed'
try:
    run.download_file('outputs/nothing')
except NotFoundError as error:
    print(error.message)
"""
    done = python(mlcli, code)
    assert done.returncode == 0, done.stderr
    assert "failed" in done.stdout
    assert "has no file 'outputs/nothing'" in done.stdout


def job(config: ScriptRunConfig) -> CommandJob:
    return config.job()


def test_estimators_of_2018(folder: Path) -> None:
    single = Estimator(
        source_directory=folder / "project",
        script_params={"--data-folder": "/data", "--regularization": 0.8, "--fast": ""},
        compute_target="cluster",
        entry_script="train.py",
        conda_packages=["scikit-learn"],
    )
    found = job(single)
    assert (found.command, found.compute) == (
        "python train.py --data-folder /data --regularization 0.8 --fast",
        "cluster",
    )
    assert found.environment.conda is not None
    assert found.environment.conda["dependencies"][1:] == ["scikit-learn"]
    many = job(
        Estimator(
            source_directory=folder / "project",
            compute_target="cluster",
            entry_script="train.py",
            node_count=2,
            process_count_per_node=1,
            distributed_backend="mpi",
            pip_packages=["cntk==2.5.1"],
            custom_docker_base_image="microsoft/mmlspark:0.12",
        )
    )
    assert (many.resources.instance_count, many.distribution) == (2, Distribution("mpi", 1))
    assert many.environment.image == "microsoft/mmlspark:0.12"
    assert many.environment.conda is not None
    assert many.environment.conda["dependencies"][-1] == {"pip": ["cntk==2.5.1"]}


def test_environments(folder: Path) -> None:
    (folder / "conda.yml").write_text("dependencies: [python=3.11]\n")
    made = Environment.from_conda_specification("mine", folder / "conda.yml")
    found = job(ScriptRunConfig(folder / "project", "train.py", environment=made)).environment
    assert found.conda == {"dependencies": ["python=3.11"]}
    alone = job(ScriptRunConfig(folder / "project", "train.py")).environment
    assert alone.conda is not None
    assert alone.conda["dependencies"][0].startswith("python=")
    here = Environment("here")
    here.python.user_managed_dependencies = True
    here.python.interpreter_path = "/opt/python"
    assert (
        job(ScriptRunConfig(folder / "project", "train.py", environment=here)).environment.interpreter == "/opt/python"
    )


def test_mistakes_are_told(folder: Path) -> None:
    with pytest.raises(InvalidSpecError) as caught:
        job(ScriptRunConfig(folder / "project", "tain.py"))
    assert caught.value.diagnostics[0].message == "there is no script 'tain.py'"
    with pytest.raises(NotFoundError, match="there is no file"):
        load_job(folder / "none.yml")
    with pytest.raises(MlcliError, match="is no distributed backend"):
        job(Estimator(folder / "project", entry_script="train.py", distributed_backend="smoke"))


def test_importing_the_package_costs_nothing() -> None:
    code = "import sys; before = set(sys.modules); import mlcli; print(sorted(set(sys.modules) - before))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found.strip() in {"['mlcli']", "['__future__', 'mlcli']"}
    with pytest.raises(ImportError):
        from mlcli import nothing_of_the_kind  # type: ignore[attr-defined]  # noqa: F401
