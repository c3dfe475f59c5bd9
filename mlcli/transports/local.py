"""The machine at hand: commands are child processes, files are files."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from mlcli import agent
from mlcli.domain.errors import MlcliError, TransportError
from mlcli.ports.stores import SnapshotStore
from mlcli.ports.transports import Completed, Later, Transport
from mlcli.transports._files import error_of, errors, make_folder, replacing

if TYPE_CHECKING:
    from mlcli.transports._starter import Starter


_AGENT_FOLDER = str(Path(agent.__file__).parent.absolute())


class LocalTransport(Transport):
    """The machine that mlcli itself runs on. ``starts_many``: one process is kept that starts agents, for who has many to start."""

    def __init__(self, *, starts_many: bool = False) -> None:
        self._starts_many = starts_many
        self._starter: Starter | None = None

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
        timeout_s: float = 60.0,
        repeatable: bool = False,  # noqa: ARG002  (there is always an answer)
    ) -> Completed:
        """Run it in a session of its own, so that a Ctrl-C meant for mlcli does not cut it short.

        A command that mlcli runs from inside a job is not one of that job's processes: it must not be ended with them.
        """
        import subprocess

        starter = self._asked(argv)
        if starter is not None:
            with suppress(OSError):
                return starter.answer(argv[-1])
            self.close()
        variables = _variables(environment or {})
        try:
            done = subprocess.run(
                list(argv),
                input=stdin,
                capture_output=True,
                env=variables,
                timeout=timeout_s,
                start_new_session=True,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise TransportError(f"{argv[0]} did not answer within {timeout_s:g} seconds", transient=True) from None
        except OSError as refused:
            raise error_of(refused, argv[0]) from None
        return Completed(done.returncode, done.stdout, done.stderr)

    def begin(self, argv: Sequence[str]) -> Later[Completed] | None:
        """The start of an agent, where one process is kept for that."""
        starter = self._asked(argv)
        if starter is None:
            return None
        return Later(starter.file, lambda: starter.has_answered(argv[-1]), lambda: self.run(argv))

    def _asked(self, argv: Sequence[str]) -> Starter | None:
        """The process that has been asked to start this agent; None where there is none, or it has just died."""
        is_start = list(argv[:-1]) == agent.invocation(self.python(), self.agent_folder(), "start")
        if not self._starts_many or not is_start or "\n" in argv[-1]:
            return None
        from mlcli.transports._starter import Starter

        try:
            if self._starter is None:
                self._starter = Starter(self.agent_folder(), _variables({}))
            self._starter.ask(argv[-1])
        except OSError:
            self.close()
        return self._starter

    def close(self) -> None:
        """End the process that starts agents."""
        if self._starter is not None:
            self._starter.close()
            self._starter = None

    def python(self) -> str:
        """The interpreter that runs mlcli."""
        return sys.executable

    def agent_folder(self) -> str:
        """Where mlcli itself has it."""
        return _AGENT_FOLDER

    def put(self, source: Path, target: str) -> None:
        """Copy a file or a folder tree."""
        with errors(target):
            _copy(source.resolve(strict=True), Path(target))

    def get(self, source: str, target: Path) -> None:
        """Copy a file or a folder tree; each file is there whole or not at all."""
        with errors(source):
            _copy(Path(source).resolve(strict=True), target)

    def read(self, path: str, offset: int = 0, limit: int | None = None) -> bytes | None:
        """Bytes of a file."""
        with errors(path):
            try:
                file = open(path, "rb", buffering=0)  # noqa: PTH123, SIM115  (closed below; a stream reads 50 times a second)
            except (FileNotFoundError, NotADirectoryError):
                return None
            with file:
                file.seek(offset)
                return _read(file.fileno(), limit)

    def write(self, path: str, data: bytes, *, mode: int = 0o600, sync: bool = True) -> None:
        """Replace a file atomically."""
        self.make_folder(os.path.dirname(path))  # noqa: PTH120
        with errors(path), replacing(Path(path)) as temporary:
            file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            with open(file, "wb") as stream:  # noqa: PTH123  (a descriptor)
                stream.write(data)
                stream.flush()
                if sync:
                    os.fsync(file)

    def make_folder(self, *paths: str) -> None:
        """Make folders and their parents, the new ones 0700."""
        for path in paths:
            with errors(path):
                make_folder(path)

    def place(self, target: str, digest: str | None, snapshots: SnapshotStore | None) -> None:
        """Written by the store itself."""
        if not os.path.isdir(target):  # noqa: PTH112
            with errors(target):
                _place(Path(target), digest, snapshots)

    def forward(self, port: int) -> int:
        """The port itself."""
        return port

    def forward_socket(self, path: str) -> str:
        """The socket itself."""
        return path

    def local(self, path: str) -> Path | None:
        """The path itself."""
        return Path(path)


def _variables(given: Mapping[str, str]) -> dict[str, str]:
    """Ours and these, without the mark of a job that we may be running in."""
    variables = {**os.environ, **given}
    variables.pop(agent.COOKIE, None)
    return variables


def _read(file: int, limit: int | None) -> bytes:
    parts = []
    left = sys.maxsize if limit is None else limit
    while left > 0 and (part := os.read(file, min(left, 1 << 20))):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def _place(target: Path, digest: str | None, snapshots: SnapshotStore | None) -> None:
    import shutil

    partial = target.with_name(f"{target.name}.partial")
    if partial.exists():
        shutil.rmtree(partial)
    try:
        make_folder(partial)
        if digest is not None and snapshots is not None:
            snapshots.materialise(digest, partial)
        partial.rename(target)
    except (OSError, MlcliError):
        shutil.rmtree(partial, ignore_errors=True)  # it may be what fills the disk: the failure must find room
        raise


def _copy(source: Path, target: Path) -> None:
    """Copy as ``cp -a`` does: times and modes kept, symbolic links below a folder stay links."""
    import shutil

    if not source.is_dir():
        make_folder(target.parent)
        with replacing(target) as temporary:
            shutil.copy2(source, temporary)
        return
    make_folder(target)
    for entry in os.scandir(source):
        if entry.is_symlink():
            with replacing(target / entry.name) as temporary:
                temporary.symlink_to(Path(entry.path).readlink())
        else:
            _copy(Path(entry.path), target / entry.name)
