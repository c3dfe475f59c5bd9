"""Median stopping: a trial whose best is worse than the median of all trials' averages is stopped."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from statistics import fmean, median

from mlcli.domain.sweep import Trial
from mlcli.ports.sampling import TerminationPolicy
from mlcli.sampling._others import others


class MedianStoppingPolicy(TerminationPolicy):
    """No settings of its own."""

    def should_stop(self, trial: Trial, trials: Sequence[Trial]) -> str | None:
        """Its best so far against the median of the averages over the same intervals.

        All trials count, it too. A shorter one counts with the average of what it has; what is not finite counts for
        nothing.
        """
        interval = len(trial.metrics)
        if not self.settings.applies(interval):
            return None
        averages = [*self._averages((trial, *others(trial, trials)), interval)]
        if not averages or trial.score(self.goal) >= (middle := median(averages)):
            return None
        return f"median_stopping: worse than the median {self.goal.metric(middle):.6g} of the averages over {interval} intervals"

    def _averages(self, trials: Sequence[Trial], interval: int) -> Iterator[float]:
        for trial in trials:
            finite = [self.goal.score(metric) for metric in trial.metrics[:interval] if math.isfinite(metric)]
            if finite:
                yield fmean(finite)
