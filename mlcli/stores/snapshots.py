"""Code snapshots by content. A snapshot is a tree of nodes, one a folder, named by the digest of what it lists; the same
file is stored once and an unchanged folder is not even written down again.

Kept: names (any bytes), permission bits of files, symbolic links, empty folders. Not kept: owners, times, hard links
(each name is a file of its own), permission bits of folders (a job must be able to write into its own copy).
A snapshot is what each file held when it was read; one that changes meanwhile is read again. Every byte is checked
against its digest when it is written out.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlcli.domain.errors import SnapshotError, StoreError
from mlcli.ports.stores import SnapshotEntry, SnapshotStore, SnapshotSummary, StoredSnapshot
from mlcli.stores._memory import Memory, recall, remember
from mlcli.stores._objects import SMALL, Added, DamagedError, Objects
from mlcli.stores._scan import (
    MODE,
    NAME,
    SIZE,
    WIDTH,
    Facts,
    Folder,
    Remembered,
    Scan,
    biggest_of,
    facts_of,
    rows_by_name,
    to_remember,
    unfit,
    unpack,
)
from mlcli.stores._sqlite import is_full, store_errors

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from mlcli.domain.settings import Settings

GRACE_S = 600.0
_MB = 1024 * 1024
_BATCH_BYTES = 8 * _MB
_BATCH_COUNT = 4000
_ATTEMPTS = 3
_DIGEST = 32
_REFRESH_S = 60.0
_KINDS = {b"d": "folder", b"f": "file", b"l": "link"}
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW


@dataclass(frozen=True)
class Entry:
    """One line of a node. ``kind``: ``f`` file, ``d`` folder, ``l`` symbolic link.

    ``content``: the digest in hex, or a link's text. ``size`` and ``files`` count all that is below a folder.
    """

    kind: bytes
    mode: int
    size: int
    files: int
    content: bytes
    name: bytes


def encode_node(entries: Iterable[Entry]) -> bytes:
    """A folder as bytes: five fields an entry and a name, each ended by a zero byte, sorted by name."""
    fields: list[bytes] = [b"folder"]
    for entry in sorted(entries, key=lambda entry: entry.name):
        numbers = (b"%o" % entry.mode, b"%d" % entry.size, b"%d" % entry.files)
        fields += (entry.kind, *numbers, entry.content, entry.name)
    return b"\0".join(fields)


def decode_node(data: bytes) -> list[Entry]:
    """The entries of a folder. Raises ValueError for bytes that are not one."""
    first, *fields = data.split(b"\0")
    if first != b"folder":
        raise ValueError("not a folder")
    return [
        Entry(kind, int(mode, 8), int(size), int(files), content, name)
        for kind, mode, size, files, content, name in zip(*[iter(fields)] * 6, strict=True)
    ]


class ContentStore(SnapshotStore):
    """The snapshots of one workspace, below ``root/snapshots``.

    ``notices``: sentences for the person (a store that had to be made anew). A snapshot put within the last ten minutes
    outlives every ``prune``: the run that it is for may not be recorded yet.
    """

    def __init__(self, root: Path, settings: Settings) -> None:
        self._workspace = root.absolute()
        self._root = self._workspace / "snapshots"
        self._settings = settings
        self.notices: list[str] = []
        self._objects = Objects(self._root, self.notices)

    def scan(self, folder: Path) -> SnapshotSummary:
        """One walk; nothing is read but ignore files, nothing written."""
        with store_errors(f"cannot look at {folder}", self._workspace):
            return _summary(self._scan(folder, recall(self._memory(folder)).folders))

    def put(self, folder: Path) -> StoredSnapshot:
        """One walk, then what is not known of it already is read. Killed in the middle, it leaves no snapshot."""
        with store_errors(f"cannot store a snapshot of {folder}", self._workspace):
            for _ in range(_ATTEMPTS):
                stored = self._put(folder)
                if stored is not None:
                    return stored
        raise SnapshotError(f"others keep deleting snapshots while {folder} is stored", hint="try again")

    def materialise(self, digest: str, target: Path) -> None:
        """Fresh copies, each checked against its digest. An object found damaged is taken out of the store, so that the
        next ``put`` stores it again.
        """
        with store_errors(f"cannot write the snapshot to {target}", target):
            try:
                _Materialising(self._objects).folder(_raw(digest), str(target))
            except DamagedError as damage:
                self._discard(damage.digest)
                raise SnapshotError(
                    f"the snapshot {digest[:12]} cannot be written out: {damage}",
                    hint="submit from the code folder again: that stores it anew",
                ) from damage

    def entries(self, digest: str) -> Iterable[tuple[str, str, int]]:
        """Files only: links and empty folders have no bytes to send."""
        with store_errors(f"cannot read the snapshot {digest[:12]}", self._workspace):
            try:
                return sorted(self._files(_raw(digest), b""))
            except DamagedError as damage:
                raise SnapshotError(f"the snapshot {digest[:12]} cannot be read: {damage}") from damage

    def tree(self, digest: str) -> Iterable[SnapshotEntry]:
        """Nodes are read one at a time."""
        with store_errors(f"cannot read the snapshot {digest[:12]}", self._workspace):
            try:
                return list(self._everything(_raw(digest), b""))
            except DamagedError as damage:
                raise SnapshotError(f"the snapshot {digest[:12]} cannot be read: {damage}") from damage

    def blob(self, digest: str) -> Iterator[bytes]:
        """A small one at once; a big one is checked when its last piece has been given."""
        with store_errors(f"cannot read the blob {digest[:12]}", self._workspace):
            try:
                yield from self._objects.pieces(_raw(digest))
            except DamagedError as damage:
                self._discard(damage.digest)
                raise SnapshotError(
                    f"the code cannot be read from the store: {damage}",
                    hint="submit from the code folder again: that stores it anew",
                ) from damage

    def missing(self, digests: Iterable[str]) -> set[str]:
        """One look-up each."""
        with store_errors("cannot read the snapshots", self._workspace):
            return {digest for digest in digests if not self._objects.has(_raw(digest))}

    def prune(self, keep: Iterable[str]) -> int:
        """Snapshots of the last ten minutes are kept too."""
        with store_errors("cannot delete unused snapshots", self._workspace):
            with self._objects.database.write() as connection:
                used = {_raw(digest) for digest in keep} | _recent(connection)
                freed = self._objects.keep_only(connection, _reachable(connection, used))
                connection.executemany(
                    "DELETE FROM snapshots WHERE digest = ?", [(old,) for old in _all(connection) - used]
                )
            with self._objects.database.write() as connection:
                freed += self._objects.sweep(connection)
            with self._objects.database.read() as connection:
                connection.execute("PRAGMA incremental_vacuum").fetchall()
        return freed

    def close(self) -> None:
        """Let the files go; they are opened again when needed."""
        self._objects.database.close()

    def _memory(self, folder: Path) -> Path:
        name = hashlib.sha256(os.fsencode(os.path.realpath(folder))).hexdigest()[:_DIGEST]
        return self._root / "memory" / name

    def _scan(self, folder: Path, remembered: Mapping[str, Remembered]) -> Folder:
        tree = Scan(folder, remembered, self._workspace).walk()
        settings = self._settings
        if tree.size > settings.snapshot_max_mb * _MB:
            raise _too_big(tree, f"{settings.snapshot_max_mb:g} MB", "snapshot_max_mb", _heaviest(tree))
        if tree.files > settings.snapshot_max_files:
            raise _too_big(tree, f"{settings.snapshot_max_files:,} files", "snapshot_max_files", _fullest(tree))
        return tree

    def _put(self, folder: Path) -> StoredSnapshot | None:
        """None when objects were deleted meanwhile, so that what was found stored may not be there any more."""
        generation = self._objects.generation()
        before = recall(self._memory(folder))
        tree = self._scan(folder, before.folders if before.generation == generation else {})
        storing = _Storing(self._objects)
        digest = storing.whole(tree)
        if storing.problems:
            raise unfit(tree.path, storing.problems)
        if not self._note_use(digest, generation):
            return None
        if storing.changed:
            remember(self._memory(folder), before, Memory(generation, storing.memory), storing.changed)
        return StoredSnapshot(digest.hex(), _summary(tree), storing.new.count, storing.new.size)

    def _note_use(self, digest: bytes, generation: str) -> bool:
        database = self._objects.database
        with database.read() as connection:
            row = connection.execute("SELECT used_at FROM snapshots WHERE digest = ?", (digest,)).fetchone()
        if row is None or time.time() - row[0] > _REFRESH_S:
            with database.write() as connection:
                connection.execute("INSERT OR REPLACE INTO snapshots VALUES (?, ?)", (digest, time.time()))
        return self._objects.generation() == generation

    def _discard(self, digest: bytes) -> None:
        try:
            with store_errors("cannot take a damaged object away", self._workspace):
                self._objects.discard(digest)
        except StoreError:
            return  # a store that can only be read stays as it is

    def _everything(self, node: bytes, folder: bytes) -> Iterator[SnapshotEntry]:
        for entry in decode_node(_node(self._objects, node)):
            path = folder + entry.name
            kind, content = _KINDS[entry.kind], os.fsdecode(entry.content)
            yield SnapshotEntry(kind, os.fsdecode(path), entry.mode, entry.size, content)
            if entry.kind == b"d":
                yield from self._everything(_raw(content), path + b"/")

    def _files(self, node: bytes, folder: bytes) -> Iterator[tuple[str, str, int]]:
        for entry in decode_node(_node(self._objects, node)):
            path = folder + entry.name
            if entry.kind == b"d":
                yield from self._files(_raw(entry.content.decode()), path + b"/")
            elif entry.kind == b"f":
                yield os.fsdecode(path), entry.content.decode(), entry.size


class _Storing:
    """One put under way: reads what is not remembered, in batches. ``memory``: what to remember of every folder."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._batch: list[tuple[bytes, bytes]] = []
        self._nodes: list[tuple[bytes, bytes]] = []
        self._batch_bytes = 0
        self.memory: dict[str, Remembered] = {}
        self.changed: dict[str, Remembered] = {}
        self.problems: list[str] = []
        self.new = Added(0, 0)

    def whole(self, tree: Folder) -> bytes:
        """Store the tree; the digest of its outermost node."""
        digest = self._folder(tree)
        if not self.problems:
            self._flush()
        return digest

    def _folder(self, folder: Folder) -> bytes:
        below = [self._folder(child) for child in folder.children.values()]
        known = folder.remembered
        if folder.same and known is not None and known.below == below:
            self.memory[folder.name] = known
            return known.node
        digests = known.digests if folder.same and known is not None else self._digests(folder)
        data = encode_node(_entries(folder, digests, below))
        node = hashlib.sha256(data).digest()
        self._nodes.append((node, data))
        self.changed[folder.name] = self.memory[folder.name] = Remembered(
            folder.above,
            folder.key,
            to_remember(folder.facts, folder.scanned_ns),
            folder.folders,
            folder.odd,
            folder.ignored,
            to_remember(folder.followed, folder.scanned_ns),
            folder.links,
            digests,
            node,
            below,
            folder.biggest,
        )
        return node

    def _digests(self, folder: Folder) -> bytes:
        """The digests of a folder's files; facts of files that changed or vanished meanwhile are put right."""
        known = folder.remembered
        inside = rows_by_name(unpack(known.facts)) if known is not None else {}
        digests = self._of_files(folder, folder.facts, inside, b"" if known is None else known.digests)
        followed = rows_by_name(unpack(known.followed)) if known is not None else {}
        return digests + self._of_files(
            folder, folder.followed, followed, b"" if known is None else known.digests[_DIGEST * len(inside) :]
        )

    def _of_files(self, folder: Folder, facts: Facts, known: Mapping[str, tuple[int, Facts]], old: bytes) -> bytes:
        digests: list[bytes] = []
        kept: Facts = []
        for name, (_, row) in rows_by_name(facts).items():
            position, before = known.get(name, (0, None))
            if before == row:
                kept += row
                digests.append(old[position * _DIGEST : (position + 1) * _DIGEST])
                continue
            found = self._file(f"{folder.path}/{name}", row)
            if found is not None:
                kept += found[1]
                digests.append(found[0])
        facts[:] = kept
        return b"".join(digests)

    def _file(self, path: str, row: Facts) -> tuple[bytes, Facts] | None:
        """Store one file: its digest and its facts when it was read. None when it has vanished or cannot be read."""
        try:
            source = os.open(path, _READ)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            self.problems.append(f"{path}: {error.strerror}")
            return None
        try:
            return self._content(source, row)
        except IsADirectoryError:
            return None  # it was a file when the folder was listed
        except OSError as error:
            if is_full(error, self._objects.root):
                raise
            self.problems.append(f"{path}: {error.strerror}")
            return None
        finally:
            os.close(source)

    def _content(self, source: int, row: Facts) -> tuple[bytes, Facts]:
        """Read until the file stands still while it is read, a few times at most."""
        for _ in range(_ATTEMPTS):
            data = os.read(source, SMALL + 1)
            if len(data) <= SMALL:
                digest, size = hashlib.sha256(data).digest(), len(data)
            else:
                os.lseek(source, 0, os.SEEK_SET)
                digest, size, added = self._objects.add_file(source)
                self.new = Added(self.new.count + added.count, self.new.size + added.size)
            now = [row[NAME], *facts_of(os.fstat(source))]
            if now == row:
                break
            row = now
            os.lseek(source, 0, os.SEEK_SET)
        if size <= SMALL:
            self._hold(digest, data)
        row[SIZE] = size
        return digest, row

    def _hold(self, digest: bytes, data: bytes) -> None:
        self._batch.append((digest, data))
        self._batch_bytes += len(data)
        if self._batch_bytes > _BATCH_BYTES or len(self._batch) >= _BATCH_COUNT:
            self._flush()

    def _flush(self) -> None:
        if self._batch or self._nodes:
            added = self._objects.add(self._batch, self._nodes)
            self.new = Added(self.new.count + added.count, self.new.size + added.size)
            self._batch, self._nodes, self._batch_bytes = [], [], 0


