"""Code snapshots on another machine: what it has already is not sent again.

Blobs lie there in packs, files of many blobs that are written once: ten thousand small files are a few packs, and nothing
needs a lock. While one pack travels, the files of the one before are written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain

from mlcli.domain.errors import TransportError
from mlcli.ports.stores import SnapshotEntry, SnapshotStore
from mlcli.transports import _far
from mlcli.transports._copies import PIECE_BYTES, upload
from mlcli.transports._pipe import Pipe
from mlcli.transports._session import Request

_PACK_BYTES = 1 << 20
_BIG_BYTES = 4 << 20
_ENTRIES_AT_ONCE = 1000
_ATTEMPTS = 3


def place(pipe: Pipe, packs: str, target: str, digest: str | None, snapshots: SnapshotStore | None) -> None:
    """A fresh copy of a snapshot as the folder ``target``; ``packs`` is where the machine keeps blobs. Raises TransportError."""
    placing = _Placing(pipe, packs, target, [], _no_blob)
    if digest is not None and snapshots is not None:
        placing = _Placing(pipe, packs, target, list(snapshots.tree(digest)), snapshots.blob)
    for _ in range(_ATTEMPTS):
        if placing.done():
            return
    raise TransportError(f"{target}: blobs of the code keep vanishing from {packs}", transient=True, hint="try again")


class _Placing:
    """One snapshot on its way. ``blob(digest)`` is asked for what the machine has not."""

    def __init__(
        self,
        pipe: Pipe,
        packs: str,
        target: str,
        entries: Sequence[SnapshotEntry],
        blob: Callable[[str], Iterable[bytes]],
    ) -> None:
        self._pipe = pipe
        self._packs = packs
        self._target = target
        self._partial = f"{target}.partial"
        self._entries = entries
        self._blob = blob

    def done(self) -> bool:
        """Do it; false when a blob that was there is not any more."""
        blobs = {entry.content: entry.size for entry in self._entries if entry.kind == "file"}
        facts = {"packs": self._packs, "target": self._target, "partial": self._partial}
        begun = self._pipe.call(Request("begin", facts, b"".join(map(bytes.fromhex, blobs))))
        if begun.header["there"]:
            return True
        missing = {blob for (blob, is_missing) in zip(blobs, begun.payload, strict=True) if is_missing}
        try:
            for blob in sorted(blob for blob in missing if blobs[blob] > _BIG_BYTES):
                self._send_big(blob, blobs[blob])
                missing.discard(blob)
            for answer in self._pipe.pipeline(self._requests(missing)):
                if answer.header.get("missing"):
                    return False
            # Not before every answer has come: a folder that has its name is complete.
            self._pipe.call(Request("rename", {"source": self._partial, "target": self._target}))
        except TransportError as failed:
            if not failed.transient:  # it may be what fills the disk: the failure must find room
                with suppress(TransportError):
                    self._pipe.call(Request("remove", {"path": self._partial}))
            raise
        return True

    def _requests(self, missing: set[str]) -> Iterator[Request]:
        """Packs, each followed by the entries that need it."""
        pack = _Pack()
        batch: list[SnapshotEntry] = []
        for entry in self._entries:
            batch.append(entry)
            if entry.kind == "file" and entry.content in missing:
                missing.discard(entry.content)
                pack.add(entry.content, b"".join(self._blob(entry.content)))
            if pack.size >= _PACK_BYTES or len(batch) >= _ENTRIES_AT_ONCE:
                yield from self._written(pack, batch)
                pack, batch = _Pack(), []
        yield from self._written(pack, batch)

    def _written(self, pack: _Pack, batch: Iterable[SnapshotEntry]) -> Iterator[Request]:
        if pack.size:
            yield Request("take", {"path": f"{self._packs}/{pack.name}"}, pack.data())
        entries = [
            [entry.kind, entry.path, entry.mode, entry.content if entry.kind == "link" else ""] for entry in batch
        ]
        blobs = b"".join(bytes.fromhex(entry.content) for entry in batch if entry.kind == "file")
        yield Request("lay_out", {"packs": self._packs, "folder": self._partial, "entries": entries}, blobs)

    def _send_big(self, blob: str, size: int) -> None:
        """A pack of one blob, in pieces that are resumed."""
        tail = _tail([(bytes.fromhex(blob), 0, size)])

        def pieces() -> Iterator[bytes]:
            yield from _cut(chain(self._blob(blob), [tail]))

        upload(self._pipe, f"{self._packs}/{blob[:32]}.pack", pieces, key=blob[:32], mode=0o600, mtime_ns=None)


def _no_blob(digest: str) -> Iterable[bytes]:
    raise KeyError(digest)


class _Pack:
    """Blobs on their way into one file. ``size``: bytes of file, 0 while there are none in it."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._index: list[tuple[bytes, int, int]] = []
        self._bytes = 0

    def add(self, blob: str, data: bytes) -> None:
        """One more."""
        self._index.append((bytes.fromhex(blob), self._bytes, len(data)))
        self._parts.append(data)
        self._bytes += len(data)

    @property
    def size(self) -> int:
        """Bytes, counting an entry's own, so that a pack of empty files is one too."""
        return self._bytes + len(self._index)

    @property
    def name(self) -> str:
        """The same for the same blobs."""
        return hashlib.sha256(_tail(self._index)).hexdigest()[:32] + ".pack"

    def data(self) -> bytes:
        """The file."""
        return b"".join([*self._parts, _tail(self._index)])


def _tail(index: list[tuple[bytes, int, int]]) -> bytes:
    return b"".join(_far.PACK_ENTRY.pack(*entry) for entry in index) + _far.PACK_TAIL.pack(len(index), _far.PACK_MAGIC)


def _cut(parts: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in pieces of the size that uploads are resumed at."""
    rest = b""
    for part in parts:
        rest += part
        while len(rest) >= PIECE_BYTES:
            yield rest[:PIECE_BYTES]
            rest = rest[PIECE_BYTES:]
    if rest:
        yield rest
