"""Files and trees over a connection. Small files go many at a time; big ones in pieces, resumed where they stood and
checked by SHA-256. Every file gets its name when it is whole. No clocks are compared: times are copied.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from mlcli.domain.errors import TransportError
from mlcli.transports._files import TEMPORARY, errors, make_folder, replacing
from mlcli.transports._pipe import Pipe
from mlcli.transports._session import Request

PIECE_BYTES = 1 << 20
_SMALL_BYTES = 1 << 20
_BATCH_FILES = 500
_ATTEMPTS = 3


@dataclass(frozen=True)
class Entry:
    """One thing below a folder. ``kind``: file, folder, link or other; ``text``: what a link says."""

    kind: str
    path: str
    mode: int
    mtime_ns: int
    size: int = 0
    text: str = ""


# there


def put(pipe: Pipe, source: Path, target: str) -> None:
    """Copy a local file or folder tree there. Raises TransportError."""
    with errors(str(source)):
        root = source.resolve(strict=True)
        entries = list(_below(root)) if root.is_dir() else [_entry(root, "")]
    unfit = next((entry for entry in entries if entry.kind == "other"), None)
    if unfit is not None:
        raise TransportError(f"{root / unfit.path} is no file, folder or link: it cannot be copied", transient=False)
    pipe.call(Request("make_folders", {"paths": [target if root.is_dir() else posixpath.dirname(target)]}))
    small = [entry for entry in entries if entry.kind != "file" or entry.size <= _SMALL_BYTES]
    for _ in pipe.pipeline(_placing(root, target, small)):
        pass
    for entry in entries:
        if entry.kind == "file" and entry.size > _SMALL_BYTES:
            _put_big(pipe, root / entry.path, posixpath.join(target, entry.path) if entry.path else target, entry)


def _below(folder: Path, prefix: str = "") -> Iterator[Entry]:
    for found in sorted(os.scandir(folder), key=lambda found: found.name):
        entry = _entry(Path(found.path), prefix + found.name)
        yield entry
        if entry.kind == "folder":
            yield from _below(Path(found.path), entry.path + "/")


def _entry(file: Path, path: str) -> Entry:
    facts = file.lstat()
    kinds = {stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFLNK: "link"}
    kind = kinds.get(stat.S_IFMT(facts.st_mode), "other")
    text = os.readlink(file) if kind == "link" else ""  # noqa: PTH115
    return Entry(kind, path, stat.S_IMODE(facts.st_mode), facts.st_mtime_ns, facts.st_size, text)


def _placing(root: Path, target: str, entries: Iterable[Entry]) -> Iterator[Request]:
    batch: list[list[Any]] = []
    data = bytearray()
    for entry in entries:
        last: Any = entry.text
        if entry.kind == "file":
            with errors(str(root / entry.path)):
                content = (root / entry.path).read_bytes()
            last = len(content)
            data += content
        batch.append([entry.kind, entry.path, entry.mode, entry.mtime_ns, last])
        if len(data) >= _SMALL_BYTES or len(batch) >= _BATCH_FILES:
            yield Request("place", {"folder": target, "entries": batch}, bytes(data))
            batch, data = [], bytearray()
    if batch:
        yield Request("place", {"folder": target, "entries": batch}, bytes(data))


def _put_big(pipe: Pipe, source: Path, target: str, entry: Entry) -> None:
    key = _key(str(source), target, entry)
    upload(pipe, target, lambda: _pieces(source), key=key, mode=entry.mode, mtime_ns=entry.mtime_ns)


def upload(
    pipe: Pipe,
    target: str,
    pieces: Callable[[], Iterator[bytes]],
    *,
    key: str,
    mode: int,
    mtime_ns: int | None,
) -> None:
    """A big file there, in ``pieces()`` of PIECE_BYTES (the last is shorter). What an earlier attempt with the same ``key``
    has sent is not sent again. Raises TransportError.
    """
    partial = f"{posixpath.dirname(target)}/{TEMPORARY}{key}"
    for _ in range(_ATTEMPTS):
        if _uploaded(pipe, target, pieces, partial, mode=mode, mtime_ns=mtime_ns):
            return
    raise TransportError(f"{target}: it keeps changing while it is sent", transient=True, hint="try again")


def _uploaded(
    pipe: Pipe, target: str, pieces: Callable[[], Iterator[bytes]], partial: str, *, mode: int, mtime_ns: int | None
) -> bool:
    there = pipe.call(Request("partial", {"path": partial})).header["size"] // PIECE_BYTES * PIECE_BYTES

    def requests() -> Iterator[Request]:
        state, offset = hashlib.sha256(), 0
        for piece in pieces():
            state.update(piece)
            if offset >= there:
                yield Request("piece", {"path": partial, "offset": offset}, piece)
            offset += len(piece)
        facts = {"path": partial, "target": target, "mode": mode, "mtime_ns": mtime_ns}
        yield Request("finish", {**facts, "size": offset, "digest": state.hexdigest()})

    answers = list(pipe.pipeline(requests()))
    return bool(answers[-1].header["whole"])


def _pieces(source: Path) -> Iterator[bytes]:
    with errors(str(source)), source.open("rb", buffering=0) as file:
        while piece := file.read(PIECE_BYTES):
            while len(piece) < PIECE_BYTES and (more := file.read(PIECE_BYTES - len(piece))):
                piece += more
            yield piece


def _key(source: str, target: str, entry: Entry) -> str:
    words = "\n".join([source, target, str(entry.size), str(entry.mtime_ns)])
    return hashlib.sha256(os.fsencode(words)).hexdigest()[:16]


# and back


def get(pipe: Pipe, source: str, target: Path) -> None:
    """Copy a file or folder tree from there. Raises TransportError."""
    told = pipe.call(Request("walk", {"path": source})).header
    if told["entries"] is None:
        entries = [Entry(told["kind"], "", told["mode"], told["mtime_ns"], told["size"])]
        with errors(str(target.parent)):
            make_folder(target.parent)
    else:
        entries = [_told(*entry) for entry in told["entries"]]
        with errors(str(target)):
            make_folder(target)
    _check(entries, source)
    for entry in entries:
        if entry.kind != "file":
            with errors(str(target / entry.path)):
                _make(entry, target / entry.path)
    files = [entry for entry in entries if entry.kind == "file"]
    small = [entry for entry in files if entry.size <= _SMALL_BYTES]
    for _ in _get_small(pipe, [(_joined(source, entry), _place(target, entry), entry.size) for entry in small]):
        pass  # one that was taken away since it was listed is left out
    for entry in files:
        if entry.size > _SMALL_BYTES:
            _get_big(pipe, _joined(source, entry), _place(target, entry), entry)


def _told(kind: str, path: str, mode: int, mtime_ns: int, last: int | str) -> Entry:
    if isinstance(last, str):
        return Entry(kind, path, mode, mtime_ns, text=last)
    return Entry(kind, path, mode, mtime_ns, last)


def _check(entries: Iterable[Entry], source: str) -> None:
    """Nothing that a far machine tells may be written anywhere but below the target: a name lies in a folder of the list."""
    folders, seen = {""}, set()
    for entry in entries:
        folder, _, name = entry.path.rpartition("/")
        if entry.kind == "other":
            raise TransportError(
                f"{posixpath.join(source, entry.path)} is no file, folder or link: it cannot be copied", transient=False
            )
        if folder not in folders or entry.path in seen or name in {".", ".."} or "\0" in name:
            raise TransportError(f"{source}: the machine tells of a file {entry.path!r} outside it", transient=False)
        seen.add(entry.path)
        if entry.kind == "folder":
            folders.add(entry.path)


def _make(entry: Entry, place: Path) -> None:
    if entry.kind == "folder":
        make_folder(place)
        return
    with replacing(place) as temporary:
        temporary.symlink_to(entry.text)


def _joined(source: str, entry: Entry) -> str:
    return posixpath.join(source, entry.path) if entry.path else source


def _place(target: Path, entry: Entry) -> Path:
    return target / entry.path if entry.path else target


def get_files(pipe: Pipe, files: Iterable[tuple[str, Path, int]]) -> Iterator[bool]:
    """Copy files (path there, place here, size in bytes); for each, in order, whether it was still there."""
    for small, group in groupby(files, key=lambda file: file[2] <= _SMALL_BYTES):
        if small:
            yield from _get_small(pipe, list(group))
        else:
            for source, place, _ in group:
                yield _got_big(pipe, source, place)


def _got_big(pipe: Pipe, source: str, place: Path) -> bool:
    told = pipe.call(Request("facts", {"path": source})).header
    if told["kind"] == "none":
        return False
    get(pipe, source, place)
    return True


def _get_small(pipe: Pipe, files: list[tuple[str, Path, int]]) -> Iterator[bool]:
    batches = list(_batches(files))
    requests = (Request("files", {"paths": [source for source, _, _ in batch]}) for batch in batches)
    for batch, answer in zip(batches, pipe.pipeline(requests), strict=True):
        data = memoryview(answer.payload)
        for (_, place, _), found in zip(batch, answer.header["found"], strict=True):
            if found is not None:
                size, mode, mtime_ns = found
                _write(place, data[:size], Entry("file", "", mode, mtime_ns, size))
                data = data[size:]
            yield found is not None


def _batches(files: Iterable[tuple[str, Path, int]]) -> Iterator[list[tuple[str, Path, int]]]:
    batch: list[tuple[str, Path, int]] = []
    bytes_in_it = 0
    for file in files:
        batch.append(file)
        bytes_in_it += file[2]
        if bytes_in_it >= _SMALL_BYTES or len(batch) >= _BATCH_FILES:
            yield batch
            batch, bytes_in_it = [], 0
    if batch:
        yield batch


def _write(place: Path, data: memoryview, entry: Entry) -> None:
    with errors(str(place)):
        make_folder(place.parent)
    with errors(str(place)), replacing(place) as temporary:
        temporary.write_bytes(data)
        _give(temporary, entry)


def _give(file: Path, entry: Entry) -> None:
    file.chmod(entry.mode)
    os.utime(file, ns=(entry.mtime_ns, entry.mtime_ns))


def _get_big(pipe: Pipe, source: str, place: Path, entry: Entry) -> None:
    partial = place.with_name(TEMPORARY + _key(source, str(place), entry))
    for _ in range(_ATTEMPTS):
        with errors(str(place)):
            if _downloaded(pipe, source, partial, entry.size):
                _give(partial, entry)
                partial.replace(place)
                return
            partial.unlink()
    raise TransportError(f"{source}: it keeps changing while it is fetched", transient=True, hint="try again")


def _downloaded(pipe: Pipe, source: str, partial: Path, size: int) -> bool:
    """Go on with a partial file to its end; whether it is what the machine has."""
    partial.touch(mode=0o600)
    state = hashlib.sha256()
    with partial.open("r+b") as file:
        while piece := file.read(PIECE_BYTES):
            state.update(piece)
        offset = file.tell()
        requests: list[Request] = [
            Request("read", {"path": source, "offset": start, "limit": min(PIECE_BYTES, size - start)})
            for start in range(offset, size, PIECE_BYTES)
        ]
        try:
            for answer in pipe.pipeline([*requests, Request("digest", {"path": source, "size": size})]):
                state.update(answer.payload)
                file.write(answer.payload)
        except OSError:
            with suppress(OSError):
                partial.unlink()  # a disk that is full must not stay so
            raise
    return bool(answer.header["digest"] == state.hexdigest())
