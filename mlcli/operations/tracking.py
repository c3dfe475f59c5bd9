"""Tracking: what runs have logged, whichever way they log, wherever they run."""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from mlcli.domain.errors import NotFoundError, TransportError
from mlcli.domain.metrics import Point, Series, Tracked, ordered
from mlcli.operations import observe
from mlcli.operations.findings import READERS, Findings, Subject, find, find_or_tell, reader
from mlcli.operations.run_files import RunFilesOf
from mlcli.ports.services import Services

__all__ = ["POLL_S", "READERS", "damage", "follow", "history", "reader", "subject", "unknown_metric"]

POLL_S = 0.05
_POLL_FAR_S = 1.0
_LOOK_EVERY_S = 1.0


def subject(services: Services, name: str) -> Subject:
    """The run of that name, or, for ``NAME/CHILD``, one that is nested in it: by its id or its name. Raises NotFoundError."""
    parent, slash, child = name.partition("/")
    run = observe.get(services, parent)
    if not slash:
        return Subject(run, name)
    nested = find(services, Subject(run, parent)).nested
    for entry in nested:
        if child in {entry["run_id"], entry["run_name"]}:
            return Subject(run, name, entry["run_id"])
    names = [str(entry["run_name"] or entry["run_id"]) for entry in nested]
    has = f"it has: {', '.join(names[:10])}" if names else "it has no nested runs"
    raise NotFoundError(f"job {parent} has no nested run {child!r}", hint=_near(child, names) or has)


def history(services: Services, of: Subject, found: Findings, metric: str, most: int | None = None) -> Series:
    """The points of a metric, in the order in which they were logged; at most ``most``, evenly chosen. Raises NotFoundError,
    with the names that there are.
    """
    if metric not in found.tracked.metrics:
        raise unknown_metric(of.label, metric, found.tracked)
    files = RunFilesOf(services, of.run, child=of.child, settled=found.complete)
    return reader(found.sources[metric]).history(files, metric, found.tracked.metrics[metric].count, most)


def follow(
    services: Services, of: Subject, metrics: Sequence[str], notice: Callable[[str], None]
) -> Iterator[tuple[str, Point]]:
    """The points that the run has logged and those that it logs, as they come, until it has ended; of these metrics, or
    of all. ``notice`` takes why nothing can be read for a while. Raises NotFoundError when it ends without one of them.
    """
    run, looked_at, told = of.run, time.monotonic(), None
    since: dict[str, Any] = {}
    seen: set[str] = set()
    while True:
        over = run.state.is_end
        files = RunFilesOf(services, run, child=of.child)
        problem = None
        for name in READERS[:1] if of.child else READERS:
            try:
                fresh, since[name] = reader(name).news(files, since.get(name))
            except TransportError as failed:
                problem = failed.message
                continue
            for metric in (metric for metric in fresh if not metrics or metric in metrics):
                seen.add(metric)
                yield from ((metric, point) for point in fresh[metric])
        problem = problem or files.stale
        if problem is not None and problem != told:
            notice(problem)
        told = problem
        if over:
            break
        time.sleep(_POLL_FAR_S if problem or services.backend(run.backend).may_be_away else POLL_S)
        run = services.runs.get(run.name)
        if time.monotonic() - looked_at > _LOOK_EVERY_S:
            run, looked_at = observe.get(services, run.name), time.monotonic()
    missing = [metric for metric in metrics if metric not in seen]
    if missing:
        raise unknown_metric(of.label, missing[0], find_or_tell(services, replace(of, run=run)).tracked)


def unknown_metric(label: str, metric: str, tracked: Tracked) -> NotFoundError:
    """That a run has not logged a metric, and which it has."""
    names = ordered(tracked.metrics)
    if not names:
        hint = "log with mlflow.log_metric, or print: metric: loss=0.25 step=3"
        return NotFoundError(f"job {label} has logged no metrics", details=tracked.notices, hint=hint)
    shown = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
    return NotFoundError(
        f"job {label} has logged no metric {metric!r}", details=(f"it has: {shown}",), hint=_near(metric, names)
    )


def _near(word: str, names: Sequence[str]) -> str | None:
    near = difflib.get_close_matches(word, names)
    return f"did you mean {' or '.join(near)}?" if near else None


def damage(label: str, tracked: Tracked) -> Iterator[str]:
    """What the person should know of what was not read."""
    if tracked.damaged:
        lines = "line" if tracked.damaged == 1 else "lines"
        yield f"{tracked.damaged} damaged {lines} of what {label} has logged were left out"
    yield from tracked.notices
