"""From today's words to the frozen job: absolute paths, files read in, texts as the person wrote them."""

from __future__ import annotations

import json

import pytest

from mlcli.domain.errors import InvalidSpecError
from mlcli.domain.job import (
    BuildContext,
    CommandJob,
    DataInput,
    Distribution,
    EnvironmentSpec,
    Generation,
    LiteralInput,
    Output,
    Resources,
)
from tests.spec.files import BASE, Files
from tests.spec.reading import read_job

CONDA = "name: x\nchannels: [conda-forge]\ndependencies:\n  - python=3.11\n  - pip:\n    - numpy==2.0\n    - -r requirements.txt\n    - ./package\n"
FILES = Files(
    {
        "/job/src/main.py": "",
        "/job/data/a.csv": "",
        "/job/env/conda.yml": CONDA,
        "/job/env/Dockerfile": "FROM x",
        "/job/env/env.yml": "name: e\nversion: 3\nimage: python:3.11\nconda_file: conda.yml\n",
        "/job/env/old.yml": "docker:\n  build:\n    dockerfile: file:Dockerfile\n",
        "/job/job.yml": "command: ls\n",
    }
)
MINIMAL = "command: ls\nenvironment: current\n"


def job(text: str, *, check: bool = True) -> CommandJob:
    return read_job(text, "job.yml", BASE, FILES, check=check).job


def environment(text: str) -> EnvironmentSpec:
    return job(f"command: ls\nenvironment: {text}\n").environment


def fault(text: str, *, check: bool = False) -> str:
    with pytest.raises(InvalidSpecError) as caught:
        job(text, check=check)
    (found,) = caught.value.diagnostics
    return f"{found.place}: {found.code}: {found.message}"


def test_a_minimal_job_has_the_defaults():
    assert job(MINIMAL) == CommandJob(
        command="ls",
        environment=EnvironmentSpec(interpreter="current"),
        document={"command": "ls", "environment": "current"},
    )


