"""Leaderboards: runs chosen and sorted by what they have logged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mlcli.domain.filters import METRICS, Candidate, Comparison, Order, in_order, matches
from mlcli.domain.metrics import Tracked, direction
from mlcli.domain.run import Run, RunFilter
from mlcli.domain.state import State
from mlcli.operations import observe
from mlcli.operations.findings import Subject, find_or_tell
from mlcli.operations.shelf import Shelf
from mlcli.ports.services import Services

MLFLOW_STATUS = {
    State.COMPLETED: "FINISHED",
    State.FAILED: "FAILED",
    State.NOT_RESPONDING: "FAILED",
    State.CANCELED: "KILLED",
    State.RUNNING: "RUNNING",
    State.FINALIZING: "RUNNING",
    State.CANCEL_REQUESTED: "RUNNING",
}


@dataclass(frozen=True)
class Entry:
    """A run on a leaderboard, with what it has logged."""

    run: Run
    tracked: Tracked


def leaderboard(
    services: Services, which: RunFilter, conditions: Sequence[Comparison], orders: Sequence[Order]
) -> list[Entry]:
    """Of the runs that ``which`` finds (its limit counts at the end) those for which every condition holds, sorted. A metric
    whose name says which way is better is sorted so, unless the order says how; all else rises.
    """
    runs = observe.list_runs(services, replace(which, limit=None))
    shelf = Shelf(services)
    entries = [Entry(run, _tracked(services, shelf, run)) for run in runs]
    shelf.put_down()
    chosen = [entry for entry in entries if matches(conditions, candidate(entry))]
    ordered: list[Entry] = in_order(chosen, candidate, [_with_direction(order) for order in orders])
    return ordered[: which.limit]


def _tracked(services: Services, shelf: Shelf, run: Run) -> Tracked:
    found = shelf.find(run)
    if found is None:
        found = find_or_tell(services, Subject(run, run.name))
        if found.complete:
            shelf.keep(run, found)
    return found.tracked


def _with_direction(order: Order) -> Order:
    if order.descending is not None:
        return order
    return replace(order, descending=order.kind == METRICS and direction(order.key) > 0)


def candidate(entry: Entry) -> Candidate:
    """The run as filters see it: MLflow's words for what MLflow knows, times in milliseconds since the epoch."""
    run, tracked = entry.run, entry.tracked
    status = MLFLOW_STATUS.get(run.state, "SCHEDULED")
    return Candidate(
        {name: summary.last for name, summary in tracked.metrics.items()},
        tracked.params,
        {**tracked.tags, **run.tags},
        {
            "run_id": run.name,
            "run_name": run.display_name or run.name,
            "status": (str(run.state), status),
            "experiment_name": run.experiment_name,
            "compute": run.compute,
            "user_id": tracked.tags.get("mlflow.user"),
            "type": run.job_type,
            "parent": run.parent,
            "created": run.created_at * 1000,
            "start_time": None if run.started_at is None else run.started_at * 1000,
            "end_time": None if run.ended_at is None else run.ended_at * 1000,
            "duration": None if run.started_at is None or run.ended_at is None else run.ended_at - run.started_at,
            "exit_code": None if run.exit_code is None else float(run.exit_code),
        },
    )
