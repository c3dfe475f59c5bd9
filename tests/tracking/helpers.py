"""A run whose files lie in a folder of the test's own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class FolderRun:
    """What readers are given, straight from a folder."""

    folder: Path
    name: str = "calm_harbor"
    variables: Mapping[str, str] = field(default_factory=dict)

    def local(self, path: str) -> Path | None:
        file = self.folder / path
        return file if file.is_file() else None

    def below(self, folder: str) -> Mapping[str, int]:
        root = self.folder / folder
        files = (file for file in root.rglob("*") if file.is_file())
        return {file.relative_to(root).as_posix(): file.stat().st_size for file in files}

    def write(self, path: str, text: str | bytes) -> Path:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return file


def lines(*records: Any) -> str:
    """A line a record, as the endpoint writes them."""
    return "".join(json.dumps(record) + "\n" for record in records)
