"""Reading what runs logged: one name of a million points, the latest metrics of a thousand runs, and how soon a sweep knows a
value. Times in ms.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from unittest import mock

from benchmarks.measure import MLCLI
from mlcli.domain.run import Run
from mlcli.domain.state import Reason

POINTS = 1_000_000
STOPPED = 8
# The first trial logs a good value and waits for the others; each of these logs a bad one and is stopped for it.
TRIAL = """
import glob, json, os, signal, sys, time, urllib.request
here, number = sys.argv[1], int(sys.argv[2])
def log(name, value):
    point = {"run_id": os.environ["MLFLOW_RUN_ID"], "key": name, "value": value, "timestamp": 0}
    headers = {"Authorization": "Bearer " + os.environ["MLFLOW_TRACKING_TOKEN"]}
    uri = os.environ["MLFLOW_TRACKING_URI"] + "/api/2.0/mlflow/runs/log-metric"
    urllib.request.urlopen(urllib.request.Request(uri, json.dumps(point).encode(), headers)).read()
def stopped(*_):
    open(f"{here}/{number}", "w").write(str((time.perf_counter() - logged) * 1000))
    os._exit(1)
if number == 0:
    log("score", 1)
    while len(glob.glob(here + "/*")) < %d: time.sleep(0.1)
    sys.exit()
log("begun", 1)
time.sleep(0.3)
signal.signal(signal.SIGTERM, stopped)
log("score", 0)
logged = time.perf_counter()
time.sleep(60)
"""
RUNS = 1_000
ROUNDS = 7


def run() -> list[tuple[str, float, float]]:
    """(name, milliseconds, limit) of each measurement."""
    with tempfile.TemporaryDirectory() as place:
        home = Path(place)
        root = home / "workspaces" / "default"
        write_run(root, "long", 0, points(POINTS))
        for number in range(RUNS):
            write_run(root, f"run_{number:04}", number, points(20, number))
        with mock.patch.dict(os.environ, {"MLCLI_HOME": str(home)}):
            return [*of_one_name(), *leaderboard(root), *sweep(home)]


def of_one_name() -> list[tuple[str, float, float]]:
    """Whole commands, the interpreter's start included."""
    shown = "run metrics of one name of 1,000,000 points, whole command, ms"
    return [(shown, median(lambda: command("run", "metrics", "long", "-m", "loss", "-o", "json")), 500.0)]


def leaderboard(root: Path) -> list[tuple[str, float, float]]:
    """Sorted by a metric: each time from a store that was opened anew. The runs' ends are seen by a command before."""
    command("job", "list", "-o", "none", "--all-results")

    def look() -> None:
        from mlcli.domain.filters import parse_order
        from mlcli.domain.run import RunFilter
        from mlcli.operations.leaderboard import leaderboard
        from mlcli.workspace import open_workspace

        which = RunFilter(experiment_name="bench")
        assert len(leaderboard(open_workspace(), which, (), parse_order("metrics.accuracy"))) == RUNS + 1

    return [
        ("latest metrics of 1,000 runs, the first look after their ends, ms", once(look), 300.0),
        ("latest metrics of 1,000 runs, looked at before, ms", median(look), 300.0),
        ("latest metrics of 1,000 runs, what is kept of them lost, ms", median(look, lambda: forget(root)), 600.0),
    ]


def sweep(home: Path) -> list[tuple[str, float, float]]:
    """From a trial's logging to the signal that stops it: the value is read, judged, and acted upon."""
    here = home / "stopped"
    here.mkdir()
    (home / "trial.py").write_text(TRIAL % STOPPED)
    job = {
        "type": "sweep",
        "trial": {
            "command": f"{sys.executable} {home}/trial.py {here} ${{{{search_space.x}}}}",
            "environment": "current",
        },
        "search_space": {"x": {"type": "choice", "values": list(range(STOPPED + 1))}},
        "sampling_algorithm": "grid",
        "objective": {"primary_metric": "score", "goal": "maximize"},
        "early_termination": {"type": "bandit", "slack_amount": 0.1, "evaluation_interval": 1},
        "limits": {"max_total_trials": STOPPED + 1, "max_concurrent_trials": 2},
    }
    (home / "sweep.yml").write_text(json.dumps(job))
    command("job", "create", "-f", str(home / "sweep.yml"), "--stream", "-o", "none")
    taken = [float(path.read_text()) for path in here.iterdir()]
    assert len(taken) == STOPPED, taken
    return [("from a trial's logging of a metric to the stop for its value, ms", statistics.median(taken), 100.0)]


def forget(root: Path) -> None:
    """What was kept when their ends were seen."""
    for kept in (*root.glob("runs/*/tracked.json"), *root.glob("tracked.jsonl")):
        kept.unlink()


def once(action: Callable[[], object]) -> float:
    """Milliseconds."""
    start = time.perf_counter()
    action()
    return (time.perf_counter() - start) * 1000


def points(count: int, number: int = 0) -> tuple[bytes, dict[str, object]]:
    """A metrics file of one name, and the summary that the endpoint leaves of it."""
    name = "loss" if count > 1000 else "accuracy"
    values = [math.sin(index + number) for index in range(count)]
    lines = "".join(f'["{name}", {value}, {step}, {1_700_000_000_000 + step}]\n' for step, value in enumerate(values))
    figures = {
        "last": values[-1],
        "step": count - 1,
        "time_ms": 1_700_000_000_000 + count - 1,
        "min": min(values),
        "max": max(values),
        "min_step": values.index(min(values)),
        "max_step": values.index(max(values)),
        "count": count,
    }
    return lines.encode(), {"bytes": len(lines), "metrics": {name: figures}}


def write_run(root: Path, name: str, number: int, logged: tuple[bytes, dict[str, object]]) -> None:
    """A run whose end nobody has seen yet, as a folder that no index knows, with what it logged."""
    folder = root / "runs" / name
    (folder / "user_logs").mkdir(parents=True)
    (folder / "wd" / "logs").mkdir(parents=True)
    (folder / "user_logs" / "std_log.txt").write_text("some lines\n" * 50)
    made = Run(name, "bench", "local", "local", 1e9 + number)
    static = {key: value for key, value in asdict(made).items() if key not in {"state", "reason", "message"}}
    (folder / "run.json").write_text(json.dumps(static))
    events = [json.dumps({"reason": reason.value, "time": 1e9}) for reason in (Reason.SUBMITTED, Reason.RUNNING)]
    (folder / "events.jsonl").write_text("\n".join(events) + "\n")
    ended = {"cause": "exit", "code": 0, "signal": None, "started_at": 1e9, "ended_at": 1e9, "message": ""}
    (folder / "exit.json").write_text(json.dumps(ended))
    (folder / "plan.json").write_text(json.dumps({"plan": {"environment_variables": {"A": "b" * 500}}}))
    (folder / "metrics.jsonl").write_bytes(logged[0])
    (folder / "params.jsonl").write_text('["lr", "0.1"]\n["rounds", "50"]\n')
    (folder / "summary.json").write_text(json.dumps(logged[1]))


def command(*words: str) -> None:
    """Run it, its output thrown away."""
    subprocess.run([MLCLI, *words], check=True, stdin=subprocess.DEVNULL, capture_output=True)


def median(action: Callable[[], object], before: Callable[[], object] = lambda: None) -> float:
    """Milliseconds, the median of several rounds."""
    taken = []
    for _ in range(ROUNDS):
        before()
        start = time.perf_counter()
        action()
        taken.append((time.perf_counter() - start) * 1000)
    return statistics.median(taken)
