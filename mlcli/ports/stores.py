"""The stores: runs (folders are the truth, an index finds them), snapshots (content addressed), named assets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlcli.domain.compute import Compute, SshHost
from mlcli.domain.run import Event, Lease, Run, RunChanges, RunFilter


class RunStore(ABC):
    """Every run of a workspace. Raises StoreError when the disk refuses, NotFoundError for a name that is not there.

    The folder is written first, then the index row; whatever is in the index can be rebuilt from the folders. Every
    write is one transaction; ends absorb, but for a sweep that is resumed: an event that does not move the run
    (:func:`mlcli.domain.run.moves`) is dropped, never an error.

    ``notices``: sentences for the person about what had to be mended (an index made anew). ``reindex_problems``: one
    sentence for each folder that the last ``reindex`` could not read as a run, and left alone.
    """

    notices: Sequence[str]
    reindex_problems: Sequence[str]

    @abstractmethod
    def create(self, run: Run, documents: Mapping[str, Any]) -> Path:
        """Make the run's folder and index row; answers the folder. ``documents``: file name -> JSON value, kept in the
        folder (``job.json``, ``plan.json``). Raises NameTakenError.
        """

    @abstractmethod
    def get(self, name: str) -> Run:
        """One run. Raises NotFoundError with the nearest names."""

    @abstractmethod
    def list(self, which: RunFilter) -> Sequence[Run]:
        """Runs, newest first."""

    @abstractmethod
    def folder(self, name: str) -> Path:
        """The run's folder (whether or not it exists). Pure."""

    @abstractmethod
    def document(self, name: str, file: str) -> Any:
        """A JSON document of the run's folder, None when it has none of that name."""

    @abstractmethod
    def write_document(self, name: str, file: str, value: Any) -> None:
        """Replace a JSON document of the run's folder atomically."""

    @abstractmethod
    def append(self, name: str, event: Event, lease: Lease | None = None) -> Run:
        """Move the run where its state allows it (else leave it), and answer what it now is. With a ``lease`` the write
        happens only while that lease is held (else LeaseLostError).
        """

    @abstractmethod
    def events(self, name: str) -> Sequence[Event]:
        """Every move of the run, oldest first; the first is its creation."""

    @abstractmethod
    def edit(self, name: str, change: Callable[[Run], RunChanges]) -> Run:
        """Change what a person may change. ``change`` is asked for it with the run as it is, while nobody else writes: of
        two edits at once neither undoes the other. It is pure; where it raises, nothing is changed.
        """

    def update(self, name: str, changes: RunChanges) -> Run:
        """The same, when what changes does not hang on what the run is."""
        return self.edit(name, lambda _run: changes)

    @abstractmethod
    def claim(self, name: str, ttl_s: float = 60.0) -> Lease | None:
        """Become the run's one writer, or None while another live process is. A dead owner's lease is free at once; one
        whose owner is on another machine, where nobody can see whether it lives, ``ttl_s`` seconds after its last renewal.
        """

    @abstractmethod
    def renew(self, lease: Lease, ttl_s: float = 60.0) -> Lease:
        """Hold it longer. Raises LeaseLostError when it was lost."""

    @abstractmethod
    def release(self, lease: Lease) -> None:
        """Let it go. Idempotent."""

    @abstractmethod
    def unattended(self) -> Sequence[Run]:
        """Runs that wait for a supervisor (not yet submitted to their backend) and whose lease nobody alive holds."""

    @abstractmethod
    def delete(self, name: str) -> int:
        """Remove folder and row; the number of bytes freed. The folder goes first under another name, so that a
        killed delete leaves no half run.
        """

    @abstractmethod
    def reindex(self) -> int:
        """Rebuild the index from the folders; the number of runs found."""

    @abstractmethod
    def complete(self, prefix: str, limit: int = 50) -> Sequence[str]:
        """Run names that start with ``prefix``, newest first, for shell completion."""


