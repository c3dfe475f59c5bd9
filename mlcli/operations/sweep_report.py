"""What a sweep has come to: its trials as rows, the best of them, and how it stands as a whole."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from mlcli.domain.distributions import flat
from mlcli.domain.errors import MlcliError, NotFoundError, UsageError
from mlcli.domain.job import Scalar
from mlcli.domain.run import Run
from mlcli.domain.state import Reason, State
from mlcli.domain.sweep import Search
from mlcli.domain.trials import Attempt, lacking, tally, unseen
from mlcli.operations import layout, observe
from mlcli.operations.times import iso_time
from mlcli.operations.trial_watch import Logged
from mlcli.operations.trials import load_attempts, load_record
from mlcli.ports.services import Services
from mlcli.spec.sweep import texts, with_values

_LOOK_EVERY_S = 1.0
_SHOW_EVERY_S = 0.2
_POLL_S = 0.02


@dataclass(frozen=True)
class Row:
    """One trial as it is shown. ``metric``: the best that it has logged of the primary metric, None for none."""

    number: int
    run: str
    state: State
    reason: Reason
    message: str
    values: Mapping[str, Scalar]
    metric: float | None
    started_at: float | None
    ended_at: float | None
    reused: bool = False

    def as_record(self, best: Row | None) -> dict[str, Any]:
        """As ``sweep trials`` prints it. ``best``: the best trial."""
        took = None
        if self.started_at is not None and self.ended_at is not None:
            took = round(max(0.0, self.ended_at - self.started_at), 3)
        return {
            "trial": self.number,
            "name": self.run,
            "status": str(self.state),
            "status_reason": self.reason.value,
            "status_message": self.message,
            "metric": self.metric,
            "values": dict(self.values),
            "best": best is not None and self.number == best.number,  # two trials may have reused one run
            "reused": self.reused,
            "start_time": iso_time(self.started_at),
            "end_time": iso_time(self.ended_at),
            "duration_s": took,
        }


@dataclass(frozen=True)
class Report:
    """A sweep as it stands: the search, a row for each trial, and which of them is the best."""

    run: Run
    search: Search
    rows: tuple[Row, ...]
    attempts: tuple[Attempt, ...]

    @property
    def best(self) -> Row | None:
        """The trial with the best metric; None while none has logged a finite one."""
        found = self.search.objective.best(one.trial for one in self.attempts)
        return None if found is None else next(row for row in self.rows if row.number == found.number)

    @property
    def ended(self) -> int:
        """How many trials have ended."""
        return sum(row.state.is_end for row in self.rows)

    def as_record(self) -> dict[str, Any]:
        """As ``job show`` prints it, under ``sweep``."""
        best = self.best
        limits = self.search.limits
        return {
            "primary_metric": self.search.objective.primary_metric,
            "goal": self.search.objective.goal.value,
            "algorithm": self.search.sampling.algorithm,
            "seed": self.search.sampling.seed,
            "max_total_trials": limits.max_total_trials,
            "max_concurrent_trials": limits.concurrency,
            "trials": len(self.rows),
            "trials_ended": self.ended,
            "summary": tally(self.attempts),
            "warning": unseen(self.attempts, self.search.objective),
            "best_trial": best and best.run,
            "best_metric": best and best.metric,
            "best_values": best and dict(best.values),
        }


def sweep_named(services: Services, name: str) -> Run:
    """Raises NotFoundError, UsageError for a job that is no sweep."""
    run = observe.get(services, name)
    if run.job_type != observe.SWEEP:
        raise UsageError(f"job {name} is a {run.job_type} job, not a sweep", hint=f"mlcli job show -n {name}")
    return run


class Reader:
    """Reads one sweep again and again; what has been read once of a trial that has ended is not read again."""

    def __init__(self, services: Services, name: str) -> None:
        self._services = services
        self._name = name
        self._search = load_record(services.runs, name).parsed()
        self._logged: dict[str, Logged] = {}

    def report(self, run: Run, *, news: bool = True) -> Report:
        """As it stands now. ``news``: of live trials what they have logged so far is read too."""
        attempts = load_attempts(self._services.runs, self._name)
        children = self._live(attempts) if news else {}
        attempts = [self._with_news(one, children.get(one.run)) for one in attempts]
        rows = tuple(self._row(one, children.get(one.run)) for one in attempts)
        return Report(run, self._search, rows, tuple(attempts))

    def _live(self, attempts: Sequence[Attempt]) -> dict[str, Run]:
        """The runs of trials that have not ended; of the others the journal tells."""
        runs, found = self._services.runs, {}
        for one in attempts:
            if one.is_live and runs.folder(one.run).exists():  # it may just be about to be made
                with suppress(NotFoundError):
                    found[one.run] = runs.get(one.run)
        return found

    def _with_news(self, one: Attempt, child: Run | None) -> Attempt:
        if child is None or not one.is_live:
            return one
        logged = self._logged.setdefault(one.run, Logged(self._search.objective.primary_metric))
        with suppress(MlcliError):
            logged.read_on(self._services, child)
        return replace(
            one,
            trial=replace(one.trial, metrics=tuple(logged.values), state=child.state),
            names=frozenset(logged.names),
        )

    def _row(self, one: Attempt, child: Run | None) -> Row:
        goal = self._search.objective.goal
        score = one.trial.score(goal)
        return Row(
            number=one.trial.number,
            run=one.run,
            state=one.trial.state,
            reason=child.reason if child is not None and one.reason is Reason.SUBMITTED else one.reason,
            message=one.message or lacking(one, self._search.objective),
            values=flat(one.trial.values),
            metric=goal.metric(score) if math.isfinite(score) else None,
            started_at=one.started_at or (child.started_at if child else None),
            ended_at=one.ended_at or (child.ended_at if child else None),
            reused=one.reused,
        )


def report(services: Services, run: Run) -> Report:
    """The sweep as it stands. Raises StoreError when its record is gone or damaged."""
    return Reader(services, run.name).report(run)


def best_trial(services: Services, run: Run) -> Row:
    """The best trial. Raises NotFoundError while there is none."""
    found = report(services, run)
    best = found.best
    if best is None:
        why = unseen(found.attempts, found.search.objective) or tally(found.attempts)
        raise NotFoundError(f"sweep {run.name} has no best trial: {why}", hint=f"mlcli sweep trials -n {run.name}")
    return best


def as_command(services: Services, run: Run, row: Row) -> dict[str, Any]:
    """The document of a command job that does what that trial did."""
    values = next(one.trial.values for one in load_attempts(services.runs, run.name) if one.run == row.run)
    return with_values(load_record(services.runs, run.name).job, values)


def as_flags(row: Row) -> list[str]:
    """A trial's values as arguments of a command line: ``--rate``, ``0.1``; in one word where a value looks like a flag."""
    words = []
    for name, value in texts(row.values).items():
        word = name if name.startswith("-") else f"--{name}"
        words += [f"{word}={value}"] if value.startswith("-") else [word, value]
    return words


