"""What the index answers among 10,000 runs, in shares of the time that ``python -c pass`` takes.

``python benchmarks/bench_list.py`` prints them and exits 1 when one is over its limit.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from mlcli.domain.run import Run, RunFilter
from mlcli.domain.state import Reason, State
from mlcli.stores.runs import FolderRunStore

RUNS = 10_000
ROUNDS = 15


def run() -> list[tuple[str, float, float]]:
    """(name, ratio, limit) of each measurement; every one opens the store anew, as a command does."""
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        make_folders(root)
        bare = median(lambda: subprocess.run([sys.executable, "-c", "pass"], check=True))
        rebuilt = seconds(lambda: listed(root, RunFilter(limit=1)))
        live = frozenset({State.RUNNING, State.QUEUED})
        asked = [
            ("the newest 50", RunFilter(limit=50), 1.0),
            ("the live ones", RunFilter(states=live), 1.0),
            ("by a tag that one has", RunFilter(tags={"number": "77"}), 2.0),
            ("every one", RunFilter(include_archived=True), 20.0),
        ]
        ratios = [
            (f"list {what} of 10,000 runs, x python -c pass", median(lambda: listed(root, which)) / bare, limit)  # noqa: B023  (called at once)
            for what, which, limit in asked
        ]
        return [*ratios, ("index of 10,000 runs made from their folders, x python -c pass", rebuilt / bare, 400.0)]


def make_folders(root: Path) -> None:
    """10,000 ended runs and three live ones, as folders that no index knows."""
    store = FolderRunStore(root)
    for number in range(RUNS):
        run = Run(f"run_{number}", "bench", "local", "local", 1e9 + number, tags={"number": str(number)})
        folder = store.folder(run.name)
        folder.mkdir(parents=True)
        static = {name: value for name, value in asdict(run).items() if name not in {"state", "reason", "message"}}
        (folder / "run.json").write_text(json.dumps(static))
        reasons = [Reason.SUBMITTED, Reason.RUNNING] + ([Reason.COMPLETED] if number % 3000 else [])
        events = [json.dumps({"reason": reason.value, "time": 1e9 + number}) for reason in reasons]
        (folder / "events.jsonl").write_text("\n".join(events) + "\n")


def listed(root: Path, which: RunFilter) -> int:
    """One query by a store newly opened."""
    store = FolderRunStore(root)
    count = len(store.list(which))
    store.close()
    return count


def median(action: Callable[[], object]) -> float:
    """Seconds, the median of several rounds."""
    return statistics.median(seconds(action) for _ in range(ROUNDS))


def seconds(action: Callable[[], object]) -> float:
    """Seconds that it takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


if __name__ == "__main__":
    measured = run()
    for name, ratio, limit in measured:
        print(f"{name}: {ratio:.2f} (limit {limit:g})")
    sys.exit(any(ratio > limit for _, ratio, limit in measured))
