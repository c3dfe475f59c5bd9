"""Reuse: a finished trial of the same code, inputs, environment and values is taken for a new one, which is not made again.

What a sweep's trials are made from is told by its record and by ``made_of.json``, which its supervisor writes: the content of
its inputs, and the interpreter where the environment has no fingerprint. It counts only while nothing of it changes: it is
looked at when the sweep begins, whenever somebody takes it up again, and at its end.
"""

from __future__ import annotations

import functools
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from mlcli.domain.distributions import Values
from mlcli.domain.errors import MlcliError
from mlcli.domain.plan import InputPlan, Plan
from mlcli.domain.run import RunFilter
from mlcli.domain.state import State
from mlcli.domain.sweep import Trial
from mlcli.domain.trials import Attempt
from mlcli.operations import layout, observe
from mlcli.operations.carry import load_plan, plan_of
from mlcli.operations.contents import contents
from mlcli.operations.trial_watch import Logged
from mlcli.operations.trials import SweepRecord, load_attempts, load_record
from mlcli.ports.services import Services

_MADE_OF = "made_of.json"
_PINNED = ("builder", "container", "fingerprint", "image", "digest", "python", "resolved", "packages")
_TELLING = ("fingerprint", "image", "digest")
_ANSWERS_WITHIN_S = 30.0
_CURRENT = "current"


def obstacles(plan: Plan) -> tuple[str, ...]:
    """Why no trial of this plan can be taken for another: it would leave something undone. Sentences for the person."""
    return tuple(
        f"--reuse: nothing is reused, as output {output.name!r} has a place of its own to which each trial writes"
        for output in plan.outputs
        if output.asset_name or output.home or not Path(output.value).is_relative_to(plan.run_folder)
    )


# What a sweep is made of


def note_beginning(services: Services, sweep: str) -> None:
    """Write down what its trials are made from; that it is not known, where something has changed since the last time."""
    now, before = _ingredients(services, sweep), services.runs.document(sweep, _MADE_OF)
    same = before is None or before["ingredients"] == now
    services.runs.write_document(sweep, _MADE_OF, {"ingredients": now if same else None, "held": False})


def note_end(services: Services, sweep: str) -> None:
    """Write down whether it has been so to the end."""
    before = services.runs.document(sweep, _MADE_OF)
    if before is not None:
        held = before["ingredients"] == _ingredients(services, sweep)
        noted = {"ingredients": before["ingredients"] if held else None, "held": held}
        services.runs.write_document(sweep, _MADE_OF, noted)


def unknown(services: Services, sweep: str) -> str | None:
    """Why it is not known what its trials are made from, a sentence; None when it is."""
    noted = services.runs.document(sweep, _MADE_OF)
    if noted is None or noted["ingredients"] is None:
        return "its inputs or its environment have changed since it began"
    missing = [f"what input {name!r} holds" for name, found in noted["ingredients"]["inputs"].items() if found is None]
    missing += ["what its environment consists of"] if noted["ingredients"]["environment"] is None else []
    return f"{' and '.join(missing)} cannot be told" if missing else None


def _ingredients(services: Services, sweep: str) -> dict[str, Any]:
    """The inputs by name and the environment, each as something that is equal when they are; None for what cannot be told."""
    plan, _ = load_plan(services.runs, sweep)
    record = load_record(services.runs, sweep)
    trials, _ = plan_of(record.template)
    brought = {entry.name for entry in plan.inputs}
    inputs = [*plan.inputs, *(entry for entry in trials.inputs if entry.name not in brought)]
    return {
        "inputs": {entry.name: _content(services, entry) for entry in inputs},
        "environment": _environment(services, sweep, plan, ask=record.reuse),
    }


def _content(services: Services, entry: InputPlan) -> str | None:
    """The text of a literal, the digest of a file or folder; of one that is too big to be read, names, sizes and times."""
    if entry.kind == "literal":
        return f"text {entry.value}"
    if entry.kind == "http":
        copy = services.downloads.cached(entry.source)
        return f"{copy.name} {copy.parent.name}" if copy else None  # the folder is named for the content
    try:
        found = contents(Path(entry.source))
    except OSError:
        return None
    return f"{Path(entry.source).name} {found['content'] or found['stat']}" if found else None


def _environment(services: Services, sweep: str, plan: Plan, *, ask: bool) -> Any:
    """What it was pinned to; of the interpreter that is just there, which it is and when packages were last installed."""
    made: Mapping[str, Any] = services.runs.document(sweep, layout.ENVIRONMENT_DOCUMENT) or {}
    if any(made.get(name) for name in _TELLING):
        return {name: made.get(name) for name in _PINNED}
    if services.backend(plan.backend).is_far:
        return None
    named = plan.environment.spec.interpreter or _CURRENT
    names = ("python", "python3") if named == _CURRENT else (named,)
    found = {place: _interpreter(place, ask=ask) for name in names if (place := shutil.which(name))}
    return None if None in found.values() else [[str(one), list(_packages(one))] for one in found.values() if one]


@functools.cache
def _interpreter(place: str, *, ask: bool) -> Path | None:
    """The program behind a name on PATH. A script in its place (pyenv has such) only says it when it is run, which takes time:
    None unless ``ask``.
    """
    with suppress(OSError), open(place, "rb") as file:  # noqa: PTH123
        if file.read(2) != b"#!":
            return Path(place)
    if not ask:
        return None
    import subprocess

    asked = [place, "-I", "-c", "import sys; print(sys.executable)"]
    with suppress(OSError, subprocess.SubprocessError):
        answer = subprocess.run(
            asked, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=_ANSWERS_WITHIN_S
        )
        return Path(answer.stdout.strip())
    return None


