"""A run: one execution of a job, as the workspace remembers it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from mlcli.domain.state import Reason, State


@dataclass(frozen=True)
class ProcessIdentity:
    """A process that cannot be mistaken for a later one: (boot id, pid, start time in clock ticks since boot)."""

    boot_id: str
    pid: int
    start_time: int


@dataclass(frozen=True)
class Event:
    """One move of a run: why, when (seconds since the epoch, UTC), and the evidence in a sentence.

    ``started_at``: when the command started, where the event knows it.
    """

    reason: Reason
    time: float
    message: str = ""
    exit_code: int | None = None
    started_at: float | None = None

    @property
    def state(self) -> State:
        """The state that the run moves to."""
        return self.reason.state


@dataclass(frozen=True)
class Run:
    """What the index row holds. Times are seconds since the epoch, UTC.

    ``exit_code`` is the command's own (128 + n when signal n killed it), None until it ended or when it never started.
    ``job_type``: ``command``, later ``sweep``, ``pipeline``. ``git``: the source folder's git facts.
    """

    name: str
    experiment_name: str
    compute: str
    backend: str
    created_at: float
    state: State = State.NOT_STARTED
    reason: Reason = Reason.SUBMITTED
    message: str = ""
    job_type: str = "command"
    display_name: str | None = None
    description: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    properties: Mapping[str, str] = field(default_factory=dict)
    started_at: float | None = None
    ended_at: float | None = None
    exit_code: int | None = None
    parent: str | None = None
    archived: bool = False
    notices: tuple[str, ...] = ()


SWEEP = "sweep"
"""The job type whose runs may be paused and resumed."""


def moves(run: Run, event: Event) -> bool:
    """Whether the event moves the run: its state allows it, or a sweep is resumed that is paused or has ended."""
    if event.reason is Reason.RESUMED:
        return run.job_type == SWEEP and (run.state.is_end or run.state is State.PAUSED)
    if event.reason is Reason.PAUSED and run.job_type != SWEEP:
        return False
    return run.state.may_become(event.state)


def moved_by(run: Run, event: Event) -> Run:
    """The run after the event. It started when the event says, else when it was first seen running."""
    started = event.started_at if event.started_at is not None else run.started_at
    if started is None and event.state is State.RUNNING:
        started = event.time
    return replace(
        run,
        state=event.state,
        reason=event.reason,
        message=event.message,
        started_at=started,
        ended_at=event.time if event.state.is_end else None,
        exit_code=event.exit_code if event.exit_code is not None else run.exit_code,
    )


@dataclass(frozen=True)
class RunFilter:
    """Which runs ``list`` gives, newest first. Every field narrows; None does not ask. Times as in :class:`Run`.

    ``without_parent``: only those that are no trials of a sweep.
    """

    states: frozenset[State] | None = None
    experiment_name: str | None = None
    compute: str | None = None
    tags: Mapping[str, str | None] = field(default_factory=dict)
    created_after: float | None = None
    created_before: float | None = None
    parent: str | None = None
    without_parent: bool = False
    include_archived: bool = False
    archived_only: bool = False
    name_prefix: str | None = None
    limit: int | None = None


@dataclass(frozen=True)
class RunChanges:
    """What a person may change of a run afterwards; None leaves as it is. ``tags`` replaces the whole map."""

    display_name: str | None = None
    description: str | None = None
    tags: Mapping[str, str] | None = None
    archived: bool | None = None
    properties: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Lease:
    """The right to write to a run, held by one process until ``expires_at``."""

    run: str
    owner: ProcessIdentity
    expires_at: float


@dataclass(frozen=True)
class ExitRecord:
    """The agent's last word (``exit.json``): how the command ended.

    ``cause``: ``exit`` (by itself), ``canceled``, ``time_limit`` or ``not_started`` (``message`` says why).
    ``code`` as a shell's ``$?``: 128 + ``signal`` when a signal killed it.
    """

    cause: str
    code: int | None
    signal: int | None
    started_at: float | None
    ended_at: float
    message: str = ""


@dataclass(frozen=True)
class GitFacts:
    """Where the code came from. ``repository`` never holds a credential."""

    repository: str | None = None
    branch: str | None = None
    commit: str | None = None
    dirty: bool | None = None
    build_id: str | None = None
    build_uri: str | None = None

    def as_properties(self) -> Mapping[str, Any]:
        """The same as run properties, under the names that both generations of Azure ML use."""
        named = {
            "azureml.git.repository_uri": self.repository,
            "mlflow.source.git.repoURL": self.repository,
            "azureml.git.branch": self.branch,
            "mlflow.source.git.branch": self.branch,
            "azureml.git.commit": self.commit,
            "mlflow.source.git.commit": self.commit,
            "azureml.git.dirty": None if self.dirty is None else str(self.dirty),
            "azureml.git.build_id": self.build_id,
            "azureml.git.build_uri": self.build_uri,
        }
        return {name: value for name, value in named.items() if value is not None}
