"""Metrics: what a run has logged under a name, point by point, and in a few figures. Pure."""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import Any

NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
"""How values that JSON has no number for are written, as MLflow writes them."""

_LOWER = re.compile(
    r"loss|err(or)?\b|error|mae\b|mse|mape|perplexity|ppl\b|\b[cw]er\b|regret|deviance|distance|latency"
)
_HIGHER = re.compile(
    r"acc(uracy)?\b|accuracy|auc|\bf1\b|fbeta|precision|recall|\br2\b|score|\bmap\b|ndcg|bleu|rouge|iou|dice|reward"
)


@dataclass(frozen=True)
class Point:
    """One logged value. ``time_ms``: milliseconds since the epoch, UTC."""

    value: float
    step: int
    time_ms: int


@dataclass(frozen=True)
class Series:
    """Every value of one name, in the order in which they were logged: three columns of one length."""

    values: Sequence[float] = ()
    steps: Sequence[int] = ()
    times_ms: Sequence[int] = ()

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[Point]:
        return map(Point, self.values, self.steps, self.times_ms)

    def at(self, indices: Iterable[int]) -> Series:
        """Those of its points."""
        chosen = list(indices)
        return Series(
            [self.values[index] for index in chosen],
            [self.steps[index] for index in chosen],
            [self.times_ms[index] for index in chosen],
        )

    def by_step(self) -> Series:
        """The same points, steps rising; of one step, times rising."""
        order = sorted(range(len(self)), key=lambda index: (self.steps[index], self.times_ms[index]))
        return self.at(order)


def series(points: Iterable[Point]) -> Series:
    """The points as columns."""
    rows = list(points)
    return Series(
        array("d", [row.value for row in rows]),
        array("q", [row.step for row in rows]),
        array("q", [row.time_ms for row in rows]),
    )


def joined(one: Series | None, other: Series | None) -> Series:
    """The points of one and then of the other. What the first had may be continued in place."""
    if not one or not other:
        return one or other or Series()
    sides: Any = ((one.values, other.values), (one.steps, other.steps), (one.times_ms, other.times_ms))
    for whole, more in sides:
        whole.extend(more)
    return one


@dataclass(frozen=True)
class Summary:
    """One name in a few figures. ``last`` is the value of the greatest step (of one step the latest), as MLflow has it.

    ``minimum`` and ``maximum`` leave NaN out; they are NaN when there is nothing else.
    """

    last: float
    step: int
    time_ms: int
    minimum: float
    maximum: float
    min_step: int
    max_step: int
    count: int

    @property
    def _rank(self) -> tuple[int, int]:
        return self.step, self.time_ms

    def and_then(self, later: Summary) -> Summary:
        """Of these values and of those logged after them."""
        newest = later if later._rank >= self._rank else self
        low = _first(self, later, later.minimum < self.minimum or math.isnan(self.minimum))
        high = _first(self, later, later.maximum > self.maximum or math.isnan(self.maximum))
        return Summary(
            newest.last,
            newest.step,
            newest.time_ms,
            low.minimum,
            high.maximum,
            low.min_step,
            high.max_step,
            self.count + later.count,
        )


def _first(one: Summary, other: Summary, is_other: bool) -> Summary:
    return other if is_other else one


def summarise(points: Series) -> Summary:
    """The figures of at least one point."""
    values, steps = points.values, points.steps
    step, time_ms, index = max(zip(steps, points.times_ms, range(len(values)), strict=True))
    real = [not math.isnan(value) for value in values]
    numbers = values if all(real) else list(compress(values, real))
    low, high = (min(numbers), max(numbers)) if numbers else (math.nan, math.nan)
    at_low = values.index(low) if numbers else index
    at_high = values.index(high) if numbers else index
    return Summary(values[index], step, time_ms, low, high, steps[at_low], steps[at_high], len(values))


@dataclass(frozen=True)
class Tracked:
    """What a run has logged, its histories left out.

    ``damaged``: lines that could not be read. ``notices``: sentences for the person about what was not read.
    """

    metrics: Mapping[str, Summary] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    damaged: int = 0
    notices: tuple[str, ...] = ()

    def and_also(self, other: Tracked) -> Tracked:
        """With what another source has: under a name that both have, this one's."""
        return Tracked(
            {**other.metrics, **self.metrics},
            {**other.params, **self.params},
            {**other.tags, **self.tags},
            self.damaged + other.damaged,
            (*self.notices, *other.notices),
        )


def direction(name: str) -> int:
    """Which way is better, as the name has it: -1 the lower, 1 the higher, 0 when it does not say."""
    word = re.sub(r"[^a-z0-9]+", " ", name.lower())
    if _LOWER.search(word):
        return -1
    return 1 if _HIGHER.search(word) else 0


def best(name: str, summary: Summary) -> tuple[float, int] | None:
    """The best value and its step; None where nobody can tell which that is."""
    way = direction(name)
    if way == 0:
        return None
    return (summary.minimum, summary.min_step) if way < 0 else (summary.maximum, summary.max_step)


def is_of_system(name: str) -> bool:
    """Whether MLflow's system metrics have it (``system/cpu_utilization_percentage``)."""
    return name.startswith("system/")


def ordered(names: Iterable[str]) -> list[str]:
    """Names as people read them: in order, those of the system last."""
    return sorted(names, key=lambda name: (is_of_system(name), name))


def plain(value: float) -> float | str:
    """A value as JSON has it: a number, or the word for what is none."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")


def number(value: Any) -> float:
    """A value as it was written: a number or one of the words. Raises ValueError."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, str) and value in NOT_FINITE:
        return NOT_FINITE[value]
    raise ValueError(f"{value!r} is not a value")


def figures(summary: Summary) -> list[float | str]:
    """A summary as a JSON list."""
    values = (summary.last, summary.minimum, summary.maximum)
    whole = (summary.step, summary.time_ms, summary.min_step, summary.max_step, summary.count)
    return [*map(plain, values), *whole]


def summary_of(kept: Sequence[Any]) -> Summary:
    """The inverse of :func:`figures`. Raises ValueError, TypeError."""
    last, low, high, step, time_ms, low_step, high_step, count = kept
    return Summary(
        number(last), int(step), int(time_ms), number(low), number(high), int(low_step), int(high_step), int(count)
    )


def evenly(length: int, wanted: int) -> list[int]:
    """At most ``wanted`` (2 or more) of the indices below ``length``, the first and the last among them."""
    if length <= wanted:
        return list(range(length))
    return [round(index * (length - 1) / (wanted - 1)) for index in range(wanted)]
