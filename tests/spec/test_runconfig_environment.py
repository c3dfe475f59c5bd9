"""Run configurations of Azure ML v1 name an environment in words of their own."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcli.domain.errors import UnsupportedError
from mlcli.domain.job import EnvironmentSpec, RegistryLogin
from mlcli.spec.runconfig_environment import is_runconfig_environment, of_runconfig, runconfig_environment
from tests.spec.files import BASE, Files
from tests.spec.reading import read_job

CONDA = {"dependencies": ["python=3.6.2", {"pip": ["azureml-defaults"]}]}


def section(*, python: Any = None, docker: Any = None, **others: Any) -> dict[str, Any]:
    """As ``folder attach`` writes it, every key there."""
    return {
        "name": None,
        "version": None,
        "environmentVariables": None,
        "python": {
            "userManagedDependencies": False,
            "interpreterPath": "python",
            "condaDependenciesFile": None,
            "condaDependencies": None,
            "baseCondaEnvironment": None,
            **(python or {}),
        },
        "docker": {
            "enabled": False,
            "baseImage": "host.example/base:1",
            "baseDockerfile": None,
            "sharedVolumes": True,
            "shmSize": "2g",
            "arguments": [],
            "baseImageRegistry": {"address": None, "username": None, "password": None},
            **(docker or {}),
        },
        **others,
    }


def test_python_of_the_users_own():
    own = {"userManagedDependencies": True, "condaDependenciesFile": "unused.yml"}
    assert runconfig_environment(section(python=own)).environment == {"interpreter": "current"}
    named = {**own, "interpreterPath": "/opt/python/bin/python"}
    assert runconfig_environment(section(python=named)).environment == {"interpreter": "/opt/python/bin/python"}


def test_conda_by_file_and_in_place():
    by_file = section(python={"condaDependenciesFile": ".azureml/conda_dependencies.yml"})
    assert runconfig_environment(by_file).environment == {"conda_file": ".azureml/conda_dependencies.yml"}
    in_place = section(python={"condaDependencies": CONDA}, name="mine", version=3)
    assert runconfig_environment(in_place).environment == {"name": "mine", "version": "3", "conda_file": CONDA}


def test_nothing_asked_for_is_the_python_that_is_there():
    assert runconfig_environment({}).environment == {"interpreter": "current"}
    assert runconfig_environment(section()).environment == {"interpreter": "current"}


def test_docker():
    docker = {"enabled": True, "arguments": ["--ipc", "a b"], "shmSize": "4g"}
    found = runconfig_environment(section(docker=docker, environmentVariables={"N": 1}))
    assert found.environment == {"image": "host.example/base:1", "environment_variables": {"N": "1"}}
    assert found.resources == {"shm_size": "4g", "docker_args": "--ipc 'a b'"}
    on_top = runconfig_environment(section(docker=docker, python={"condaDependencies": CONDA}))
    assert on_top.environment == {"image": "host.example/base:1", "conda_file": CONDA}


def test_a_dockerfile_of_its_own_wins_over_the_image():
    docker = {"enabled": True, "baseDockerfile": "FROM scratch\n"}
    assert runconfig_environment(section(docker=docker)).environment == {"build": {"dockerfile": "FROM scratch\n"}}
    context = {"enabled": True, "buildContext": {"location": "image", "dockerfilePath": None}}
    assert runconfig_environment(section(docker=context)).environment == {
        "build": {"path": "image", "dockerfile_path": "Dockerfile"}
    }


def test_the_runs_own_docker_section_wins_when_it_asks_for_docker():
    asked = runconfig_environment(section(), run_docker={"useDocker": True, "shmSize": "8g", "arguments": None})
    assert asked.environment["image"] == "host.example/base:1"
    assert asked.resources == {"shm_size": "8g"}
    default = runconfig_environment(section(docker={"enabled": True}), run_docker={"useDocker": False, "shmSize": "8g"})
    assert "image" in default.environment, "v1 writes `useDocker: false` into the file that it makes for Docker"
    assert default.resources == {"shm_size": "2g"}
    assert "image" not in runconfig_environment(section(), run_docker={"useDocker": False}).environment


def test_a_whole_run_configuration_and_an_environment_by_itself():
    """A run configuration has keys at its top that an environment has too."""
    python = {"condaDependenciesFile": ".azureml/conda.yml"}
    whole = {
        "script": "train.py",
        "environment": section(python=python),
        "docker": {"useDocker": False, "arguments": [], "shmSize": "2g"},
        "spark": {"configuration": {}},
        "environmentVariables": {},
    }
    alone = of_runconfig(section(python=python))
    assert of_runconfig(whole) == alone
    assert alone is not None
    assert alone.environment == {"conda_file": ".azureml/conda.yml"}
    assert of_runconfig({"command": "ls", "environment": {"image": "a"}}) is None


@pytest.mark.parametrize(
    "wrong",
    [
        section(docker={"enabled": True, "baseImage": None}),
        section(docker={"enabled": True, "arguments": "--ipc"}),
        {"python": "3.8"},
        {"docker": [True]},
    ],
)
def test_what_is_no_such_section_is_said(wrong):
    with pytest.raises(UnsupportedError) as caught:
        runconfig_environment(wrong)
    assert caught.value.hint


def test_it_is_told_from_a_job_files_environment():
    assert is_runconfig_environment(section())
    assert is_runconfig_environment({"python": {}})
    assert not is_runconfig_environment({"docker": {"image": "python:3.11"}})
    assert not is_runconfig_environment({"image": "x", "conda_file": "y"})
    assert not is_runconfig_environment("current")
    for slip in ({"docker": {"imge": "a"}}, {"image": "a", "environmentVariables": {}}, {"build": {}, "python": "3.8"}):
        assert not is_runconfig_environment(slip), "a slip in a job file's environment is told as such"


def test_what_it_answers_is_a_jobs_environment():
    login = {"address": "host.example", "username": "me", "password": "word"}
    docker = {"enabled": True, "baseImageRegistry": login}
    found = runconfig_environment(section(docker=docker, python={"condaDependencies": CONDA}))
    job = read_job(f"command: ls\nenvironment: {json.dumps(found.environment)}\n", "job.yml", BASE, Files()).job
    assert job.environment == EnvironmentSpec(
        image="host.example/base:1", conda=CONDA, registry=RegistryLogin("host.example", "me", "word")
    )


def test_a_job_may_name_a_run_configuration():
    python = {"condaDependenciesFile": ".azureml/conda.yml"}
    text = json.dumps({"script": "train.py", "environment": section(python=python, environmentVariables={"A": "1"})})
    conda = "dependencies: [python=3.8, {pip: [-r more.txt]}]\n"
    files = Files({"/job/.azureml/local.runconfig": text, "/job/.azureml/conda.yml": conda})
    job = read_job("command: ls\nenvironment: file:.azureml/local.runconfig\n", "job.yml", BASE, files).job
    assert job.environment == EnvironmentSpec(
        conda={"dependencies": ["python=3.8", {"pip": ["-r /job/.azureml/more.txt"]}]}, environment_variables={"A": "1"}
    )


def test_what_a_run_configuration_says_of_docker_is_the_jobs_unless_the_job_says_it():
    docker = {"enabled": True, "arguments": ["--ulimit", "nofile=99:99"], "shmSize": "1g"}
    text = json.dumps({"script": "train.py", "environment": section(docker=docker)})
    files = Files({"/job/x.runconfig": text})
    job = read_job("command: ls\nenvironment: file:x.runconfig\n", "job.yml", BASE, files).job
    assert (job.resources.shm_size, job.resources.docker_args) == ("1g", "--ulimit nofile=99:99")
    own = "command: ls\nenvironment: file:x.runconfig\nresources: {shm_size: 3g}\n"
    job = read_job(own, "job.yml", BASE, files).job
    assert (job.resources.shm_size, job.resources.docker_args) == ("3g", "--ulimit nofile=99:99")


values = st.recursive(st.none() | st.booleans() | st.text(max_size=5), lambda inner: st.dictionaries(
    st.sampled_from(["userManagedDependencies", "interpreterPath", "condaDependencies", "enabled", "baseImage", "x"]), inner
) | st.lists(inner, max_size=2), max_leaves=6)  # fmt: skip


@given(st.dictionaries(st.sampled_from(["python", "docker", "environmentVariables", "name"]), values))
def test_any_section_is_read_or_refused_with_advice(found):
    with suppress(UnsupportedError):
        environment = runconfig_environment(found).environment
        assert {"interpreter", "image", "build", "conda_file"} & set(environment)
