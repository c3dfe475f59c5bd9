"""The store of computes: whole or not at all, one winner, damage told."""

from __future__ import annotations

import multiprocessing
from dataclasses import replace
from pathlib import Path

import pytest

from mlcli.domain.compute import Compute, SshHost
from mlcli.domain.errors import NameTakenError, NotFoundError, StoreError
from mlcli.stores.computes import FileComputes

CLUSTER = Compute("cluster", "amlcompute", 1.5, tags={"a": "b"}, size="local.1x1", max_instances=2, document={"x": [1]})
BOX = Compute("box", "ssh", 2.5, ssh=SshHost("h", port=2222, user="ann"))


def test_what_was_kept_is_read_back(tmp_path: Path) -> None:
    store = FileComputes(tmp_path)
    assert store.list() == []
    for one in (CLUSTER, BOX):
        store.create(one)
    assert FileComputes(tmp_path).list() == [BOX, CLUSTER]
    assert store.get("box") == BOX
    assert store.edit("cluster", lambda one: replace(one, started=False)).started is False
    assert store.get("cluster") == replace(CLUSTER, started=False)
    store.delete("box")
    assert store.list() == [replace(CLUSTER, started=False)]


def test_a_name_is_given_once(tmp_path: Path) -> None:
    store = FileComputes(tmp_path)
    store.create(CLUSTER)
    with pytest.raises(NameTakenError, match="'cluster' already"):
        store.create(Compute("cluster", "ssh", 9.0))
    assert store.get("cluster") == CLUSTER


def create(root: Path, number: int) -> bool:
    try:
        FileComputes(root).create(replace(CLUSTER, description=str(number)))
    except NameTakenError:
        return False
    return True


def test_of_many_at_once_one_wins(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        won = pool.starmap(create, [(tmp_path, number) for number in range(12)])
    assert sum(won) == 1
    assert FileComputes(tmp_path).get("cluster").description == str(won.index(True))


@pytest.mark.parametrize("name", ["clustr", "x", "../cluster", "", ".hidden", "a" * 300])
def test_what_is_not_there_is_told_with_the_nearest(tmp_path: Path, name: str) -> None:
    store = FileComputes(tmp_path)
    store.create(CLUSTER)
    for ask in (store.get, store.delete):
        with pytest.raises(NotFoundError) as told:
            ask(name)
        assert "cluster" in (told.value.hint or "")


def test_a_failed_edit_changes_nothing(tmp_path: Path) -> None:
    store = FileComputes(tmp_path)
    store.create(CLUSTER)
    with pytest.raises(ZeroDivisionError):
        store.edit("cluster", lambda one: replace(one, max_instances=1 // 0))
    assert store.get("cluster") == CLUSTER


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


def test_who_watches_is_noted_and_forgotten(tmp_path: Path) -> None:
    store = FileComputes(tmp_path)
    store.create(CLUSTER)
    me = {"boot_id": "b", "pid": 1, "start_time": 2}
    assert store.watcher("cluster") is None
    store.set_watcher("cluster", me)
    assert store.watcher("cluster") == me
    (tmp_path / "computes" / ".cluster.watcher.json").write_text("{")
    assert store.watcher("cluster") is None
    store.set_watcher("cluster", None)
    assert store.list() == [CLUSTER]


def test_a_disk_that_refuses_is_told(tmp_path: Path) -> None:
    (tmp_path / "computes").write_text("a file")
    store = FileComputes(tmp_path)
    with pytest.raises(StoreError):
        store.create(CLUSTER)


def test_a_host_is_found_after_its_compute_is_gone(tmp_path: Path) -> None:
    store = FileComputes(tmp_path)
    store.create(BOX)
    first = SshHost("h", port=2222, user="ann")
    assert store.host(first.key) == first
    store.edit("box", lambda one: replace(one, ssh=replace(first, key_file="/k", host_key="SHA256:x")))
    assert store.host(first.key).key_file == "/k"
    moved = replace(first, address="other")
    store.edit("box", lambda one: replace(one, ssh=moved))
    store.delete("box")
    assert (store.host(first.key).key_file, store.host(moved.key)) == ("/k", moved)
    with pytest.raises(NotFoundError, match="has, or had, the SSH host 0123456789ab"):
        store.host("0123456789ab")
    (tmp_path / "computes" / "hosts" / f"{moved.key}.json").write_text("{}")
    with pytest.raises(StoreError, match="is damaged"):
        store.host(moved.key)
