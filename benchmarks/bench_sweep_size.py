"""Sweeps with a long past: what listing costs, and how much memory a supervisor takes.

One real trial is made; the others are its copies, written into the sweep's journal and as run folders.
"""

from __future__ import annotations

import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.measure import MLCLI

MOST = 1_000
"""As many trials as a sweep may have."""
FINISHED = 10_000
MORE = 20
ROUNDS = 9


def run() -> list[tuple[str, float, float]]:
    """Milliseconds, megabytes."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        for name, algorithm, trials in (
            ("one", "random", MOST),
            ("r", "random", FINISHED),
            ("b", "bayesian", FINISHED),
        ):
            _mlcli(home, "job", "create", "-f", str(_sweep(home, algorithm)), "-n", name, "--stream")
            _copy(home / "workspaces" / "default" / "runs", name, trials)
        _mlcli(home, "workspace", "reindex")
        return [
            (
                f"sweep trials of {MOST:,}, the whole command's processor time, ms",
                _ms(home, "sweep", "trials", "-n", "one"),
                300,
            ),
            (
                f"job list -p of a sweep of {FINISHED:,}, the whole command's processor time, ms",
                _ms(home, "job", "list", "-p", "r"),
                300,
            ),
            (f"peak memory of a supervisor after {FINISHED:,} trials, random, MB", _peak_mb(home, "r"), 120),
            (f"peak memory of a supervisor after {FINISHED:,} trials, TPE, MB", _peak_mb(home, "b"), 120),
        ]


def _sweep(home: Path, algorithm: str) -> Path:
    file = home / f"{algorithm}.json"
    number = {"type": "uniform", "min_value": 0, "max_value": 1}
    command = (
        f'{sys.executable} -c \'import time; time.sleep(0.1); print("metric: loss=", ${{{{search_space.a}}}}, sep="")\''
    )
    document = {
        "type": "sweep",
        "trial": {"command": command, "environment": "current"},
        "search_space": {"a": number, "b": number, "c": number, "d": number},
        "sampling_algorithm": {"type": algorithm, "seed": 1},
        "objective": {"primary_metric": "loss", "goal": "minimize"},
        "limits": {"max_total_trials": 1, "max_concurrent_trials": 2},
    }
    file.write_text(json.dumps(document))
    return file


def _copy(runs: Path, sweep: str, trials: int) -> None:
    """Copies of the one trial, up to so many, each with values and a metric of its own."""
    journal, source = runs / sweep / "trials.jsonl", random.Random(1)
    asked, ended = (json.loads(line) for line in journal.read_text().splitlines())
    record = json.loads((runs / f"{sweep}_0" / "run.json").read_text())
    events = (runs / f"{sweep}_0" / "events.jsonl").read_bytes()
    with journal.open("a") as file:
        for number in range(1, trials):
            own: dict[str, Any] = {"number": number, "run": f"{sweep}_{number}"}
            values = {name: source.random() for name in asked["values"]}
            file.write(json.dumps({**asked, **own, "values": values}) + "\n")
            file.write(json.dumps({**ended, **own, "metrics": [source.random()]}) + "\n")
            folder = runs / f"{sweep}_{number}"
            folder.mkdir()
            (folder / "run.json").write_text(json.dumps({**record, "name": folder.name}))
            (folder / "events.jsonl").write_bytes(events)


def _ms(home: Path, *arguments: str) -> float:
    """Processor time, the median of several rounds: both commands wait for nothing."""
    environment = {**os.environ, "MLCLI_HOME": str(home)}
    taken = []
    for _ in range(ROUNDS):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([MLCLI, *arguments, "-o", "json"], check=True, env=environment, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        taken.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    return statistics.median(taken) * 1000


def _peak_mb(home: Path, sweep: str) -> float:
    """Of the process that takes the sweep further. A sweep of that many trials cannot be asked for, so its record is edited."""
    folder = home / "workspaces" / "default" / "runs" / sweep
    record = json.loads((folder / "sweep.json").read_text())
    record["search"]["limits"]["max_total_trials"] = FINISHED + MORE
    (folder / "sweep.json").write_text(json.dumps(record))
    _mlcli(home, "job", "resume", "-n", sweep, "--set", "limits.timeout=3600")
    peak, deadline = 0.0, time.monotonic() + 300
    while time.monotonic() < deadline:
        with suppress(OSError, ValueError, StopIteration):
            who = json.loads((folder / "supervisor.json").read_text())["pid"]
            status = Path(f"/proc/{who}/status").read_text()
            peak = max(peak, float(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]))
        if (folder / "trials.jsonl").read_bytes().count(b'"ended"') >= FINISHED + MORE:
            _mlcli(home, "job", "wait", "-n", sweep)
            return peak * 1024 / 1e6
        time.sleep(0.02)
    raise TimeoutError(f"{sweep} did not end")


def _mlcli(home: Path, *arguments: str) -> None:
    environment = {**os.environ, "MLCLI_HOME": str(home)}
    subprocess.run([MLCLI, *arguments, "-o", "none"], check=True, env=environment, capture_output=True, cwd=home)
