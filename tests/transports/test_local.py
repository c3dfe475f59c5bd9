"""The local transport keeps the contract of transports, and a few promises that only make sense here."""

from __future__ import annotations

import errno
import json
import os
import sys
import threading
from pathlib import Path

import pytest

from mlcli import agent
from mlcli.domain.settings import Settings
from mlcli.stores.snapshots import ContentStore
from mlcli.testing.transport import TransportContract
from mlcli.transports._files import error_of
from mlcli.transports.local import LocalTransport
from tests.agent.conftest import run as run  # noqa: PLC0414  (a fixture)
from tests.agent.helpers import RunFolder, wait_for


class TestLocalTransport(TransportContract):
    @pytest.fixture
    def transport(self) -> LocalTransport:
        return LocalTransport()

    @pytest.fixture
    def folder(self, tmp_path: Path) -> str:
        made = tmp_path / "there"
        made.mkdir()
        return str(made)

    @pytest.fixture
    def snapshots(self, tmp_path: Path) -> ContentStore:
        return ContentStore(tmp_path / "store", Settings())


def test_a_ctrl_c_for_mlcli_does_not_reach_its_commands() -> None:
    told = LocalTransport().run([sys.executable, "-c", "import os; print(os.getpgid(0), os.getsid(0))"])
    group, session = told.stdout.split()
    assert group == session
    assert int(group) != os.getpgid(0)


def test_a_job_that_submits_a_job_does_not_take_it_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(agent.COOKIE, "of the outer job")
    assert LocalTransport().run(["sh", "-c", f"echo ${{{agent.COOKIE}-none}}"]).stdout == b"none\n"


@pytest.mark.parametrize(
    ("number", "transient", "hint"),
    [(errno.ENOSPC, False, "free some space"), (errno.EROFS, False, "read-only"), (errno.EAGAIN, True, None)],
)
def test_errors_name_the_path_and_what_to_do(number: int, transient: bool, hint: str | None) -> None:
    error = error_of(OSError(number, os.strerror(number)), "/runs/r")
    assert error.message == f"/runs/r: {os.strerror(number)}"
    assert error.transient is transient
    assert hint is None or hint in (error.hint or "")


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    """Whole old or whole new, whenever it looks."""
    transport, path = LocalTransport(), str(tmp_path / "document")
    transport.write(path, b"0" * 100_000)
    seen = set()
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            seen.add(transport.read(path))

    reader = threading.Thread(target=look)
    reader.start()
    for digit in b"123456789" * 3:
        transport.write(path, bytes([digit]) * 100_000)
    done.set()
    reader.join()
    assert {(len(data or b""), len(set(data or b""))) for data in seen} == {(100_000, 1)}


def test_an_agent_whose_starter_is_killed_is_started_once_all_the_same(run: RunFolder) -> None:
    transport = LocalTransport(starts_many=True)
    start = run.argv("start", str(run.path))
    assert transport.begin(["true"]) is None
    run.launch("echo once")
    began = transport.begin(start)
    assert began is not None
    assert transport._starter is not None
    transport._starter._process.kill()
    wait_for(began.is_there)
    told = json.loads(began.get().stdout)
    assert (told["run_folder"], told["agent"]) == (str(run.path), run.agent)
    run.ended()
    again = transport.begin(start)
    assert again is not None
    wait_for(again.is_there)
    assert json.loads(again.get().stdout)["agent"] == run.agent
    transport.close()
    assert run.log() == b"once\n"
