"""MLflow's own clients, of both generations, inside jobs."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.agent.helpers import RunFolder, wait_for
from tests.endpoint.test_agent import TRACKING

SCRIPTS = Path(__file__).parent / "scripts"
SKINNY = pytest.mark.parametrize("client", ["skinny 2", "skinny 3"])
pytestmark = [pytest.mark.slow]
Start = Callable[..., RunFolder]


@pytest.fixture
def job(tmp_path: Path, mlflow_python: Callable[[str], Path]) -> Iterator[Start]:
    """``job(client, command)``: a tracked job; ``{python}`` is the client's interpreter."""
    folder = RunFolder(tmp_path / "run")

    def start(client: str, command: str) -> RunFolder:
        variables = {"MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONUNBUFFERED": "1"}
        # What MLflow imports is compiled once, not in every process; all of its packages would take a minute.
        python = f"env -u PYTHONDONTWRITEBYTECODE {mlflow_python(client)}"
        folder.start(command.format(python=python), tracking=TRACKING, variables=variables)
        return folder

    yield start
    folder.clean_up()


def _ended(folder: RunFolder) -> RunFolder:
    ended = wait_for(lambda: folder.record("exit.json"), 280.0)
    assert ended["code"] == 0, folder.log().decode()[-3000:]
    return folder


def _points(folder: RunFolder) -> list[Any]:
    return [json.loads(line) for line in (folder.path / "metrics.jsonl").read_text().splitlines()]


@SKINNY
def test_the_fluent_interface_and_every_call_of_the_client(job: Start, client: str) -> None:
    ended = _ended(job(client, f"{{python}} {SCRIPTS / 'both.py'}"))
    assert client == "skinny 2" or b"http://" not in ended.log(), "no page is where MLflow would say"
    folder = ended.path
    assert (folder / "artifacts" / "notes" / "hello.txt").read_text() == "hello"
    assert (folder / "metrics.jsonl").read_text().startswith('["loss", 1.0, 0, ')
    records = [json.loads(path.read_text()) for path in folder.glob("children/*/run.json")]
    assert {(one["run_name"], one["parent"], one["status"]) for one in records if one["experiment_id"] == "0"} == {
        ("fold 1", "calm_otter_1", "FINISHED"),
        ("a run of its own", None, "FINISHED"),
    }
    (inner,) = folder.glob("children/*/artifacts/inner.txt")
    assert inner.read_text() == "inner"


@SKINNY
def test_processes_and_threads(job: Start, client: str) -> None:
    folder = _ended(job(client, f"{{python}} {SCRIPTS / 'processes.py'}"))
    names = {f"rank{rank}/thread{thread}" for rank in range(4) for thread in range(3)}
    assert {(point[0], point[2]) for point in _points(folder)} == {(name, step) for name in names for step in range(20)}
    assert len((folder.path / "params.jsonl").read_text().splitlines()) == 12


@SKINNY
def test_a_script_that_sets_an_experiment(job: Start, client: str, tmp_path: Path) -> None:
    """It logs to the job's run all the same; credentials of another server are not sent."""
    (tmp_path / ".mlflow").mkdir()
    (tmp_path / ".mlflow" / "credentials").write_text(
        "[mlflow]\nmlflow_tracking_username = me\nmlflow_tracking_password = pw\n"
    )
    code = "import mlflow; mlflow.set_experiment('mine'); mlflow.start_run(); mlflow.log_metric('x', 1)"
    folder = _ended(job(client, f'HOME={tmp_path} {{python}} -c "{code}"'))
    assert [point[:2] for point in _points(folder)] == [["x", 1.0]]


def test_a_server_that_is_killed_while_the_client_logs(job: Start) -> None:
    """The client's own retries lose nothing: what it was told is logged is there."""
    code = "import mlflow; [mlflow.log_metric('x', step, step=step) for step in range(400)]"
    folder = job("skinny 3", f'{{python}} -c "{code}"')
    record = folder.agent
    for _ in range(3):
        before = len(_points(folder)) if (folder.path / "metrics.jsonl").exists() else 0
        wait_for(partial(_has, folder, before + 20))
        children = Path(f"/proc/{record['pid']}/task/{record['pid']}/children").read_text().split()
        for pid in map(int, children):
            if pid != record["command"]["pid"]:
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.2)
    assert {point[2] for point in _points(_ended(folder))} == set(range(400))


def _has(folder: RunFolder, points: int) -> bool:
    """Whether that many are there, or there will be no more."""
    path = folder.path / "metrics.jsonl"
    return bool(folder.record("exit.json")) or (path.exists() and path.read_bytes().count(b"\n") >= points)


@pytest.mark.parametrize("client", ["full 2", "full 3"])
def test_learning(job: Start, client: str) -> None:
    folder = _ended(job(client, f"{{python}} {SCRIPTS / 'learning.py'}"))
    assert [point[0] for point in _points(folder)] == ["test-multi_logloss"] * 10
    model = "models/*/artifacts/MLmodel" if client == "full 3" else "artifacts/model/MLmodel"
    assert list(folder.path.glob(model))
