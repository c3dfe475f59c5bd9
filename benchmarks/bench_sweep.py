"""A sweep of 64 trivial trials, two at a time, from the command to its end, against spawning the same processes two at a time."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.measure import MLCLI

TRIALS = 64
AT_ONCE = 2
ROUNDS = 7


def run() -> list[tuple[str, float, float]]:
    """Medians of pairs measured side by side."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        trial = home / "trial.py"
        trial.write_text("import sys\nx = float(sys.argv[1])\nprint(f'metric: loss={(x - 0.3) ** 2}')\n")
        file = home / "sweep.yml"
        file.write_text(json.dumps(_sweep(trial)))
        pairs = [(_bare(trial), _ours(file, home)) for _ in range(ROUNDS + 1)][1:]
    return [
        (
            f"sweep of {TRIALS} trials, {AT_ONCE} at a time, x the bare processes",
            statistics.median(ours / bare for bare, ours in pairs),
            3.0,
        ),
        (
            "the same, more than the bare processes, ms a trial",
            statistics.median((ours - bare) * 1000 / TRIALS for bare, ours in pairs),
            10.0,
        ),
    ]


def _sweep(trial: Path) -> dict[str, object]:
    return {
        "type": "sweep",
        "trial": {"command": f"{sys.executable} {trial} ${{{{search_space.x}}}}", "environment": "current"},
        "search_space": {"x": {"type": "uniform", "min_value": 0, "max_value": 1}},
        "objective": {"primary_metric": "loss", "goal": "minimize"},
        "limits": {"max_total_trials": TRIALS, "max_concurrent_trials": AT_ONCE},
    }


def _bare(trial: Path) -> float:
    numbers = "\n".join(str(number / TRIALS) for number in range(TRIALS))
    before = time.perf_counter()
    spawn = ["xargs", f"-P{AT_ONCE}", "-n1", sys.executable, str(trial)]
    subprocess.run(spawn, input=numbers.encode(), stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - before


def _ours(file: Path, home: Path) -> float:
    environment = {**os.environ, "MLCLI_HOME": str(home / "mlcli")}
    before = time.perf_counter()
    command = [MLCLI, "job", "create", "-f", str(file), "--stream", "-o", "none"]
    done = subprocess.run(command, env=environment, capture_output=True, check=True)
    took = time.perf_counter() - before
    assert done.stdout.count(b"Completed") == TRIALS, done.stdout
    return took
