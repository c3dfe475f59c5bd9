"""One live far process (``_far.py``) on one connection: frames go there, frames come back."""

from __future__ import annotations

import json
import re
import secrets
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from mlcli.domain.compute import SshHost
from mlcli.domain.errors import TransportError, UsageError
from mlcli.domain.redaction import masked
from mlcli.transports import _far
from mlcli.transports._login import Connection, HungUpError
from mlcli.transports._paramiko import paramiko

SILENCE_S = 4 * _far.HEARTBEAT_S
START_S = 60.0
_WINDOW_BYTES = 8 << 20
_SENT_AT_ONCE = 1 << 18
_POLL_S = 1.0
_UNDER_WAY = 16
_NOT_FOUND = 127
_TOO_OLD = 86
_NO_STATUS = -1  # what paramiko says of a command whose channel was closed without its exit code
_NAMES = (  # the system's own first: it starts at once, while the first on a PATH may be a script that looks for another
    "/usr/bin/python3",
    "python3",
    *(f"python3.{minor}" for minor in range(15, 7, -1)),
    "/usr/local/bin/python3",
    "/opt/homebrew/bin/python3",
)


class DroppedError(Exception):
    """The connection is gone, or has been silent for too long; the text says which."""


@dataclass(frozen=True)
class Request:
    """A verb of the far process with its arguments and a payload."""

    verb: str
    arguments: dict[str, Any] = field(default_factory=dict)
    payload: bytes = b""


@dataclass(frozen=True)
class Answer:
    """What the verb told: its header (with ``error`` when it was refused) and a payload."""

    header: dict[str, Any]
    payload: bytes


