"""The Iris example without MLflow: it prints its metrics then, and learns in a second. With it, see tests/tracking/test_iris.py."""

from __future__ import annotations

import shutil
from pathlib import Path

IRIS = Path(__file__).parents[1] / "examples" / "jobs" / "lightgbm-iris"
_NEEDED = ("lightgbm", "numpy")


def copy_of_iris(folder: Path) -> Path:
    """A copy of the example whose environment has only what learning needs; answers ``folder``."""
    shutil.copytree(IRIS, folder, dirs_exist_ok=True)
    environment = folder / "environment.yml"
    lines = environment.read_text().splitlines(keepends=True)
    environment.write_text("".join(line for line in lines if not line.startswith("      - ") or _is_needed(line)))
    return folder


def _is_needed(line: str) -> bool:
    return line.strip(" -").startswith(_NEEDED)
