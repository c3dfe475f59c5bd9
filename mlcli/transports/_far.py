"""The far side of an SSH connection: one process that answers requests on its standard input until that is closed.

It is sent over the wire and lives as long as the connection, so it imports nothing of mlcli, needs only Python >= 3.8 on
a POSIX system, and loads what only some requests need (hashlib, subprocess, shutil) when they come.

A frame, either way: two numbers (4 and 8 bytes, big-endian), a header of the first's length (JSON) and a payload of the
second's. A request's header holds ``verb`` and its arguments; requests are answered one after the other, in order. An
answer's header holds what the verb tells, or ``error``: ``{"errno": "ENOSPC", "text": ..., "path": ...}``. While there is
nothing to say, an empty frame every few seconds says that the process lives.

Before the first frame it prints a marker that was given on its command line: what a login shell prints stands before it.

Texts in headers are file names in UTF-8, bytes that are not UTF-8 as lone surrogates (Python's ``surrogateescape``).
"""

from __future__ import annotations

import errno
import json
import os
import stat
import struct
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Answer = tuple[dict[str, Any], bytes]

FRAME = struct.Struct(">IQ")
HEARTBEAT_S = 5.0
TEMPORARY = ".mlcli-"
# What a command must not inherit: the cookie (agent.COOKIE) of a job that this login may belong to; and by what it is that
# bash takes every ``bash -c`` for a login over the network, reads .bashrc again and spoils an activated PATH.
NOT_INHERITED = ("MLCLI_RUN_COOKIE", "SSH_CLIENT", "SSH2_CLIENT", "SSH_CONNECTION")
PACK_TAIL = struct.Struct(">Q8s")
PACK_ENTRY = struct.Struct(">32sQQ")
PACK_MAGIC = b"mlclipk1"
PACK_UNUSED_S = 30 * 86400.0
PIECE = 1 << 20


class Refused(Exception):  # noqa: N818
    """A request that cannot be done, for a reason that is no OSError."""


# Frames


class Wire:
    """Standard input and output. Children get neither."""

    def __init__(self) -> None:
        import _thread

        self._input = sys.stdin.buffer
        self._output = os.dup(1)
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 1)
        self._lock = _thread.allocate_lock()
        _thread.start_new_thread(self._beat, ())

    def receive(self) -> Answer | None:
        """A request's header and payload; None at the end."""
        start = self._input.read(FRAME.size)
        if len(start) < FRAME.size:
            return None
        header_size, payload_size = FRAME.unpack(start)
        header = self._input.read(header_size)
        payload = self._input.read(payload_size)
        if len(header) < header_size or len(payload) < payload_size:
            return None
        return json.loads(header), payload

    def send(self, header: dict[str, Any], payload: bytes) -> None:
        words = json.dumps(header).encode()
        self.write(FRAME.pack(len(words), len(payload)) + words, payload)

    def write(self, *parts: bytes) -> None:
        with self._lock:
            for part in parts:
                write_all(self._output, part)

    def _beat(self) -> None:
        import time

        while True:
            time.sleep(HEARTBEAT_S)
            try:
                self.write(FRAME.pack(0, 0))
            except OSError:  # the connection is gone
                os._exit(1)


def main(marker: str) -> None:
    """Answer until standard input ends."""
    wire = Wire()
    wire.write(f"\n{marker}\n".encode())
    wire.send(greeting(), b"")
    while True:
        request = wire.receive()
        if request is None:
            os._exit(0)
        wire.send(*answer(*request))


def greeting() -> dict[str, Any]:
    """Who answers."""
    return {"python": sys.executable, "version": list(sys.version_info[:3]), "home": home()}


def home() -> str:
    """The home folder. Some shells (fish, in the C locale) spoil a HOME that is not ASCII, for us and for every job."""
    told = os.path.expanduser("~")
    if not os.path.isdir(told):
        import pwd

        for entry in pwd.getpwall():
            if entry.pw_uid == os.getuid() and entry.pw_name == os.environ.get("LOGNAME", entry.pw_name):
                os.environ["HOME"] = entry.pw_dir
                return entry.pw_dir
    return told


def answer(header: dict[str, Any], payload: bytes) -> Answer:
    """Do what is asked for; what cannot be done is an answer too."""
    try:
        arguments = dict(header)
        return VERBS[arguments.pop("verb")](payload, **arguments)
    except Refused as refused:
        return {"error": {"text": str(refused), "path": ""}}, b""
    except OSError as refused:
        name = errno.errorcode.get(refused.errno or 0, "")
        path = os.fsdecode(refused.filename) if isinstance(refused.filename, (str, bytes)) else ""
        return {"error": {"errno": name, "text": refused.strerror or str(refused), "path": refused_path(path)}}, b""
    except Exception as defect:  # noqa: BLE001  (the connection must outlive it)
        return {"error": {"text": f"{type(defect).__name__}: {defect}", "path": ""}}, b""


