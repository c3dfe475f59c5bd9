"""Folders of engines that one test starts and throws away; nothing of them survives the test, nor a killed test for long.

Everything that belongs to such an engine bears its folder's path or name: the arguments of its processes, its control group, its
network namespaces, its mounts. So :func:`clean` finds all of it, also for a session that was killed before it could.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from mlcli.agent import identity, is_alive

PREFIX = "mlcli-test-"
_CGROUPS = Path("/sys/fs/cgroup")
_NAMESPACES = Path("/run/netns")


@contextlib.contextmanager
def disposable_folder() -> Iterator[Path]:
    """A folder with a short path (sockets live there), gone afterwards with all that :func:`clean` finds."""
    folder = Path(tempfile.gettempdir()) / f"{PREFIX}{secrets.token_hex(4)}"
    folder.mkdir(mode=0o700)
    (folder / "owner.json").write_text(json.dumps(identity()), "utf-8")
    try:
        yield folder
    finally:
        clean(folder)


def sweep() -> None:
    """Clean up after sessions that were killed."""
    for owner in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/owner.json"):
        with contextlib.suppress(OSError, ValueError):
            if owner.stat().st_uid == os.geteuid() and not is_alive(json.loads(owner.read_text("utf-8"))):
                clean(owner.parent)


def clean(folder: Path) -> None:
    """End the processes that name this folder and their children, remove its namespaces and mounts, then the folder."""
    end(processes_naming(folder))
    for group in _control_groups(folder.name):
        end([int(pid) for members in group.rglob("cgroup.procs") for pid in members.read_text().split()])
    for namespace in _NAMESPACES.glob(f"{folder.name}*"):
        end(processes_in(namespace.name))
        subprocess.run(["ip", "netns", "delete", namespace.name], capture_output=True, check=False)
    unmount_below(folder)
    for group in _control_groups(folder.name):
        for child in sorted(group.rglob("*/"), reverse=True):
            _remove_group(child)
        _remove_group(group)
    shutil.rmtree(folder, ignore_errors=True)


def end(pids: list[int], *, with_signal: int = signal.SIGKILL, patience_s: float = 10.0) -> bool:
    """Signal these processes, and wait. Returns whether all have ended."""
    deadline = time.monotonic() + patience_s
    handles = []
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            handles.append((pid, os.pidfd_open(pid)))
    for _, handle in handles:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, with_signal)
    ended = True
    for pid, handle in handles:
        ready, _, _ = select.select([handle], [], [], max(0.0, deadline - time.monotonic()))
        ended = ended and bool(ready)
        os.close(handle)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
    return ended


def processes_naming(folder: Path) -> list[int]:
    """The processes with ``folder`` in their arguments, and all that descend from them; never this one."""
    words: dict[int, bytes] = {}
    parents: dict[int, int] = {}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words[int(process.name)] = (process / "cmdline").read_bytes()
            parents[int(process.name)] = int(
                (process / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()[1]
            )
    found = {pid for pid, arguments in words.items() if os.fsencode(folder) in arguments} - {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return sorted(found - {os.getpid()})


def processes_in(namespace: str) -> list[int]:
    """The processes in a network namespace."""
    listed = subprocess.run(["ip", "netns", "pids", namespace], capture_output=True, text=True, check=False)
    return [int(pid) for pid in listed.stdout.split()]


def _control_groups(name: str) -> list[Path]:
    """The control group of this name: one with version 2, one for each controller with version 1."""
    return [group for group in (_CGROUPS / name, *_CGROUPS.glob(f"*/{name}")) if group.is_dir()]


def _remove_group(group: Path) -> None:
    with contextlib.suppress(OSError):
        group.rmdir()


def unmount_below(folder: Path) -> None:
    """Remove what an engine or a test has mounted in this folder, or on it."""
    lines = Path("/proc/self/mountinfo").read_text("utf-8").splitlines()
    points = sorted(line.split()[4] for line in lines)
    for point in reversed(points):
        if Path(point).is_relative_to(folder):
            subprocess.run(["umount", "--lazy", point], capture_output=True, check=False)
