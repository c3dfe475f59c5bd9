"""Bandit: a trial that has fallen too far behind the best one is stopped.

With a slack factor f, a best metric b and more being better, the bar is b / (1 + f); with less being better, b * (1 + f).
Metrics of the other sign turn the two round: the bar is always on the worse side of the best.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from mlcli.domain.sweep import Trial
from mlcli.ports.sampling import TerminationPolicy
from mlcli.sampling._others import others


class BanditPolicy(TerminationPolicy):
    """``slack_factor`` or ``slack_amount``."""

    def should_stop(self, trial: Trial, trials: Sequence[Trial]) -> str | None:
        """Its best so far against the best of all within as many intervals; equal to the bar is enough."""
        interval = len(trial.metrics)
        if not self.settings.applies(interval):
            return None
        own = trial.score(self.goal)
        best = max((one.score(self.goal, interval) for one in others(trial, trials)), default=own)
        bar = self._bar(best)
        if own >= bar:
            return None
        return (
            f"bandit: its best within {interval} intervals is {self._shown(own)}, "
            f"the best trial's {self._shown(best)}, the limit {self._shown(bar)}"
        )

    def _bar(self, best: float) -> float:
        slack = self.settings.settings
        if "slack_amount" in slack:
            return best - slack["slack_amount"]
        factor = 1 + slack["slack_factor"]
        return best / factor if best >= 0 else best * factor

    def _shown(self, score: float) -> str:
        return f"{self.goal.metric(score):.6g}" if math.isfinite(score) else "none"
