"""A sweep: many trials of one command, each with values from a search space, in search of the best metric.

The normal form of every generation's sweep job and of a HyperDrive configuration; words and defaults are Azure ML's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from mlcli.domain.distributions import SearchSpace, Values
from mlcli.domain.job import CommandJob
from mlcli.domain.state import State

DEFAULT_TRIALS = 1000
DEFAULT_TIMEOUT_S = 5_184_000.0


class Goal(str, Enum):
    """Which metrics are better."""

    MINIMIZE = "minimize"
    MAXIMIZE = "maximize"

    def score(self, metric: float) -> float:
        """The metric turned so that more is better; what is not finite is worse than everything."""
        if not math.isfinite(metric):
            return -math.inf
        return metric if self is Goal.MAXIMIZE else -metric

    def metric(self, score: float) -> float:
        """The metric of a score."""
        return score if self is Goal.MAXIMIZE else -score


@dataclass(frozen=True)
class Trial:
    """What is known of one trial.

    ``number``: 0 for the first; below 0 for one of an earlier sweep that this one starts from. ``metrics``: the primary
    metric in the order it was logged, each log one interval; NaN for one that was no number.
    """

    number: int
    values: Values
    metrics: tuple[float, ...] = ()
    state: State = State.NOT_STARTED

    def score(self, goal: Goal, intervals: int | None = None) -> float:
        """The best score within the first ``intervals`` (None: all); minus infinity when no finite metric is there."""
        return max(map(goal.score, self.metrics[:intervals]), default=-math.inf)


@dataclass(frozen=True)
class Objective:
    """The metric that a sweep is about, by the name that the command logs it under."""

    primary_metric: str
    goal: Goal

    def best(self, trials: Iterable[Trial]) -> Trial | None:
        """The trial with the best metric, the earliest of equals; None while none has logged a finite one."""
        found = max(trials, key=lambda trial: (trial.score(self.goal), -trial.number), default=None)
        return found if found is not None and math.isfinite(found.score(self.goal)) else None


@dataclass(frozen=True)
class Sampling:
    """How values are picked: ``random``, ``grid``, ``bayesian`` or another registered name.

    ``rule``: ``random`` or ``sobol`` for random, ``tpe`` or ``gp`` for bayesian; None for the first of them. ``seed``: None
    until one is drawn, which whoever starts the sweep does, once, and keeps.
    """

    algorithm: str = "random"
    rule: str | None = None
    seed: int | None = None


@dataclass(frozen=True)
class EarlyTermination:
    """Which trials are stopped before their end: ``bandit``, ``median_stopping``, ``truncation_selection``, or one of this
    project's own, ``asha`` and ``hyperband``.

    A policy looks at a trial at each multiple of ``evaluation_interval`` from ``delay_evaluation`` on, both counted in logs
    of the primary metric; the own ones have rungs instead. ``settings``: what is the policy's own.
    """

    type: str
    evaluation_interval: int = 1
    delay_evaluation: int = 0
    settings: Mapping[str, float] = field(default_factory=dict)

    def applies(self, interval: int) -> bool:
        """Whether a trial is looked at when it has logged its ``interval``-th metric."""
        return interval >= max(self.delay_evaluation, 1) and interval % max(self.evaluation_interval, 1) == 0


@dataclass(frozen=True)
class SweepLimits:
    """How many trials, how many at once (None: all), and for how long the sweep and each trial may run."""

    max_total_trials: int = DEFAULT_TRIALS
    max_concurrent_trials: int | None = None
    timeout_s: float = DEFAULT_TIMEOUT_S
    trial_timeout_s: float | None = None

    @property
    def concurrency(self) -> int:
        """How many trials run at once at most."""
        return min(self.max_concurrent_trials or self.max_total_trials, self.max_total_trials)


@dataclass(frozen=True)
class Search:
    """Everything of a sweep but what its trials run: what a HyperDrive file or a pipeline's sweep step says."""

    space: SearchSpace
    objective: Objective
    sampling: Sampling = field(default_factory=Sampling)
    limits: SweepLimits = field(default_factory=SweepLimits)
    early_termination: EarlyTermination | None = None


@dataclass(frozen=True)
class SweepJob:
    """A search, and the command that each trial runs.

    ``trial``: the command as a job of its own, with the sweep's inputs, outputs, compute, experiment and tags and the
    trial's time limit; its command refers to ``search_space.NAME``. It has the sweep's name until a trial gets its own.
    ``document``: the sweep as a plain mapping in today's words.
    """

    trial: CommandJob
    search: Search
    document: Mapping[str, Any] = field(default_factory=dict)
    type: str = "sweep"

    @property
    def name(self) -> str | None:
        """The name that the person gave."""
        return self.trial.name


def next_number(trials: Sequence[Trial]) -> int:
    """The number of the trial that comes after ``trials`` (in the order of their numbers)."""
    return max(trials[-1].number + 1, 0) if trials else 0
