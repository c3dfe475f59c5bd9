"""Killed at any moment, a full disk, damaged files, nobody left to serve."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.endpoint.helpers import RUN, Endpoint, Refused, is_alive, wait_until


def test_what_was_answered_outlives_a_kill(endpoint: Endpoint) -> None:
    """Killed again and again while a client logs: every point that was acknowledged is there, once the client asks again."""
    acknowledged: list[int] = []
    is_over = threading.Event()

    def log() -> None:
        step = 0
        while not is_over.is_set():
            try:
                endpoint.metric("x", step, step=step)
            except (OSError, http.client.HTTPException):
                endpoint.let_go()
                continue
            acknowledged.append(step)
            step += 1

    client = threading.Thread(target=log)
    client.start()
    chance = random.Random(1)
    for _ in range(6):
        time.sleep(0.1 + chance.random() / 5)
        endpoint.process.kill()
        endpoint.process.wait()
        endpoint.start()
    is_over.set()
    client.join()
    endpoint.let_go()
    steps = [point["step"] for point in endpoint.history("x")]
    assert sorted(set(steps)) == acknowledged
    assert len(steps) - len(acknowledged) <= 6, "at most one for each kill was written and not answered"
    assert endpoint.metrics() == {"x": acknowledged[-1]}


@pytest.mark.parametrize("torn", [b'["x", 0.', b'["x"', b"[", b'["x", 1.0, 5, 6]', b"\x00\x00", b'{"a": [', b"\xc3"])
def test_a_torn_last_line(endpoint: Endpoint, torn: bytes) -> None:
    endpoint.metric("x", 1, step=1)
    endpoint.post("runs/log-parameter", run_id=RUN, key="p", value="1")
    endpoint.kill()
    for name in ("metrics.jsonl", "params.jsonl", "tags.jsonl", "inputs.jsonl"):
        with (endpoint.folder / name).open("ab") as file:
            file.write(torn)
    endpoint.start()
    assert endpoint.metrics() == {"x": 1}, "a line without its end does not count"
    endpoint.metric("x", 2, step=9)
    endpoint.post("runs/log-parameter", run_id=RUN, key="q", value="2")
    endpoint.kill()
    endpoint.start()
    assert endpoint.metrics() == {"x": 2}
    assert endpoint.params() == {"p": "1", "q": "2"}
    assert [point["step"] for point in endpoint.history("x") if point["step"] != 5] == [1, 9]


def test_damaged_lines_in_the_middle(endpoint: Endpoint) -> None:
    endpoint.kill()
    lines = ['["x", 1.0, 1, 1]', "garbage", "", '["x"]', '["x", "many", 2, 2]', '{"x": 1}', "7", '["x", 3.0, 3, 3]']
    (endpoint.folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    (endpoint.folder / "params.jsonl").write_text('["p"]\nnull\n["p", "1"]\n')
    (endpoint.folder / "children" / "half").mkdir(parents=True)
    (endpoint.folder / "mlflow.json").write_text("{")
    endpoint.start()
    assert endpoint.metrics() == {"x": 3}
    assert endpoint.params() == {"p": "1"}
    assert endpoint.search() == ["calm_otter_1"]


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Endpoint]:
    """One that may write no file longer than 10,000 bytes: what a full disk is to it, too."""
    server = Endpoint(tmp_path / "run", FSIZE=10_000)
    server.start()
    yield server
    server.close()


def test_a_full_disk(small: Endpoint) -> None:
    points = [
        {"key": "loss", "value": 0.123456789, "timestamp": 1_700_000_000_000, "step": step} for step in range(100)
    ]
    logged = 0
    with pytest.raises(Refused) as refused:  # noqa: PT012
        for _ in range(10):
            small.post("runs/log-batch", run_id=RUN, metrics=points)
            logged += len(points)
    assert (refused.value.status, refused.value.code) == (507, "RESOURCE_EXHAUSTED")
    assert "mlcli could not write what was logged: File too large" in refused.value.message
    assert logged > 0
    assert len(small.lines("metrics.jsonl")) == logged, "nothing is torn, nothing is there in part"
    assert len(small.history("loss")) == logged
    small.post("runs/log-parameter", run_id=RUN, key="p", value="1")
    small.end()


def test_a_run_folder_that_is_gone(endpoint: Endpoint) -> None:
    endpoint.metric("x", 1)
    import shutil

    shutil.rmtree(endpoint.folder)
    with pytest.raises(Refused, match="No such file or directory") as refused:
        endpoint.metric("x", 2)
    assert refused.value.status == 500
    endpoint.folder.mkdir()


def test_it_ends_when_it_is_told_to(endpoint: Endpoint) -> None:
    endpoint.metric("x", 1)
    endpoint.end()
    assert endpoint.process.returncode == 0
    assert json.loads((endpoint.folder / "summary.json").read_text())["metrics"]["x"]["last"] == 1


def test_requests_that_are_under_way_at_the_end_are_answered(endpoint: Endpoint) -> None:
    endpoint.run()
    clients = [http.client.HTTPConnection("127.0.0.1", endpoint.port) for _ in range(20)]
    os.kill(endpoint.process.pid, signal.SIGSTOP)
    for step, client in enumerate(clients):
        body = json.dumps({"run_id": RUN, "key": "x", "value": 1, "timestamp": 1, "step": step})
        client.request(
            "POST", "/api/2.0/mlflow/runs/log-metric", body, {"Authorization": "Bearer a token of the tests"}
        )
    endpoint.say(b".")
    os.kill(endpoint.process.pid, signal.SIGCONT)
    assert [client.getresponse().status for client in clients] == [200] * 20
    for client in clients:
        client.close()
    assert endpoint.process.wait(30) == 0
    assert len(endpoint.lines("metrics.jsonl")) == 20


def test_an_orphan_serves_as_long_as_the_command_lives(endpoint: Endpoint) -> None:
    """The agent was killed: the job's script should not fail for that."""
    command = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
    ticks = int(Path(f"/proc/{command.pid}/stat").read_text().rpartition(")")[2].split()[19])
    record = {"command": {"pid": command.pid, "start_time": ticks, "boot_id": ""}}
    (endpoint.folder / "agent.json").write_text(json.dumps(record))
    endpoint.metric("x", 1)
    endpoint.orphan()
    time.sleep(2.5)
    endpoint.metric("x", 2, step=1)
    command.kill()
    command.wait()
    wait_until(lambda: endpoint.process.poll() is not None)
    assert endpoint.process.returncode == 0
    assert json.loads((endpoint.folder / "summary.json").read_text())["metrics"]["x"]["count"] == 2


def test_an_orphan_without_a_command_ends(endpoint: Endpoint) -> None:
    endpoint.run()
    endpoint.orphan()
    wait_until(lambda: endpoint.process.poll() is not None)
    assert not is_alive(endpoint.process.pid)


def test_no_more_files(tmp_path: Path) -> None:
    """More clients than the process may have: the one that was silent longest makes room."""
    server = Endpoint(tmp_path / "run", NOFILE=24)
    server.start()
    try:
        clients = [http.client.HTTPConnection("127.0.0.1", server.port, timeout=30) for _ in range(40)]
        for number, client in enumerate(clients):
            client.request("GET", "/health", headers={"Authorization": "Bearer a token of the tests"})
            assert client.getresponse().read() == b"OK", number
        for client in clients:
            client.close()
    finally:
        server.close()
