"""Machines over SSH as a person has them: attached once to a workspace, named in job files."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Mlcli, Result
from tests.engines.sshd import SshHost
from tests.faults.helpers import Jobs, wait_for


@dataclass(frozen=True)
class Known(Mlcli):
    """``mlcli`` for somebody who can reach the hosts of these tests, and wants no containers there."""

    variables: Mapping[str, str]

    def environment(self, extra: Mapping[str, str | None] | None = None) -> dict[str, str]:
        plain = {"SSH_AUTH_SOCK": None, "MLCLI_LOCAL_CONTAINER": "never"}
        return super().environment({**plain, **self.variables, **(extra or {})})


class FarJobs(Jobs):
    """Jobs on ``box``, a machine whose disk these tests can see: its folder of mlcli's is ``far``."""

    def __init__(self, mlcli: Mlcli, far: Path) -> None:
        super().__init__(mlcli)
        self.far = far

    def file(self, command: str, **fields: Any) -> Path:
        return super().file(command, **{"compute": "azureml:box", **fields})

    def folder(self, name: str) -> Path:
        """The run folder over there."""
        return self.far / "runs" / (self.workspace / "id").read_text() / name

    def near(self, name: str) -> Path:
        """The run folder here."""
        return self.runs / name

    def near_document(self, name: str, file: str) -> Any:
        """A JSON document of the run folder here, None while it is not there."""
        path = self.near(name) / file
        return json.loads(path.read_bytes()) if path.exists() else None

    def kill_processes(self, name: str) -> None:
        """As when the machine is switched off: the agent with its command."""
        self.kill_agent(name)
        for pid in self.processes(name):
            os.kill(pid, signal.SIGKILL)

    def run(self, command: str, **fields: Any) -> Result:
        """A job, followed to its end."""
        return self.mlcli("job", "create", "-f", self.file(command, **fields), "--stream")

    def ended(self, name: str, status: str = "Completed") -> dict[str, Any]:
        """The record of a job that ends so."""
        wait_for(lambda: self.show(name)["status"] in ENDS)
        record = self.show(name)
        assert record["status"] == status, record
        return record


ENDS = {"Completed", "Failed", "Canceled", "NotResponding"}


def attach(mlcli: Mlcli, name: str, address: str, folder: Path, *flags: str) -> None:
    done = mlcli(
        *("compute", "attach", "--name", name, "--type", "virtualmachine", "--address", address),
        *("--set", f"working_directory={folder}"),
        *flags,
    )
    assert done.code == 0, done.stderr


@pytest.fixture(scope="module")
def attached(ssh_host: SshHost, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Mapping[str, str]]:
    """A home of mlcli with the compute ``box``, its folder over there, and the variables with which it is reached."""
    place = tmp_path_factory.mktemp("ssh")
    mlcli = Known(place / "home", place, ssh_host.environment)
    attach(mlcli, "box", ssh_host.name, place / "far")
    return mlcli.home, place / "far", ssh_host.environment


@pytest.fixture
def jobs(attached: tuple[Path, Path, Mapping[str, str]], tmp_path: Path) -> FarJobs:
    """Jobs on ``box``, typed in a folder of the test's own; the workspace is shared by the tests of a file."""
    home, far, variables = attached
    return FarJobs(Known(home, tmp_path, variables), far)


@pytest.fixture
def jobs_on(tmp_path: Path) -> Callable[[SshHost], FarJobs]:
    """Jobs on another host, attached as ``box`` to a workspace of the test's own."""

    def make(host: SshHost) -> FarJobs:
        mlcli = Known(tmp_path / "mlcli-home", tmp_path, host.environment)
        attach(mlcli, "box", host.name, tmp_path / "far")
        return FarJobs(mlcli, tmp_path / "far")

    return make
