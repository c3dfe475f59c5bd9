"""What the stores stand: kill -9 anywhere, two hundred at once, a full disk, a locked index, a file system made read-only."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlcli import agent
from mlcli.domain.errors import NameTakenError, NotFoundError, StoreError
from mlcli.domain.run import Event, RunChanges, RunFilter
from mlcli.domain.settings import Settings
from mlcli.domain.state import Reason, State
from mlcli.stores import _sqlite
from mlcli.stores.runs import FolderRunStore
from mlcli.stores.snapshots import ContentStore
from mlcli.testing.run_store import EVERYTHING, NOW, a_run
from mlcli.testing.snapshot_store import tree_of

PREAMBLE = """
import os, sys, time
from pathlib import Path
from mlcli.domain.errors import *
from mlcli.domain.run import *
from mlcli.domain.settings import Settings
from mlcli.domain.state import Reason, State
from mlcli.stores.runs import FolderRunStore
from mlcli.stores.snapshots import ContentStore
from mlcli.testing.run_store import a_run, NOW
root = Path(sys.argv[1])
"""


def start(root: Path, script: str, *arguments: str) -> subprocess.Popen[str]:
    """Another process of mlcli."""
    return subprocess.Popen(
        [sys.executable, "-c", PREAMBLE + textwrap.dedent(script), str(root), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def said(process: subprocess.Popen[str]) -> str:
    """The next line that it prints."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def the_rest(process: subprocess.Popen[str]) -> list[str]:
    """What it still prints; ``communicate`` alone would pass over what was read ahead for ``said``."""
    assert process.stdout is not None
    lines = process.stdout.read().splitlines()
    process.communicate()
    return lines


def folders(root: Path) -> set[str]:
    return {name for name in os.listdir(root / "runs") if not name.startswith(".")}


# Two hundred at once


def test_two_hundred_processes_create_at_once(tmp_path: Path) -> None:
    """Each forks off a warm process and starts on one signal: all are there, none lost, in a workspace that is new."""
    read, write = os.pipe()
    children = []
    for number in range(200):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.close(write)
                os.read(read, 1)
                store = FolderRunStore(tmp_path)
                store.create(a_run(f"run_{number}"), {"job.json": {"number": number}})
                store.append(f"run_{number}", Event(Reason.RUNNING, NOW + 1))
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    os.close(write)
    os.close(read)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * 200
    store = FolderRunStore(tmp_path)
    runs = store.list(EVERYTHING)
    assert {run.name for run in runs} == {f"run_{number}" for number in range(200)}
    assert {run.state for run in runs} == {State.RUNNING}
    assert store.reindex() == 200


