"""``conda_file`` whose conda part is only Python and pip: a virtual environment, built with uv, cached by fingerprint.

On disk, below ``<root>/environments``: ``<fingerprint>/`` the environment at its final place (they cannot be moved),
complete when, and only when, it holds ``environment.json``; ``<fingerprint>.log`` its last build's log;
``<fingerprint>.lock`` held while one process builds; ``<fingerprint>.failed.json`` how the last build failed.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlcli.domain.errors import EnvironmentBuildError, StoreError
from mlcli.domain.job import EnvironmentSpec
from mlcli.domain.plan import EnvironmentPlan
from mlcli.domain.redaction import masked
from mlcli.ports.environments import Activation, EnvironmentBuilder

if TYPE_CHECKING:
    from mlcli.environments._definition import Definition

_RECORD = "environment.json"


@dataclass(frozen=True)
class BuiltEnvironment:
    """One environment of the cache. Times are seconds since the epoch; ``size`` in bytes."""

    fingerprint: str
    description: str
    size: int
    built_at: float
    used_at: float


class VenvBuilder(EnvironmentBuilder):
    """Virtual environments below ``root``/environments."""

    name = "venv"

    def __init__(self, root: Path) -> None:
        self._folder = root / "environments"

    def accepts(self, spec: EnvironmentSpec) -> bool:
        """A conda file, alone or beside an image that the host cannot honour (its conda part still is)."""
        return spec.conda is not None and spec.interpreter is None and spec.reference is None

    def plan(self, spec: EnvironmentSpec) -> EnvironmentPlan:
        """Read the conda file, look for its environment. Starts no process when it is there."""
        from mlcli.environments._definition import definition, fingerprint

        wanted = definition(spec.conda or {})
        key = fingerprint(wanted)
        return EnvironmentPlan(
            self.name, spec, key, cached=_ready(self._folder / key) is not None, description=_describe(wanted)
        )

    def build(self, plan: EnvironmentPlan, log: Callable[[str], None]) -> Activation:
        """Make it once per fingerprint. Processes that come while it is made wait, and hear the same lines."""
        from mlcli.environments._definition import definition, fingerprint

        wanted = definition(plan.spec.conda or {})
        key = fingerprint(wanted)  # again: a requirements file that the plan's lines name may be another by now
        place = self._folder / key
        record = _ready(place) or self._made(wanted, key, log)
        with suppress(OSError):
            os.utime(place / _RECORD)
        return _activation(place, wanted, record)

    def listing(self) -> list[BuiltEnvironment]:
        """Every complete environment, the one used last first."""
        return sorted(self._complete(), key=lambda built: built.used_at, reverse=True)

    def prune(self, keep: Iterable[str]) -> int:
        """Delete environments whose fingerprint is not in ``keep`` and that nobody builds now; bytes freed."""
        import shutil

        from mlcli.environments._lock import exclusive

        kept, freed = set(keep), 0
        for built in self._complete():
            if built.fingerprint in kept:
                continue
            with suppress(_BeingBuiltError), exclusive(self._folder / f"{built.fingerprint}.lock", _give_up):
                place = self._folder / built.fingerprint
                (place / _RECORD).unlink(missing_ok=True)  # first: what is half deleted must not look built
                shutil.rmtree(place, ignore_errors=True)
                freed += built.size
        return freed

    def _complete(self) -> Iterable[BuiltEnvironment]:
        for file in self._folder.glob(f"*/{_RECORD}"):
            record = _read(file)
            if record is not None:
                size = sum(path.lstat().st_size for path in file.parent.rglob("*") if not path.is_dir())
                used = file.stat().st_mtime
                yield BuiltEnvironment(file.parent.name, record["description"], size, record["built_at"], used)

    def _made(self, wanted: Definition, key: str, log: Callable[[str], None]) -> Mapping[str, Any]:
        from mlcli.environments._lock import exclusive

        self._make_folder()
        failed = self._folder / f"{key}.failed.json"
        before = _stamp(failed)
        follower = _Follower(self._folder / f"{key}.log", log)
        with exclusive(self._folder / f"{key}.lock", follower.follow) as lock:
            if record := _ready(self._folder / key):
                follower.finish()
                return record
            if _stamp(failed) not in {None, before}:  # it failed while we waited: once is enough
                follower.finish()
                raise _failure(_read(failed) or {})
            return self._make(wanted, key, log, lock)

    def _make_folder(self) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as refused:
            raise StoreError(
                f"cannot make {self._folder}: {refused.strerror}",
                hint="the workspace must be on a disk that can be written",
            ) from refused

    def _make(self, wanted: Definition, key: str, log: Callable[[str], None], lock: int) -> Mapping[str, Any]:

        place, log_file, failed = (self._folder / name for name in (key, f"{key}.log", f"{key}.failed.json"))
        started = time.time()
        try:
            _wipe(place)
            failed.unlink(missing_ok=True)
            log_file.unlink(missing_ok=True)
            resolved = _install(wanted, place, log_file, log, lock)
            record = {
                "description": _describe(wanted),
                "python": wanted.python,
                "lines": [masked(line) for line in wanted.lines],
                "resolved": list(resolved),
                "built_at": time.time(),
                "build_s": round(time.time() - started, 3),
                "base": _identity(place),
            }
            _write(place / _RECORD, record)
        except EnvironmentBuildError as error:
            located = EnvironmentBuildError(
                error.message, hint=f"{error.hint}; build log: {log_file}", details=error.details
            )
            with suppress(OSError):
                _write(failed, {"message": located.message, "hint": located.hint, "details": list(located.details)})
                _wipe(place)
            raise located from error
        except OSError as refused:
            raise EnvironmentBuildError(
                f"the environment could not be written: {refused}",
                hint="free some space, or put the workspace elsewhere",
            ) from refused
        return record


class _BeingBuiltError(Exception):
    """Somebody else holds the lock."""


def _give_up() -> None:
    raise _BeingBuiltError


class _Follower:
    """Hands on the lines of a log that another process writes."""

    def __init__(self, file: Path, log: Callable[[str], None]) -> None:
        self._file = file
        self._log = log
        self._waited = False
        self._inode = 0
        self._offset = 0
        self._rest = b""

    def follow(self) -> None:
        """The lines that came since the last call."""
        if not self._waited:
            self._waited = True
            self._log("another process builds the same environment: waiting for it")
        try:
            handle = self._file.open("rb")
        except FileNotFoundError:
            return
        with handle:
            inode = os.fstat(handle.fileno()).st_ino
            if inode != self._inode:  # the log of another attempt
                self._inode, self._offset, self._rest = inode, 0, b""
            handle.seek(self._offset)
            new = handle.read()
        self._offset += len(new)
        *lines, self._rest = (self._rest + new).split(b"\n")
        for line in lines:
            self._log(line.decode("utf-8", "replace"))

    def finish(self) -> None:
        """What is left when the other process is done."""
        if self._waited:
            self.follow()


def _install(wanted: Definition, place: Path, log_file: Path, log: Callable[[str], None], lock: int) -> tuple[str, ...]:
    from mlcli.environments._uv import Uv

    log_file.touch(mode=0o600)
    with log_file.open("w", encoding="utf-8") as kept:

        def line(text: str) -> None:
            kept.write(f"{text}\n")
            kept.flush()
            log(text)

        line(f"building {_describe(wanted)}")
        return Uv(wanted, place, line, lock).make()


def _ready(place: Path) -> Mapping[str, Any] | None:
    """The record of a complete environment whose Python still runs, else None. A few stats and one small file."""
    record = _read(place / _RECORD)
    if record is None:
        return None
    try:
        now = _identity(place)
    except OSError:
        return None
    if now == record["base"]:
        return record
    return _readmitted(place, dict(record), now)


def _readmitted(place: Path, record: dict[str, Any], now: list[Any]) -> Mapping[str, Any] | None:
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
        return None
    if answer.returncode != 0 or answer.stdout.split("\n")[1:2] != ["True"]:
        return None
    record["base"] = now
    with suppress(OSError):
        _write(place / _RECORD, record)
    return record


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
        resolved=tuple(record["resolved"]),
    )


def _describe(wanted: Definition) -> str:
    from mlcli.environments._definition import PIPS_COMPANY

    packages = [line for line in wanted.lines if not line.startswith("-") and line not in PIPS_COMPANY]
    named = ", ".join(masked(line) for line in packages[:4]) + (
        f" and {len(packages) - 4} more" if len(packages) > 4 else ""
    )
    return f"virtual environment: Python {wanted.python}" + (f" with {named}" if named else "")


def _failure(record: Mapping[str, Any]) -> EnvironmentBuildError:
    return EnvironmentBuildError(
        record.get("message", "the environment could not be built"),
        hint=record.get("hint"),
        details=tuple(record.get("details", ())),
    )


def _stamp(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def _read(file: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def _write(file: Path, value: Mapping[str, Any]) -> None:
    """By temporary file, fsync and rename: the file is whole or not there."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    with temporary.open("w", encoding="utf-8") as handle:
        json.dump(value, handle, indent=1)
        handle.flush()
        os.fsync(handle.fileno())
    temporary.replace(file)


def _wipe(place: Path) -> None:
    import shutil

    if place.exists() or place.is_symlink():
        with suppress(FileNotFoundError):
            (place / _RECORD).unlink()
        shutil.rmtree(place)
