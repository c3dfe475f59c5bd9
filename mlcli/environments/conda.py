"""``conda_file`` that asks conda for more than Python and pip, or a lock: a conda environment, made with rattler, cached by
fingerprint. Its pip section is installed on top with uv.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlcli.domain.errors import EnvironmentBuildError
from mlcli.domain.job import EnvironmentSpec
from mlcli.domain.plan import EnvironmentPlan
from mlcli.domain.settings import Settings
from mlcli.environments._cache import BuildCache, CachedBuilder
from mlcli.ports.environments import Activation

if TYPE_CHECKING:
    from mlcli.environments._conda_definition import CondaDefinition
    from mlcli.environments._definition import Definition
    from mlcli.environments._pins import Pins

_ACTIVATE = "activate.sh"


class CondaBuilder(CachedBuilder):
    """Conda environments below ``home``/environments; the packages they share below ``home``/conda. ``fetches_rattler``: an
    environment with rattler is made for those, where it is not installed.
    """

    name = "conda"

    def __init__(self, home: Path, settings: Settings, *, fetches_rattler: bool = False) -> None:
        self._home = home
        self._settings = settings
        self._fetches_rattler = fetches_rattler
        self._cache = BuildCache(home, self.name, _admitted)
        self._packages = Path(os.environ.get("RATTLER_CACHE_DIR") or home / "conda")  # as rattler's other tools have it

    def accepts(self, spec: EnvironmentSpec) -> bool:
        """A conda file that needs conda, or a lock; alone or beside an image that the host cannot honour."""
        from mlcli.environments._definition import needs_conda

        named = spec.interpreter is not None or spec.reference is not None
        return not named and needs_conda(spec.conda, spec.lock)

    def plan(self, spec: EnvironmentSpec) -> EnvironmentPlan:
        """Read the conda file, look for its environment. Starts no process when it is there.

        Raises UnsupportedError when it is not, and rattler is not installed to make it.
        """
        from mlcli.environments._conda_definition import conda_definition, describe, fingerprint

        wanted = conda_definition(spec.conda, spec.lock)
        key = fingerprint(wanted)
        cached = self._cache.find(key) is not None
        if not cached and not self._fetches_rattler:
            _check_rattler(spec)
        return EnvironmentPlan(self.name, spec, key, cached=cached, description=describe(wanted))

    def build(self, plan: EnvironmentPlan, log: Callable[[str], None]) -> Activation:
        """Make it once per fingerprint. Processes that come while it is made wait, and hear the same lines."""
        from mlcli.environments._conda_definition import conda_definition, fingerprint

        wanted = conda_definition(plan.spec.conda, plan.spec.lock)
        key = fingerprint(wanted)  # again: a requirements file that the plan's lines name may be another by now
        record = self._cache.obtain(key, log, lambda place, line, lock: self._made(wanted, place, line, lock))
        return _activation(self._cache.place(key), wanted, record)

    def _made(self, wanted: CondaDefinition, place: Path, line: Callable[[str], None], lock: int) -> Mapping[str, Any]:
        from mlcli.environments._conda_definition import describe
        from mlcli.environments._pins import made_with_pins
        from mlcli.environments._rattler import Rattler
        from mlcli.environments._shared import SharedCache

        line(f"building {describe(wanted)}")
        python = self._python(line)

        def make(pins: Pins) -> Mapping[str, Any]:
            pinned = replace(wanted, lock=wanted.lock or pins.lock)
            lines = Rattler(pinned, place, python=python, cache=self._packages, line=line, keep=lock).make()
            pip = replace(wanted.pip, lines=(*lines, *wanted.pip.lines))
            resolved = _pip_installed(pip, place, line, lock, pins.constraints) if pip.lines else ()
            return _record(wanted, place, resolved)

        return made_with_pins(SharedCache(self._settings.environments_shared), place, line, make)

    def _python(self, line: Callable[[str], None]) -> str:
        """An interpreter that has rattler. Raises EnvironmentBuildError."""
        from mlcli.environments._rattler import PACKAGE
        from mlcli.environments.venv import VenvBuilder

        if _has_rattler():
            return sys.executable
        beside = VenvBuilder(self._home, Settings())
        spec = EnvironmentSpec(conda={"dependencies": [{"pip": [PACKAGE]}]})
        try:
            made = beside.build(beside.plan(spec), line)
        except EnvironmentBuildError as failed:
            raise EnvironmentBuildError(
                f"rattler, which makes conda environments, could not be installed: {failed.message}",
                hint=f"install it for {sys.executable}: pip install '{PACKAGE}'",
                details=failed.details,
            ) from failed
        return f"{made.prepend_path[0]}/python"


def _has_rattler() -> bool:
    from importlib.util import find_spec

    return find_spec("rattler") is not None


def _check_rattler(spec: EnvironmentSpec) -> None:
    from mlcli.environments._definition import conda_is_missing, parts

    if not _has_rattler():
        raise conda_is_missing(parts(spec.conda or {}).conda)


def _record(wanted: CondaDefinition, place: Path, resolved: Sequence[str]) -> Mapping[str, Any]:
    from mlcli.environments._conda_definition import describe, without_token

    found = _installed(place)
    return {
        "description": describe(wanted),
        "version": next((one["version"] for one in found if one["name"] == "python"), None),
        "lines": [without_token(text) for text in (*wanted.specs, *wanted.pip.lines)],
        "resolved": list(resolved),
        "packages": [_address(one) for one in found],
        "variables": _package_variables(place),
        "activates": _write_activation(place),
    }


def _pip_installed(
    pip: Definition, place: Path, line: Callable[[str], None], lock: int, constraints: Sequence[str]
) -> Sequence[str]:
    from mlcli.environments._uv import Uv

    if not (place / "bin" / "python").exists():
        raise EnvironmentBuildError(
            "the conda file has a pip section, and conda installed no Python for it",
            hint="add python to the conda file's dependencies, or to its lock",
        )
    return Uv(pip, place, line=line, keep=lock, constraints=constraints).install()


def _installed(place: Path) -> list[dict[str, Any]]:
    """What conda recorded of each package, by name."""
    records = [json.loads(file.read_bytes()) for file in sorted((place / "conda-meta").glob("*.json"))]
    return sorted(records, key=lambda one: str(one["name"]))


def _address(package: Mapping[str, Any]) -> str:
    """A package as a line of an explicit lock. Its credentials are left out: rattler's own store has them."""
    import re

    url = re.sub(r"://[^/@]+@", "://", re.sub(r"/t/[^/]+/", "/", package["url"]))
    checksum = package.get("sha256") or package.get("md5")
    return f"{url}#{checksum}" if checksum else url


