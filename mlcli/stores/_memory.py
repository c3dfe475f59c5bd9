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
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from mlcli.stores._files import free_name
from mlcli.stores._scan import Remembered

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_FORMAT = zlib.crc32(f"mlcli 1 {sys.implementation.cache_tag} {marshal.version}".encode())
_HEADER = struct.Struct(">IQI")
_FIELDS = Remembered.__slots__
_REWRITE_SHARE = 0.5


def recall(file: Path) -> tuple[str, dict[str, Remembered]]:
    """The generation of the store that the memory belongs to, and the folders by name; empty when there is none."""
    generation = ""
    folders: dict[str, Any] = {}
    with suppress(OSError):
        for of, some in _records(file.read_bytes()):
            if of != generation:
                generation, folders = of, {}
            folders.update(some)
    return generation, {name: Remembered(*values) for name, values in folders.items()}


def remember(file: Path, generation: str, folders: Mapping[str, Remembered], changed: Mapping[str, Remembered]) -> None:
    """Keep ``folders``, of which only ``changed`` differ from what was recalled. Nothing happens where nothing can be
    written.
    """
    with suppress(OSError):
        if len(changed) < _REWRITE_SHARE * len(folders):
            record = _record(generation, changed)
            with open(file, "r+b") as known:  # noqa: PTH123
                size, first = os.fstat(known.fileno()).st_size, _HEADER.unpack(known.read(_HEADER.size))[1]
            if size + len(record) < first * (1 + _REWRITE_SHARE):
                _append(file, record)
                return
        _write(file, _record(generation, folders))


def _records(data: bytes) -> Iterator[tuple[str, dict[str, Any]]]:
    position = 0
    with suppress(struct.error, ValueError, EOFError, TypeError):
        while position < len(data):
            form, length, checksum = _HEADER.unpack_from(data, position)
            body = memoryview(data)[position + _HEADER.size : position + _HEADER.size + length]
            if form != _FORMAT or len(body) != length or zlib.crc32(body) != checksum:
                return
            yield marshal.loads(body)  # noqa: S302  (our own file, checked)
            position += _HEADER.size + length


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
