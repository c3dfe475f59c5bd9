"""The Docker backend over a real engine: in an image with Python, and in one that has nothing but a shell."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlcli.backends.docker import DockerBackend
from mlcli.backends.far_engine import FarEngine
from mlcli.domain.compute import SshHost
from mlcli.domain.observation import Sight
from mlcli.domain.settings import Settings
from mlcli.ports.environments import Activation
from mlcli.ports.stores import SnapshotStore
from mlcli.stores.snapshots import ContentStore
from mlcli.testing.backend import BackendContract, Job
from mlcli.transports.ssh import SshTransport
from tests.engines.docker import DockerEngine
from tests.engines.sshd import DockerOverSsh


class ContainerJob(Job):
    """A job whose activation is an image."""

    image = ""

    def submit(self, command: str, *, activation: Activation = Activation(), **changes: Any) -> None:  # noqa: B008
        super().submit(command, activation=replace(activation, image=self.image), **changes)

    def ended(self) -> None:
        """Wait until it does not run any more, however that came."""
        self.until(lambda: self.look().sight not in {Sight.RUNNING, Sight.STARTING})


@pytest.mark.usefixtures("containers_gone")
class InContainers(BackendContract):
    @pytest.fixture
    def image(self, docker_engine: DockerEngine) -> str:
        raise NotImplementedError

    @pytest.fixture
    def backend(self, docker_engine: DockerEngine, monkeypatch: pytest.MonkeyPatch) -> DockerBackend:
        monkeypatch.setenv("DOCKER_HOST", docker_engine.base_url)
        return DockerBackend(Settings(kill_grace_s=2.0))

    @pytest.fixture
    def run_folder(self, tmp_path: Path) -> str:
        return str(tmp_path / "a folder" / "quiet_fig_1")

    @pytest.fixture
    def snapshots(self, tmp_path: Path) -> SnapshotStore:
        return ContentStore(tmp_path / "store", Settings())

    @pytest.fixture
    def job(
        self, backend: DockerBackend, snapshots: SnapshotStore, run_folder: str, image: str
    ) -> Iterator[ContainerJob]:
        job = ContainerJob(backend, snapshots, run_folder)
        job.image = image
        yield job
        backend.cancel(job.handle)
        job.ended()
        backend.forget(job.handle)


class TestWithPython(InContainers):
    @pytest.fixture
    def image(self, docker_engine: DockerEngine) -> str:
        return docker_engine.base_image


class TestWithoutPython(InContainers):
    @pytest.fixture
    def image(self, docker_engine: DockerEngine) -> str:
        return docker_engine.tiny_image


class TestOnAFarEngine(TestWithPython):
    """That of a machine over SSH, which cannot mount this machine's folders: everything is copied."""

    @pytest.fixture
    def backend(
        self, docker_over_ssh: DockerOverSsh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[DockerBackend]:
        for name, value in docker_over_ssh.host.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
        transport = SshTransport(SshHost(docker_over_ssh.host.name, folder=str(tmp_path / "far")))
        yield DockerBackend(Settings(kill_grace_s=2.0), name="docker.far", client=FarEngine(transport, "far").client)
        transport.close()


class TestWithoutPythonOnAFarEngine(TestOnAFarEngine):
    @pytest.fixture
    def image(self, docker_engine: DockerEngine) -> str:
        return docker_engine.tiny_image