def _packages(interpreter: Path) -> Iterator[list[Any]]:
    """The folders of its packages, and when something was last installed there (nanoseconds since the epoch)."""
    prefixes = [
        interpreter.parent.parent,
        interpreter.resolve().parent.parent,
        Path("/usr/local"),
        Path.home() / ".local",
    ]
    for prefix in dict.fromkeys(prefixes):
        for folder in sorted(prefix.glob("lib*/python3*/*-packages")):
            yield [str(folder), folder.stat().st_mtime_ns]


def _is_as_noted(services: Services, sweep: str) -> bool:
    """Whether its trials would still be made from what was written down."""
    noted: Mapping[str, Any] = services.runs.document(sweep, _MADE_OF) or {}
    return noted.get("ingredients") == _ingredients(services, sweep)


def _was_as_noted(services: Services, sweep: str) -> bool:
    """Whether all its trials were made from what was written down; of a sweep that goes on, or was given up, as far as can be seen."""
    noted: Mapping[str, Any] = services.runs.document(sweep, _MADE_OF) or {}
    return bool(noted.get("held")) or _is_as_noted(services, sweep)


def _recipe(services: Services, record: SweepRecord) -> str | None:
    """The hash of everything but values that a trial is made from; None when it is not known."""
    if unknown(services, record.sweep) is not None:
        return None
    noted = services.runs.document(record.sweep, _MADE_OF)
    plan, job = record.template["plan"], record.job
    variables = {**plan["environment"]["spec"]["environment_variables"], **(job.get("environment_variables") or {})}
    made_of = {
        **noted["ingredients"],
        "code": record.template["snapshot"],
        "command": plan["command"],
        "inputs_as": {entry["name"]: [entry["kind"], entry["type"]] for entry in plan["inputs"]},
        "outputs": [[entry["name"], entry["type"]] for entry in plan["outputs"]],
        "variables": {name: str(value) for name, value in variables.items()},
        "resources": plan["resources"],
        "distribution": job.get("distribution"),
    }
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()


# Looking for one


class Reuse:
    """The finished trials of a workspace that were made from what this sweep's trials are made from."""

    def __init__(self, services: Services, record: SweepRecord, log: Callable[[str], None]) -> None:
        self._services = services
        self._record = record
        self._metric = record.parsed().objective.primary_metric
        self._recipe: str | None = None
        self._known: dict[str, tuple[Attempt, str]] | None = None
        self._is_possible = not obstacles(plan_of(record.template)[0])
        why = unknown(services, record.sweep)
        if why:
            log(f"--reuse: nothing is reused, as {why}")

    def find(self, trial: Trial, own: Mapping[int, Attempt]) -> Attempt | None:
        """The trial as one that has been made before; None when there is none. ``own``: this sweep's."""
        if not self._is_possible:
            return None
        if self._known is None:
            self._recipe = _recipe(self._services, self._record)
            self._known = dict(self._others())
        wanted = _text(trial.values)
        same = (one for one in own.values() if one.trial.values == trial.values and _is_whole(one))
        mine = next((one for one in same if _text(one.trial.values) == wanted), None)  # 1 is not true here
        found = (mine, self._metric) if mine is not None else self._known.get(wanted)
        if found is None or self._recipe is None or not _is_as_noted(self._services, self._record.sweep):
            return None
        return self._taken(trial, *found)

    def _others(self) -> Iterator[tuple[str, tuple[Attempt, str]]]:
        """By their values, the trials of other sweeps; the newest sweep's last, so that they count."""
        sweeps = self._services.runs.list(RunFilter(include_archived=True, without_parent=True))
        for run in reversed(sweeps):
            if run.job_type == observe.SWEEP and run.name != self._record.sweep:
                yield from self._of(run.name)

    def _of(self, sweep: str) -> Iterator[tuple[str, tuple[Attempt, str]]]:
        try:
            record = load_record(self._services.runs, sweep)
            same = self._recipe is not None and self._recipe == _recipe(self._services, record)
            if same and _was_as_noted(self._services, sweep):
                metric = record.parsed().objective.primary_metric
                for one in load_attempts(self._services.runs, sweep):
                    if _is_whole(one):
                        yield _text(one.trial.values), (one, metric)
        except (MlcliError, KeyError, TypeError, ValueError):  # what is damaged is of no use
            return

    def _taken(self, trial: Trial, one: Attempt, metric: str) -> Attempt | None:
        """That trial under the new one's number, if its run is still there and tells what it has logged."""
        try:
            run = self._services.runs.get(one.run)
            metrics, names = one.trial.metrics, one.names
            if metric != self._metric:
                logged = Logged(self._metric)
                logged.read_on(self._services, run)
                metrics, names = tuple(logged.values), frozenset(logged.names)
        except MlcliError:
            return None
        if run.state is not State.COMPLETED:
            return None
        again = replace(trial, metrics=metrics, state=State.COMPLETED)
        return replace(one, trial=again, attempt=0, message=f"reused from {one.run}", names=names, reused=True)


def _is_whole(one: Attempt) -> bool:
    return one.trial.state is State.COMPLETED


def _text(values: Values) -> str:
    return json.dumps(values, sort_keys=True)