class Session:
    """Starts the far process on a connection. Raises TransportError when there is none to start.

    Every other method raises DroppedError; after one, or after any interruption, the session is of no use any more.
    """

    def __init__(self, host: SshHost, connection: Connection) -> None:
        self._connection = connection
        self._host = host
        self._buffer = bytearray()
        self._heard = time.monotonic()
        self.frames = 0
        self.greeting = self._start()

    def is_alive(self) -> bool:
        """Whether the connection looks whole; one that was cut without a word does too."""
        return bool(self._connection.transport.is_active()) and not self._channel.closed

    def idle_s(self) -> float:
        """Seconds since the far process was last heard."""
        return time.monotonic() - self._heard

    def close(self, *, abrupt: bool = False) -> None:
        """End it, and with it the far process."""
        self._connection.close(abrupt=abrupt)

    @property
    def connection(self) -> Connection:
        """The connection that it lives on."""
        return self._connection

    # start

    def _start(self) -> dict[str, Any]:
        marker = secrets.token_hex(16)
        source = _source()
        try:
            self._channel: Any = self._connection.transport.open_session(window_size=_WINDOW_BYTES, timeout=START_S)
            self._channel.settimeout(_POLL_S)
            self._channel.exec_command(_command_line(marker, len(source), self._host.python))
        except (paramiko().SSHException, EOFError, OSError) as refused:
            raise TransportError(
                f"{self._host}: it allows no command: {refused}",
                transient=not isinstance(refused, paramiko().ChannelException),
                hint="its sshd_config may forbid sessions (MaxSessions 0, ForceCommand)",
            ) from None
        try:
            self._send(source)
            return self._greeting(f"\n{marker}\n".encode())
        except DroppedError as dropped:
            raise self._no_far_process(marker, str(dropped)) from None

    def _greeting(self, marker: bytes) -> dict[str, Any]:
        """Skip what the login shell printed; the far process's first frame."""
        deadline = time.monotonic() + START_S
        while marker not in self._buffer:
            if time.monotonic() > deadline:
                raise DroppedError("it prints, but never begins")
            self._hear(START_S)
        del self._buffer[: self._buffer.index(marker) + len(marker)]
        return self.receive().header

    def _no_far_process(self, marker: str, dropped: str) -> TransportError:
        """Why the far process did not begin, by what came instead."""
        self._channel.settimeout(_POLL_S)
        code = self._channel.recv_exit_status() if self._channel.status_event.wait(_POLL_S) else None
        self._buffer += _all_of(self._channel.recv)  # who was hung up on while it spoke has not heard all
        problems = _all_of(self._channel.recv_stderr)
        said = masked(_last_line(bytes(self._buffer)) or _last_line(problems.replace(marker.encode(), b"")))
        if marker.encode() in problems:
            looked = self._host.python or "python3, python3.8 to python3.15 on the PATH, and in the usual folders"
            return TransportError(
                f"{self._host}: there is no Python 3.8 or newer; looked for {looked}",
                transient=False,
                hint="install Python there (`apt-get install python3`, `dnf install python3`), or name the interpreter in the "
                "compute's definition: --set python=/opt/python/bin/python3",
            )
        told = f": {said}" if said else ""
        if code == _NO_STATUS:
            return HungUpError(
                f"{self._host}: the connection dropped before its shell had begun{told}",
                transient=True,
                hint="try again; `ssh -v` tells more",
            )
        if code is None:
            return TransportError(f"{self._host}: no answer from its shell ({dropped}){told}", transient=True)
        return TransportError(
            f"{self._host}: its login shell ended with code {code}{told}",
            transient=False,
            hint=f"`ssh {self._host.address} true` must work first",
        )

    # frames

    def send(self, request: Request) -> None:
        """Send a request; its answer comes in turn."""
        header = json.dumps({"verb": request.verb, **request.arguments}).encode()
        frame = _far.FRAME.pack(len(header), len(request.payload)) + header
        self._send(frame + request.payload if len(request.payload) < _SENT_AT_ONCE else frame)
        if len(request.payload) >= _SENT_AT_ONCE:
            self._send(request.payload)
        self.frames += 1

    def _send(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                sent = self._channel.send(bytes(view[:_SENT_AT_ONCE]))
            except TimeoutError:
                self._take_what_is_there()
                self._fail_when_silent(SILENCE_S)
                continue
            except (OSError, EOFError) as gone:
                raise DroppedError(str(gone) or "it was closed") from None
            if sent == 0:
                raise DroppedError("it was closed")
            view = view[sent:]

    def answered(self) -> bool:
        """Whether a whole answer may be there to be received without waiting."""
        return bool(self._channel.recv_ready())

    def receive(self) -> Answer:
        """The next answer in turn."""
        while True:
            header_size, payload_size = _far.FRAME.unpack(self._take(_far.FRAME.size))
            if header_size == 0:
                continue
            header = json.loads(self._take(header_size))
            return Answer(header, self._take(payload_size))

    def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._hear(SILENCE_S)
        data = bytes(memoryview(self._buffer)[:size])
        del self._buffer[:size]
        return data

    def _hear(self, patience_s: float) -> None:
        """Wait for more to come."""
        while True:
            try:
                data = self._channel.recv(1 << 20)
            except TimeoutError:
                self._fail_when_silent(patience_s)
                continue
            except (OSError, EOFError) as gone:
                raise DroppedError(str(gone) or "it was closed") from None
            if not data:
                raise DroppedError("the other side closed it")
            self._heard = time.monotonic()
            self._buffer += data
            return

    def _take_what_is_there(self) -> None:
        while self._channel.recv_ready():
            self._hear(SILENCE_S)

    def _fail_when_silent(self, patience_s: float) -> None:
        if self.idle_s() > patience_s:
            raise DroppedError(f"nothing was heard for {self.idle_s():.0f} seconds")


def exchange(session: Session, requests: Iterator[Request], waiting: deque[Request]) -> Iterator[Answer]:
    """Send requests without waiting for each answer; the answers in order.

    ``waiting`` holds what was sent and not answered yet; what is in it at the start (a session before this one dropped) is
    sent first.
    """
    for request in waiting:
        session.send(request)
    while True:
        while len(waiting) < _UNDER_WAY:
            request_or_end = next(requests, None)
            if request_or_end is None:
                break
            waiting.append(request_or_end)
            session.send(request_or_end)
            if session.answered():
                break
        if not waiting:
            return
        answer = session.receive()
        waiting.popleft()
        yield answer


@lru_cache(maxsize=1)
def _source() -> bytes:
    return Path(_far.__file__).read_bytes()


def _command_line(marker: str, size: int, python: str | None) -> str:
    """What starts the far process, in words that sh, bash, zsh, fish and csh read alike: one quoted argument of sh.

    Inside it stand no single quotes, no backslashes, no exclamation marks and no line ends.
    """
    code = f"import sys; sys.version_info < (3, 8) and sys.exit({_TOO_OLD}); exec(sys.stdin.buffer.read({size}))"
    names = " ".join(_NAMES)
    find = f"for p in {names}; do"
    if python is not None:
        find = f'for p in "{_named(python)}"; do'
    return (
        f"exec /bin/sh -c '{find} "
        f'command -v "$p" >/dev/null || continue; "$p" -I -S -X utf8 -c "{code}" {marker}; c=$?; '
        f"test $c = {_TOO_OLD} || test $c = 126 || test $c = {_NOT_FOUND} || exit $c; done; "
        f"echo {marker} >&2; exit {_NOT_FOUND}'"
    )


def _named(python: str) -> str:
    if not re.fullmatch(r"[\w./+@~ -]+", python, re.ASCII):
        raise UsageError(
            f"{python!r} is not the path of a Python interpreter", hint="give it as in: /opt/python/bin/python3"
        )
    return re.sub("^~/", "$HOME/", python)


def _all_of(read: Any) -> bytes:
    parts = []
    try:
        while part := read(1 << 16):
            parts.append(part)
    except OSError:
        pass
    return b"".join(parts)


def _last_line(output: bytes) -> str:
    lines = output.decode("utf-8", "replace").strip().splitlines()
    return lines[-1][:300] if lines else ""
