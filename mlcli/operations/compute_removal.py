"""Computes that were made for one run go when it has ended, by whoever sees its end."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress

from mlcli.domain.errors import MlcliError, NotFoundError
from mlcli.domain.run import Run, RunFilter
from mlcli.domain.state import State
from mlcli.ports.services import Services

TAG = "mlcli.made-for"
"""The tag of such a compute: its run."""
_UNBEGUN_S = 3600.0
_LIVE = frozenset(state for state in State if not state.is_end)


def let_go(services: Services, ended: Iterable[Run]) -> None:
    """Remove the computes that were made for these runs. Nothing may fail: the next look at the computes tries again."""
    for run in ended:
        with suppress(MlcliError, OSError):
            if run.compute != "local" and services.computes.get(run.compute).tags.get(TAG) == run.name:
                _remove(services, run.compute)


def let_go_of_left(services: Services) -> None:
    """The same of those whose run ended unseen, while it was prepared, or was never begun. Nothing may fail."""
    for compute in services.computes.list():
        run = compute.tags.get(TAG)
        if run is None:
            continue
        with suppress(MlcliError, OSError):
            try:
                is_over = services.runs.get(run).state.is_end
            except NotFoundError:
                is_over = time.time() - compute.created_at > _UNBEGUN_S
            if is_over:
                _remove(services, compute.name)


def _remove(services: Services, compute: str) -> None:
    """Forget it, unless somebody has submitted other jobs to it, which are live."""
    if not services.runs.list(RunFilter(compute=compute, states=_LIVE, include_archived=True, limit=1)):
        services.computes.delete(compute)
