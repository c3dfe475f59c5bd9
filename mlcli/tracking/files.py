"""What the agent's endpoint has written into the run folder: ``metrics.jsonl``, ``params.jsonl``, ``tags.jsonl``.

The endpoint's ``summary.json`` is believed as far as it goes (its ``bytes`` of the metrics file); what was written behind
that is read. Below ``children/ID/`` lie the same files of a nested run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from mlcli.domain.metrics import Series, Summary, Tracked, number
from mlcli.ports.tracking import RunFiles, Seen, TrackingReader
from mlcli.tracking import _points
from mlcli.tracking._lines import blocks

METRICS = "metrics.jsonl"
PARAMS = "params.jsonl"
TAGS = "tags.jsonl"
SUMMARY = "summary.json"


class FilesReader(TrackingReader):
    """Reads the run's own files, those that grow from where it stood."""

    name = "files"

    def read(self, run: RunFiles, before: Mapping[str, Any] | None) -> Seen:
        """Last values win; a tag that is null was deleted."""
        path = run.local(METRICS)
        digest = _points.Digest()
        if path is not None:
            known = max(_points.digest_of(before), _endpoints(run), key=lambda digest: digest.size)
            digest = _points.read_on(path, known)
        params, bad_params = _pairs(run.local(PARAMS))
        tags, bad_tags = _pairs(run.local(TAGS))
        there = {key: value for key, value in tags.items() if value is not None}
        damaged = digest.damaged + bad_params + bad_tags
        tracked = Tracked(digest.metrics, {key: value or "" for key, value in params.items()}, there, damaged)
        return Seen(tracked, digest.as_state if path is not None else None)

    def history(self, run: RunFiles, metric: str, known: int, most: int | None) -> Series:
        """Of many points a few are found without parsing the others."""
        path = run.local(METRICS)
        return Series() if path is None else _points.points(path, metric, known, most)

    def news(self, run: RunFiles, since: Any) -> tuple[Mapping[str, Series], Any]:
        """From the offset on."""
        path = run.local(METRICS)
        return ({}, since) if path is None else _points.new_points(path, since or 0)


def _endpoints(run: RunFiles) -> _points.Digest:
    """What the endpoint says of the metrics file; nothing when it has not said it yet, or not so that it can be read."""
    path = run.local(SUMMARY)
    if path is not None:
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            with open(path, "rb") as file:  # noqa: PTH123  (a thousand runs)
                said = json.loads(file.read().decode())
            metrics = {name: _summary(figures) for name, figures in said["metrics"].items()}
            return _points.Digest(int(said["bytes"]), int(said.get("damaged", 0)), metrics)
    return _points.Digest()


def _summary(figures: Mapping[str, Any]) -> Summary:
    low, high = (number(figures[key] if figures[key] is not None else "NaN") for key in ("min", "max"))
    steps = (int(figures[key]) for key in ("min_step", "max_step", "count"))
    return Summary(number(figures["last"]), int(figures["step"]), int(figures["time_ms"]), low, high, *steps)


def _pairs(path: Path | None) -> tuple[dict[str, str | None], int]:
    """The last value of each key, and how many lines are none of ``["KEY", "VALUE"]``."""
    found: dict[str, str | None] = {}
    damaged = 0
    if path is None:
        return found, damaged
    for block in blocks(path, 0):
        for line in block.splitlines():
            try:
                key, value = json.loads(line)
            except (ValueError, TypeError, RecursionError):
                damaged += 1
                continue
            if isinstance(key, str) and isinstance(value, (str, type(None))):
                found[key] = value
            else:
                damaged += 1
    return found, damaged