# --- activation -------------------------------------------------------------------------------------------------------


def _package_variables(place: Path) -> dict[str, str]:
    """What packages want set (``etc/conda/env_vars.d``), and then what the environment itself does (``state``)."""
    found: dict[str, str] = {}
    for file in sorted((place / "etc" / "conda" / "env_vars.d").glob("*.json")):
        found |= json.loads(file.read_bytes())
    state = place / "conda-meta" / "state"
    if state.exists():
        found |= json.loads(state.read_bytes()).get("env_vars", {})
    return {name: str(value) for name, value in found.items()}


def _write_activation(place: Path) -> bool:
    """Packages' activation scripts run where the job runs, on its variables: a script runs them, then the command.

    Answers whether there are any.
    """
    import shlex

    scripts = sorted((place / "etc" / "conda" / "activate.d").glob("*.sh"))
    lines = ["# activates the environment as its packages want it, then runs the command"]
    lines += [f". {shlex.quote(str(script))}" for script in scripts]
    (place / _ACTIVATE).write_text("\n".join([*lines, 'exec "$@"', ""]), encoding="utf-8")
    return bool(scripts)


def _activation(place: Path, wanted: CondaDefinition, record: Mapping[str, Any]) -> Activation:
    import shutil

    shell = "bash" if shutil.which("bash") else "sh"
    return Activation(
        argv_prefix=(shell, str(place / _ACTIVATE)) if record["activates"] else (),
        prepend_path=(str(place / "bin"),),
        environment_variables={
            **record["variables"],
            **wanted.variables,
            "CONDA_PREFIX": str(place),
            "CONDA_DEFAULT_ENV": str(place),
            "CONDA_SHLVL": "1",
        },
        unset=("PYTHONHOME", "VIRTUAL_ENV"),
        python=record["version"],
        resolved=tuple(record["resolved"]),
        packages=tuple(record["packages"]),
    )


def _admitted(place: Path, record: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The record while the environment is still there: it needs nothing outside its folder."""
    return record if (place / "conda-meta" / "history").exists() else None