def test_everything_at_once():
    built = job("""\
$schema: https://azuremlschemas.azureedge.net/latest/commandJob.schema.json
type: command
name: my-job_1
display_name: Mine
experiment_name: tests
description: a job
code: src
command: python main.py ${{inputs.data}}
environment: azureml:sklearn@latest
compute: azureml:cpu-cluster
inputs:
  data: {type: URI_FOLDER, path: data, mode: download}
  web: {type: uri_file, path: "https://x.org/a.csv"}
  asset: {path: "azureml:iris:1", type: mltable, mode: eval_mount}
  rate: 0.10
  flag: true
  text: "0.10"
outputs:
  model: {type: mlflow_model, name: m, version: 2}
  folder:
  elsewhere: {path: out/x, mode: upload}
  store: {path: "azureml://datastores/d/paths/p"}
environment_variables: {PORT: 8080, DEBUG: true, RATE: 1.10, EMPTY: "", NONE: }
resources: {instance_count: "2", instance_type: gpu, shm_size: 2g, docker_args: [--ipc, "a b"], properties: {a: 1}}
distribution: {type: PyTorch, process_count_per_instance: 4}
limits: {timeout: 900}
tags: {version: 1.0}
""")
    assert built.name == "my-job_1"
    assert (built.display_name, built.experiment_name, built.description) == ("Mine", "tests", "a job")
    assert built.code == "/job/src"
    assert built.command == "python main.py ${{inputs.data}}"
    assert built.environment == EnvironmentSpec(reference="azureml:sklearn@latest")
    assert built.compute == "cpu-cluster"
    assert built.inputs == {
        "data": DataInput("/job/data", "uri_folder", "download"),
        "web": DataInput("https://x.org/a.csv", "uri_file", "ro_mount"),
        "asset": DataInput("azureml:iris:1", "mltable", "eval_mount"),
        "rate": LiteralInput(0.1, "0.10"),
        "flag": LiteralInput(True, "true"),
        "text": LiteralInput("0.10"),
    }
    assert built.outputs == {
        "model": Output("mlflow_model", name="m", version="2"),
        "folder": Output(),
        "elsewhere": Output(path="/job/out/x", mode="upload"),
        "store": Output(path="azureml://datastores/d/paths/p"),
    }
    assert built.environment_variables == {"PORT": "8080", "DEBUG": "True", "RATE": "1.10", "EMPTY": "", "NONE": ""}
    assert built.resources == Resources(2, "gpu", "2g", "--ipc 'a b'", {"a": 1})
    assert built.distribution == Distribution("pytorch", process_count_per_instance=4)
    assert built.timeout_s == 900
    assert built.tags == {"version": "1.0"}
    assert built.generation is Generation.G3
    assert json.loads(json.dumps(built.document))["compute"] == "azureml:cpu-cluster"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("current", EnvironmentSpec(interpreter="current")),
        ("{interpreter: current}", EnvironmentSpec(interpreter="current")),
        ("{interpreter: /opt/py/bin/python}", EnvironmentSpec(interpreter="/opt/py/bin/python")),
        ("{interpreter: .venv/bin/python}", EnvironmentSpec(interpreter="/job/.venv/bin/python")),
        ("{interpreter: python3.11}", EnvironmentSpec(interpreter="python3.11")),
        ("{image: 'python:3.11', name: e, version: 3}", EnvironmentSpec(image="python:3.11", name="e", version="3")),
        ("{build: {path: env}}", EnvironmentSpec(build=BuildContext("/job/env"))),
        ("{build: {path: env, args: {V: 1.10}}}", EnvironmentSpec(build=BuildContext("/job/env", args={"V": "1.10"}))),
        ("azureml://registries/r/environments/e/labels/latest",
         EnvironmentSpec(reference="azureml://registries/r/environments/e/labels/latest")),
        ("file:env/old.yml", EnvironmentSpec(build=BuildContext("/job/env"))),
    ],
)  # fmt: skip
def test_environments(written, expected):
    assert environment(written) == expected


def test_a_conda_file_is_read_in_and_its_paths_start_at_its_own_folder():
    expected = {
        "name": "x",
        "channels": ["conda-forge"],
        "dependencies": [
            "python=3.11",
            {"pip": ["numpy==2.0", "-r /job/env/requirements.txt", "/job/env/package"]},
        ],
    }
    assert environment("{conda_file: env/conda.yml}").conda == expected
    assert environment("{conda_file: {dependencies: [pip, {pip: [-e ../lib]}]}}").conda == {
        "dependencies": ["pip", {"pip": ["-e /lib"]}]
    }
    in_a_file = environment("file:./env/env.yml")
    assert in_a_file == EnvironmentSpec(image="python:3.11", conda=expected, name="e", version="3")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("-r requirements.txt", "-r /job/requirements.txt"),
        ("--requirement=a/b.txt", "--requirement /job/a/b.txt"),
        ("-r /abs.txt", "-r /abs.txt"),
        ("-r https://x.org/r.txt", "-r https://x.org/r.txt"),
        ("-e git+https://x.org/r.git", "-e git+https://x.org/r.git"),
        ("dist/a-1.whl", "/job/dist/a-1.whl"),
        ("numpy", "numpy"),
        ("-i https://x.org/simple", "-i https://x.org/simple"),
        ("pkg @ https://x.org/p.zip", "pkg @ https://x.org/p.zip"),
    ],
)
def test_paths_in_pip_lines(line, expected):
    text = f"{{conda_file: {{dependencies: [{{pip: [{json.dumps(line)}]}}]}}}}"
    assert environment(text).conda == {"dependencies": [{"pip": [expected]}]}


