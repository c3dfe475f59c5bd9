"""What a sweep keeps in its folder: ``sweep.json`` (its search, and what a trial's plan is made from), and ``trials.jsonl``, its
journal: a line for each trial that is asked for, written and synced before its run is created, and for each that has ended.

Who reads the journal from its beginning knows of every trial there is, whatever was killed when.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mlcli.domain.distributions import Values
from mlcli.domain.errors import StoreError
from mlcli.domain.metrics import NOT_FINITE
from mlcli.domain.plan import Plan
from mlcli.domain.state import Reason
from mlcli.domain.sweep import Search, Trial
from mlcli.domain.trials import Attempt
from mlcli.operations import layout
from mlcli.operations.carry import plan_of
from mlcli.ports.stores import RunStore
from mlcli.spec.interpolate import interpolate
from mlcli.spec.sweep import search_of, texts

ANY = "%"
"""The template of a sweep's trials is the plan of a run ``SWEEP_%``: each trial's plan has its own number in its place."""


_REASONS = {reason.value: reason for reason in Reason}


@dataclass(frozen=True)
class SweepRecord:
    """``sweep.json``. ``search``: in today's words, its seed drawn. ``template``: the document of the plan of ``SWEEP_%``, its
    command with the references still in it. ``job``: the trial's command job, as a trial's ``job.json`` has it. ``reuse``: a
    finished trial of the same is not made again. ``spared``: how many trials there were when it was resumed after its end;
    that they have failed no longer makes it give up.
    """

    sweep: str
    search: Mapping[str, Any]
    template: Mapping[str, Any]
    job: Mapping[str, Any] = field(default_factory=dict)
    reuse: bool = False
    spared: int = 0

    @property
    def document(self) -> dict[str, Any]:
        """The file."""
        return {name: value for name, value in vars(self).items() if name != "sweep"}

    def parsed(self) -> Search:
        """The search. Raises InvalidSpecError where somebody has written what is none."""
        return search_of(self.search, layout.SWEEP_DOCUMENT)

    def planner(self) -> Callable[[str, Values], dict[str, Any]]:
        """From a trial's name and values to its ``plan.json``. Raises MlcliError for a value that its command cannot take."""
        text, token = json.dumps(self.template), f"{self.sweep}_{ANY}"

        def planned(run: str, values: Values) -> dict[str, Any]:
            document: dict[str, Any] = json.loads(text.replace(token, run))
            plan = document["plan"]
            given = texts(values)
            known = {f"inputs.{entry['name']}": entry["value"] for entry in plan["inputs"]}
            known |= {f"outputs.{entry['name']}": entry["value"] for entry in plan["outputs"]}
            known |= {f"search_space.{name}": value for name, value in given.items()}
            plan["command"] = interpolate(plan["command"], {**known, "name": run})
            own = {f"AZUREML_SWEEP_{name}": value for name, value in given.items()}
            plan["environment_variables"] = {**own, **plan["environment_variables"], "AZUREML_ROOT_RUN_ID": self.sweep}
            return document

        return planned


def load_record(runs: RunStore, sweep: str) -> SweepRecord:
    """Raises StoreError when it is gone or damaged."""
    try:
        document = runs.document(sweep, layout.SWEEP_DOCUMENT)
        more = document.get("reuse", False), document.get("spared", 0)
        return SweepRecord(sweep, document["search"], document["template"], document["job"], *more)
    except (TypeError, KeyError) as error:
        file = runs.folder(sweep) / layout.SWEEP_DOCUMENT
        raise StoreError(f"{file} is gone or damaged", hint="submit the sweep once more") from error


def template(sweep: str, planned: Plan, snapshot: str | None) -> tuple[Plan, dict[str, Any]]:
    """From the plan of ``SWEEP_%``: the plan of the sweep itself, whose inputs are brought once for all, and the document from
    which the plans of trials are made, which find them there. What a trial may write to it gets as a copy of its own.
    """
    from dataclasses import asdict

    token = f"{sweep}_{ANY}"
    document = {"plan": asdict(planned), "snapshot": snapshot}
    own, _ = plan_of(json.loads(json.dumps(document).replace(token, sweep)))
    shared, trials, moved = [], [], {}
    for mine, theirs in zip(own.inputs, planned.inputs, strict=True):
        copied = theirs.mode in {"download", "eval_download", "rw_mount"}
        if theirs.action == "fetch" or (theirs.action == "upload" and not copied):
            shared.append(replace(mine, mode="ro_mount"))
            trials.append(
                replace(theirs, action="copy", source=mine.value)
                if copied
                else replace(theirs, action="path", value=mine.value)
            )
        else:
            trials.append(theirs)
        moved[theirs.value] = trials[-1].value
    variables = {name: moved.get(value, value) for name, value in planned.environment_variables.items()}
    changed = replace(planned, inputs=tuple(trials), environment_variables=variables)
    return replace(own, inputs=tuple(shared)), {"plan": asdict(changed), "snapshot": snapshot}


