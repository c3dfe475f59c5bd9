"""What the last snapshots of a code folder found, kept between processes. A cache: whatever is wrong with it, it is empty.

A file is a sequence of records, each a header (what wrote it, length, checksum) and marshalled plain values, the quickest
to read of all that Python has; a record of another Python is not read. A later record puts an earlier one's folders
right, so that a snapshot after a small change writes little; when the records get many the file is written anew.
"""

from __future__ import annotations

import marshal
import os
import struct
import sys
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mlcli.stores._files import free_name
from mlcli.stores._scan import Remembered

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_FORMAT = zlib.crc32(f"mlcli 1 {sys.implementation.cache_tag} {marshal.version}".encode())
_HEADER = struct.Struct(">IQI")
_FIELDS = Remembered.__slots__
_REWRITE_SHARE = 0.5


@dataclass(frozen=True)
class Memory:
    """What is known of a code folder: its folders by name, the generation of the store that this is true of, and the
    size and share of its file that could be read.
    """

    generation: str = ""
    folders: Mapping[str, Remembered] = field(default_factory=dict)
    length: int = 0
    first: int = 0


def recall(file: Path) -> Memory:
    """What was remembered; nothing where there is none."""
    generation = ""
    folders: dict[str, Any] = {}
    length = first = 0
    with suppress(OSError):
        for end, of, some in _records(file.read_bytes()):
            if of != generation:
                generation, folders = of, {}
            folders.update(some)
            first, length = first or end, end
    return Memory(generation, {name: Remembered(*values) for name, values in folders.items()}, length, first)


def remember(file: Path, before: Memory, now: Memory, changed: Mapping[str, Remembered]) -> None:
    """Keep ``now``, of which only ``changed`` differ from ``before``. Nothing happens where nothing can be written."""
    with suppress(OSError):
        if before.generation == now.generation and len(changed) < _REWRITE_SHARE * len(now.folders):
            record = _record(now.generation, changed)
            small = before.length + len(record) < before.first * (1 + _REWRITE_SHARE)
            if small and file.stat().st_size == before.length:
                _append(file, record)
                return
        _write(file, _record(now.generation, now.folders))


def _records(data: bytes) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Where each record ends, its generation and its folders; up to the first that is torn or another Python's."""
    position = 0
    with suppress(struct.error, ValueError, EOFError, TypeError):
        while position < len(data):
            form, length, checksum = _HEADER.unpack_from(data, position)
            body = memoryview(data)[position + _HEADER.size : position + _HEADER.size + length]
            if form != _FORMAT or len(body) != length or zlib.crc32(body) != checksum:
                return
            position += _HEADER.size + length
            yield (position, *marshal.loads(body))  # noqa: S302  (our own file, checked)


def _record(generation: str, folders: Mapping[str, Remembered]) -> bytes:
    plain = {name: tuple(getattr(folder, field) for field in _FIELDS) for name, folder in folders.items()}
    body = marshal.dumps((generation, plain))
    return _HEADER.pack(_FORMAT, len(body), zlib.crc32(body)) + body


def _append(file: Path, record: bytes) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    try:
        os.write(descriptor, record)
    finally:
        os.close(descriptor)


def _write(file: Path, record: bytes) -> None:
    fresh = file.with_name(f"{file.name}.{free_name()}")
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        fresh.write_bytes(record)
        os.replace(fresh, file)  # noqa: PTH105
    except OSError:
        fresh.unlink(missing_ok=True)