def refused_path(path: str) -> str:
    """The folder, where a temporary name in it was refused."""
    folder, name = os.path.split(path)
    return folder if name.startswith(TEMPORARY) else path


# Commands


def run(payload: bytes, argv: list[str], environment: dict[str, str], timeout_s: float) -> Answer:
    """Run a command to its end; out of time, its whole session is ended."""
    import subprocess

    variables = {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}
    variables.update(environment)
    pipe = subprocess.PIPE
    child = subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe, env=variables, start_new_session=True)
    try:
        stdout, stderr = child.communicate(payload, timeout_s)
    except subprocess.TimeoutExpired:
        import signal

        os.killpg(child.pid, signal.SIGKILL)
        child.communicate()
        return {"timeout": True}, b""
    return {"code": child.returncode, "stdout": len(stdout)}, stdout + stderr


# Single files


def read(payload: bytes, path: str, offset: int, limit: int) -> Answer:
    """At most ``limit`` bytes from ``offset``; ``found``: whether there is such a file."""
    del payload
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return {"found": False}, b""
    try:
        os.lseek(file, offset, os.SEEK_SET)
        data = read_up_to(file, limit, path)
        return {"found": True}, data
    finally:
        os.close(file)


def read_up_to(file: int, limit: int, path: str) -> bytes:
    parts = []
    while limit > 0:
        try:
            part = os.read(file, min(limit, PIECE))
        except OSError as refused:
            refused.filename = path
            raise
        if not part:
            break
        parts.append(part)
        limit -= len(part)
    return b"".join(parts)


def write(payload: bytes, path: str, mode: int) -> Answer:
    """Replace a file atomically; its folder is made when missing."""
    make_folder(os.path.dirname(path))
    replace(path, payload, mode, sync=True)
    return {}, b""


def replace(
    path: str, data: bytes | memoryview, mode: int, times: tuple[int, int] | None = None, sync: bool = False
) -> None:
    temporary = temporary_name(path)
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        try:
            write_all(file, data)
            if times is not None:
                os.fchmod(file, mode)
                os.utime(file, ns=times)
            if sync:
                os.fsync(file)
        finally:
            os.close(file)
        os.rename(temporary, path)
    except OSError as refused:
        os.unlink(temporary)
        refused.filename = path
        raise


def write_all(file: int, data: bytes | memoryview) -> None:
    written = os.write(file, data)
    while written < len(data):
        data = memoryview(data)[written:]
        written = os.write(file, data)


def temporary_name(path: str) -> str:
    return os.path.join(os.path.dirname(path), TEMPORARY + str(os.getpid()) + "-" + os.urandom(4).hex())


def make_folders(payload: bytes, paths: list[str]) -> Answer:
    """Make folders and their parents; new ones are 0700."""
    del payload
    for path in paths:
        make_folder(path)
    return {}, b""


def make_folder(path: str) -> None:
    if os.path.isdir(path):
        return
    if os.path.dirname(path) != path:
        make_folder(os.path.dirname(path))
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        if not os.path.isdir(path):
            raise


def facts(payload: bytes, path: str) -> Answer:
    """``kind`` (file, folder, link, other, none), ``size``, ``mode``, ``mtime_ns`` of what a path leads to."""
    del payload
    try:
        return facts_of(os.stat(path)), b""
    except (FileNotFoundError, NotADirectoryError):
        return {"kind": "none"}, b""


def facts_of(found: os.stat_result) -> dict[str, Any]:
    kinds = {stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFLNK: "link"}
    kind = kinds.get(stat.S_IFMT(found.st_mode), "other")
    return {"kind": kind, "size": found.st_size, "mode": stat.S_IMODE(found.st_mode), "mtime_ns": found.st_mtime_ns}


def remove(payload: bytes, path: str) -> Answer:
    """Take away a file or a whole folder; no error when it is not there."""
    del payload
    if os.path.isdir(path) and not os.path.islink(path):
        import shutil

        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)
    return {}, b""


def rename(payload: bytes, source: str, target: str) -> Answer:
    """Give a file or folder its name; no error when it has it already."""
    del payload
    if os.path.lexists(source) or not os.path.lexists(target):
        os.rename(source, target)
    return {}, b""


# Big files, in pieces


def partial(payload: bytes, path: str) -> Answer:
    """How much of a file is there under its partial name: ``size`` in bytes."""
    del payload
    try:
        return {"size": os.stat(path).st_size}, b""
    except FileNotFoundError:
        make_folder(os.path.dirname(path))
        return {"size": 0}, b""


