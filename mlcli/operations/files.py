"""The disk, as the pure ``spec`` room sees it."""

from __future__ import annotations

from pathlib import Path


class DiskFiles:
    """A :class:`~mlcli.ports.files.FileReader` over this machine's files."""

    def read_text(self, path: Path) -> str:
        """The file's text (UTF-8)."""
        return path.read_text(encoding="utf-8")

    def is_file(self, path: Path) -> bool:
        """Whether a file is there."""
        return path.is_file()

    def is_dir(self, path: Path) -> bool:
        """Whether a folder is there."""
        return path.is_dir()
