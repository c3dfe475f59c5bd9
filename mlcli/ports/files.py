"""The eyes of the pure ``spec`` room: how it reads what a job file names without doing I/O itself."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol


class FileReader(Protocol):
    """Reads files named by a job file. Paths are absolute."""

    def read_text(self, path: Path) -> str:
        """The file's text (UTF-8). Raises OSError or UnicodeDecodeError as ``Path.read_text`` does."""
        ...

    def is_file(self, path: Path) -> bool:
        """Whether a file is there (symbolic links followed)."""
        ...

    def is_dir(self, path: Path) -> bool:
        """Whether a folder is there (symbolic links followed)."""
        ...
