"""Start-up: what every command line pays before it does anything."""

from __future__ import annotations

import compileall
from pathlib import Path

import mlcli
from benchmarks.measure import MLCLI, ratio_to_bare


def run() -> list[tuple[str, float, float]]:
    """Ratios to `python -c pass`, our bytecode compiled as an installer leaves it."""
    compileall.compile_dir(str(Path(mlcli.__file__).parent), quiet=2)
    return [
        ("mlcli --version, x python -c pass", ratio_to_bare([MLCLI, "--version"]), 4),
        ("mlcli --help, x python -c pass", ratio_to_bare([MLCLI, "--help"]), 8),
        ("mlcli job create --help, x python -c pass", ratio_to_bare([MLCLI, "job", "create", "--help"]), 8),
    ]
