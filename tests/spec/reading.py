"""The job of a file, of the type that the test is about."""

from __future__ import annotations

from typing import Any

from mlcli.spec.jobs import LoadedJob, LoadedSweep, read


def read_job(*given: Any, **options: Any) -> LoadedJob:
    """A command job."""
    loaded = read(*given, **options)
    assert isinstance(loaded, LoadedJob)
    return loaded


def read_sweep(*given: Any, **options: Any) -> LoadedSweep:
    """A sweep job."""
    loaded = read(*given, **options)
    assert isinstance(loaded, LoadedSweep)
    return loaded
