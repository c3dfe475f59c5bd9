"""What a machine has for jobs, found out there: sent to it as text, run by its own Python, answered as one line of JSON.

Standard library only, Python >= 3.8, imports nothing of mlcli. It makes nothing that stays.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PATIENCE_S = 10.0
DOCKER = ("docker", "version", "--format", "{{.Server.Version}}")
GPUS = ("nvidia-smi", "--query-gpu=name", "--format=csv,noheader")

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def probe(folder: str) -> dict[str, Any]:
    """Facts about this machine. ``folder``: where jobs are to be kept; ``problem``: why that cannot be, or None."""
    asked = {name: ask(argv) for name, argv in (("docker", DOCKER), ("gpus", GPUS))}
    place = nearest(folder)
    facts: dict[str, Any] = {
        "python_version": ".".join(map(str, sys.version_info[:3])),
        "system": f"{os.uname().sysname} {os.uname().machine}",
        "cores": cores(),
        "memory_bytes": memory(),
        "place": place,
        "problem": refusal(place),
        "free_bytes": free(place),
    }
    answers = {name: told(process) for name, process in asked.items()}
    lines = (answers["docker"] or "").splitlines()
    return {
        **facts,
        "time": time.time(),
        "docker": lines[0] if lines else None,
        "gpus": (answers["gpus"] or "").splitlines(),
    }


def ask(argv: tuple[str, ...]) -> subprocess.Popen[bytes] | None:
    """A program under way, None when it is not there."""
    if shutil.which(argv[0]) is None:
        return None
    try:
        return subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
        )
    except OSError:
        return None


def told(process: subprocess.Popen[bytes] | None) -> str | None:
    """What it printed, None when it failed or takes too long."""
    if process is None:
        return None
    try:
        output = process.communicate(timeout=PATIENCE_S)[0]
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return None
    return output.decode("utf-8", "replace").strip() if process.returncode == 0 else None


def cores() -> int:
    """Cores that a process of this login may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory() -> int:
    """Bytes of memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def nearest(folder: str) -> str:
    """The folder, or the nearest one above it that is there."""
    place = Path(folder)
    while not os.path.lexists(place):
        place = place.parent
    return str(place)


def refusal(place: str) -> str | None:
    """Why nothing can be written in a folder, None when it can."""
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(b"x" * 4096)
    except OSError as refused:
        return refused.strerror or str(refused)
    return None


def free(place: str) -> int | None:
    """Bytes that can still be written there."""
    try:
        return shutil.disk_usage(place).free
    except OSError:
        return None


if __name__ == "__main__":
    sys.stdout.write(json.dumps(probe(sys.argv[1])))
