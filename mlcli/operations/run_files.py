"""A run's files as readers of what it logged see them: near ones as they are, far ones by a copy that grows with them."""

from __future__ import annotations

import fcntl
import json
import os
import stat
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from mlcli.domain.errors import StoreError, TransportError
from mlcli.domain.run import Run
from mlcli.operations import layout
from mlcli.operations.handles import handle
from mlcli.ports.backends import Backend, RunHandle
from mlcli.ports.services import Services

_CHUNK = 8 << 20


class RunFilesOf:
    """The files of one run, or of a run nested in it (``child``: the folder below ``children/``).

    Each file is brought up to date once. ``settled``: nothing more comes, so that nobody is asked. ``stale``: why copies
    could not be brought up to date, None when they could. ``size``: the bytes of the files that were asked for.
    """

    def __init__(self, services: Services, run: Run, *, child: str | None = None, settled: bool = False) -> None:
        self.name = run.name
        self.stale: str | None = None
        self.size = 0
        self._services = services
        self._run = run
        self._is_over = run.state.is_end
        self._settled = settled
        self._folder = services.runs.folder(run.name)
        self._path = str(self._folder)
        self._below = f"{layout.CHILDREN}/{child}/" if child else ""
        self._known: dict[str, Path | None] = {}

    @cached_property
    def variables(self) -> Mapping[str, str]:
        """From the plan, and where the agent saw that it logs. Of a thousand runs few have a server of their own: the others'
        plans are not even parsed.
        """
        found = self.local(layout.TRACKING_DOCUMENT)
        return {**(_variables(found.read_bytes()) if found else {}), **self._of_plan()}

    def _of_plan(self) -> Mapping[str, str]:
        try:
            with open(f"{self._path}/{layout.PLAN_DOCUMENT}", "rb") as file:  # noqa: PTH123
                text = file.read()
        except OSError:
            return {}
        if b"MLFLOW_TRACKING_URI" not in text:
            return {}
        variables: dict[str, str] = json.loads(text)["plan"].get("environment_variables", {})
        return variables

    def local(self, path: str) -> Path | None:
        """Raises TransportError, StoreError."""
        if path not in self._known:
            found, size = self._found(self._below + path)
            self._known[path] = found
            self.size += size
        return self._known[path]

    def document(self, name: str) -> Any:
        """A JSON document of the run folder here; None where there is none, or it is damaged."""
        if name not in self._at_top:
            return None
        try:
            with open(f"{self._path}/{name}", "rb") as file:  # noqa: PTH123  (a thousand runs)
                return json.loads(file.read())
        except (OSError, ValueError):
            return None

    def below(self, folder: str) -> Mapping[str, int]:
        """Raises TransportError."""
        if not self._is_elsewhere:
            return self._sizes_here(self._below + folder)
        if self._kept is not None:
            return self._kept if folder == layout.LOGS else self._sizes_here(self._below + folder)
        if self._settled or self.stale:
            return self._sizes_here(f"{layout.TRACKED}/{self._below}{folder}")
        return self._backend.list_files(self._handle, self._below + folder)

    def _found(self, path: str) -> tuple[Path | None, int]:
        """The file, and its bytes."""
        is_here = self._is_over or not self._backend.is_far  # what is kept of a far run is whole when it has ended
        if is_here and self._may_be_here(path):
            size = _size(f"{self._path}/{path}")
            if size is not None:
                return self._folder / path, size
        if not self._is_elsewhere or (self._kept is not None and path.endswith((".json", ".jsonl"))):
            return None, 0
        copy = self._folder / layout.TRACKED / path
        if not self._settled and not self.stale:
            try:
                self._bring(path, copy)
            except TransportError as failed:
                if not copy.exists():
                    raise
                self.stale = failed.message
        size = _size(str(copy))
        return (None, 0) if size is None else (copy, size)

    def _may_be_here(self, path: str) -> bool:
        return path.partition("/")[0] in self._at_top

    def _sizes_here(self, folder: str) -> dict[str, int]:
        return _sizes(f"{self._path}/{folder}") if self._may_be_here(folder) else {}

    @cached_property
    def _at_top(self) -> frozenset[str]:
        """What is in the run folder here: of a thousand runs most have few of the files that are asked for."""
        try:
            return frozenset(os.listdir(self._path))  # noqa: PTH208
        except OSError:
            return frozenset()

    @cached_property
    def _is_elsewhere(self) -> bool:
        """Whether files that are not here may be somewhere: on another machine, or, while it runs, in a container."""
        return not self._is_over or self._backend.is_far

    @cached_property
    def _kept(self) -> Mapping[str, int] | None:
        """Of a run elsewhere whose records were brought here when it ended: the files below ``logs``; else None."""
        if not self._is_over or not self.is_far:
            return None
        try:
            logs: dict[str, int] = json.loads((self._folder / layout.KEPT_DOCUMENT).read_bytes())["logs"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return logs

    def _bring(self, path: str, copy: Path) -> None:
        """Make the copy what the file is: what grows is continued, a JSON document replaced."""
        grows = not path.endswith(".json")
        have = copy.stat().st_size if grows and copy.is_file() else 0
        data = self._backend.read(self._handle, path, have, _CHUNK)
        if not data:
            return
        try:
            copy.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not grows:
                fresh = copy.with_name(f".{copy.name}.{os.getpid()}")
                fresh.write_bytes(data)
                fresh.replace(copy)
                return
            with copy.open("ab", buffering=0) as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                offset = file.seek(0, os.SEEK_END)
                if offset != have:  # another command has brought it meanwhile
                    data = self._backend.read(self._handle, path, offset, _CHUNK)
                while data:
                    file.write(data)
                    offset += len(data)
                    data = self._backend.read(self._handle, path, offset, _CHUNK) if len(data) == _CHUNK else b""
        except OSError as error:
            raise StoreError(f"cannot keep a copy of {path} of run {self.name}: {error.strerror}") from error

    @property
    def are_here(self) -> bool:
        """Whether nobody else is asked for them."""
        return not self._is_elsewhere or (self._kept is not None and (self._folder / layout.USER_LOGS).exists())

    @property
    def is_far(self) -> bool:
        """Whether the files are on another machine."""
        return self._backend.is_far

    @cached_property
    def _backend(self) -> Backend:
        return self._services.backend(self._run.backend)

    @cached_property
    def _handle(self) -> RunHandle:
        return handle(self._services, self._run)


def _variables(text: bytes) -> dict[str, str]:
    try:
        told = json.loads(text)
        return {str(name): str(value) for name, value in told.items()}
    except (ValueError, AttributeError):
        return {}


def _size(file: str) -> int | None:
    """None for what is no file."""
    try:
        told = os.stat(file)  # noqa: PTH116
    except OSError:
        return None
    return told.st_size if stat.S_ISREG(told.st_mode) else None


def _sizes(folder: str) -> dict[str, int]:
    """The files below a folder: relative path -> bytes. Links to folders are not followed."""
    found: dict[str, int] = {}
    pending = [""]
    while pending:
        inside = pending.pop()
        try:
            entries = list(os.scandir(f"{folder}/{inside}"))
        except OSError:
            continue
        for entry in entries:
            path = f"{inside}{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                pending.append(f"{path}/")
            elif entry.is_file():
                found[path] = entry.stat().st_size
    return found
