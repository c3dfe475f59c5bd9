"""One process that starts agents, kept for as long as there are runs to start."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress

from mlcli import agent
from mlcli.ports.transports import Completed
from mlcli.transports import _starts


class Starter:
    """Answers what ``agent.py start`` would; None when it cannot, and the agent is to be started in the usual way."""

    def __init__(self, agent_folder: str, variables: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", _starts.__file__, agent_folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=dict(variables),
            start_new_session=True,
        )

    def start(self, run_folder: str) -> Completed | None:
        """Start the agent of a run, unless somebody has."""
        streams = self._process.stdin, self._process.stdout
        if streams[0] is None or streams[1] is None or "\n" in run_folder:
            return None
        try:
            streams[0].write(run_folder.encode(errors="surrogateescape") + b"\n")
            streams[0].flush()
            answer = streams[1].readline()
        except OSError:
            return None
        if not answer.endswith(b"\n"):
            return None
        told = agent.decode(answer)
        return Completed(1 if "error" in told else 0, answer, b"")

    def close(self) -> None:
        """End it; the agents that it has started go on."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()
        self._process.wait()
