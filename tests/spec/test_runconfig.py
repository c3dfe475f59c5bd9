"""Run configurations of the first Azure ML SDK: every key is honoured, or there is a word on why not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcli.domain.errors import InvalidSpecError
from mlcli.domain.job import DataInput, Distribution
from mlcli.operations.folder_files import run_configuration
from mlcli.spec.interpolate import interpolate
from mlcli.spec.jobs import check_file
from mlcli.spec.runconfig import Changes, MadeCompute, Runconfig, read_runconfig
from mlcli.spec.schemas import load_schema, resolved_schema
from tests.spec.files import BASE, Files
from tests.spec.reading import read_job

FILES = Files(
    {
        "/job/train.py": "",
        "/job/sub/other.py": "",
        "/job/conda.yml": "dependencies: [python=3.11]\n",
        "/job/.azureml/conda_dependencies.yml": "dependencies: [python=3.11]\n",
        "/job/Dockerfile": "FROM a\n",
    }
)
DEFAULTS = run_configuration("local", "local", ".azureml")


def read(text: str, **changes: Any) -> Runconfig:
    return read_runconfig(text, ".azureml/train", BASE, FILES, changes=Changes(**changes))


def of(**keys: Any) -> Runconfig:
    python = {"python": {"userManagedDependencies": True}}
    return read(json.dumps({"script": "train.py", "environment": python, **keys}, ensure_ascii=False))


def faults(**keys: Any) -> list[tuple[str, str]]:
    with pytest.raises(InvalidSpecError) as caught:
        of(**keys)
    return [(found.code, found.message) for found in caught.value.diagnostics]


def test_the_file_that_azure_writes_is_a_job_without_a_word() -> None:
    found = read(DEFAULTS, script="train.py", arguments=("--rate", "0.1"))
    assert found.warnings == ()
    assert dict(found.job.document) == {
        "type": "command",
        "command": "python train.py --rate 0.1",
        "code": ".",
        "environment": {
            "conda_file": ".azureml/conda_dependencies.yml",
            "environment_variables": {"EXAMPLE_ENV_VAR": "EXAMPLE_VALUE"},
        },
        "compute": "local",
    }
    assert found.job.code == str(BASE)
    assert found.job.environment.conda == {"dependencies": ["python=3.11"]}


def test_yaml_and_json_are_the_same() -> None:
    text = "script: train.py\narguments: [--rate, 0.1, --on, true]\ntarget: local\nnodeCount: 1\n"
    same = '{"script": "train.py", "arguments": ["--rate", 0.1, "--on", true], "target": "local", "nodeCount": 1}'
    assert read(text).job.command == read(same).job.command == "python train.py --rate 0.1 --on true"


def test_what_is_typed_replaces_what_the_file_says() -> None:
    text = "script: train.py\narguments: [--rate, '0.1']\ntarget: far\nenvironment: {python: {userManagedDependencies: true}}\n"
    assert read(text).job.compute == "far"
    typed = read(
        text, script="other.py", arguments=("a b",), target="near", source=BASE / "sub", experiment_name="iris"
    ).job
    assert (typed.command, typed.compute, typed.code) == ("python other.py 'a b'", "near", str(BASE / "sub"))
    assert typed.experiment_name == "iris"
    assert read(text, script="train.py").job.command == "python train.py --rate 0.1"
    packages = read(text, conda_file=BASE / "conda.yml").job.environment
    assert (packages.interpreter, packages.conda) == (None, {"dependencies": ["python=3.11"]})


def test_a_command_stands_for_a_script() -> None:
    assert of(script=None, command="python -m train; echo done").job.command == "python -m train; echo done"
    assert of(script=None, command=["python", "a b.py", 1]).job.command == "python 'a b.py' 1"


@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn", "Co", "Cf", "Zl", "Zp"]), max_size=20), max_size=4
    )
)
def test_arguments_stay_single_words(words: list[str]) -> None:
    import shlex

    if any(sign in word for word in words for sign in ("AZUREML", "Dataset")):
        return
    assert shlex.split(of(arguments=words).job.command)[2:] == words


def test_data_becomes_inputs_and_outputs() -> None:
    found = of(
        arguments=[
            "--data",
            "$AZUREML_DATAREFERENCE_iris",
            "--in=DatasetConsumptionConfig:rows/x y",
            "DatasetOutputConfig:model",
        ],
        dataReferences={
            "iris": {"dataStoreName": "store", "mode": "Mount", "pathOnDataStore": "/iris"},
            "made": {"dataStoreName": "store", "mode": "upload", "pathOnDataStore": "made"},
        },
        data={"rows": {"dataLocation": {"dataset": {"name": "rows", "version": 2}}, "mechanism": "Download"}},
        outputData={
            "model": {
                "outputLocation": {"dataPath": {"datastoreName": "store", "relativePath": "m"}},
                "additionalOptions": {"registrationOptions": {"name": "my_model"}},
            }
        },
    ).job
    assert found.inputs == {
        "iris": DataInput("azureml://datastores/store/paths/iris"),
        "rows": DataInput("azureml:rows:2", mode="download"),
    }
    assert found.outputs["made"].path == "azureml://datastores/store/paths/made"
    assert (found.outputs["model"].name, found.outputs["model"].path) == (
        "my_model",
        "azureml://datastores/store/paths/m",
    )
    command = interpolate(found.command, {"inputs.iris": "/i r", "inputs.rows": "/rows", "outputs.model": "/m"})
    assert command == "python train.py --data '/i r' --in='/rows''/x y' '/m'" or "/i r" in command


@pytest.mark.parametrize(
    ("keys", "distribution"),
    [
        ({"communicator": "Mpi", "mpi": {"processCountPerNode": 2}}, Distribution("mpi", 2)),
        ({"framework": "PythonIntelMpi", "mpi": {"processCountPerNode": 3}}, Distribution("mpi", 3)),
        ({"communicator": "Nccl", "nodeCount": 2, "pytorch": {"processCount": 8}}, Distribution("pytorch", 4)),
        (
            {"framework": "TensorFlow", "communicator": "ParameterServer", "tensorflow": {"workerCount": 2}},
            Distribution("tensorflow", worker_count=2, parameter_server_count=1),
        ),
        ({"framework": "tensorflow", "communicator": "none"}, None),
    ],
)
def test_frameworks_and_communicators(keys: dict[str, Any], distribution: Distribution | None) -> None:
    assert of(**keys).job.distribution == distribution


def test_a_compute_made_for_the_run() -> None:
    section = {
        "vmSize": "Standard_DS2_v2",
        "vmPriority": "lowpriority",
        "clusterMaxNodeCount": 4,
        "retainCluster": True,
    }
    made = of(target="amlcompute", amlCompute={"name": "mine", **section})
    assert made.made_compute == MadeCompute("mine", "Standard_DS2_v2", 4, "low_priority", keep=True)
    assert made.job.compute is None
    assert [one.path for one in of(amlcompute=section).warnings] == [f"$.amlcompute.{key}" for key in section]


def test_a_registered_environment_alone() -> None:
    assert of(environment={"name": "train", "version": 3}).job.environment.reference == "azureml:train:3"
    assert of(environment={"name": "train", "python": None}).job.environment.reference == "azureml:train@latest"


def test_docker() -> None:
    docker = {
        "enabled": "yes",
        "baseImage": "python:3.12",
        "shmSize": "1g",
        "gpuSupport": True,
        "arguments": ["--cap-add", "X"],
    }
    made = of(environment={"python": {"userManagedDependencies": True}, "docker": docker}).job
    assert (made.environment.image, made.resources.shm_size, made.resources.gpus) == ("python:3.12", "1g", "all")
    assert made.resources.docker_args == "--cap-add X"
    later = of(docker={"useDocker": True, "baseDockerfile": "Dockerfile"}).job.environment.build
    assert later is not None
    assert later.dockerfile_text == "FROM a\n"


def test_what_is_wrong_is_told_with_what_is_meant() -> None:
    with pytest.raises(InvalidSpecError) as caught:
        read("script: train.py\nnodecount: 2\nenvirnment: {}\nhistory: {outputCollection: maybe}\n")
    told = [(one.place.line, one.code, one.hint) for one in caught.value.diagnostics]
    assert told == [
        (2, "unknown-key", "did you mean 'nodeCount'?"),
        (3, "unknown-key", "did you mean 'environment'?"),
        (4, "wrong-type", None),
    ]


def test_what_cannot_be_run_is_refused_with_its_reason() -> None:
    assert faults(script=None) == [("missing-key", "there is no script to run")]
    assert faults(script="tain.py") == [("missing-file", "there is no script 'tain.py'")]
    assert faults(script="../train.py")[0][0] == "missing-file"
    assert faults(arguments="--a 'b") == [("bad-value", "a quote in the arguments is not closed")]
    assert faults(target="amlcompute", amlCompute={"vmSize": "NOPE"}) == [("bad-value", "there is no size 'NOPE'")]
    for keys in ({"nodeCount": -1}, {"maxRunDurationSeconds": "${{inputs.x}}"}, {"mpi": {"processCountPerNode": -2}}):
        assert faults(**keys)[0][0] == "out-of-range"
    assert faults(framework="PySpark")[0][0] == "cannot-upgrade"
    assert faults(communicator="Gloo", nodeCount=2, pytorch={"processCount": 3})[0][0] == "node-count"
    assert faults(data={"x": {}})[0] == ("bad-value", "there is no name, no path and no address of this data")


def test_it_is_checked_as_a_file_and_is_no_job_file() -> None:
    kind, found = check_file(DEFAULTS.encode(), ".azureml/train", BASE / ".azureml", FILES)
    assert (kind.noun, found) == ("runconfig", ())
    with pytest.raises(Exception, match="is a run configuration, not a job file"):
        read_job(DEFAULTS, ".azureml/train", BASE / ".azureml", FILES)


def test_the_script_is_the_one_of_the_snapshot() -> None:
    for written in ("/job/sub/other.py", "../job/sub/other.py", "sub/x/../other.py"):
        assert of(script=written).job.command == "python sub/other.py"
    assert of(script="./train.py").job.command == "python ./train.py"


# --- every key --------------------------------------------------------------------------------------------------------

_VALUES: dict[str, Any] = {
    "script": "sub/other.py",
    "arguments": ["x"],
    "command": "true",
    "target": "far",
    "framework": "Python",
    "communicator": "Mpi",
    "mode": "download",
    "mechanism": "download",
    "yarnDeployMode": "client",
    "condaDependencies": {"dependencies": ["python=3.12"]},
    "condaDependenciesFile": "conda.yml",
    "baseDockerfile": "FROM other",
    "vmPriority": "lowpriority",
    "vmSize": "Standard_NC6",
    "workerCount": 7,
    "registrationOptions": {"name": "n"},
    "os": "FreeBSD",
}
_READ_ALL = {  # what a key stands beside, to be read at all
    "pytorch": {"communicator": "Nccl"},
    "tensorflow": {"communicator": "ParameterServer"},
    "mpi": {"communicator": "Mpi"},
    "amlCompute": {"target": "amlcompute"},
    "amlcompute": {"target": "amlcompute"},
}
_SETTLED = {"$schema", "framework"}  # a line for editors; what is not Python is refused (see above)


def leaves(schema: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    for key, below in schema["properties"].items():
        inner = below.get("additionalProperties")
        if isinstance(inner, dict) and "properties" in inner:
            found += leaves(inner, (*path, key, "x"))
        elif "properties" in below:
            found += leaves(below, (*path, key))
        else:
            found.append((*path, key))
    return found


def _value(path: tuple[str, ...], schema: Any) -> Any:
    if path[0] == "outputData" and path[-1] == "mechanism":
        return "upload"
    if path[-1] in _VALUES:
        return _VALUES[path[-1]]
    for key in path:
        schema = (
            schema["properties"][key]
            if "properties" in schema and key in schema["properties"]
            else schema["additionalProperties"]
        )
    if any(
        ("pattern" not in one and one.get("type") == "boolean") or one.get("anyOf") for one in schema.get("anyOf", ())
    ):
        return path[-1] not in {
            "outputCollection",
            "snapshotProject",
            "autoPrepareEnvironment",
            "prepareEnvironment",
            "sharedVolumes",
            "precachePackages",
        }
    kinds = schema.get("type", [])
    if "array" in kinds:
        return ["value"]
    if "string" in kinds:
        return "value"
    return {"k": "v"} if "object" in kinds else 6


def _nested(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    made = value
    for key in reversed(path):
        made = {key: made}
    return dict(made)


def _merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    made = dict(one)
    for key, value in other.items():
        made[key] = _merged(made[key], value) if isinstance(value, dict) and isinstance(made.get(key), dict) else value
    return made


def _around(path: tuple[str, ...]) -> dict[str, Any]:
    """The least that has a key read: what its section needs, and the key itself left out."""
    made: dict[str, Any] = {"script": "train.py", **_READ_ALL.get(path[0], {}), **_BESIDE.get(path[-1], {})}
    if path[0] == "data":
        kind = path[3] if path[2] == "dataLocation" else "dataPath"
        made["data"] = {"x": {"dataLocation": _PLACES.get(kind, _PLACES["dataPath"])}}
    if path[0] in {"outputData", "dataReferences"}:
        made[path[0]] = {"x": {}}
    if "docker" in path:
        switch = "useDocker" if path[0] == "docker" else "enabled"
        section = {switch: True, "baseImage": "a", **_IN_DOCKER.get(path[-2], {})}
        section.pop(path[-1] if path[-1] == switch else "", None)
        made |= _nested(path[: path.index("docker") + 1], section)
    return made


_PLACES = {
    "dataPath": {"dataPath": {"relativePath": "p"}},
    "dataset": {"dataset": {"name": "d"}},
    "uri": {"uri": {"path": "/p"}},
}
_IN_DOCKER: dict[str, dict[str, Any]] = {
    "baseImageRegistry": {"baseImageRegistry": {"address": "r.example.org"}},
    "buildContext": {"buildContext": {"location": "here"}},
}
_BESIDE: dict[str, dict[str, Any]] = {
    "interpreterPath": {"environment": {"python": {"userManagedDependencies": True}}},
    "userManagedDependencies": {"environment": {"python": {"condaDependenciesFile": "conda.yml"}}},
    "version": {"environment": {"name": "n"}},
    "command": {"script": None, "command": "false"},
}


def _said(keys: dict[str, Any]) -> tuple[Any, Any, list[str]]:
    found = read(json.dumps(keys))
    return found.job, found.made_compute, [one.path.removeprefix("$.") for one in found.warnings]


@pytest.mark.parametrize(
    "path", [path for path in leaves(load_schema("v1/runConfiguration")) if path[0] not in _SETTLED], ids=".".join
)
def test_every_key_is_honoured_or_named(path: tuple[str, ...]) -> None:
    schema = resolved_schema("v1/runConfiguration")
    before = _around(path)
    after = _merged(before, _nested(path, _value(path, schema)))
    job, made, _ = _said(before)
    job_then, made_then, told = _said(after)
    named = ".".join(path)
    is_named = any(one.startswith(named) or named.startswith(one) for one in told)
    assert (job, made) != (job_then, made_then) or is_named
