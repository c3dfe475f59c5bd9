"""A run configuration and the job file that it is upgraded to are the same job, whatever the run configuration says."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from mlcli.cli.formats import as_yaml
from mlcli.domain.errors import InvalidSpecError
from mlcli.domain.job import CommandJob, Generation
from mlcli.spec.runconfig import read_runconfig
from mlcli.spec.standalone import standalone
from tests.spec.files import BASE, Files
from tests.spec.reading import read_job

FILES = Files(
    {
        "/job/train.py": "",
        "/job/sub/other.py": "",
        "/job/conda.yml": "name: x\nchannels: [conda-forge]\ndependencies: [python=3.11, {pip: [numpy]}]\n",
        "/job/requirements.txt": "numpy\n",
        "/job/Dockerfile": "FROM a\nRUN b\n",
    }
)
WORDS = st.sampled_from(
    ["", "a", "a b", "it's", '"q"', "$HOME", "${{inputs.x}}", "--x=1", "$AZUREML_DATAREFERENCE_iris", "*", "é", "\\", "#", ": "]
)  # fmt: skip
SCALARS = st.one_of(WORDS, st.integers(-3, 10**6), st.floats(allow_nan=False, allow_infinity=False), st.booleans())
PYTHON = st.fixed_dictionaries(
    {},
    optional={
        "userManagedDependencies": st.sampled_from([True, False, "true", "no"]),
        "interpreterPath": st.sampled_from(["python", "/opt/python"]),
        "condaDependenciesFile": st.sampled_from(["conda.yml", None]),
        "condaDependencies": st.sampled_from([None, {"dependencies": ["python=3.10", {"pip": ["-r requirements.txt"]}]}]),
    },
)  # fmt: skip
DOCKER = st.fixed_dictionaries(
    {},
    optional={
        "enabled": st.booleans(),
        "baseImage": st.sampled_from(["python:3.12", "r.example.org/a@sha256:" + "0" * 64]),
        "baseDockerfile": st.sampled_from([None, "Dockerfile", "FROM x\nRUN y: z\n"]),
        "shmSize": st.sampled_from(["2g", "64m"]),
        "arguments": st.lists(st.sampled_from(["--cpus=1", "--env", "A=b c"]), max_size=2),
        "gpuSupport": st.booleans(),
    },
)
REFERENCE = {"dataStoreName": "store", "mode": "Download", "pathOnDataStore": "iris/2"}
CONFIGURATIONS = st.fixed_dictionaries(
    {"script": st.sampled_from(["train.py", "sub/other.py"]), "dataReferences": st.just({"iris": REFERENCE})},
    optional={
        "arguments": st.one_of(st.lists(SCALARS, max_size=4), st.just("--a 'b c' 1")),
        "command": st.sampled_from(["", "python train.py --a $B | tee x", ["python", "train.py", "a b"]]),
        "target": st.sampled_from(["local", "LOCAL", "cluster", None]),
        "communicator": st.sampled_from(["None", "Mpi", "Gloo", "Nccl", "ParameterServer"]),
        "nodeCount": st.integers(1, 3),
        "mpi": st.just({"processCountPerNode": 2}),
        "pytorch": st.just({"processCount": 6}),
        "tensorflow": st.just({"workerCount": 2, "parameterServerCount": 1}),
        "maxRunDurationSeconds": st.sampled_from([None, 1, 3600, "60"]),
        "jobName": st.sampled_from(["a name", ""]),
        "environmentVariables": st.dictionaries(st.sampled_from(["A", "B_1"]), SCALARS, max_size=2),
        "environment": st.fixed_dictionaries(
            {},
            optional={
                "name": st.just("mine"),
                "version": st.sampled_from([None, "3"]),
                "python": PYTHON,
                "docker": DOCKER,
                "environmentVariables": st.dictionaries(st.just("C"), SCALARS),
            },
        ),
        "docker": st.sampled_from([{"useDocker": True}, {"useDocker": False}]),
        "outputData": st.just(
            {"out": {"mechanism": "upload", "outputLocation": {"dataPath": {"datastoreName": "store", "relativePath": "o"}}}}
        ),
    },
)  # fmt: skip


def same(job: CommandJob) -> CommandJob:
    """What is left of it when the file that it was read from is no part of it."""
    return replace(job, document={}, generation=Generation.G3)


@settings(max_examples=60, deadline=None)
@given(CONFIGURATIONS)
def test_the_job_file_is_the_same_job(words: dict[str, Any]) -> None:
    try:
        job = read_runconfig(json.dumps(words), ".azureml/mine", BASE, FILES).job
    except InvalidSpecError:
        return
    beside = read_job(as_yaml(job.document), "job.yml", BASE, FILES).job
    elsewhere = read_job(as_yaml(standalone(job)), "job.yml", BASE.parent / "far", FILES).job
    assert same(beside) == same(job)
    assert same(elsewhere) == same(job)
