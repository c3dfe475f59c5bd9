"""Metrics that a job printed. These lines of its log count, from the first letter of the line to its last.

- ``metric: NAME=VALUE NAME=VALUE [step=N]`` - for any language: ``echo "metric: loss=0.25 step=3"``;
- ``{"metric": "NAME", "value": VALUE, "step": N}`` - the same as JSON, ``step`` may be left out;
- ``[N]<TAB>NAME:VALUE<TAB>NAME:VALUE`` - XGBoost's evaluation lines, and LightGBM's; N is the step;
- ``Attempted to log scalar metric NAME:`` and the value on the next line - ``azureml.core.Run`` without Azure; so are
  ``list`` (a value a step), ``row`` and ``table`` (each column becomes ``NAME.COLUMN``).

Where no step is printed, values of a name are counted from 0. A printed line has no time: it has the log's.
"""

from __future__ import annotations

import ast
import json
import math
import re
from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from mlcli.domain.metrics import Series, Tracked, evenly, joined, number, summarise
from mlcli.ports.tracking import RunFiles, Seen, TrackingReader
from mlcli.tracking import _points
from mlcli.tracking._lines import blocks

LOG = "user_logs/std_log.txt"
_NUMBER = r"[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?|inf(?:inity)?|nan)"
_OURS = re.compile(rf"metric:((?:[ \t]+[^\s=]+={_NUMBER})+)\s*", re.IGNORECASE)
_PAIR = re.compile(rf"([^\s=]+)=({_NUMBER})(?=\s|$)", re.IGNORECASE)
_BOOSTED = re.compile(rf"\[(\d+)\]((?:\t[^\t]*?:[ ]?{_NUMBER}(?:[ ]?\+[ ]?{_NUMBER})?)+)\s*", re.IGNORECASE)
_COLUMN = re.compile(rf"\t([^\t]*?):[ ]?({_NUMBER})(?:[ ]?\+[ ]?{_NUMBER})?(?=\t|\s*$)", re.IGNORECASE)
_OFFLINE = re.compile(r"Attempted to log (scalar|list|row|table) metric (.*):\s*")
_BEGINNINGS = (b"metric:", b'{"metric"', b"[", b"Attempted to log ")
_MAY_COUNT = re.compile(rb"^(?:metric:|\{\"metric\"|\[\d+\]\t|Attempted to log )", re.MULTILINE)
_LONGEST = 1 << 16


@dataclass(frozen=True)
class _Stand:
    """Where a reading stands: the bytes that are read, the heading whose values come next, the next step of each name."""

    size: int = 0
    heading: tuple[str, str] | None = None
    next_steps: Mapping[str, int] = field(default_factory=dict)


class PrintedReader(TrackingReader):
    """Reads the log, from where it stood."""

    name = "printed"

    def read(self, run: RunFiles, before: Mapping[str, Any] | None) -> Seen:
        """The log's lines that count."""
        path = run.local(LOG)
        if path is None:
            return Seen()
        stand, digest = _stand_of(before), _points.digest_of(before)
        now = path.stat()
        if now.st_size < stand.size:
            stand, digest = _Stand(), _points.Digest()
        metrics = dict(digest.metrics)
        time_ms = int(now.st_mtime * 1000)
        for block in blocks(path, stand.size):
            found, stand = new_points(block, stand, time_ms)
            for name, points in found.items():
                new = summarise(points)
                metrics[name] = metrics[name].and_then(new) if name in metrics else new
        digest = _points.Digest(stand.size, 0, metrics)
        return Seen(
            Tracked(metrics),
            lambda: {**digest.as_state(), "heading": stand.heading, "next_steps": dict(stand.next_steps)},
        )

    def history(self, run: RunFiles, metric: str, known: int, most: int | None) -> Series:  # noqa: ARG002
        """The log is read again."""
        points = self.news(run, None)[0].get(metric, Series())
        return points if most is None else points.at(evenly(len(points), most))

    def news(self, run: RunFiles, since: Any) -> tuple[Mapping[str, Series], Any]:
        """From where the reading stood."""
        path = run.local(LOG)
        stand: _Stand = since or _Stand()
        fresh: dict[str, Series] = {}
        if path is not None:
            time_ms = int(path.stat().st_mtime * 1000)
            for block in blocks(path, stand.size):
                found, stand = new_points(block, stand, time_ms)
                fresh = {name: joined(fresh.get(name), found.get(name)) for name in {**fresh, **found}}
        return fresh, stand


