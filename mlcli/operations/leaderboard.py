"""Leaderboards: runs chosen and sorted by what they have logged."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from mlcli.domain.filters import METRICS, Candidate, Comparison, Order, in_order, matches
from mlcli.domain.metrics import Tracked, direction
from mlcli.domain.run import Run, RunFilter
from mlcli.domain.state import State
from mlcli.operations import layout, observe, tracking
from mlcli.ports.services import Services

_VERSION = 1
_MLFLOW_STATUS = {
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
    shelf = _Shelf(services)
    entries = [Entry(run, shelf.tracked(run)) for run in observe.list_runs(services, replace(which, limit=None))]
    shelf.put_down()
    chosen = [entry for entry in entries if matches(conditions, candidate(entry))]
    ordered: list[Entry] = in_order(chosen, candidate, [_with_direction(order) for order in orders])
    return ordered[: which.limit]


class _Shelf:
    """What was found in runs that have ended, in one file of the workspace: a thousand runs are read at once. Whoever takes
    it away loses nothing but time.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._path = f"{services.root}/{layout.TRACKED_DOCUMENT}"
        self._kept = self._read()
        self._has_grown = False

    def _read(self) -> dict[str, Any]:
        try:
            with open(self._path, "rb") as file:  # noqa: PTH123
                kept = json.loads(file.read())
            return dict(kept["runs"]) if kept["version"] == _VERSION else {}
        except (OSError, ValueError, TypeError, KeyError):
            return {}

    def tracked(self, run: Run) -> Tracked:
        """What the run has logged."""
        kept = self._kept.get(run.name)
        if isinstance(kept, dict) and kept.get("created_at") == run.created_at:  # else one of that name that is deleted
            found = tracking.decoded(kept)
            if found is not None:
                return found.tracked
        found = tracking.find_or_tell(self._services, tracking.Subject(run, run.name))
        if found.complete:
            self._kept[run.name] = {"created_at": run.created_at, **tracking.encoded(found)}
            self._has_grown = True
        return found.tracked

    def put_down(self) -> None:
        """Keep what is new; deleted runs are forgotten then."""
        if self._has_grown:
            runs = f"{self._services.root}/runs"
            there = set(os.listdir(runs))  # noqa: PTH208
            kept = {name: value for name, value in self._kept.items() if name in there}
            tracking.write_kept(self._path, {"version": _VERSION, "runs": kept})


def _with_direction(order: Order) -> Order:
    if order.descending is not None:
        return order
    return replace(order, descending=order.kind == METRICS and direction(order.key) > 0)


def candidate(entry: Entry) -> Candidate:
    """The run as filters see it: MLflow's words for what MLflow knows, times in milliseconds since the epoch."""
    run, tracked = entry.run, entry.tracked
    status = _MLFLOW_STATUS.get(run.state, "SCHEDULED")
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
