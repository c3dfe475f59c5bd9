"""Files into and out of a container whose engine cannot mount them: tar streams, nothing whole in memory."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

_BLOCK = 512
_CHUNK = 1 << 20


def pack(entries: Iterable[tuple[Path, str]], uid: int, gid: int) -> Iterator[bytes]:
    """A tar stream of files and folder trees, each under its name there, owned by ``uid:gid``.

    A link that is named itself counts as what it leads to; those below a folder stay links. Raises OSError.
    """
    with tarfile.TarFile(fileobj=io.BytesIO(), mode="w") as headers:
        for path, name in _walk(entries):
            if path.is_socket():
                continue
            info = headers.gettarinfo(str(path), name.lstrip("/"))
            info.uid, info.gid, info.uname, info.gname = uid, gid, "", ""
            yield info.tobuf()
            if info.isreg():
                yield from _content(path, info.size)
    yield bytes(2 * _BLOCK)


def _walk(entries: Iterable[tuple[Path, str]]) -> Iterator[tuple[Path, str]]:
    for given, name in entries:
        path = given.resolve()
        yield path, name
        if path.is_dir():
            for folder, folders, files in os.walk(path):
                below = Path(folder).relative_to(path)
                for child in sorted((*folders, *files)):
                    yield Path(folder) / child, str(Path(name) / below / child)


def _content(path: Path, size: int) -> Iterator[bytes]:
    """As many bytes as the header promises, whatever becomes of the file meanwhile; filled up to whole blocks."""
    left = size
    with path.open("rb") as file:
        while left and (data := file.read(min(left, _CHUNK))):
            left -= len(data)
            yield data
    if padding := left + -size % _BLOCK:
        yield bytes(padding)


def unpack(chunks: Iterable[bytes], target: Path, wanted: Callable[[str], bool] = lambda _: True) -> None:
    """Write the one file or folder that the engine packed as ``target``; its links to elsewhere stay links, and nothing
    is written through them. ``wanted``: by the name, relative to the folder.

    Raises OSError, or tarfile.TarError for a stream that was cut.
    """
    reader = _Reader(chunks)
    with tarfile.open(fileobj=io.BufferedReader(reader), mode="r|") as archive:
        archive.extraction_filter = getattr(tarfile, "tar_filter", lambda member, _: member)
        for member in archive:
            below = member.name.partition("/")[2]
            if not wanted(below) or (not below and member.isdir() and target.is_dir()):
                continue
            member.name = f"{target.name}/{below}".rstrip("/")
            if member.islnk():
                member.linkname = f"{target.name}/{member.linkname.partition('/')[2]}"
            member.uid, member.gid, member.uname, member.gname = os.getuid(), os.getgid(), "", ""
            if member.isfile() or member.isdir() or member.issym() or member.islnk():
                archive.extract(member, target.parent)
    reader.check_end()


def one_file(chunks: Iterable[bytes], offset: int, limit: int | None) -> bytes:
    """A part of the one file that the engine packed."""
    with tarfile.open(fileobj=io.BufferedReader(_Reader(chunks)), mode="r|") as archive:
        for member in archive:
            file = archive.extractfile(member)
            if file is None:
                break
            file.read(offset)
            return file.read(-1 if limit is None else limit)
    return b""


class _Reader(io.RawIOBase):
    """Chunks as a file."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._rest = b""
        self._tail = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = chunk
            self._tail = (self._tail + chunk[-_BLOCK:])[-_BLOCK:]
        part, self._rest = self._rest[: len(buffer)], self._rest[len(buffer) :]
        buffer[: len(part)] = part
        return len(part)

    def check_end(self) -> None:
        """Raise tarfile.ReadError unless the stream ends as an archive does, with zeros: tarfile takes a cut for an end."""
        for chunk in self._chunks:
            self._tail = (self._tail + chunk[-_BLOCK:])[-_BLOCK:]
        if self._tail != bytes(_BLOCK):
            raise tarfile.ReadError("the stream was cut off")
