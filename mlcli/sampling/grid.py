"""Grid sampling: every combination of choices once, in order, the last parameter changing fastest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

from mlcli.domain.distributions import Choice, Distribution, SearchSpace, Value, Values
from mlcli.domain.errors import UnsupportedError
from mlcli.domain.job import Scalar
from mlcli.domain.sweep import Trial, next_number
from mlcli.ports.sampling import EXHAUSTED, Exhausted, Sampler


class GridSampler(Sampler):
    """Knows ``choice`` only, as Azure ML's does."""

    def ask(self, space: SearchSpace, trials: Sequence[Trial]) -> Values | Exhausted:
        """The combination at the next trial's number. Raises UnsupportedError for another distribution."""
        number = next_number(trials)
        return _of_space(space, number) if number < size(space) else EXHAUSTED


def size(one: SearchSpace | Distribution | Scalar) -> int:
    """How many combinations there are. Raises UnsupportedError for what is no choice."""
    if isinstance(one, SearchSpace):
        return math.prod(map(size, one.parameters.values()))
    if isinstance(one, Choice):
        return sum(map(size, one.options))
    if isinstance(one, Scalar):
        return 1
    raise UnsupportedError(
        f"a grid goes over 'choice' only, not over {type(one).__name__.lower()}",
        hint="list the values in a choice, or use 'sampling_algorithm: random'",
    )


def _of_space(space: SearchSpace, index: int) -> dict[str, Value]:
    picked: dict[str, Value] = {}
    for name, one in reversed([*space.parameters.items()]):
        index, place = divmod(index, size(one))
        picked[name] = _of_choice(one, place) if isinstance(one, Choice) else cast("Scalar", one)
    return dict(reversed([*picked.items()]))


def _of_choice(choice: Choice, index: int) -> Value:
    for option in choice.options:
        if index < size(option):
            return _of_space(option, index) if isinstance(option, SearchSpace) else option
        index -= size(option)
    raise IndexError(index)
