"""Observe: what a run is now. Every reading command reconciles what the index says with what its compute shows."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from mlcli.domain.errors import MlcliError, TransportError
from mlcli.domain.observation import Sight, reconcile
from mlcli.domain.run import Event, Run, RunFilter
from mlcli.domain.state import Reason, State
from mlcli.operations import layout
from mlcli.ports.backends import RunHandle
from mlcli.ports.services import Services

UNSUBMITTED = frozenset({State.NOT_STARTED, State.PREPARING, State.PROVISIONING})
LIVE = frozenset(state for state in State if not state.is_end)


def handle(services: Services, run: Run) -> RunHandle:
    """How the run's backend finds it."""
    submission = services.runs.document(run.name, layout.SUBMISSION_DOCUMENT) or {}
    return RunHandle(run.name, str(services.runs.folder(run.name)), submission.get("native_id"))


def get(services: Services, name: str) -> Run:
    """One run, as it is now. Raises NotFoundError."""
    return refresh(services, [services.runs.get(name)])[0]


def list_runs(services: Services, which: RunFilter) -> list[Run]:
    """Runs, newest first, as they are now.

    Live runs are looked at first, whatever the filter asks: a filter by state must see the state of now.
    """
    if which.states is not None:
        refresh(services, services.runs.list(replace(which, states=LIVE, limit=None)))
        return list(services.runs.list(which))
    return refresh(services, services.runs.list(which))


def refresh(services: Services, runs: Sequence[Run]) -> list[Run]:
    """The same runs, reconciled: one look per backend, however many runs. A workspace that cannot be written to, or a
    compute that does not answer, leaves them as they are.
    """
    current = {run.name: run for run in runs}
    live = [run for run in runs if not run.state.is_end]
    if live:
        for run in _attend(services, live):
            current[run.name] = run
        for run in _observe(services, [current[run.name] for run in live]):
            current[run.name] = run
    return [current[run.name] for run in runs]


def _attend(services: Services, live: Iterable[Run]) -> list[Run]:
    """Start a supervisor for those whose own has died before their submission."""
    waiting = {run.name for run in live if run.state in UNSUBMITTED or run.state is State.CANCEL_REQUESTED}
    if not waiting:
        return []
    changed = []
    for run in services.runs.unattended():
        if run.name not in waiting:
            continue
        if run.state is State.CANCEL_REQUESTED:
            canceled = Event(Reason.CANCELED_BY_USER, time.time(), "cancelled before it started")
            changed.append(services.runs.append(run.name, canceled))
        else:
            services.supervise(run.name)
    return changed


def _observe(services: Services, live: Iterable[Run]) -> list[Run]:
    by_backend: dict[str, list[Run]] = defaultdict(list)
    for run in live:
        if not run.state.is_end and _is_submitted(services, run):
            by_backend[run.backend].append(run)
    changed = []
    for backend_name, group in by_backend.items():
        backend = services.backend(backend_name)
        handles = {run.name: handle(services, run) for run in group}
        try:
            seen = backend.observe(list(handles.values()))
        except TransportError:
            continue
        for run in group:
            event = reconcile(run.state, _since(services, run), seen[run.name], time.time())
            if event is None:
                continue
            changed.append(services.runs.append(run.name, event))
            if seen[run.name].sight is Sight.GONE:
                _clean_up(services, handles[run.name], backend_name)
    return changed


def _is_submitted(services: Services, run: Run) -> bool:
    """Whether the backend knows of it: also when its supervisor died between the submission and saying so."""
    return run.state not in UNSUBMITTED or services.runs.document(run.name, layout.SUBMISSION_DOCUMENT) is not None


def _since(services: Services, run: Run) -> float:
    events = services.runs.events(run.name)
    return events[-1].time if events else run.created_at


def _clean_up(services: Services, lost: RunHandle, backend_name: str) -> None:
    """End what a lost run has left running; it is Failed already, so nothing may fail here."""
    try:
        services.backend(backend_name).cancel(lost)
    except MlcliError:
        return


def wait(services: Services, names: Sequence[str], timeout_s: float | None = None) -> list[Run]:
    """Wait until every one of them has ended. Raises MlcliError when ``timeout_s`` is over first."""
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    pause = 0.05
    while True:
        runs = refresh(services, [services.runs.get(name) for name in names])
        running = [run for run in runs if not run.state.is_end]
        if not running:
            return runs
        if deadline is not None and time.monotonic() >= deadline:
            states = ", ".join(f"{run.name} ({run.state})" for run in running)
            raise MlcliError(
                f"not ended after {timeout_s:g} s: {states}",
                hint="they go on; wait again, or stop one with: mlcli job cancel -n NAME",
            )
        time.sleep(pause if deadline is None else min(pause, max(0.0, deadline - time.monotonic())))
        pause = min(pause * 1.5, 1.0)
