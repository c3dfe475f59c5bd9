"""Run every ``bench_*.py`` (or those named), print value and limit, exit 1 when a limit is broken."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path


def main(names: list[str]) -> int:
    modules = names or sorted(path.stem for path in Path(__file__).parent.glob("bench_*.py"))
    broken = 0
    for module in modules:
        for name, value, limit in importlib.import_module(f"benchmarks.{module}").run():
            within = value <= limit
            broken += not within
            print(f"{'ok  ' if within else 'OVER'}  {value:8.2f}  (limit {limit:g})  {name}", flush=True)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
