"""The real file system as the pure ``spec`` room sees it, for tests."""

from __future__ import annotations

import os
from pathlib import Path


class DiskReader:
    """A FileReader over the real file system."""

    def read_text(self, path: Path) -> str:
        return path.read_text(encoding="utf-8")

    def is_file(self, path: Path) -> bool:
        return os.path.isfile(path)

    def is_dir(self, path: Path) -> bool:
        return os.path.isdir(path)