@dataclass(frozen=True)
class SnapshotSummary:
    """What a folder's snapshot holds: number of files, bytes, and its biggest paths with their sizes."""

    files: int
    size: int
    biggest: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class StoredSnapshot:
    """A stored snapshot: its digest, its summary, and how many bytes were new to the store."""

    digest: str
    summary: SnapshotSummary
    new_files: int
    new_bytes: int


@dataclass(frozen=True)
class SnapshotEntry:
    """One thing in a snapshot. ``kind``: ``file``, ``folder`` or ``link``. ``content``: a file's blob digest, a link's text."""

    kind: str
    path: str
    mode: int
    size: int
    content: str


class SnapshotStore(ABC):
    """Code folders by content: the same files are stored once, whatever run they belong to. Raises SnapshotError.

    ``notices``: sentences for the person about what had to be mended (a store made anew).
    """

    notices: Sequence[str]

    @abstractmethod
    def scan(self, folder: Path) -> SnapshotSummary:
        """What ``put`` would hold, without storing (ignore rules applied, limits checked)."""

    @abstractmethod
    def put(self, folder: Path) -> StoredSnapshot:
        """Store the folder as it is now; files that the store has are not written again.

        Symbolic links to files and folders inside the folder are kept as links; one that leaves the folder is followed
        and its content stored; a dangling one, an unreadable file and a snapshot over the limit are SnapshotErrors that
        name the paths.
        """

    @abstractmethod
    def materialise(self, digest: str, target: Path) -> None:
        """Write the snapshot's files below ``target`` (made when missing) as fresh copies, modes kept."""

    @abstractmethod
    def entries(self, digest: str) -> Iterable[tuple[str, str, int]]:
        """(relative path, blob digest, size) of every file, sorted by path."""

    @abstractmethod
    def tree(self, digest: str) -> Iterable[SnapshotEntry]:
        """Everything in it, each folder before what it holds: enough to write it out elsewhere."""

    @abstractmethod
    def blob(self, digest: str) -> Iterable[bytes]:
        """The bytes of a blob, in pieces. What is not what its digest says is a SnapshotError."""

    @abstractmethod
    def missing(self, digests: Iterable[str]) -> set[str]:
        """Those blob digests that the store does not have."""

    @abstractmethod
    def prune(self, keep: Iterable[str]) -> int:
        """Delete snapshots and blobs not reachable from ``keep`` (snapshot digests); bytes freed. One put a moment ago is
        kept too: the run that it is for may not be recorded yet.
        """


class DownloadCache(ABC):
    """Files from the web, fetched once and kept by URL."""

    @abstractmethod
    def cached(self, url: str) -> Path | None:
        """The whole, checked copy of ``url`` if it is there (it may be stale), without asking the network."""

    @abstractmethod
    def fetch(self, url: str, log: Callable[[str], None]) -> Path:
        """A whole, current, read-only copy. An interrupted download goes on where it stood (HTTP ranges, when the
        server's validator still matches); length and any checksum that the server states are verified; a copy that the
        server says is unchanged is not sent again. ``log`` takes progress lines. Raises TransportError, credentials in
        the URL never shown.
        """


@dataclass(frozen=True)
class Asset:
    """One version of a named thing. ``kind``: ``environment``, ``data``, ``model``, ``component``, ``datastore``, ...

    ``document``: its definition, a JSON mapping in today's words. ``created_at``: seconds since the epoch, UTC; of two
    versions of one name the later is greater. ``labels``: each stands at one version of the name, or at none.
    ``folder``: the files that are kept with it, an absolute path, None when there are none.
    """

    kind: str
    name: str
    version: str
    document: Mapping[str, Any]
    created_at: float
    description: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    archived: bool = False
    folder: Path | None = None


@dataclass(frozen=True)
class AssetChanges:
    """What a person may change of a version; None leaves it. ``add_labels`` are taken from the version that had them."""

    description: str | None = None
    tags: Mapping[str, str] | None = None
    archived: bool | None = None
    add_labels: tuple[str, ...] = ()
    remove_labels: tuple[str, ...] = ()


