"""The Python interface: the code of the first SDK's documents, with its imports changed and nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mlcli import CondaDependencies, Environment, Estimator, RunConfiguration, ScriptRunConfig, load_job
from mlcli.api.jobs import Distributed
from mlcli.domain.errors import InvalidSpecError, MlcliError, NotFoundError, UsageError
from mlcli.domain.job import CommandJob, Distribution
from mlcli.runconfig import DEFAULT_CPU_IMAGE, MpiConfiguration, PyTorchConfiguration, TensorflowConfiguration
from tests.conftest import Mlcli
from tests.engines.sshd import SshHost
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
import sys
from mlcli import Workspace, Experiment, Environment, ScriptRunConfig, ComputeTarget

ws = Workspace.from_config()
experiment_name = 'my_experiment'
experiment = Experiment(workspace=ws, name=experiment_name)

my_compute_target = ComputeTarget(workspace=ws, name='my-compute')
assert Environment.get(workspace=ws, name="AzureML-Minimal").reference == "azureml:AzureML-Minimal@latest"
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

myenv.python.interpreter_path = sys.executable
src.script = 'log.py'
logged = experiment.submit(src)
logged.wait_for_completion()
assert logged.get_metrics() == {'my metric name': [5, 4, 3, 2, 1], 'b.x': 1}, logged.get_metrics()

src.arguments = ['--wait']
src.script = 'wait.py'
other = experiment.submit(src)
other.cancel()
other.wait_for_completion(raise_on_error=False)
assert other.get_status() == 'Canceled'
assert [one.id for one in experiment.get_runs()] == [other.id, logged.id, run.id]
print('all of it')
"""

OF_2020 = """\
import os
import mlcli
from mlcli import Workspace, Experiment, ScriptRunConfig
from mlcli.runconfig import RunConfiguration
from mlcli.compute import ComputeTarget, AmlCompute
from mlcli.compute_target import ComputeTargetException

print('version:', mlcli.VERSION)
ws = Workspace.from_config()
exp = Experiment(workspace=ws, name='my_experiment')

run_local = RunConfiguration()
run_local.environment.python.user_managed_dependencies = True
os.chdir('project')
src = ScriptRunConfig(source_directory=os.getcwd(), script='train.py', run_config=run_local)
exp.submit(src).wait_for_completion(show_output=True)

try:
    cpu_cluster = ComputeTarget(workspace=ws, name='cpucluster')
except ComputeTargetException as e:
    print('Caught =', e.message)
    compute_config = AmlCompute.provisioning_configuration(vm_size='STANDARD_D2_V2', max_nodes=4)
    cpu_cluster = ComputeTarget.create(ws, 'cpucluster', compute_config)
cpu_cluster.wait_for_completion(show_output=True)
run_amlcompute = RunConfiguration()
run_amlcompute.target = cpu_cluster
run_amlcompute.environment.python.user_managed_dependencies = True
src = ScriptRunConfig(source_directory='./', script='train.py', run_config=run_amlcompute)
run = exp.submit(src)
assert run.wait_for_completion(show_output=True)['target'] == 'cpucluster'

run_temp_compute = RunConfiguration()
run_temp_compute.target = 'amlcompute'
run_temp_compute.amlcompute.vm_size = 'STANDARD_D2_V2'
run_temp_compute.environment.python.user_managed_dependencies = True
run = exp.submit(ScriptRunConfig(source_directory='./', script='train.py', run_config=run_temp_compute))
assert run.id.replace('_', '-') in ws.compute_targets
run.wait_for_completion()
assert list(ws.compute_targets) == ['cpucluster'], ws.compute_targets

src.run_config.node_count = 4
try:
    exp.submit(src)
except mlcli.domain.errors.MlcliError as e:
    print('Caught =', e.message)
"""
OF_2018 = """\
from mlcli import Estimator, Experiment, Workspace
ws = Workspace.from_config()
experiment = Experiment(ws, 'sklearn')
ds = ws.get_default_datastore()
script_params = {
    '--data-folder': ds.as_mount(),
    '--part': ds.path('iris').as_download(),
    '--regularization': 0.8
}
sk_est = Estimator(source_directory='./project',
                   script_params=script_params,
                   compute_target='local',
                   entry_script='read.py')
sk_est.run_config.environment.python.user_managed_dependencies = True
run = experiment.submit(sk_est)
run.wait_for_completion(show_output=True)
print(run.get_details().status)
"""