@pytest.mark.parametrize(
    ("conda", "expected"),
    [
        ("", "env/conda.yml:1:1: empty-file"),
        ("dependencies:\n  - a\n\t- b\n", "env/conda.yml:3:1: tab"),
        ("dependencies:\n  - 3\n", "env/conda.yml:2:5: wrong-type"),
        ("dependencies:\n  - conda: [x]\n", "env/conda.yml:2:5: unknown-key"),
        ("dependencies: numpy\n", "env/conda.yml:1:15: wrong-type"),
        ("command: ls\nenvironment: {conda_file: env/conda.yml}\n", "env/conda.yml:1:1: wrong-type"),
    ],
)
def test_what_is_wrong_in_a_conda_file_is_told_where_it_stands(conda, expected):
    files = Files({"/job/env/conda.yml": conda})
    with pytest.raises(InvalidSpecError) as caught:
        read_job("command: ls\nenvironment: {conda_file: env/conda.yml}\n", "job.yml", BASE, files)
    found = caught.value.diagnostics[0]
    assert f"{found.place}: {found.code}".startswith(expected)


def test_files_that_cannot_be_read_are_told_where_they_are_named():
    assert fault("command: ls\nenvironment: {conda_file: no.yml}\n").startswith("job.yml:2:27: missing-file: ")
    assert fault("command: ls\nenvironment: file:no.yml\n").startswith("job.yml:2:14: missing-file: ")
    assert fault("command: ls\nenvironment: file:job.yml\n").startswith("job.yml:1:1: empty-environment: ")
    binary = Files({"/job/c.yml": b"\xff\xfe"})
    with pytest.raises(InvalidSpecError) as caught:
        read_job("command: ls\nenvironment: {conda_file: c.yml}\n", "job.yml", BASE, binary)
    assert "not UTF-8" in caught.value.diagnostics[0].message


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (".", "/job"),
        ("../other/", "/other"),
        ("/abs/x", "/abs/x"),
        ("azureml:code:1", "azureml:code:1"),
        ("git+https://x.org/r.git@main", "git+https://x.org/r.git@main"),
        ("file:src", "/job/src"),
    ],
)
def test_code_is_an_absolute_folder_or_an_address(code, expected):
    assert job(f"{MINIMAL}code: {code}\n", check=False).code == expected


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("ro_mount", "ro_mount"), ("RO_Mount", "ro_mount"), ("Download", "download"), ("direct", "direct")],
)  # fmt: skip
def test_modes_are_read_in_any_case(mode, expected):
    built = job(f"{MINIMAL}inputs: {{x: {{path: data, mode: {mode}}}}}\n")
    assert built.inputs == {"x": DataInput("/job/data", "uri_folder", expected)}


def test_local_compute_and_none():
    assert job(f"{MINIMAL}compute: local\n").compute == "local"
    assert job(MINIMAL).compute is None


def test_numbers_may_stand_as_texts_but_not_as_references():
    assert job(f"{MINIMAL}resources: {{instance_count: '2.0'}}\nlimits: {{timeout: '60'}}\n").timeout_s == 60
    text = f"{MINIMAL}inputs: {{n: 2}}\nresources: {{instance_count: '${{{{inputs.n}}}}'}}\n"
    assert fault(text) == "job.yml:4:29: wrong-type: 'instance_count' must be a number in a command job"
    assert job(f"{MINIMAL}limits: {{timeout: '{'9' * 400}'}}\n").timeout_s is None


def test_what_is_wrong_in_an_environment_file_is_told_where_it_stands():
    files = Files({"/job/env/env.yml": "image: x\nconda_fil: y.yml\ntags: [1]\n"})
    with pytest.raises(InvalidSpecError) as caught:
        read_job("command: ls\nenvironment: file:env/env.yml\n", "job.yml", BASE, files)
    found = [(str(each.place), each.code, each.hint) for each in caught.value.diagnostics]
    assert found == [
        ("env/env.yml:2:1", "unknown-key", "did you mean 'conda_file'?"),
        ("env/env.yml:3:7", "wrong-type", None),
    ]
