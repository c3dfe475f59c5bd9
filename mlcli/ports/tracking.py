"""TrackingReader: one way in which runs log, read back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from mlcli.domain.metrics import Series, Tracked


class RunFiles(Protocol):
    """A run as readers see it: its files, wherever they are, and what it was given."""

    @property
    def name(self) -> str:
        """The run's name."""
        ...

    @property
    def variables(self) -> Mapping[str, str]:
        """The environment variables that the job was given."""
        ...

    def local(self, path: str) -> Path | None:
        """A file of the run folder as this machine can open it; of one that is elsewhere, a copy that has been brought up to
        date. None when there is none. Raises TransportError.
        """
        ...

    def below(self, folder: str) -> Mapping[str, int]:
        """Files below a folder of the run folder: relative path -> size in bytes. Raises TransportError."""
        ...


@dataclass(frozen=True)
class Seen:
    """What a reader has found. ``state`` makes the JSON value from which it goes on the next time; None: nothing is worth
    keeping.
    """

    tracked: Tracked = field(default_factory=Tracked)
    state: Callable[[], Mapping[str, Any]] | None = None


class TrackingReader(ABC):
    """Raises TransportError where the files, or the server, do not answer."""

    name: str

    @abstractmethod
    def read(self, run: RunFiles, before: Mapping[str, Any] | None) -> Seen:
        """What the run has logged this way by now. ``before``: the state of an earlier reading of the same run."""

    @abstractmethod
    def history(self, run: RunFiles, metric: str, known: int, most: int | None) -> Series:
        """The points of a name in the order in which they were logged; none when it was not logged this way.

        ``known``: how many there are, as :meth:`read` has said. ``most``: at most so many, evenly chosen, the first and
        the last among them.
        """

    def news(self, run: RunFiles, since: Any) -> tuple[Mapping[str, Series], Any]:
        """What has been logged since an earlier call, by name, and what the next call is given. ``since``: None for all."""
        counts: dict[str, int] = since or {}
        fresh = {}
        for name, summary in self.read(run, None).tracked.metrics.items():
            known = counts.get(name, 0)
            if summary.count > known:
                points = self.history(run, name, summary.count, None)
                fresh[name] = points.at(range(known, len(points)))
        return fresh, {**counts, **{name: counts.get(name, 0) + len(points) for name, points in fresh.items()}}
