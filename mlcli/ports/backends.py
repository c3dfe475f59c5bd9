"""Backend: the outer contract of everything that can run a job."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mlcli.domain.job import CommandJob
from mlcli.domain.nodes import Allocation
from mlcli.domain.observation import Observation
from mlcli.domain.plan import Plan
from mlcli.ports.environments import Activation
from mlcli.ports.stores import SnapshotStore
from mlcli.ports.transports import Later


@dataclass(frozen=True)
class Capabilities:
    """What a backend can honour; what a job asks beyond it is refused when it is planned."""

    containers: bool = False
    max_instance_count: int = 1
    distributions: frozenset[str] = frozenset()
    time_limit: bool = True


@dataclass(frozen=True)
class Submitted:
    """The job is there. ``native_id`` finds it again."""

    native_id: str


@dataclass(frozen=True)
class Rejected:
    """The job is not there and will not be: why, in the system's words."""

    message: str


@dataclass(frozen=True)
class Unknown:
    """No answer: the job may or may not be there; to be observed, never blindly submitted again."""

    message: str


Submission = Submitted | Rejected | Unknown


@dataclass(frozen=True)
class Prepared:
    """A plan whose slow parts are done: environment built, inputs in place, snapshot stored (``snapshot`` digest).

    ``secrets``: environment variables that must not be written anywhere but the agent's own launch file.
    ``allocation``: the node of its compute that the run has, whose limits hold for it; None: it has the whole machine.
    """

    plan: Plan
    activation: Activation
    snapshot: str | None = None
    secrets: Mapping[str, str] = field(default_factory=dict)
    allocation: Allocation | None = None


@dataclass(frozen=True)
class RunHandle:
    """How a backend finds a run again: its name, its folder on the target, and the native id once submitted. ``near``: its
    folder here, where one on another machine is kept what little is needed when that is gone.
    """

    name: str
    run_folder: str
    native_id: str | None = None
    near: str | None = None


class Backend(ABC):
    """Runs jobs somewhere. All methods may raise TransportError; nothing here knows of stores' indexes."""

    name: str
    is_far: bool = False
    """Whether run folders are on another machine, so that a job finds no file of this one."""
    may_be_away: bool = False
    """Whether jobs run on a machine that may not answer for a while: what may be done again is then tried again."""

    def run_folder(self, run: str, near: Path) -> str:  # noqa: ARG002
        """Where the run's folder is on the target, an absolute path; ``near``: the one here. Asks nobody."""
        return str(near)

    def connect(self) -> None:  # noqa: B027  (a machine that we are on is there)
        """Make sure that the target answers, before there is a run that needs it."""

    @abstractmethod
    def deliver(self, source: Path, target: str, log: Callable[[str], None], *, copy: bool) -> None:
        """Make a file or folder of this machine available as ``target``, a path on the target. What is there already, from
        whatever run, is not sent again. ``copy``: as a copy of its own, that may be written to; else as a link.

        Nothing when ``target`` is there: it appears whole.
        """

    @abstractmethod
    def capabilities(self) -> Capabilities:
        """What it can honour. Pure."""

    @abstractmethod
    def check(self, job: CommandJob) -> tuple[str, ...]:
        """Refuse (UnsupportedError) what cannot be honoured; the notices for what is honoured differently. Pure."""

    @abstractmethod
    def submit(self, prepared: Prepared, snapshots: SnapshotStore | None) -> Submission:
        """Start or queue exactly this plan. Idempotent on the run's name: a second call finds the first one's job.

        ``snapshots``: where ``prepared.snapshot`` is, None when there is none.
        """

    def begin(self, prepared: Prepared, snapshots: SnapshotStore | None) -> Submission | Later[Submission]:
        """The same, for who has something else to do until the answer is there."""
        return self.submit(prepared, snapshots)

    @abstractmethod
    def observe(self, runs: Sequence[RunHandle]) -> Mapping[str, Observation]:
        """Look at many at once (one round trip): an observation for every name."""

    @abstractmethod
    def cancel(self, run: RunHandle) -> None:
        """Ask for the end: TERM to every process, KILL after a grace period. Idempotent; returns at once. Also
        ends what a lost run has left running.
        """

    @abstractmethod
    def read(self, run: RunHandle, path: str, offset: int = 0, limit: int | None = None) -> bytes | None:
        """Bytes of a file below the run folder (``user_logs/std_log.txt``) from an offset; None when not there."""

    @abstractmethod
    def list_files(self, run: RunHandle, folder: str = ".") -> Mapping[str, int]:
        """Files below a folder of the run folder: relative path -> size in bytes. Empty when there is no such folder."""

    @abstractmethod
    def fetch(
        self, run: RunHandle, path: str, target: Path, progress: Callable[[str, int], None] | None = None
    ) -> None:
        """Copy a file or folder below the run folder to this machine, complete or with an error."""

    def keep(self, run: RunHandle) -> None:  # noqa: B027  (what is here is here)
        """Bring to this machine, before the run's end is told, what a person looks at first: its log."""

    def forget(self, run: RunHandle) -> None:  # noqa: B027  (a process that has ended has left nothing)
        """Remove what is left on the compute of a run that has ended, before its folder goes. Idempotent."""

    def close(self) -> None:  # noqa: B027  (nothing to close is the common case)
        """Let go of connections. Idempotent."""