def piece(payload: bytes, path: str, offset: int) -> Answer:
    """A piece of a partial file at its place. The same piece may come twice: both write the same bytes.

    One that comes when the file has got its name already is passed over: ``finish`` judges the whole.
    """
    flags = os.O_WRONLY | os.O_CLOEXEC | (os.O_CREAT if offset == 0 else 0)
    try:
        file = os.open(path, flags, 0o600)
    except FileNotFoundError:
        if offset == 0:
            raise
        return {}, b""
    try:
        os.lseek(file, offset, os.SEEK_SET)
        write_all(file, payload)
    except OSError as refused:
        os.unlink(path)  # a disk that is full must not stay so
        refused.filename = path
        raise
    finally:
        os.close(file)
    return {}, b""


def finish(payload: bytes, path: str, target: str, digest: str, mode: int, mtime_ns: int | None, size: int) -> Answer:
    """Give a partial file its name when it is what it should be. ``whole``: whether that is so, now or since before."""
    del payload
    if os.path.exists(path):
        os.truncate(path, size)
        if digest_of(path, size) == digest:
            os.chmod(path, mode)
            if mtime_ns is not None:
                os.utime(path, ns=(mtime_ns, mtime_ns))
            os.rename(path, target)
            return {"whole": True}, b""
        os.unlink(path)
    there = facts_of(os.stat(target)) if os.path.isfile(target) else {}
    return {"whole": there.get("size") == size and digest_of(target, size) == digest}, b""


def digest(payload: bytes, path: str, size: int) -> Answer:
    """SHA-256 of a file's first ``size`` bytes, in hex."""
    del payload
    return {"digest": digest_of(path, size)}, b""


def digest_of(path: str, size: int) -> str:
    import hashlib

    state = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        while size > 0:
            data = file.read(min(size, PIECE))
            if not data:
                break
            state.update(data)
            size -= len(data)
    return state.hexdigest()


# Trees


def walk(payload: bytes, path: str) -> Answer:
    """What is below a folder, folders before what they hold: ``entries`` of [kind, path, mode, mtime_ns, size or link's text]."""
    del payload
    found = facts_of(os.stat(path))
    if found["kind"] != "folder":
        return {"entries": None, **found}, b""
    entries: list[list[Any]] = []
    list_below(os.path.realpath(path), "", entries)
    return {"entries": entries, **found}, b""


def list_below(folder: str, prefix: str, entries: list[list[Any]]) -> None:
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        found = facts_of(entry.stat(follow_symlinks=False))
        name = prefix + entry.name
        last = os.readlink(entry.path) if found["kind"] == "link" else found["size"]
        entries.append([found["kind"], name, found["mode"], found["mtime_ns"], last])
        if found["kind"] == "folder":
            list_below(entry.path, name + "/", entries)


def files(payload: bytes, paths: list[str]) -> Answer:
    """Whole files, one after the other: ``found`` of each, [size, mode, mtime_ns], None for one that is not there any more."""
    del payload
    parts: list[bytes] = []
    found: list[list[int] | None] = []
    for path in paths:
        try:
            with open(path, "rb", buffering=0) as file:
                facts = os.fstat(file.fileno())
                data = file.read()
        except (FileNotFoundError, NotADirectoryError):
            found.append(None)
            continue
        found.append([len(data), stat.S_IMODE(facts.st_mode), facts.st_mtime_ns])
        parts.append(data)
    return {"found": found}, b"".join(parts)


def place(payload: bytes, folder: str, entries: list[list[Any]]) -> Answer:
    """Folders, links and whole files below a folder: [kind, path, mode, mtime_ns, size or link's text], data in the payload."""
    data = memoryview(payload)
    for kind, path, mode, mtime_ns, last in entries:
        target = os.path.join(folder, path) if path else folder
        if kind == "folder":
            make_folder(target)
        elif kind == "link":
            place_link(last, target)
        else:
            replace(target, data[:last], mode, (mtime_ns, mtime_ns))
            data = data[last:]
    return {}, b""


def place_link(text: str, target: str) -> None:
    temporary = temporary_name(target)
    os.symlink(text, temporary)
    try:
        os.rename(temporary, target)
    except OSError:
        os.unlink(temporary)
        raise


# Code by content: packs of blobs, each pack one file that is whole or not there, so that nothing needs a lock


