"""uv as a subprocess: makes a virtual environment, says what it does line by line, and explains what went wrong.

Indexes and credentials go to uv through its environment and a private requirements file, never through its argument
list, which every user of the machine can read.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mlcli.domain.errors import EnvironmentBuildError
from mlcli.domain.redaction import masked
from mlcli.environments._child import run_child
from mlcli.environments._definition import Definition
from mlcli.environments._pip_settings import pip_settings, uv_variables

_LAST_LINES = 15
_PATCH = re.compile(r"\d+\.\d+\.\d+")
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
# what would send uv elsewhere than the environment it is given
_MISLEADING = {
    "UV_PYTHON",
    "UV_SYSTEM_PYTHON",
    "UV_PROJECT",
    "UV_PROJECT_ENVIRONMENT",
    "UV_WORKING_DIR",
    "VIRTUAL_ENV",
    "PYTHONHOME",
    "PYTHONPATH",
}
NO_PYTHON = re.compile(
    r"No interpreter found for|Failed to download `\S*(?:cpython|python-build-standalone)|Invalid version request|No download found"
)
# what uv prints -> (what happened, what to do); the first that fits
_CAUSES: tuple[tuple[re.Pattern[str], str, str], ...] = (
    (
        re.compile(r"No space left on device|Disk quota exceeded"),
        "the environment could not be built: the disk is full",
        "free some space and submit again",
    ),
    (
        NO_PYTHON,
        "the environment asks for Python {python}, which is not on this machine and could not be downloaded",
        "write a Python version that is installed in the conda file, or install that one",
    ),
    (
        re.compile(r"Because (\S+) was not found in the (?:package registry|provided package locations)"),
        "the package {0!r} was not found in the package index",
        "check its spelling in the conda file's pip section",
    ),
    (
        re.compile(
            r"error sending request|dns error|connection (?:refused|reset|timed out)|network is unreachable|timed out",
            re.IGNORECASE,
        ),
        "the package index could not be reached",
        "check the network, the proxy and the index settings, then submit again",
    ),
    (
        re.compile(r"Couldn't parse requirement[^\n]*\n\s*cause: ([^\n]+)\n\s*([^\n]+)\n\s*\^"),
        "the conda file's pip line {1!r} cannot be read: {0}",
        "write packages as pip does: name==1.2, name>=1,<2",
    ),
    (
        re.compile(r"Failed to build `([^`]+)`"),
        "the package {0!r} could not be built from its source",
        "read the build log, or ask for a version that has a wheel for this Python",
    ),
    (
        re.compile(r"No solution found"),
        "no set of package versions satisfies the environment",
        "loosen the versions that the build log names, or choose another Python",
    ),
)


class _NoPythonError(EnvironmentBuildError):
    """The Python that is asked for is not here and cannot be downloaded."""


class Uv:
    """One build's uv: where it runs, what it is told, and where its lines go.

    ``line`` takes every line that uv prints (no colours, no secrets). ``keep`` is a file descriptor that uv inherits.
    ``constraints``: ``name==version`` lines, the version to take of a package if it is needed at all.
    """

    def __init__(
        self,
        wanted: Definition,
        folder: Path,
        *,
        line: Callable[[str], None],
        keep: int,
        constraints: Sequence[str] = (),
    ) -> None:
        self._wanted = wanted
        self._constraints = constraints
        self._folder = folder
        self._line = line
        self._keep = keep
        self._environment = _environment(wanted)

    def make(self) -> tuple[str, ...]:
        """Make the virtual environment at its place and install into it; answers ``name==version`` lines. For a patch release of
        Python that cannot be had, another one of the same minor version is taken, and the log says so.

        Raises EnvironmentBuildError.
        """
        try:
            self._venv(_interpreter(self._wanted.python))
        except _NoPythonError:
            minor, _, patch = self._wanted.python.rpartition(".")
            if not _PATCH.fullmatch(self._wanted.python) or found_python(minor) is None:
                raise
            self._line(f"there is no Python {minor}.{patch} to be had here: another {minor} of this machine is taken")
            self._venv(minor)
        python = str(self._folder / "bin" / "python")
        if self._wanted.lines:
            self._install(python)
        return self._freeze(python)

    def _venv(self, interpreter: str) -> None:
        self._run(["venv", "--no-project", "--python", interpreter, str(self._folder)], _searching(self._environment))

    def install(self) -> tuple[str, ...]:
        """Install into the environment that is there; answers what that added or changed, as ``name==version`` lines.

        Raises EnvironmentBuildError.
        """
        python = str(self._folder / "bin" / "python")
        before = set(self._freeze(python))
        self._install(python)
        return tuple(line for line in self._freeze(python) if line not in before)

    def _install(self, python: str) -> None:
        requirements = self._folder / "requirements.txt"
        constraints = self._folder / "constraints.txt"
        _write_private(requirements, self._requirements())
        files = ["--requirements", str(requirements)]
        if self._constraints:
            _write_private(constraints, "".join(f"{line}\n" for line in self._constraints))
            files += ["--constraints", str(constraints)]
        try:
            self._run(["pip", "install", "--python", python, *files], self._environment)
        finally:
            requirements.unlink()  # its URLs may hold credentials
            constraints.unlink(missing_ok=True)

    def _requirements(self) -> str:
        """The definition's lines, below what pip's configuration adds and uv has no variable for."""
        no_index = pip_settings(os.environ).get("no-index", "").lower() in {"1", "true", "yes", "on"}
        return ("--no-index\n" if no_index else "") + self._wanted.requirements_file

    def _freeze(self, python: str) -> tuple[str, ...]:
        answer = subprocess.run(
            [binary(), "pip", "freeze", "--color", "never", "--python", python],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            check=False,
            cwd=self._folder,
            env=self._environment,
        )
        if answer.returncode != 0:
            raise self._explained(answer.stderr.splitlines())
        return tuple(masked(line) for line in answer.stdout.splitlines())

    def _run(self, arguments: list[str], environment: Mapping[str, str]) -> None:
        lines: list[str] = []

        def take(raw: str) -> None:
            line = masked(_ANSI.sub("", raw))
            if _is_news(line):
                lines.append(line)
                self._line(line)

        argv = [binary(), *arguments, "--color", "never", "--no-progress"]
        code = run_child(argv, take, folder=self._folder.parent, keep=self._keep, environment=environment)
        if code != 0:
            raise self._explained(lines or [f"uv ended with code {code} and said nothing"])

    def _explained(self, lines: list[str]) -> EnvironmentBuildError:
        message, hint = explain("\n".join(lines), self._wanted.python)
        details = tuple(lines[-_LAST_LINES:])
        if NO_PYTHON.search("\n".join(lines)):
            found = installed_pythons(_searching(self._environment))
            details = (*details, "", "interpreters found on this machine:", *(f"  {one}" for one in found or ["none"]))
            return _NoPythonError(message, hint=hint, details=details)
        return EnvironmentBuildError(message, hint=hint, details=details)


def explain(output: str, python: str) -> tuple[str, str]:
    """(what happened, what to do) from what uv printed; the first cause of the table that fits. Pure."""
    for pattern, message, hint in _CAUSES:
        if found := pattern.search(output):
            return message.format(*found.groups(), python=python), hint
    first = next((line for line in output.splitlines() if line.startswith("error: ")), output.splitlines()[-1])
    return f"the environment could not be built: {first.removeprefix('error: ')}", "read the build log's last lines"


def found_python(request: str) -> str | None:
    """The interpreter that uv would take on this machine for that request; None when it would have to download one."""
    answer = subprocess.run(
        [binary(), "python", "find", "--no-project", "--no-python-downloads", request],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        env=_searching({name: value for name, value in os.environ.items() if name not in _MISLEADING}),
    )
    return answer.stdout.strip() or None if answer.returncode == 0 else None


def installed_pythons(environment: Mapping[str, str]) -> list[str]:
    """The interpreters that uv finds: version and path, one line for each version."""
    answer = subprocess.run(
        [binary(), "python", "list", "--only-installed", "--color", "never"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        check=False,
        env=dict(environment),
    )
    found: dict[str, str] = {}
    for line in answer.stdout.splitlines():
        version, _, path = line.partition(" ")
        found.setdefault(version, path.split(" -> ")[0].strip())
    return [f"{version}  {path}" for version, path in found.items()]


def binary() -> str:
    """The program: the one that Python's package of uv has, else the one on PATH. Raises EnvironmentBuildError."""
    import shutil

    try:
        from uv import find_uv_bin

        return str(find_uv_bin())
    except (ImportError, FileNotFoundError):
        found = shutil.which("uv")
    if found is None:
        raise EnvironmentBuildError("uv, which builds environments, is not installed", hint="pip install uv")
    return found


