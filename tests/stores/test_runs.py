"""The run store: the contract's suite, then what is its own: folders, the index, and what is left of a killed process."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mlcli import agent
from mlcli.domain.errors import NotFoundError, StoreError
from mlcli.domain.run import Event, Lease, ProcessIdentity, RunChanges, RunFilter
from mlcli.domain.state import Reason, State
from mlcli.stores import index
from mlcli.stores.runs import FolderRunStore
from mlcli.testing.run_store import EVERYTHING, NOW, RunStoreSuite, a_run


@pytest.fixture
def store(tmp_path: Path) -> FolderRunStore:
    return FolderRunStore(tmp_path / "workspace")


class TestFolderRunStore(RunStoreSuite):
    @pytest.fixture
    def store(self, store: FolderRunStore) -> FolderRunStore:
        return store


def again(store: FolderRunStore) -> FolderRunStore:
    """The same workspace, as the next command sees it."""
    return FolderRunStore(store._root)


def set_owner(store: FolderRunStore, lease: Lease) -> None:
    with store._index.write() as connection:
        index.set_lease(connection, lease.run, lease)


def names(store: FolderRunStore) -> list[str]:
    return [run.name for run in store.list(EVERYTHING)]


# The folder is the truth


def test_the_index_holds_no_document_and_the_files_are_private(store: FolderRunStore) -> None:
    folder = store.create(a_run("one"), {"job.json": {"environment_variables": {"TOKEN": "s3cret"}}})
    store.close()
    kept = b"".join(file.read_bytes() for file in store._root.glob("index.sqlite*"))
    assert b"one" in kept
    assert b"s3cret" not in kept
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o600}
    assert (store._root / "index.sqlite").stat().st_mode & 0o777 == 0o600


def test_a_missing_index_is_made_from_the_folders(store: FolderRunStore) -> None:
    store.create(a_run("one", tags={"a": "b"}), {})
    store.append("one", Event(Reason.RUNNING, NOW + 1))
    expected = store.get("one")
    store.close()
    for file in store._root.glob("index.sqlite*"):
        file.unlink()
    assert again(store).get("one") == expected
    assert names(again(store)) == ["one"]


def test_an_open_store_notices_that_its_index_was_taken_away(store: FolderRunStore) -> None:
    store.create(a_run("one"), {})
    for file in store._root.glob("index.sqlite*"):
        file.unlink()
    store.create(a_run("two", created_at=NOW + 1), {})
    assert names(store) == ["two", "one"]
    assert names(again(store)) == ["two", "one"]


@pytest.mark.parametrize(
    "content", [b"this is not a database at all" * 200, b"", b"SQLite format 3\0" + b"\xff" * 5000]
)
def test_a_ruined_index_is_put_aside_and_made_anew(store: FolderRunStore, content: bytes) -> None:
    store.create(a_run("one"), {})
    store.close()
    (store._root / "index.sqlite").write_bytes(content)
    next_store = again(store)
    assert names(next_store) == ["one"]
    assert "made anew" in next_store.notices[0]
    assert [file.read_bytes() for file in store._root.glob("index.sqlite.broken-*")] == [content]
    assert again(store).notices == []


def test_an_index_that_turns_out_ruined_is_made_anew_by_the_next_command(store: FolderRunStore) -> None:
    for number in range(300):
        store.create(a_run(f"run_{number}", description="x" * 200), {})
    store.close()
    file = store._root / "index.sqlite"
    data = bytearray(file.read_bytes())
    for page in range(4096, len(data), 4096):
        data[page : page + 100] = b"\xff" * 100
    file.write_bytes(data)
    with pytest.raises(StoreError, match="damaged") as told:
        names(again(store))
    assert "again" in (told.value.hint or "")
    assert len(names(again(store))) == 300


def test_an_index_of_another_version_is_made_anew(store: FolderRunStore) -> None:
    store.create(a_run("one"), {})
    store.close()
    connection = sqlite3.connect(store._root / "index.sqlite")
    connection.execute("PRAGMA user_version=999")
    connection.execute("DROP TABLE tags")
    connection.close()
    assert names(again(store)) == ["one"]


def test_a_folder_without_a_row_is_found_by_its_name(store: FolderRunStore) -> None:
    store.create(a_run("one"), {})
    with store._index.write() as connection:
        index.remove(connection, "one")
    assert names(store) == []
    assert store.get("one") == a_run("one")
    assert names(store) == ["one"]


@pytest.mark.parametrize("write", ["append", "update", "claim"])
def test_a_folder_without_a_row_is_written_to(store: FolderRunStore, write: str) -> None:
    store.create(a_run("one"), {})
    with store._index.write() as connection:
        index.remove(connection, "one")
    if write == "append":
        assert store.append("one", Event(Reason.RUNNING, NOW)).state is State.RUNNING
    elif write == "update":
        assert store.update("one", RunChanges(description="x")).description == "x"
    else:
        assert store.claim("one") is not None
    assert names(store) == ["one"]


def test_a_folder_that_a_person_removed_is_forgotten(store: FolderRunStore) -> None:
    folder = store.create(a_run("one"), {})
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    with pytest.raises(NotFoundError):
        store.get("one")
    assert names(store) == []


def test_broken_folders_are_told_and_left_alone(store: FolderRunStore) -> None:
    store.create(a_run("good"), {})
    for name, content in (
        ("empty", None),
        ("torn", b'{"name": "to'),
        ("odd", b'{"name": 3}'),
        ("list", b"[]"),
        ("bad", b"\xff"),
    ):
        folder = store.folder(name)
        folder.mkdir()
        (folder / "events.jsonl").write_bytes(b"")
        if content is not None:
            (folder / "run.json").write_bytes(content)
    (store._root / "runs" / "a_file").write_text("not a run")
    assert store.reindex() == 1
    assert len(store.reindex_problems) == 6
    assert all(problem.startswith(str(store._root)) for problem in store.reindex_problems)
    assert names(store) == ["good"]
    assert store.folder("torn").is_dir()
    with pytest.raises(NotFoundError):
        store.get("torn")


def test_a_torn_event_is_passed_over_and_the_next_one_is_not(store: FolderRunStore) -> None:
    folder = store.create(a_run("one"), {})
    with (folder / "events.jsonl").open("ab") as file:
        file.write(b'{"reason": "run')
    assert len(store.events("one")) == 1
    store.append("one", Event(Reason.RUNNING, NOW + 1))
    assert [event.reason for event in store.events("one")] == [Reason.SUBMITTED, Reason.RUNNING]
    store.reindex()
    assert store.get("one").state is State.RUNNING


def test_events_of_a_newer_version_do_not_hide_the_others(store: FolderRunStore) -> None:
    folder = store.create(a_run("one"), {})
    with (folder / "events.jsonl").open("ab") as file:
        file.write(b'{"reason": "teleported", "time": 1}\n{"reason": "running", "time": 2, "mood": "good"}\n')
    assert [event.reason for event in store.events("one")] == [Reason.SUBMITTED, Reason.RUNNING]


def test_the_first_command_after_a_restart_of_the_machine_trusts_the_folders(
    store: FolderRunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create(a_run("one"), {})
    with store._index.write() as connection:
        index.remove(connection, "one")
    assert names(again(store)) == []
    boot, _, machine = agent.boot_id().partition("@")
    monkeypatch.setattr(agent, "boot_id", lambda: f"next-{boot}@{machine}")
    assert names(again(store)) == ["one"]


# Leases of processes that are not this one


def test_a_dead_owners_lease_is_free_at_once(store: FolderRunStore) -> None:
    store.create(a_run("one"), {})
    me = agent.identity()
    later = time.time() + 1000
    for owner in (
        ProcessIdentity(me["boot_id"], me["pid"], me["start_time"] - 1),
        ProcessIdentity("before-restart@" + me["boot_id"].partition("@")[2], me["pid"], me["start_time"]),
    ):
        set_owner(store, Lease("one", owner, later))
        assert [run.name for run in store.unattended()] == ["one"]
        lease = store.claim("one")
        assert lease is not None
        assert store.renew(lease).owner == ProcessIdentity(**me)


def test_a_live_owner_keeps_its_lease_however_long_it_is_silent(store: FolderRunStore) -> None:
    store.create(a_run("one"), {})
    other = ProcessIdentity(**agent.identity(os.getppid()))
    set_owner(store, Lease("one", other, time.time() + 1000))
    assert store.claim("one") is None
    assert store.unattended() == []
    set_owner(store, Lease("one", other, time.time() - 1))
    assert store.claim("one") is None
    assert store.unattended() == []


def test_another_machines_lease_is_believed_until_it_runs_out(store: FolderRunStore) -> None:
    store.create(a_run("one"), {})
    far = ProcessIdentity("boot@another-machine", 1, 1)
    set_owner(store, Lease("one", far, time.time() + 1000))
    assert store.claim("one") is None
    set_owner(store, Lease("one", far, time.time() - 1))
    assert store.claim("one") is not None


# Deleting


def test_deleting_never_leaves_the_workspace(store: FolderRunStore, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("data")
    folder = store.create(a_run("one"), {})
    (folder / "link").symlink_to(outside)
    (folder / "wd").mkdir()
    (folder / "wd" / "input").symlink_to(outside / "precious")
    store.delete("one")
    elsewhere = tmp_path / "elsewhere"
    store.create(a_run("two"), {}).rename(elsewhere)
    store.folder("two").symlink_to(elsewhere)
    assert store.get("two").name == "two"
    store.delete("two")
    assert (outside / "precious").read_text() == "data"
    assert (elsewhere / "run.json").exists()
    assert names(store) == []


def test_folders_that_the_job_locked_are_deleted_too(store: FolderRunStore) -> None:
    locked = store.create(a_run("one"), {}) / "wd" / "cache"
    locked.mkdir(parents=True)
    (locked / "file").write_bytes(b"x" * 1000)
    locked.chmod(0o500)
    assert store.delete("one") > 1000
    assert list((store._root / "runs" / ".trash").iterdir()) == []


def test_what_a_killed_delete_left_is_swept_by_the_next(store: FolderRunStore) -> None:
    trash = store._root / "runs" / ".trash" / "123-left"
    trash.mkdir(parents=True)
    (trash / "file").write_text("x")
    store.create(a_run("one"), {})
    store.delete("one")
    assert not trash.exists()


# Marks: what a killed process began


def mark_of_the_dead(store: FolderRunStore, name: str) -> Path:
    """A mark as a process leaves it that is killed within a change of that run."""
    me = agent.identity()
    mark = store._root / "runs" / ".marks" / f"{me['pid']}.{me['start_time'] - 1}.0"
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.write_text(json.dumps([me["boot_id"], name]))
    return mark


def _create_killed(store: FolderRunStore) -> None:
    with store._index.write() as connection:
        index.remove(connection, "one")


def _append_killed(store: FolderRunStore) -> None:
    with (store.folder("one") / "events.jsonl").open("a") as file:
        file.write(json.dumps({"reason": "running", "time": NOW + 1}) + "\n")


def _update_killed(store: FolderRunStore) -> None:
    file = store.folder("one") / "run.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "description": "new"}))


def _delete_killed(store: FolderRunStore) -> None:
    trash = store._root / "runs" / ".trash"
    trash.mkdir(exist_ok=True)
    store.folder("one").rename(trash / "1-one")


@pytest.mark.parametrize("kill", [_create_killed, _append_killed, _update_killed, _delete_killed])
def test_what_a_killed_process_began_is_finished_by_the_next_look(
    store: FolderRunStore, kill: Callable[[FolderRunStore], None]
) -> None:
    store.create(a_run("one"), {})
    kill(store)
    mark = mark_of_the_dead(store, "one")
    seen = again(store).list(EVERYTHING)
    assert not mark.exists()
    if kill is _delete_killed:
        assert seen == []
        return
    (run,) = seen
    assert run.state is (State.RUNNING if kill is _append_killed else State.NOT_STARTED)
    assert run.description == ("new" if kill is _update_killed else None)


@pytest.mark.parametrize("content", [b"", b'["torn', b"{}", b"[1]"])
def test_a_torn_mark_is_swept(store: FolderRunStore, content: bytes) -> None:
    store.create(a_run("one"), {})
    mark = mark_of_the_dead(store, "one")
    mark.write_bytes(content)
    assert names(again(store)) == ["one"]
    assert not mark.exists()


def test_no_mark_is_left_by_what_succeeds_or_is_refused(store: FolderRunStore) -> None:
    store.create(a_run("one"), {})
    store.append("one", Event(Reason.RUNNING, NOW))
    store.update("one", RunChanges(description="x"))
    with pytest.raises(NotFoundError):
        store.delete("two")
    store.delete("one")
    assert list((store._root / "runs" / ".marks").iterdir()) == []
    assert list((store._root / "runs" / ".new").iterdir()) == []


def test_a_failed_creation_leaves_nothing(store: FolderRunStore) -> None:
    with pytest.raises(TypeError):
        store.create(a_run("one"), {"job.json": object()})
    assert names(store) == []
    assert [entry.name for entry in (store._root / "runs").iterdir() if entry.name[0] != "."] == []
    assert list((store._root / "runs" / ".new").iterdir()) == []


# Ten thousand


def test_the_index_answers_a_list_without_touching_folders(store: FolderRunStore) -> None:
    for number in range(30):
        store.create(a_run(f"run_{number:02}", created_at=NOW + number), {})
    hidden = store._root / "hidden"
    (store._root / "runs").rename(hidden)
    assert [run.name for run in store.list(RunFilter(limit=2))] == ["run_29", "run_28"]


def test_queries_of_live_runs_and_of_the_newest_use_an_index(store: FolderRunStore) -> None:
    store.create(a_run("one"), {})
    with store._index.read() as connection:
        for which, used in (
            (RunFilter(states=frozenset({State.RUNNING, State.QUEUED}), include_archived=True), "runs_alive"),
            (RunFilter(include_archived=True), "runs_by_time"),
        ):
            condition, values = index.where(which)
            query = f"EXPLAIN QUERY PLAN SELECT * FROM runs {condition} ORDER BY created_at DESC, name DESC LIMIT 5"
            assert used in str(connection.execute(query, values).fetchall())
