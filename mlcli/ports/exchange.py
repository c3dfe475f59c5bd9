"""RunFormat: one form in which runs are handed on to other programs, and taken back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from mlcli.domain.logged import LoggedRun


class RunFormat(ABC):
    """Points keep value, step, time and order. Raises MlcliError for what cannot be read, StoreError where the disk
    refuses, TransportError where a server does.
    """

    has_artifacts: bool = False
    """Whether artifacts travel, too."""

    @abstractmethod
    def write(self, runs: Sequence[LoggedRun], place: str) -> Sequence[str]:
        """Hand runs on to ``place`` (a path, or an address): sentences about what could not be."""

    @abstractmethod
    def read(self, place: str, scratch: Path) -> Sequence[LoggedRun]:
        """The runs there; one in which others are nested comes before them. ``scratch``: an empty folder for artifacts that
        are no files here.
        """
