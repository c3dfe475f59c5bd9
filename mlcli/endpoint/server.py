"""The process: sockets, who may ask, and when it is over."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import resource
import selectors
import socket
import sys
import time
import traceback
from _operator import _compare_digest  # what hmac.compare_digest is; hmac itself would bring OpenSSL, 5 MB
from base64 import b64decode
from typing import Any, Iterator

from .calls import VERSION, Calls
from .errors import RefusedError
from .store import Store
from .wire import BadRequestError, Payload, Request, answer, take_head

DONE = b"."  # what the agent says before it closes the pipe; without it, the agent was killed
RECEIVE = 1 << 16
PATIENCE_S = 60.0  # with half a request
SUMMARY_EVERY_S = 10.0
LAST_CALLS_S = 2.0
WATCH_EVERY_S = 1.0
MOST_FILES = 8192
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Service:
    """Requests in, answers out."""

    def __init__(self, calls: Calls, token: str) -> None:
        self._calls = calls
        self._token = token.encode()

    def may_ask(self, request: Request) -> bool:
        """Whether it carries the token: as MLFLOW_TRACKING_TOKEN, or as MLFLOW_TRACKING_PASSWORD."""
        kind, _, given = request.headers.get("authorization", "").partition(" ")
        data = given.strip().encode("latin-1", "replace")
        if kind.lower() == "basic":
            try:
                data = b64decode(data).partition(b":")[2]
            except ValueError:
                return False
        return kind.lower() in ("basic", "bearer") and bool(_compare_digest(data, self._token))

    def answer(self, request: Request) -> tuple[int, Payload]:
        """Status and body. What goes wrong here is an answer, too."""
        try:
            if not self.may_ask(request):
                why = "This server answers the processes of one mlcli job; the token of that job is missing or wrong."
                raise RefusedError("UNAUTHENTICATED", why)
            if request.path in ("/health", "/version"):
                return 200, b"OK" if request.path == "/health" else VERSION.encode()
            return 200, self._calls.answer(request.method, request.path, _given(request))
        except RefusedError as refused:
            return refused.status, refused.body()
        except BadRequestError as bad:
            return bad.status, RefusedError("BAD_REQUEST", str(bad)).body()
        except OSError as failed:
            code = "RESOURCE_EXHAUSTED" if failed.errno in _FULL else "INTERNAL_ERROR"
            where = f" ({failed.filename})" if failed.filename else ""
            full = RefusedError(code, f"mlcli could not write what was logged: {failed.strerror}{where}")
            return full.status, full.body()
        except Exception as defect:  # noqa: BLE001  (a defect of ours must not end the job's logging)
            traceback.print_exc()
            return 500, RefusedError("INTERNAL_ERROR", f"{type(defect).__name__}: {defect}").body()


def _given(request: Request) -> dict[str, Any]:
    """What a call is given: the query, and the body's JSON object; "" holds a body that is no JSON."""
    given = request.query()
    data = request.data()
    if request.path.endswith("/upload-artifact"):
        return {**given, "": data}
    if not data:
        return given
    try:
        value = json.loads(data)
    except ValueError as broken:  # UnicodeDecodeError, too
        raise BadRequestError(f"The request's body is not JSON: {broken}") from None
    except RecursionError:
        raise BadRequestError("The request's body is nested too deeply") from None
    if not isinstance(value, dict):
        raise BadRequestError("The request's body is not a JSON object")
    return {**given, **value}


class Connection:
    """One client: bytes that came and make no request yet, bytes that it has not taken yet."""

    def __init__(self, client: socket.socket, service: Service) -> None:
        self.client = client
        self.heard_at = time.monotonic()
        self._service = service
        self._in = bytearray()
        self._out = b""
        self._more: Iterator[bytes] | None = None
        self._request: Request | None = None
        self._is_last = False

    @property
    def is_sending(self) -> bool:
        """Whether the client must take something before it is heard again."""
        return bool(self._out) or self._more is not None

    @property
    def is_waiting(self) -> bool:
        """Whether half a request is here."""
        return bool(self._in) or self._request is not None

    def receive(self) -> bool:
        """Take what has come, and answer what is whole; whether the connection goes on."""
        data = self.client.recv(RECEIVE)
        self.heard_at = time.monotonic()
        self._in += data
        return bool(data) and self._serve()

    def send(self) -> bool:
        """Hand out what is left, as far as the client takes it; whether the connection goes on."""
        while self.is_sending:
            if not self._out:
                self._out = next(self._more, b"") if self._more else b""
                if not self._out:
                    self._more = None
                    continue
            try:
                self._out = self._out[self.client.send(self._out) :]
            except BlockingIOError:
                return True
        return not self._is_last and self._serve()

    def end(self, message: str, status: int) -> bool:
        """Say why there is no answer, and that this is the end."""
        self._is_last = True
        self._out, self._more = answer(status, RefusedError("BAD_REQUEST", message).body(), is_last=True)
        return self.send()

    def _serve(self) -> bool:
        while not self.is_sending:
            try:
                request = self._next()
            except BadRequestError as bad:
                return self.end(str(bad), bad.status)
            if request is None:
                return True
            self._is_last = request.is_last
            status, payload = self._service.answer(request)
            self._out, self._more = answer(status, payload, is_last=request.is_last)
            if not self._send_once():
                return False
        return True

    def _send_once(self) -> bool:
        """As :meth:`send`, without looking for the next request."""
        while self._out:
            try:
                self._out = self._out[self.client.send(self._out) :]
            except BlockingIOError:
                return True
        return self._more is not None or not self._is_last

    def _next(self) -> Request | None:
        """The next request that is whole."""
        if self._request is None:
            self._request = take_head(self._in)
            if self._request is None:
                return None
            self._request.is_kept = self._service.may_ask(self._request)
            if self._request.headers.get("expect", "").lower() == "100-continue":
                self.client.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        if not self._request.feed(self._in):
            return None
        request, self._request = self._request, None
        return request


