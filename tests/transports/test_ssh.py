"""The SSH transport keeps the contract of transports, against a real sshd."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlcli.domain.settings import Settings
from mlcli.stores.snapshots import ContentStore
from mlcli.testing.transport import TransportContract
from mlcli.transports.ssh import SshTransport


class TestSshTransport(TransportContract):
    @pytest.fixture
    def transport(self, ssh: SshTransport) -> SshTransport:
        return ssh

    @pytest.fixture
    def folder(self, tmp_path: Path) -> str:
        made = tmp_path / "there"
        made.mkdir()
        return str(made)

    @pytest.fixture
    def snapshots(self, tmp_path: Path) -> ContentStore:
        return ContentStore(tmp_path / "store", Settings())