LOG = """\
from mlcli import Run
run, my_metric, N = Run.get_context(), [5, 4, 3, 2, 1], 3
run.log_list("my metric name", my_metric[:N])
run.log_list("my metric name", my_metric[N:])
run.log_row("b", x=1)
assert run.id != "offline"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    project = tmp_path / "project"
    project.mkdir()
    (project / "train.py").write_text(TRAIN)
    (project / "wait.py").write_text("import time; time.sleep(60)")
    (project / "log.py").write_text(LOG)
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


def test_the_code_of_2020_runs(mlcli: Mlcli, folder: Path) -> None:
    del folder
    done = python(mlcli, OF_2020)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("got []") == 2
    assert "Caught = there is no compute named 'cpucluster'" in done.stdout
    assert "cpucluster: Succeeded" in done.stdout
    assert "Caught = the job asks for 4 instances" in done.stdout


def test_data_of_a_datastore_is_an_argument(mlcli: Mlcli, folder: Path) -> None:
    code = (
        "import os, sys; print(sorted(os.listdir(sys.argv[2])), open(sys.argv[4] + '/data.csv').read(), sys.argv[5:])"
    )
    (folder / "project" / "read.py").write_text(code)
    made = python(mlcli, "from mlcli import Workspace; print(Workspace().get_default_datastore().as_mount())")
    assert made.stdout.strip() == "$AZUREML_DATAREFERENCE_workspaceblobstore"
    [store] = [one["path"] for one in ok(mlcli("datastore", "list")) if one["name"] == "workspaceblobstore"]
    (Path(store) / "iris").mkdir()
    (Path(store) / "iris" / "data.csv").write_text("1,2")
    done = python(mlcli, OF_2018)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["['iris'] 1,2 ['--regularization', '0.8']", "Completed"]


@pytest.mark.ssh
def test_a_machine_is_attached(mlcli: Mlcli, ssh_host: SshHost, folder: Path) -> None:
    code = f"""
from mlcli import Experiment, ScriptRunConfig, Workspace
from mlcli.compute import RemoteCompute, ComputeTarget
from mlcli.runconfig import RunConfiguration
from mlcli.compute_target import ComputeTargetException
ws = Workspace.from_config()
try:
    RemoteCompute.attach_configuration(resource_id='/subscriptions/S', ssh_port=22, username='u', password='p')
except ComputeTargetException as e:
    print(e.message)
attach_config = RemoteCompute.attach_configuration(address={ssh_host.name!r})
compute = ComputeTarget.attach(ws, 'attach-dsvm', attach_config)
compute.wait_for_completion(show_output=True)
run_dsvm = RunConfiguration(framework='python')
run_dsvm.target = 'attach-dsvm'
run_dsvm.prepare_environment = True
run_dsvm.environment.python.user_managed_dependencies = True
run_dsvm.environment.python.interpreter_path = 'python3'
src = ScriptRunConfig(source_directory='project', script='train.py', run_config=run_dsvm)
run = Experiment(ws, 'far').submit(src)
print(run.wait_for_completion(show_output=True).status, run.get_details()['target'])
"""
    environment = {**mlcli.environment(), **ssh_host.environment, "MLCLI_LOCAL_CONTAINER": "never"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=False,
        cwd=mlcli.cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "a resource id says it only to Azure"
    assert "attach-dsvm: Succeeded" in done.stdout
    assert "Completed attach-dsvm" in done.stdout


def test_a_job_file_and_what_goes_wrong(mlcli: Mlcli, folder: Path) -> None:
    (folder / "job.yml").write_text("command: exit ${{inputs.code}}\nenvironment: current\ninputs: {code: 0}\n")
    (folder / "sweep.yml").write_text(
        "type: sweep\ntrial: {command: 'echo metric: m=${{search_space.x}}', environment: current}\n"
        "search_space: {x: {type: choice, values: [2]}}\nsampling_algorithm: grid\n"
        "objective: {goal: maximize, primary_metric: m}\nlimits: {max_total_trials: 1}\n"
    )
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
ws.submit(load_job('sweep.yml')).wait_for_completion(show_output=True)
"""
    done = python(mlcli, code)
    assert done.returncode == 0, done.stderr
    assert "failed" in done.stdout
    assert "has no file 'outputs/nothing'" in done.stdout
    assert "trial 0  Completed  m=2.0  x=2" in done.stdout


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
    (folder / "project" / "conda.yml").write_text("dependencies: [python=3.11]\n")
    filed = Estimator(folder / "project", entry_script="train.py", conda_dependencies_file="conda.yml")
    assert job(filed).environment.conda == {"dependencies": ["python=3.11"]}
    listed = job(Estimator(folder / "project", entry_script="train.py", pip_requirements_file="more.txt"))
    assert listed.environment.conda is not None
    assert listed.environment.conda["dependencies"][-1] == {"pip": [f"-r {folder}/project/more.txt"]}
    with pytest.raises(UsageError, match="a file of them too"):
        Estimator(folder, entry_script="x", conda_dependencies_file="conda.yml", pip_packages=["numpy"])
    named = Environment("mine", registered=True)
    defined = Estimator(folder / "project", entry_script="train.py", environment_definition=named)
    assert job(defined).environment.reference == "azureml:mine@latest"


