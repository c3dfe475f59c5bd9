"""What every store of computes must do. Subclass it, give the fixture ``store``, and run it with pytest."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlcli.domain.compute import Compute, SshHost
from mlcli.domain.errors import NameTakenError, NotFoundError

if TYPE_CHECKING:
    from mlcli.ports.stores import ComputeStore

CLUSTER = Compute("cluster", "amlcompute", 1.5, tags={"a": "b"}, size="local.1x1", max_instances=2, document={"x": [1]})
HOST = SshHost("h", port=2222, user="ann", folder="/home/ann/.mlcli")
BOX = Compute("box", "virtualmachine", 2.5, ssh=HOST, machine={"cores": 4, "gpus": ["T4"], "docker": None})

TEXTS = st.text(st.characters(blacklist_categories=["Cs"]), max_size=40)
NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", fullmatch=True)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
HOSTS = st.builds(
    SshHost,
    TEXTS,
    port=st.none() | st.integers(1, 65535),
    user=st.none() | TEXTS,
    key_file=st.none() | TEXTS,
    host_key=st.none() | TEXTS,
    folder=st.none() | TEXTS,
)
COMPUTES = st.builds(
    Compute,
    NAMES,
    TEXTS,
    st.floats(0, 1e10),
    description=st.none() | TEXTS,
    tags=st.dictionaries(TEXTS, TEXTS, max_size=3),
    max_instances=st.none() | st.integers(1, 1000),
    ssh=st.none() | HOSTS,
    started=st.booleans(),
    machine=st.dictionaries(TEXTS, VALUES, max_size=3),
    document=st.dictionaries(TEXTS, VALUES, max_size=3),
)


class ComputeStoreSuite:
    """The contract of ``ports.stores.ComputeStore``."""

    @pytest.fixture
    def store(self) -> ComputeStore:
        """An empty store."""
        raise NotImplementedError

    def test_an_empty_store_has_none(self, store: ComputeStore) -> None:
        assert list(store.list()) == []

    def test_what_was_kept_is_read_back(self, store: ComputeStore) -> None:
        for one in (CLUSTER, BOX):
            store.create(one)
        assert [store.get(one.name) for one in (CLUSTER, BOX)] == [CLUSTER, BOX]
        assert list(store.list()) == [BOX, CLUSTER]

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(COMPUTES)
    def test_every_compute_is_read_back_as_it_was(self, store: ComputeStore, compute: Compute) -> None:
        store.create(compute)
        assert store.get(compute.name) == compute
        if compute.ssh is not None:
            assert store.host(compute.ssh.key) == compute.ssh
        store.delete(compute.name)
        assert list(store.list()) == []

    def test_a_name_is_given_once(self, store: ComputeStore) -> None:
        store.create(CLUSTER)
        with pytest.raises(NameTakenError, match="'cluster' already"):
            store.create(replace(BOX, name="cluster"))
        assert store.get("cluster") == CLUSTER
        with pytest.raises(NotFoundError):
            store.host(HOST.key)

    def test_of_many_at_once_one_wins(self, store: ComputeStore) -> None:
        def create(number: int) -> bool:
            try:
                store.create(replace(CLUSTER, description=str(number)))
            except NameTakenError:
                return False
            return True

        with ThreadPoolExecutor(8) as pool:
            won = list(pool.map(create, range(16)))
        assert sum(won) == 1
        assert store.get("cluster").description == str(won.index(True))

    def test_edits_do_not_lose_each_other(self, store: ComputeStore) -> None:
        store.create(CLUSTER)
        with ThreadPoolExecutor(8) as pool:
            list(
                pool.map(
                    lambda n: store.edit("cluster", lambda one: replace(one, tags={**one.tags, f"t{n}": "x"})),
                    range(16),
                )
            )
        assert set(store.get("cluster").tags) == {"a", *(f"t{n}" for n in range(16))}

    def test_a_failed_edit_changes_nothing(self, store: ComputeStore) -> None:
        store.create(CLUSTER)
        with pytest.raises(ZeroDivisionError):
            store.edit("cluster", lambda one: replace(one, max_instances=1 // 0))
        assert store.get("cluster") == CLUSTER

    def test_an_edit_answers_what_is_kept(self, store: ComputeStore) -> None:
        store.create(CLUSTER)
        assert store.edit("cluster", lambda one: replace(one, started=False)) == store.get("cluster")
        assert not store.get("cluster").started

    @pytest.mark.parametrize("name", ["clustr", "x", "../cluster", "", ".hidden", "a/b", "a" * 300])
    def test_what_is_not_there_is_told_with_the_nearest(self, store: ComputeStore, name: str) -> None:
        store.create(CLUSTER)
        for ask in (store.get, store.delete, lambda name: store.edit(name, lambda one: one)):
            with pytest.raises(NotFoundError) as told:
                ask(name)
            assert "cluster" in (told.value.hint or "")

    def test_what_was_deleted_may_be_made_again(self, store: ComputeStore) -> None:
        store.create(CLUSTER)
        store.delete("cluster")
        with pytest.raises(NotFoundError):
            store.get("cluster")
        store.create(replace(CLUSTER, max_instances=9))
        assert store.get("cluster").max_instances == 9

    def test_a_host_is_found_after_its_compute_is_gone(self, store: ComputeStore) -> None:
        store.create(BOX)
        assert store.host(HOST.key) == HOST
        store.edit("box", lambda one: replace(one, ssh=replace(HOST, key_file="/k", host_key="ssh-ed25519 AAAA")))
        assert store.host(HOST.key).key_file == "/k"
        moved = replace(HOST, address="elsewhere")
        store.edit("box", lambda one: replace(one, ssh=moved))
        store.delete("box")
        assert (store.host(HOST.key).key_file, store.host(moved.key)) == ("/k", moved)
        assert list(store.list()) == []
        for key in ("0123456789ab", "../box", ""):
            with pytest.raises(NotFoundError):
                store.host(key)

    def test_nodes_are_given_out_by_one_at_a_time(self, store: ComputeStore) -> None:
        store.create(CLUSTER)
        inside, most = [0], [0]

        def allocate(_: int) -> None:
            with store.allocating("cluster"):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                time.sleep(0.005)
                inside[0] -= 1

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(allocate, range(12)))
        assert most == [1]

    def test_who_allocates_nodes_of_one_does_not_stop_others(self, store: ComputeStore) -> None:
        for one in (CLUSTER, BOX):
            store.create(one)
        done = threading.Event()

        def elsewhere() -> None:
            with store.allocating("box"):
                store.edit("cluster", lambda one: replace(one, description="meanwhile"))
                done.set()

        with store.allocating("cluster"):
            thread = threading.Thread(target=elsewhere, daemon=True)
            thread.start()
            assert done.wait(20)
        thread.join()
        assert store.get("cluster").description == "meanwhile"

    def test_who_watches_is_noted_and_forgotten(self, store: ComputeStore) -> None:
        store.create(CLUSTER)
        me = {"boot_id": "b", "pid": 1, "start_time": 2}
        assert store.watcher("cluster") is None
        store.set_watcher("cluster", me)
        assert store.watcher("cluster") == me
        assert list(store.list()) == [CLUSTER]
        store.set_watcher("cluster", None)
        assert store.watcher("cluster") is None
        store.set_watcher("cluster", me)
        store.delete("cluster")
        store.create(CLUSTER)
        assert store.watcher("cluster") is None
