"""The agent: what it adds to a command, what it costs while one runs, and how much output it can take."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.measure import BARE, ROUNDS, seconds
from mlcli import agent

FOLDER = str(Path(agent.__file__).parent)
OUTPUT_MB = 100
PRINTING = (
    f"import sys; block = b'0123456789abcde\\n' * 65536\nfor _ in range({OUTPUT_MB}): sys.stdout.buffer.write(block)"
)
QUIET_S = 2.0


def run() -> list[tuple[str, float, float]]:
    """Ratios, megabytes, milliseconds and counts, each with its limit."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        start, whole = _ratios(folder)
        resident_mb, wake_ups, cpu_ms = _waiting(folder)
        output_s = _output(folder)
    return [
        ("agent observe, x python -I -S -c pass", start, 1.6),
        ("`true` from start to exit record, x python -c pass", whole, 2.5),
        ("a waiting agent's memory, MB", resident_mb, 20.0),
        (f"a waiting agent's wake-ups in {QUIET_S:g} s", wake_ups, 0.0),
        (f"a waiting agent's CPU time in {QUIET_S:g} s, ms", cpu_ms, 0.0),
        ("100 MB of output through a job, s", output_s, 1.0),
        ("looking for what a command left behind, ms", _scan_ms(), 10.0),
    ]


def _launch(folder: Path, argv: list[str]) -> None:
    (folder / "user_logs").mkdir(parents=True)
    environment: dict[str, Any] = {"defaults": {}, "set": {}, "unset": [], "prepend_path": [], "append_path": []}
    record = {
        "version": agent.VERSION,
        "argv": argv,
        "command": None,
        "working_directory": str(folder),
        "log": "user_logs/std_log.txt",
        "timeout_s": None,
        "grace_s": 1.0,
        "environment": environment,
    }
    (folder / agent.LAUNCH).write_text(json.dumps(record))


def _job(folder: Path, argv: list[str]) -> float:
    """Seconds from the start's command line to the exit record."""
    _launch(folder, argv)
    begin = time.perf_counter()
    subprocess.run(agent.invocation(sys.executable, FOLDER, "start", str(folder)), check=True, capture_output=True)
    while not (folder / agent.EXIT).exists():
        time.sleep(0.0002)
    return time.perf_counter() - begin


def _ratios(folder: Path) -> tuple[float, float]:
    bare, isolated, looks, jobs = [], [], [], []
    observe = agent.invocation(sys.executable, FOLDER, "observe", str(folder / "nobody"))
    for number in range(ROUNDS + 2):
        bare.append(seconds(BARE))
        isolated.append(seconds([sys.executable, "-I", "-S", "-c", "pass"]))
        looks.append(seconds(observe))
        jobs.append(_job(folder / f"true-{number}", ["true"]))
    middle = [statistics.median(times[2:]) for times in (bare, isolated, looks, jobs)]
    return middle[2] / middle[1], middle[3] / middle[0]


def _waiting(folder: Path) -> tuple[float, float, float]:
    """Megabytes resident, voluntary context switches and milliseconds of CPU of an agent whose command sleeps."""
    place = folder / "waiting"
    _launch(place, ["sleep", "1000"])
    subprocess.run(agent.invocation(sys.executable, FOLDER, "start", str(place)), check=True, capture_output=True)
    pid = json.loads((place / agent.AGENT).read_bytes())["pid"]
    time.sleep(0.5)
    before = _status(pid), _cpu_ticks(pid)
    time.sleep(QUIET_S)
    after = _status(pid), _cpu_ticks(pid)
    subprocess.run(agent.invocation(sys.executable, FOLDER, "cancel", str(place)), check=True, capture_output=True)
    ticks_ms = 1000.0 / os.sysconf("SC_CLK_TCK")
    wake_ups = after[0]["voluntary_ctxt_switches"] - before[0]["voluntary_ctxt_switches"]
    return after[0]["VmRSS"] / 1024, wake_ups, (after[1] - before[1]) * ticks_ms


def _status(pid: int) -> dict[str, int]:
    lines = [line.split() for line in Path(f"/proc/{pid}/status").read_text().splitlines()]
    return {line[0].rstrip(":"): int(line[1]) for line in lines if len(line) > 1 and line[1].isdigit()}


def _cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def _output(folder: Path) -> float:
    """Seconds from the start of a job that prints 100 MB to its end, Python's own start included."""
    times = []
    for number in range(5):
        times.append(_job(folder / f"output-{number}", [sys.executable, "-c", PRINTING]))
        captured = folder / f"output-{number}" / "user_logs" / "std_log.txt"
        if captured.stat().st_size != OUTPUT_MB * 2**20:
            raise AssertionError("output was lost")
        captured.unlink()
    return statistics.median(times)


def _scan_ms() -> float:
    """What the end of every job costs: one look at the machine's processes."""
    mine = agent._Run(agent.identity(), "no such cookie", held=False)  # noqa: SLF001
    times = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        mine.processes()
        times.append(time.perf_counter() - begin)
    return statistics.median(times) * 1000
