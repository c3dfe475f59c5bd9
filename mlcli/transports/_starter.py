"""One process that starts agents, kept for as long as there are runs to start."""

from __future__ import annotations

import select
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress

from mlcli import agent
from mlcli.ports.transports import Completed
from mlcli.transports import _starts


class Starter:
    """Answers what ``agent.py start`` would. Raises OSError when it has died: the agent is to be started in the usual way.

    ``file``: can be read from when there may be an answer.
    """

    def __init__(self, agent_folder: str, variables: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", _starts.__file__, agent_folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=dict(variables),
            start_new_session=True,
            bufsize=0,
        )
        assert self._process.stdin is not None  # noqa: S101  (it was asked for)
        assert self._process.stdout is not None  # noqa: S101
        self._asks, self._answers = self._process.stdin, self._process.stdout
        self.file = self._answers.fileno()
        self._asked: set[str] = set()
        self._told: dict[str, bytes] = {}
        self._rest = b""

    def ask(self, run_folder: str) -> None:
        """Have the agent of a run started, unless somebody has; once, until the answer was taken."""
        if run_folder in self._asked:
            return
        line = run_folder.encode(errors="surrogateescape") + b"\n"
        while line:
            line = line[self._asks.write(line) :]
        self._asked.add(run_folder)

    def has_answered(self, run_folder: str) -> bool:
        """Whether ``answer`` need not wait: it is there, or none will come."""
        while run_folder not in self._told:
            if self._answers.closed:
                return True
            if not select.select([self.file], [], [], 0)[0]:
                return False
            try:
                self._read()
            except OSError:
                return True
        return True

    def answer(self, run_folder: str) -> Completed:
        """What became of it."""
        while run_folder not in self._told:
            self._read()
        self._asked.discard(run_folder)
        answer = self._told.pop(run_folder)
        return Completed(1 if "error" in agent.decode(answer) else 0, answer, b"")

    def _read(self) -> None:
        data = b"" if self._answers.closed else self._answers.read(1 << 16)
        if not data:
            raise BrokenPipeError
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._told.update((agent.decode(line)["run_folder"], line) for line in lines)

    def close(self) -> None:
        """End it; the agents that it has started go on."""
        for stream in (self._asks, self._answers):
            with suppress(OSError):
                stream.close()
        self._process.wait()
