"""Transport: how commands and files reach a machine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from mlcli.domain.errors import TransportError
from mlcli.ports.stores import SnapshotStore


@dataclass(frozen=True)
class Completed:
    """How a short command on the machine ended; output is bytes, whole."""

    code: int
    stdout: bytes
    stderr: bytes


_Answer = TypeVar("_Answer")


@dataclass(frozen=True)
class Later(Generic[_Answer]):
    """An answer that may still be to come. ``file``: a descriptor that can be read from when it may be there. ``get``: the answer,
    waited for where it is not there; once.
    """

    file: int
    is_there: Callable[[], bool]
    get: Callable[[], _Answer]


class Transport(ABC):
    """One machine. Paths given as ``str`` are absolute POSIX paths on that machine; ``Path`` is this machine's.

    Every method raises :class:`~mlcli.domain.errors.TransportError` (``transient`` says whether trying again may help).
    A command is an argv list to the last moment; where the wire takes one string, the transport alone joins it.
    """

    @abstractmethod
    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
        timeout_s: float = 60.0,
        repeatable: bool = False,
    ) -> Completed:
        """Run a short command and wait for it. ``environment`` is added to the machine's own.

        ``repeatable``: it may be run twice, so that it is run again when no answer came. Any other is run once at most: no
        answer is then a transient error.
        """

    def begin(self, argv: Sequence[str]) -> Later[Completed] | None:  # noqa: ARG002
        """As ``run``, of a command that may be run twice, without waiting for it; None where it is to be run."""
        return None

    @abstractmethod
    def python(self) -> str:
        """The interpreter there that runs the agent: an absolute path, Python >= 3.8."""

    @abstractmethod
    def agent_folder(self) -> str:
        """The folder there that holds ``agent.FILES`` (put there first when it does not)."""

    @abstractmethod
    def put(self, source: Path, target: str) -> None:
        """Copy a local file or folder tree there. An existing file is replaced; folders are merged."""

    @abstractmethod
    def get(self, source: str, target: Path) -> None:
        """Copy a file or folder tree from there. An existing file is replaced; folders are merged."""

    def get_files(self, files: Iterable[tuple[str, Path, int]]) -> Iterator[bool]:
        """Copy files from there: of each its path there, its place here, and its size in bytes as it was a moment ago.

        For each, in order, when it has been copied: True; False for one that is not there any more.
        """
        for source, target, _ in files:
            yield self._got(source, target)

    def _got(self, source: str, target: Path) -> bool:
        try:
            self.get(source, target)
        except TransportError:
            if self.read(source, 0, 0) is None:
                return False
            raise
        return True

    @abstractmethod
    def read(self, path: str, offset: int = 0, limit: int | None = None) -> bytes | None:
        """Bytes of a file from ``offset`` (at most ``limit``); empty at its end; None when there is no such file."""

    @abstractmethod
    def write(self, path: str, data: bytes, *, mode: int = 0o600, sync: bool = True) -> None:
        """Replace a file atomically (temporary file, fsync, rename); its folder is made when missing. ``sync``: it must
        survive a power cut; one that is of no use after it need not be waited for.
        """

    @abstractmethod
    def make_folder(self, *paths: str) -> None:
        """Make folders and their parents; no error when they are there. New ones are 0700."""

    @abstractmethod
    def place(self, target: str, digest: str | None, snapshots: SnapshotStore | None) -> None:
        """Make the folder ``target``, a fresh copy of a snapshot (empty without one); nothing when it is there.

        It gets its name when it is complete; what another attempt has left half done is thrown away, and a copy that does
        not fit too. Also raises SnapshotError for a snapshot that cannot be read.
        """

    @abstractmethod
    def forward(self, port: int) -> int:
        """A port on this machine's loopback that reaches ``port`` on the machine's loopback."""

    @abstractmethod
    def forward_socket(self, path: str) -> str:
        """A Unix socket of this machine, for nobody else, that reaches the one at ``path`` on the machine."""

    def local(self, path: str) -> Path | None:  # noqa: ARG002
        """The same file as this machine sees it, so that it need not be copied; None when the machine is another one."""
        return None

    def close(self) -> None:  # noqa: B027  (nothing to close is the common case)
        """Let go of connections. Idempotent."""