class Packs:
    """The blobs below a folder. A pack: data, then [digest, offset, size] of each blob, then their number and a magic."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.forget()

    def forget(self) -> None:
        """Know nothing, as at the start."""
        self.blobs: dict[bytes, tuple[str, int, int]] = {}
        self._known: set[str] = set()
        self._open: dict[str, memoryview] = {}
        self._used: set[str] = set()

    def refresh(self) -> None:
        """Learn of packs that are new; forget, and delete, what nobody has used for a month."""
        import time

        try:
            present = {entry.name: entry for entry in os.scandir(self.folder) if entry.name.endswith(".pack")}
        except FileNotFoundError:
            present = {}
        if self._known - set(present):
            self.forget()
        for name in sorted(set(present) - self._known):
            path = os.path.join(self.folder, name)
            if present[name].stat().st_mtime < time.time() - PACK_UNUSED_S:
                os.unlink(path)
                continue
            entries = pack_entries(path)
            if entries:
                self._known.add(name)
            for blob, offset, size in entries:
                self.blobs[blob] = (path, offset, size)

    def read(self, blob: bytes) -> memoryview:
        """Its bytes. Raises KeyError, OSError."""
        path, offset, size = self.blobs[blob]
        if path not in self._open:
            self._open[path] = mapped(path)
        return self._open[path][offset : offset + size]

    def use(self, blob: bytes) -> bool:
        """Whether it is there; its pack is kept for another month."""
        if blob not in self.blobs:
            return False
        path = self.blobs[blob][0]
        if path not in self._used:
            self._used.add(path)
            os.utime(path)
        return True

    def discard(self, blob: bytes) -> None:
        """A pack that is damaged goes, with all that is in it."""
        path = self.blobs[blob][0]
        if os.path.exists(path):
            os.unlink(path)
        self.forget()


PACKS: dict[str, Packs] = {}


def packs_of(folder: str) -> Packs:
    return PACKS.setdefault(folder, Packs(folder))


def pack_entries(path: str) -> list[tuple[bytes, int, int]]:
    """What a pack holds; a file that is none is deleted."""
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        file.seek(max(0, size - PACK_TAIL.size))
        tail = file.read()
        count, magic = PACK_TAIL.unpack(tail) if len(tail) == PACK_TAIL.size else (0, b"")
        start = size - PACK_TAIL.size - count * PACK_ENTRY.size
        if magic != PACK_MAGIC or start < 0:
            os.unlink(path)
            return []
        file.seek(start)
        return list(PACK_ENTRY.iter_unpack(file.read(count * PACK_ENTRY.size)))


def mapped(path: str) -> memoryview:
    import mmap

    with open(path, "rb") as file:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def begin(payload: bytes, packs: str, target: str, partial: str) -> Answer:
    """Make room for a folder that is not there yet. ``there``: it is. Else which of these blobs (32 bytes of digest each) are
    not here: one byte each, 1 for missing.
    """
    if os.path.isdir(target):
        return {"there": True}, b""
    remove(b"", partial)
    make_folder(partial)
    store = packs_of(packs)
    store.refresh()
    blobs = [payload[start : start + 32] for start in range(0, len(payload), 32)]
    return {"there": False}, bytes(not store.use(blob) for blob in blobs)


def take(payload: bytes, path: str) -> Answer:
    """A small pack, whole."""
    make_folder(os.path.dirname(path))
    replace(path, payload, 0o600)
    return {}, b""


def lay_out(payload: bytes, packs: str, folder: str, entries: list[list[Any]]) -> Answer:
    """Write a part of a snapshot below a folder: [kind, path, mode, link's text]; digests of files in the payload.

    ``missing``: a blob is not here after all (deleted or damaged meanwhile).
    """
    import hashlib

    store = packs_of(packs)
    blobs = [payload[start : start + 32] for start in range(0, len(payload), 32)]
    if not all(blob in store.blobs for blob in blobs):
        store.refresh()
    modes: dict[int, bool] = {}
    left = iter(blobs)
    for kind, path, mode, text in entries:
        name = folder + "/" + path
        if kind == "folder":
            os.makedirs(name, exist_ok=True)
        elif kind == "link":
            place_link(text, name)
        else:
            blob = next(left)
            try:
                data = store.read(blob)
            except (KeyError, OSError):
                return {"missing": True}, b""
            if hashlib.sha256(data).digest() != blob:
                store.discard(blob)
                return {"missing": True}, b""
            write_new(name, data, mode, modes)
    return {"missing": False}, b""


def write_new(path: str, data: memoryview, mode: int, modes: dict[int, bool]) -> None:
    """``modes``: whether the umask takes bits away from a mode, asked once for each."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        file = os.open(path, flags, mode)
    except FileExistsError:  # this request came twice
        os.unlink(path)
        file = os.open(path, flags, mode)
    try:
        if data:
            write_all(file, data)
        if mode not in modes:
            modes[mode] = stat.S_IMODE(os.fstat(file).st_mode) != mode
        if modes[mode]:
            os.fchmod(file, mode)
    except OSError as refused:
        refused.filename = path
        raise
    finally:
        os.close(file)


VERBS = {
    verb.__name__: verb
    for verb in (
        run, read, write, make_folders, facts, remove, rename, partial, piece, finish, digest, walk, files, place,
        begin, take, lay_out,
    )
}  # fmt: skip

if __name__ == "__main__":
    main(sys.argv[1])
