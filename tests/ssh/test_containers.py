"""Jobs in containers of a machine over SSH, at the command line. This machine has no engine, as far as they can know."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.engines.docker import DockerEngine
from tests.engines.sshd import DockerOverSsh, SshHost, SshHosts
from tests.environments.packages import wheel
from tests.faults.helpers import refused, wait_for
from tests.ssh.conftest import Known, attach

pytestmark = pytest.mark.usefixtures("containers_gone")
NO_ENGINE = {"DOCKER_HOST": "unix:///nowhere/docker.sock", "MLCLI_LOCAL_CONTAINER": "auto"}
On = Callable[[SshHost], "ContainerJobs"]


class ContainerJobs:
    """Jobs in containers on ``box``."""

    def __init__(self, mlcli: Known, engine: DockerEngine) -> None:
        self.mlcli = mlcli
        self.engine = engine

    def file(self, command: str, **fields: Any) -> Path:
        path = self.mlcli.cwd / f"{fields.get('name', 'job')}.yml"
        environment = {"image": self.engine.base_image}
        path.write_text(
            json.dumps({"command": command, "environment": environment, "compute": "azureml:box", **fields})
        )
        return path

    def run(self, command: str, *flags: str, **fields: Any) -> Any:
        return self.mlcli("job", "create", "-f", self.file(command, **fields), "--stream", *flags)

    def show(self, name: str) -> dict[str, Any]:
        shown: dict[str, Any] = self.mlcli("job", "show", "-n", name).json
        return shown

    def containers(self) -> list[str]:
        return self.engine.containers(below=self.mlcli.home)


@pytest.fixture
def on(tmp_path: Path, docker_engine: DockerEngine) -> Iterator[On]:
    """Jobs on a host, attached as ``box`` to a workspace of the test's own; what they built is taken away afterwards."""
    home = tmp_path / "mlcli-home"

    def make(host: SshHost) -> ContainerJobs:
        mlcli = Known(home, tmp_path, {**host.environment, **NO_ENGINE})
        attach(mlcli, "box", host.name, tmp_path / "far")
        return ContainerJobs(mlcli, docker_engine)

    yield make
    for record in home.glob("engines/*/environments/*/environment.json"):
        docker_engine.client().images.remove(json.loads(record.read_text())["place"], force=True)


@pytest.fixture
def jobs(on: On, docker_over_ssh: DockerOverSsh) -> ContainerJobs:
    """Jobs on the machine that has the session's engine."""
    return on(docker_over_ssh.host)


def test_a_job_from_its_submission_to_its_files(jobs: ContainerJobs) -> None:
    """It names an image, and that is all: code and inputs go there, outputs come home, and nothing is left."""
    here = jobs.mlcli.cwd
    for file, text in (
        ("src/go.sh", 'cat "$1/a.txt"; cp "$1/a.txt" "$2"; cat /etc/os-release\n'),
        ("data/a.txt", "a\n"),
    ):
        (here / file).parent.mkdir()
        (here / file).write_text(text)
    outputs = {
        "kept": {"type": "uri_folder"},
        "one": {"type": "uri_file", "path": str(here / "home" / "one.txt")},
        "named": {"type": "uri_folder", "name": "things"},
    }
    command = "sh go.sh ${{inputs.data}} ${{outputs.one}}; echo k > ${{outputs.kept}}/k; echo n > ${{outputs.named}}/n"
    inputs = {"data": {"type": "uri_folder", "path": "./data"}}
    done = jobs.run(command, name="one", code="./src", inputs=inputs, outputs=outputs)
    assert done.code == 0, done.stderr
    assert done.stdout.startswith("a\n")
    assert "is not used" not in done.stderr
    shown = jobs.show("one")
    assert (shown["status"], shown["exit_code"], shown["compute"]) == ("Completed", 0, "box")
    assert shown["resolved"]["runs_in"] == "container"
    assert (here / "home" / "one.txt").read_text() == "a\n"
    assert (Path(jobs.mlcli("data", "show", "-n", "things", "-v", "1").json["path"]) / "n").read_text() == "n\n"
    assert jobs.mlcli("job", "download", "-n", "one", "--output-name", "kept", "-o", "none").code == 0
    assert (here / "one" / "named-outputs" / "kept" / "k").read_text() == "k\n"
    assert jobs.mlcli("compute", "detach", "-n", "box", "--yes").code == 0
    assert jobs.show("one")["status"] == "Completed"


def test_an_exit_code_a_kept_container_and_a_cancel(jobs: ContainerJobs) -> None:
    refused(jobs.run("echo so; exit 3", "--keep-container", name="one"), "the command exited with code 3", "so")
    assert [name.rpartition("-")[0] for name in jobs.containers()] == ["mlcli-one"]
    assert jobs.mlcli("job", "delete", "-n", "one", "--yes").code == 0
    assert jobs.containers() == []
    assert jobs.mlcli("job", "create", "-f", jobs.file("sleep 1000", name="two")).code == 0
    wait_for(lambda: jobs.show("two")["status"] == "Running")
    assert jobs.mlcli("job", "cancel", "-n", "two").code == 0
    wait_for(lambda: jobs.show("two")["status"] == "Canceled")


def test_an_image_is_built_there_once(jobs: ContainerJobs) -> None:
    """The second job finds what the first one has made."""
    context, word = jobs.mlcli.cwd / "context", uuid.uuid4().hex
    context.mkdir()
    (context / "Dockerfile").write_text(f"FROM {jobs.engine.tiny_image}\nRUN echo {word} > /word\n")
    for building in (True, False):
        done = jobs.run("cat /word", environment={"build": {"path": "./context"}})
        assert done.stdout.startswith(f"{word}\n"), done.stderr
        assert ("building" in done.stderr) is building


