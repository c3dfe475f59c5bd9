"""Files of JSON lines: appended to whole or not at all, read past whatever is damaged."""

from __future__ import annotations

import json
import os
from typing import Any, Iterable, Iterator

BLOCK = 1 << 16


class Lines:
    """A file that this process alone appends to. It is opened for each append: a sweep may have thousands of runs."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._whole = False  # whether its last line is known to be whole

    def append(self, values: Iterable[Any]) -> None:
        """One write for all of them. Raises OSError, the file is then as it was."""
        data = b"".join(json.dumps(value).encode() + b"\n" for value in values)
        if not data:
            return
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            size = os.fstat(file).st_size
            if not self._whole and size and os.pread(file, 1, size - 1) != b"\n":
                data = b"\n" + data
            _write(file, data, size)
            self._whole = True
        finally:
            os.close(file)

    def size(self) -> int:
        """In bytes; 0 where there is no file."""
        try:
            return os.stat(self.path).st_size
        except FileNotFoundError:
            return 0

    def values(self) -> Iterator[Any]:
        """Every value of a whole line."""
        for _, lines in blocks(self.path, 0):
            yield from decoded(lines)


def _write(file: int, data: bytes, size: int) -> None:
    try:
        rest = data
        while rest:
            rest = rest[os.write(file, rest) :]
    except OSError:
        os.ftruncate(file, size)
        raise


def blocks(path: str, offset: int) -> Iterator[tuple[int, list[bytes]]]:
    """Whole lines from an offset on, some thousands at a time, each time with the offset where they begin."""
    try:
        file = open(path, "rb", buffering=0)
    except FileNotFoundError:
        return
    with file:
        file.seek(offset)
        rest = b""
        while True:
            data = file.read(BLOCK)
            if not data:
                return
            lines = (rest + data).split(b"\n")
            rest = lines.pop()
            yield offset, lines
            offset = file.tell() - len(rest)


def decoded(lines: list[bytes]) -> list[Any]:
    """The values of those lines that hold one."""
    try:
        found: list[Any] = json.loads(b"[" + b",".join(lines) + b"]")  # twice as fast as one by one
        if len(found) == len(lines):
            return found
    except ValueError:
        pass
    return [value for line in lines for value in _decoded(line)]


def _decoded(line: bytes) -> list[Any]:
    try:
        return [json.loads(line)]
    except ValueError:
        return []


def replace(path: str, value: Any) -> None:
    """Write a file of one JSON value so that it is there whole or not at all."""
    temporary = f"{path}.{os.getpid()}"
    try:
        with open(temporary, "wb") as file:
            file.write(json.dumps(value).encode() + b"\n")
        os.replace(temporary, path)
    except OSError:
        remove(temporary)
        raise


def remove(path: str) -> None:
    """Whether it is there or not."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def record(path: str) -> Any:
    """The JSON value of a file; None where there is none, or it is damaged."""
    try:
        with open(path, "rb") as file:
            return json.loads(file.read())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
