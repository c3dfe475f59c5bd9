"""The trials that one is compared with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mlcli.domain.sweep import Trial


def others(trial: Trial, trials: Sequence[Trial]) -> Iterator[Trial]:
    """All trials but this one."""
    return (one for one in trials if one.number != trial.number)
