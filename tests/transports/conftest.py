"""SSH hosts as this process reaches them: their configuration is the only one that ``ssh`` here reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mlcli.domain.compute import SshHost
from mlcli.transports.ssh import SshTransport
from tests.engines.sshd import SshHost as Sshd
from tests.engines.sshd import SshHosts

MakeSshd = Callable[..., Sshd]
Reach = Callable[..., SshTransport]


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
def make_sshd(make_ssh_host: MakeSshd, monkeypatch: pytest.MonkeyPatch) -> MakeSshd:
    """An sshd that is odd in some way."""
    return lambda **wanted: known_to(monkeypatch, make_ssh_host(**wanted))


@pytest.fixture
def network(ssh_hosts: SshHosts, monkeypatch: pytest.MonkeyPatch) -> SshHosts:
    """Three hosts whose cables can be pulled."""
    known_to(monkeypatch, ssh_hosts["h1"])
    return ssh_hosts


@pytest.fixture
def reach(tmp_path: Path) -> Iterator[Reach]:
    """``reach("host", user=..., secrets=...)``: a transport that is closed when the test is over."""
    made = []

    def transport(address: str = "host", secrets: Any = None, **fields: Any) -> SshTransport:
        options = {name: fields.pop(name) for name in ("patience_s", "tell") if name in fields}
        host = SshHost(address, **{"folder": str(tmp_path / "far"), **fields})
        made.append(SshTransport(host, *([secrets] if secrets else []), **options))
        return made[-1]

    yield transport
    for one in made:
        one.close()


@pytest.fixture
def ssh(sshd: Sshd, reach: Reach) -> SshTransport:
    """A transport to the session's sshd; what is mlcli's there lies in the test's own folder."""
    return reach(sshd.name)
