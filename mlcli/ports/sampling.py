"""Sampler and TerminationPolicy: which values to try next, and which trials to stop. Pure: no I/O, no clock.

Both answer from what they are given alone. What they keep between calls only saves work: another process, given the
same arguments, answers the same.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from enum import Enum
from typing import Final

from mlcli.domain.distributions import SearchSpace, Values
from mlcli.domain.sweep import EarlyTermination, Goal, Sampling, Trial


class Exhausted(Enum):
    """The type of :data:`EXHAUSTED`."""

    EXHAUSTED = "exhausted"


EXHAUSTED: Final = Exhausted.EXHAUSTED
"""There is nothing left to try."""


class Sampler(ABC):
    """Picks values. ``sampling.seed`` must be there."""

    def __init__(self, sampling: Sampling, goal: Goal) -> None:
        if sampling.seed is None:
            raise ValueError("a sampler needs a seed: draw one when the sweep starts, and keep it")
        self.sampling = sampling
        self.seed: int = sampling.seed
        self.goal = goal

    @abstractmethod
    def ask(self, space: SearchSpace, trials: Sequence[Trial]) -> Values | Exhausted:
        """The values of the trial after ``trials``: every one so far, running ones too, in the order of their numbers.

        Raises UnsupportedError for a space that it cannot go over.
        """


class TerminationPolicy(ABC):
    """Decides which trials go on."""

    def __init__(self, settings: EarlyTermination, goal: Goal) -> None:
        self.settings = settings
        self.goal = goal

    @abstractmethod
    def should_stop(self, trial: Trial, trials: Sequence[Trial]) -> str | None:
        """Why ``trial``, which has just logged the last of its ``metrics``, is to be stopped; None when it goes on.

        ``trials``: all of the sweep with all that they have logged; what they say of ``trial`` itself is not looked at.
        """

    def first_stop(self, trial: Trial, trials: Sequence[Trial], seen: int) -> tuple[int, str] | None:
        """The first interval after ``seen`` at which ``trial`` is to be stopped, and why; for who reads several at once."""
        for interval in range(seen + 1, len(trial.metrics) + 1):
            why = self.should_stop(replace(trial, metrics=trial.metrics[:interval]), trials)
            if why is not None:
                return interval, why
        return None
