"""What a run folder tells of the run's container: which it is, where, and how far it has come."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlcli import agent
from mlcli.backends import _launcher

RECORD = f"{_launcher.FOLDER}/container.json"


@dataclass(frozen=True)
class Place:
    """A container that may be there: its name, and the address of its engine."""

    name: str
    url: str

    def __str__(self) -> str:
        return f"{self.name}@{self.url}"


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """The right to start the run, or to see to it that it never starts."""
    from fcntl import LOCK_EX, flock

    lock = os.open(folder / agent.LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        with suppress(OSError):  # a file system without locks: the container's name still keeps the job single
            flock(lock, LOCK_EX)
        yield
    finally:
        os.close(lock)


def has(folder: Path, name: str) -> bool:
    """Whether the run folder holds that file."""
    return (folder / name).exists()


def is_begun(folder: Path) -> bool:
    """Whether the command was started, or never will be."""
    return has(folder, agent.AGENT) or has(folder, agent.EXIT)


def read_record(file: Path) -> dict[str, Any] | None:
    """A record of ours; None when it is not there, or is damaged."""
    try:
        value = agent.decode(file.read_bytes())
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def whole(record: Any, folder: Path) -> Any:
    """A shell without ``date`` leaves the time out: the record's own file has it."""
    if isinstance(record, dict) and record.get("ended_at") is None:
        return {**record, "ended_at": (folder / agent.EXIT).stat().st_mtime}
    return record


def known_place(folder: Path) -> Place | None:
    """The container that was, or was about to be, created for the run, unless it is removed."""
    record = read_record(folder / RECORD)
    return Place(record["name"], record["engine"]) if record else None


def forget_secrets(folder: Path) -> None:
    """Remove the files that may hold secrets, when nobody will read them any more."""
    for name in (agent.LAUNCH, _launcher.PLAIN):
        (folder / name).unlink(missing_ok=True)


def remove_launcher(folder: Path) -> None:
    """Remove everything that was there for the container alone."""
    forget_secrets(folder)
    shutil.rmtree(folder / _launcher.FOLDER, ignore_errors=True)


def is_locked(folder: Path) -> bool:
    """Whether somebody is starting the run, or cancelling it, now."""
    from fcntl import LOCK_NB, LOCK_SH, flock

    with suppress(FileNotFoundError), (folder / agent.LOCK).open("rb") as lock:
        try:
            flock(lock, LOCK_SH | LOCK_NB)
        except OSError:
            return True
    return False
