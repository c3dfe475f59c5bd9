"""Files of one record a line that only grow: read in blocks of whole lines, from an offset."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

BLOCK = 4 << 20


def blocks(path: Path, offset: int) -> Iterator[bytes]:
    """The whole lines from ``offset`` to the end, some megabytes at a time, each block ending with a line break. What
    stands behind the last line break is not a line yet.
    """
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123  (a thousand runs)
        if offset:
            file.seek(offset)
        rest = b""
        while data := file.read(BLOCK):
            whole, line_break, tail = data.rpartition(b"\n")
            if line_break:
                yield b"".join((rest, whole, line_break))
                rest = tail
            else:
                rest += data
