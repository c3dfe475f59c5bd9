"""The snapshot store: the contract's suite, then what is its own: what it remembers, damage, and pruning."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from mlcli import agent
from mlcli.domain.errors import SnapshotError
from mlcli.domain.settings import Settings
from mlcli.stores import _memory, _scan, snapshots
from mlcli.stores._objects import SMALL
from mlcli.stores.snapshots import ContentStore, Entry, decode_node, encode_node
from mlcli.testing.snapshot_store import SMALL_SETTINGS, SnapshotStoreSuite, tree_of


class TestContentStore(SnapshotStoreSuite):
    @pytest.fixture
    def store(self, tmp_path: Path) -> ContentStore:
        return ContentStore(tmp_path / "workspace", SMALL_SETTINGS)


@pytest.fixture
def store(tmp_path: Path) -> ContentStore:
    return ContentStore(tmp_path / "workspace", Settings())


@pytest.fixture
def code(tmp_path: Path) -> Path:
    code = tmp_path / "code"
    (code / "src").mkdir(parents=True)
    (code / "train.py").write_text("print('hello')\n")
    (code / "src" / "big").write_bytes(os.urandom(3 * SMALL))
    (code / "src" / "small").write_bytes(os.urandom(SMALL))
    return code


def again(store: ContentStore) -> ContentStore:
    """The same workspace, as the next command sees it."""
    return ContentStore(store._workspace, store._settings)


def age(store: ContentStore) -> None:
    """Make every snapshot one of yesterday, which prune need not spare."""
    with store._objects.database.write() as connection:
        connection.execute("UPDATE snapshots SET used_at = used_at - 86400")


def test_a_node_reads_as_it_was_written() -> None:
    entries = [
        Entry(b"d", 0, 12, 3, b"ab", b"\xff\nname"),
        Entry(b"f", 0o755, 1, 1, b"cd", b"a b"),
        Entry(b"l", 0, 0, 0, b"../x", b"link"),
    ]
    assert decode_node(encode_node(reversed(entries))) == sorted(entries, key=lambda entry: entry.name)
    assert decode_node(encode_node([])) == []
    with pytest.raises(ValueError, match="folder"):
        decode_node(b"")


# What is remembered


def settle(code: Path) -> None:
    """Let the clock pass the grain within which a change could go unseen."""
    newest = max(path.lstat().st_ctime_ns for path in code.rglob("*"))
    while time.time_ns() < newest + 4 * _scan._GRAIN_NS:
        time.sleep(0.05)


def test_only_what_changed_is_read_again(store: ContentStore, code: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settle(code)
    store.put(code)
    (code / "train.py").write_text("print('bye')\n")
    read: list[str] = []
    open_file = os.open

    def opened(path: str, flags: int, *rest: int) -> int:
        if flags == snapshots._READ:
            read.append(os.path.basename(path))
        return open_file(path, flags, *rest)

    monkeypatch.setattr(os, "open", opened)
    changed = again(store).put(code)
    assert read == ["train.py"]
    assert changed.new_files == 1


def test_a_file_changed_just_before_it_was_read_is_read_again(store: ContentStore, code: Path) -> None:
    fresh = time.time_ns()
    facts = ["old", 0o100644, 1, 0, 7, fresh - 10**12, "new", 0o100644, 1, 0, 8, fresh - 1000]
    remembered = _scan.unpack(_scan.to_remember(facts, fresh))
    assert remembered[: _scan.WIDTH] == facts[: _scan.WIDTH]
    assert remembered[-1] == -1
    whole_seconds = ["x", 0o100644, 1, 0, 7, (fresh // 10**9 - 1) * 10**9]
    assert _scan.unpack(_scan.to_remember(whole_seconds, fresh))[-1] == -1


@pytest.mark.parametrize("damage", [b"", b"x", b"\0" * 100, None])
def test_a_damaged_memory_is_no_memory(store: ContentStore, code: Path, damage: bytes | None) -> None:
    digest = store.put(code).digest
    (memory,) = (store._root / "memory").iterdir()
    data = memory.read_bytes()
    memory.write_bytes(data[: len(data) // 2] + b"\xff" + data[len(data) // 2 + 1 :] if damage is None else damage)
    assert _memory.recall(memory) == _memory.Memory()
    assert again(store).put(code).digest == digest


def test_a_torn_record_is_written_over(store: ContentStore, code: Path) -> None:
    for number in range(9):
        (code / f"folder_{number}").mkdir()
    store.put(code)
    (memory,) = (store._root / "memory").iterdir()
    with memory.open("ab") as file:
        file.write(b"torn")
    (code / "train.py").write_text("changed")
    digest = store.put(code).digest
    recalled = _memory.recall(memory)
    assert recalled.length == memory.stat().st_size
    assert recalled.folders[""].node.hex() == digest


def test_a_memory_grows_by_what_changed_and_is_written_anew_in_the_end(store: ContentStore, code: Path) -> None:
    for folder in range(40):
        (code / f"folder_{folder}").mkdir()
        for file in range(20):
            (code / f"folder_{folder}" / f"{file}.py").write_text("")
    store.put(code)
    (memory,) = (store._root / "memory").iterdir()
    whole = memory.stat().st_size
    sizes = []
    for number in range(40):
        (code / "folder_7" / "3.py").write_text(str(number))
        os.utime(code / "folder_7" / "3.py", (number, number))
        store.put(code)
        sizes.append(memory.stat().st_size)
    assert max(sizes) < 2 * whole
    assert any(after > before for before, after in pairwise(sizes))
    assert any(after < before for before, after in pairwise(sizes))
    (code / "folder_8" / "3.py").write_text("changed")
    expected = ContentStore(store._workspace / "fresh", Settings()).put(code).digest
    assert again(store).put(code).digest == expected


def test_the_workspace_is_not_part_of_the_code(tmp_path: Path) -> None:
    code = tmp_path / "code"
    code.mkdir()
    (code / "train.py").write_text("x")
    store = ContentStore(code / "work" / "space", Settings())
    first = store.put(code)
    assert store.put(code).digest == first.digest
    assert [path for path, _, _ in store.entries(first.digest)] == ["train.py"]


# Files that do not stand still


def test_a_file_that_grows_while_it_is_read_is_stored_as_it_was_read(
    store: ContentStore, code: Path, tmp_path: Path
) -> None:
    stop = threading.Event()

    def write() -> None:
        with (code / "growing.log").open("ab", buffering=0) as log:
            while not stop.is_set():
                log.write(b"x" * 999 + b"\n")
                time.sleep(0.0002)

    (code / "growing.log").write_bytes(b"")
    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(20):
            stored = store.put(code)
            store.materialise(stored.digest, tmp_path / str(number))
            copied = (tmp_path / str(number) / "growing.log").stat().st_size
            assert {path: size for path, _, size in store.entries(stored.digest)}["growing.log"] == copied
    finally:
        stop.set()
        writer.join()


def test_files_that_vanish_while_they_are_read_are_not_there(store: ContentStore, code: Path) -> None:
    stop = threading.Event()

    def churn() -> None:
        number = 0
        while not stop.is_set():
            folder = code / f"tmp_{number % 7}"
            folder.mkdir(exist_ok=True)
            (folder / "a").write_text(str(number))
            (folder / "a").unlink()
            folder.rmdir()
            number += 1

    churner = threading.Thread(target=churn)
    churner.start()
    try:
        for _ in range(40):
            kept = {path for path, _, _ in store.entries(store.put(code).digest)}
            assert {"train.py", "src/big", "src/small"} <= kept
    finally:
        stop.set()
        churner.join()


@contextmanager
def as_somebody() -> Iterator[None]:
    """As a user whom permissions bind, when the tests run as root."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that everybody may use."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


