"""One trivial job: validated, run end to end, listed among ten thousand, and its log's way to the terminal."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.measure import MLCLI, ratio_to_bare

HELLO = str(Path(__file__).parents[1] / "examples" / "jobs" / "hello-world.yml")
LISTED_RUNS = 10_000
LINES = 60
LINE_GAP_S = 0.03
JOBS_OF_ONE_LINE = 200


def run() -> list[tuple[str, float, float]]:
    """Ratios to `python -c pass`, and the delay of a log line in milliseconds."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        return [
            (
                "job validate -f hello-world.yml, x python -c pass",
                ratio_to_bare([MLCLI, "job", "validate", "-f", HELLO]),
                20,
            ),
            (
                "job create -f hello-world.yml --stream, end to end, x python -c pass",
                ratio_to_bare([MLCLI, "job", "create", "-f", HELLO, "--stream"], home),
                25,
            ),
            ("job list among 10,000 runs, x python -c pass", _list_ratio(home / "many"), 20),
            ("log line to terminal, median ms", _line_delay_ms(home), 50),
            (f"lines lost by {JOBS_OF_ONE_LINE} jobs of one line", _lines_lost(home), 0),
        ]


def _list_ratio(home: Path) -> float:
    from mlcli.domain.run import Event, Run
    from mlcli.domain.state import Reason
    from mlcli.stores.runs import FolderRunStore

    store = FolderRunStore(home / "workspaces" / "default")
    for number in range(LISTED_RUNS):
        name = f"run_{number:05d}"
        store.create(Run(name, "bench", "local", "local", created_at=1e9 + number), {})
        store.append(name, Event(Reason.COMPLETED, 1e9 + number + 1, "", 0))
    return ratio_to_bare([MLCLI, "job", "list"], home)


def _line_delay_ms(home: Path) -> float:
    """The job prints the time at which it prints; we read the time at which it arrives."""
    script = f"import time\nfor _ in range({LINES}):\n    print(time.time(), flush=True); time.sleep({LINE_GAP_S})"
    job = home / "clock.yml"
    job.write_text(
        f"command: |\n  {sys.executable} -c '\n  "
        + script.replace("\n", "\n  ")
        + "\n  '\nenvironment: current\ncompute: local\n"
    )
    process = subprocess.Popen(
        [MLCLI, "job", "create", "-f", job, "--stream", "-o", "none"],
        stdout=subprocess.PIPE,
        env={**os.environ, "MLCLI_HOME": str(home)},
    )
    assert process.stdout is not None
    delays = [time.time() - float(line) for line in process.stdout]
    assert process.wait() == 0
    assert len(delays) == LINES
    # The first lines were printed before the stream began: they say how long the start took, not the line.
    return statistics.median(delays[10:]) * 1000


def _lines_lost(home: Path) -> float:
    lost = 0
    for _ in range(JOBS_OF_ONE_LINE):
        done = subprocess.run(
            [MLCLI, "job", "create", "-f", HELLO, "--stream", "-o", "none"],
            capture_output=True,
            env={**os.environ, "MLCLI_HOME": str(home)},
            check=True,
        )
        lost += done.stdout.count(b"\n") != 1
    return float(lost)