class _Materialising:
    """One snapshot being written out."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._modes: dict[int, bool] = {}

    def folder(self, node: bytes, path: str) -> None:
        """Write a node's entries into a folder, made when missing."""
        entries = decode_node(_node(self._objects, node))
        os.makedirs(path, exist_ok=True)  # noqa: PTH103
        for entry in entries:
            target = f"{path}/{os.fsdecode(entry.name)}"
            if entry.kind == b"d":
                self.folder(_raw(entry.content.decode()), target)
            elif entry.kind == b"l":
                _make_way(target)
                os.symlink(entry.content, os.fsencode(target))  # noqa: PTH211
            else:
                self._file(entry, target)

    def _file(self, entry: Entry, target: str) -> None:
        digest = _raw(entry.content.decode())
        data = self._objects.read(digest)
        try:
            copy = os.open(target, _WRITE, entry.mode)
        except FileExistsError:
            _make_way(target)
            copy = os.open(target, _WRITE, entry.mode)
        try:
            if data is None:
                self._objects.copy_file(digest, copy)
            else:
                written = os.write(copy, data)
                while written < len(data):
                    written += os.write(copy, data[written:])
            self._give_mode(copy, entry.mode)
        finally:
            os.close(copy)

    def _give_mode(self, copy: int, mode: int) -> None:
        """The umask took bits away, always the same ones: ask once for each mode."""
        if mode not in self._modes:
            self._modes[mode] = stat.S_IMODE(os.fstat(copy).st_mode) != mode
        if self._modes[mode]:
            os.fchmod(copy, mode)


