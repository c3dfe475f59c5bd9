"""``conda_file`` whose conda part is only Python and pip: a virtual environment, built with uv, cached by fingerprint."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlcli.domain.job import EnvironmentSpec
from mlcli.domain.plan import EnvironmentPlan
from mlcli.domain.redaction import masked
from mlcli.domain.settings import Settings
from mlcli.environments._cache import BuildCache, CachedBuilder
from mlcli.ports.environments import Activation

if TYPE_CHECKING:
    from mlcli.environments._definition import Definition


class VenvBuilder(CachedBuilder):
    """Virtual environments below ``home``/environments."""

    name = "venv"

    def __init__(self, home: Path, settings: Settings) -> None:
        self._settings = settings
        self._cache = BuildCache(home, self.name, _admitted)

    def accepts(self, spec: EnvironmentSpec) -> bool:
        """A conda file of Python and pip, alone or beside an image that the host cannot honour (its conda part still is)."""
        from mlcli.environments._definition import needs_conda

        named = spec.interpreter is not None or spec.reference is not None
        return spec.conda is not None and not named and not needs_conda(spec.conda, spec.lock)

    def plan(self, spec: EnvironmentSpec) -> EnvironmentPlan:
        """Read the conda file, look for its environment. Starts no process when it is there."""
        from mlcli.environments._definition import definition, fingerprint

        wanted = definition(spec.conda or {})
        key = fingerprint(wanted)
        return EnvironmentPlan(
            self.name, spec, key, cached=self._cache.find(key) is not None, description=_describe(wanted)
        )

    def build(self, plan: EnvironmentPlan, log: Callable[[str], None]) -> Activation:
        """Make it once per fingerprint. Processes that come while it is made wait, and hear the same lines."""
        from mlcli.environments._definition import definition, fingerprint

        wanted = definition(plan.spec.conda or {})
        key = fingerprint(wanted)  # again: a requirements file that the plan's lines name may be another by now
        record = self._cache.obtain(key, log, lambda place, line, lock: self._made(wanted, place, line, lock))
        return _activation(self._cache.place(key), wanted, record)

    def _made(self, wanted: Definition, place: Path, line: Callable[[str], None], lock: int) -> Mapping[str, Any]:
        from mlcli.environments._pins import made_with_pins
        from mlcli.environments._shared import SharedCache

        line(f"building {_describe(wanted)}")
        shared = SharedCache(self._settings.environments_shared)
        return made_with_pins(shared, place, line, lambda pins: _made(wanted, place, line, lock, pins.constraints))


def _made(
    wanted: Definition, place: Path, line: Callable[[str], None], lock: int, constraints: Sequence[str]
) -> Mapping[str, Any]:
    from mlcli.environments._uv import Uv

    resolved = Uv(wanted, place, line=line, keep=lock, constraints=constraints).make()
    return {
        "description": _describe(wanted),
        "python": wanted.python,
        "version": _version(place),
        "lines": [masked(written) for written in wanted.lines],
        "resolved": list(resolved),
        "base": _identity(place),
    }


def _version(place: Path) -> str | None:
    """The Python's version, as the environment's own configuration tells it."""
    for line in (place / "pyvenv.cfg").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition("=")
        if name.strip() in {"version", "version_info"}:
            return value.strip()
    return None


def _admitted(place: Path, record: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The record while the environment's Python is the one that it was made with, or one that still fits."""
    try:
        now = _identity(place)
    except OSError:
        return None
    if now == record["base"]:
        return record
    return {**record, "base": now} if _still_fits(place) else None


def _still_fits(place: Path) -> bool:
    """The base interpreter was replaced (a security update, another minor version): ask it whether it still fits."""
    import subprocess

    python = place / "bin" / "python"
    code = "import sys, os; print(sys.prefix); print(os.path.isdir(sys.prefix + '/lib/python%d.%d/site-packages' % sys.version_info[:2]))"
    try:
        answer = subprocess.run(
            [python, "-I", "-c", code],
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.returncode == 0 and answer.stdout.split("\n")[1:2] == ["True"]


def _identity(place: Path) -> list[Any]:
    """What the environment's Python is: path, size and time of the base interpreter. Raises OSError when it is gone."""
    python = place / "bin" / "python"
    found = python.stat()
    return [os.path.realpath(python), found.st_size, found.st_mtime_ns]


def _activation(place: Path, wanted: Definition, record: Mapping[str, Any]) -> Activation:
    return Activation(
        prepend_path=(str(place / "bin"),),
        environment_variables={**wanted.variables, "VIRTUAL_ENV": str(place)},
        unset=("PYTHONHOME",),
        python=record.get("version"),
        resolved=tuple(record["resolved"]),
    )


def _describe(wanted: Definition) -> str:
    from mlcli.environments._definition import PIPS_COMPANY

    packages = [line for line in wanted.lines if not line.startswith("-") and line not in PIPS_COMPANY]
    named = ", ".join(masked(line) for line in packages[:4]) + (
        f" and {len(packages) - 4} more" if len(packages) > 4 else ""
    )
    return f"virtual environment: Python {wanted.python}" + (f" with {named}" if named else "")
