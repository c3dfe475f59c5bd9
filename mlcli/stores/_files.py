"""Files as the stores write them: private, whole or not at all, and removed without ever leaving the folder given."""

from __future__ import annotations

import json
import os
import stat
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    AnyPath = str | Path  # a text where a thousand are made: pathlib takes longer than the file


def free_name() -> str:
    """A name that nobody else uses, for what is not to be seen yet or any more."""
    return f"{os.getpid()}-{os.urandom(8).hex()}"


def read_json(path: AnyPath) -> Any:
    """A JSON file's value; None when there is no such file. Raises ValueError (not JSON, not UTF-8) and OSError."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            return json.loads(file.read())
    except (FileNotFoundError, NotADirectoryError):
        return None


def write_json(path: AnyPath, value: Any) -> None:
    """A new JSON file that only its owner can read. Raises OSError, TypeError for a value that JSON has not."""
    data = json.dumps(value).encode()  # indentation would take ten times as long
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        _write_all(descriptor, data)
    finally:
        os.close(descriptor)


def replace_json(path: AnyPath, value: Any) -> None:
    """The same, replacing the file at once; readers see the old or the new. Survives kill -9, not a power cut."""
    folder, name = os.path.split(path)
    fresh = f"{folder}/.{name}.{free_name()}"
    try:
        write_json(fresh, value)
        os.replace(fresh, path)  # noqa: PTH105
    except BaseException:
        with suppress(OSError):
            os.unlink(fresh)  # noqa: PTH108
        raise


def append_line(path: AnyPath, line: bytes) -> int:
    """Append one line in one write; the size before. A line torn before it is closed first; a failed write is cut off."""
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        size = os.fstat(descriptor).st_size
        torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        try:
            _write_all(descriptor, (b"\n" if torn else b"") + line + b"\n")
        except BaseException:
            os.ftruncate(descriptor, size)
            raise
        return size
    finally:
        os.close(descriptor)


def cut(path: AnyPath, size: int) -> None:
    """Take a file back to the size it had."""
    os.truncate(path, size)


def remove_tree(path: Path) -> int:
    """Remove a folder and all in it, folders that nobody may write included; the bytes of its files.

    A symbolic link is removed, never followed.
    """
    import shutil

    if path.is_symlink() or not path.is_dir():
        size = path.lstat().st_size if os.path.lexists(path) else 0
        path.unlink(missing_ok=True)
        return size
    size = _open_up(path)
    shutil.rmtree(path, ignore_errors=True)
    if os.path.lexists(path):
        shutil.rmtree(path)
    return size


def sweep(folder: Path, older_than_s: float = 0.0) -> None:
    """Remove what killed processes left in a folder of things that are not to be seen."""
    with suppress(FileNotFoundError):
        for entry in list(os.scandir(folder)):
            with suppress(OSError):
                if time.time() - entry.stat(follow_symlinks=False).st_ctime >= older_than_s:
                    remove_tree(folder / entry.name)


def _open_up(folder: Path) -> int:
    """Make every folder below writable for its owner, and add up the files' bytes."""
    size = 0
    with suppress(OSError):
        if folder.lstat().st_mode & stat.S_IRWXU != stat.S_IRWXU:
            folder.chmod(0o700)
        for entry in list(os.scandir(folder)):
            if entry.is_dir(follow_symlinks=False):
                size += _open_up(folder / entry.name)
            else:
                size += entry.stat(follow_symlinks=False).st_size
    return size


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
