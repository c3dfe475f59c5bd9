"""What the parts of the interface need of each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from mlcli.workspace import Workspace as Services


class InWorkspace(Protocol):
    """Whatever has a workspace's services: :class:`mlcli.api.Workspace`."""

    @property
    def services(self) -> Services:
        """The workspace as operations see it."""
        ...


class Named(Protocol):
    """Whatever stands for a compute: :class:`mlcli.api.ComputeTarget`."""

    @property
    def name(self) -> str:
        """The compute's name."""
        ...
