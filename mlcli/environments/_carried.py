"""What pip lines name on this machine's disk, carried into a place where that disk is not: an image's build."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from mlcli.domain.errors import UnsupportedError
from mlcli.environments._definition import local_path, option_of


def carried(lines: Iterable[str], folder: str) -> tuple[tuple[str, ...], dict[str, Path]]:
    """The lines as they read there, and what is to be copied: name below ``folder`` -> file or folder here.

    Requirements files are read in; editable projects are installed as they are. Raises UnsupportedError for a file
    that cannot be read.
    """
    rewritten: list[str] = []
    files: dict[str, Path] = {}
    for line in _flat(lines):
        path = local_path(line)
        if path is None:
            rewritten.append(line)
            continue
        name = f"files/{len(files)}/{Path(path).name}"
        files[name] = Path(path).expanduser()
        there = line.replace(path, f"{folder}/{name}")
        rewritten.append(re.sub(r"^(-e|--editable)[\s=]*", "", there))
    return tuple(rewritten), files


def _flat(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        path = local_path(line)
        if path is None or option_of(line)[0] not in {"-r", "--requirement"}:
            yield line
        else:
            yield from _flat(_read(Path(path).expanduser()))


def _read(file: Path) -> Iterator[str]:
    """A requirements file's lines, continued ones joined, with paths made absolute from its folder as pip does."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as failed:
        raise UnsupportedError(
            f"the requirements file {file} cannot be read: {failed}", hint="check the path in the conda file"
        ) from failed
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        stripped = re.sub(r"(^|\s)#.*", "", line).strip()
        path = local_path(stripped) if stripped else None
        if path is not None:
            yield stripped.replace(path, str(file.parent / Path(path).expanduser()))
        elif stripped:
            yield stripped
