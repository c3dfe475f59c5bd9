"""Small JSON files of ours, each a map: read as nothing when they are gone or damaged, written whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Stamp = tuple[int, int]


def read_record(file: Path) -> dict[str, Any] | None:
    """The map in a file; None when there is no such file, or none that can be read."""
    try:
        value = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def write_record(file: Path, value: Mapping[str, Any]) -> None:
    """By temporary file, fsync and rename: a reader sees the old or the new, after a power cut too. Raises OSError."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with temporary.open("w", encoding="utf-8") as handle:
            json.dump(value, handle, indent=1)
            handle.flush()
            os.fsync(handle.fileno())
        temporary.replace(file)
    except BaseException:
        temporary.unlink(missing_ok=True)  # it may be what fills the disk
        raise


def stamp(file: Path) -> Stamp | None:
    """What changes whenever the file is replaced; None when it is not there."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns
