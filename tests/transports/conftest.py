"""SSH hosts as this process reaches them: their configuration is the only one that ``ssh`` here reads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mlcli.domain.compute import SshHost
from mlcli.transports.ssh import SshTransport
from tests.engines.sshd import SshHost as Sshd


def known_to(monkeypatch: pytest.MonkeyPatch, host: Sshd) -> Sshd:
    """Its names and keys, for this process."""
    for name, value in host.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return host


@pytest.fixture
def sshd(ssh_host: Sshd, monkeypatch: pytest.MonkeyPatch) -> Sshd:
    """The session's sshd on the loopback."""
    return known_to(monkeypatch, ssh_host)


@pytest.fixture
def ssh(sshd: Sshd, tmp_path: Path) -> Iterator[SshTransport]:
    """A transport to it; what is mlcli's there lies in the test's own folder."""
    transport = SshTransport(SshHost(sshd.name, folder=str(tmp_path / "far")))
    yield transport
    transport.close()
