"""Tracking: what runs have logged, whichever way they log, wherever they run."""

from __future__ import annotations

import difflib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from mlcli import registry
from mlcli.domain.errors import NotFoundError, StoreError, TransportError
from mlcli.domain.metrics import Point, Series, Tracked, figures, ordered, summary_of
from mlcli.domain.run import Run
from mlcli.operations import layout, observe
from mlcli.operations.run_files import RunFilesOf
from mlcli.ports.services import Services
from mlcli.ports.tracking import TrackingReader

READERS = ("files", "printed", "tensorboard", "mlflow")
"""Whose word counts where two know a name: the first's."""

POLL_S = 0.05
_POLL_FAR_S = 1.0
_LOOK_EVERY_S = 1.0
_VERSION = 1
_WORTH_KEEPING = 1 << 20
_CHEAP = 1 << 16


@dataclass(frozen=True)
class Subject:
    """A run to read from. ``child``: the folder of a run that is nested in it. ``label``: as the person named it."""

    run: Run
    label: str
    child: str | None = None


@dataclass(frozen=True)
class Findings:
    """What a run has logged. ``sources``: metric -> the reader that knows it. ``nested``: the runs that
    are nested in it, in the order in which they began. ``complete``: no more will come.
    """

    tracked: Tracked = field(default_factory=Tracked)
    sources: Mapping[str, str] = field(default_factory=dict)
    nested: Sequence[Mapping[str, Any]] = ()
    complete: bool = False


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


def _nested(files: RunFilesOf) -> list[dict[str, Any]]:
    found = []
    for path in files.below(layout.CHILDREN):
        folder, _, file = path.partition("/")
        if file == "run.json" and (local := files.local(f"{layout.CHILDREN}/{path}")):
            with suppress(ValueError, OSError):
                told = json.loads(local.read_bytes())
                found.append(
                    {key: told.get(key) for key in ("run_name", "status", "parent", "start_time_ms", "end_time_ms")}
                )
                found[-1]["run_id"] = folder
    return sorted(found, key=lambda entry: (entry["start_time_ms"] or 0, entry["run_id"]))


def find(services: Services, of: Subject) -> Findings:
    """What the run has logged by now. Raises TransportError where nothing at all can be read."""
    kept = _kept(services, of)
    found = decoded(kept) if kept is not None and kept.get("complete") else None
    if found is not None:
        return found
    files = RunFilesOf(services, of.run, child=of.child)
    before: Mapping[str, Any] = (kept or {}).get("readers", {})
    states: dict[str, Callable[[], Mapping[str, Any]] | None] = {}
    tracked, sources = Tracked(), dict[str, str]()
    for name in READERS[:1] if of.child else READERS:
        seen = reader(name).read(files, before.get(name))
        states[name] = seen.state
        sources = {**dict.fromkeys(seen.tracked.metrics, name), **sources}
        tracked = tracked.and_also(seen.tracked)
    if files.stale:
        tracked = replace(tracked, notices=(*tracked.notices, f"as of the last look: {files.stale}"))
    complete = of.run.state.is_end and not tracked.notices
    found = Findings(tracked, sources, () if of.child else _nested(files), complete)
    if of.child is None and _is_worth_keeping(found, files):
        _keep(services, of.run, found, states)
    return found


def _is_worth_keeping(found: Findings, files: RunFilesOf) -> bool:
    """Whether it took longer than to look at a small file."""
    if not found.complete:
        return files.size > _WORTH_KEEPING
    return files.size > _CHEAP or files.is_far or not {"files", "printed"}.issuperset(found.sources.values())


def find_or_tell(services: Services, of: Subject) -> Findings:
    """The same; of a run whose machine does not answer, nothing but a notice that says so."""
    try:
        return find(services, of)
    except (TransportError, StoreError) as failed:
        return Findings(Tracked(notices=(failed.message,)))


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
        time.sleep(_POLL_FAR_S if problem or services.backend(run.backend).is_far else POLL_S)
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


def reader(name: str) -> TrackingReader:
    """The reader of that name."""
    made: TrackingReader = registry.load("tracking", name)()
    return made


# What was found in a run that has ended is kept beside it, so that it is not looked for again


def _kept(services: Services, of: Subject) -> Mapping[str, Any] | None:
    if of.child is not None:
        return None
    try:
        with open(services.runs.folder(of.run.name) / layout.TRACKED_DOCUMENT, "rb") as file:  # noqa: PTH123  (a thousand)
            kept: Mapping[str, Any] | None = json.loads(file.read())
    except (OSError, ValueError):
        return None
    return kept if isinstance(kept, dict) and kept.get("version") == _VERSION else None


def _keep(
    services: Services, run: Run, found: Findings, states: Mapping[str, Callable[[], Mapping[str, Any]] | None]
) -> None:
    """A workspace that cannot be written to is looked at anew each time."""
    value: dict[str, Any] = {"version": _VERSION, "complete": found.complete}
    if found.complete:
        value |= encoded(found)
    else:
        value["readers"] = {name: state() for name, state in states.items() if state}
    write_kept(f"{services.runs.folder(run.name)}/{layout.TRACKED_DOCUMENT}", value)


def write_kept(path: str, value: Mapping[str, Any]) -> None:
    """Replace a JSON file of what can be found again, if that may be written."""
    fresh = f"{path}.{os.getpid()}"
    with suppress(OSError):
        try:
            with open(fresh, "w", encoding="utf-8") as file:  # noqa: PTH123
                file.write(json.dumps(value))
            os.replace(fresh, path)  # noqa: PTH105
        except OSError:
            os.unlink(fresh)  # noqa: PTH108
            raise


def encoded(found: Findings) -> dict[str, Any]:
    """As a JSON value."""
    tracked = found.tracked
    return {
        "metrics": {name: [found.sources[name], *figures(summary)] for name, summary in tracked.metrics.items()},
        "params": tracked.params,
        "tags": tracked.tags,
        "damaged": tracked.damaged,
        "nested": found.nested,
    }


def decoded(kept: Mapping[str, Any]) -> Findings | None:
    """The inverse, of a run that has ended; None for what is none."""
    try:
        metrics = {name: summary_of(said[1:]) for name, said in kept["metrics"].items()}
        sources = {name: said[0] for name, said in kept["metrics"].items()}
        tracked = Tracked(metrics, kept["params"], kept["tags"], kept["damaged"])
        return Findings(tracked, sources, kept["nested"], complete=True)
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def damage(label: str, tracked: Tracked) -> Iterator[str]:
    """What the person should know of what was not read."""
    if tracked.damaged:
        lines = "line" if tracked.damaged == 1 else "lines"
        yield f"{tracked.damaged} damaged {lines} of what {label} has logged were left out"
    yield from tracked.notices
