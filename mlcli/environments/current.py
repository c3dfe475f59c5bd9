"""``environment: current``, or the path of an interpreter: nothing is built, the job runs in what is there.

A job that asks for an image runs here too while it runs on the host, without the image.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from mlcli.domain.errors import EnvironmentBuildError, StoreError, UnsupportedError
from mlcli.domain.job import EnvironmentSpec
from mlcli.domain.plan import EnvironmentPlan
from mlcli.domain.settings import Settings
from mlcli.ports.environments import Activation, EnvironmentBuilder

CURRENT = "current"


class CurrentBuilder(EnvironmentBuilder):
    """The host's own interpreters. ``home`` keeps the folders that hold a missing ``python``."""

    name = "current"

    def __init__(self, home: Path, settings: Settings) -> None:
        del settings
        self._shims = home / "environments" / "python"

    def accepts(self, spec: EnvironmentSpec) -> bool:
        """An interpreter, an image or build without a conda file, and references (to refuse them with advice)."""
        return (
            spec.interpreter is not None
            or spec.reference is not None
            or (spec.wants_image and spec.conda is None and spec.lock is None)
        )

    def plan(self, spec: EnvironmentSpec) -> EnvironmentPlan:
        """Check that the interpreter is there. There is nothing to cache."""
        if spec.reference is not None:
            raise UnsupportedError(
                f"{spec.reference} is the name of an environment, which has to be looked up first",
                hint="run in your own interpreter with --set environment=current, or write a conda_file",
            )
        return EnvironmentPlan(self.name, spec, None, cached=True, description=_describe(spec))

    def build(self, plan: EnvironmentPlan, log: Callable[[str], None]) -> Activation:
        """Find ``python``; a named interpreter is asked for its version."""
        interpreter = plan.spec.interpreter
        if interpreter is None or interpreter == CURRENT:
            return self._own()
        python = _located(interpreter)
        log(f"{_version(python)} at {python}")
        return self._named(python)

    def _own(self) -> Activation:
        """What the person's shell would run; ``python`` added where the machine only has ``python3``."""
        if shutil.which("python"):
            return Activation()
        python = shutil.which("python3") or sys.executable
        folder = Path(python).parent
        return Activation(append_path=(str(folder if (folder / "python").exists() else self._shim(python)),))

    def _named(self, python: str) -> Activation:
        folder = Path(python).parent
        beside = folder / "python"
        found = beside.exists() and beside.samefile(python)
        path = (str(folder),) if found else (str(self._shim(python)), str(folder))
        virtual = {"VIRTUAL_ENV": str(folder.parent)} if (folder.parent / "pyvenv.cfg").is_file() else {}
        return Activation(prepend_path=path, environment_variables=virtual, unset=("PYTHONHOME",))

    def _shim(self, python: str) -> Path:
        """A folder with a ``python`` that starts this one. A script, as a link would hide a virtual environment."""
        import hashlib
        import shlex

        folder = self._shims / hashlib.sha256(python.encode()).hexdigest()[:16]
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
            raise StoreError(
                f"cannot write {script}: {refused.strerror}", hint="the workspace must be on a disk that can be written"
            ) from refused
        return folder


def _describe(spec: EnvironmentSpec) -> str:
    if spec.interpreter not in {None, CURRENT}:
        return f"the interpreter {_located(str(spec.interpreter))}"
    wanted = (
        f" (instead of the image {spec.image})"
        if spec.image
        else " (instead of the image to be built)"
        if spec.build
        else ""
    )
    return f"the interpreter on PATH{wanted}"


def _located(interpreter: str) -> str:
    """The absolute path of an executable: a path, a name on PATH, or a virtual environment's folder.

    Raises UnsupportedError. Links are kept: a virtual environment's ``python`` is one.
    """
    path = Path(interpreter).expanduser()
    if path.is_dir():
        path = path / "bin" / "python"
    found = shutil.which(str(path))
    if found is None:
        why = "is not executable" if path.is_file() else "does not exist"
        raise UnsupportedError(
            f"the environment's interpreter {interpreter!r} {why}",
            hint="give the path of a Python, or 'current' for the one on PATH",
        )
    return str(Path(found).absolute())


def _version(python: str) -> str:
    """``Python 3.11.7``. Raises EnvironmentBuildError when it does not run, or is no Python."""
    import subprocess

    hint = "give the path of a Python, or 'current' for the one on PATH"
    ask = "import sys; sys.stdout.write('Python %d.%d.%d' % sys.version_info[:3])"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONHOME"}
    try:
        answer = subprocess.run(
            [python, "-I", "-c", ask],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=60,
            check=False,
            env=environment,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as failed:
        raise EnvironmentBuildError(f"{python} does not run: {failed}", hint=hint) from failed
    if answer.returncode != 0 or not answer.stdout.startswith("Python "):
        last = (answer.stderr or answer.stdout).strip().splitlines()[-5:]
        raise EnvironmentBuildError(
            f"{python} is not a Python that runs (it ended with code {answer.returncode})",
            hint=hint,
            details=tuple(last),
        )
    return answer.stdout
