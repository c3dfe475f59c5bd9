"""A copy of this process that goes on by itself: what has been imported already is not imported again."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

_THREADS = "/proc/self/task"


def can_fork() -> bool:
    """Whether a copy would be whole: threads, also those of libraries written in C, are not copied."""
    try:
        return len(os.listdir(_THREADS)) == 1  # noqa: PTH208
    except OSError:  # not Linux: libraries of other systems may not survive it
        return False


def forked(act: Callable[[], None], *, log: Path, folder: Path) -> int:
    """Have a copy of this process do it, in a session of its own and in that folder; the copy's pid.

    What it has to say goes to the log. It keeps nothing open that a new program would not have been given either.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _redirect(log)
        os.chdir(folder)
        gc.freeze()  # what the copy shares with us stays shared
        act()
        os._exit(0)
    except BaseException:  # noqa: BLE001
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(1)


def _redirect(log: Path) -> None:
    """Nothing to read, the log to write to; and files that whoever started us has left open are theirs alone."""
    null = os.open(os.devnull, os.O_RDONLY)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream, file in enumerate((null, output, output)):
        os.dup2(file, stream)
    os.close(null)
    os.close(output)
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
        file = int(name)
        try:
            if file > 2 and os.get_inheritable(file):
                os.close(file)
        except OSError:  # that of the listing itself
            continue
