"""``metrics.jsonl``: a line a point, ``["NAME", VALUE, STEP, TIME_MS]``, perhaps with a fifth element that readers of
values do not need. A line that is none of these is damaged: it is counted, and passed over.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlcli.domain.metrics import Series, Summary, evenly, figures, joined, number, summarise, summary_of
from mlcli.tracking._lines import blocks

_CHUNK = 4 << 10


@dataclass(frozen=True)
class Digest:
    """What the first ``size`` bytes of a file say."""

    size: int = 0
    damaged: int = 0
    metrics: Mapping[str, Summary] = field(default_factory=dict)

    def as_state(self) -> dict[str, Any]:
        """As a JSON value."""
        metrics = {name: figures(summary) for name, summary in self.metrics.items()}
        return {"size": self.size, "damaged": self.damaged, "metrics": metrics}


def digest_of(state: Mapping[str, Any] | None) -> Digest:
    """The inverse of :meth:`Digest.as_state`; empty for None, and for what is none."""
    try:
        if state is None or "metrics" not in state:
            return Digest()
        metrics = {name: summary_of(kept) for name, kept in state["metrics"].items()}
        return Digest(int(state["size"]), int(state["damaged"]), metrics)
    except (KeyError, TypeError, ValueError, AttributeError):
        return Digest()


def read_on(path: Path, before: Digest) -> Digest:
    """The digest of the whole file, from that of its beginning. A file that is shorter than that is read anew."""
    size = path.stat().st_size
    if size == before.size:
        return before
    if size < before.size:
        before = Digest()
    for block in blocks(path, before.size):
        columns, damaged = _columns(block)
        metrics = dict(before.metrics)
        for name, points in columns.items():
            new = summarise(points)
            metrics[name] = metrics[name].and_then(new) if name in metrics else new
        before = Digest(before.size + len(block), before.damaged + damaged, metrics)
    return before


def points(path: Path, metric: str, known: int, most: int | None) -> Series:
    """The points of one name. ``known``: how many there are, as far as somebody knows; ``most``: so many at most."""
    if most is not None and known > most and metric.isascii():
        some = _some(path, metric, known, most)
        if some is not None:
            return some
    found = Series()
    for block in blocks(path, 0):
        found = joined(found, _columns(block, metric)[0].get(metric))
    return found if most is None else found.at(evenly(len(found), most))


def new_points(path: Path, offset: int) -> tuple[dict[str, Series], int]:
    """What whole lines behind the offset say, by name, and the offset behind them."""
    found: dict[str, Series] = {}
    for block in blocks(path, offset):
        offset += len(block)
        for name, part in _columns(block)[0].items():
            found[name] = joined(found.get(name), part)
    return found, offset


def _columns(block: bytes, only: str | None = None) -> tuple[dict[str, Series], int]:
    """The points of a block of lines, by name, and how many lines are damaged."""
    try:
        return _grouped(json.loads(b"[%s]" % block.rstrip(b"\n").replace(b"\n", b",")), only), 0
    except (ValueError, TypeError, OverflowError, RecursionError):
        pass
    good, damaged = [], 0
    for line in block.splitlines():
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            _grouped([record], None)
            good.append(record)
        except (ValueError, TypeError, OverflowError, RecursionError):
            damaged += 1
    return _grouped(good, only), damaged


def _grouped(records: Iterable[Any], only: str | None) -> dict[str, Series]:
    """Raises ValueError or TypeError for what is no record."""
    rows: dict[str, tuple[Any, Any, Any]] = {}
    name = None
    for record in records:
        if len(record) == 4:
            key, value, step, time_ms = record
        else:
            key, value, step, time_ms, _ = record
        if key != name:
            name = key
            if name not in rows:
                if type(name) is not str:
                    raise TypeError("the name is no text")
                rows[name] = (array("d"), array("q"), array("q"))
            add_value, add_step, add_time = (column.append for column in rows[name])
        if type(value) is not float:
            value = number(value)
        add_value(value)
        add_step(step)
        add_time(time_ms)
    if only is not None:
        rows = {only: rows[only]} if only in rows else {}
    return {name: Series(*columns) for name, columns in rows.items()}


def _some(path: Path, metric: str, known: int, most: int) -> Series | None:
    """Evenly chosen points of a long file, without parsing the others: lines that start with the name are counted chunk by
    chunk, and only the chunks with a wanted one are looked into. None when there are fewer than is known: the name is spelt in
    another way, too.
    """
    data = b"\n" + path.read_bytes()
    start = b"\n[" + json.dumps(metric).encode() + b","
    counts = [data.count(start, at, min(len(data), at + _CHUNK) + len(start) - 1) for at in range(0, len(data), _CHUNK)]
    if sum(counts) < known or not data.endswith(b"\n"):
        return None
    wanted = iter(evenly(sum(counts), most))
    next_wanted = next(wanted, None)
    before, lines = 0, []
    for chunk, count in enumerate(counts):
        if next_wanted is not None and next_wanted < before + count:
            at = chunk * _CHUNK
            here = _starts(data, start, at, min(len(data), at + _CHUNK) + len(start) - 1)
            while next_wanted is not None and next_wanted < before + count:
                place = here[next_wanted - before] + 1
                lines.append(data[place : data.index(b"\n", place)])
                next_wanted = next(wanted, None)
        before += count
    columns, damaged = _columns(b"\n".join(lines) + b"\n", metric)
    return columns.get(metric) if not damaged else None


def _starts(data: bytes, start: bytes, at: int, end: int) -> list[int]:
    found = []
    place = data.find(start, at, end)
    while place >= 0:
        found.append(place)
        place = data.find(start, place + 1, end)
    return found