@pytest.mark.slow
def test_a_conda_file_becomes_an_image_there(jobs: ContainerJobs) -> None:
    here, word = jobs.mlcli.cwd, uuid.uuid4().hex
    wheel(here / word, "alpha", "1.0")
    lines = f"dependencies:\n- python\n- pip:\n  - --no-index\n  - --find-links {here}/{word}\n  - alpha\n"
    (here / "conda.yml").write_text(lines)
    asked = {"image": jobs.engine.base_image, "conda_file": "conda.yml"}
    command = "python -c \"import alpha, importlib.metadata as about; print(about.version('alpha'))\""
    done = jobs.run(command, environment=asked)
    assert done.stdout.startswith("1.0\n"), done.stderr
    again = jobs.mlcli("job", "create", "-f", jobs.file(command, environment=asked), "--dry-run")
    assert again.json["environment"]["cached"] is True


def test_a_broken_link_and_a_killed_command_lose_nothing(
    on: On, make_ssh_host: Callable[..., SshHost], docker_engine: DockerEngine
) -> None:
    """The container goes on. Who follows goes on when the link is back; whoever comes later has the whole log."""
    host = make_ssh_host(variables=docker_engine.environment)
    jobs = on(host)
    file = jobs.file("for i in 1 2 3 4 5 6 7 8; do echo tick $i; sleep 1; done", name="long")
    following = jobs.mlcli.start("job", "create", "-f", file, "--stream", "-o", "none")
    assert following.stdout is not None
    assert following.stdout.readline() == b"tick 1\n"
    host.stop()
    assert jobs.show("long")["status"] == "Running"
    host.start()
    assert following.stdout.readline() == b"tick 2\n"
    following.kill()
    following.communicate()
    done = jobs.mlcli("job", "stream", "-n", "long", "-o", "none")
    assert (done.code, done.stdout) == (0, "".join(f"tick {number}\n" for number in range(1, 9))), done.stderr


@pytest.mark.slow
def test_a_link_that_breaks_in_a_build(
    on: On, make_ssh_host: Callable[..., SshHost], docker_engine: DockerEngine
) -> None:
    """The image is built when it is back."""
    host = make_ssh_host(variables=docker_engine.environment)
    jobs = on(host)
    dockerfile = f"FROM {docker_engine.tiny_image}\nRUN echo {uuid.uuid4()} && sleep 3\n"
    (jobs.mlcli.cwd / "context").mkdir()
    (jobs.mlcli.cwd / "context" / "Dockerfile").write_text(dockerfile)
    file = jobs.file("echo so", name="built", environment={"build": {"path": "./context"}})
    assert jobs.mlcli("job", "create", "-f", file).code == 0
    log = jobs.mlcli.home / "workspaces" / "default" / "runs" / "built" / "system_logs" / "preparation.log"
    wait_for(lambda: log.exists() and "RUN echo" in log.read_text())
    host.stop()
    host.start()
    done = jobs.mlcli("job", "stream", "-n", "built", "-o", "none")
    assert (done.code, done.stdout) == (0, "so\n"), done.stderr
    assert "it is tried again" in log.read_text()


@pytest.mark.slow
def test_a_cable_is_pulled_while_a_job_is_followed(on: On, ssh_hosts: SshHosts, docker_engine: DockerEngine) -> None:
    """Nobody is told that it is: what asks waits, no new job begins, and nothing is missing afterwards."""
    host = replace(ssh_hosts["h1"], variables=docker_engine.environment)
    host.stop()
    host.write_configuration()
    host.start()
    jobs = on(host)
    file = jobs.file("for i in $(seq 1 40); do echo tick $i; sleep 1; done", name="long")
    following = jobs.mlcli.start("job", "create", "-f", file, "--stream", "-o", "none")
    assert following.stdout is not None
    assert following.stdout.readline() == b"tick 1\n"
    ssh_hosts.cut("h1")
    listed = jobs.mlcli("job", "list", "-o", "json")
    assert [row["status"] for row in listed.json] == ["Running"]
    assert "its jobs are shown as they were seen last" in listed.stderr
    refused(jobs.mlcli("job", "create", "-f", jobs.file("true", name="new")), "no answer")
    time.sleep(30)
    ssh_hosts.mend("h1")
    rest, said = following.communicate(timeout=180)
    assert following.returncode == 0, said
    assert rest == b"".join(b"tick %d\n" % number for number in range(2, 41))
    assert [row["name"] for row in jobs.mlcli("job", "list", "-o", "json").json] == ["long"]


def test_a_machine_without_an_engine_runs_it_on_the_host(on: On, make_ssh_host: Callable[..., SshHost]) -> None:
    jobs = on(make_ssh_host(variables={"DOCKER_HOST": "unix:///nowhere/docker.sock"}))
    done = jobs.run("echo so")
    assert (done.code, done.stdout.partition("{")[0]) == (0, "so\n"), done.stderr
    assert "there is no Docker Engine; the job runs on the host box, without a container" in done.stderr
    refused(jobs.run("echo so", "--docker"), "there is no Docker Engine")


def test_a_machine_whose_engine_is_not_wanted(jobs: ContainerJobs) -> None:
    done = jobs.run("echo so", "--no-docker", name="plain")
    assert done.code == 0, done.stderr
    assert "is not used (--no-docker): the job runs on the host box, without a container" in done.stderr
    assert jobs.show("plain")["resolved"]["runs_in"] == "host"
