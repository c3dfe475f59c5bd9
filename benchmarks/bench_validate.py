"""Checking job files: one from cold, five hundred in one call, and azure-ai-ml beside it where it can be found.

The limits on time stand for this machine: they are held against `python -c pass`, whose time is taken in the same run.
``MLCLI_BENCH_SDK`` names a Python that has azure-ai-ml (otherwise this one is tried).
"""

from __future__ import annotations

import gc
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.measure import MLCLI, ratio_to_bare

ROOT = Path(__file__).parents[1]
HELLO = ROOT / "examples" / "jobs" / "hello-world.yml"
FILES = 500
JOB = """\
# file {number}
type: command
display_name: train {number}
experiment_name: bench
code: src
command: >-
  python train.py --data ${{{{inputs.table}}}} --rate ${{{{inputs.rate}}}} --rounds ${{{{inputs.rounds}}}}
  --model ${{{{outputs.model}}}}
inputs:
  table: {{type: uri_folder, path: azureml:table:{number}}}
  rate: 0.{number}
  rounds: {number}
outputs:
  model: {{type: uri_folder}}
environment:
  image: python:3.12-slim
compute: azureml:cpu-cluster
limits: {{timeout: 3600}}
tags: {{number: "{number}"}}
"""
SDK_SCRIPT = """
import logging, statistics, sys, time, warnings
warnings.simplefilter("ignore"); logging.disable(logging.CRITICAL)
from azure.ai.ml import load_job
taken = []
for file in sys.argv[1:]:
    start = time.perf_counter()
    load_job(file)._validate()
    taken.append(time.perf_counter() - start)
print(statistics.median(taken) * 1000)
"""


def run() -> list[tuple[str, float, float]]:
    """A ratio, milliseconds a file, megabytes; then what the SDK needs for the same files, as a ratio to ours."""
    with tempfile.TemporaryDirectory() as name:
        files = _write_jobs(Path(name))
        median_ms, whole_ms = _in_process_ms(files)
        seconds, peak_mb = _one_call(Path(name))
        rows: list[tuple[str, float, float]] = [
            (
                "job validate of one file from cold, x python -c pass",
                ratio_to_bare([MLCLI, "job", "validate", str(HELLO)]),
                20,
            ),
            (f"{FILES} files, check_file, median ms a file", median_ms, 3),
            (f"{FILES} files, check_file, mean ms a file", whole_ms, 6),
            (f"{FILES} files in one `job validate`, ms a file with everything", seconds * 1000 / FILES, 6),
            (f"{FILES} files in one `job validate`, peak memory MB", peak_mb, 80),
        ]
        sdk_ms = _sdk_ms(files)
    if sdk_ms is not None:
        rows.append(
            (f"ours over azure-ai-ml's {sdk_ms:.1f} ms a file (load_job and validation), warm", median_ms / sdk_ms, 1)
        )
    return rows


def _write_jobs(folder: Path) -> list[Path]:
    (folder / "src").mkdir()
    (folder / "src" / "train.py").write_text("pass\n")
    files = [folder / f"job-{number:03}.yml" for number in range(FILES)]
    for number, file in enumerate(files):
        file.write_text(JOB.format(number=number))
    return files


def _in_process_ms(files: list[Path]) -> tuple[float, float]:
    from mlcli.operations.files import DiskFiles
    from mlcli.spec.jobs import check_file

    taken = []
    gc.collect()
    for file in files:
        start = time.process_time()  # it waits for nothing: what others do on this machine is not its time
        _, found = check_file(file.read_bytes(), file.name, file.parent, DiskFiles())
        taken.append(time.process_time() - start)
        assert found == ()
    return statistics.median(taken) * 1000, statistics.fmean(taken) * 1000


def _one_call(folder: Path) -> tuple[float, float]:
    """Processor seconds of the command over the whole folder, and the most memory it held, in MB."""
    process = subprocess.Popen([MLCLI, "job", "validate", str(folder), "-o", "none"], stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_utime + usage.ru_stime, _megabytes(usage)


def _megabytes(usage: resource.struct_rusage) -> float:
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kilobytes elsewhere
    return usage.ru_maxrss * unit / 1e6


def _sdk_ms(files: list[Path]) -> float | None:
    """Median milliseconds a file of the official SDK; None where it is not installed."""
    python = os.environ.get("MLCLI_BENCH_SDK", sys.executable)
    done = subprocess.run(
        [python, "-c", SDK_SCRIPT, *map(str, files[:100])], capture_output=True, text=True, check=False
    )
    return float(done.stdout) if done.returncode == 0 else None
