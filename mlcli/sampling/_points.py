"""Pseudo-random points that depend on the seed and the trial's number alone."""

from __future__ import annotations

import random


def point(seed: int, number: int, dimensions: int) -> tuple[float, ...]:
    """``dimensions`` independent numbers, even over [0, 1)."""
    source = generator(seed, number)
    return tuple(source.random() for _ in range(dimensions))


def generator(seed: int, number: int) -> random.Random:
    """The random numbers of one trial; the seed is hashed, so that neighbours are independent."""
    return random.Random(f"{seed}:{number}")  # noqa: S311  (no secret is made of it)
