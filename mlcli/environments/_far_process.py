"""A process on another machine that no connection's end stops: the agent there starts it, watches it and can end it."""

from __future__ import annotations

import json
import posixpath
import secrets
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from mlcli import agent
from mlcli.domain.errors import EnvironmentBuildError, TransportError
from mlcli.environments._far_package import check
from mlcli.environments._far_side import REQUEST, RESULT
from mlcli.ports.transports import Transport

_LOG = "log.txt"
_POLL_S = 0.2
_LOOK_EVERY_S = 5.0
_PATIENCE_S = 900.0
_LAST_LINES = 15


class FarProcess:
    """One process, in a folder of its own below ``parent``; ``log`` takes its lines. ``grace_s``: seconds between TERM and
    KILL when it is ended.
    """

    def __init__(self, transport: Transport, parent: str, log: Callable[[str], None], *, grace_s: float) -> None:
        self._transport = transport
        self._folder = posixpath.join(parent, secrets.token_hex(8))
        self._log = log
        self._grace_s = grace_s
        self._offset = 0
        self._rest = b""
        self._lines: list[str] = []

    def run(
        self,
        argv: Sequence[str],
        request: Mapping[str, Any],
        *,
        variables: Mapping[str, str],
        append_path: Sequence[str],
    ) -> Mapping[str, Any]:
        """Start it with ``request`` in its folder, follow it to its end, and answer what it has written to its result.

        Whatever interrupts that (a cancel, SIGTERM, Ctrl-C) ends it; only a machine that does not answer leaves it running.
        Raises EnvironmentBuildError when it left no result, TransportError.
        """
        with _terminations() as terminated:
            try:
                self._start(argv, request, variables, append_path)
                self._follow(terminated)
            except TransportError:
                raise
            except BaseException:
                with suppress(TransportError):
                    self._transport.run(self._agent("cancel"), repeatable=True)
                raise
        result = self._transport.read(self._path(RESULT))
        if result is None:
            raise EnvironmentBuildError(
                f"the process that builds the environment ended without a result ({self._how()})",
                hint="submit again; a machine that is short of memory kills big processes",
                details=tuple(self._lines[-_LAST_LINES:]),
            )
        self._transport.run(["rm", "-rf", self._folder], repeatable=True)
        told: Mapping[str, Any] = json.loads(result)
        return told

    def _start(
        self,
        argv: Sequence[str],
        request: Mapping[str, Any],
        variables: Mapping[str, str],
        append_path: Sequence[str],
    ) -> None:
        launch = {
            "version": agent.VERSION,
            "argv": list(argv),
            "command": None,
            "working_directory": self._folder,
            "log": _LOG,
            "timeout_s": None,
            "grace_s": self._grace_s,
            "environment": {
                "defaults": {},
                "unset": [],
                "set": dict(variables),
                "prepend_path": [],
                "append_path": list(append_path),
            },
        }
        self._transport.write(self._path(REQUEST), json.dumps(request).encode())
        self._transport.write(self._path(agent.LAUNCH), agent.encode(launch).encode())
        check(self._transport.run(self._agent("start"), repeatable=True), "starting the build there")

    def _follow(self, terminated: Sequence[int]) -> None:
        heard_at = looked_at = time.monotonic()
        while True:
            try:
                ended = self._transport.read(self._path(agent.EXIT)) is not None
                self._hear()
                if not ended and time.monotonic() - looked_at > _LOOK_EVERY_S:
                    ended = self._is_gone()
                    looked_at = time.monotonic()
                heard_at = time.monotonic()
            except TransportError as failed:
                if not failed.transient or time.monotonic() - heard_at > _PATIENCE_S:
                    raise
                ended = False
            if ended:
                return
            if terminated:
                raise SystemExit(128 + terminated[0])
            time.sleep(_POLL_S)

    def _hear(self) -> None:
        new = self._transport.read(self._path(_LOG), self._offset) or b""
        self._offset += len(new)
        *lines, self._rest = (self._rest + new).split(b"\n")
        for line in lines:
            self._lines.append(line.decode("utf-8", "replace"))
            self._log(self._lines[-1])

    def _is_gone(self) -> bool:
        return self._seen().get("sight") in {"gone", "exited"}

    def _how(self) -> str:
        seen = self._seen()
        ended = seen.get("exit") or {}
        return str(seen.get("evidence") or ended.get("message") or f"it ended with code {ended.get('code')}")

    def _seen(self) -> Mapping[str, Any]:
        answer = self._transport.run(self._agent("observe"), repeatable=True)
        seen: Mapping[str, Any] = agent.decode(answer.stdout) if answer.code == 0 else {}
        return seen

    def _agent(self, verb: str) -> list[str]:
        return agent.invocation(self._transport.python(), self._transport.agent_folder(), verb, self._folder)

    def _path(self, name: str) -> str:
        return posixpath.join(self._folder, name)


@contextmanager
def _terminations() -> Iterator[list[int]]:
    """SIGTERM is remembered in the list meanwhile: who is told to end must end what it has begun elsewhere first."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return

    def remember(number: int, frame: FrameType | None) -> None:
        del frame
        received.append(number)

    before = signal.signal(signal.SIGTERM, remember)
    try:
        yield received
    finally:
        signal.signal(signal.SIGTERM, before)