def _stand_of(state: Mapping[str, Any] | None) -> _Stand:
    try:
        if state is None:
            return _Stand()
        kind, name = state["heading"] or (None, None)
        heading = None if kind is None else (str(kind), str(name))
        return _Stand(int(state["size"]), heading, dict(state["next_steps"]))
    except (KeyError, TypeError, ValueError):
        return _Stand()


def new_points(block: bytes, stand: _Stand, time_ms: int) -> tuple[dict[str, Series], _Stand]:
    """The points of whole lines that follow ``stand``, by name, and where the reading stands after them. Pure."""
    size = stand.size + len(block)
    if stand.heading is None and not _MAY_COUNT.search(block):
        return {}, _Stand(size, None, stand.next_steps)
    columns: dict[str, tuple[Any, Any, Any]] = {}
    next_steps = dict(stand.next_steps)
    heading = stand.heading
    for raw in block.splitlines():
        if heading is not None:
            rows: Iterable[_Row] = _offline(*heading, raw)
            heading = None
        elif raw.startswith(_BEGINNINGS) and len(raw) < _LONGEST:
            line = raw.decode(errors="replace")
            told = _OFFLINE.fullmatch(line)
            heading = (told[1], told[2]) if told else None
            rows = () if told else _of_line(line)
        else:
            continue
        for name, value, given in rows:
            step = next_steps.get(name, 0) if given is None else given
            next_steps[name] = step + 1
            values, steps, times = columns.setdefault(name, (array("d"), array("q"), array("q")))
            values.append(value)
            steps.append(step)
            times.append(time_ms)
    return {name: Series(*sides) for name, sides in columns.items()}, _Stand(size, heading, next_steps)


_Row = tuple[str, float, "int | None"]


def _of_line(line: str) -> Iterable[_Row]:
    if line.startswith("metric:"):
        return _ours(line)
    return _as_json(line) if line.startswith("{") else _boosted(line)


def _ours(line: str) -> list[_Row]:
    if not _OURS.fullmatch(line):
        return []
    pairs = _PAIR.findall(line.removeprefix("metric:"))
    step = next((int(float(value)) for name, value in pairs if name == "step" and value.isdecimal()), None)
    return [(name, float(value), step) for name, value in pairs if name != "step"]


def _as_json(line: str) -> list[_Row]:
    try:
        record = json.loads(line)
        name, step = record["metric"], record.get("step")
        fits = isinstance(name, str) and (step is None or type(step) is int) and abs(step or 0) < 1 << 62
        return [(name, number(record["value"]), step)] if fits else []
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []


def _boosted(line: str) -> list[_Row]:
    told = _BOOSTED.fullmatch(line)
    if not told or len(told[1]) > 18:
        return []
    return [(name.strip(), float(value), int(told[1])) for name, value in _COLUMN.findall(told[2])]


def _offline(kind: str, name: str, raw: bytes) -> Iterator[_Row]:
    """The values below a heading, as Python prints them."""
    value = _python(raw.decode(errors="replace"))
    if kind == "scalar":
        yield from _numbers(name, [value])
    elif kind == "list" and isinstance(value, (list, tuple)):
        yield from _numbers(name, value)
    elif kind in {"row", "table"} and isinstance(value, dict):
        for column, cells in value.items():
            yield from _numbers(f"{name}.{column}", cells if isinstance(cells, (list, tuple)) else [cells])


def _numbers(name: str, values: Iterable[Any]) -> Iterator[_Row]:
    """Of what :func:`_python` has read: there an ellipsis is NaN, for which literals have no word."""
    for value in values:
        if value is ...:
            yield name, math.nan, None
        elif isinstance(value, (int, float)) and type(value) is not bool:
            yield name, float(value), None


def _python(text: str) -> Any:
    """A value that Python (and numpy) has printed; None for what is none. Nothing is evaluated but literals."""
    text = re.sub(r"\b(?:np|numpy)\.\w+\(([^()]*)\)", r"\1", text.strip())
    if re.fullmatch(_NUMBER, text, re.IGNORECASE):
        return float(text)
    with_infinities = re.sub(
        r"(?<![\w'\"])(inf|nan)(?![\w'\"])", lambda word: "1e999" if word[0] == "inf" else "...", text
    )
    try:
        return ast.literal_eval(with_infinities)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return None
