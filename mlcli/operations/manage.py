"""Manage: what a person may do to a run's record: change, archive, restore, delete, prune."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from mlcli.domain.errors import MlcliError, NotFoundError, TransportError
from mlcli.domain.run import Run, RunChanges, RunFilter
from mlcli.domain.state import State
from mlcli.operations import layout, observe
from mlcli.operations.cancel import cancel
from mlcli.ports.services import Services


def update(services: Services, name: str, change: Callable[[Run], RunChanges]) -> Run:
    """Change display name, description, tags or properties, by what ``change`` makes of the run as it is."""
    return services.runs.edit(name, change)


def archive(services: Services, name: str) -> Run:
    """Hide the run from lists; everything is kept."""
    return services.runs.update(name, RunChanges(archived=True))


def restore(services: Services, name: str) -> Run:
    """Show an archived run again."""
    return services.runs.update(name, RunChanges(archived=False))


def delete(services: Services, name: str) -> int:
    """Remove the run with its folder, a sweep with its trials; bytes freed. Raises MlcliError while the run is live."""
    run = observe.get(services, name)
    if not run.state.is_end:
        raise MlcliError(f"job {name} is {run.state}", hint=f"stop it first: mlcli job cancel -n {name}")
    return _delete(services, run)


def end_all(services: Services, names: Sequence[str], timeout_s: float = 60.0) -> None:
    """Cancel runs and wait for their ends. Raises MlcliError when one has not ended by then."""
    for name in names:
        cancel(services, name)
    if names:
        observe.wait(services, names, timeout_s)


def _delete(services: Services, run: Run) -> int:
    if (
        run.job_type == observe.SWEEP
    ):  # the trials first: who is killed in between leaves a sweep that can be deleted again
        trials = services.runs.list(RunFilter(parent=run.name, include_archived=True))
        return sum(_delete(services, trial) for trial in trials) + _delete_one(services, run)
    return _delete_one(services, run)


def _delete_one(services: Services, run: Run) -> int:
    with suppress(TransportError, NotFoundError):  # a compute that does not answer must not keep the run
        services.backend(run.backend).forget(observe.handle(services, run))
    return services.runs.delete(run.name)


@dataclass(frozen=True)
class Pruned:
    """What a prune removed, or would (``dry_run``): run names, and bytes of runs and of unused snapshots."""

    runs: tuple[str, ...]
    run_bytes: int
    snapshot_bytes: int


def prune(
    services: Services,
    *,
    older_than_s: float | None = None,
    keep_last: int | None = None,
    states: frozenset[State] | None = None,
    dry_run: bool = False,
) -> Pruned:
    """Delete ended runs, then the snapshots that no run uses any more.

    A run goes when every given condition names it: ended in one of ``states``, created more than ``older_than_s``
    seconds ago, not among the newest ``keep_last``. With no condition only unused snapshots go. Trials go with their sweep.
    """
    doomed = _doomed(services, older_than_s, keep_last, states)
    if dry_run:
        return Pruned(tuple(run.name for run in doomed), 0, 0)
    run_bytes = sum(_delete(services, run) for run in doomed)
    return Pruned(tuple(run.name for run in doomed), run_bytes, services.snapshots.prune(_used_snapshots(services)))


def _doomed(
    services: Services, older_than_s: float | None, keep_last: int | None, states: frozenset[State] | None
) -> list[Run]:
    if older_than_s is None and keep_last is None and states is None:
        return []
    runs = observe.list_runs(services, RunFilter(include_archived=True, without_parent=True))[keep_last or 0 :]
    before = time.time() - (older_than_s or 0.0)
    return [
        run for run in runs if run.state.is_end and run.created_at <= before and (states is None or run.state in states)
    ]


def _used_snapshots(services: Services) -> set[str]:
    used = set()
    for run in services.runs.list(RunFilter(include_archived=True)):
        document: Mapping[str, str | None] = services.runs.document(run.name, layout.PLAN_DOCUMENT) or {}
        snapshot = document.get("snapshot")
        if snapshot is not None:
            used.add(snapshot)
    return used
