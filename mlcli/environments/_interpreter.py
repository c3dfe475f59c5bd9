"""The interpreters of the machine that this runs on, and how a job gets one of them as ``python``.

It is also sent as text to machines that mlcli is not on (``main``), so it imports nothing of mlcli, and needs only
Python >= 3.8 on a POSIX system.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

CURRENT = "current"
HINT = "give the path of a Python, or 'current' for the one on PATH"
LOGIN_PATIENCE_S = 10.0
LOGIN_KEPT_S = 600.0
_STARTUP = (  # what shells read on a login; one that changes is heeded at once
    *(".profile", ".bash_profile", ".bash_login", ".bashrc", ".zshenv", ".zprofile", ".zshrc", ".zlogin"),
    *(".login", ".cshrc", ".tcshrc", ".config/fish/config.fish", "/etc/profile", "/etc/environment"),
)


class Refused(Exception):  # noqa: N818
    """``kind``: the name of the error in mlcli.domain.errors that it becomes."""

    def __init__(self, kind: str, message: str, hint: str, details: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.told = {"kind": kind, "message": message, "hint": hint, "details": list(details)}


def activation(interpreter: str | None, shims: str, log: Callable[[str], None]) -> dict[str, Any]:
    """The fields of an Activation: ``python`` is the interpreter asked for, None or ``current`` the one on PATH; a named one
    is asked for its version. ``shims``: where folders that hold a missing ``python`` are kept. Raises Refused.
    """
    if interpreter is None or interpreter == CURRENT:
        return _own(shims)
    python = located(interpreter)
    log(f"{_version(python)} at {python}")
    return _named(python, shims)


def located(interpreter: str) -> str:
    """The absolute path of an executable: a path, a name on PATH, or a virtual environment's folder.

    Raises Refused. Links are kept: a virtual environment's ``python`` is one.
    """
    path = Path(interpreter).expanduser()
    if path.is_dir():
        path = path / "bin" / "python"
    found = shutil.which(str(path))
    if found is None:
        why = "is not executable" if path.is_file() else "does not exist"
        raise Refused("UnsupportedError", f"the environment's interpreter {interpreter!r} {why}", HINT)
    return str(Path(found).absolute())


def login_folders(folder: str) -> list[str]:
    """The folders on the PATH of a login, where that is another one than this process's; none when the login shell does
    not answer. What it said is kept below ``folder``, mlcli's own, for some minutes: many a shell takes long to begin.
    """
    import json
    import pwd
    import time

    shell = os.environ.get("SHELL") or pwd.getpwuid(os.getuid()).pw_shell or "/bin/sh"
    home = os.path.expanduser("~")  # noqa: PTH111  (never raises)
    key = [shell, os.environ.get("PATH", ""), *(_stamp(os.path.join(home, name)) for name in _STARTUP)]  # noqa: PTH118
    kept = Path(folder) / "environments" / "login.json"
    try:
        told = json.loads(kept.read_text(encoding="utf-8"))
        if told["key"] == key and 0 <= time.time() - told["time"] < LOGIN_KEPT_S:
            return list(told["folders"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    folders = _asked(shell)
    temporary = kept.with_name(f".login.{os.getpid()}")
    try:
        kept.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary.write_text(json.dumps({"key": key, "time": time.time(), "folders": folders}), encoding="utf-8")
        temporary.replace(kept)
    except OSError:  # then it is asked again
        pass
    return folders


def _stamp(file: str) -> list[int]:
    try:
        found = os.stat(file)  # noqa: PTH116
    except OSError:
        return []
    return [found.st_mtime_ns, found.st_size]


def _asked(shell: str) -> list[str]:
    import subprocess

    try:
        told = subprocess.run(
            [f"-{Path(shell).name}", "-c", "env"],  # the dash says that it is a login
            executable=shell,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=LOGIN_PATIENCE_S,
            check=False,
            start_new_session=True,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    lines = os.fsdecode(told.stdout).splitlines()
    path = next((line[5:] for line in reversed(lines) if line.startswith("PATH=")), "")
    return [] if path == os.environ.get("PATH") else [folder for folder in path.split(os.pathsep) if folder]


def _own(shims: str) -> dict[str, Any]:
    """What the person's shell would run; ``python`` added where the machine only has ``python3``."""
    if shutil.which("python"):
        return {}
    python = shutil.which("python3") or sys.executable
    folder = Path(python).parent
    return {"append_path": [str(folder if (folder / "python").exists() else _shim(python, shims))]}


def _named(python: str, shims: str) -> dict[str, Any]:
    folder = Path(python).parent
    beside = folder / "python"
    found = beside.exists() and beside.samefile(python)
    virtual = {"VIRTUAL_ENV": str(folder.parent)} if (folder.parent / "pyvenv.cfg").is_file() else {}
    return {
        "prepend_path": [str(folder)] if found else [str(_shim(python, shims)), str(folder)],
        "environment_variables": virtual,
        "unset": ["PYTHONHOME"],
    }


def _shim(python: str, shims: str) -> Path:
    """A folder with a ``python`` that starts this one. A script, as a link would hide a virtual environment."""
    import hashlib
    import shlex

    folder = Path(shims) / hashlib.sha256(python.encode()).hexdigest()[:16]
    script = folder / "python"
    if script.exists():
        return folder
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = folder / f".python.{os.getpid()}"
        temporary.write_text(f'#!/bin/sh\nexec {shlex.quote(python)} "$@"\n', encoding="utf-8")
        temporary.chmod(0o700)
        temporary.replace(script)
    except OSError as refused:
        raise Refused(
            "StoreError",
            f"cannot write {script}: {refused.strerror}",
            "the workspace must be on a disk that can be written",
        ) from refused
    return folder


def _version(python: str) -> str:
    """``Python 3.11.7``. Raises Refused when it does not run, or is no Python."""
    import subprocess

    ask = "import sys; sys.stdout.write('Python %d.%d.%d' % sys.version_info[:3])"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONHOME"}
    try:
        answer = subprocess.run(
            [python, "-I", "-c", ask],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=60,
            check=False,
            env=environment,
        )
    except (OSError, subprocess.TimeoutExpired) as failed:
        raise Refused("EnvironmentBuildError", f"{python} does not run: {failed}", HINT) from failed
    if answer.returncode != 0 or not answer.stdout.startswith("Python "):
        last = (answer.stderr or answer.stdout).strip().splitlines()[-5:]
        raise Refused(
            "EnvironmentBuildError",
            f"{python} is not a Python that runs (it ended with code {answer.returncode})",
            HINT,
            tuple(last),
        )
    return answer.stdout


def main() -> None:
    """One question as JSON on standard input, ``{"verb", "interpreter", "shims", "folder"}``, one answer as JSON: ``located``, or
    ``activation`` and the ``lines`` of its log, or ``error``. Programs are looked for as on a login.
    """
    import json

    question = json.load(sys.stdin)
    lines: list[str] = []
    folders = login_folders(question["folder"])
    os.environ["PATH"] = os.pathsep.join([*folders, os.environ.get("PATH", os.defpath)])
    try:
        if question["verb"] == "locate":
            answer: dict[str, Any] = {"located": located(question["interpreter"])}
        else:
            found = activation(question["interpreter"], question["shims"], lines.append)
            found["prepend_path"] = [*found.get("prepend_path", []), *folders]
            answer = {"activation": found, "lines": lines}
    except Refused as refused:
        answer = {"error": refused.told}
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
