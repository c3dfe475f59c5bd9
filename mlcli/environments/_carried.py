"""What pip lines name on this machine's disk, carried into a place where that disk is not: an image's build."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from mlcli.environments._pip_lines import flat, local_path


def carried(lines: Iterable[str], folder: str) -> tuple[tuple[str, ...], dict[str, Path]]:
    """The lines as they read there, and what is to be copied: name below ``folder`` -> file or folder here.

    Requirements files are read in; editable projects are installed as they are. Raises UnsupportedError for a file
    that cannot be read.
    """
    rewritten: list[str] = []
    files: dict[str, Path] = {}
    for line in flat(lines):
        path = local_path(line)
        if path is None:
            rewritten.append(line)
            continue
        name = f"files/{len(files)}/{Path(path).name}"
        files[name] = Path(path).expanduser()
        there = line.replace(path, f"{folder}/{name}")
        rewritten.append(re.sub(r"^(-e|--editable)[\s=]*", "", there))
    return tuple(rewritten), files
