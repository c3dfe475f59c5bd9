"""States move one way, ends absorb, and every reason means one state."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcli.domain.state import ENDS, TRANSITIONS, Reason, State


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_means_a_state(reason: Reason) -> None:
    assert isinstance(reason.state, State)


def test_every_state_is_meant_by_a_reason() -> None:
    assert {reason.state for reason in Reason} == set(State)


@pytest.mark.parametrize("state", list(State))
def test_every_state_has_a_row(state: State) -> None:
    assert state in TRANSITIONS
    assert not state.may_become(state)
    assert state.is_end == (not TRANSITIONS[state])


@pytest.mark.parametrize("state", [state for state in State if not state.is_end])
def test_every_live_state_can_end_in_every_way(state: State) -> None:
    assert TRANSITIONS[state] >= ENDS


@given(st.lists(st.sampled_from(list(State)), max_size=30))
def test_whatever_is_asked_a_run_never_goes_back(asked: list[State]) -> None:
    state, seen = State.NOT_STARTED, [State.NOT_STARTED]
    for wanted in asked:
        if state.may_become(wanted):
            state = wanted
            seen.append(state)
    assert len(seen) == len(set(seen))
    assert all(not earlier.is_end for earlier in seen[:-1])
