"""Rattler as a subprocess: makes a conda environment, says what it does line by line, and tells what went wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from mlcli.domain.errors import EnvironmentBuildError
from mlcli.environments._child import run_child
from mlcli.environments._conda_definition import CondaDefinition, without_token

_LAST_LINES = 15
PACKAGE = "py-rattler>=0.28,<1"  # as in the extra "conda" of pyproject.toml
_SCRIPT = Path(__file__).with_name("_conda_install.py")
_RUN = "import runpy, sys; runpy.run_path(sys.argv[1], run_name='__main__')"
_SAID_LAST = ("error: ", "hint: ")


class Rattler:
    """One build's rattler: what it makes, where, and where its lines go.

    ``python``: an interpreter that has rattler. ``cache``: the folder of packages that environments share. ``line`` takes
    every line that it prints (no secrets). ``keep`` is a file descriptor that it inherits.
    """

    def __init__(
        self,
        wanted: CondaDefinition,
        folder: Path,
        *,
        python: str,
        cache: Path,
        line: Callable[[str], None],
        keep: int,
    ) -> None:
        self._python = python
        self._wanted = wanted
        self._folder = folder
        self._cache = cache
        self._line = line
        self._keep = keep

    def make(self) -> tuple[str, ...]:
        """Make the environment at its place, all but its pip section; answers the lines for pip that a lock has.

        Raises EnvironmentBuildError.
        """
        requirements = self._folder.with_name(f"{self._folder.name}.requirements.txt")
        try:
            self._run(requirements)
            return tuple(requirements.read_text(encoding="utf-8").splitlines()) if requirements.exists() else ()
        finally:
            requirements.unlink(missing_ok=True)

    def _run(self, requirements: Path) -> None:
        lines: list[str] = []

        def take(raw: str) -> None:
            lines.append(without_token(raw))
            if not lines[-1].startswith(_SAID_LAST):
                self._line(lines[-1])

        argv = [self._python, "-c", _RUN, str(_SCRIPT)]
        request = json.dumps(self._request(requirements))
        code = run_child(argv, take, folder=self._folder.parent, keep=self._keep, given=request)
        if code != 0:
            raise failure(lines, code)

    def _request(self, requirements: Path) -> dict[str, object]:
        return {
            "prefix": str(self._folder),
            "cache": str(self._cache),
            "channels": self._wanted.channels,
            "specs": self._wanted.specs,
            "lock": self._wanted.lock,
            "requirements": str(requirements),
        }


def failure(lines: list[str], code: int) -> EnvironmentBuildError:
    """What the script said last; when it said nothing of the kind, it was killed or is broken. Pure."""
    said = {kind: text for kind, _, text in (line.partition(": ") for line in lines) if kind in {"error", "hint"}}
    details = tuple(line for line in lines if not line.startswith(_SAID_LAST))[-_LAST_LINES:]
    if "error" not in said:
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        return EnvironmentBuildError(
            f"the process that builds the conda environment {how}",
            hint="submit again; a machine that is short of memory kills big processes",
            details=details,
        )
    return EnvironmentBuildError(said["error"], hint=said.get("hint"), details=details)