class AssetStore(ABC):
    """Named, versioned definitions of one workspace. A version's definition never changes once it is there.

    Raises NotFoundError with the nearest names, StoreError naming a file that is damaged or a disk that refuses.
    ``notices``: sentences for the person about damaged files that a list had to leave out.
    """

    notices: Sequence[str]

    @abstractmethod
    def create(
        self,
        kind: str,
        name: str,
        document: Mapping[str, Any],
        *,
        version: str | None = None,
        description: str | None = None,
        tags: Mapping[str, str] | None = None,
        files: Path | None = None,
        ignore: Callable[[str, list[str]], set[str]] | None = None,
        unless: Callable[[Asset], bool] | None = None,
    ) -> Asset:
        """Register a version; without ``version`` the next whole number of that name. Of two at once with the same
        version one wins. ``files``: a folder of which a copy is kept, or one file, kept in a folder of its own; ``ignore``
        as :func:`shutil.copytree` takes it. ``unless``: a version of the name for which it holds is answered, and nothing
        is made; nobody else writes meanwhile. Raises NameTakenError.
        """

    @abstractmethod
    def find(self, kind: str, name: str, *, version: str | None = None, label: str | None = None) -> Asset:
        """That version, archived or not; the one with that label; with neither (or the label ``latest``) the newest that is
        not archived.
        """

    @abstractmethod
    def versions(self, kind: str, name: str) -> Sequence[Asset]:
        """Every version of a name, archived ones too, newest first. Raises NotFoundError when there is none."""

    @abstractmethod
    def names(self, kind: str) -> Sequence[str]:
        """Every name of that kind, in order."""

    @abstractmethod
    def edit(self, kind: str, name: str, version: str, change: Callable[[Asset], AssetChanges]) -> Asset:
        """Change what may change. ``change`` is asked with the version as it is, while nobody else writes; it is pure, and
        where it raises nothing is changed.
        """

    @abstractmethod
    def delete(self, kind: str, name: str, version: str | None = None) -> int:
        """Remove a version, or every version of the name, with the files kept with it; bytes freed."""


class ComputeStore(ABC):
    """The named computes of one workspace, and who looks after the runs that wait for each.

    Raises NotFoundError with the nearest names, StoreError naming a file that is damaged or a disk that refuses.
    ``notices``: sentences for the person about damaged files that a list had to leave out.
    """

    notices: Sequence[str]

    @abstractmethod
    def create(self, compute: Compute) -> None:
        """Keep a new one. Of two at once with the same name one wins. Raises NameTakenError."""

    @abstractmethod
    def get(self, name: str) -> Compute:
        """The compute of that name."""

    @abstractmethod
    def list(self) -> Sequence[Compute]:
        """All of them, by name."""

    @abstractmethod
    def edit(self, name: str, change: Callable[[Compute], Compute]) -> Compute:
        """Replace it by what ``change`` makes of it, while nobody else writes; where that raises, nothing is changed."""

    @abstractmethod
    def delete(self, name: str) -> None:
        """Forget it; its host is kept."""

    @abstractmethod
    def host(self, key: str) -> SshHost:
        """The SSH host of that :attr:`~mlcli.domain.compute.SshHost.key` which a compute has, or had once, as it was written
        last: runs are found there when the compute is gone.
        """

    @abstractmethod
    def allocating(self, name: str) -> AbstractContextManager[None]:
        """Be the one process that gives out nodes of that compute; waits for its turn. Ends with the process."""

    @abstractmethod
    def watcher(self, name: str) -> Mapping[str, Any] | None:
        """Which process waits for free nodes of it: a record of :func:`mlcli.agent.identity`, whether or not it lives."""

    @abstractmethod
    def set_watcher(self, name: str, identity: Mapping[str, Any] | None) -> None:
        """Note which process does, None: nobody."""