def _make_way(path: str) -> None:
    """Take away what is where a file must be; never what a link there leads to."""
    if os.path.lexists(path):
        os.unlink(path)  # noqa: PTH108


def _entries(folder: Folder, digests: bytes, below: list[bytes]) -> Iterator[Entry]:
    """What the node of a folder lists; the folder's totals are put right by the way."""
    facts = [*folder.facts, *folder.followed]
    for position, start in enumerate(range(0, len(facts), WIDTH)):
        digest = digests[position * _DIGEST : (position + 1) * _DIGEST].hex().encode()
        mode, size = stat.S_IMODE(facts[start + MODE]) & 0o777, facts[start + SIZE]
        yield Entry(b"f", mode, size, 1, digest, os.fsencode(facts[start + NAME]))
    for (name, child), node in zip(folder.children.items(), below, strict=True):
        yield Entry(b"d", 0, child.size, child.files, node.hex().encode(), os.fsencode(name))
    for name, text in zip(folder.links[::2], folder.links[1::2], strict=True):
        yield Entry(b"l", 0, 0, 0, os.fsencode(text), os.fsencode(name))
    folder.files = len(facts) // WIDTH + sum(child.files for child in folder.children.values())
    folder.size = sum(facts[SIZE::WIDTH]) + sum(child.size for child in folder.children.values())