def _interpreter(request: str) -> str:
    """The Python that runs mlcli where it is the one asked for (no search, no surprise), else uv's to find."""
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    return sys.executable if request == own else request


def _environment(wanted: Definition) -> dict[str, str]:
    environment = {name: value for name, value in os.environ.items() if name not in _MISLEADING}
    environment["UV_NO_WRAP"] = "1"  # its errors are read here, line by line
    told = uv_variables(os.environ)
    if wanted.names_index:
        told.pop("UV_DEFAULT_INDEX", None)  # a line of the file beats the configuration, as with pip
    environment |= told
    # pip takes the best version of all indexes, and the file was written for pip
    environment.setdefault("UV_INDEX_STRATEGY", "unsafe-best-match")
    if wanted.prereleases:
        environment["UV_PRERELEASE"] = "allow"
    if wanted.trusted_hosts:
        environment["UV_INSECURE_HOST"] = " ".join(
            [*environment.get("UV_INSECURE_HOST", "").split(), *wanted.trusted_hosts]
        )
    return environment


def _searching(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment in which uv looks for an interpreter: first the one that runs mlcli, then PATH, then pyenv's,
    which PATH does not show.
    """
    pyenv = Path(environment.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv"))  # noqa: PTH111  (never raises)
    found = sorted(
        pyenv.glob("versions/3.*/bin"), key=lambda folder: [*map(int, re.findall(r"\d+", folder.parent.name))]
    )
    own = Path(sys.executable).resolve().parent
    path = [str(own), environment.get("PATH", os.defpath), *map(str, reversed(found))]
    return {**environment, "PATH": os.pathsep.join(path)}


def _is_news(line: str) -> bool:
    return bool(line) and not line.startswith(("Activate with:", "Using Python "))


def _write_private(file: Path, text: str) -> None:
    file.touch(mode=0o600)
    file.write_text(text, encoding="utf-8")
