"""One builder at a time, over processes and machines that share a file system."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mlcli.domain.errors import StoreError

_POLL_S = 0.1


@contextmanager
def exclusive(path: Path, waiting: Callable[[], None]) -> Iterator[int]:
    """Hold ``path`` as a lock; ``waiting`` is called every tenth of a second while another process holds it.

    Yields the lock's file descriptor. A child process that inherits it keeps the lock after its parent was killed, so
    that nobody touches what the child still writes; the kernel frees the lock with the last process that had it. Who
    holds it may remove the file.
    Raises StoreError when the file system refuses.
    """
    import fcntl

    lock = _taken(path, waiting)
    try:
        try:
            yield lock
        finally:
            fcntl.flock(lock, fcntl.LOCK_UN)  # closing alone would leave it with any process that a build left running
    finally:
        os.close(lock)


def _taken(path: Path, waiting: Callable[[], None]) -> int:
    """The descriptor of the file that is at ``path`` now, locked: one that was removed while we waited locks nobody out."""
    while True:
        lock = _opened(path)
        try:
            _wait_for(lock, path, waiting)
            if _is_at(path, lock):
                return lock
        except BaseException:
            os.close(lock)
            raise
        os.close(lock)


def _opened(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as refused:
        raise StoreError(
            f"cannot write {path}: {refused.strerror}", hint="the workspace must be on a disk that can be written"
        ) from refused


def _wait_for(lock: int, path: Path, waiting: Callable[[], None]) -> None:
    import fcntl

    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            waiting()
            time.sleep(_POLL_S)
        except OSError as refused:
            raise StoreError(
                f"cannot lock {path}: {refused.strerror}",
                hint="put the workspace on a file system that can lock files",
            ) from refused


def _is_at(path: Path, lock: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(lock))
    except FileNotFoundError:
        return False