def _summary(tree: Folder) -> SnapshotSummary:
    return SnapshotSummary(tree.files, tree.size, biggest_of(tree))


def _node(objects: Objects, digest: bytes) -> bytes:
    data = objects.read(digest)
    if data is None or not data.startswith(b"folder"):
        raise DamagedError(digest, "is not a folder of a snapshot")
    return data


def _raw(digest: str) -> bytes:
    try:
        return bytes.fromhex(digest)
    except ValueError:
        raise SnapshotError(f"{digest!r} is not the digest of a snapshot") from None


def _all(connection: sqlite3.Connection) -> set[bytes]:
    return {row[0] for row in connection.execute("SELECT digest FROM snapshots")}


def _recent(connection: sqlite3.Connection) -> set[bytes]:
    since = time.time() - GRACE_S
    return {row[0] for row in connection.execute("SELECT digest FROM snapshots WHERE used_at > ?", (since,))}


def _reachable(connection: sqlite3.Connection, nodes: set[bytes]) -> set[bytes]:
    """Every object that these nodes are made of, themselves included."""
    found: set[bytes] = set()
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        if node in found:
            continue
        found.add(node)
        row = connection.execute("SELECT data FROM objects WHERE digest = ?", (node,)).fetchone()
        for entry in _entries_of(row):
            if entry.kind == b"d":
                waiting.append(bytes.fromhex(entry.content.decode()))
            elif entry.kind == b"f":
                found.add(bytes.fromhex(entry.content.decode()))
    return found


