"""Starting the real agent in a real run folder, and waiting for what becomes of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from mlcli import agent

FOLDER = str(Path(agent.__file__).parent)
LOG = "user_logs/std_log.txt"
DEADLINE_S = 60.0
FOR_EVER = "sleep 1000"
Value = TypeVar("Value")


def wait_for(what: Callable[[], Value | None], deadline_s: float = DEADLINE_S) -> Value:
    """The first true answer."""
    deadline = time.monotonic() + deadline_s
    while True:
        answer = what()
        if answer:
            return answer
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


class RunFolder:
    """One run folder and the verbs on it."""

    def __init__(self, path: Path, python: str = sys.executable) -> None:
        self.path = path
        self.python = python
        self.working_directory = path / "wd"
        for name in ("user_logs", "system_logs", "wd"):
            (path / name).mkdir(parents=True, exist_ok=True)

    def launch(self, command: str | None, *, variables: dict[str, str] | None = None, **changes: Any) -> None:
        environment = {
            "defaults": {},
            "set": variables or {},
            "unset": [],
            "prepend_path": [],
            "append_path": [],
        }
        record = {
            "version": agent.VERSION,
            "argv": [],
            "command": command,
            "working_directory": str(self.working_directory),
            "log": LOG,
            "timeout_s": None,
            "grace_s": 10.0,
            "environment": environment,
            **changes,
        }
        (self.path / "launch.json").write_text(json.dumps(record))

    def argv(self, *arguments: str) -> list[str]:
        return agent.invocation(self.python, FOLDER, *arguments)

    def verb(self, *arguments: str) -> Any:
        done = subprocess.run(
            self.argv(*arguments, str(self.path)), capture_output=True, timeout=DEADLINE_S, check=False
        )
        assert done.stdout, done.stderr
        return json.loads(done.stdout)

    def start(self, command: str | None = None, **changes: Any) -> Any:
        if command is not None or changes:
            self.launch(command, **changes)
        return self.verb("start")

    def run(self, command: str, **changes: Any) -> Any:
        """Start, wait, and answer the exit record."""
        told = self.start(command, **changes)
        assert "agent" in told, told
        return self.ended()

    def observe(self) -> Any:
        return self.verb("observe")

    def cancel(self) -> Any:
        return self.verb("cancel")

    def record(self, name: str) -> Any:
        path = self.path / name
        return json.loads(path.read_bytes()) if path.exists() else None

    def ended(self) -> Any:
        return wait_for(lambda: self.record("exit.json"))

    @property
    def agent(self) -> Any:
        return self.record("agent.json")

    def log(self) -> bytes:
        return (self.path / LOG).read_bytes()

    def says(self, text: str) -> None:
        """Wait until the log holds the text."""
        wait_for(lambda: text.encode() in self.log())

    def kill_agent(self) -> None:
        os.kill(self.agent["pid"], signal.SIGKILL)
        wait_for(lambda: not agent.is_alive(self.agent))

    def processes(self) -> list[int]:
        """What is alive of the run: by its cookie, wherever it went."""
        record = self.agent
        return agent._Run(record["command"], record["cookie"], held=False).processes() if record else []

    def clean_up(self) -> None:
        record = self.agent
        if record is None or record["boot_id"] != agent.boot_id():
            return
        agent._Run(record["command"], record["cookie"], held=False).signal(signal.SIGKILL)
        if agent.is_alive(record):
            self.ended()


def lives(pid: int) -> bool:
    """Whether a process is there and not a zombie."""
    return agent._facts(pid) is not None
