"""Computes on the disk: the suite of every store of computes, and what only files can suffer."""

from __future__ import annotations

import json
import multiprocessing
from dataclasses import replace
from pathlib import Path

import pytest

from mlcli.domain.errors import NameTakenError, StoreError
from mlcli.stores.computes import FileComputes
from mlcli.testing.compute_store import BOX, CLUSTER, HOST, ComputeStoreSuite


class TestFileComputes(ComputeStoreSuite):
    @pytest.fixture
    def store(self, tmp_path: Path) -> FileComputes:
        return FileComputes(tmp_path)


def create(root: Path, number: int) -> bool:
    try:
        FileComputes(root).create(replace(CLUSTER, description=str(number)))
    except NameTakenError:
        return False
    return True


def test_of_many_processes_at_once_one_wins(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        won = pool.starmap(create, [(tmp_path, number) for number in range(12)])
    assert sum(won) == 1
    assert FileComputes(tmp_path).get("cluster").description == str(won.index(True))


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"name": 1, "type": "a", "created_at": 1, "document": {}}', "\xff"]
)
def test_a_damaged_file_is_named_and_the_others_are_listed(tmp_path: Path, text: str) -> None:
    store = FileComputes(tmp_path)
    store.create(CLUSTER)
    damaged = tmp_path / "computes" / "bad.json"
    damaged.write_text(text, encoding="latin-1")
    with pytest.raises(StoreError, match="is damaged"):
        store.get("bad")
    assert store.list() == [CLUSTER]
    assert str(damaged) in store.notices[0]


def test_a_disk_that_refuses_is_told(tmp_path: Path) -> None:
    (tmp_path / "computes").write_text("a file")
    store = FileComputes(tmp_path)
    with pytest.raises(StoreError):
        store.create(CLUSTER)


def test_a_damaged_watcher_or_host(tmp_path: Path) -> None:
    store = FileComputes(tmp_path)
    store.create(BOX)
    store.set_watcher("box", {"boot_id": "b", "pid": 1, "start_time": 2})
    (tmp_path / "computes" / ".box.watcher.json").write_text("{")
    assert store.watcher("box") is None
    (tmp_path / "computes" / "hosts" / f"{HOST.key}.json").write_text("{}")
    with pytest.raises(StoreError, match="is damaged"):
        store.host(HOST.key)


def test_a_compute_of_an_older_version_is_read(tmp_path: Path) -> None:
    """Fields that it did not know have their defaults; those that are not known any more are passed over."""
    store = FileComputes(tmp_path)
    store.create(BOX)
    file = tmp_path / "computes" / "box.json"
    record = json.loads(file.read_text())
    del record["machine"], record["ssh"]["known_hosts_file"]
    file.write_text(json.dumps({**record, "colour": "red"}))
    assert store.get("box") == replace(BOX, machine={})


def test_files_are_private(tmp_path: Path) -> None:
    FileComputes(tmp_path).create(BOX)
    for path in (tmp_path / "computes").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path
