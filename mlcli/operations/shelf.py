"""What ended runs have logged, on one shelf of the workspace, so that a leaderboard reads a thousand runs at once.

``tracked.jsonl``: a line a run, of one name the last counts. Who sees the end of a run puts it there, a leaderboard what it
did not find. Whoever takes the file away loses nothing but time.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from mlcli.domain.errors import MlcliError
from mlcli.domain.run import Run
from mlcli.operations import layout
from mlcli.operations.findings import Findings, Subject, decoded, encoded, find_at_once
from mlcli.ports.services import Services

_VERSION = 1
_WORTH_CLEARING = 100


class Shelf:
    """As it stands now. ``tracked`` and ``keep`` take runs as they are found."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._kept, self._lines = _read(_path(services))
        self._new: dict[str, Mapping[str, Any]] = {}

    def find(self, run: Run) -> Findings | None:
        """What the run has logged; None when it is not here."""
        kept = self._kept.get(run.name)
        if kept is None or kept.get("created_at") != run.created_at:  # one of that name that is deleted
            return None
        return decoded(kept)

    def keep(self, run: Run, found: Findings) -> None:
        """Have it written down by :meth:`put_down`."""
        self._new[run.name] = _line(run, found)

    def put_down(self) -> None:
        """Write what is new; the lines of deleted runs go when they are many."""
        if not self._new:
            return
        runs = {**self._kept, **self._new}
        if self._lines + len(self._new) < 2 * len(runs) + _WORTH_CLEARING:
            _append(_path(self._services), self._new.values())
            return
        there = set(os.listdir(f"{self._services.root}/runs"))  # noqa: PTH208
        path = _path(self._services)
        fresh = f"{path}.{os.getpid()}"
        with suppress(OSError):
            _append(fresh, [kept for name, kept in runs.items() if name in there])
            os.replace(fresh, path)  # noqa: PTH105


def put_ended(services: Services, runs: Iterable[Run]) -> None:
    """Put runs there that have just ended, those that take no time to read. A workspace that cannot be written to, and
    a run that cannot be read, are left to the leaderboard.
    """
    found: dict[str, Mapping[str, Any]] = {}
    for run in runs:
        with suppress(MlcliError, OSError):
            seen = find_at_once(services, Subject(run, run.name))
            if seen is not None:
                found[run.name] = _line(run, seen)
    if found:
        _append(_path(services), found.values())


def _path(services: Services) -> str:
    return f"{services.root}/{layout.TRACKED_SHELF}"


def _line(run: Run, found: Findings) -> Mapping[str, Any]:
    return {"version": _VERSION, "name": run.name, "created_at": run.created_at, **encoded(found)}


def _append(path: str, lines: Iterable[Mapping[str, Any]]) -> None:
    """In one write, which begins with a line break: the last line may have been torn."""
    text = "\n" + "".join(json.dumps(line) + "\n" for line in lines)
    with suppress(OSError), open(path, "ab", buffering=0) as file:  # noqa: PTH123
        file.write(text.encode())


def _read(path: str) -> tuple[dict[str, Mapping[str, Any]], int]:
    """The last line of each run, and how many lines there are."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            lines = file.read().splitlines()
    except OSError:
        return {}, 0
    kept: dict[str, Mapping[str, Any]] = {}
    for line in lines:
        with suppress(ValueError, KeyError, TypeError):
            if line and (entry := json.loads(line))["version"] == _VERSION:
                kept[str(entry["name"])] = entry
    return kept, len(lines)
