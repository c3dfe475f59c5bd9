"""What a file or folder was like when it was registered, so that a later change of it can be told."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_MOST_FILES = 50_000
_MOST_BYTES_READ = 64_000_000


def contents(path: Path) -> dict[str, Any] | None:
    """Number of files, bytes, and two digests: ``stat`` of names, sizes and times, which costs no reading; ``content``, where
    there is little enough to read it, which a mere copy does not change. None: too many files to look at. Raises OSError.
    """
    found = []
    for file in _files(path):
        found.append(file)
        if len(found) > _MOST_FILES:
            return None
    found.sort(key=lambda file: os.fsencode(file.relative_to(path.parent)))
    stats = [file.lstat() for file in found]
    size = sum(each.st_size for each in stats)
    times = hashlib.sha256()
    for file, each in zip(found, stats, strict=True):
        times.update(os.fsencode(file.relative_to(path.parent)) + f"\0{each.st_size}\0{each.st_mtime_ns}\n".encode())
    content = _content(path, found) if size <= _MOST_BYTES_READ else None
    return {"files": len(found), "bytes": size, "stat": times.hexdigest(), "content": content}


def are_same(one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> bool:
    """Whether nothing tells them apart."""
    if one is None or other is None or one["stat"] == other["stat"]:
        return True
    return one["content"] is not None and one["content"] == other["content"]


def leaving_links(path: Path) -> Iterator[Path]:
    """Symbolic links below a folder that lead out of it, or nowhere."""
    top = path.resolve()
    for file in _files(path):
        if file.is_symlink() and file != path and not (file.exists() and file.resolve().is_relative_to(top)):
            yield file


def _files(path: Path) -> Iterator[Path]:
    """Every file below a folder, or the file itself; links are not followed."""
    if not path.is_dir():
        yield path
        return
    for folder, folders, names in os.walk(path):
        yield from (Path(folder) / name for name in names)
        yield from (Path(folder) / name for name in folders if (Path(folder) / name).is_symlink())


def _content(path: Path, files: list[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        is_link = file.is_symlink() and file != path
        data = os.fsencode(file.readlink()) if is_link else file.read_bytes()
        name = os.fsencode(file.relative_to(path)) if file != path else b""
        digest.update(name + b"\0" + hashlib.sha256(data).digest())
    return digest.hexdigest()
