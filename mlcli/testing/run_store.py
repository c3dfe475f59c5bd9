"""What every run store must do. Subclass it, give the fixture ``store``, and run it with pytest::

class TestMine(RunStoreSuite):
    @pytest.fixture
    def store(self, tmp_path):
        return MyStore(tmp_path)
"""

from __future__ import annotations

import string
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlcli.domain.errors import MlcliError, NameTakenError, NotFoundError, StoreError, UsageError
from mlcli.domain.run import Event, Lease, ProcessIdentity, Run, RunChanges, RunFilter, moves
from mlcli.domain.state import Reason, State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlcli.ports.stores import RunStore

NOW = 1_700_000_000.0
EVERYTHING = RunFilter(include_archived=True)
NAMES = st.text(string.ascii_lowercase + string.digits + "_-", min_size=1, max_size=8)


def a_run(name: str, **facts: Any) -> Run:
    """A run as ``job create`` makes it."""
    return Run(**{**new_facts(name), **facts})


def new_facts(name: str) -> dict[str, Any]:
    return {"name": name, "experiment_name": "tests", "compute": "local", "backend": "local", "created_at": NOW}


class RunStoreSuite:
    """The contract of ``ports.stores.RunStore``."""

    # create, get

    def test_what_is_created_is_found(self, store: RunStore) -> None:
        run = a_run(
            "first",
            display_name="The first",
            description="of many",
            tags={"color": "blue", "größe": "7"},
            properties={"a": "b"},
            parent="sweep",
            notices=("image ignored",),
        )
        folder = store.create(run, {"job.json": {"command": "true"}, "plan.json": [1, "é"]})
        assert folder == store.folder("first")
        assert folder.is_dir()
        assert folder.stat().st_mode & 0o077 == 0
        assert store.get("first") == run
        assert store.document("first", "job.json") == {"command": "true"}
        assert store.document("first", "plan.json") == [1, "é"]
        assert store.document("first", "none.json") is None

    def test_a_new_run_has_one_event_its_creation(self, store: RunStore) -> None:
        store.create(a_run("one"), {})
        assert [(event.reason, event.time) for event in store.events("one")] == [(Reason.SUBMITTED, NOW)]

    def test_a_name_is_taken_once(self, store: RunStore) -> None:
        store.create(a_run("one", description="mine"), {})
        with pytest.raises(NameTakenError):
            store.create(a_run("one"), {})
        assert store.get("one").description == "mine"

    def test_of_many_who_claim_one_name_one_wins(self, store: RunStore) -> None:
        won: list[int] = []
        refused: list[NameTakenError] = []
        start = threading.Barrier(8)

        def claim(number: int) -> None:
            start.wait()
            try:
                store.create(a_run("one", description=str(number)), {"who.json": number})
                won.append(number)
            except NameTakenError as error:
                refused.append(error)

        threads = [threading.Thread(target=claim, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        assert len(refused) == 7
        assert store.get("one").description == str(won[0])
        assert store.document("one", "who.json") == won[0]

    @pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../a", ".hidden", "a\0b", "x" * 300])
    def test_a_name_that_is_a_path_reaches_nothing(self, store: RunStore, name: str) -> None:
        with pytest.raises(UsageError):
            store.create(a_run(name), {})
        for ask in (store.get, store.events, store.delete):
            with pytest.raises(NotFoundError):
                ask(name)
        assert list(store.list(EVERYTHING)) == []

    def test_a_name_that_is_not_there_is_told_with_those_like_it(self, store: RunStore) -> None:
        store.create(a_run("blue_sky_12"), {})
        with pytest.raises(NotFoundError) as told:
            store.get("blue_sky_21")
        assert "blue_sky_12" in (told.value.hint or "")
        for ask in (
            lambda: store.append("none", Event(Reason.RUNNING, NOW)),
            lambda: store.update("none", RunChanges(description="x")),
            lambda: store.events("none"),
            lambda: store.delete("none"),
            lambda: store.claim("none"),
            lambda: store.write_document("none", "a.json", 1),
        ):
            with pytest.raises(NotFoundError):
                ask()
        assert store.document("none", "a.json") is None

    # documents

    def test_a_document_is_replaced_and_stays_within_its_folder(self, store: RunStore) -> None:
        store.create(a_run("one"), {"a.json": 1})
        store.write_document("one", "a.json", {"b": [2]})
        store.write_document("one", "new.json", None)
        assert store.document("one", "a.json") == {"b": [2]}
        for file in ("../a.json", "x/a.json", "", ".a"):
            with pytest.raises(StoreError):
                store.write_document("one", file, 1)
        with pytest.raises(MlcliError):
            store.create(a_run("two"), {"../escaped.json": 1})
        assert not store.folder("two").exists()

    def test_a_document_that_is_not_json_is_told(self, store: RunStore) -> None:
        store.create(a_run("one"), {})
        (store.folder("one") / "a.json").write_bytes(b'{"torn')
        with pytest.raises(StoreError, match=r"a\.json"):
            store.document("one", "a.json")

    # append

    def test_a_life_leaves_its_times_and_its_code(self, store: RunStore) -> None:
        store.create(a_run("one"), {})
        store.append("one", Event(Reason.QUEUED, NOW + 1))
        running = store.append("one", Event(Reason.RUNNING, NOW + 3))
        assert (running.state, running.started_at, running.ended_at) == (State.RUNNING, NOW + 3, None)
        ended = store.append("one", Event(Reason.COMMAND_FAILED, NOW + 9, "exited with 7", 7, NOW + 2))
        assert (ended.state, ended.reason, ended.message) == (State.FAILED, Reason.COMMAND_FAILED, "exited with 7")
        assert (ended.started_at, ended.ended_at, ended.exit_code) == (NOW + 2, NOW + 9, 7)
        assert store.get("one") == ended
        assert [event.reason.value for event in store.events("one")] == [
            "submitted",
            "queued",
            "running",
            "command_failed",
        ]

    def test_what_the_state_does_not_allow_is_dropped(self, store: RunStore) -> None:
        store.create(a_run("one"), {})
        store.append("one", Event(Reason.RUNNING, NOW + 1))
        store.append("one", Event(Reason.QUEUED, NOW + 2))
        done = store.append("one", Event(Reason.COMPLETED, NOW + 3, exit_code=0))
        assert store.append("one", Event(Reason.LOST, NOW + 4, "gone")) == done
        assert store.append("one", Event(Reason.RUNNING, NOW + 5)) == done
        assert len(store.events("one")) == 3

    def test_a_sweep_is_paused_and_resumed_and_nothing_else_is(self, store: RunStore) -> None:
        store.create(a_run("one"), {})
        store.create(a_run("many", job_type="sweep"), {})
        for name in ("one", "many"):
            store.append(name, Event(Reason.RUNNING, NOW + 1))
            store.append(name, Event(Reason.RESUMED, NOW + 2))
            store.append(name, Event(Reason.PAUSED, NOW + 3))
        assert (store.get("one").state, store.get("many").state) == (State.RUNNING, State.PAUSED)
        assert store.append("many", Event(Reason.RUNNING, NOW + 4)).state is State.PAUSED
        for number, end in enumerate((None, Reason.COMPLETED, Reason.TRIALS_FAILED, Reason.CANCELED_BY_USER)):
            if end is not None:
                store.append("one", Event(end, NOW + 10 * number, "over"))
                store.append("many", Event(end, NOW + 10 * number, "over"))
            assert store.get("many").ended_at == (NOW + 10 * number if end else None)
            again = store.append("many", Event(Reason.RESUMED, NOW + 10 * number + 5))
            assert (again.state, again.started_at, again.ended_at) == (State.NOT_STARTED, NOW + 1, None)
            assert store.append("one", Event(Reason.RESUMED, NOW)).reason is (
                Reason.COMPLETED if end else Reason.RUNNING
            )
        assert store.append("many", Event(Reason.RESUMED, NOW + 99)) == again
        store.reindex()
        assert store.get("many") == again
        assert len(store.events("one")) == 3
        assert len(store.events("many")) == 10

    @pytest.mark.parametrize("text", ["", "two\nlines", "é ☃ 🎉", "half \udcff", '"quoted"', "x" * 100_000])
    def test_any_message_comes_back(self, store: RunStore, text: str) -> None:
        store.create(a_run("one"), {})
        store.append("one", Event(Reason.LOST, NOW + 1, text))
        assert store.events("one")[-1].message == text
        assert store.get("one").message.isprintable() or "\n" in text

    def test_two_ends_at_once_leave_one(self, store: RunStore) -> None:
        store.create(a_run("one"), {})
        ends = [Reason.COMPLETED, Reason.CANCELED_BY_USER, Reason.LOST, Reason.COMMAND_FAILED]
        threads = [threading.Thread(target=store.append, args=("one", Event(reason, NOW + 1))) for reason in ends]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(store.events("one")) == 2
        assert store.get("one").reason is store.events("one")[-1].reason

    # update

    def test_what_a_person_changes_stays_changed(self, store: RunStore) -> None:
        store.create(a_run("one", tags={"a": "1"}, description="old", properties={"p": "1"}), {})
        changed = store.update("one", RunChanges(display_name="New", tags={"b": "2"}, archived=True))
        assert changed == store.get("one")
        assert (changed.display_name, changed.description, changed.tags) == ("New", "old", {"b": "2"})
        assert changed.archived
        store.append("one", Event(Reason.RUNNING, NOW + 1))
        assert store.update("one", RunChanges(archived=False, description="")).description == ""
        assert store.get("one").state is State.RUNNING

    def test_edits_at_once_do_not_undo_each_other(self, store: RunStore) -> None:
        store.create(a_run("one"), {})

        def tag(number: int) -> None:
            store.edit("one", lambda run: RunChanges(tags={**run.tags, f"tag_{number}": "x"}))

        threads = [threading.Thread(target=tag, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert set(store.get("one").tags) == {f"tag_{number}" for number in range(8)}

    def test_an_edit_that_is_refused_changes_nothing(self, store: RunStore) -> None:
        store.create(a_run("one"), {})

        def refuse(run: Run) -> RunChanges:
            raise UsageError(f"{run.name} stays")

        with pytest.raises(UsageError, match="one stays"):
            store.edit("one", refuse)
        assert store.update("one", RunChanges(description="x")).description == "x"

    # list

    def test_the_filter_narrows(self, store: RunStore) -> None:
        store.create(a_run("old", created_at=NOW - 100, experiment_name="other"), {})
        store.create(a_run("blue", tags={"color": "blue", "x": "1"}, compute="gpu", parent="sweep"), {})
        store.create(a_run("red", tags={"color": "red"}, created_at=NOW + 100), {})
        store.create(a_run("gone", created_at=NOW + 200), {})
        store.update("gone", RunChanges(archived=True))
        store.append("red", Event(Reason.COMPLETED, NOW + 300))

        def names(**asked: Any) -> list[str]:
            return [run.name for run in store.list(RunFilter(**asked))]

        assert names() == ["red", "blue", "old"]
        assert names(include_archived=True) == ["gone", "red", "blue", "old"]
        assert names(archived_only=True) == ["gone"]
        assert names(limit=2) == ["red", "blue"]
        assert names(limit=0) == []
        assert names(states=frozenset({State.COMPLETED})) == ["red"]
        assert names(states=frozenset({State.NOT_STARTED, State.RUNNING})) == ["blue", "old"]
        assert names(states=frozenset()) == []
        assert names(experiment_name="other") == ["old"]
        assert names(compute="gpu") == ["blue"]
        assert names(parent="sweep") == ["blue"]
        assert names(tags={"color": None}) == ["red", "blue"]
        assert names(tags={"color": "blue"}) == ["blue"]
        assert names(tags={"color": "blue", "x": "2"}) == []
        assert names(created_after=NOW) == ["red", "blue"]
        assert names(created_before=NOW) == ["old"]
        assert names(name_prefix="b") == ["blue"]
        assert names(name_prefix="%") == []

    def test_names_are_completed_newest_first(self, store: RunStore) -> None:
        for number, name in enumerate(["job_a", "job_b", "other"]):
            store.create(a_run(name, created_at=NOW + number), {})
        assert list(store.complete("job_")) == ["job_b", "job_a"]
        assert list(store.complete("", limit=1)) == ["other"]
        assert list(store.complete("*")) == []

    # leases

    def test_the_holder_of_a_lease_writes_and_nobody_does_after_it(self, store: RunStore) -> None:
        store.create(a_run("one"), {})
        lease = store.claim("one")
        assert lease is not None
        assert store.append("one", Event(Reason.PREPARING, NOW + 1), lease).state is State.PREPARING
        renewed = store.renew(lease, ttl_s=1000)
        assert renewed.expires_at > lease.expires_at
        store.release(renewed)
        store.release(renewed)
        with pytest.raises(StoreError):
            store.renew(lease)
        with pytest.raises(StoreError):
            store.append("one", Event(Reason.RUNNING, NOW + 2), lease)
        assert store.get("one").state is State.PREPARING

    def test_a_strangers_lease_writes_nothing(self, store: RunStore) -> None:
        store.create(a_run("one"), {})
        lease = store.claim("one")
        assert lease is not None
        stranger = Lease("one", replace(lease.owner, pid=lease.owner.pid + 1), lease.expires_at)
        with pytest.raises(StoreError):
            store.append("one", Event(Reason.RUNNING, NOW), stranger)
        with pytest.raises(StoreError):
            store.renew(stranger)
        store.release(stranger)
        assert store.renew(lease).owner == lease.owner

    def test_runs_that_wait_for_a_supervisor(self, store: RunStore) -> None:
        for name in ("new", "held", "submitted", "running", "canceled", "done"):
            store.create(a_run(name), {})
        assert store.claim("held") is not None
        store.write_document("submitted", "submission.json", {"native_id": "1"})
        store.append("running", Event(Reason.RUNNING, NOW))
        store.append("canceled", Event(Reason.CANCEL_REQUESTED, NOW))
        store.append("done", Event(Reason.COMPLETED, NOW))
        assert {run.name for run in store.unattended()} == {"new", "canceled"}

    # delete, reindex

    def test_a_deleted_run_is_gone_and_its_name_free(self, store: RunStore) -> None:
        folder = store.create(a_run("one"), {"big.json": "x" * 10_000})
        (folder / "user_logs").mkdir()
        (folder / "user_logs" / "std_log.txt").write_bytes(b"y" * 5_000)
        assert store.delete("one") > 15_000
        assert not folder.exists()
        assert list(store.list(EVERYTHING)) == []
        with pytest.raises(NotFoundError):
            store.get("one")
        store.create(a_run("one", description="second"), {})
        assert store.get("one").description == "second"
        assert len(store.events("one")) == 1

    def test_reindexing_changes_nothing(self, store: RunStore) -> None:
        for number in range(5):
            store.create(a_run(f"run_{number}", created_at=NOW + number, tags={"n": str(number)}), {})
        store.append("run_1", Event(Reason.RUNNING, NOW + 50))
        store.append("run_2", Event(Reason.KILLED_BY_SIGNAL, NOW + 60, "killed", 137, NOW + 55))
        store.update("run_3", RunChanges(archived=True, tags={}))
        lease = store.claim("run_4")
        before = list(store.list(EVERYTHING))
        assert store.reindex() == 5
        assert list(store.list(EVERYTHING)) == before
        assert [run.name for run in store.list(RunFilter(tags={"n": "1"}))] == ["run_1"]
        assert lease is not None
        assert store.renew(lease).owner == lease.owner

    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        steps=st.lists(
            st.one_of(
                st.tuples(st.just("append"), NAMES, st.sampled_from(Reason)),
                st.tuples(st.just("archive"), NAMES, st.booleans()),
                st.tuples(st.just("delete"), NAMES, st.none()),
                st.tuples(st.just("reindex"), NAMES, st.none()),
            ),
            max_size=15,
        )
    )
    def test_any_history_reads_as_the_state_table_says(
        self, store: RunStore, steps: Sequence[tuple[str, str, Any]]
    ) -> None:
        for run in store.list(EVERYTHING):
            store.delete(run.name)
        model: dict[str, Run] = {}
        for number, (step, name, value) in enumerate(steps):
            if step == "reindex":
                assert store.reindex() == len(model)
            elif name not in model:
                job_type = "sweep" if name < "n" else "command"
                model[name] = a_run(name, created_at=NOW + number, job_type=job_type)
                store.create(model[name], {})
            elif step == "append":
                before, event = model[name], Event(value, NOW + number)
                model[name] = store.append(name, event)
                moved = moves(before, event)
                assert model[name].state is (event.state if moved else before.state)
            elif step == "archive":
                model[name] = store.update(name, RunChanges(archived=value))
            else:
                store.delete(name)
                del model[name]
        newest_first = sorted(model.values(), key=lambda run: (run.created_at, run.name), reverse=True)
        assert list(store.list(EVERYTHING)) == newest_first


def an_identity(**facts: Any) -> ProcessIdentity:
    """A process that is not this one."""
    return ProcessIdentity(**{"boot_id": "another@machine", "pid": 1, "start_time": 1, **facts})
