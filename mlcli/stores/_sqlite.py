"""SQLite as the stores use it: how a file is opened, written to, replaced when it is ruined, and its errors told.

A database is opened by each process for itself when first needed. Its file is made whole under another name and then
renamed, under a file lock, so that of many processes that start at once one builds it and the others find it built.
WAL is set once, when the file is made; on a network file system, whose shared memory WAL cannot use, the journal is the
classic one (https://www.sqlite.org/wal.html, "all processes must be on the same host").

On a local disk nothing is synced: what a killed process wrote is safe with the kernel, and what a power cut can spoil is
found out by each store at the first opening after the machine's restart, and made again. A sync for every command would
cost more than the rest of it together when the disk is busy.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
import time
import weakref
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from mlcli.domain.errors import StoreError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator
    from pathlib import Path

BUSY_TIMEOUT_S = 30.0
_BUILD_TIMEOUT_S = 120.0
_LITTLE_SPACE = 256 * 1024
_PATIENCE_MS = 8  # SQLite sleeps 1, 2 and 5 ms
_NETWORK_FILE_SYSTEMS = frozenset(
    {
        "nfs",
        "nfs4",
        "cifs",
        "smb3",
        "smbfs",
        "9p",
        "afs",
        "lustre",
        "beegfs",
        "gpfs",
        "glusterfs",
        "ceph",
        "ocfs2",
        "gfs2",
    }
)


def is_full(error: Exception, root: Path) -> bool:
    """Whether an OSError or sqlite3.Error says that the disk of ``root`` is full."""
    text = str(error)
    if getattr(error, "errno", None) in {errno.ENOSPC, errno.EDQUOT} or "is full" in text:
        return True
    # SQLite has no better word when its shared memory file cannot grow.
    return "disk I/O error" in text and _free_bytes(root) < _LITTLE_SPACE


def _free_bytes(root: Path) -> int:
    try:
        disk = os.statvfs(root)
    except OSError:
        return _LITTLE_SPACE
    return disk.f_bavail * disk.f_frsize


def explain(error: Exception, doing: str, root: Path) -> StoreError:
    """An OSError or sqlite3.Error as what happened, why, and what to do."""
    code = getattr(error, "errno", None)
    text = str(error)
    if is_full(error, root):
        return StoreError(
            f"{doing}: no space left on the disk of {root}",
            hint="free some space there (mlcli job prune), then try again",
        )
    if code in {errno.EROFS, errno.EACCES, errno.EPERM} or "readonly" in text or "unable to open" in text:
        why = os.strerror(code) if code else text
        return StoreError(
            f"{doing}: the workspace {root} cannot be written ({why})",
            hint="check its permissions, or choose another workspace with MLCLI_HOME",
        )
    if code and not root.is_dir():
        return StoreError(
            f"{doing}: there can be no workspace at {root} ({os.strerror(code)})",
            hint="choose another place for it with MLCLI_HOME",
        )
    if "locked" in text or "busy" in text:
        return StoreError(
            f"{doing}: another process has held the lock of {root} for more than {BUSY_TIMEOUT_S:.0f} seconds",
            hint="try again; if it stays, see who has it open: fuser -v " + str(root / "index.sqlite"),
        )
    return StoreError(f"{doing}: {text}", hint="mlcli workspace reindex rebuilds the index from the run folders")


@contextmanager
def store_errors(doing: str, root: Path) -> Iterator[None]:
    """Turn what the disk and SQLite refuse into StoreError. ``doing`` is a phrase such as ``cannot create run x``."""
    import sqlite3

    try:
        yield
    except (OSError, sqlite3.Error) as error:
        raise explain(error, doing, root) from error


def file_system_type(path: str, mountinfo: str) -> str:
    """The type of the file system that holds ``path``, from the text of /proc/self/mountinfo; empty when unknown."""
    best, found = -1, ""
    for line in mountinfo.splitlines():
        fields, separator, rest = line.partition(" - ")
        parts = fields.split()
        if not separator or len(parts) < 5 or not rest:
            continue
        mount = parts[4].replace("\\040", " ")
        inside = path == mount or path.startswith(mount.rstrip("/") + "/")
        if inside and len(mount) >= best:
            best, found = len(mount), rest.split()[0]
    return found


def on_network(folder: Path) -> bool:
    """Whether a folder lies on a network file system. False where that cannot be learnt."""
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as text:  # noqa: PTH123
            kind = file_system_type(os.path.realpath(folder), text.read())
    except OSError:
        return False
    return kind in _NETWORK_FILE_SYSTEMS or kind.startswith(("fuse.sshfs", "fuse.glusterfs", "fuse.s3", "fuse.rclone"))


def _is_ruined(error: Exception) -> bool:
    return any(words in str(error) for words in ("not a database", "malformed", "locking protocol", "no such table"))


class Database:
    """One SQLite file. ``fill`` puts into a new one what it must hold before anybody sees it.

    A file that is missing, of another ``version`` or ruined (or not ``sound``, asked at every opening) is built anew; a
    ruined one is kept beside it under another name, and a sentence about it added to ``notices``. Where nothing can be
    written it is opened for reading only.
    """

    def __init__(
        self,
        path: Path,
        *,
        version: int,
        schema: str,
        fill: Callable[[sqlite3.Connection], object],
        notices: list[str],
        sound: Callable[[sqlite3.Connection], bool] = lambda _: True,
    ) -> None:
        self._path = path
        self._version = version
        self._schema = schema
        self._fill = fill
        self._notices = notices
        self._sound = sound
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._finalizer: weakref.finalize[..., Database] | None = None
        self._inode = -1
        self._pid = -1
        self._writable = True
        self._why_not: Exception | None = None

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A connection to query. Other threads of this process wait."""
        import sqlite3

        with self._lock:
            connection = self._current()
            try:
                yield connection
            except sqlite3.DatabaseError as error:
                self._give_up_if_ruined(error)
                raise

    @contextmanager
    def write(self, undo: list[Callable[[], None]] | None = None) -> Iterator[sqlite3.Connection]:
        """A transaction that nobody else writes beside; committed at the end, rolled back on any exception.

        ``undo``: called last to first when the transaction fails, while its lock is still held.
        """
        import sqlite3

        with self._lock:
            connection = self._current()
            if not self._writable:
                raise self._why_not or sqlite3.OperationalError("attempt to write a readonly database")
            try:
                _begin(connection)
                yield connection
                connection.execute("COMMIT")
            except BaseException as error:
                for step in reversed(undo or []):
                    with suppress(OSError):
                        step()
                with suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                if isinstance(error, sqlite3.DatabaseError):
                    self._give_up_if_ruined(error)
                if "disk I/O error" in str(error):
                    self.close()  # what it knows of the file may be wrong now
                raise

    def close(self) -> None:
        """Let the file go. It is opened again when needed."""
        with self._lock:
            if self._finalizer is not None and self._pid == os.getpid():
                self._finalizer()
            self._connection = None

    def _current(self) -> sqlite3.Connection:
        if self._connection is not None and self._pid == os.getpid() and (self._inode == -1 or self._same_file()):
            return self._connection
        if self._pid not in {-1, os.getpid()} and self._finalizer is not None:
            self._finalizer.detach()  # inherited by fork: it belongs to the parent
        else:
            self.close()
        connection = self._open()
        self._connection = connection
        self._pid = os.getpid()
        self._finalizer = weakref.finalize(self, connection.close)
        return connection

    def _same_file(self) -> bool:
        try:
            return os.stat(self._path).st_ino == self._inode  # noqa: PTH116
        except OSError:
            return False

    def _open(self) -> sqlite3.Connection:
        import sqlite3

        self._writable, self._why_not = True, None
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            return self._connect_good() or self._build()
        except (OSError, sqlite3.OperationalError) as error:
            if "locked" in str(error):
                raise
            self._writable, self._why_not = False, error
            self._inode = -1
            return self._open_to_read()

    def _connect_good(self) -> sqlite3.Connection | None:
        """A connection to the file as it is, or None when there is none or it cannot be used as it is."""
        import sqlite3

        try:
            self._inode = os.stat(self._path).st_ino  # noqa: PTH116
        except FileNotFoundError:
            return None
        connection = _connect(self._path, "rw")
        try:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version == self._version and self._sound(connection) and self._same_file():
                local = connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
                connection.execute(f"PRAGMA synchronous={'OFF' if local else 'NORMAL'}")
                return connection
        except sqlite3.DatabaseError as error:
            connection.close()
            if not _is_ruined(error):
                raise
            return None
        connection.close()
        return None

    def _build(self) -> sqlite3.Connection:
        """Make the file, or wait for the process that does."""
        deadline = time.monotonic() + _BUILD_TIMEOUT_S
        with self._lock_file() as lock:
            while True:
                mine = _take_lock(lock)
                connection = self._connect_good()
                if connection is None and mine:
                    self._replace()
                    connection = self._connect_good()
                if connection is not None:
                    return connection
                if time.monotonic() > deadline:
                    raise TimeoutError(errno.ETIMEDOUT, f"{self._path} is locked: another process keeps making it anew")
                time.sleep(0.02)

    @contextmanager
    def _lock_file(self) -> Iterator[int]:
        path = self._path.with_name(self._path.name + ".lock")
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, stat.S_IRUSR | stat.S_IWUSR)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _replace(self) -> None:
        """Make a new file and put it in place. Under the lock."""
        fresh = self._path.with_name(f"{self._path.name}.new")
        try:
            self._make(fresh)
            self._set_aside()
            os.replace(fresh, self._path)  # noqa: PTH105
        finally:
            fresh.unlink(missing_ok=True)

    def _make(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        connection = _connect(path, "rwc")
        try:
            connection.execute("PRAGMA synchronous=OFF")  # nobody sees it yet
            connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
            connection.executescript(self._schema)
            connection.execute("BEGIN")
            self._fill(connection)
            connection.execute("COMMIT")
            connection.execute(f"PRAGMA user_version={self._version}")
            if not on_network(path.parent):
                _use_wal(connection)
        finally:
            connection.close()
        path.chmod(0o600)

    def _set_aside(self) -> None:
        """Move an unusable file out of the way, and away with the journals that belong to it."""
        if self._path.exists():
            aside = self._path.with_name(f"{self._path.name}.broken-{time.time_ns()}")
            os.replace(self._path, aside)  # noqa: PTH105
            self._notices.append(f"{self._path} could not be read: it was moved to {aside.name} and made anew")
        for ending in ("-wal", "-shm", "-journal"):
            self._path.with_name(self._path.name + ending).unlink(missing_ok=True)

    def _open_to_read(self) -> sqlite3.Connection:
        """As :meth:`_open`, where nothing can be written; from the folders into memory when the file is of no use."""
        import sqlite3

        wal = self._path.with_name(self._path.name + "-wal")
        settled = not wal.exists() or wal.stat().st_size == 0
        for options in ("ro", "ro&immutable=1") if settled else ("ro",):
            with suppress(sqlite3.Error, OSError):
                connection = _connect(self._path, options)
                try:
                    if connection.execute("PRAGMA user_version").fetchone()[0] == self._version:
                        return connection
                except sqlite3.Error:
                    connection.close()
                    raise
                connection.close()
        connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        connection.executescript(self._schema)
        self._fill(connection)
        return connection

    def _give_up_if_ruined(self, error: Exception) -> None:
        """Make a file anew that turned out to be ruined only when it was used, and say so instead of ``error``."""
        if not self._writable or not _is_ruined(error):
            return
        self.close()
        with self._lock_file() as lock:
            if _take_lock(lock) and self._same_file():
                self._set_aside()
        raise StoreError(
            f"{self._path} was damaged ({error})", hint="run the command again: the file is made anew by itself"
        ) from error


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    import sqlite3

    return sqlite3.connect(
        f"{path.as_uri()}?mode={mode}", uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
    )


def _begin(connection: sqlite3.Connection) -> None:
    """Start to write. SQLite looks for a free lock ever less often, every tenth of a second in the end, which is long
    where many write briefly: here it looks every 30 to 60 ms, each process at a pace of its own.
    """
    import sqlite3

    deadline = time.monotonic() + BUSY_TIMEOUT_S
    connection.execute(f"PRAGMA busy_timeout={_PATIENCE_MS}")
    try:
        while True:
            try:
                connection.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
            time.sleep(0.02 + os.getpid() % 32 / 1000)
    finally:
        connection.execute(f"PRAGMA busy_timeout={int(BUSY_TIMEOUT_S * 1000)}")


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch to WAL for good; where the file system cannot, the classic journal stays."""
    import sqlite3

    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError:
        connection.execute("PRAGMA journal_mode=DELETE")


def _take_lock(descriptor: int) -> bool:
    """Whether the lock file is ours, until it is closed or we die; false while another process has it."""
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
