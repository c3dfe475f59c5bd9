"""Stream: follow a run's log to its end, from wherever the command is typed."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from mlcli.domain.errors import MlcliError, NotFoundError, TransportError
from mlcli.domain.run import Run
from mlcli.domain.state import State
from mlcli.operations import layout, observe
from mlcli.ports.backends import Backend, RunHandle
from mlcli.ports.services import Services

POLL_S = 0.02
_LOOK_EVERY_S = 2.0
_CHUNK = 1 << 20
_FAR_POLL_S = 0.3
_AWAY_S = 3600.0
_AWAY_POLL_S = 2.0
_Answer = TypeVar("_Answer")


def stream(services: Services, name: str, write: Callable[[bytes], None], notice: Callable[[str], None]) -> Run:
    """Hand the log's bytes to ``write`` as they come, from its first byte to its last, and answer the ended run.

    ``notice`` takes what a person wants to know meanwhile: each state, and the lines of the preparation.
    """
    run = observe.get(services, name)
    follower = _Follower(services, run, write, notice)
    looked_at = time.monotonic()
    while True:
        follower.advance(run)
        if run.state.is_end:
            follower.drain()
            return run
        if follower.seems_over() or time.monotonic() - looked_at > _LOOK_EVERY_S:
            run = observe.get(services, name)
            looked_at = time.monotonic()
        else:
            time.sleep(follower.pause_s)
            run = services.runs.get(name)


class _Follower:
    """Where one reader stands in a run's two logs."""

    def __init__(
        self, services: Services, run: Run, write: Callable[[bytes], None], notice: Callable[[str], None]
    ) -> None:
        self._services = services
        self._name = run.name
        self._backend: Backend = services.backend(run.backend)
        self._handle: RunHandle = observe.handle(services, run)
        self._write = write
        self._notice = notice
        self._offset = 0
        self._preparation = services.runs.folder(run.name) / layout.PREPARATION_LOG
        self._preparation_offset = 0
        self._state: State | None = None
        self.pause_s = POLL_S

    def advance(self, run: Run) -> None:
        """Pass on what is new."""
        if run.state is not self._state:
            self._state = run.state
            self._handle = observe.handle(self._services, run)
            if (run.state in observe.UNSUBMITTED or run.state is State.QUEUED) and run.message:
                self._notice(f"{run.state}: {run.message}")
        self._read_preparation()
        before = self._offset
        if run.state.is_end:
            self.drain()
        else:
            self._patiently(self.drain)
        slower = self._backend.may_be_away and self._offset == before
        self.pause_s = min(self.pause_s * 1.5, _FAR_POLL_S) if slower else POLL_S

    def drain(self) -> None:
        """Everything that the log holds by now."""
        while chunk := self._backend.read(self._handle, layout.USER_LOG, self._offset, _CHUNK):
            self._offset += len(chunk)
            self._write(chunk)

    def seems_over(self) -> bool:
        """Whether the agent has written its last word (cheap; the look that follows is the one that counts)."""
        return self._patiently(lambda: self._backend.read(self._handle, layout.EXIT_RECORD, 0, 1)) is not None

    def _patiently(self, ask: Callable[[], _Answer]) -> _Answer:
        """Ask until the machine answers: the job goes on meanwhile. Raises TransportError when it is away for long."""
        deadline = time.monotonic() + _AWAY_S
        told = False
        while True:
            try:
                return ask()
            except TransportError as failed:
                if not failed.transient or time.monotonic() > deadline:
                    raise
                if not told:
                    self._notice(f"{failed.message}; the job does not need the connection, it is tried again")
                told = True
            time.sleep(_AWAY_POLL_S)

    def _read_preparation(self) -> None:
        try:
            with self._preparation.open("rb") as log:
                log.seek(self._preparation_offset)
                text = log.read()
        except FileNotFoundError:
            return
        whole, newline, _ = text.rpartition(b"\n")
        self._preparation_offset += len(whole) + len(newline)
        for line in whole.splitlines():
            self._notice(line.decode(errors="replace"))


def failure(services: Services, run: Run, lines: int = 20) -> MlcliError:
    """Why the run did not complete, with the last lines of the log that tells: of a sweep, that of its last failed trial."""
    telling = _last_failed(services, run) if run.job_type == observe.SWEEP else run
    tail = _tail_of_log(services, telling or run, lines)
    what = f"job {run.name} {_ENDING.get(run.state, 'ended')}"
    log = f"whole log: mlcli job stream -n {telling.name}" if telling else f"trials: mlcli sweep trials -n {run.name}"
    return MlcliError(
        f"{what}: {run.message}" if run.message else what,
        details=tuple(tail),
        hint=f"{log}   record: mlcli job show -n {run.name}",
    )


def _last_failed(services: Services, sweep: Run) -> Run | None:
    """The trial that failed last, where the sweep failed for its trials."""
    from mlcli.operations.trials import load_attempts

    if sweep.state is not State.FAILED:
        return None
    failed = [one for one in load_attempts(services.runs, sweep.name) if one.trial.state is State.FAILED]
    for one in sorted(failed, key=lambda one: one.ended_at or 0.0, reverse=True):
        with suppress(NotFoundError):  # it may have been deleted
            return services.runs.get(one.run)
    return None


_ENDING = {State.FAILED: "failed", State.CANCELED: "was cancelled", State.NOT_RESPONDING: "does not respond"}


def _tail_of_log(services: Services, run: Run, lines: int) -> list[str]:
    backend = services.backend(run.backend)
    where = observe.handle(services, run)
    size = backend.list_files(where, layout.USER_LOGS).get(Path(layout.USER_LOG).name)
    if size:
        data = backend.read(where, layout.USER_LOG, max(0, size - 64_000)) or b""
    elif run.started_at is None:  # what went wrong did so before there was anything of the person's own
        data = _read(services.runs.folder(run.name) / layout.PREPARATION_LOG)[-64_000:]
    else:
        return []
    text = data.decode(errors="replace").splitlines()
    return [line[-500:] for line in text[-lines:]]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
