"""Reconcile: what is seen of a job becomes its state; silence changes nothing; absence is never success."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcli.domain.observation import LOST_GRACE_S, Observation, Sight, reconcile
from mlcli.domain.run import ExitRecord
from mlcli.domain.state import Reason, State

NOW = 1_000_000.0
LIVE = [state for state in State if not state.is_end]

exit_records = st.builds(
    ExitRecord,
    cause=st.sampled_from(["exit", "canceled", "time_limit", "not_started"]),
    code=st.none() | st.integers(0, 255),
    signal=st.none() | st.integers(1, 64),
    started_at=st.none() | st.floats(0, NOW),
    ended_at=st.floats(0, NOW),
)
observations = st.builds(
    Observation, sight=st.sampled_from(list(Sight)), exit=st.none() | exit_records, evidence=st.text(max_size=20)
)


@given(st.sampled_from(list(State)), observations, st.floats(0, NOW))
def test_completed_needs_a_command_that_exited_0_by_itself(state: State, seen: Observation, since: float) -> None:
    event = reconcile(state, since, seen, NOW)
    if event is not None:
        assert state.may_become(event.state)
        if event.state is State.COMPLETED:
            assert seen.exit is not None
            assert (seen.exit.cause, seen.exit.code, seen.exit.signal) == ("exit", 0, None)


@given(st.sampled_from(list(State)), st.floats(0, NOW))
def test_no_answer_changes_nothing(state: State, since: float) -> None:
    assert reconcile(state, since, Observation(Sight.NO_ANSWER), NOW) is None


@pytest.mark.parametrize("state", LIVE)
def test_absent_is_lost_only_after_the_grace_period(state: State) -> None:
    absent = Observation(Sight.ABSENT, evidence="the queue does not know it")
    assert reconcile(state, NOW - LOST_GRACE_S / 2, absent, NOW) is None
    event = reconcile(state, NOW - LOST_GRACE_S, absent, NOW)
    assert event is not None
    assert (event.reason, event.message) == (Reason.LOST, "the queue does not know it")


@pytest.mark.parametrize("state", LIVE)
def test_gone_is_lost_at_once(state: State) -> None:
    event = reconcile(state, NOW, Observation(Sight.GONE), NOW)
    assert event is not None
    assert event.state is State.FAILED


def test_a_cancelled_run_does_not_look_running_again() -> None:
    assert reconcile(State.CANCEL_REQUESTED, NOW, Observation(Sight.RUNNING), NOW) is None


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (ExitRecord("exit", 0, None, 1.0, 2.0), Reason.COMPLETED),
        (ExitRecord("exit", 3, None, 1.0, 2.0), Reason.COMMAND_FAILED),
        (ExitRecord("exit", 137, 9, 1.0, 2.0), Reason.KILLED_BY_SIGNAL),
        (ExitRecord("canceled", 143, 15, 1.0, 2.0), Reason.CANCELED_BY_USER),
        (ExitRecord("canceled", 0, None, 1.0, 2.0), Reason.CANCELED_BY_USER),
        (ExitRecord("time_limit", 143, 15, 1.0, 2.0), Reason.TIME_LIMIT),
        (ExitRecord("not_started", None, None, None, 2.0), Reason.COMMAND_NOT_STARTED),
    ],
)
def test_each_exit_record_means_an_end(record: ExitRecord, reason: Reason) -> None:
    event = reconcile(State.RUNNING, 0.0, Observation(Sight.EXITED, record), NOW)
    assert event is not None
    assert (event.reason, event.time, event.exit_code) == (reason, 2.0, record.code)
