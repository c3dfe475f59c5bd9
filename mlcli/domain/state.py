"""States and reasons of a run: Azure ML's public words, a transition table, and a total map from reason to state.

Source of the words: the service's run history statuses (``job show --query status``). The moves between them are ours:
ends absorb, a cancelled run passes CancelRequested, and a run never goes backwards. The one exception is a sweep that a
person resumes, which :func:`mlcli.domain.run.moves` allows.
"""

from __future__ import annotations

from enum import Enum


class State(str, Enum):
    """What ``status`` says of a run."""

    NOT_STARTED = "NotStarted"
    PREPARING = "Preparing"
    PROVISIONING = "Provisioning"
    QUEUED = "Queued"
    STARTING = "Starting"
    RUNNING = "Running"
    PAUSED = "Paused"
    FINALIZING = "Finalizing"
    CANCEL_REQUESTED = "CancelRequested"
    COMPLETED = "Completed"
    FAILED = "Failed"
    CANCELED = "Canceled"
    NOT_RESPONDING = "NotResponding"

    def __str__(self) -> str:
        return self.value

    @property
    def is_end(self) -> bool:
        """Whether nothing more can happen to the run."""
        return self in ENDS

    def may_become(self, other: State) -> bool:
        """Whether a run in this state may move to ``other`` (never to itself)."""
        return other in TRANSITIONS[self]


ENDS = frozenset({State.COMPLETED, State.FAILED, State.CANCELED, State.NOT_RESPONDING})

_ORDER = (
    State.NOT_STARTED,
    State.PREPARING,
    State.PROVISIONING,
    State.QUEUED,
    State.STARTING,
    State.RUNNING,
    State.FINALIZING,
)


def _transitions() -> dict[State, frozenset[State]]:
    table = {end: frozenset[State]() for end in ENDS}
    for position, state in enumerate(_ORDER):
        table[state] = frozenset(_ORDER[position + 1 :]) | {State.CANCEL_REQUESTED} | ENDS
    # A cancel that comes too late does not rewrite what the command did: every end is still open.
    table[State.CANCEL_REQUESTED] = ENDS
    table[State.PAUSED] = ENDS | {State.CANCEL_REQUESTED}
    for state in _ORDER[: _ORDER.index(State.FINALIZING)]:
        table[state] |= {State.PAUSED}
    return table


TRANSITIONS = _transitions()


class Reason(str, Enum):
    """Why a run is in its state. ``Reason.X.state`` is total: a reason means one state and no other."""

    SUBMITTED = "submitted"
    PREPARING = "preparing"
    PROVISIONING = "provisioning"
    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    RESUMED = "resumed"
    FINALIZING = "finalizing"
    CANCEL_REQUESTED = "cancel_requested"
    STOP_REQUESTED = "stop_requested"
    SWEEP_ENDING = "sweep_ending"
    COMPLETED = "completed"
    COMMAND_FAILED = "command_failed"
    KILLED_BY_SIGNAL = "killed_by_signal"
    COMMAND_NOT_STARTED = "command_not_started"
    PREPARATION_FAILED = "preparation_failed"
    SUBMIT_FAILED = "submit_failed"
    LOST = "lost"
    CANCELED_BY_USER = "canceled_by_user"
    EARLY_TERMINATION = "early_termination"
    SWEEP_ENDED = "sweep_ended"
    TIME_LIMIT = "time_limit"
    TRIALS_FAILED = "trials_failed"
    UNREACHABLE = "unreachable"

    @property
    def state(self) -> State:
        """The state that this reason means."""
        return _STATE_OF[self]


_STATE_OF = {
    Reason.SUBMITTED: State.NOT_STARTED,
    Reason.PREPARING: State.PREPARING,
    Reason.PROVISIONING: State.PROVISIONING,
    Reason.QUEUED: State.QUEUED,
    Reason.STARTING: State.STARTING,
    Reason.RUNNING: State.RUNNING,
    Reason.PAUSED: State.PAUSED,
    Reason.RESUMED: State.NOT_STARTED,  # a sweep that goes on is prepared like a new one
    Reason.FINALIZING: State.FINALIZING,
    Reason.CANCEL_REQUESTED: State.CANCEL_REQUESTED,
    Reason.STOP_REQUESTED: State.CANCEL_REQUESTED,  # by a policy of the sweep that the run is a trial of
    Reason.SWEEP_ENDING: State.CANCEL_REQUESTED,  # its sweep is to end before the trial has
    Reason.COMPLETED: State.COMPLETED,
    Reason.COMMAND_FAILED: State.FAILED,
    Reason.KILLED_BY_SIGNAL: State.FAILED,
    Reason.COMMAND_NOT_STARTED: State.FAILED,
    Reason.PREPARATION_FAILED: State.FAILED,
    Reason.SUBMIT_FAILED: State.FAILED,
    Reason.LOST: State.FAILED,
    Reason.CANCELED_BY_USER: State.CANCELED,
    Reason.EARLY_TERMINATION: State.CANCELED,
    Reason.SWEEP_ENDED: State.CANCELED,
    # Azure ML: "once this limit is reached, the system cancels the job".
    Reason.TIME_LIMIT: State.CANCELED,
    Reason.TRIALS_FAILED: State.FAILED,
    Reason.UNREACHABLE: State.NOT_RESPONDING,
}