def test_two_processes_that_want_one_name(tmp_path: Path) -> None:
    script = """
    store = FolderRunStore(root)
    for number in range(50):
        try:
            store.create(a_run(f"run_{number}", description=sys.argv[2]), {"who.json": sys.argv[2]})
            print(number, flush=True)
        except NameTakenError:
            pass
    """
    processes = [start(tmp_path, script, who) for who in "ab"]
    won = [process.communicate()[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sorted(won[0] + won[1], key=int) == [str(number) for number in range(50)]
    store = FolderRunStore(tmp_path)
    for who, numbers in zip("ab", won, strict=True):
        for number in numbers:
            assert store.get(f"run_{number}").description == who
            assert store.document(f"run_{number}", "who.json") == who


def test_the_index_is_rebuilt_while_others_write(tmp_path: Path) -> None:
    script = """
    store = FolderRunStore(root)
    for number in range(40):
        name = f"{sys.argv[2]}_{number}"
        store.create(a_run(name), {})
        store.append(name, Event(Reason.RUNNING, NOW + 1))
        store.append(name, Event(Reason.COMPLETED, NOW + 2, exit_code=0))
    """
    processes = [start(tmp_path, script, who) for who in "ab"]
    store = FolderRunStore(tmp_path)
    while any(process.poll() is None for process in processes):
        store.reindex()
        time.sleep(0.01)
    assert [process.wait() for process in processes] == [0, 0]
    for process in processes:
        process.communicate()
    assert len(store.list(RunFilter(states=frozenset({State.COMPLETED})))) == 80
    assert store.reindex_problems == ()


# kill -9


def test_kill_9_of_a_process_that_writes_runs_loses_nothing_it_answered_for(tmp_path: Path) -> None:
    script = """
    store = FolderRunStore(root)
    number = 0
    while True:
        name = f"{sys.argv[2]}_{number}"
        store.create(a_run(name, tags={"n": str(number)}), {"job.json": {"n": number}})
        print("created", name, flush=True)
        store.append(name, Event(Reason.RUNNING, NOW + 1))
        print("running", name, flush=True)
        store.update(name, RunChanges(description="updated"))
        print("updated", name, flush=True)
        if number % 3 == 0:
            store.delete(name)
            print("deleted", name, flush=True)
        number += 1
    """
    dice = random.Random(7)
    answered: dict[str, str] = {}
    for attempt in range(10):
        process = start(tmp_path, script, str(attempt))
        first = said(process)
        time.sleep(dice.uniform(0.0, 0.08))
        process.send_signal(signal.SIGKILL)
        for line in [first, *the_rest(process)]:
            word, _, name = line.partition(" ")
            answered[name] = word
        check_answered(FolderRunStore(tmp_path), answered)
    store = FolderRunStore(tmp_path)
    before = store.list(EVERYTHING)
    store.reindex()
    assert store.list(EVERYTHING) == before
    assert store.reindex_problems == ()
    assert list((tmp_path / "runs" / ".marks").iterdir()) == []


def check_answered(store: FolderRunStore, answered: dict[str, str]) -> None:
    """Everything that was answered for is so, or one step further; index and folders agree."""
    listed = {run.name: run for run in store.list(EVERYTHING)}
    assert set(listed) == folders(store._root)
    for name, word in answered.items():
        run = listed.get(name)
        if word == "deleted":
            assert run is None
            continue
        if run is None:
            assert word == "updated"
            continue
        assert store.document(name, "job.json") is not None
        assert run.state in ({State.NOT_STARTED, State.RUNNING} if word == "created" else {State.RUNNING})
        assert run.description == "updated" or word != "updated"
        assert run.state is store.events(name)[-1].state


def test_kill_9_of_a_process_that_stores_a_snapshot_leaves_nothing_wrong(tmp_path: Path) -> None:
    code = tmp_path / "code"
    for folder in range(10):
        (code / f"folder_{folder}").mkdir(parents=True)
        for file in range(40):
            (code / f"folder_{folder}" / f"{file}.py").write_bytes(os.urandom(500))
        (code / f"folder_{folder}" / "big").write_bytes(os.urandom(300_000))
    script = """
    store = ContentStore(root, Settings())
    print("ready", flush=True)
    number = 0
    while True:
        (Path(sys.argv[2]) / "folder_3" / "5.py").write_text(str(number))
        store.put(Path(sys.argv[2]))
        number += 1
    """
    dice = random.Random(11)
    for attempt in range(8):
        process = start(tmp_path / "workspace", script, str(code))
        said(process)
        time.sleep(dice.uniform(0.0, 0.15))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        store = ContentStore(tmp_path / "workspace", Settings())
        stored = store.put(code)
        store.materialise(stored.digest, tmp_path / f"copy_{attempt}")
        assert tree_of(tmp_path / f"copy_{attempt}") == tree_of(code)
    assert store.prune([stored.digest]) >= 0
    for blob in (tmp_path / "workspace" / "snapshots" / "blobs").glob("[0-9a-f]*/*"):
        assert hashlib.sha256(blob.read_bytes()).hexdigest() == blob.parent.name + blob.name


def test_a_killed_owners_lease_is_free_at_once(tmp_path: Path) -> None:
    store = FolderRunStore(tmp_path)
    store.create(a_run("one"), {})
    owner = start(
        tmp_path, 'assert FolderRunStore(root).claim("one", 3600); print("held", flush=True); time.sleep(600)'
    )
    assert said(owner) == "held"
    assert store.claim("one") is None
    assert store.unattended() == []
    owner.kill()
    owner.communicate()
    assert [run.name for run in store.unattended()] == ["one"]
    assert store.claim("one") is not None


# A locked index


def test_a_locked_index_is_told_and_can_still_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_sqlite, "BUSY_TIMEOUT_S", 0.2)
    store = FolderRunStore(tmp_path)
    store.create(a_run("one"), {})
    script = """
    import sqlite3
    connection = sqlite3.connect(root / "index.sqlite", isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    print("locked", flush=True)
    sys.stdin.read()
    """
    holder = start(tmp_path, script)
    assert said(holder) == "locked"
    store.close()
    with pytest.raises(StoreError, match="another process") as told:
        store.create(a_run("two"), {})
    assert "fuser" in (told.value.hint or "")
    with pytest.raises(StoreError, match="another process"):
        store.append("one", Event(Reason.RUNNING, NOW))
    assert folders(tmp_path) == {"one"}
    assert len(store.events("one")) == 1
    assert [run.name for run in FolderRunStore(tmp_path).list(EVERYTHING)] == ["one"]
    assert FolderRunStore(tmp_path).get("one").name == "one"
    holder.communicate("")
    store.create(a_run("two"), {})
    assert store.append("one", Event(Reason.RUNNING, NOW)).state is State.RUNNING


# File systems: small, read-only


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
    if os.geteuid() != 0 or sys.platform != "linux":
        pytest.skip("mounting needs root on Linux")
    mount = tmp_path / "disk"
    mount.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", mount], check=False).returncode != 0:
        pytest.skip("mounting is not allowed here")
    yield mount
    subprocess.run(["umount", "-l", mount], check=True)


def fill(disk: Path, leave: int = 0) -> Path:
    """Fill the disk to its last byte but ``leave``."""
    filler = disk / "filler"
    with filler.open("ab", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
        file.truncate(max(0, file.tell() - leave))
    return filler


@pytest.mark.parametrize("leave", [0, 4096, 8192, 12288, 20480, 40960])
def test_a_full_disk_is_told_and_leaves_nothing_half_written(small_disk: Path, leave: int) -> None:
    root = small_disk / "workspace"
    store = FolderRunStore(root)
    store.create(a_run("one", description="before"), {"job.json": {"a": 1}})
    store.create(a_run("doomed"), {"big.json": "x" * 100_000})
    store.close()
    filler = fill(small_disk, leave)
    told = []
    for number in range(60):
        try:
            store.create(a_run(f"run_{number}"), {"job.json": "y" * 3000})
        except StoreError as error:
            told.append(error.message)
    for reason in (Reason.PREPARING, Reason.QUEUED, Reason.STARTING, Reason.RUNNING):
        try:
            store.append("one", Event(reason, NOW, "m" * 500))
            store.update("one", RunChanges(description="d" * 3000))
        except StoreError as error:
            told.append(error.message)
    assert told
    assert all("no space left" in message for message in told)
    listed = {run.name for run in FolderRunStore(root).list(EVERYTHING)}
    assert listed == folders(root)
    for name in listed:
        assert store.document(name, "job.json") is not None or name == "doomed"
    assert store.get("one").description in {"before", "d" * 3000}
    freed = store.delete("doomed")
    assert freed > 100_000
    filler.unlink()
    store.create(a_run("after"), {})
    assert store.append("after", Event(Reason.RUNNING, NOW)).state is State.RUNNING
    before = store.list(EVERYTHING)
    assert store.reindex() == len(folders(root))
    assert store.list(EVERYTHING) == before
    assert store.reindex_problems == ()
    store.close()


def test_a_snapshot_that_does_not_fit_is_told_and_fits_when_there_is_room(small_disk: Path, tmp_path: Path) -> None:
    code = tmp_path / "code"
    code.mkdir()
    for number in range(6):
        (code / f"{number}.bin").write_bytes(os.urandom(60_000))
    (code / "big.bin").write_bytes(os.urandom(400_000))
    store = ContentStore(small_disk / "workspace", Settings())
    filler = fill(small_disk, leave=300_000)
    with pytest.raises(StoreError, match="no space left"):
        store.put(code)
    filler.unlink()
    digest = store.put(code).digest
    store.materialise(digest, tmp_path / "copy")
    assert tree_of(tmp_path / "copy") == tree_of(code)
    fill(small_disk, leave=100_000)
    with pytest.raises(StoreError, match="no space left"):
        store.materialise(digest, small_disk / "copy")
    store.close()


@pytest.mark.parametrize("left", ["settled", "in the log", "no index"])
def test_a_read_only_workspace_can_be_read(small_disk: Path, tmp_path: Path, left: str) -> None:
    """Whether the last writer closed the index, was killed before it did, or there is none."""
    root = small_disk / "workspace"
    script = """
    store = FolderRunStore(root)
    store.create(a_run("one"), {"job.json": 1})
    store.append("one", Event(Reason.RUNNING, NOW + 1))
    snapshots = ContentStore(root, Settings())
    (root / "code").mkdir()
    (root / "code" / "train.py").write_text("hello")
    print(snapshots.put(root / "code").digest, flush=True)
    sys.stdin.read()
    store.close()
    snapshots.close()
    """
    writer = start(root, script)
    digest = said(writer)
    if left == "in the log":
        writer.kill()
    writer.communicate("" if left != "in the log" else None)
    if left == "no index":
        for file in root.glob("index.sqlite*"):
            file.unlink()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    store = FolderRunStore(root)
    assert store.get("one").state is State.RUNNING
    assert [run.name for run in store.list(RunFilter(limit=5))] == ["one"]
    assert store.complete("o") == ["one"]
    assert store.document("one", "job.json") == 1
    assert [run.name for run in store.unattended()] == []
    assert len(store.events("one")) == 2
    with pytest.raises(NotFoundError):
        store.get("two")
    for write in (
        lambda: store.create(a_run("two"), {}),
        lambda: store.append("one", Event(Reason.COMPLETED, NOW)),
        lambda: store.update("one", RunChanges(description="x")),
        lambda: store.claim("one"),
        lambda: store.delete("one"),
        store.reindex,
        lambda: store.write_document("one", "a.json", 1),
    ):
        with pytest.raises(StoreError, match="cannot be written"):
            write()
    with pytest.raises(NameTakenError):
        store.create(a_run("one"), {})
    store.close()
    check_read_only_snapshots(root, digest, tmp_path)


def check_read_only_snapshots(root: Path, digest: str, tmp_path: Path) -> None:
    snapshots = ContentStore(root, Settings())
    assert snapshots.scan(root / "code").files == 1
    snapshots.materialise(digest, tmp_path / "copy")
    assert (tmp_path / "copy" / "train.py").read_text() == "hello"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "new.py").write_text("new")
    with pytest.raises(StoreError, match="cannot be written"):
        snapshots.put(tmp_path / "other")
    snapshots.close()


# Where WAL cannot work


def test_the_type_of_a_file_system_is_read_from_the_mounts() -> None:
    mounts = textwrap.dedent(
        """\
        22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
        90 22 0:50 / /home rw,relatime shared:2 - nfs4 server:/export rw
        91 90 0:51 / /home/ann/local\\040disk rw - xfs /dev/sdb rw
        torn line
        """
    )
    assert _sqlite.file_system_type("/work", mounts) == "ext4"
    assert _sqlite.file_system_type("/home/ann/.mlcli", mounts) == "nfs4"
    assert _sqlite.file_system_type("/homes", mounts) == "ext4"
    assert _sqlite.file_system_type("/home/ann/local disk/x", mounts) == "xfs"
    assert _sqlite.file_system_type("/x", "") == ""


def test_on_a_network_file_system_the_journal_is_the_classic_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_sqlite, "on_network", lambda _: True)
    store = FolderRunStore(tmp_path)
    store.create(a_run("one"), {})
    connection = sqlite3.connect(tmp_path / "index.sqlite")
    assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "delete"
    connection.close()
    script = 'FolderRunStore(root).append("one", Event(Reason.RUNNING, NOW)); print("done")'
    assert start(tmp_path, script).communicate()[0].strip() == "done"
    assert store.get("one").state is State.RUNNING
    assert not list(tmp_path.glob("index.sqlite-*"))


def test_a_forked_child_opens_the_index_for_itself(tmp_path: Path) -> None:
    store = FolderRunStore(tmp_path)
    store.create(a_run("one"), {})
    child = os.fork()
    if child == 0:
        code = 1
        try:
            store.create(a_run("two", created_at=NOW + 1), {})
            lease = store.claim("two")
            code = 0 if lease is not None and lease.owner.pid == agent.identity()["pid"] == os.getpid() else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert [run.name for run in store.list(EVERYTHING)] == ["two", "one"]
    assert store.claim("two") is not None
