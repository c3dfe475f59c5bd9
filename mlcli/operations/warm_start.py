"""Warm start: what earlier sweeps have found out, told to the sampler of a new one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from mlcli.domain.errors import MlcliError, UsageError
from mlcli.domain.state import State
from mlcli.domain.sweep import Search, Trial
from mlcli.operations.sweep_report import sweep_named
from mlcli.operations.trials import load_attempts, load_record, metrics_of, written
from mlcli.ports.services import Services
from mlcli.ports.stores import RunStore

_FILE = "earlier.json"
"""In the sweep's folder: what its sampler was told when the sweep was created, so that a restart knows it."""
_DEAF = frozenset({"random", "grid"})


@dataclass(frozen=True)
class WarmStart:
    """``trials``: completed ones of earlier sweeps, numbered up to -1; ``runs``: theirs. ``notices``: what a person should know."""

    trials: tuple[Trial, ...] = ()
    runs: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()

    @property
    def documents(self) -> dict[str, object]:
        """What is kept of it in the sweep's folder."""
        told = [
            {"run": run, "values": trial.values, "metrics": [written(metric) for metric in trial.metrics]}
            for run, trial in zip(self.runs, self.trials, strict=True)
        ]
        return {_FILE: told} if told else {}


def warm_start(services: Services, sweep: str, search: Search, earlier: Sequence[str]) -> WarmStart:
    """The completed trials of ``earlier`` sweeps whose values lie in the search space and that have logged its metric.

    Raises NotFoundError, UsageError for what is no sweep or the sweep itself, MlcliError for one that is about another metric.
    """
    metric, found, notices = search.objective.primary_metric, dict[str, Trial](), []
    for name in dict.fromkeys(earlier):
        if name == sweep:
            raise UsageError(
                f"--warm-start {name}: a sweep cannot start from itself", hint="give the sweep another name"
            )
        sweep_named(services, name)
        theirs = load_record(services.runs, name).parsed().objective.primary_metric
        if theirs != metric:
            message = f"--warm-start {name}: it is about the metric {theirs!r}, and this sweep about {metric!r}"
            raise MlcliError(message, hint="sweeps tell each other something only about the same metric")
        attempts = [one for one in load_attempts(services.runs, name) if one.trial.state is State.COMPLETED]
        used = {one.run: one.trial for one in attempts if _says_something(search, one.trial)}
        found.update(used)
        notices.append(
            f"warm start from {name}: {len(used)} of {len(attempts)} completed trials lie in the search space"
        )
    if found and search.sampling.algorithm in _DEAF:
        notices.append(
            f"warm start: {search.sampling.algorithm} sampling learns nothing from earlier trials, so it makes no difference; "
            "--reuse takes over those that have the same values"
        )
    trials = tuple(replace(trial, number=place - len(found)) for place, trial in enumerate(found.values()))
    return WarmStart(trials, tuple(found), tuple(notices))


def _says_something(search: Search, trial: Trial) -> bool:
    return search.space.holds(trial.values) and math.isfinite(trial.score(search.objective.goal))


def earlier_trials(runs: RunStore, sweep: str) -> tuple[Trial, ...]:
    """What a sweep was told when it was created; nothing for one that has not started warm."""
    told = runs.document(sweep, _FILE) or ()
    return tuple(
        Trial(place - len(told), one["values"], metrics_of(one["metrics"]), State.COMPLETED)
        for place, one in enumerate(told)
    )
