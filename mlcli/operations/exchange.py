"""Exchange: runs handed on to other programs with all that they logged, and runs of other programs taken in."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

from mlcli import registry
from mlcli.domain.errors import MlcliError, NotFoundError, StoreError
from mlcli.domain.logged import MLCLI_RUN, LoggedRun
from mlcli.domain.metrics import Series, plain
from mlcli.domain.redaction import masked
from mlcli.domain.run import Run
from mlcli.domain.state import Reason
from mlcli.operations import handles, layout, names, shelf, tracking
from mlcli.operations.findings import Findings, Subject, find, find_or_tell
from mlcli.operations.leaderboard import MLFLOW_STATUS
from mlcli.ports.exchange import RunFormat
from mlcli.ports.services import Services

FROM = "imported_from"
RUN_ID = "mlflow.run_id"
_SUFFIXES = {".csv": "csv", ".json": "json", ".parquet": "parquet"}
_REASONS = {"FINISHED": Reason.COMPLETED, "KILLED": Reason.CANCELED_BY_USER}
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")


def run_format(name: str | None, place: str) -> RunFormat:
    """The format of that name, or the one that the place's ending tells; else MLflow's. Raises NotFoundError."""
    made: RunFormat = registry.load("run_formats", name or _SUFFIXES.get(Path(place).suffix.lower(), "mlflow"))()
    return made


def export(services: Services, subjects: Sequence[Subject], form: RunFormat, place: str) -> list[str]:
    """Hand runs on, each with those nested in it. Answers what could not be handed on. Raises TransportError where a run's
    machine does not answer.
    """
    with ExitStack() as stack:
        runs: list[LoggedRun] = []
        notices: list[str] = []
        for subject in subjects:
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mlcli-")))
            found = find(services, subject)
            notices += tracking.damage(subject.label, found.tracked)
            runs += logged_runs(services, subject, found, scratch if form.has_artifacts else None)
        return [*notices, *form.write(runs, place)]


def show(services: Services, run: Run, folder: Path) -> list[str]:
    """Put a run into a folder of MLflow's runs; its artifacts, and those of runs nested in it, stay where they are."""
    of = Subject(run, run.name)
    here = services.runs.folder(run.name)
    form: RunFormat = registry.load("run_formats", "mlflow")()
    runs = [
        replace(
            logged, artifacts_at=(here / layout.CHILDREN / logged.run_id if logged.parent else here) / layout.ARTIFACTS
        )
        for logged in logged_runs(services, of, find_or_tell(services, of), None)
    ]
    return list(form.write(runs, str(folder)))


def logged_runs(services: Services, of: Subject, found: Findings, scratch: Path | None) -> Iterator[LoggedRun]:
    """A run and those nested in it. ``scratch``: where files of another machine are put; None: artifacts are left out."""
    run = of.run
    metrics = {name: tracking.history(services, of, found, name) for name in found.tracked.metrics}
    files = _artifacts(services, run, scratch) if scratch else {}
    tags = {**found.tracked.tags, **run.tags, MLCLI_RUN: run.name}
    yield LoggedRun(
        run.name,
        run.display_name or run.name,
        run.experiment_name,
        MLFLOW_STATUS.get(run.state, "SCHEDULED"),
        _ms(run.started_at or run.created_at),
        _ms(run.ended_at),
        run.parent,
        {name: masked(value) for name, value in found.tracked.params.items()},
        tags,
        metrics,
        files.get(None, {}),
    )
    for entry in found.nested:
        child = Subject(run, f"{of.label}/{entry['run_id']}", entry["run_id"])
        inner = find(services, child)
        yield LoggedRun(
            entry["run_id"],
            entry["run_name"] or entry["run_id"],
            run.experiment_name,
            entry["status"] or "RUNNING",
            entry["start_time_ms"],
            entry["end_time_ms"],
            _parent(entry["parent"], run.name, found),
            {name: masked(value) for name, value in inner.tracked.params.items()},
            {**inner.tracked.tags, MLCLI_RUN: entry["run_id"]},
            {name: tracking.history(services, child, inner, name) for name in inner.tracked.metrics},
            files.get(entry["run_id"], {}),
        )


def _ms(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds * 1000)


def _parent(told: str | None, run: str, found: Findings) -> str:
    """The run itself, unless it is nested in one that is nested in it."""
    return told if told is not None and told in {entry["run_id"] for entry in found.nested} else run


def _artifacts(services: Services, run: Run, scratch: Path) -> dict[str | None, dict[str, Path]]:
    """Artifacts of the run (None) and of those nested in it, by path; a model of MLflow 3 under its name."""
    backend, where = services.backend(run.backend), handles.handle(services, run)
    places = {}
    for part in (layout.ARTIFACTS, layout.MODELS, layout.CHILDREN):
        here = services.runs.folder(run.name) / part
        if backend.is_far or not run.state.is_end:
            here = scratch / part
            if backend.list_files(where, part):
                backend.fetch(where, part, here)
        places[part] = here
    found: dict[str | None, dict[str, Path]] = {None: _below(places[layout.ARTIFACTS])}
    for folder in _folders(places[layout.CHILDREN]):
        found[folder.name] = _below(folder / layout.ARTIFACTS)
    for folder in _folders(places[layout.MODELS]):
        with suppress(OSError, ValueError):
            told = json.loads((folder / "model.json").read_bytes())
            of = found.get(told.get("source_run_id"), found[None])
            for path, file in _below(folder / layout.ARTIFACTS).items():
                of.setdefault(f"{told.get('name') or folder.name}/{path}", file)
    return found


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def _below(folder: Path) -> dict[str, Path]:
    return {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}


