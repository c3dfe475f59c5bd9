"""Asynchronous successive halving (ASHA), and Hyperband over it. Not Azure ML's: policies of this project's own.

A trial that has logged ``min_resource`` metrics stands on the first rung, and on the next ones after ``reduction_factor``
times as many each. It goes on when it is in the best 1 / ``reduction_factor`` of those that have come to the rung so far.
Hyperband spreads the trials over brackets whose first rungs lie ever higher, as a hedge against stopping too early.
The rules are Optuna's (``SuccessiveHalvingPruner``, ``HyperbandPruner``), as functions of the histories alone.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Sequence

from mlcli.domain.sweep import EarlyTermination, Goal, Trial
from mlcli.ports.sampling import TerminationPolicy
from mlcli.sampling._others import others

_ETA = 4
_HYPERBAND_ETA = 3


class AshaPolicy(TerminationPolicy):
    """``min_resource`` (1) and ``reduction_factor`` (4)."""

    def should_stop(self, trial: Trial, trials: Sequence[Trial]) -> str | None:
        """Its best so far against the best of those that have come to the same rung."""
        settings = self.settings.settings
        first, eta = int(settings.get("min_resource", 1)), int(settings.get("reduction_factor", _ETA))
        return _rung(self, trial, others(trial, trials), first, eta)


class HyperbandPolicy(TerminationPolicy):
    """``max_resource`` (needed), ``min_resource`` (1) and ``reduction_factor`` (3)."""

    def __init__(self, settings: EarlyTermination, goal: Goal) -> None:
        super().__init__(settings, goal)
        given = settings.settings
        self._first, self._eta = int(given.get("min_resource", 1)), int(given.get("reduction_factor", _HYPERBAND_ETA))
        self._shares = _shares(self._first, int(given["max_resource"]), self._eta)

    def should_stop(self, trial: Trial, trials: Sequence[Trial]) -> str | None:
        """As ASHA, among the trials of its bracket."""
        bracket = self.bracket(trial.number)
        peers = (one for one in others(trial, trials) if self.bracket(one.number) == bracket)
        return _rung(self, trial, peers, self._first * self._eta**bracket, self._eta)

    def bracket(self, number: int) -> int:
        """The bracket of a trial: by a hash of its number, each bracket with its share."""
        place = zlib.crc32(str(number).encode()) % sum(self._shares)
        for bracket, share in enumerate(self._shares):
            place -= share
            if place < 0:
                return bracket
        raise AssertionError(place)


def _rung(policy: TerminationPolicy, trial: Trial, peers: Iterator[Trial], first: int, eta: int) -> str | None:
    interval = len(trial.metrics)
    if not _is_rung(interval, first, eta):
        return None
    own = trial.score(policy.goal)
    scores = [own, *(one.score(policy.goal, interval) for one in peers if len(one.metrics) >= interval)]
    scores.sort(reverse=True)
    kept = max(len(scores) // eta, 1)
    if own >= scores[kept - 1] and math.isfinite(own):
        return None
    return f"{policy.settings.type}: not among the best {kept} of {len(scores)} trials at interval {interval}"


def _is_rung(interval: int, first: int, eta: int) -> bool:
    while first < interval:
        first *= eta
    return first == interval


def _shares(first: int, last: int, eta: int) -> list[int]:
    """How many trials of a round go to each bracket, the one that stops earliest first."""
    count = 1
    while first * eta**count <= last:
        count += 1
    return [math.ceil(count * eta**left / (left + 1)) for left in reversed(range(count))]
