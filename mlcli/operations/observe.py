"""Observe: what a run is now. Every reading command reconciles what the index says with what its compute shows."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from mlcli import agent
from mlcli.domain.errors import MlcliError, NotFoundError, StoreError, TransportError
from mlcli.domain.observation import Observation, Sight, attributed, reconcile
from mlcli.domain.run import SWEEP as SWEEP  # noqa: PLC0414  (known by this name)
from mlcli.domain.run import Event, Run, RunFilter, moved_by
from mlcli.domain.state import State
from mlcli.operations import layout
from mlcli.operations.handles import handle as handle  # noqa: PLC0414  (known by this name)
from mlcli.ports.backends import Backend, RunHandle
from mlcli.ports.services import Services

UNSUBMITTED = frozenset({State.NOT_STARTED, State.PREPARING, State.PROVISIONING})
_CANCEL_AGAIN_S = 3.0
_HOSTS_AT_ONCE = 16
LIVE = frozenset(state for state in State if not state.is_end)


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
    """The same runs, reconciled: one look per backend, however many runs. A compute that does not answer leaves them as
    they are; where the workspace cannot be written to, what is seen is told without being kept.
    """
    current = {run.name: run for run in runs}
    live = [run for run in runs if not run.state.is_end and run.job_type != SWEEP]
    driven = {run.name if run.job_type == SWEEP else run.parent for run in runs if not run.state.is_end}
    for sweep in driven - {None}:
        attend_sweep(services, str(sweep))
    if live:
        orphans = _orphans(services, live)
        for run in _observe(services, live, orphans):
            current[run.name] = run
        for name in orphans:
            _attend(services, current[name])
        for compute in {run.compute for run in live if is_waiting(services, current[run.name])}:
            with suppress(MlcliError, OSError):
                attend_queue(services, compute)
    return [current[run.name] for run in runs]


def look(services: Services, runs: Sequence[Run]) -> list[Run]:
    """The same for trials, by whoever drives their sweep and knows that all of them have been begun: nobody is to be attended."""
    current = {run.name: run for run in runs}
    live = [run for run in runs if not run.state.is_end]
    unsure = frozenset(run.name for run in live if run.state in UNSUBMITTED)
    current.update((run.name, run) for run in _observe(services, live, unsure, shelved=False))
    return list(current.values())


def _orphans(services: Services, live: Iterable[Run]) -> frozenset[str]:
    """Those whose supervisor has died before it could say that it had submitted them."""
    waiting = {
        run.name
        for run in live
        if (run.state in UNSUBMITTED or run.state is State.CANCEL_REQUESTED) and not _is_of_live_sweep(services, run)
    }
    if not waiting:
        return frozenset()
    unattended = (run.name for run in services.runs.unattended() if run.name in waiting)
    return frozenset(name for name in unattended if not is_supervised(services, name))


def _is_of_live_sweep(services: Services, run: Run) -> bool:
    """Whether it is a trial whose sweep has not ended: that sweep's supervisor carries it."""
    with suppress(NotFoundError):
        return run.parent is not None and not services.runs.get(run.parent).state.is_end
    return False


def attend_sweep(services: Services, name: str) -> None:
    """See that somebody drives a sweep that has not ended. A workspace that can only be read leaves it as it is."""
    with suppress(MlcliError, OSError):
        if not is_supervised(services, name) and _needs_driving(services, services.runs.get(name)):
            services.supervise(name)


def _needs_driving(services: Services, sweep: Run) -> bool:
    """Whether there is something to do for a sweep; for a paused one only while trials run that were begun before."""
    if sweep.state is State.PAUSED:
        return bool(services.runs.list(RunFilter(parent=sweep.name, states=LIVE, include_archived=True, limit=1)))
    return not sweep.state.is_end


def is_supervised(services: Services, name: str) -> bool:
    """Whether its supervisor lives, though the lease is gone with an index that was lost: two would be in each other's way."""
    identity = services.runs.document(name, layout.SUPERVISOR_DOCUMENT)
    return identity is not None and agent.is_alive(identity)


def _attend(services: Services, orphan: Run) -> None:
    """Carry on what a dead process had begun: the preparation, or the cancellation. Nothing may fail here: a workspace
    that can only be read leaves the run as it is.
    """
    with suppress(MlcliError, OSError):
        if orphan.state is State.CANCEL_REQUESTED:
            services.backend(orphan.backend).cancel(handle(services, orphan))
        elif orphan.state in UNSUBMITTED:
            services.supervise(orphan.name)


def _observe(services: Services, live: Iterable[Run], orphans: frozenset[str], *, shelved: bool = True) -> list[Run]:
    """Those that have changed. ``shelved``: what ended ones have logged is put on the shelf now; else who asks first does it."""
    by_backend: dict[str, list[Run]] = defaultdict(list)
    for run in live:
        if run.name in orphans or _is_submitted(services, run):
            by_backend[run.backend].append(run)
    changed = []
    record = _Recorder(services)
    for backend, group, seen in _looked(services, by_backend):
        for run in group:
            sight, since, now = seen[run.name].sight, _since(services, run), time.time()
            if run.name in orphans and sight is Sight.ABSENT:
                continue  # not submitted yet, as far as anybody knows
            event = reconcile(run.state, since, seen[run.name], now)
            if event is not None:
                with suppress(TransportError):  # what it has made cannot be had now: its end is told when it can
                    changed.append(record(run, _with_outputs(services, run, attributed(run, event))))
            cancel_was_lost = event is None and run.state is State.CANCEL_REQUESTED and now - since > _CANCEL_AGAIN_S
            if sight is Sight.GONE or (cancel_was_lost and sight is not Sight.NO_ANSWER):
                _end(backend, handle(services, run))
    ended = [run for run in changed if run.state.is_end]
    if ended:
        from mlcli.operations.compute_removal import let_go
        from mlcli.operations.shelf import put_ended

        if shelved:
            put_ended(services, ended)
        let_go(services, ended)
    return changed


