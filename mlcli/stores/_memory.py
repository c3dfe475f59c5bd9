"""What the last snapshot of a code folder found, kept between processes. A cache: whatever is wrong with it, it is empty.

A file is a header (what wrote it, a checksum) and marshalled plain values: the quickest to read of all that Python has, and
no older or newer Python's file is ever read.
"""

from __future__ import annotations

import marshal
import os
import sys
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING

from mlcli.stores._files import free_name
from mlcli.stores._scan import Remembered

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_FORMAT = f"mlcli 1 {sys.implementation.cache_tag} {marshal.version}".encode()
_FIELDS = Remembered.__slots__


def recall(file: Path) -> tuple[str, dict[str, Remembered]]:
    """The generation of the store that the memory belongs to, and the folders by name; empty when there is none."""
    try:
        data = file.read_bytes()
        form, checksum, body = data.split(b"\n", 2)
        if form != _FORMAT or int(checksum) != zlib.crc32(body):
            return "", {}
        generation, folders = marshal.loads(body)  # noqa: S302  (our own file, checked)
    except (OSError, ValueError, EOFError, TypeError):
        return "", {}
    return generation, {name: Remembered(*values) for name, values in folders.items()}


def remember(file: Path, generation: str, folders: Mapping[str, Remembered]) -> None:
    """Keep it for the next snapshot; nothing happens where it cannot be written."""
    plain = {name: tuple(getattr(folder, field) for field in _FIELDS) for name, folder in folders.items()}
    body = marshal.dumps((generation, plain))
    fresh = file.with_name(f"{file.name}.{free_name()}")
    with suppress(OSError):
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            fresh.write_bytes(b"\n".join((_FORMAT, b"%d" % zlib.crc32(body), body)))
            os.replace(fresh, file)  # noqa: PTH105
        except OSError:
            fresh.unlink(missing_ok=True)
