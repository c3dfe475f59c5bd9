"""One run: its record, and what was logged to it. Histories stay in the file, the newest values are kept."""

from __future__ import annotations

import json
import math
import os
import time
from typing import Any, Dict, Iterator, List, Optional, Tuple

from .errors import invalid
from .fields import WORDS
from .lines import Lines, blocks, decoded, record, replace

ACTIVE, DELETED = "active", "deleted"
RUNNING = "RUNNING"
STATUSES = {1: RUNNING, 2: "SCHEDULED", 3: "FINISHED", 4: "FAILED", 5: "KILLED"}
SUMMARY = "summary.json"
MAIN, CHILD = "mlflow.json", "run.json"

# last, step, time_ms, min, max, min_step, max_step, count. A list: there is one for each name, changed with each point.
Figures = List[Any]
Point = Tuple[str, float, int, int, Optional[Dict[str, Any]]]  # name, value, step, time_ms, its dataset and model


def now_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def plain(value: float) -> float | str:
    """A value as JSON has it, or the word for one that it has no number for."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


class Run:
    """A run whose records lie in ``folder``. ``info``: what ``MAIN`` or ``CHILD`` (``name``) holds."""

    def __init__(self, folder: str, name: str, info: dict[str, Any]) -> None:
        self.folder = folder
        self.info = info
        self.params: dict[str, str] = {}
        self.tags: dict[str, str] = {}
        self.metrics: dict[str, Figures] = {}
        self.inputs: list[dict[str, Any]] = []
        self.outputs: list[dict[str, Any]] = []
        self.model_points: dict[tuple[Any, ...], dict[str, Any]] = {}  # the newest of each model, name and dataset
        self._record = os.path.join(folder, name)
        self._files = {
            part: Lines(os.path.join(folder, f"{part}.jsonl"))
            for part in ("metrics", "params", "tags", "inputs", "outputs")
        }
        self._summed = 0  # bytes of the metrics file that the summary on the disk covers
        self._read()

    @property
    def id(self) -> str:
        """Its MLflow id."""
        return str(self.info["run_id"])

    @property
    def artifacts(self) -> str:
        """The folder of its artifacts."""
        return os.path.join(self.folder, "artifacts")

    def save(self, **changes: Any) -> None:
        """Change its record."""
        info = {**self.info, **changes}
        replace(self._record, info)
        self.info = info

    def check_active(self) -> None:
        """Refuse to change a run that was deleted."""
        stage = self.info["lifecycle_stage"]
        if stage != ACTIVE:
            raise invalid(f"The run {self.id} must be in the 'active' state. Current state is {stage}.")

    # Writing

    def log_metrics(self, points: list[Point]) -> None:
        """One append for all of them."""
        self._files["metrics"].append(
            [name, plain(value), step, time_ms, *([facts] if facts else [])]
            for name, value, step, time_ms, facts in points
        )
        for point in points:
            self._count(*point)

    def log_params(self, params: dict[str, str]) -> None:
        """Those that are new: a value stays."""
        new = {key: value for key, value in params.items() if key not in self.params}
        self._files["params"].append(list(item) for item in new.items())
        self.params.update(new)

    def set_tags(self, tags: dict[str, str]) -> None:
        """The name of the run is a tag, too."""
        self._files["tags"].append(list(item) for item in tags.items())
        self.tags.update(tags)
        name = tags.get("mlflow.runName")
        if name and name != self.info["run_name"]:
            self.save(run_name=name)

    def delete_tag(self, key: str) -> None:
        """One that is there."""
        self._files["tags"].append([[key, None]])
        del self.tags[key]

    def log_inputs(self, inputs: list[dict[str, Any]]) -> None:
        """Datasets and models; one that was logged before is left out."""
        self._log_new("inputs", self.inputs, inputs)

    def log_outputs(self, outputs: list[dict[str, Any]]) -> None:
        """Models; one that was logged before is left out."""
        self._log_new("outputs", self.outputs, outputs)

    def _log_new(self, part: str, known: list[dict[str, Any]], given: list[dict[str, Any]]) -> None:
        new = [item for item in given if item not in known]
        self._files[part].append(new)
        known.extend(new)

    def write_summary(self) -> None:
        """What readers need of the metrics without their history."""
        size = self._files["metrics"].size()
        if size == self._summed:
            return
        names = ("last", "step", "time_ms", "min", "max", "min_step", "max_step", "count")
        metrics = {name: dict(zip(names, _on_disk(figures))) for name, figures in self.metrics.items()}
        replace(os.path.join(self.folder, SUMMARY), {"bytes": size, "metrics": metrics})
        self._summed = size

    # Reading

    def history(self, name: str, offset: int = 0) -> Iterator[list[tuple[int, list[Any]]]]:
        """Points of a name as they were logged, from an offset of the file on: batches of (offset behind it, its line)."""
        prefix = b"[" + json.dumps(name).encode() + b", "
        for start, lines in blocks(self._files["metrics"].path, offset):
            ends, mine, position = [], [], start
            for line in lines:
                position += len(line) + 1
                if line.startswith(prefix):
                    ends.append(position)
                    mine.append(line)
            points = decoded(mine)
            found = list(zip(ends, points))
            if len(points) != len(mine):
                found = [(end, value) for end, line in zip(ends, mine) for value in decoded([line])]
            yield [row for row in found if _is_point(row[1])]

    def _read(self) -> None:
        os.makedirs(self.folder, exist_ok=True)
        for key, value in _pairs(self._files["params"]):
            self.params[key] = value
        for key, value in _pairs(self._files["tags"]):
            if value is None:
                self.tags.pop(key, None)
            else:
                self.tags[key] = value
        self.inputs += [item for item in self._files["inputs"].values() if isinstance(item, dict)]
        self.outputs += [item for item in self._files["outputs"].values() if isinstance(item, dict)]
        for item in self._files["metrics"].values():
            try:
                name, value, step, time_ms, *more = item
                self._count(name, float(value), step, time_ms, more[0] if more else None)
            except (TypeError, ValueError):  # damaged, or not ours
                continue

    def _count(self, name: str, value: float, step: int, time_ms: int, facts: dict[str, Any] | None) -> None:
        if facts and "model_id" in facts:
            which = (facts["model_id"], name, facts.get("dataset_name"), facts.get("dataset_digest"))
            point = dict(facts, key=name, value=plain(value), step=step, timestamp=time_ms, run_id=self.id)
            self.model_points[which] = point
        figures = self.metrics.get(name)
        if figures is None:
            self.metrics[name] = [value, step, time_ms, value, value, step, step, 1]
            return
        figures[7] += 1
        if (step, time_ms) >= (figures[1], figures[2]):
            figures[:3] = value, step, time_ms
        if value < figures[3] or figures[3] != figures[3]:  # the second: NaN
            figures[3], figures[5] = value, step
        if value > figures[4] or figures[4] != figures[4]:
            figures[4], figures[6] = value, step


def _is_point(line: list[Any]) -> bool:
    return len(line) >= 4 and isinstance(line[2], int) and (line[1] in WORDS or isinstance(line[1], (int, float)))


def _on_disk(figures: Figures) -> list[Any]:
    last, step, time_ms, low, high, *rest = figures
    return [plain(last), step, time_ms, plain(low), plain(high), *rest]


def _pairs(lines: Lines) -> Iterator[tuple[str, Any]]:
    for item in lines.values():
        if isinstance(item, list) and len(item) == 2 and isinstance(item[0], str):
            yield item[0], item[1]


def load(folder: str, name: str) -> dict[str, Any] | None:
    """The record of a run that is there."""
    info = record(os.path.join(folder, name))
    return info if isinstance(info, dict) and "run_id" in info else None
