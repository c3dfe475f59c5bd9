"""Tracking: what a metric costs a job that logs with MLflow, what the endpoint costs, and what it costs a job that never logs."""

from __future__ import annotations

import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlcli import agent

FOLDER = str(Path(agent.__file__).parent)
ROUNDS = 15
POINTS = 1_000_000
BATCH = 1000
TRACKING = {"run_id": "calm_otter_1", "run_name": "calm_otter_1", "experiment": "bench"}
# Medians of log_metric in ms: of 300 after 20 to warm up.
CLIENT = """
import statistics, time, mlflow
times = []
with mlflow.start_run():
    for step in range(320):
        begin = time.perf_counter()
        mlflow.log_metric("loss", step / 7, step=step)
        times.append(time.perf_counter() - begin)
print("median", statistics.median(times[20:]) * 1000)
"""
MANY = f"""
import http.client, json, os, time
client = http.client.HTTPConnection(os.environ["MLFLOW_TRACKING_URI"][7:])
run, token = os.environ["MLFLOW_RUN_ID"], os.environ["MLFLOW_TRACKING_TOKEN"]
times = []
for start in range(0, {POINTS}, {BATCH}):
    points = [{{"key": "loss", "value": step / 7, "timestamp": 1700000000000 + step, "step": step}}
              for step in range(start, start + {BATCH})]
    body = json.dumps({{"run_id": run, "metrics": points}})
    begin = time.perf_counter()
    client.request("POST", "/api/2.0/mlflow/runs/log-batch", body, {{"Authorization": "Bearer " + token}})
    assert client.getresponse().read() == b"{{}}"
    times.append(time.perf_counter() - begin)
tenth = len(times) // 10
print("slowing", sorted(times[-tenth:])[tenth // 2] / sorted(times[:tenth])[tenth // 2])
pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
parent = os.getppid()
def about(pid):
    try: return open(f"/proc/{{pid}}/status").read()
    except OSError: return ""
resident = [int(text.split("VmRSS:")[1].split()[0]) / 1024 for text in map(about, pids)
            if f"PPid:\\t{{parent}}\\n" in text and "VmRSS" in text and f"Pid:\\t{{os.getpid()}}\\n" not in text]
print("resident", max(resident))
"""


def run() -> list[tuple[str, float, float]]:
    """Milliseconds, ratios and megabytes, each with its limit. Those of MLflow's client only where it is installed:
    MLCLI_BENCH_MLFLOW names a Python that has the whole of it.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        told = _many(folder / "many")
        found = [
            ("start of a job that never logs, x without tracking", _start_ratio(folder), 1.05),
            ("first metric of a job, ms", _first_ms(folder / "first"), 250.0),
            (f"a batch at the end of {POINTS:,} points, x one at their start", told["slowing"], 1.5),
            ("endpoint's memory, MB", told["resident"], 40.0),
        ]
        python = os.environ.get("MLCLI_BENCH_MLFLOW")
        if python:
            ours = _log_metric_ms(folder / "client", python)
            with _mlflow_server(folder / "server", python) as uri:
                theirs = _client_ms(subprocess.check_output([python, "-c", CLIENT], env=_environment(uri), text=True))
            found += [
                ("log_metric of MLflow's client, ms", ours, 3.0),
                ("... x that to `mlflow server`", ours / theirs, 0.05),
            ]
    return found


def _launch(folder: Path, argv: list[str], *, tracked: bool = True) -> None:
    (folder / "user_logs").mkdir(parents=True)
    record: dict[str, object] = {
        "version": agent.VERSION,
        "argv": argv,
        "command": None,
        "working_directory": str(folder),
        "log": "user_logs/std_log.txt",
        "timeout_s": None,
        "grace_s": 1.0,
        "environment": {"defaults": {}, "set": {}, "unset": [], "prepend_path": [], "append_path": []},
    }
    if tracked:
        record["tracking"] = TRACKING
    (folder / agent.LAUNCH).write_text(json.dumps(record))


def _job(folder: Path) -> float:
    """Seconds from the start's command line to the exit record."""
    begin = time.perf_counter()
    subprocess.run(agent.invocation(sys.executable, FOLDER, "start", str(folder)), check=True, capture_output=True)
    while not (folder / agent.EXIT).exists():
        time.sleep(0.0002)
    return time.perf_counter() - begin


def _said(folder: Path) -> str:
    if json.loads((folder / agent.EXIT).read_text())["code"] != 0:
        raise AssertionError((folder / "user_logs" / "std_log.txt").read_text())
    return (folder / "user_logs" / "std_log.txt").read_text()


def _start_ratio(folder: Path) -> float:
    with_it: list[float] = []
    without: list[float] = []
    for number in range(2 * ROUNDS):
        for times, tracked in ((with_it, True), (without, False)):
            place = folder / f"true-{tracked}-{number}"
            _launch(place, ["true"], tracked=tracked)
            times.append(_job(place))
    return statistics.median(with_it) / statistics.median(without)


def _first_ms(folder: Path) -> float:
    """A job's first metric brings the endpoint's process up."""
    code = MANY.replace(str(POINTS), "1").partition("tenth")[0] + "print('first', times[0] * 1000)"
    _launch(folder, [sys.executable, "-c", code])
    _job(folder)
    return _words(_said(folder))["first"]


def _many(folder: Path) -> dict[str, float]:
    _launch(folder, [sys.executable, "-c", MANY])
    _job(folder)
    with (folder / "metrics.jsonl").open("rb") as file:
        if sum(1 for _ in file) != POINTS:
            raise AssertionError("points were lost")
    told = _words(_said(folder))
    shutil.rmtree(folder)
    return told


def _words(text: str) -> dict[str, float]:
    pairs = (line.split() for line in text.splitlines() if len(line.split()) == 2)
    return {name: float(value) for name, value in pairs if value.replace(".", "").isdigit()}


def _log_metric_ms(folder: Path, python: str) -> float:
    _launch(folder, [python, "-c", CLIENT])
    _job(folder)
    return _client_ms(_said(folder))


def _client_ms(text: str) -> float:
    return _words(text)["median"]


def _environment(uri: str) -> dict[str, str]:
    return {**os.environ, "MLFLOW_TRACKING_URI": uri, "MLFLOW_DISABLE_TELEMETRY": "true"}


@contextmanager
def _mlflow_server(folder: Path, python: str) -> Iterator[str]:
    """MLflow's own server on SQLite, as its documentation starts it."""
    folder.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    argv = [
        python,
        "-m",
        "mlflow",
        "server",
        "--backend-store-uri",
        f"sqlite:///{folder}/mlflow.db",
        "--port",
        str(port),
    ]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(argv, cwd=folder, stdout=log, stderr=log, start_new_session=True)
    try:
        uri = f"http://127.0.0.1:{port}"
        _wait(f"{uri}/health", server)
        yield uri
    finally:
        os.killpg(server.pid, 15)
        server.wait()


def _wait(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise AssertionError("mlflow server does not answer")
