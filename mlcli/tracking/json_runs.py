"""Runs as a JSON document: a list, a run an object. A metric is its points ``[VALUE, STEP, TIME_MS]``; what JSON has no
number for is ``"NaN"``, ``"Infinity"``, ``"-Infinity"``. Of artifacts only the paths are told.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlcli.domain.logged import LoggedRun
from mlcli.domain.metrics import Point, number, plain, series
from mlcli.ports.exchange import RunFormat
from mlcli.tracking.tables import unreadable, whole

_FACTS = ("run_id", "name", "experiment", "status", "parent", "start_ms", "end_ms")


class JsonFormat(RunFormat):
    """A file."""

    def write(self, runs: Sequence[LoggedRun], place: str) -> Sequence[str]:
        """The file appears whole."""
        text = json.dumps([_document(run) for run in runs], indent=1, ensure_ascii=False, allow_nan=False)
        whole(Path(place), lambda path: path.write_text(text + "\n", encoding="utf-8", errors="surrogatepass"))
        return ()

    def read(self, place: str, scratch: Path) -> Sequence[LoggedRun]:  # noqa: ARG002
        """What is not ours in it is passed over."""
        try:
            return [_run(document) for document in json.loads(Path(place).read_bytes())]
        except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as failed:
            raise unreadable(place, "runs in JSON", failed) from failed


def _document(run: LoggedRun) -> dict[str, Any]:
    metrics = {
        name: [[plain(point.value), point.step, point.time_ms] for point in points]
        for name, points in run.metrics.items()
    }
    facts = {fact: getattr(run, fact) for fact in _FACTS}
    return {
        **facts,
        "params": dict(run.params),
        "tags": dict(run.tags),
        "metrics": metrics,
        "artifacts": sorted(run.artifacts),
    }


def _run(document: Mapping[str, Any]) -> LoggedRun:
    metrics = {
        str(name): series(Point(number(value), int(step), int(time_ms)) for value, step, time_ms in points)
        for name, points in document.get("metrics", {}).items()
    }
    facts = {fact: document.get(fact) for fact in _FACTS if fact != "run_id"}
    return LoggedRun(
        str(document["run_id"]),
        params={str(key): str(value) for key, value in document.get("params", {}).items()},
        tags={str(key): str(value) for key, value in document.get("tags", {}).items()},
        metrics=metrics,
        **{**facts, "name": facts["name"] or str(document["run_id"]), "experiment": facts["experiment"] or "Default"},  # type: ignore[arg-type]
    )
