"""What the next trial of a sweep costs when ten thousand have ended: processor time, for a sampler waits for nothing."""

from __future__ import annotations

import math
import random
import resource
import statistics
import subprocess
import sys
import time
from typing import Any

from mlcli import registry
from mlcli.domain.distributions import Choice, SearchSpace, Uniform
from mlcli.domain.state import State
from mlcli.domain.sweep import Goal, Sampling, Trial

TRIALS = 10_000
ROUNDS = 30
SPACE = SearchSpace(
    {
        "rate": Uniform(-7, -1, math.e),
        "size": Uniform(16, 256, q=16),
        "drop": Uniform(0, 0.5),
        "kind": Choice(("a", "b", "c")),
    }
)


def run() -> list[tuple[str, float, float]]:
    """Milliseconds, seconds, megabytes."""
    with_history = f"after {TRIALS:,} trials"
    peak_mb = _peak_mb()  # first: on Linux a process begins with the peak of the one that it comes from
    first_s, _ = _costs(Sampling("bayesian", seed=1))
    return [
        (f"next random trial {with_history}, ms", _costs(Sampling("random", seed=1))[1], 1),
        (f"next sobol trial {with_history}, ms", _costs(Sampling("random", "sobol", 1))[1], 1),
        (f"next TPE trial {with_history}, ms", _costs(Sampling("bayesian", seed=1))[1], 50),
        (f"first TPE trial of a process {with_history}, s", first_s, 3),
        (f"peak memory of a process that asks TPE {with_history}, MB", peak_mb, 120),
    ]


def _history() -> list[Trial]:
    sampler, trials, source = _sampler(Sampling(seed=2)), list[Trial](), random.Random(3)
    for number in range(TRIALS):
        trials.append(Trial(number, sampler.ask(SPACE, trials), (source.random(),), State.COMPLETED))
    return trials


def _sampler(sampling: Sampling) -> Any:
    return registry.load("sampling", sampling.algorithm)(sampling, Goal.MINIMIZE)


def _costs(sampling: Sampling) -> tuple[float, float]:
    """Seconds of the first question, median milliseconds of the later ones, each after one more trial."""
    trials = _history()
    start = time.process_time()
    sampler = _sampler(sampling)
    sampler.ask(SPACE, trials)
    first, taken = time.process_time() - start, []
    for number in range(TRIALS, TRIALS + ROUNDS):
        start = time.process_time()
        values = sampler.ask(SPACE, trials)
        taken.append(time.process_time() - start)
        trials.append(Trial(number, values, (0.5,), State.COMPLETED))
    return first, statistics.median(taken) * 1000


def _peak_mb() -> float:
    done = subprocess.run([sys.executable, "-m", __name__], check=True, capture_output=True, text=True)
    return float(done.stdout)


if __name__ == "__main__":
    _costs(Sampling("bayesian", seed=1))
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kilobytes elsewhere
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6)