def test_unreadable_files_and_folders_are_all_named(public: Path) -> None:
    with as_somebody():
        code = public / "code"
        (code / "locked").mkdir(parents=True)
        (code / "locked" / "file").write_text("x")
        (code / "secret").write_text("x")
        (code / "ok").write_text("x")
        store = ContentStore(public / "workspace", Settings())
        assert store.put(code).summary.files == 3
        (code / "secret").write_text("y")
        (code / "secret").chmod(0)
        with pytest.raises(SnapshotError) as told:
            store.put(code)
        assert told.value.details == (f"{code}/secret: Permission denied",)
        (code / "locked").chmod(0)
        with pytest.raises(SnapshotError) as told:
            store.put(code)
        assert told.value.details == (f"{code}/locked: Permission denied",)
        (code / "locked").chmod(0o700)


def test_a_tree_too_deep_is_told(store: ContentStore, tmp_path: Path) -> None:
    deep = tmp_path / "deep"
    deep.mkdir()
    here = os.open(deep, os.O_RDONLY)
    for _ in range(1200):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    with pytest.raises(SnapshotError):
        store.put(deep)
    os.system(f"rm -rf {deep}")


# Damage


@pytest.mark.parametrize("path", ["src/big", "src/small", "train.py"])
@pytest.mark.parametrize("how", ["flipped", "gone"])
def test_a_damaged_object_is_told_and_healed_by_the_next_put(
    store: ContentStore, code: Path, tmp_path: Path, path: str, how: str
) -> None:
    stored = store.put(code)
    digest = bytes.fromhex({name: one for name, one, _ in store.entries(stored.digest)}[path])
    blob = store._objects.path(digest)
    if blob.exists():
        data = blob.read_bytes()
        blob.write_bytes(b"\0" + data[1:]) if how == "flipped" else blob.unlink()
    else:
        with store._objects.database.write() as connection:
            change = "UPDATE objects SET data = x'00'" if how == "flipped" else "DELETE FROM objects"
            connection.execute(f"{change} WHERE digest = ?", (digest,))
    with pytest.raises(SnapshotError, match=r"damaged|not in the store") as told:
        store.materialise(stored.digest, tmp_path / "copy")
    assert "again" in (told.value.hint or "")
    assert again(store).put(code).digest == stored.digest
    store.materialise(stored.digest, tmp_path / "healed")
    assert tree_of(tmp_path / "healed") == tree_of(code)