_Look = tuple[Backend, Sequence[Run], Mapping[str, Observation]]


def _looked(services: Services, by_backend: Mapping[str, Sequence[Run]]) -> list[_Look]:
    """What each backend that answers sees of its runs; other machines are asked at the same time."""
    found: list[_Look] = []
    asked: list[tuple[Backend, Sequence[Run], Sequence[RunHandle]]] = []
    for name, group in by_backend.items():
        with suppress(TransportError, NotFoundError):
            asked.append((services.backend(name), group, [handle(services, run) for run in group]))

    def look(backend: Backend, group: Sequence[Run], handles: Sequence[RunHandle]) -> None:
        with suppress(TransportError):
            found.append((backend, group, backend.observe(handles)))

    far = [one for one in asked if one[0].may_be_away]
    if len(far) > 1:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(_HOSTS_AT_ONCE) as pool:
            list(pool.map(lambda one: look(*one), far))
        asked = [one for one in asked if not one[0].may_be_away]
    for one in asked:
        look(*one)
    return found


def _with_outputs(services: Services, run: Run, event: Event) -> Event:
    """Fetch the outputs that belong on this machine and register what a completed run was to register, before its end is
    written down: whoever dies in between leaves it to the next look. Raises TransportError when they may be had later.
    """
    if not event.state.is_end:
        return event
    backend, where = services.backend(run.backend), handle(services, run)
    backend.keep(where)
    plan = (services.runs.document(run.name, layout.PLAN_DOCUMENT) or {}).get("plan") or {}
    outputs = plan.get("outputs", ())
    problems = ""
    if any(output.get("home") for output in outputs):
        from mlcli.operations.registration import bring_home

        problems = bring_home(backend, where, outputs)
    if event.state is State.COMPLETED and any(output.get("asset_name") for output in outputs):
        from mlcli.operations.registration import register_outputs

        problems = "; ".join(filter(None, (problems, register_outputs(services, run.name))))
    return replace(event, message="; ".join(filter(None, (event.message, problems))))


class _Recorder:
    """Writes down what became of runs, until the workspace refuses to be written to: then it is told all the same."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._refused = False

    def __call__(self, run: Run, event: Event) -> Run:
        """The run after the event."""
        if not self._refused:
            try:
                return self._services.runs.append(run.name, event)
            except StoreError:  # a full disk, one that can only be read, an index that somebody holds for long
                self._refused = True
        return moved_by(run, event)


def is_waiting(services: Services, run: Run) -> bool:
    """Whether it is prepared and waits for a node of its compute, or for somebody to submit it to the one that it has."""
    return run.state is State.QUEUED and not _is_submitted(services, run)


def is_watched(services: Services, compute: str) -> bool:
    """Whether a live process gives out the nodes of the compute as they become free."""
    watcher = services.computes.watcher(compute)
    return watcher is not None and agent.is_alive(dict(watcher))


def attend_queue(services: Services, compute: str) -> None:
    """See that somebody gives out the nodes of a compute for which runs wait; a stopped one has none to give."""
    with suppress(NotFoundError):
        if not services.computes.get(compute).started:
            return
    if not is_watched(services, compute):
        services.watch_queue(compute)


def _is_submitted(services: Services, run: Run) -> bool:
    """Whether the backend knows of it: also when its supervisor died between the submission and saying so."""
    unsure = run.state in UNSUBMITTED or run.state is State.QUEUED
    return not unsure or services.runs.document(run.name, layout.SUBMISSION_DOCUMENT) is not None


def _since(services: Services, run: Run) -> float:
    events = services.runs.events(run.name)
    return events[-1].time if events else run.created_at


def _end(backend: Backend, run: RunHandle) -> None:
    """End what a lost run has left running, or say again what a killed ``cancel`` may not have said. Nothing may fail."""
    with suppress(MlcliError):
        backend.cancel(run)


def wait(
    services: Services,
    names: Sequence[str],
    timeout_s: float | None = None,
    notice: Callable[[str], None] | None = None,
) -> list[Run]:
    """Wait until every one of them has ended. Raises MlcliError when ``timeout_s`` is over first. ``notice`` takes what a person
    should know who waits for long: that a sweep is paused.
    """
    paused: frozenset[str] = frozenset()
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    pause = 0.05
    while True:
        runs = refresh(services, [services.runs.get(name) for name in names])
        running = [run for run in runs if not run.state.is_end]
        if not running:
            return runs
        waiting = {run.name: run.message for run in running if run.state is State.PAUSED}
        if notice is not None:
            for name in waiting.keys() - paused:
                notice(f"sweep {name} is paused: {waiting[name]}")
        paused = frozenset(waiting)
        if deadline is not None and time.monotonic() >= deadline:
            states = ", ".join(f"{run.name} ({run.state})" for run in running)
            raise MlcliError(
                f"not ended after {timeout_s:g} s: {states}",
                hint="they go on; wait again, or stop one with: mlcli job cancel -n NAME",
            )
        time.sleep(pause if deadline is None else min(pause, max(0.0, deadline - time.monotonic())))
        pause = min(pause * 1.5, 1.0)
