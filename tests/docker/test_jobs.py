"""Jobs in containers, at the command line: on this machine's engine, behind SSH, and on another machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Mlcli
from tests.engines.docker import DockerEngine, FarDockerEngine, OwnDockerEngine
from tests.engines.sshd import DockerOverSsh

JOB = """
command: |
  echo hello from ${{inputs.where}}
  cat ${{inputs.data}}/x.csv
  echo model > outputs/model.txt
  echo named > ${{outputs.report}}/r.txt
  exit %(code)s
code: src
inputs:
  where: a container
  data: {type: uri_folder, path: data}
outputs:
  report: {type: uri_folder}
environment: {image: "%(image)s"}
"""


@pytest.fixture
def project(tmp_path: Path, docker_engine: DockerEngine) -> Callable[..., Path]:
    """``project(code)``: a job file with code and data beside it."""

    def make(code: int = 0, image: str = "") -> Path:
        for folder, name, text in (("src", "train.py", "print(1)"), ("data", "x.csv", "5.1\n")):
            (tmp_path / folder).mkdir(exist_ok=True)
            (tmp_path / folder / name).write_text(text)
        file = tmp_path / "job.yml"
        file.write_text(JOB % {"code": code, "image": image or docker_engine.base_image})
        return file

    return make


@pytest.fixture
def on_engine(docker_engine: DockerEngine, containers_gone: None) -> Mapping[str, str]:
    del containers_gone
    return docker_engine.environment


def check_a_job(mlcli: Mlcli, file: Path, environment: Mapping[str, str], tmp_path: Path) -> None:
    """From its submission to its files."""
    told = mlcli("job", "create", "-f", file, "--docker", "--stream", "-n", "one", env=environment)
    assert told.code == 0, told.stderr
    assert told.output.startswith(b"hello from a container\n5.1\n")
    shown = mlcli("job", "show", "-n", "one", env=environment).json
    assert (shown["status"], shown["exit_code"]) == ("Completed", 0)
    done = mlcli("job", "download", "-n", "one", "--all", "-p", tmp_path / "got", env=environment)
    assert done.code == 0, done.stderr
    got = {path.name: path.read_text() for path in (tmp_path / "got").rglob("*.txt")}
    assert got["model.txt"] == "model\n"
    assert got["r.txt"] == "named\n"
    assert "hello from a container" in got["std_log.txt"]


def test_a_job_from_its_submission_to_its_files(
    mlcli: Mlcli, project: Callable[..., Path], on_engine: Mapping[str, str], tmp_path: Path
) -> None:
    check_a_job(mlcli, project(), on_engine, tmp_path)


def test_the_exit_code_is_the_job_s(mlcli: Mlcli, project: Any, on_engine: Mapping[str, str]) -> None:
    told = mlcli("job", "create", "-f", project(code=3), "--docker", "--stream", env=on_engine)
    assert "the command exited with code 3" in told.stderr


def test_a_job_may_ask_for_no_gpu(mlcli: Mlcli, project: Any, on_engine: Mapping[str, str]) -> None:
    """On a machine without one, of a job that would take all."""
    settings = ("--set", "resources.gpus=0", "resources.cpus=0.5")
    assert mlcli("job", "create", "-f", project(), "--docker", "--stream", *settings, env=on_engine).code == 0


def test_a_deleted_job_s_name_is_free_at_once(mlcli: Mlcli, project: Any, on_engine: Mapping[str, str]) -> None:
    for _ in range(2):
        told = mlcli("job", "create", "-f", project(), "--docker", "--stream", "-n", "one", env=on_engine)
        assert told.code == 0, told.stderr
        assert mlcli("job", "delete", "-n", "one", "--yes", env=on_engine).code == 0


def test_a_job_is_cancelled(mlcli: Mlcli, project: Any, on_engine: Mapping[str, str], until: Any) -> None:
    file = project()
    file.write_text(file.read_text().replace("exit 0", "sleep 1000"))
    assert mlcli("job", "create", "-f", file, "--docker", "-n", "one", env=on_engine).code == 0
    until(lambda: mlcli("job", "show", "-n", "one", env=on_engine).json["status"] == "Running")
    assert mlcli("job", "cancel", "-n", "one", env=on_engine).code == 0
    until(lambda: mlcli("job", "show", "-n", "one", env=on_engine).json["status"] == "Canceled")


def test_a_job_survives_its_command_line(
    mlcli: Mlcli, project: Any, on_engine: Mapping[str, str], docker_engine: DockerEngine, until: Any
) -> None:
    """kill -9 of the one who follows it: the container goes on, and is found again."""
    file = project()
    file.write_text(file.read_text().replace("exit 0", "sleep 2; exit 0"))
    process = mlcli.start("job", "create", "-f", file, "--docker", "--stream", "-n", "one", env=on_engine)
    until(lambda: docker_engine.containers(below=mlcli.home))
    process.kill()
    process.communicate()
    until(lambda: mlcli("job", "show", "-n", "one", env=on_engine).json["status"] == "Completed")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set", "resources.docker_args=--rm"], "unrecognized flags: --rm"),
        (["--set", "inputs.data.path=/usr/lib"], "would hide the container's own /usr/lib"),
        (["--set", "resources.instance_count=2"], "compute 'docker' is one machine"),
        (["--set", "resources.shm_size=much"], "resources.shm_size"),
    ],
)
def test_what_a_container_cannot_be_given_is_refused(
    mlcli: Mlcli, project: Any, on_engine: Mapping[str, str], arguments: list[str], said: str
) -> None:
    told = mlcli("job", "create", "-f", project(), "--docker", *arguments, env=on_engine)
    assert told.code == 1
    assert said in told.stderr
    assert mlcli("job", "list", env=on_engine).json == []


def test_a_kept_container_goes_with_its_job(
    mlcli: Mlcli, project: Any, on_engine: Mapping[str, str], docker_engine: DockerEngine
) -> None:
    told = mlcli(
        "job", "create", "-f", project(), "--docker", "--keep-container", "--stream", "-n", "one", env=on_engine
    )
    assert told.code == 0
    assert "docker run --rm -it --volumes-from mlcli-one-" in told.stderr
    assert len(docker_engine.containers(below=mlcli.home)) == 1
    assert mlcli("job", "delete", "-n", "one", "--yes", env=on_engine).code == 0


def test_a_job_behind_ssh(
    mlcli: Mlcli, project: Any, docker_over_ssh: DockerOverSsh, tmp_path: Path, containers_gone: None
) -> None:
    check_a_job(mlcli, project(), docker_over_ssh.environment, tmp_path)


@pytest.mark.slow
def test_a_job_on_another_machine_whose_cable_is_cut(
    mlcli: Mlcli, project: Any, tcp_docker_engine: FarDockerEngine, tmp_path: Path, until: Any
) -> None:
    environment = tcp_docker_engine.environment
    file = project(image=tcp_docker_engine.tiny_image)
    check_a_job(mlcli, file, environment, tmp_path)
    file.write_text(file.read_text().replace("exit 0", "sleep 3; exit 0"))
    assert mlcli("job", "create", "-f", file, "--docker", "-n", "two", env=environment).code == 0
    until(lambda: mlcli("job", "show", "-n", "two", env=environment).json["status"] == "Running")
    tcp_docker_engine.cut()
    assert mlcli("job", "show", "-n", "two", env=environment).json["status"] == "Running"
    tcp_docker_engine.mend()
    until(lambda: mlcli("job", "show", "-n", "two", env=environment).json["status"] == "Completed")
    assert tcp_docker_engine.client().containers.list(all=True) == []


@pytest.mark.slow
def test_a_job_whose_engine_dies(
    mlcli: Mlcli, project: Any, own_docker_engine: OwnDockerEngine, docker_engine: DockerEngine, until: Any
) -> None:
    """What has ended meanwhile is known; of what goes on, the last that was seen; with the next job nothing is left."""
    own_docker_engine.load(docker_engine.tiny_image, docker_engine)
    environment = own_docker_engine.environment
    file = project(image=docker_engine.tiny_image)
    text = file.read_text()
    for name, rest in (("ends", "while ! [ -e go ]; do sleep 0.1; done; exit 4"), ("goes_on", "sleep 1000")):
        file.write_text(text.replace("exit 0", rest))
        assert mlcli("job", "create", "-f", file, "--docker", "-n", name, env=environment).code == 0

    def statuses() -> dict[str, str]:
        listed = mlcli("job", "list", env=environment)
        assert listed.code == 0, listed.stderr
        return {run["name"]: run["status"] for run in listed.json}

    until(lambda: statuses() == {"ends": "Running", "goes_on": "Running"})
    own_docker_engine.kill()
    (Path(mlcli("job", "show", "-n", "ends", env=environment).json["folder"]) / "wd" / "go").touch()
    until(lambda: statuses() == {"ends": "Failed", "goes_on": "Running"})
    assert mlcli("job", "show", "-n", "ends", env=environment).json["exit_code"] == 4
    refused = mlcli("job", "cancel", "-n", "goes_on", env=environment)
    assert "does not answer" in refused.stderr
    submitted = mlcli("job", "create", "-f", file, "--docker", env=environment)
    assert submitted.code == 1
    assert "does not answer" in submitted.stderr
    own_docker_engine.start()
    until(lambda: set(statuses().values()) <= {"Failed", "Canceled"})
    file.write_text(text)
    assert mlcli("job", "create", "-f", file, "--docker", "--stream", env=environment).code == 0
    until(lambda: not own_docker_engine.containers())
