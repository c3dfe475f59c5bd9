"""Named computes as files: one JSON document each, replaced by rename.

On disk, below ``<workspace>/computes``: ``NAME.json``; ``.NAME.lock``, held while nodes of it are given out;
``.NAME.watcher.json``, the process that waits for free ones; ``.lock``, held while a document is written;
``hosts/KEY.json``, every SSH host that a compute has, or had.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from mlcli.domain.compute import Compute, SshHost
from mlcli.domain.errors import NameTakenError, NotFoundError, StoreError
from mlcli.ports.stores import ComputeStore
from mlcli.stores._files import read_json, replace_json
from mlcli.stores._sqlite import store_errors

_SUFFIX = ".json"
_LONGEST = 200
_Paths = list[Path]  # inside the class, ``list`` is the method


class FileComputes(ComputeStore):
    """The computes of the workspace whose folder is ``root``."""

    def __init__(self, root: Path) -> None:
        self._root = root / "computes"
        self.notices: list[str] = []

    def create(self, compute: Compute) -> None:
        """Written whole, while nobody else writes."""
        with self._locked(".lock"):
            if os.path.lexists(self._file(compute.name)):
                raise NameTakenError(
                    f"there is a compute {compute.name!r} already",
                    hint=f"change it with: mlcli compute update --name {compute.name}; or delete it first",
                )
            self._write(compute)

    def get(self, name: str) -> Compute:
        """Read from its file."""
        found = self._read(self._file(name)) if _may_exist(name) else None
        if found is None:
            raise self._not_found(name)
        return found

    def list(self) -> Sequence[Compute]:
        """Those that can be read; the others are told in ``notices``."""
        found = []
        for file in self._files():
            try:
                compute = self._read(file)
            except StoreError as damaged:
                self.notices.append(f"{damaged.message}: it is left out")
                continue
            if compute is not None:
                found.append(compute)
        return found

    def edit(self, name: str, change: Callable[[Compute], Compute]) -> Compute:
        """Under the lock of all writers."""
        with self._locked(".lock"):
            edited = change(self.get(name))
            self._write(edited)
            return edited

    def delete(self, name: str) -> None:
        """The lock of its nodes stays: somebody may hold it."""
        with self._locked(".lock"), store_errors(f"cannot delete compute {name}", self._root):
            if not _may_exist(name) or not os.path.lexists(self._file(name)):
                raise self._not_found(name)
            self._file(name).unlink()
            self._watcher_file(name).unlink(missing_ok=True)

    def host(self, key: str) -> SshHost:
        """Read from its file."""
        file = self._host_file(key)
        with store_errors(f"cannot read the SSH host {key}", self._root):
            try:
                record = read_json(file) if _may_exist(key) else None
                if record is not None:
                    return _host(record)
            except (ValueError, TypeError, KeyError) as error:
                hint = "update the compute, or attach it again: its host is then written anew"
                raise StoreError(f"{file} is damaged", hint=hint) from error
        raise NotFoundError(
            f"no compute of workspace {self._root.parent.name!r} has, or had, the SSH host {key}",
            hint="attach it again, with the same address, port, user and folder",
        )

    @contextmanager
    def allocating(self, name: str) -> Iterator[None]:
        """``flock``: free again when the process has gone."""
        with self._locked(f".{name}.lock"):
            yield

    def watcher(self, name: str) -> Mapping[str, Any] | None:
        """None for a file that nobody can make sense of, too."""
        with store_errors(f"cannot read who watches compute {name}", self._root):
            try:
                identity = read_json(self._watcher_file(name))
            except ValueError:
                return None
        known = isinstance(identity, dict) and {"boot_id", "pid", "start_time"} <= set(identity)
        return identity if known else None

    def set_watcher(self, name: str, identity: Mapping[str, Any] | None) -> None:
        """By rename."""
        with store_errors(f"cannot note who watches compute {name}", self._root):
            if identity is None:
                self._watcher_file(name).unlink(missing_ok=True)
            else:
                replace_json(self._watcher_file(name), dict(identity))

    def _file(self, name: str) -> Path:
        return self._root / f"{name}{_SUFFIX}"

    def _host_file(self, key: str) -> Path:
        return self._root / "hosts" / f"{key}{_SUFFIX}"

    def _watcher_file(self, name: str) -> Path:
        return self._root / f".{name}.watcher{_SUFFIX}"

    def _files(self) -> _Paths:
        with store_errors("cannot list the computes", self._root):
            try:
                names = os.listdir(self._root)  # noqa: PTH208
            except FileNotFoundError:
                return []
        return [self._root / name for name in sorted(names) if name.endswith(_SUFFIX) and not name.startswith(".")]

    def _read(self, file: Path) -> Compute | None:
        """The compute of a file, None when there is no such file. Raises StoreError when it is damaged."""
        with store_errors(f"cannot read compute {file.stem}", self._root):
            try:
                record = read_json(file)
                return None if record is None else _compute(record)
            except (ValueError, TypeError, KeyError) as error:
                hint = "put it back from a backup, or remove it and create the compute again"
                raise StoreError(f"{file} is damaged", hint=hint) from error

    def _write(self, compute: Compute) -> None:
        with store_errors(f"cannot write compute {compute.name}", self._root):
            if compute.ssh is not None:
                (self._root / "hosts").mkdir(exist_ok=True, mode=0o700)
                replace_json(self._host_file(compute.ssh.key), asdict(compute.ssh))
            replace_json(self._file(compute.name), asdict(compute))

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        with store_errors("cannot lock the computes", self._root):
            self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = os.open(self._root / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _not_found(self, name: str) -> NotFoundError:
        import difflib

        names = [file.name.removesuffix(_SUFFIX) for file in self._files()]
        near = difflib.get_close_matches(name, names, n=3)
        if near:
            hint = f"did you mean {' or '.join(map(repr, near))}?"
        else:
            shown = f"there are: {', '.join(names[:8])}; " if names else ""
            hint = f"{shown}make one with: mlcli compute create --name NAME --type amlcompute"
        return NotFoundError(f"there is no compute named {name!r} in workspace {self._root.parent.name!r}", hint=hint)


def _may_exist(name: str) -> bool:
    return bool(name) and name[0] != "." and not {"/", "\0"} & set(name) and len(name) <= _LONGEST


def _compute(record: Any) -> Compute:
    if not isinstance(record, Mapping):
        raise TypeError("not the record of a compute")
    known = {field.name for field in fields(Compute)}
    facts = {key: value for key, value in record.items() if key in known}
    if not isinstance(facts["name"], str) or not isinstance(facts["document"], dict):
        raise TypeError("not the record of a compute")
    ssh = facts.get("ssh")
    return Compute(**{**facts, "ssh": _host(ssh) if ssh else None})


def _host(record: Any) -> SshHost:
    if not isinstance(record, Mapping) or not isinstance(record["address"], str):
        raise TypeError("not the record of an SSH host")
    known = {field.name for field in fields(SshHost)}
    return SshHost(**{key: value for key, value in record.items() if key in known})
