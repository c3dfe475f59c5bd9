"""The batch backend over SSH keeps the contract of backends: everything of a job is on the far side."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mlcli.backends.batch import BatchBackend
from mlcli.domain.compute import SshHost
from mlcli.domain.observation import Sight
from mlcli.domain.settings import Settings
from mlcli.ports.backends import RunHandle
from mlcli.ports.stores import SnapshotStore
from mlcli.schedulers.process import ProcessScheduler
from mlcli.stores.snapshots import ContentStore
from mlcli.testing.backend import BackendContract, Job
from mlcli.transports.ssh import SshTransport
from tests.engines.sshd import SshHost as Sshd


@pytest.fixture
def ssh(ssh_host: Sshd, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[SshTransport]:
    for name, value in ssh_host.environment.items():
        monkeypatch.setenv(name, value)
    transport = SshTransport(SshHost(ssh_host.name, folder=str(tmp_path / "far")))
    yield transport
    transport.close()


class TestOverSsh(BackendContract):
    @pytest.fixture
    def backend(self, ssh: SshTransport) -> BatchBackend:
        return BatchBackend(ssh, ProcessScheduler(), Settings(kill_grace_s=2.0), name="far")

    @pytest.fixture
    def run_folder(self, tmp_path: Path) -> str:
        return str(tmp_path / "a folder there" / "quiet_fig_1")

    @pytest.fixture
    def snapshots(self, tmp_path: Path) -> SnapshotStore:
        return ContentStore(tmp_path / "store", Settings())

    def test_a_hundred_runs_are_observed_in_one_round_trip(
        self, backend: BatchBackend, ssh: SshTransport, run_folder: str, job: Job
    ) -> None:
        job.run("true")
        runs = [job.handle, *(RunHandle(f"r{number}", f"{run_folder}-{number}") for number in range(99))]
        before = ssh.frames
        told = backend.observe(runs)
        assert ssh.frames - before == 1
        assert [told[run.name].sight for run in runs] == [Sight.EXITED] + [Sight.ABSENT] * 99
