"""Objects by the SHA-256 of their bytes: small ones in one SQLite file, big ones as files beside it.

Ten thousand small files as ten thousand blobs cost ten thousand inodes, several times what ``cp -r`` of them costs; as
rows of one file they cost less than the copy. An object is there when its row is; the file of a big one comes and goes
under the lock of the transaction that writes its row. ``generation`` changes whenever an object is taken away, so that
what was remembered of the store before is not believed any more.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlcli import agent
from mlcli.stores._files import free_name, remove_tree, sweep
from mlcli.stores._sqlite import Database

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path
    from typing import Any

SMALL = 64 * 1024
CHUNK = 1024 * 1024
_ABANDONED_S = 3600.0
_VERSION = 1
_SCHEMA = """
CREATE TABLE objects (id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, size INTEGER NOT NULL, data BLOB);
CREATE TABLE snapshots (digest BLOB PRIMARY KEY, used_at REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
"""


class DamagedError(Exception):
    """An object that is not what its digest says, or is not there; the text says which."""

    def __init__(self, digest: bytes, what: str) -> None:
        super().__init__(f"object {digest.hex()} {what}")
        self.digest = digest


@dataclass(frozen=True)
class Added:
    """What was new to the store: objects and bytes."""

    count: int
    size: int


class Objects:
    """The objects below ``root``. Raises OSError and sqlite3.Error; digests are 32 bytes."""

    def __init__(self, root: Path, notices: list[str]) -> None:
        self.root = root
        self._blobs = root / "blobs"
        self._new = self._blobs / ".new"
        self.database = Database(
            root / "objects.sqlite", version=_VERSION, schema=_SCHEMA, fill=_fill, notices=notices, sound=_is_sound
        )

    def generation(self) -> str:
        """A text that stays the same as long as every object that was there still is."""
        with self.database.read() as connection:
            return str(connection.execute("SELECT value FROM facts WHERE name = 'generation'").fetchone()[0])

    def has(self, digest: bytes) -> bool:
        """Whether the object is there."""
        with self.database.read() as connection:
            return _has(connection, digest)

    def add(self, files: Sequence[tuple[bytes, bytes]], nodes: Sequence[tuple[bytes, bytes]]) -> Added:
        """Add small objects (digest, data), all or none; what was new of the files."""
        insert = "INSERT OR IGNORE INTO objects (digest, size, data) VALUES (?, ?, ?)"
        with self.database.write() as connection:
            last = connection.execute("SELECT coalesce(max(id), 0) FROM objects").fetchone()[0]
            connection.executemany(insert, [(digest, len(data), data) for digest, data in files])
            count, size = connection.execute(
                "SELECT count(*), coalesce(sum(size), 0) FROM objects WHERE id > ?", (last,)
            ).fetchone()
            connection.executemany(insert, [(digest, len(data), data) for digest, data in nodes])
        return Added(count, size)

    def add_file(self, source: int) -> tuple[bytes, int, Added]:
        """Add a big object from an open file; its digest, its size, and what was new."""
        digest, size = hash_file(source)
        if self.has(digest):
            return digest, size, Added(0, 0)
        os.lseek(source, 0, os.SEEK_SET)
        self._new.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = self._new / free_name()
        try:
            with open(fresh, "xb") as copy:  # noqa: PTH123
                digest, size = hash_file(source, copy.write)  # again: it may have changed meanwhile
            return digest, size, self._take(fresh, digest, size)
        finally:
            fresh.unlink(missing_ok=True)

    def _take(self, fresh: Path, digest: bytes, size: int) -> Added:
        place = self.path(digest)
        place.parent.mkdir(mode=0o700, exist_ok=True)
        with self.database.write() as connection:
            os.replace(fresh, place)  # noqa: PTH105
            done = connection.execute("INSERT OR IGNORE INTO objects (digest, size) VALUES (?, ?)", (digest, size))
        return Added(1, size) if done.rowcount > 0 else Added(0, 0)

    def path(self, digest: bytes) -> Path:
        """Where a big object's file is."""
        text = digest.hex()
        return self._blobs / text[:2] / text[2:]

    def read(self, digest: bytes) -> bytes | None:
        """A small object's data, checked; None for a big one. Raises DamagedError."""
        with self.database.read() as connection:
            row = connection.execute("SELECT data FROM objects WHERE digest = ?", (digest,)).fetchone()
        if row is None:
            raise DamagedError(digest, "is not in the store")
        data: bytes | None = row[0]
        if data is not None and hashlib.sha256(data).digest() != digest:
            raise DamagedError(digest, "is damaged")
        return data

    def copy_file(self, digest: bytes, target: int) -> None:
        """Copy a big object's file to an open one (a clone, where the file system can), checked. Raises DamagedError."""
        try:
            source = os.open(self.path(digest), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise DamagedError(digest, "is not in the store") from None
        try:
            _copy(source, target)
            os.lseek(source, 0, os.SEEK_SET)
            if hash_file(source)[0] != digest:
                raise DamagedError(digest, "is damaged")
        finally:
            os.close(source)

    def pieces(self, digest: bytes) -> Iterator[bytes]:
        """An object's data in pieces, checked. Raises DamagedError, for a big one after its last piece."""
        data = self.read(digest)
        if data is not None:
            yield data
            return
        try:
            source = open(self.path(digest), "rb", buffering=0)  # noqa: PTH123, SIM115  (closed below)
        except FileNotFoundError:
            raise DamagedError(digest, "is not in the store") from None
        state = hashlib.sha256()
        with source:
            while piece := source.read(CHUNK):
                state.update(piece)
                yield piece
        if state.digest() != digest:
            raise DamagedError(digest, "is damaged")

    def discard(self, digest: bytes) -> None:
        """Take a damaged object away, so that the next snapshot that holds it stores it again."""
        with self.database.write() as connection:
            connection.execute("DELETE FROM objects WHERE digest = ?", (digest,))
            self.path(digest).unlink(missing_ok=True)
            _new_generation(connection)

    def sweep(self, connection: sqlite3.Connection) -> int:
        """Remove files that no row speaks of; their bytes. Within a transaction, so that none is on its way in."""
        freed = 0
        for folder in self._blobs.glob("[0-9a-f][0-9a-f]"):
            for file in folder.iterdir():
                if not _has(connection, _digest_of(folder.name + file.name)):
                    freed += remove_tree(file)
        sweep(self._new, older_than_s=_ABANDONED_S)
        return freed

    def keep_only(self, connection: sqlite3.Connection, kept: Iterable[bytes]) -> int:
        """Delete every object but these; bytes freed. Within a transaction."""
        connection.execute("CREATE TEMP TABLE IF NOT EXISTS kept (digest BLOB PRIMARY KEY) WITHOUT ROWID")
        connection.execute("DELETE FROM temp.kept")
        connection.executemany("INSERT OR IGNORE INTO temp.kept VALUES (?)", ((digest,) for digest in kept))
        doomed = "FROM objects WHERE digest NOT IN (SELECT digest FROM temp.kept)"
        freed: int = connection.execute(f"SELECT coalesce(sum(length(data)), 0) {doomed}").fetchone()[0]
        if connection.execute(f"DELETE {doomed}").rowcount > 0:
            _new_generation(connection)
        return freed


def hash_file(source: int, also: Any = None) -> tuple[bytes, int]:
    """Digest and size of an open file from where it stands; ``also`` is given every piece."""
    state = hashlib.sha256()
    size = 0
    while piece := os.read(source, CHUNK):
        state.update(piece)
        size += len(piece)
        if also is not None:
            also(piece)
    return state.digest(), size


def _has(connection: sqlite3.Connection, digest: bytes) -> bool:
    return connection.execute("SELECT 1 FROM objects WHERE digest = ?", (digest,)).fetchone() is not None


def _digest_of(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""


def _fill(connection: sqlite3.Connection) -> None:
    _new_generation(connection)
    connection.execute("INSERT INTO facts VALUES ('boot', ?)", (agent.boot_id(),))


def _is_sound(connection: sqlite3.Connection) -> bool:
    """Checked once after every start of the machine, for a power cut may have spoilt the file."""
    boot = (agent.boot_id(),)
    if connection.execute("SELECT value FROM facts WHERE name = 'boot'").fetchone() == boot:
        return True
    if connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
        return False
    connection.execute("UPDATE facts SET value = ? WHERE name = 'boot'", boot)
    return True


def _new_generation(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT OR REPLACE INTO facts VALUES ('generation', ?)", (os.urandom(16).hex(),))


def _copy(source: int, target: int) -> None:
    """Copy an open file, in the kernel where it can."""
    if hasattr(os, "copy_file_range"):
        try:
            while os.copy_file_range(source, target, 1 << 30):
                pass
        except OSError as error:
            import errno

            if error.errno not in {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM}:
                raise
        else:
            return
    while piece := os.read(source, CHUNK):
        view = memoryview(piece)
        while view:
            view = view[os.write(target, view) :]
