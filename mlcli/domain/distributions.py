"""Search spaces: what values a parameter may take, and how they are spread. Names and meaning are Azure ML's.

Every distribution is given by its quantile function, from a point in the unit interval to a value (:meth:`draw`), and by
its inverse (:meth:`position`). So plain random numbers, a quasi-random sequence and a model that works on the unit cube
all draw from one definition. In the log forms bounds, mean and deviation are those of the exponent.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache, cached_property
from typing import TYPE_CHECKING, TypeAlias, Union

from mlcli.domain.job import Scalar

if TYPE_CHECKING:
    from statistics import NormalDist

Value: TypeAlias = Union[Scalar, Mapping[str, "Value"]]  # noqa: UP007  (a recursive alias needs the text)
"""What a parameter gets: a scalar, or, from a choice of maps, the map with a value for each of its parameters."""
Values: TypeAlias = Mapping[str, Value]

_LEAST = 2.0**-53
_MOST = 1 - _LEAST
_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Choice:
    """One of ``options``, each as likely; one that is a space of its own brings its parameters with it."""

    options: tuple[Scalar | SearchSpace, ...]

    @cached_property
    def dimensions(self) -> int:
        """How many numbers of a point it takes: always as many, whatever is chosen."""
        return 1 + sum(option.dimensions for option in self.options if isinstance(option, SearchSpace))

    def draw(self, point: Iterator[float]) -> Value:
        """The option that the next number of ``point`` says."""
        index = self.index_at(next(point))
        drawn = [option.draw(point) if isinstance(option, SearchSpace) else option for option in self.options]
        return drawn[index]

    def index_at(self, unit: float) -> int:
        """The place among the options of a number in the unit interval."""
        return min(int(unit * len(self.options)), len(self.options) - 1)

    def index_of(self, value: Value) -> int | None:
        """Which option ``value`` came from, the first of several; None when it is none."""
        return next((index for index, option in enumerate(self.options) if _is_of(option, value)), None)


@dataclass(frozen=True)
class Randint:
    """A whole number from 0 up to and without ``upper``."""

    upper: int
    dimensions: int = field(default=1, init=False)

    def draw(self, point: Iterator[float]) -> int:
        """The value at the next number of ``point``."""
        return min(int(next(point) * self.upper), self.upper - 1)

    def position(self, value: Value) -> float | None:
        """Where in the unit interval ``value`` lies, None when it is none of these."""
        number = _number(value)
        inside = number is not None and number.is_integer() and 0 <= number < self.upper
        return (number + 0.5) / self.upper if number is not None and inside else None


@dataclass(frozen=True)
class Uniform:
    """Evenly between ``low`` and ``high``, both included. ``base``: the value is this to that power. ``q``: rounded to
    multiples of it, which may lie outside.
    """

    low: float
    high: float
    base: float | None = None
    q: float | None = None
    dimensions: int = field(default=1, init=False)

    def draw(self, point: Iterator[float]) -> int | float:
        """The value at the next number of ``point``."""
        return self._at(next(point))

    def position(self, value: Value) -> float | None:
        """Where in the unit interval ``value`` lies, None when it is none of these."""
        number, (first, last) = _number(value), sorted((self._at(0.0), self._at(1.0)))
        if number is None or not (first <= number <= last or _is_near(number, first) or _is_near(number, last)):
            return None
        if self.low == self.high:
            return 0.5
        return _clamped((_exponent(number, self.base) - self.low) / (self.high - self.low), 0.0, 1.0)

    def _at(self, unit: float) -> int | float:
        return _shaped(min(self.low + (self.high - self.low) * unit, self.high), self.base, self.q)


@dataclass(frozen=True)
class Normal:
    """Normal with mean ``mu`` and standard deviation ``sigma``; ``base`` and ``q`` as in :class:`Uniform`."""

    mu: float
    sigma: float
    base: float | None = None
    q: float | None = None
    dimensions: int = field(default=1, init=False)

    def draw(self, point: Iterator[float]) -> int | float:
        """The value at the next number of ``point``."""
        quantile = _standard_normal().inv_cdf(_clamped(next(point), _LEAST, _MOST))
        return _shaped(self.mu + self.sigma * quantile, self.base, self.q)

    def position(self, value: Value) -> float | None:
        """Where in the unit interval ``value`` lies, None when it is none of these."""
        number = _number(value)
        if number is None or (self.base is not None and number < 0):
            return None
        if self.sigma == 0:
            return 0.5
        return _clamped(_standard_normal().cdf((_exponent(number, self.base) - self.mu) / self.sigma), _LEAST, _MOST)


Number: TypeAlias = Randint | Uniform | Normal
Distribution: TypeAlias = Choice | Number


@dataclass(frozen=True)
class SearchSpace:
    """Parameters by name, in the order of the file. Inside a choice a parameter may be a plain value, the same always."""

    parameters: Mapping[str, Distribution | Scalar] = field(default_factory=dict)

    @cached_property
    def dimensions(self) -> int:
        """How many numbers in the unit interval make a point."""
        return sum(one.dimensions for one in self.distributions.values())

    @cached_property
    def distributions(self) -> Mapping[str, Distribution]:
        """The parameters that vary."""
        return {
            name: one for name, one in self.parameters.items() if isinstance(one, Choice | Randint | Uniform | Normal)
        }

    def at(self, point: tuple[float, ...]) -> dict[str, Value]:
        """The values at a point of the unit cube."""
        return self.draw(iter(point))

    def draw(self, point: Iterator[float]) -> dict[str, Value]:
        """The values at the next :attr:`dimensions` numbers of ``point``."""
        return {
            name: one.draw(point) if isinstance(one, Choice | Randint | Uniform | Normal) else one
            for name, one in self.parameters.items()
        }

    def holds(self, values: Values) -> bool:
        """Whether ``values`` can have come from this space."""
        return self.parameters.keys() == values.keys() and all(
            _is_of(one, values[name]) for name, one in self.parameters.items()
        )


def is_finite(distribution: Number) -> bool:
    """Whether every value that can be drawn is a finite number."""
    try:
        return all(math.isfinite(distribution.draw(iter((unit,)))) for unit in (0.0, 0.5, 1.0))
    except (OverflowError, ValueError):
        return False


def flat(values: Values, prefix: str = "") -> dict[str, Scalar]:
    """The scalars by their dotted names: ``{"model": {"depth": 3}}`` -> ``{"model.depth": 3}``."""
    found: dict[str, Scalar] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found


def _is_of(one: Distribution | SearchSpace | Scalar, value: Value) -> bool:
    if isinstance(one, SearchSpace):
        return isinstance(value, Mapping) and one.holds(value)
    if isinstance(one, Choice):
        return one.index_of(value) is not None
    if isinstance(one, Randint | Uniform | Normal):
        return one.position(value) is not None
    return type(one) is type(value) and one == value


@cache
def _standard_normal() -> NormalDist:
    from statistics import NormalDist  # it brings fractions and random along, for a tenth of what listing trials takes

    return NormalDist()


def _shaped(x: float, base: float | None, q: float | None) -> int | float:
    value = x if base is None else math.exp(x) if base == math.e else base**x
    if q is None:
        return value
    steps = round(value / q)
    # In decimals, so that three steps of 0.1 are 0.3 and not 0.30000000000000004.
    return steps * int(q) if float(q).is_integer() else float(steps * Decimal(repr(q)))


def _exponent(value: float, base: float | None) -> float:
    if base is None:
        return value
    # What was rounded to 0 has no logarithm: it is the least that there is.
    return math.log(max(value, sys.float_info.min)) / math.log(base)


def _number(value: Value) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _is_near(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=_TOLERANCE)


def _clamped(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)
