"""Requests to the far process of one host: reconnected and asked again when the connection drops."""

from __future__ import annotations

import errno
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from mlcli.domain.compute import SshHost
from mlcli.domain.errors import TransportError
from mlcli.transports._files import error_of
from mlcli.transports._login import Connection, HungUpError, Secrets, connect
from mlcli.transports._session import Answer, DroppedError, Request, Session, exchange

_ATTEMPTS_TO_GREET = 6
_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 5.0
_TRUSTED_S = 10.0
_AWAY_S = 1.0


class Pipe:
    """One connection, made when it is first needed. Threads take turns.

    ``patience_s``: how long a connection that dropped is tried to be made again. ``tell`` takes sentences for the person
    who waits meanwhile.
    """

    def __init__(self, host: SshHost, secrets: Secrets, patience_s: float, tell: Callable[[str], None]) -> None:
        self._host = host
        self._secrets = _remembered(secrets)
        self._patience_s = patience_s
        self._tell = tell
        self._lock = threading.RLock()
        self._session: Session | None = None
        self._dropped_frames = 0
        self._away: tuple[float, TransportError] | None = None

    def session(self) -> Session:
        """The live session. Raises TransportError."""
        with self._lock:
            if self._session is not None and not self._session.is_alive():
                self._drop()
            if self._session is None:
                self._session = self._connected()
            return self._session

    def connection(self) -> Connection:
        """The live connection, also while a request is under way. Raises TransportError."""
        session = self._session
        if session is None or not session.is_alive():
            session = self.session()
        return session.connection

    @property
    def frames(self) -> int:
        """How many requests were sent so far."""
        return self._dropped_frames + (self._session.frames if self._session is not None else 0)

    def call(self, request: Request, *, repeatable: bool = True) -> Answer:
        """One request and its answer. What is not repeatable is sent once at most.

        Raises TransportError.
        """
        with self._lock:
            if not repeatable:
                self.check()
            (answer,) = self.pipeline([request], repeatable=repeatable)
            return answer

    def check(self) -> None:
        """Find out whether the connection still is one, and make it again if not. Raises TransportError."""
        with self._lock:
            if self.session().idle_s() > _TRUSTED_S:
                self.call(Request("make_folders", {"paths": []}))

    def pipeline(self, requests: Iterable[Request], *, repeatable: bool = True) -> Iterator[Answer]:
        """Answers in the order of the requests, of which several are under way at a time. Raises as ``call`` does."""
        unsent = iter(requests)
        waiting: deque[Request] = deque()
        with self._lock:
            session = self.session()
            try:
                while True:
                    try:
                        for answer in exchange(session, unsent, waiting):
                            yield self._checked(answer)
                        return
                    except DroppedError as dropped:
                        self._drop()
                        if not repeatable:
                            waiting.clear()
                            raise self._unknown(dropped) from None
                        session = self._reconnected(dropped)
            finally:
                if waiting:  # somebody has lost interest: the answers that are still to come belong to nobody
                    self._drop()

    def close(self) -> None:
        """Let go of the connection; it is made again when needed."""
        with self._lock:
            if self._session is not None:
                self._dropped_frames += self._session.frames
                self._session.close()
                self._session = None

    def abandon(self) -> None:
        """Let go of it as the process ends: whoever is still connecting is not waited for."""
        if self._lock.acquire(blocking=False):
            try:
                self.close()
            finally:
                self._lock.release()

    def _drop(self) -> None:
        if self._session is not None:
            self._dropped_frames += self._session.frames
            self._session.close(abrupt=True)
            self._session = None

    def _connected(self) -> Session:
        """A new session. A host that has just not answered is not tried again at once: whoever has several questions waits once."""
        if self._away is not None and time.monotonic() - self._away[0] < _AWAY_S:
            raise self._away[1]
        try:
            return self._greeted()
        except TransportError as failed:
            self._away = (time.monotonic(), failed) if failed.transient else None
            raise

    def _greeted(self) -> Session:
        """A host that hangs up before it greets has too many callers: it is asked again."""
        for attempt in range(_ATTEMPTS_TO_GREET):
            try:
                return self._begun()
            except HungUpError:
                if attempt == _ATTEMPTS_TO_GREET - 1:
                    raise
                time.sleep(_pause_s(attempt))
        raise AssertionError

    def _begun(self) -> Session:
        connection = connect(self._host, self._secrets)
        try:
            return Session(self._host, connection)
        except BaseException:
            connection.close(abrupt=True)
            raise

    def _reconnected(self, dropped: DroppedError) -> Session:
        """Try until it is there again or patience is used up."""
        self._tell(f"{self._host}: the connection dropped ({dropped}); connecting again")
        deadline = time.monotonic() + self._patience_s
        attempt = 0
        while True:
            try:
                self._session = self._begun()
                return self._session
            except TransportError as failed:
                if not failed.transient or time.monotonic() > deadline:
                    raise
            time.sleep(_pause_s(attempt))
            attempt += 1

    def _unknown(self, dropped: DroppedError) -> TransportError:
        return TransportError(
            f"{self._host}: the connection dropped ({dropped}) before the answer to a command came: "
            "it may have been carried out",
            transient=True,
            hint="look at what became of it, then try again",
        )

    def _checked(self, answer: Answer) -> Answer:
        told: dict[str, Any] | None = answer.header.get("error")
        if told is None:
            return answer
        name, path = told.get("errno", ""), told["path"]
        number: int = getattr(errno, name, 0) if name else 0
        if not number:
            raise TransportError(f"{self._host}: {told['text']}", transient=False)
        raise error_of(OSError(number, told["text"], path or None), path or "a file", f"{self._host}: ")


def _pause_s(attempt: int) -> float:
    """Seconds to wait before another attempt: doubled each time, and never the same for two who wait."""
    return min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0**attempt) * random.uniform(0.5, 1.0)  # noqa: S311


def _remembered(secrets: Secrets) -> Secrets:
    """Nobody is asked twice for the same: a connection that drops is made again without a word."""
    known: dict[tuple[str, str], str] = {}

    def ask(kind: str, subject: str) -> str | None:
        if kind == "answer":  # a one-time code
            return secrets(kind, subject)
        if (kind, subject) not in known:
            told = secrets(kind, subject)
            if told is None:
                return None
            known[kind, subject] = told
        return known[kind, subject]

    return ask