def _entries_of(row: tuple[bytes | None] | None) -> list[Entry]:
    """The entries of a node's row; none where it is missing or damaged, for then there is nothing to keep."""
    try:
        return decode_node(row[0] if row is not None and row[0] is not None else b"")
    except ValueError:
        return []


# A snapshot over the limit


def _too_big(tree: Folder, limit: str, setting: str, biggest: list[str]) -> SnapshotError:
    return SnapshotError(
        f"the code folder {tree.path} holds {tree.files:,} files, {_size(tree.size)}: a snapshot may hold {limit}",
        hint=f"leave out what the job does not need by .amlignore or .gitignore, or raise the setting {setting}"
        f" (MLCLI_{setting.upper()})",
        details=("the biggest:", *biggest),
    )


def _heaviest(tree: Folder) -> list[str]:
    """The ten files and folders with the most bytes; not a folder that is little more than one thing in it."""
    sized: list[tuple[int, str]] = [(size, path) for path, size in biggest_of(tree)]
    for folder in tree.every():
        inside = [*(child.size for child in folder.children.values()), *(size for size, _ in folder.biggest[:1])]
        if folder.name and max(inside, default=0) < 0.9 * folder.size:
            sized.append((folder.size, f"{folder.name} ({folder.files:,} files)"))
    return [f"{_size(size)}  {path}" for size, path in sorted(sized, reverse=True)[:10]]


def _fullest(tree: Folder) -> list[str]:
    """The ten folders with the most files of their own."""
    counted = [((len(folder.facts) + len(folder.followed)) // WIDTH, folder.name or "./") for folder in tree.every()]
    return [f"{count:,} files  {name}" for count, name in sorted(counted, reverse=True)[:10] if count]


def _size(size: int) -> str:
    return f"{size / _MB:,.1f} MB" if size >= _MB // 10 else f"{size:,} bytes"
