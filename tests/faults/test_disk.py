"""Disks that are full or cannot be written, and an index that somebody holds: nothing is half done, and it is said."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.helpers import Jobs, refused, until, wait_for, wrapped
from tests.faults.servers import SlowServer

SmallDisk = Callable[[str], Path]


def fill(disk: Path, *, leave: int = 0) -> Path:
    """Take all the room that a disk has, but for ``leave`` bytes."""
    ballast = disk / "ballast"
    subprocess.run(["sh", "-c", 'cat /dev/zero > "$0"', str(ballast)], stderr=subprocess.DEVNULL, check=False)
    if leave:
        os.truncate(ballast, ballast.stat().st_size - leave)
    return ballast


# full


@pytest.mark.parametrize("leave", [0, 4096, 65536])
def test_create_on_a_full_disk_says_so_and_leaves_no_half_run(jobs: Jobs, small_disk: SmallDisk, leave: int) -> None:
    """With a little room left it gets further, wherever it stops the run is not there, or it has failed and says why."""
    disk = small_disk("2m")
    jobs.create("true", "-n", "before")
    jobs.wait("before")
    ballast = fill(disk, leave=leave)
    told = jobs.mlcli("job", "create", "-f", jobs.file("echo ran"), "-n", "victim", "--stream")
    if told.code != 0:
        refused(told, "pace")  # no space left, free some space
    rows = jobs.list()
    assert rows["before"]["status"] == "Completed"
    assert told.code == 0 or "victim" not in rows or rows["victim"]["status"] == "Failed", (told, rows)
    ballast.unlink()
    rows = jobs.settled()
    if told.code != 0:
        assert "victim" not in rows or rows["victim"]["status"] == "Failed"
        assert jobs.log("victim") == b""
    jobs.create("echo again", "-n", "after")
    assert jobs.settled()["after"]["status"] == "Completed"


def test_a_first_create_on_a_full_disk(jobs: Jobs, small_disk: SmallDisk) -> None:
    ballast = fill(small_disk("2m"))
    refused(jobs.mlcli("job", "create", "-f", jobs.file("echo ran")), "space")
    assert jobs.list() == {}
    ballast.unlink()
    jobs.create("echo ran", "-n", "after")
    assert jobs.settled()["after"]["status"] == "Completed"


def test_code_that_does_not_fit(jobs: Jobs, small_disk: SmallDisk) -> None:
    small_disk("2m")
    source = jobs.mlcli.cwd / "src"
    source.mkdir()
    (source / "weights.bin").write_bytes(os.urandom(4_000_000))
    refused(jobs.mlcli("job", "create", "-f", jobs.file("echo ran", code="src")), "space")
    assert jobs.list() == {}
    (source / "weights.bin").write_bytes(b"small")
    jobs.create("cat weights.bin", "-n", "after", code="src")
    assert jobs.settled()["after"]["status"] == "Completed"


def test_code_whose_copy_for_the_run_does_not_fit(jobs: Jobs, small_disk: SmallDisk) -> None:
    """It is stored, and the second copy of it, to work in, is too much."""
    small_disk("2m")
    source = jobs.mlcli.cwd / "src"
    source.mkdir()
    (source / "weights.bin").write_bytes(os.urandom(1_100_000))
    jobs.mlcli("job", "create", "-f", jobs.file("echo ran", code="src"), "-n", "big")
    jobs.wait("big")
    record = jobs.show("big")
    assert (record["status"], record["status_reason"]) == ("Failed", "preparation_failed")
    assert "space" in record["status_message"]
    assert jobs.log("big") == b""
    assert jobs.settled()["big"]["status"] == "Failed"


@pytest.mark.parametrize("where", ["disk", "web"])
def test_an_input_that_does_not_fit(
    jobs: Jobs, small_disk: SmallDisk, slow_server: SlowServer, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The half of it that has come is taken away again, or nobody could even say that it did not fit."""
    small_disk("2m")
    data = os.urandom(4_000_000)
    file = jobs.mlcli.cwd / "data.bin"
    file.write_bytes(data)
    monkeypatch.setattr(slow_server, "content", data)
    slow_server.open()
    path = str(file) if where == "disk" else slow_server.url("data.bin")
    name = jobs.create("cat ${{inputs.data}}", inputs={"data": {"type": "uri_file", "path": path, "mode": "download"}})
    jobs.wait(name)
    record = jobs.show(name)
    assert (record["status"], record["status_reason"]) == ("Failed", "preparation_failed")
    assert "space" in record["status_message"]
    assert jobs.settled()[name]["status"] == "Failed"