def take_in(
    services: Services, form: RunFormat, place: str, experiment: str | None = None
) -> tuple[list[Run], list[str]]:
    """Make a run of this workspace of each run there, nested ones below theirs; of an experiment, or of all. Those that
    were taken in before are left as they are. Answers the new runs, and sentences about the others.
    """
    made: list[Run] = []
    notices: list[str] = []
    with tempfile.TemporaryDirectory(prefix="mlcli-") as scratch:
        runs = [run for run in form.read(place, Path(scratch)) if experiment in {None, run.experiment}]
        if not runs:
            of = f" of the experiment {experiment!r}" if experiment else ""
            raise NotFoundError(f"there is no run{of} in {masked(place)}")
        known = {run.run_id for run in runs}
        below: dict[str, list[LoggedRun]] = {}
        for run in runs:
            if run.parent in known:
                below.setdefault(str(run.parent), []).append(run)
        before = _imported(services)
        for run in (run for run in runs if run.parent not in known):
            if run.run_id in before:
                notices.append(f"{run.name} was taken in before, as {before[run.run_id]}: it was left as it is")
                continue
            made.append(_take(services, run, list(_descendants(run.run_id, below)), masked(place)))
    shelf.put_ended(services, made)
    return made, notices


def _descendants(run_id: str, below: Mapping[str, Sequence[LoggedRun]]) -> Iterator[LoggedRun]:
    for run in below.get(run_id, ()):
        yield run
        yield from _descendants(run.run_id, below)


def _imported(services: Services) -> dict[str, str]:
    from mlcli.domain.run import RunFilter

    runs = services.runs.list(RunFilter(include_archived=True))
    return {run.properties[RUN_ID]: run.name for run in runs if RUN_ID in run.properties}


def _take(services: Services, logged: LoggedRun, nested: Sequence[LoggedRun], place: str) -> Run:
    """A run that has ended, with its folder filled before anybody else can see it ended empty."""
    started = (logged.start_ms or int(time.time() * 1000)) / 1000
    ended = started if logged.end_ms is None else logged.end_ms / 1000
    reason = _REASONS.get(logged.status, Reason.LOST)
    run = Run(
        name=_free_name(services, logged),
        experiment_name=logged.experiment,
        compute="local",
        backend="local",
        created_at=started,
        state=reason.state,
        reason=reason,
        display_name=logged.name,
        properties={FROM: place, RUN_ID: logged.run_id},
        started_at=started,
        ended_at=ended,
    )
    folder = services.runs.create(run, {})
    try:
        _fill(folder, logged)
        for child in nested:
            below = folder / layout.CHILDREN / child.run_id
            _fill(below, child)
            told = {
                "run_id": child.run_id,
                "run_name": child.name,
                "parent": run.name if child.parent == logged.run_id else child.parent,
                "status": child.status,
                "start_time_ms": child.start_ms,
                "end_time_ms": child.end_ms,
                "experiment": child.experiment,
            }
            (below / "run.json").write_text(json.dumps(told), encoding="utf-8")
    except OSError as failed:
        with suppress(MlcliError):
            services.runs.delete(run.name)
        raise StoreError(
            f"cannot take in {logged.name}: {failed.strerror or failed}", hint="free some space"
        ) from failed
    return services.runs.get(run.name)


def _free_name(services: Services, logged: LoggedRun) -> str:
    """The name that mlcli gave it, else its own, if that can be a name and is free; else a new one."""
    for name in (logged.tags.get(MLCLI_RUN), logged.name, logged.run_id):
        if name and _NAME.fullmatch(name) and not os.path.lexists(services.runs.folder(name)):
            return name
    return names.generate()


def _fill(folder: Path, run: LoggedRun) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if run.metrics:
        with (folder / "metrics.jsonl").open("w", encoding="utf-8") as file:
            for name, points in run.metrics.items():
                file.writelines(_lines(name, points))
    for file_name, pairs in (("params.jsonl", run.params), ("tags.jsonl", run.tags)):
        if pairs:
            (folder / file_name).write_text(
                "".join(f"{json.dumps(pair)}\n" for pair in pairs.items()), encoding="utf-8"
            )
    for path, source in run.artifacts.items():
        target = folder / layout.ARTIFACTS / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


def _lines(name: str, points: Series) -> Iterator[str]:
    return (f"{json.dumps([name, plain(point.value), point.step, point.time_ms])}\n" for point in points)
