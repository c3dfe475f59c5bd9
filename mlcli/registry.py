"""Names of implementations: where each lives and which extra it needs. Lazy: nothing is imported until it is asked for.

Entry points of the group ``mlcli.<room>`` add names; they never replace one that stands here.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mlcli.domain.errors import NotFoundError, UnsupportedError


@dataclass(frozen=True)
class Entry:
    """``target`` is ``module:attribute``; ``extra`` the pip extra whose packages it imports."""

    target: str
    extra: str | None = None


ROOMS: dict[str, dict[str, Entry]] = {
    "backends": {
        "local": Entry("mlcli.backends.batch:BatchBackend"),
        "docker": Entry("mlcli.backends.docker:DockerBackend"),
        "ssh": Entry("mlcli.backends.batch:BatchBackend", extra="ssh"),
    },
    "transports": {
        "local": Entry("mlcli.transports.local:LocalTransport"),
        "ssh": Entry("mlcli.transports.ssh:SshTransport", extra="ssh"),
    },
    "schedulers": {
        "process": Entry("mlcli.schedulers.process:ProcessScheduler"),
    },
    "environments": {
        "current": Entry("mlcli.environments.current:CurrentBuilder"),
        "venv": Entry("mlcli.environments.venv:VenvBuilder"),
        "conda": Entry("mlcli.environments.conda:CondaBuilder", extra="conda"),
        "image": Entry("mlcli.environments.image:ImageBuilder"),
        "dockerfile": Entry("mlcli.environments.dockerfile:DockerfileBuilder"),
    },
    "tracking": {
        "files": Entry("mlcli.tracking.files:FilesReader"),
        "printed": Entry("mlcli.tracking.printed:PrintedReader"),
        "tensorboard": Entry("mlcli.tracking.tensorboard:TensorboardReader", extra="tensorboard"),
        "mlflow": Entry("mlcli.tracking.mlflow:MlflowReader"),
    },
    "run_formats": {
        "mlflow": Entry("mlcli.tracking.mlflow_runs:MlflowFormat"),
        "csv": Entry("mlcli.tracking.tables:CsvFormat"),
        "json": Entry("mlcli.tracking.json_runs:JsonFormat"),
        "parquet": Entry("mlcli.tracking.parquet:ParquetFormat", extra="parquet"),
    },
    "sampling": {
        "random": Entry("mlcli.sampling.random:RandomSampler"),
        "grid": Entry("mlcli.sampling.grid:GridSampler"),
        "bayesian": Entry("mlcli.sampling.bayesian:BayesianSampler", extra="sweep"),
    },
    "studies": {
        "optuna": Entry("mlcli.sampling.studies:frozen_trials", extra="sweep"),
    },
    "early_termination": {
        "bandit": Entry("mlcli.sampling.bandit:BanditPolicy"),
        "median_stopping": Entry("mlcli.sampling.median:MedianStoppingPolicy"),
        "truncation_selection": Entry("mlcli.sampling.truncation:TruncationSelectionPolicy"),
        "asha": Entry("mlcli.sampling.asha:AshaPolicy"),
        "hyperband": Entry("mlcli.sampling.asha:HyperbandPolicy"),
    },
}


COMPUTES: dict[str, str] = {
    "local": "local",
    "amlcompute": "local",
    "computeinstance": "local",
    "virtualmachine": "ssh",
    "ssh": "ssh",
}
"""Type of compute -> the backend that runs its jobs. A type that is not here can be written down, and not used yet."""


def compute_backend(kind: str) -> str:
    """The backend that runs the jobs of a type of compute. Raises UnsupportedError."""
    if kind in COMPUTES:
        return COMPUTES[kind]
    raise UnsupportedError(
        f"this version of mlcli cannot run jobs on a compute of type {kind}",
        hint=f"the types that it can: {', '.join(sorted(COMPUTES))}",
    )


def names(room: str) -> Iterator[str]:
    """Every registered name of a room: ours first, then those that installed packages add.

    The packages are asked (50 ms) only when ours are used up.
    """
    yield from ROOMS[room]
    yield from (name for name in _entry_points(room) if name not in ROOMS[room])


def load(room: str, name: str) -> Any:
    """The implementation's class. Raises NotFoundError, or UnsupportedError naming the extra to install."""
    entry = ROOMS[room].get(name) or _entry_points(room).get(name)
    if entry is None:
        raise NotFoundError(f"there is no {name!r} in {room}", hint=f"known: {', '.join(names(room))}")
    module, _, attribute = entry.target.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as missing:
        if entry.extra is None:
            raise
        raise UnsupportedError(
            f"{name!r} needs the package {missing.name!r}, which is not installed",
            hint=f"pip install 'mlcli[{entry.extra}]'",
        ) from missing


def _entry_points(room: str) -> dict[str, Entry]:
    from importlib.metadata import entry_points

    return {point.name: Entry(point.value) for point in entry_points(group=f"mlcli.{room}")}