class Journal:
    """``trials.jsonl`` of one sweep, written by its supervisor alone. ``attempts``: the latest of each trial, by its number."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / layout.TRIALS
        self.attempts: dict[int, Attempt] = {}
        with suppress(FileNotFoundError):
            self.attempts = replayed(self._path.read_bytes())

    def asked(self, attempts: Sequence[Attempt], time: float) -> None:
        """These are about to be begun; it is on the disk when this returns."""
        lines = [
            {
                "event": "asked",
                "number": one.trial.number,
                "attempt": one.attempt,
                "run": one.run,
                "values": one.trial.values,
                "time": time,
            }
            for one in attempts
        ]
        self._append(lines, sync=True)
        self.attempts.update((one.trial.number, one) for one in attempts)

    def ended(self, one: Attempt) -> None:
        """It has ended."""
        self._append([_end_of(one)], sync=False)
        self.attempts[one.trial.number] = one

    def reused(self, one: Attempt, time: float) -> None:
        """It has been made before, in the run that it names."""
        self._append([{**_end_of(one), "event": "reused", "values": one.trial.values, "time": time}], sync=False)
        self.attempts[one.trial.number] = one

    def _append(self, lines: Sequence[Mapping[str, Any]], *, sync: bool) -> None:
        text = "".join(json.dumps(line) + "\n" for line in lines).encode()
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            size = os.fstat(file).st_size
            if size and os.pread(file, 1, size - 1) != b"\n":  # somebody was killed, or the disk was full
                text = b"\n" + text
            while text:
                text = text[os.write(file, text) :]
            if sync:
                os.fdatasync(file)
        except OSError as refused:
            raise StoreError(f"{self._path} cannot be written: {refused.strerror}") from refused
        finally:
            os.close(file)


def _end_of(one: Attempt) -> dict[str, Any]:
    return {
        "event": "ended",
        "number": one.trial.number,
        "attempt": one.attempt,
        "run": one.run,
        "status": one.trial.state.value,
        "reason": one.reason.value,
        "message": one.message,
        "metrics": [written(metric) for metric in one.trial.metrics],
        "names": sorted(one.names),
        "start_time": one.started_at,
        "end_time": one.ended_at,
    }


def load_attempts(runs: RunStore, sweep: str) -> list[Attempt]:
    """What the journal says, in the order of the trials' numbers; a sweep that has not begun has none."""
    try:
        data = (runs.folder(sweep) / layout.TRIALS).read_bytes()
    except FileNotFoundError:
        return []
    found = replayed(data)
    return [found[number] for number in sorted(found)]


def replayed(data: bytes) -> dict[int, Attempt]:
    """The latest attempt of each trial that the journal speaks of, by number. Torn lines say nothing. Pure."""
    attempts: dict[int, Attempt] = {}
    for told in _lines(data):
        with suppress(ValueError, KeyError, TypeError):
            number, attempt = int(told["number"]), int(told["attempt"])
            if told["event"] == "reused":
                asked = Attempt(Trial(number, told["values"]), told["run"], attempt, reused=True)
                attempts[number] = _ended(asked, told)
            elif told["event"] == "asked":
                attempts[number] = Attempt(Trial(number, told["values"]), told["run"], attempt)
            elif told["event"] == "ended" and attempts[number].attempt == attempt:
                attempts[number] = _ended(attempts[number], told)
    return attempts


def _lines(data: bytes) -> list[Any]:
    """What the whole lines say: parsed at once where all of them are good, which is four times as quick."""
    whole = data[: data.rfind(b"\n") + 1]
    with suppress(ValueError):
        lines: list[Any] = json.loads(b"[%s]" % whole.strip(b"\n").replace(b"\n", b","))
        return lines
    found = []
    for line in whole.split(b"\n"):
        with suppress(ValueError):
            found.append(json.loads(line))
    return found


def _ended(asked: Attempt, told: Mapping[str, Any]) -> Attempt:
    reason = _REASONS[told["reason"]]
    metrics = metrics_of(told["metrics"])
    return Attempt(
        Trial(asked.trial.number, asked.trial.values, metrics, reason.state),
        asked.run,
        asked.attempt,
        reason,
        told["message"],
        names=frozenset(told["names"]),
        started_at=told.get("start_time"),
        ended_at=told.get("end_time"),
        reused=asked.reused,
    )


def written(metric: float) -> float | str:
    """As tracking files have it: JSON knows no number that is not finite."""
    return next((name for name, value in NOT_FINITE.items() if repr(value) == repr(metric)), metric)


def metrics_of(told: Iterable[Any]) -> tuple[float, ...]:
    """The numbers that :func:`written` wrote so."""
    return tuple([float(NOT_FINITE.get(metric, metric)) for metric in told])
