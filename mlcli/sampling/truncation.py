"""Truncation selection: at each interval the worst part of all trials that came so far is stopped."""

from __future__ import annotations

from collections.abc import Sequence

from mlcli.domain.sweep import Trial
from mlcli.ports.sampling import TerminationPolicy
from mlcli.sampling._others import others


class TruncationSelectionPolicy(TerminationPolicy):
    """``truncation_percentage`` and ``exclude_finished_jobs``."""

    def should_stop(self, trial: Trial, trials: Sequence[Trial]) -> str | None:
        """Its best so far against that of every trial when it was as far.

        Those stopped at this interval stay in the comparison, so that the part is one of all. It is rounded down, and
        whoever is as good as one who stays, stays too.
        """
        interval = len(trial.metrics)
        if not self.settings.applies(interval):
            return None
        percentage = int(self.settings.settings["truncation_percentage"])
        excluding = bool(self.settings.settings.get("exclude_finished_jobs"))
        own = trial.score(self.goal)
        scores = sorted(
            [own]
            + [
                one.score(self.goal, interval)
                for one in others(trial, trials)
                if len(one.metrics) >= interval and not (excluding and one.state.is_end)
            ]
        )
        if own >= scores[len(scores) * percentage // 100]:
            return None
        return f"truncation_selection: among the worst {percentage} % of {len(scores)} trials at interval {interval}"