def follow(
    services: Services, name: str, show: Callable[[Report], None], notice: Callable[[str], None], *, news: bool
) -> Run:
    """Show the sweep again and again as it changes, until it has ended; answers the ended run. ``news``: with what live trials
    have logged so far.
    """
    reader = Reader(services, name)
    preparation = services.runs.folder(name) / layout.PREPARATION_LOG
    told, paused = 0, False
    run = observe.get(services, name)
    looked_at = time.monotonic()
    while True:
        told = _tell(preparation, told, notice)
        paused, was_paused = run.state is State.PAUSED, paused
        if paused and not was_paused:
            notice(f"sweep {name} is paused: {run.message}")
        show(reader.report(run, news=news))
        if run.state.is_end:
            return run
        shown_at = time.monotonic()
        while time.monotonic() - shown_at < _SHOW_EVERY_S and not run.state.is_end:
            time.sleep(_POLL_S)
            run = services.runs.get(name)
        if not run.state.is_end and time.monotonic() - looked_at > _LOOK_EVERY_S:
            run, looked_at = observe.get(services, name), time.monotonic()


def _tell(log: Any, offset: int, notice: Callable[[str], None]) -> int:
    """Pass on the whole lines of a log behind the offset; the offset behind them."""
    try:
        data: bytes = log.read_bytes()[offset:]
    except FileNotFoundError:
        return offset
    whole, newline, _ = data.rpartition(b"\n")
    for line in whole.splitlines():
        notice(line.decode(errors="replace"))
    return offset + len(whole) + len(newline)
