"""How a command is timed: interleaved with `python -c pass`, so that the machine's mood touches both alike."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

MLCLI = str(Path(sys.executable).with_name("mlcli"))
BARE = (sys.executable, "-c", "pass")
ROUNDS = 15


def seconds(argv: Sequence[str], home: Path | None = None) -> float:
    """Wall time of one run of a command; its output is thrown away, its failure is ours."""
    environment = {**os.environ, "MLCLI_HOME": str(home)} if home else None
    start = time.perf_counter()
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, capture_output=True, env=environment)
    return time.perf_counter() - start


def ratio_to_bare(argv: Sequence[str], home: Path | None = None, between: Callable[[], None] | None = None) -> float:
    """Median time of the command over the median of `python -c pass`, rounds interleaved, two warm-ups."""
    ours, bare = [], []
    for _ in range(ROUNDS + 2):
        ours.append(seconds(argv, home))
        bare.append(seconds(BARE))
        if between:
            between()
    return statistics.median(ours[2:]) / statistics.median(bare[2:])
