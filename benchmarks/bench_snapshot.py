"""How long the snapshot of 10,000 small files takes, as ratios: the first to ``cp -r``, the second to a walk of stats.

``python benchmarks/bench_snapshot.py`` prints them and exits 1 when one is over its limit.
"""

from __future__ import annotations

import gc
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from mlcli.domain.settings import Settings
from mlcli.stores.snapshots import ContentStore

FOLDERS, FILES, SIZE = 100, 100, 1024
FIRST_LIMIT, SECOND_LIMIT = 3.0, 1.5
FIRST_ROUNDS, SECOND_ROUNDS = 5, 15


def run() -> list[tuple[str, float, float]]:
    """(name, ratio, limit) of each measurement."""
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        make_tree(root / "code")
        return [
            ("first snapshot of 10,000 files / cp -r", first(root), FIRST_LIMIT),
            ("second snapshot, one file changed / stat walk", second(root), SECOND_LIMIT),
        ]


def make_tree(code: Path) -> None:
    """10,000 files of 1 KB in 100 folders, old enough for their times to be trusted."""
    for folder in range(FOLDERS):
        (code / f"package_{folder}").mkdir(parents=True)
        for file in range(FILES):
            (code / f"package_{folder}" / f"module_{file}.py").write_bytes(os.urandom(SIZE))
    time.sleep(0.2)


def first(root: Path) -> float:
    """The median, over rounds, of a snapshot into an empty store to a copy made beside it."""
    ratios = []
    for number in range(FIRST_ROUNDS):
        copy = timed(lambda: subprocess.run(["cp", "-r", root / "code", root / "copy"], check=True))
        store = ContentStore(root / f"store_{number}", Settings())
        ratios.append(timed(lambda: snapshot(store, root / "code")) / copy)  # noqa: B023  (called at once)
        shutil.rmtree(root / "copy")
        shutil.rmtree(root / f"store_{number}")
    return statistics.median(ratios)


def second(root: Path) -> float:
    """The median, over rounds, of a snapshot after one file changed to a bare walk, each by a store newly opened."""
    ContentStore(root / "store", Settings()).put(root / "code")
    ratios = []
    for number in range(SECOND_ROUNDS):
        walk = timed(lambda: stat_walk(str(root / "code")))
        (root / "code" / "package_50" / "module_50.py").write_text(f"version = {number}")
        store = ContentStore(root / "store", Settings())
        ratios.append(timed(lambda: snapshot(store, root / "code")) / walk)  # noqa: B023  (called at once)
    return statistics.median(ratios)


def snapshot(store: ContentStore, code: Path) -> None:
    """What one command does: open the store, put, let it go."""
    store.put(code)
    store.close()


def stat_walk(folder: str) -> int:
    """The least that finding a change can cost: a stat of every file."""
    count = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                count += stat_walk(entry.path)
            else:
                entry.stat(follow_symlinks=False)
                count += 1
    return count


def timed(action: Callable[[], object]) -> float:
    """Seconds that it takes, starting from a clean heap."""
    gc.collect()
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


if __name__ == "__main__":
    measured = run()
    for name, ratio, limit in measured:
        print(f"{name}: {ratio:.2f}x (limit {limit:g}x)")
    sys.exit(any(ratio > limit for _, ratio, limit in measured))
