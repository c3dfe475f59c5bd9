"""HTTP/1.1, as much as a server of small JSON needs: requests out of a buffer of bytes, answers into one. No I/O."""

from __future__ import annotations

import json
import zlib
from typing import Any, Dict, Iterator, Union
from urllib.parse import parse_qs, unquote

LONGEST_HEAD = 1 << 16
LONGEST_BODY = 20 << 20
REASONS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    408: "Request Timeout",
    413: "Content Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
    507: "Insufficient Storage",
}

# JSON, bytes, or pieces that come as the client takes them
Payload = Union[Dict[str, Any], bytes, Iterator[bytes]]


class BadRequestError(Exception):
    """What came is no request that can be answered; the connection ends with the answer."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class Request:
    """The head of a request, and its body as far as it has come."""

    def __init__(self, head: bytes) -> None:
        lines = head.decode("latin-1").split("\r\n")
        words = lines[0].split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            raise BadRequestError("the first line is not METHOD PATH HTTP/1.1")
        self.method, target, version = words
        path, _, self._query = target.partition("?")
        self.path = unquote(path)
        self.headers: dict[str, str] = {}
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            if not colon or name != name.strip():
                raise BadRequestError(f"{line[:80]!r} is no header")
            self.headers[name.lower()] = value.strip()
        options = self.headers.get("connection", "").lower()
        self.is_last = "close" in options if version == "HTTP/1.1" else "keep-alive" not in options
        self.is_chunked = "chunked" in self.headers.get("transfer-encoding", "").lower()
        self.left = 0 if self.is_chunked else self._length()
        self.body = bytearray()
        self.is_kept = True  # whether somebody will want the body

    def query(self) -> dict[str, Any]:
        """Each name with its text, or with all of them when it comes more than once."""
        found = parse_qs(self._query, keep_blank_values=True)
        return {name: values[0] if len(values) == 1 else values for name, values in found.items()}

    def data(self) -> bytes:
        """The body, unpacked. Raises BadRequestError."""
        packing = self.headers.get("content-encoding", "identity").lower()
        if packing == "identity":
            return bytes(self.body)
        if packing not in ("gzip", "deflate"):
            raise BadRequestError(f"the body's Content-Encoding {packing!r} is not known; gzip and deflate are")
        unpacker = zlib.decompressobj(zlib.MAX_WBITS | 32)
        try:
            data = unpacker.decompress(bytes(self.body), LONGEST_BODY)
        except zlib.error as broken:
            raise BadRequestError(f"the body is not {packing}: {broken}") from None
        if unpacker.unconsumed_tail:
            raise _too_long()
        if not unpacker.eof:
            raise BadRequestError(f"the body is not {packing}: it ends too early")
        return data

    def feed(self, buffer: bytearray) -> bool:
        """Take what belongs to the body off the buffer; whether it is whole. Raises BadRequestError."""
        while True:
            if self.left:
                if not buffer:
                    return False
                self._keep(buffer[: self.left])
                taken = min(self.left, len(buffer))
                del buffer[:taken]
                self.left -= taken
                continue
            if not self.is_chunked:
                return True
            if not self._next_chunk(buffer):
                return not self.is_chunked

    def _next_chunk(self, buffer: bytearray) -> bool:
        """Read the size of the next chunk; whether it is there and there is something in it."""
        if buffer.startswith(b"\r\n"):  # behind a chunk
            del buffer[:2]
        end = buffer.find(b"\r\n")
        if end < 0:
            if len(buffer) > 1024:
                raise BadRequestError("a chunk has no size")
            return False
        try:
            size = int(bytes(buffer[:end]).partition(b";")[0].strip() or b"x", 16)
            if size < 0:
                raise ValueError
        except ValueError:
            raise BadRequestError("a chunk has no size") from None
        if size:
            self.left = size
            del buffer[: end + 2]
            return True
        last = buffer.find(b"\r\n\r\n")  # there may be headers behind the last chunk
        if last >= 0:
            del buffer[: last + 4]
            self.is_chunked = False
        return False

    def _keep(self, data: bytearray) -> None:
        if self.is_kept:
            self.body += data
            if len(self.body) > LONGEST_BODY:
                raise _too_long()

    def _length(self) -> int:
        text = self.headers.get("content-length", "0")
        if not text.isdecimal():
            raise BadRequestError(f"Content-Length is {text[:40]!r}")
        if int(text) > LONGEST_BODY:
            raise _too_long()
        return int(text)


def _too_long() -> BadRequestError:
    return BadRequestError(f"a request's body may have {LONGEST_BODY >> 20} MB", 413)


def take_head(buffer: bytearray) -> Request | None:
    """The head of the next request, off the buffer; None when it is not there yet. Raises BadRequestError."""
    while buffer.startswith(b"\r\n"):
        del buffer[:2]
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        if len(buffer) > LONGEST_HEAD:
            raise BadRequestError("the head of the request is too long")
        return None
    head = bytes(buffer[:end])
    del buffer[: end + 4]
    return Request(head)


def answer(status: int, payload: Payload, *, is_last: bool) -> tuple[bytes, Iterator[bytes] | None]:
    """The bytes of an answer, and what is to follow them piece by piece."""
    close = "Connection: close\r\n" if is_last else ""
    head = f"HTTP/1.1 {status} {REASONS.get(status, 'Error')}\r\n{close}"
    if isinstance(payload, dict):
        body, kind = json.dumps(payload).encode(), "application/json"
    elif isinstance(payload, bytes):
        body, kind = payload, "text/plain; charset=utf-8"
    else:
        return f"{head}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n".encode(), _chunks(payload)
    return f"{head}Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body, None


def _chunks(pieces: Iterator[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        if piece:
            yield b"%x\r\n%b\r\n" % (len(piece), piece)
    yield b"0\r\n\r\n"
