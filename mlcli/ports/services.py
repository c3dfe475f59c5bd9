"""What an operation is given to work with: the workspace, seen from below."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from mlcli.domain.job import EnvironmentSpec
from mlcli.domain.settings import Settings
from mlcli.ports.backends import Backend
from mlcli.ports.environments import EnvironmentBuilder
from mlcli.ports.stores import AssetStore, ComputeStore, DownloadCache, RunStore, SnapshotStore


class Services(Protocol):
    """Stores, and implementations by name. ``workspace.Workspace`` is the one that is real."""

    @property
    def name(self) -> str:
        """The workspace's name."""
        ...

    @property
    def root(self) -> Path:
        """The workspace's folder."""
        ...

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        ...

    @property
    def runs(self) -> RunStore:
        """The runs."""
        ...

    @property
    def snapshots(self) -> SnapshotStore:
        """The code snapshots."""
        ...

    @property
    def downloads(self) -> DownloadCache:
        """Files from the web."""
        ...

    @property
    def assets(self) -> AssetStore:
        """The named assets."""
        ...

    @property
    def computes(self) -> ComputeStore:
        """The named computes."""
        ...

    def others(self) -> Iterator[Services]:
        """The other workspaces of the same home; caches of environments and downloads are theirs too."""
        ...

    def notices(self) -> list[str]:
        """What the stores that were opened had to mend, as sentences for the person."""
        ...

    def backend(self, name: str) -> Backend:
        """The backend of that registered name, or, as ``ssh.KEY``, the one of an SSH host that a compute has, or had."""
        ...

    def backend_of_compute(self, compute: str, *, container: bool = False) -> str:
        """The backend that serves a compute, in a container or not, as ``backend`` takes it. Raises NotFoundError for a
        compute that does not exist, UnsupportedError for one of a type that jobs cannot be run on yet.
        """
        ...

    def environment_builder(
        self, spec: EnvironmentSpec, *, container: bool = False, backend: str = "local"
    ) -> EnvironmentBuilder:
        """The builder that accepts this environment, for a job in a container or on the host. ``backend``: it builds where
        that one runs jobs. Raises UnsupportedError when none does.
        """
        ...

    def environment_builder_named(self, name: str, backend: str = "local") -> EnvironmentBuilder:
        """The builder of that registered name, for the machine where that backend runs jobs."""
        ...

    def environment_builders(self) -> Iterator[EnvironmentBuilder]:
        """All of them."""
        ...

    def supervise(self, run: str) -> None:
        """Start the detached supervisor that carries this run on."""
        ...

    def hold(self, run: str) -> None:
        """Start the process that waits for the turn of a queued run, and carries it on then, with the environment variables
        of this one. Noted as the run's supervisor.
        """
        ...

    def watch_queue(self, compute: str) -> None:
        """Start the detached process that gives out the nodes of a compute while runs wait for them."""
        ...