@pytest.mark.parametrize(
    ("distributed", "wanted", "nodes"),
    [
        (MpiConfiguration(process_count_per_node=2, node_count=2), Distribution("mpi", 2), 2),
        (PyTorchConfiguration(process_count=8, node_count=2), Distribution("pytorch", 4), 2),
        (PyTorchConfiguration(communication_backend="Gloo"), Distribution("pytorch", 1), 1),
        (TensorflowConfiguration(worker_count=3), Distribution("tensorflow", None, 3, 1), 4),
    ],
)
def test_distributed_jobs(folder: Path, distributed: Distributed, wanted: Distribution, nodes: int) -> None:
    config = ScriptRunConfig(folder / "project", "train.py", distributed_job_config=distributed)
    found = job(config)
    assert found.distribution == wanted
    assert found.resources.instance_count == nodes


def test_environments(folder: Path) -> None:
    (folder / "conda.yml").write_text("dependencies: [python=3.11]\n")
    made = Environment.from_conda_specification("mine", folder / "conda.yml")
    found = job(ScriptRunConfig(folder / "project", "train.py", environment=made)).environment
    assert found.conda == {"dependencies": ["python=3.11"]}
    alone = job(ScriptRunConfig(folder / "project", "train.py")).environment
    assert alone.conda is not None
    assert alone.conda["dependencies"][0].startswith("python=")
    packages = CondaDependencies.create(conda_packages=["scikit-learn"], python_version="3.11")
    packages.add_pip_package("cntk")
    packages.add_conda_package("numpy")
    boxed = RunConfiguration()
    boxed.environment.docker.enabled = True
    assert job(ScriptRunConfig(folder / "project", "train.py", run_config=boxed)).environment.image == DEFAULT_CPU_IMAGE
    boxed.environment.docker.base_image = "python:3.10"
    boxed.environment.python.conda_dependencies = packages
    found = job(ScriptRunConfig(folder / "project", "train.py", run_config=boxed)).environment
    assert found.conda == {"dependencies": ["python=3.11", "scikit-learn", "numpy", "pip", {"pip": ["cntk"]}]}
    assert found.image == "python:3.10"
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
    assert "there is no script 'tain.py' (looked in " in str(caught.value)
    with pytest.raises(NotFoundError, match="there is no file"):
        load_job(folder / "none.yml")
    with pytest.raises(MlcliError, match="is no distributed backend"):
        job(Estimator(folder / "project", entry_script="train.py", distributed_backend="smoke"))
    with pytest.raises(MlcliError, match="2 processes on a node need somebody who starts them"):
        job(Estimator(folder / "project", entry_script="train.py", process_count_per_node=2))
    with pytest.raises(AttributeError, match="node_cout"):
        RunConfiguration().node_cout = 2  # type: ignore[attr-defined]
    with pytest.raises(ImportError, match=r"mlcli has no HyperDriveConfig: .*sweep"):
        from mlcli import HyperDriveConfig  # type: ignore[attr-defined]  # noqa: F401
    with pytest.raises(ImportError, match="are of Azure alone"):
        from mlcli.compute import HDInsightCompute  # noqa: F401


@pytest.mark.parametrize("place", ["config.json", ".azureml/config.json"])
def test_a_configuration_of_azure_is_told(mlcli: Mlcli, folder: Path, place: str) -> None:
    (folder / place).parent.mkdir(exist_ok=True)
    (folder / place).write_text('{"subscription_id": "S", "resource_group": "G", "workspace_name": "WS"}')
    done = python(mlcli, "from mlcli import Workspace; print(Workspace.from_config().name)")
    assert done.stdout == "default\n"
    assert f"{place} names the workspace 'WS' of Azure" in done.stderr
    assert "belongs to the workspace 'default'" in done.stderr


def test_importing_the_package_costs_nothing() -> None:
    code = "import sys; before = set(sys.modules); import mlcli; print(sorted(set(sys.modules) - before))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found.strip() in {"['mlcli']", "['__future__', 'mlcli']"}
    with pytest.raises(ImportError):
        from mlcli import nothing_of_the_kind  # type: ignore[attr-defined]  # noqa: F401