@pytest.mark.parametrize(("command", "code"), [("exit 7", 7), ("exit 0", 0)])
def test_a_job_that_fills_the_disk_is_told_as_it_ended(
    jobs: Jobs, small_disk: SmallDisk, command: str, code: int
) -> None:
    """While the disk is full, and when there is room again."""
    disk = small_disk("2m")
    go = jobs.mlcli.cwd / "go"
    name = jobs.create(f"echo begun; {until(go)}; cat /dev/zero > big; {command}")
    jobs.says(name, "begun")
    go.touch()
    wait_for(lambda: jobs.document(name, "exit.json"))
    os.truncate(fill(disk), 0)
    fill(disk)
    assert jobs.document(name, "exit.json")["code"] == code
    expected = "Completed" if code == 0 else "Failed"
    for _ in range(2):
        record = jobs.show(name)
        assert (record["status"], record["exit_code"]) == (expected, code)
        assert jobs.list()[name]["status"] == expected
        streamed = jobs.mlcli("job", "stream", "-n", name)
        assert (streamed.code, streamed.output) == (int(code != 0), jobs.log(name))
        if (disk / "ballast").exists():
            (disk / "ballast").unlink()
            (jobs.folder(name) / "wd" / "big").unlink()
    assert jobs.settled()[name]["status"] == expected


def test_a_job_whose_log_fills_the_disk_fails_by_itself(jobs: Jobs, small_disk: SmallDisk) -> None:
    """``cat`` cannot write any more and says so with its exit code; what it had written is kept."""
    small_disk("2m")
    name = jobs.create("echo begun; exec cat /dev/zero")
    record = wait_for(lambda: jobs.document(name, "exit.json"))
    assert (record["cause"], record["code"]) == ("exit", 1)
    assert jobs.show(name)["status"] == "Failed"
    log = jobs.log(name)
    assert log.startswith(b"begun\n\0")
    streamed = jobs.mlcli("job", "stream", "-n", name)
    assert (streamed.code, streamed.output) == (1, log)
    assert "Traceback" not in streamed.stderr


def test_a_full_disk_is_freed_by_delete(jobs: Jobs, small_disk: SmallDisk) -> None:
    disk = small_disk("2m")
    name = jobs.create("cat /dev/zero > big; true")
    wait_for(lambda: jobs.document(name, "exit.json"))
    fill(disk)
    (disk / "ballast").unlink()
    deleted = jobs.mlcli("job", "delete", "-n", name, "--yes")
    assert deleted.code == 0, deleted.stderr
    assert jobs.settled() == {}
    jobs.create("echo after", "-n", "after")
    assert jobs.settled()["after"]["status"] == "Completed"


# read-only


def test_a_read_only_workspace_can_be_read(jobs: Jobs, read_only: list[str]) -> None:
    name = jobs.create("echo kept; echo model > outputs/model.txt", "-n", "done", tags={"stage": "trial"})
    jobs.settled()
    shown = wrapped(jobs.mlcli, read_only, "job", "show", "-n", name)
    assert (shown.code, shown.json["status"]) == (0, "Completed"), shown.stderr
    listed = wrapped(jobs.mlcli, read_only, "job", "list", "--tag", "stage=trial", "--query", "[].name", "-o", "tsv")
    assert (listed.code, listed.stdout) == (0, "done\n"), listed.stderr
    streamed = wrapped(jobs.mlcli, read_only, "job", "stream", "-n", name)
    assert (streamed.code, streamed.stdout) == (0, "kept\n"), streamed.stderr
    fetched = wrapped(jobs.mlcli, read_only, "job", "download", "-n", name, "--download-path", "here")
    assert fetched.code == 0, fetched.stderr
    assert (jobs.mlcli.cwd / "here" / name / "outputs" / "model.txt").read_text() == "model\n"


def test_a_live_job_is_told_from_a_read_only_workspace(jobs: Jobs, read_only: list[str], tmp_path: Path) -> None:
    """What became of it cannot be noted from there, and is told all the same."""
    name = jobs.create(f"echo one; {until(tmp_path / 'go')}; echo two; exit 3")
    jobs.says(name, "one")
    assert wrapped(jobs.mlcli, read_only, "job", "show", "-n", name).json["status"] == "Running"
    (tmp_path / "go").touch()
    wait_for(lambda: jobs.document(name, "exit.json"))
    shown = wrapped(jobs.mlcli, read_only, "job", "show", "-n", name)
    assert (shown.json["status"], shown.json["exit_code"]) == ("Failed", 3)
    streamed = wrapped(jobs.mlcli, read_only, "job", "stream", "-n", name)
    assert (streamed.code, streamed.stdout) == (1, "one\ntwo\n"), streamed.stderr
    assert wrapped(jobs.mlcli, read_only, "job", "wait", name, "--timeout", "60s").code == 1
    assert jobs.settled()[name]["exit_code"] == 3


