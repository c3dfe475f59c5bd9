"""Real jobs through the installed ``mlcli``, and what must be true of a workspace whatever has happened to it."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from mlcli import agent
from mlcli.domain.run import RunFilter
from mlcli.stores.runs import FolderRunStore
from tests.conftest import COMMAND, Mlcli, Result

FOR_EVER = "sleep 1000"
DEADLINE_S = 90.0
ENDS = {"Completed", "Failed", "Canceled", "NotResponding"}
PLACE = re.compile(r"^[^\s:][^\n:]*:\d+:\d+: ", re.MULTILINE)
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


def until(path: Path) -> str:
    """Shell text that waits for a file."""
    return f"until [ -e {shlex.quote(str(path))} ]; do sleep 0.02; done"


def wrapped(
    mlcli: Mlcli, prefix: Sequence[str], *arguments: str | Path, env: dict[str, str | None] | None = None
) -> Result:
    """``mlcli`` started by another program: in a namespace, without privileges, on a terminal."""
    done = subprocess.run(
        [*prefix, str(COMMAND), *map(str, arguments)],
        env=mlcli.environment(env),
        cwd=mlcli.cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=DEADLINE_S,
        check=False,
    )
    return Result(
        done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"), done.stdout
    )


def refused(result: Result, *words: str, code: int = 1) -> None:
    """It failed as a person may expect: the exit code, the words, one error, and no traceback."""
    assert result.code == code, (result.code, result.stdout, result.stderr)
    assert "Traceback" not in result.stderr, result.stderr
    assert "internal error" not in result.stderr
    for word in words:
        assert word in result.stderr, result.stderr


class Jobs:
    """The jobs of one test, in its own ``MLCLI_HOME``."""

    def __init__(self, mlcli: Mlcli) -> None:
        self.mlcli = mlcli
        self.workspace = mlcli.home / "workspaces" / "default"
        self.runs = self.workspace / "runs"

    # what is typed

    def file(self, command: str, **fields: Any) -> Path:
        """A job file (JSON is YAML) that runs ``command`` on this machine."""
        path = self.mlcli.cwd / f"{fields.get('name', 'job')}.yml"
        path.write_text(json.dumps({"command": command, "environment": "current", "compute": "local", **fields}))
        return path

    def create(self, command: str, *flags: str, **fields: Any) -> str:
        """The name of a new job."""
        done = self.mlcli("job", "create", "-f", self.file(command, **fields), *flags, "--query", "name", "-o", "tsv")
        assert done.code == 0, done.stderr
        return done.stdout.strip()

    def show(self, name: str) -> dict[str, Any]:
        """What ``job show`` tells."""
        done = self.mlcli("job", "show", "-n", name)
        assert done.code == 0, done.stderr
        record: dict[str, Any] = done.json
        return record

    def list(self) -> dict[str, dict[str, Any]]:
        """What ``job list`` tells, by name."""
        done = self.mlcli("job", "list", "--all-results", "--include-archived")
        assert done.code == 0, done.stderr
        return {row["name"]: row for row in done.json}

    def wait(self, *names: str) -> None:
        """Until these jobs have ended, however."""
        done = self.mlcli("job", "wait", *names, "--timeout", f"{DEADLINE_S:g}s", "-o", "none")
        assert "not ended" not in done.stderr, done.stderr
        assert "Traceback" not in done.stderr, done.stderr

    def cancel(self, name: str) -> Result:
        return self.mlcli("job", "cancel", "-n", name)

    # what lies in the run folder

    def folder(self, name: str) -> Path:
        return self.runs / name

    def document(self, name: str, file: str) -> Any:
        """A JSON document of the run's folder, None while it is not there."""
        path = self.folder(name) / file
        try:
            return json.loads(path.read_bytes())
        except FileNotFoundError:
            return None

    def log(self, name: str) -> bytes:
        try:
            return (self.folder(name) / "user_logs" / "std_log.txt").read_bytes()
        except FileNotFoundError:
            return b""

    def says(self, name: str, text: str) -> None:
        """Wait until the job has printed it."""
        wait_for(lambda: text.encode() in self.log(name))

    def names(self) -> set[str]:
        """The runs that have a folder."""
        if not self.runs.is_dir():
            return set()
        return {entry.name for entry in self.runs.iterdir() if not entry.name.startswith(".")}

    # processes

    def processes(self, name: str) -> Sequence[int]:
        """What is alive of the job's command, wherever it went."""
        record = self.document(name, "agent.json")
        if record is None:
            return []
        return agent._Run(record["command"], record["cookie"], held=False).processes()

    def agent(self, name: str) -> dict[str, Any]:
        """The agent's record of who it is, as soon as it is there."""
        record: dict[str, Any] = wait_for(lambda: self.document(name, "agent.json"))
        return record

    def kill_agent(self, name: str) -> None:
        who = self.agent(name)
        os.kill(who["pid"], signal.SIGKILL)
        wait_for(lambda: not agent.is_alive(who))

    def supervisor(self, name: str) -> dict[str, Any] | None:
        """The live supervisor of the job, if there is one."""
        who: dict[str, Any] | None = self.document(name, "supervisor.json")
        return who if who is not None and agent.is_alive(who) else None

    def kill_supervisor(self, name: str) -> None:
        who = wait_for(lambda: self.supervisor(name))
        os.kill(who["pid"], signal.SIGKILL)
        wait_for(lambda: not agent.is_alive(who))

    def clean_up(self) -> None:
        """Nothing that a test has started outlives it."""
        for name in self.names():
            who = self.supervisor(name)
            if who is not None:
                os.killpg(who["pid"], signal.SIGKILL)
            for pid in self.processes(name):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            record = self.document(name, "agent.json")
            if record is not None:
                wait_for(lambda who=record: not agent.is_alive(who))  # type: ignore[misc]

    # what must be true

    def settled(self) -> dict[str, dict[str, Any]]:
        """Every run as the list tells, after all have ended. No run is lost or live for ever, the index holds what the
        folders hold, and what is called Completed has an exit record with code 0.
        """
        names = self.names()
        if names:
            self.wait(*names)
        rows = self.list()
        assert set(rows) == names
        assert {row["status"] for row in rows.values()} <= ENDS
        for name, row in rows.items():
            record = self.document(name, "exit.json")
            if row["status"] == "Completed":
                assert (record["cause"], record["code"], row["exit_code"]) == ("exit", 0, 0)
            assert not self.processes(name), name
        assert not list((self.runs / ".marks").glob("*"))
        self._index_is_what_the_folders_hold()
        return rows

    def _index_is_what_the_folders_hold(self) -> None:
        store = FolderRunStore(self.workspace)
        everything = RunFilter(include_archived=True)
        before = store.list(everything)
        assert store.reindex() == len(before)
        assert (store.list(everything), store.reindex_problems) == (before, ())
        assert not list((self.runs / ".trash").glob("*"))
        store.close()