class Server:
    """Serves whoever connects to ``listener`` until the agent says that the run is over.

    ``agent``: a pipe from the agent. Without a word at its end, the agent was killed; then this goes on for as long as
    the command lives.
    """

    def __init__(self, listener: socket.socket, agent: int, store: Store, token: str) -> None:
        self._listener = listener
        self._agent = agent
        self._store = store
        self._service = Service(Calls(store), token)
        self._selector = selectors.DefaultSelector()
        self._connections: dict[socket.socket, Connection] = {}
        self._is_over = self._is_orphan = False

    def serve(self) -> None:
        """Until it is over; then what is under way is finished, and summed up."""
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._agent, selectors.EVENT_READ)
        next_summary = time.monotonic() + SUMMARY_EVERY_S
        while not self._is_over:
            self._turn(WATCH_EVERY_S if self._is_orphan else SUMMARY_EVERY_S)
            if time.monotonic() >= next_summary:
                self._tidy()
                next_summary = time.monotonic() + SUMMARY_EVERY_S
            if self._is_orphan and not _command_lives(self._store.folder):
                break
        deadline = time.monotonic() + LAST_CALLS_S
        while time.monotonic() < deadline and self._turn(0.0):
            pass
        self._listener.close()
        self._sum_up()

    def _turn(self, patience_s: float) -> bool:
        """Do what there is to do now; whether there was anything."""
        ready = self._selector.select(patience_s)
        for key, _ in ready:
            if key.fileobj is self._listener:
                self._accept()
            elif key.fd == self._agent:
                self._hear_agent()
            else:
                self._attend(self._connections[key.fileobj])  # type: ignore[index]
        return bool(ready)

    def _hear_agent(self) -> None:
        said = os.read(self._agent, 64)
        self._is_over = said == DONE
        self._is_orphan = not said
        self._selector.unregister(self._agent)

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError as failed:
            if failed.errno in (errno.EMFILE, errno.ENFILE) and self._connections:
                self._drop(min(self._connections.values(), key=lambda one: one.heard_at))
            return
        client.setblocking(False)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connections[client] = Connection(client, self._service)
        self._selector.register(client, selectors.EVENT_READ)

    def _attend(self, connection: Connection) -> None:
        was_sending = connection.is_sending
        try:
            goes_on = connection.send() if was_sending else connection.receive()
        except BlockingIOError:
            return
        except OSError:  # the client is gone
            goes_on = False
        if not goes_on:
            self._drop(connection)
        elif connection.is_sending != was_sending:
            event = selectors.EVENT_WRITE if connection.is_sending else selectors.EVENT_READ
            self._selector.modify(connection.client, event)

    def _drop(self, connection: Connection) -> None:
        self._selector.unregister(connection.client)
        del self._connections[connection.client]
        connection.client.close()

    def _tidy(self) -> None:
        """End connections with half a request that nobody finishes; write what has changed."""
        late = time.monotonic() - PATIENCE_S
        for connection in list(self._connections.values()):
            if connection.is_waiting and not connection.is_sending and connection.heard_at < late:
                with contextlib.suppress(OSError):
                    connection.end("the rest of the request did not come", 408)
                self._drop(connection)
        self._sum_up()

    def _sum_up(self) -> None:
        with contextlib.suppress(OSError):  # a full disk: readers do without
            self._store.write_summaries()


def _command_lives(folder: str) -> bool:
    """Whether the job's command still runs, by what the agent has written down of it."""
    try:
        with open(os.path.join(folder, "agent.json"), "rb") as file:
            command = json.loads(file.read())["command"]
        os.kill(command["pid"], 0)
        with open(f"/proc/{command['pid']}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except FileNotFoundError:  # no /proc here: the pid alone must do
        return not os.path.isdir("/proc/self")
    except (OSError, ValueError, KeyError):
        return False
    return fields[0] not in (b"Z", b"X") and int(fields[19]) == command["start_time"]


def main() -> None:
    """Arguments: the number of the listening socket. Standard input: one line of JSON, then the agent's pipe."""
    said = b""
    while not said.endswith(b"\n"):
        part = os.read(0, 1)
        if not part:
            return
        said += part
    facts = json.loads(said)
    with contextlib.suppress(ValueError, OSError):
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, fileno=int(sys.argv[-1]))
    store = Store(facts["folder"], facts)
    Server(listener, 0, store, facts["token"]).serve()
