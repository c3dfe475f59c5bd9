"""What a run has logged, read by those who know how, and kept beside it once it has ended."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from mlcli import registry
from mlcli.domain.errors import StoreError, TransportError
from mlcli.domain.metrics import Tracked, figures, summary_of
from mlcli.domain.run import Run
from mlcli.operations import layout
from mlcli.operations.logged_models import logged_models
from mlcli.operations.run_files import RunFilesOf
from mlcli.ports.services import Services
from mlcli.ports.tracking import Seen, TrackingReader

READERS = ("files", "printed", "tensorboard", "mlflow")
"""Whose word counts where two know a name: the first's."""

_METRICS = "metrics.jsonl"
_EVENTS = "tfevents"
_SERVER = "MLFLOW_TRACKING_URI"
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
    are nested in it, in the order in which they began. ``models``: those that were logged, the oldest first. ``complete``:
    no more will come.
    """

    tracked: Tracked = field(default_factory=Tracked)
    sources: Mapping[str, str] = field(default_factory=dict)
    nested: Sequence[Mapping[str, Any]] = ()
    models: Sequence[Mapping[str, Any]] = ()
    complete: bool = False


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
    files = RunFilesOf(services, of.run, child=of.child)
    kept = None if of.child else _kept(files)
    found = decoded(kept) if kept is not None and kept.get("complete") else None
    if found is not None:
        return found
    before: Mapping[str, Any] = (kept or {}).get("readers", {})
    states: dict[str, Callable[[], Mapping[str, Any]] | None] = {}
    tracked, sources = Tracked(), dict[str, str]()
    for name in READERS[:1] if of.child else READERS:
        try:
            seen = reader(name).read(files, before.get(name))
        except TransportError as failed:
            if not tracked.metrics:
                raise
            seen = Seen(Tracked(notices=(failed.message,)))
        states[name] = seen.state
        sources = {**dict.fromkeys(seen.tracked.metrics, name), **sources}
        tracked = tracked.and_also(seen.tracked)
    if files.stale:
        tracked = replace(tracked, notices=(*tracked.notices, f"as of the last look: {files.stale}"))
    complete = of.run.state.is_end and not tracked.notices
    if of.child is not None:
        return Findings(tracked, sources, complete=complete)
    found = Findings(tracked, sources, _nested(files), logged_models(files, tracked.tags), complete)
    if _is_worth_keeping(found, files):
        _keep(services, of.run, found, states)
    return found


def find_at_once(services: Services, of: Subject) -> Findings | None:
    """What a run that has ended has logged, if that can be told from a little of what lies here; else None."""
    files = RunFilesOf(services, of.run)
    if not files.are_here or _SERVER in files.variables or any(_EVENTS in path for path in files.below(layout.LOGS)):
        return None
    paths = [files.local(path) for path in (_METRICS, layout.USER_LOG)]
    return find(services, of) if sum(path.stat().st_size for path in paths if path) < _WORTH_KEEPING else None


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


@cache
def reader(name: str) -> TrackingReader:
    """The reader of that name."""
    made: TrackingReader = registry.load("tracking", name)()
    return made


# What was found in a run that has ended is kept beside it, so that it is not looked for again


def _kept(files: RunFilesOf) -> Mapping[str, Any] | None:
    kept = files.document(layout.TRACKED_DOCUMENT)
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
        "models": found.models,
    }


def decoded(kept: Mapping[str, Any]) -> Findings | None:
    """The inverse, of a run that has ended; None for what is none."""
    try:
        metrics = {name: summary_of(said[1:]) for name, said in kept["metrics"].items()}
        sources = {name: said[0] for name, said in kept["metrics"].items()}
        tracked = Tracked(metrics, kept["params"], kept["tags"], kept["damaged"])
        return Findings(tracked, sources, kept["nested"], kept["models"], complete=True)
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