def test_a_read_only_workspace_cannot_be_changed_and_says_so(jobs: Jobs, read_only: list[str], tmp_path: Path) -> None:
    jobs.create("echo kept", "-n", "done")
    jobs.wait("done")
    jobs.create(until(tmp_path / "go"), "-n", "live")
    before = jobs.list()
    for command in (
        ["create", "-f", "job.yml"],
        ["cancel", "-n", "live"],
        ["update", "-n", "done", "--set", "tags.stage=final"],
        ["archive", "-n", "done"],
        ["delete", "-n", "done", "--yes"],
    ):
        refused(wrapped(jobs.mlcli, read_only, "job", *command), "annot be written", "ead-only")
    assert jobs.list().keys() == before.keys()
    (tmp_path / "go").touch()
    assert {row["status"] for row in jobs.settled().values()} == {"Completed"}


def test_a_read_only_workspace_without_anything_in_it(jobs: Jobs, read_only: list[str]) -> None:
    listed = wrapped(jobs.mlcli, read_only, "job", "list")
    assert (listed.code, listed.json) == (0, []), listed.stderr
    refused(wrapped(jobs.mlcli, read_only, "job", "create", "-f", jobs.file("true")), "ead-only")


def test_a_waiting_job_of_a_read_only_workspace(jobs: Jobs, read_only: list[str], slow_server: SlowServer) -> None:
    """Its supervisor is dead and none can be started: it is shown as it stands."""
    given = {"data": {"type": "uri_file", "path": slow_server.url("data.txt"), "mode": "download"}}
    name = jobs.create("cat ${{inputs.data}}", inputs=given)
    slow_server.wait_for_request()
    jobs.kill_supervisor(name)
    shown = wrapped(jobs.mlcli, read_only, "job", "show", "-n", name)
    assert shown.code == 0, shown.stderr
    assert shown.json["status"] == "Preparing"
    slow_server.open()
    assert jobs.settled()[name]["status"] == "Completed"


# locked


def test_a_lock_that_is_let_go_is_waited_for(jobs: Jobs) -> None:
    jobs.create("true", "-n", "before")
    holder = sqlite3.connect(jobs.workspace / "index.sqlite", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    with jobs.mlcli.start("job", "create", "-f", jobs.file("echo ran"), "-n", "patient") as waiting:
        wait_for(lambda: any((jobs.runs / ".marks").glob("*")))
        assert waiting.poll() is None
        holder.execute("COMMIT")
        holder.close()
        assert waiting.wait(60) == 0
    assert jobs.settled()["patient"]["status"] == "Completed"


@pytest.mark.slow
def test_a_lock_that_stays_is_named(jobs: Jobs, tmp_path: Path) -> None:
    """Longer than anybody waits (30 s): what would change something says so, what reads goes on."""
    jobs.create("echo kept", "-n", "done")
    jobs.create(f"{until(tmp_path / 'go')}; echo finished", "-n", "live")
    jobs.wait("done")
    assert jobs.list()["live"]["status"] == "Running"
    holder = sqlite3.connect(jobs.workspace / "index.sqlite", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    try:
        (tmp_path / "go").touch()
        wait_for(lambda: jobs.document("live", "exit.json"))
        changes = [
            ["create", "-f", str(jobs.file("echo ran")), "-n", "late"],
            ["update", "-n", "done", "--set", "tags.stage=final"],
            ["delete", "-n", "done", "--yes"],
        ]
        commands = [jobs.mlcli.start("job", *change) for change in [*changes, ["show", "-n", "live"]]]
        assert jobs.mlcli("job", "show", "-n", "done").json["status"] == "Completed"
        answers = [(command.communicate(timeout=120), command.returncode) for command in commands]
    finally:
        holder.execute("ROLLBACK")
        holder.close()
    *changed, ((shown, _), code) = answers
    assert (code, b'"Completed"' in shown) == (0, True)
    for (_, stderr), exit_code in changed:
        assert exit_code == 1
        assert b"held the lock" in stderr
        assert b"Traceback" not in stderr
    assert {name: row["status"] for name, row in jobs.settled().items()} == {"done": "Completed", "live": "Completed"}
    assert jobs.show("done")["tags"] == {}