def test_a_ruined_database_is_put_aside_and_the_next_put_stores_everything(store: ContentStore, code: Path) -> None:
    digest = store.put(code).digest
    store.close()
    (store._root / "objects.sqlite").write_bytes(b"ruined" * 1000)
    next_store = again(store)
    stored = next_store.put(code)
    assert (stored.digest, stored.new_files) == (digest, 3)
    assert "made anew" in next_store.notices[0]


def test_the_database_is_checked_after_a_restart_of_the_machine(
    store: ContentStore, code: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(300):
        (code / f"{number}.bin").write_bytes(os.urandom(3000))
    digest = store.put(code).digest
    store.close()
    file = store._root / "objects.sqlite"
    boot, _, machine = agent.boot_id().partition("@")
    monkeypatch.setattr(agent, "boot_id", lambda: f"second-{boot}@{machine}")
    sound = again(store)
    assert sound.put(code).new_files == 0
    sound.close()
    data = bytearray(file.read_bytes())
    for page in range(8 * 4096, len(data), 4096):
        data[page : page + 64] = b"\xff" * 64
    file.write_bytes(data)
    monkeypatch.setattr(agent, "boot_id", lambda: f"third-{boot}@{machine}")
    healed = again(store)
    assert healed.put(code).digest == digest
    assert "made anew" in healed.notices[0]


# Writing out


def test_what_stands_in_the_way_is_replaced_and_links_are_not_followed(
    store: ContentStore, code: Path, tmp_path: Path
) -> None:
    digest = store.put(code).digest
    target = tmp_path / "target"
    target.mkdir()
    (tmp_path / "precious").write_text("data")
    (target / "train.py").symlink_to(tmp_path / "precious")
    store.materialise(digest, target)
    store.materialise(digest, target)
    assert tree_of(target) == tree_of(code)
    assert (tmp_path / "precious").read_text() == "data"


def test_hard_links_become_files_of_their_own(store: ContentStore, code: Path, tmp_path: Path) -> None:
    os.link(code / "src" / "big", code / "linked")
    stored = store.put(code)
    assert (stored.summary.files, stored.new_files) == (4, 3)
    store.materialise(stored.digest, tmp_path / "copy")
    assert (tmp_path / "copy" / "linked").stat().st_nlink == 1
    assert (tmp_path / "copy" / "linked").read_bytes() == (code / "src" / "big").read_bytes()


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_modes_do_not_depend_on_the_umask(store: ContentStore, code: Path, tmp_path: Path, umask: int) -> None:
    (code / "train.py").chmod(0o775)
    (code / "src" / "small").chmod(0o640)
    digest = store.put(code).digest
    before = os.umask(umask)
    try:
        store.materialise(digest, tmp_path / "copy")
    finally:
        os.umask(before)
    assert (tmp_path / "copy" / "train.py").stat().st_mode & 0o777 == 0o775
    assert (tmp_path / "copy" / "src" / "small").stat().st_mode & 0o777 == 0o640


# Pruning


def test_prune_keeps_what_is_named_and_frees_the_rest(store: ContentStore, code: Path, tmp_path: Path) -> None:
    first = store.put(code).digest
    (code / "src" / "big").write_bytes(os.urandom(4 * SMALL))
    (code / "train.py").write_text("second")
    second = store.put(code).digest
    assert store.prune([]) == 0
    age(store)
    assert store.prune([first, second]) == 0
    store.close()
    before = (store._root / "objects.sqlite").stat().st_size
    assert store.prune([second]) > 3 * SMALL
    store.materialise(second, tmp_path / "kept")
    assert tree_of(tmp_path / "kept") == tree_of(code)
    with pytest.raises(SnapshotError):
        store.materialise(first, tmp_path / "gone")
    assert store.prune([]) > 5 * SMALL
    assert not any(file.is_file() for file in (store._root / "blobs").rglob("*"))
    store.close()
    assert (store._root / "objects.sqlite").stat().st_size < before
    stored = again(store).put(code)
    assert (stored.digest, stored.new_files) == (second, 3)


def test_a_put_while_others_prune_is_whole(store: ContentStore, code: Path, tmp_path: Path) -> None:
    stop = threading.Event()
    refused: list[str] = []

    def prune() -> None:
        other = again(store)
        while not stop.is_set():
            age(other)
            other.prune([])
        other.close()

    pruner = threading.Thread(target=prune)
    pruner.start()
    try:
        for number in range(15):
            (code / "train.py").write_text(str(number))
            try:
                store.put(code)
            except SnapshotError as error:
                refused.append(error.message)
    finally:
        stop.set()
        pruner.join()
    assert all("keep deleting" in message for message in refused)
    digest = store.put(code).digest
    store.materialise(digest, tmp_path / "copy")
    assert tree_of(tmp_path / "copy") == tree_of(code)


def test_prune_sweeps_files_that_no_row_speaks_of(store: ContentStore, code: Path) -> None:
    digest = store.put(code).digest
    stray = store._objects.path(b"\xab" * 32)
    stray.parent.mkdir(parents=True, exist_ok=True)
    stray.write_bytes(b"x" * 1000)
    assert store.prune([digest]) == 1000
    assert not stray.exists()
