"""Random sampling: plain, or along a scrambled Sobol sequence, which fills the space more evenly."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from mlcli.domain.distributions import SearchSpace, Values
from mlcli.domain.errors import UnsupportedError
from mlcli.domain.sweep import Goal, Sampling, Trial, next_number
from mlcli.ports.sampling import Sampler
from mlcli.sampling._points import point


class RandomSampler(Sampler):
    """``rule: random`` or ``sobol``."""

    def __init__(self, sampling: Sampling, goal: Goal) -> None:
        super().__init__(sampling, goal)
        if sampling.rule == "sobol" and find_spec("scipy") is None:
            raise UnsupportedError(
                "'rule: sobol' needs the package 'scipy', which is not installed", hint="pip install 'mlcli[sweep]'"
            )
        self._sequence: Any = None  # SciPy has no types

    def ask(self, space: SearchSpace, trials: Sequence[Trial]) -> Values:
        """The values of the next trial; never exhausted."""
        number = next_number(trials)
        if self.sampling.rule == "sobol" and space.dimensions:
            return space.at(self._sobol(number, space.dimensions))
        return space.at(point(self.seed, number, space.dimensions))

    def _sobol(self, number: int, dimensions: int) -> tuple[float, ...]:
        """The ``number``-th point of the sequence; the next one costs no more than a step."""
        from scipy.stats.qmc import Sobol

        sequence = self._sequence
        if sequence is None or sequence.d != dimensions or sequence.num_generated > number:
            if dimensions > Sobol.MAXDIM:
                message = f"a Sobol sequence has at most {Sobol.MAXDIM:,} dimensions, and the space has {dimensions:,}"
                raise UnsupportedError(message, hint="use 'rule: random'")
            sequence = Sobol(dimensions, scramble=True, rng=self.seed)
            self._sequence = sequence
        if sequence.num_generated < number:
            sequence.fast_forward(number - sequence.num_generated)
        return tuple(map(float, sequence.random(1)[0]))
