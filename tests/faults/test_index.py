"""The index is lost, or two processes believe that a run is theirs: the folders are the truth, and a command runs once."""

from __future__ import annotations

import os
import signal
import sqlite3
from pathlib import Path

import pytest

from mlcli import agent
from tests.faults.helpers import Jobs, until, wait_for
from tests.faults.servers import SlowServer


def lose(jobs: Jobs, how: str) -> None:
    index = jobs.workspace / "index.sqlite"
    if how == "deleted":
        for path in jobs.workspace.glob("index.sqlite*"):
            path.unlink()
    elif how == "overwritten":
        index.write_bytes(b"this is no database, and long enough to be taken for one" * 1000)
    else:
        os.truncate(index, 5000)


@pytest.mark.parametrize("how", ["deleted", "overwritten", "cut short"])
def test_the_index_is_lost_while_jobs_are_on_their_way(
    jobs: Jobs, slow_server: SlowServer, tmp_path: Path, how: str
) -> None:
    """One has ended, one runs, one is prepared by a supervisor that does not know yet."""
    jobs.create("echo kept", "-n", "done", tags={"stage": "final"})
    jobs.wait("done")
    jobs.create(f"echo begun; {until(tmp_path / 'go')}; exit 3", "-n", "live")
    given = {"data": {"type": "uri_file", "path": slow_server.url("data.txt"), "mode": "download"}}
    jobs.create("echo ran", "-n", "early", inputs=given)
    slow_server.wait_for_request()
    lose(jobs, how)
    first = jobs.mlcli("job", "list")  # may have to say that the index was ruined, and make it anew
    assert "Traceback" not in first.stderr
    rows = jobs.list()
    assert {name: row["status"] for name, row in rows.items()} == {
        "done": "Completed",
        "live": "Running",
        "early": "Preparing",
    }
    assert rows["done"]["tags"] == {"stage": "final"}
    slow_server.open()
    (tmp_path / "go").touch()
    rows = jobs.settled()
    assert {name: row["status"] for name, row in rows.items()} == {
        "done": "Completed",
        "live": "Failed",
        "early": "Completed",
    }, jobs.show("early")
    assert jobs.log("early") == b"ran\n"


def test_many_looks_at_once_at_a_run_whose_supervisor_is_dead(jobs: Jobs, slow_server: SlowServer) -> None:
    """Each of them may start another; one of those gets the run."""
    given = {"data": {"type": "uri_file", "path": slow_server.url("data.txt"), "mode": "download"}}
    jobs.create("echo ran", "-n", "orphan", inputs=given)
    slow_server.wait_for_request()
    jobs.kill_supervisor("orphan")
    looks = [jobs.mlcli.start("job", verb, "-n", "orphan") for verb in ("show", "stream", "wait", "show", "wait")]
    slow_server.wait_for_request()
    slow_server.open()
    told = [(look.communicate(timeout=120), look.returncode) for look in looks]
    assert [code for _, code in told] == [0] * len(looks), told
    assert jobs.settled()["orphan"]["status"] == "Completed"
    assert jobs.log("orphan") == b"ran\n"


def put_to_sleep(jobs: Jobs, server: SlowServer) -> int:
    """The pid of a supervisor that is stopped, with a lease that ran out long ago."""
    given = {"data": {"type": "uri_file", "path": server.url("data.txt"), "mode": "download"}}
    jobs.create("echo ran", "-n", "slept", inputs=given)
    server.wait_for_request()
    sleeper = jobs.supervisor("slept")
    assert sleeper is not None
    pid: int = sleeper["pid"]
    os.kill(pid, signal.SIGSTOP)
    index = sqlite3.connect(jobs.workspace / "index.sqlite")
    with index:
        index.execute("UPDATE runs SET lease_expires = 0")
    index.close()
    return pid


def test_a_supervisor_that_is_silent_for_long_is_not_doubled(jobs: Jobs, slow_server: SlowServer) -> None:
    """It lives: it copies something big, or the laptop was closed. Two of them would be in each other's way."""
    pid = put_to_sleep(jobs, slow_server)
    for _ in range(2):
        assert jobs.show("slept")["status"] == "Preparing"
    slow_server.open()
    os.kill(pid, signal.SIGCONT)
    jobs.wait("slept")
    assert jobs.document("slept", "supervisor.json")["pid"] == pid
    assert jobs.settled()["slept"]["status"] == "Completed", jobs.show("slept")
    assert jobs.log("slept") == b"ran\n"


def test_a_supervisor_that_never_wakes_up_can_be_cancelled(jobs: Jobs, slow_server: SlowServer) -> None:
    pid = put_to_sleep(jobs, slow_server)
    assert jobs.cancel("slept").code == 0
    wait_for(lambda: agent._facts(pid) is None)
    assert jobs.settled()["slept"]["status"] == "Canceled"
    assert jobs.log("slept") == b""
