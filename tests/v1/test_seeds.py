"""The documents of the first generation, section by section: what is typed in each does what it says, or is named as left out.

The sections are those of three pages of Azure ML's documentation: "compute targets for model training" (May 2020), "configure and
submit training runs" (October 2021) and "train models" with estimators (September 2018).
"""

from __future__ import annotations

import ast
import json
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.conftest import Mlcli
from tests.engines.docker import DockerEngine
from tests.ssh.conftest import FarJobs
from tests.v1.conftest import SCRIPT, ok

LATER = "not there yet"
AZURE = "of the cloud alone"
SECTIONS = {
    "2020": {
        "local computer": "test_api.test_the_code_of_2020_runs",
        "run-based creation of a compute": "test_submit_script.test_a_compute_made_for_the_run_goes_with_it",
        "Azure Machine Learning compute": "test_api.test_the_code_of_2020_runs",
        "remote virtual machines": "test_api.test_a_machine_is_attached",
        "remote virtual machines, by the command line": "test_seeds.test_a_remote_machine",
        "Azure HDInsight": LATER,
        "Azure Batch": AZURE,
        "the studio": AZURE,
        "VS Code": AZURE,
        "set up with the command line": "test_seeds.test_the_command_line",
        "submit with the SDK": "test_api.test_the_code_of_2020_runs",
        "folder attach": "test_real_folder.test_it_runs_unmodified",
        "structure of a run configuration": "test_seeds.test_a_copied_and_edited_run_configuration",
        "create an experiment": "test_seeds.test_the_command_line",
        "script run": "test_seeds.test_the_command_line",
        "HyperDrive run": "test_submit_hyperdrive.test_each_run_gets_its_arguments",
        "the same argument in both files": "test_submit_hyperdrive.test_an_argument_of_both_is_refused",
        "git": "test_seeds.test_git_facts_and_the_snapshot",
    },
    "2021": {
        "create an experiment": "test_api.test_the_documents_code_runs",
        "select a compute target": "test_api.test_the_documents_code_runs",
        "create an environment": "test_api.test_environments",
        "script run configuration": "test_api.test_the_documents_code_runs",
        "a curated environment": "test_api.test_the_documents_code_runs",
        "distributed jobs, as they are written": "test_api.test_distributed_jobs",
        "distributed jobs, run": LATER,
        "submit": "test_api.test_the_documents_code_runs",
        "snapshot": "test_seeds.test_git_facts_and_the_snapshot",
        "outputs and logs": "test_api.test_the_documents_code_runs",
        "log_list, in pieces": "test_api.test_the_documents_code_runs",
        "get_details on failure": "test_api.test_a_job_file_and_what_goes_wrong",
    },
    "2018": {
        "single node": "test_api.test_estimators_of_2018",
        "distributed, custom images": "test_api.test_estimators_of_2018",
        "datastores as arguments (ds.as_mount())": "test_api.test_data_of_a_datastore_is_an_argument",
        "print(run.get_details().status)": "test_api.test_data_of_a_datastore_is_an_argument",
    },
}


def test_every_section_has_a_test_or_a_word() -> None:
    here = Path(__file__).parent
    for pages in SECTIONS.values():
        for told in set(pages.values()) - {LATER, AZURE}:
            module, name = told.split(".")
            tree = ast.parse((here / f"{module}.py").read_text())
            assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_the_command_line(mlcli: Mlcli, project: Path) -> None:
    (project / "train.py").rename(project / "my_train.py")
    ok(mlcli("folder", "attach", cwd=project))
    ok(mlcli("experiment", "create", "-n", "first", cwd=project))
    done = mlcli("run", "submit-script", "-e", "first", "-c", "mine", "my_train.py", cwd=project)
    assert done.code == 0, done.stderr
    assert ok(mlcli("experiment", "list", cwd=project))[0]["name"] == "first"


def test_a_copied_and_edited_run_configuration(mlcli: Mlcli, project: Path) -> None:
    ok(mlcli("folder", "attach", cwd=project))
    yaml = YAML()
    document = yaml.load(project / ".azureml" / "local")
    document["script"] = "train.py"
    document["environment"]["python"]["userManagedDependencies"] = True
    document["maxRunDurationSeconds"] = 1
    (project / "train.py").write_text("import time; time.sleep(60)")
    yaml.dump(document, project / ".azureml" / "edited.runconfig")
    done = mlcli("run", "submit-script", "-c", "edited", cwd=project)
    assert done.code == 1
    assert "time limit" in done.stderr


def test_git_facts_and_the_snapshot(mlcli: Mlcli, project: Path) -> None:
    ok(mlcli("folder", "attach", cwd=project))
    (project / "outputs").mkdir()
    (project / "outputs" / "old").write_text("not part of the code")
    (project / "train.py").write_text("import os; print(sorted(os.listdir('.')), os.listdir('outputs'))")
    for words in (
        ("init", "-q", "-b", "main"),
        ("add", "train.py"),
        ("-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-q", "-m", "first"),
    ):
        subprocess.run(["git", *words], cwd=project, check=True)
    done = mlcli("run", "submit-script", "-c", "mine", "-t", "run.json", cwd=project)
    assert done.code == 0, done.stderr
    listed = done.stdout.splitlines()[0]
    assert ".azureml" not in listed
    assert "'old'" not in listed
    properties = json.loads((project / "run.json").read_text())["properties"]
    assert properties["azureml.git.branch"] == "main"


def test_docker(mlcli: Mlcli, docker_engine: DockerEngine, containers_gone: None, project: Path) -> None:
    del containers_gone
    text = {
        "script": "hello.py",
        "environment": {
            "python": {"userManagedDependencies": True},
            "docker": {"enabled": True, "baseImage": docker_engine.base_image, "shmSize": "32m"},
        },
    }
    (project / ".azureml" / "docker").write_text(json.dumps(text))
    (project / "hello.py").write_text("")
    planned = mlcli(
        "run", "submit-script", "-c", "docker", "--docker", "--dry-run", cwd=project, env=docker_engine.environment
    )
    assert ok(planned)["container"] is not None
    text["command"], text["script"] = "df -m /dev/shm | tail -1; ls", ""
    (project / ".azureml" / "docker").write_text(json.dumps(text))
    done = mlcli("run", "submit-script", "-c", "docker", "--docker", cwd=project, env=docker_engine.environment)
    assert done.code == 0, done.stderr
    size, *names = done.stdout.splitlines()
    assert size.split()[1] == "32"
    assert "hello.py" in names


@pytest.mark.ssh
def test_a_remote_machine(jobs: FarJobs) -> None:
    project = jobs.mlcli.cwd
    (project / "train.py").write_text(SCRIPT)
    ok(jobs.mlcli("folder", "attach", "-e", "far"))
    edited = (
        (project / ".azureml" / "box")
        .read_text()
        .replace("userManagedDependencies: false", "userManagedDependencies: true")
    )
    (project / ".azureml" / "box").write_text(edited.replace("interpreterPath: python", "interpreterPath: python3"))
    done = jobs.mlcli("run", "submit-script", "-c", "box", "-t", "run.json", "train.py", "--rate", "0.1")
    assert done.code == 0, done.stderr
    assert "got ['--rate', '0.1'] EXAMPLE_VALUE far" in done.stdout
    assert json.loads((project / "run.json").read_text())["target"] == "box"
    assert ok(jobs.mlcli("computetarget", "get-credentials", "-n", "box"))["command"].startswith("ssh ")
    ok(jobs.mlcli("run", "download", "-t", "run.json", "-d", "got"))
    assert len(list((project / "got").glob("*/outputs/model.txt"))) == 1
