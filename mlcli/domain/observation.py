"""What looking at a run's compute told, and the one pure function that turns it into a state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import Enum
from typing import Any

from mlcli.domain.run import Event, ExitRecord, Run
from mlcli.domain.state import Reason, State

LOST_GRACE_S = 30.0


class Sight(str, Enum):
    """What was seen of the job on its compute."""

    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    EXITED = "exited"
    GONE = "gone"
    ABSENT = "absent"
    NO_ANSWER = "no_answer"


@dataclass(frozen=True)
class Observation:
    """One look at one run.

    ``EXITED`` carries the exit record. ``GONE``: the process that owned the run is known to be dead and left no exit
    record (read before and after asking). ``ABSENT``: the far system does not know the job (yet, or any more).
    ``NO_ANSWER``: nothing was learnt. ``evidence`` is a sentence for a person.
    """

    sight: Sight
    exit: ExitRecord | None = None
    started_at: float | None = None
    evidence: str = ""


def told_by_agent(answer: Mapping[str, Any]) -> Observation:
    """What one answer of the agent's ``observe`` means. Raises KeyError, TypeError or ValueError when it is not one."""
    record = answer.get("exit")
    if record is not None and not isinstance(record, Mapping):
        raise TypeError("an exit record is a mapping")
    known = {field.name for field in fields(ExitRecord)}
    return Observation(
        Sight(answer["sight"]),
        None if record is None else ExitRecord(**{name: value for name, value in record.items() if name in known}),
        answer.get("started_at"),
        answer.get("evidence", ""),
    )


def reconcile(state: State, since: float, observation: Observation, now: float) -> Event | None:
    """What the run has become, or None when it stays as it is.

    ``since``: when the run entered ``state``. No answer changes nothing. Absent never means success: without an exit
    record, and after a grace period, it is Failed, reason ``lost``.
    """
    if state.is_end:
        return None
    event = _seen(since, observation, now)
    if event is None or not state.may_become(event.state):
        return None
    return event


def attributed(run: Run, event: Event) -> Event:
    """The end of a run that its sweep asked to stop, as the sweep's doing: agents know only that somebody has cancelled."""
    if event.reason is Reason.CANCELED_BY_USER and run.reason in _BY_SWEEP:
        return replace(event, reason=_BY_SWEEP[run.reason], message=run.message)
    return event


_BY_SWEEP = {Reason.STOP_REQUESTED: Reason.EARLY_TERMINATION, Reason.SWEEP_ENDING: Reason.SWEEP_ENDED}


_PROGRESS = {Sight.QUEUED: Reason.QUEUED, Sight.STARTING: Reason.STARTING, Sight.RUNNING: Reason.RUNNING}


def _seen(since: float, observation: Observation, now: float) -> Event | None:
    sight = observation.sight
    if sight is Sight.EXITED and observation.exit is not None:
        return ended(observation.exit)
    if sight is Sight.GONE or (sight is Sight.ABSENT and now - since >= LOST_GRACE_S):
        return Event(Reason.LOST, now, observation.evidence or "the job is gone and left no exit record")
    reason = _PROGRESS.get(sight)
    return Event(reason, now, observation.evidence, started_at=observation.started_at) if reason else None


def ended(record: ExitRecord) -> Event:
    """The end that an exit record means: Completed when, and only when, the command exited 0 by itself."""
    reason, message = _end(record)
    return Event(reason, record.ended_at, record.message or message, record.code, record.started_at)


def _end(record: ExitRecord) -> tuple[Reason, str]:
    if record.cause == "canceled":
        return Reason.CANCELED_BY_USER, "cancelled"
    if record.cause == "time_limit":
        return Reason.TIME_LIMIT, "the time limit was reached"
    if record.cause == "not_started" or record.code is None:
        return Reason.COMMAND_NOT_STARTED, "the command could not be started"
    if record.signal is not None:
        return Reason.KILLED_BY_SIGNAL, f"the command was killed by signal {record.signal}"
    if record.code != 0:
        return Reason.COMMAND_FAILED, f"the command exited with code {record.code}"
    return Reason.COMPLETED, ""
