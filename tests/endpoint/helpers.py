"""The endpoint as the agent starts it, and a client that sends exactly what a test says."""

from __future__ import annotations

import http.client
import json
import os
import resource
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from mlcli import agent

TOKEN = "a token of the tests"
RUN = "calm_otter_1"
FOLDER = str(Path(agent.__file__).parent)
CODE = f"import sys; sys.path.append({FOLDER!r}); from endpoint import server; server.main()"
API = "/api/2.0/mlflow/"


class Refused(AssertionError):  # noqa: N818
    """An answer that is an error."""

    def __init__(self, status: int, told: dict[str, str]) -> None:
        super().__init__(f"{status} {told['error_code']}: {told['message']}")
        self.status = status
        self.code = told["error_code"]
        self.message = told["message"]


class Endpoint:
    """A server process on a run folder; it may be killed and started again, as the agent does it."""

    def __init__(self, folder: Path, **limits: int) -> None:
        self.folder = folder
        self.working_directory = folder / "wd"
        self.working_directory.mkdir(parents=True, exist_ok=True)
        self._limits = limits
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._client: http.client.HTTPConnection | None = None
        self._pipe = -1
        self.process: subprocess.Popen[bytes]

    def start(self) -> None:
        facts = {
            "run_id": RUN,
            "run_name": "calm_otter_1",
            "experiment": "iris",
            "folder": str(self.folder),
            "token": TOKEN,
            "working_directory": str(self.working_directory),
            "user": "ada",
            "started_at_ms": 1_700_000_000_000,
        }
        self.orphan()
        argv = [sys.executable, "-I", "-S", "-c", CODE, str(self._listener.fileno())]
        reader, self._pipe = os.pipe()
        self.process = subprocess.Popen(argv, stdin=reader, pass_fds=[self._listener.fileno()])
        for name, limit in self._limits.items():
            resource.prlimit(self.process.pid, getattr(resource, f"RLIMIT_{name}"), (limit, limit))
        os.close(reader)
        self.say(json.dumps(facts).encode() + b"\n")

    def say(self, data: bytes) -> None:
        """What the agent says on its pipe."""
        os.write(self._pipe, data)

    def orphan(self) -> None:
        """Close the pipe, as the agent's death does."""
        if self._pipe >= 0:
            os.close(self._pipe)
        self._pipe = -1

    def end(self) -> None:
        """As the agent ends it."""
        self.let_go()
        if self.process.poll() is None:
            self.say(b".")
            self.orphan()
            assert self.process.wait(30) == 0

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.let_go()

    def let_go(self) -> None:
        """Close the connection of :meth:`call`."""
        if self._client is not None:
            self._client.close()
        self._client = None

    def close(self) -> None:
        self.let_go()
        if self.process.poll() is None:
            self.kill()
        self.orphan()
        self._listener.close()

    # Asking

    def send(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        """Status and body of one request, on one connection as long as the server keeps it."""
        if self._client is None:
            self._client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        given = {
            "Authorization": f"Bearer {TOKEN}",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        self._client.request(method, path, body, given)
        answer = self._client.getresponse()
        return answer.status, answer.read()

    def call(self, method: str, path: str, /, **given: Any) -> Any:
        """A call's answer. Raises Refused."""
        if method == "GET":
            status, data = self.send(method, f"{API}{path}?{urlencode(given, doseq=True)}")
        else:
            status, data = self.send(method, API + path, json.dumps(given).encode())
        told = json.loads(data)
        if status != 200:
            raise Refused(status, told)
        return told

    def get(self, path: str, /, **given: Any) -> Any:
        return self.call("GET", path, **given)

    def post(self, path: str, /, **given: Any) -> Any:
        return self.call("POST", path, **given)

    def raw(self, data: bytes) -> bytes:
        """All that comes back for these bytes until the server closes, or has nothing more to say."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as client:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            parts = []
            while part := client.recv(1 << 16):
                parts.append(part)
            return b"".join(parts)

    # Short words for what nearly every test does

    def metric(self, key: str, value: Any, step: int = 0, timestamp: int = 1, run_id: str = RUN, **more: Any) -> None:
        self.post("runs/log-metric", run_id=run_id, key=key, value=value, step=step, timestamp=timestamp, **more)

    def run(self, run_id: str = RUN) -> Any:
        return self.get("runs/get", run_id=run_id)["run"]

    def metrics(self, run_id: str = RUN) -> dict[str, Any]:
        return {metric["key"]: metric["value"] for metric in self.run(run_id)["data"]["metrics"]}

    def params(self, run_id: str = RUN) -> dict[str, str]:
        return {param["key"]: param["value"] for param in self.run(run_id)["data"]["params"]}

    def tags(self, run_id: str = RUN) -> dict[str, str]:
        return {tag["key"]: tag["value"] for tag in self.run(run_id)["data"]["tags"]}

    def history(self, key: str, run_id: str = RUN, **more: Any) -> list[Any]:
        found: list[Any] = self.get("metrics/get-history", run_id=run_id, metric_key=key, **more)["metrics"]
        return found

    def create_run(self, experiment_id: str = "0", **given: Any) -> str:
        return str(self.post("runs/create", experiment_id=experiment_id, **given)["run"]["info"]["run_id"])

    def search(self, filter: str = "", **given: Any) -> list[str]:  # noqa: A002
        """The names of the runs that are found."""
        told = self.post("runs/search", filter=filter, **{"experiment_ids": ["0"], **given})
        return [run["info"]["run_name"] for run in told["runs"]]

    def lines(self, name: str) -> list[Any]:
        """The values of a file of lines."""
        return [json.loads(line) for line in (self.folder / name).read_text().splitlines()]

    def resident_mb(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def wait_until(what: Any, deadline_s: float = 30.0) -> None:
    deadline = time.monotonic() + deadline_s
    while not what():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
