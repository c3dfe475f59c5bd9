"""Tracking: what runs have logged, whichever way they log, wherever they run."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass, field, replace
from typing import Any

from mlcli import registry
from mlcli.domain.errors import NotFoundError, StoreError, TransportError
from mlcli.domain.metrics import Series, Summary, Tracked, number, ordered, plain
from mlcli.domain.run import Run
from mlcli.operations import layout, observe
from mlcli.operations.run_files import RunFilesOf
from mlcli.ports.services import Services
from mlcli.ports.tracking import TrackingReader

READERS = ("files", "printed", "tensorboard", "mlflow")
"""Whose word counts where two know a name: the first's."""

_VERSION = 1
_WORTH_KEEPING = 1 << 20


@dataclass(frozen=True)
class Subject:
    """A run to read from. ``child``: the folder of a run that is nested in it. ``label``: as the person named it."""

    run: Run
    label: str
    child: str | None = None


@dataclass(frozen=True)
class Findings:
    """What a run has logged. ``sources``: metric -> the reader that knows it. ``complete``: no more will come."""

    tracked: Tracked = field(default_factory=Tracked)
    sources: Mapping[str, str] = field(default_factory=dict)
    complete: bool = False


def subject(services: Services, name: str) -> Subject:
    """The run of that name, or, for ``NAME/CHILD``, one that is nested in it: by its id or its name. Raises NotFoundError."""
    parent, slash, child = name.partition("/")
    run = observe.get(services, parent)
    if not slash:
        return Subject(run, name)
    nested = children(services, run)
    for entry in nested:
        if child in {entry["run_id"], entry["run_name"]}:
            return Subject(run, name, entry["run_id"])
    names = [str(entry["run_name"] or entry["run_id"]) for entry in nested]
    has = f"it has: {', '.join(names[:10])}" if names else "it has no nested runs"
    raise NotFoundError(f"job {parent} has no nested run {child!r}", hint=_near(child, names) or has)


def children(services: Services, run: Run) -> list[dict[str, Any]]:
    """The runs that are nested in it, in the order in which they began."""
    files = RunFilesOf(services, run)
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
    if kept is not None and kept.get("complete"):
        with suppress(KeyError, TypeError, ValueError):
            return _decoded(kept)
    files = RunFilesOf(services, of.run, child=of.child)
    states: dict[str, Any] = dict((kept or {}).get("readers", {}))
    tracked, sources = Tracked(), {}
    for name in READERS[:1] if of.child else READERS:
        seen = reader(name).read(files, states.get(name))
        sources.update({metric: name for metric in seen.tracked.metrics if metric not in tracked.metrics})
        tracked = tracked.and_also(seen.tracked)
        states[name] = seen.state
    if files.stale:
        tracked = replace(tracked, notices=(*tracked.notices, f"as of the last look: {files.stale}"))
    found = Findings(tracked, sources, of.run.state.is_end and not tracked.notices)
    if of.child is None and (found.complete or files.size > _WORTH_KEEPING):
        _keep(services, of.run, found, states)
    return found


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
        kept: Mapping[str, Any] | None = services.runs.document(of.run.name, layout.TRACKED_DOCUMENT)
    except StoreError:
        return None
    return kept if isinstance(kept, dict) and kept.get("version") == _VERSION else None


def _keep(services: Services, run: Run, found: Findings, states: Mapping[str, Any]) -> None:
    """A workspace that cannot be written to is looked at anew each time."""
    value: dict[str, Any] = {"version": _VERSION, "complete": found.complete}
    if found.complete:
        tracked = found.tracked
        metrics = {
            name: [
                found.sources[name],
                *(plain(figure) if isinstance(figure, float) else figure for figure in astuple(summary)),
            ]
            for name, summary in tracked.metrics.items()
        }
        value |= {"metrics": metrics, "params": tracked.params, "tags": tracked.tags, "damaged": tracked.damaged}
    else:
        value["readers"] = {name: state for name, state in states.items() if state}
    with suppress(StoreError, NotFoundError):
        services.runs.write_document(run.name, layout.TRACKED_DOCUMENT, value)


def _decoded(kept: Mapping[str, Any]) -> Findings:
    metrics, sources = {}, {}
    for name, (source, last, step, time_ms, low, high, *whole) in kept["metrics"].items():
        metrics[name] = Summary(number(last), step, time_ms, number(low), number(high), *whole)
        sources[name] = source
    return Findings(Tracked(metrics, kept["params"], kept["tags"], kept["damaged"]), sources, complete=True)


def damage(label: str, tracked: Tracked) -> Iterator[str]:
    """What the person should know of what was not read."""
    if tracked.damaged:
        lines = "line" if tracked.damaged == 1 else "lines"
        yield f"{tracked.damaged} damaged {lines} of what {label} has logged were left out"
    yield from tracked.notices
