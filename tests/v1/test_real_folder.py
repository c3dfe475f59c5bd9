"""A folder that Azure ML's first tools attached, run as it is: the keys and values are those that azureml-core 1.61 writes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.conftest import Mlcli
from tests.environments.packages import wheel
from tests.v1.conftest import ok

IMAGE = "mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04:20251130.v1"
SCOPE = "/subscriptions/S/resourceGroups/G/providers/Microsoft.MachineLearningServices/workspaces/WS/projects/EXP"
DOCKER: dict[str, Any] = {"sharedVolumes": True, "shmSize": "2g", "arguments": []}
NO_PATCH = f"{sys.version_info.major}.{sys.version_info.minor}.99"
LIBRARIES = ("mavenLibraries", "pypiLibraries", "rcranLibraries", "jarLibraries", "eggLibraries")


def configuration(target: str, *, docker: bool, framework: str = "Python") -> dict[str, Any]:
    """One that nobody has edited."""
    return {
        "script": None,
        "arguments": [],
        "target": target,
        "framework": framework,
        "communicator": "None",
        "maxRunDurationSeconds": None,
        "nodeCount": 1,
        "priority": None,
        "environment": {
            "name": "default-environment",
            "version": None,
            "environmentVariables": {"EXAMPLE_ENV_VAR": "EXAMPLE_VALUE"},
            "python": {
                "userManagedDependencies": False,
                "interpreterPath": "python",
                "condaDependenciesFile": ".azureml/conda_dependencies.yml",
                "baseCondaEnvironment": None,
            },
            "docker": {
                "enabled": docker,
                "baseImage": IMAGE,
                "baseDockerfile": None,
                "buildContext": None,
                **DOCKER,
                "baseImageRegistry": dict.fromkeys(("address", "username", "password", "registryIdentity")),
                "platform": {"os": "Linux", "architecture": "amd64"},
            },
            "spark": {"repositories": [], "packages": [], "precachePackages": True},
            "databricks": {name: [] for name in LIBRARIES},
            "r": None,
            "inferencingStackVersion": None,
            "assetId": None,
        },
        "history": {"outputCollection": True, "snapshotProject": True, "directoriesToWatch": ["logs"]},
        "spark": {"configuration": {"spark.app.name": "Azure ML Experiment", "spark.yarn.maxAppAttempts": 1}},
        "docker": {"useDocker": False, **DOCKER},
        "hdi": {"yarnDeployMode": "cluster"},
        "tensorflow": {"workerCount": 1, "parameterServerCount": 1},
        "mpi": {"processCountPerNode": 1, "nodeCount": 1},
        "pytorch": {"communicationBackend": "nccl", "processCount": None, "nodeCount": 1},
        "paralleltask": {"maxRetriesPerWorker": 0, "workerCountPerNode": 1, "terminalExitCodes": None},
        "dataReferences": {},
        "data": {},
        "datacaches": [],
        "outputData": {},
        "sourceDirectoryDataStore": None,
        "amlcompute": {
            "vmSize": None,
            "vmPriority": None,
            "retainCluster": False,
            "name": None,
            "clusterMaxNodeCount": None,
        },
        "autoClusterComputeSpecification": None,
        "kubernetescompute": {"instanceType": None},
        "credentialPassthrough": False,
        "command": "",
        "environmentVariables": {},
        "applicationEndpoints": {},
    }


@pytest.fixture
def real(tmp_path: Path) -> Path:
    """The folder; the Python that it asks for is a patch release that is nowhere."""
    folder = tmp_path / "folder"
    settings = folder / ".azureml"
    settings.mkdir(parents=True)
    (settings / "config.json").write_text(json.dumps({"Id": "0", "Scope": SCOPE}))
    yaml = YAML()
    conda = {
        "name": "project_environment",
        "dependencies": [f"python={NO_PATCH}", {"pip": ["azureml-defaults"]}],
        "channels": ["anaconda", "conda-forge"],
    }
    yaml.dump(conda, settings / "conda_dependencies.yml")
    yaml.dump(configuration("local", docker=False), settings / "local")
    yaml.dump(configuration("local", docker=True), settings / "docker")
    yaml.dump(configuration("cpu-cluster", docker=True), settings / "cpu-cluster")
    yaml.dump(configuration("hdi", docker=False, framework="PySpark"), settings / "hdi")
    ignored = (".ipynb_checkpoints", "azureml-logs", ".azureml", ".git", "outputs", "azureml-setup", "docs")
    (folder / ".amlignore").write_text("\n".join(ignored))
    (folder / "train.py").write_text("import azureml_defaults, os; print('ran with', os.environ['EXAMPLE_ENV_VAR'])")
    for name in ("azureml_defaults", "setuptools"):
        wheel(tmp_path / "wheels", name)
    return folder


def test_it_runs_unmodified(mlcli: Mlcli, real: Path, tmp_path: Path) -> None:
    settings = {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(tmp_path / "wheels"),
        "UV_PYTHON_DOWNLOADS": "never",
        "MLCLI_LOCAL_CONTAINER": "never",
    }
    ok(mlcli("compute", "create", "-n", "cpu-cluster", "--type", "amlcompute", "--max-instances", "1"))
    before = {file.name: file.read_bytes() for file in (real / ".azureml").iterdir()}
    done = mlcli("run", "submit-script", "-c", "local", "train.py", cwd=real, env=settings)
    assert done.code == 0, done.stderr
    assert "ran with EXAMPLE_VALUE" in done.stdout
    assert f"there is no Python {NO_PATCH} to be had here: another" in done.stderr
    for name in ("local", "docker", "cpu-cluster"):
        target = real / f"{name}.yml"
        ok(mlcli("job", "upgrade", "-f", f".azureml/{name}", "--set", "script=train.py", "--to", target, cwd=real))
        plans = [
            ok(mlcli("run", "submit-script", "-c", name, "--dry-run", "train.py", cwd=real, env=settings)),
            ok(mlcli("job", "create", "-f", target, "--dry-run", cwd=real, env=settings)),
        ]
        for plan in plans:
            for key in ("run", "run_folder", "working_directory", "environment_variables", "code"):
                plan.pop(key)
        assert plans[0] == plans[1]
        assert (plans[0]["compute"], plans[0]["environment"]["cached"]) == (name if "-" in name else "local", True)
    assert {file.name: file.read_bytes() for file in (real / ".azureml").iterdir()} == before
    assert [run["experiment_name"] for run in ok(mlcli("run", "list", cwd=real))] == ["EXP"]


def test_what_it_asks_for_and_is_not_here_is_told(mlcli: Mlcli, real: Path) -> None:
    refused = mlcli("run", "submit-script", "-c", "hdi", "train.py", cwd=real)
    assert refused.code == 1
    assert "hdi:4:" in refused.stderr
    assert "hands the script to a Spark cluster" in refused.stderr
    refused = mlcli("run", "submit-script", "-c", "cpu-cluster", "train.py", cwd=real)
    assert refused.code == 1
    assert "run submit-script: --target local" in refused.stderr
