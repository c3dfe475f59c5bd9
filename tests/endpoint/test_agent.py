"""The endpoint's life in the hands of the agent: what a job's environment holds, when the process comes and goes."""

from __future__ import annotations

import ast
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from mlcli import agent
from tests.agent.helpers import RunFolder, wait_for
from tests.endpoint.helpers import is_alive, wait_until

TRACKING = {"run_id": "calm_otter_1", "run_name": "calm_otter_1", "experiment": "iris"}
CLIENT = """
import http.client, json, os, sys, time
uri = os.environ["MLFLOW_TRACKING_URI"].removeprefix("http://")
token = os.environ["MLFLOW_TRACKING_TOKEN"]
def call(method, path, body=None):
    client = http.client.HTTPConnection(uri, timeout=30)
    client.request(method, "/api/2.0/mlflow/" + path, body and json.dumps(body), {"Authorization": "Bearer " + token})
    told = client.getresponse()
    data = told.read()
    client.close()
    return told.status, data.decode()
def log(step):
    point = {"run_id": os.environ["MLFLOW_RUN_ID"], "key": "x", "value": step, "timestamp": 1, "step": step}
    return call("POST", "runs/log-metric", point)
"""


@pytest.fixture
def job(tmp_path: Path) -> Any:
    """``job(code, ...)``: start Python code as a tracked command."""
    folder = RunFolder(tmp_path / "run")

    def start(code: str, **changes: Any) -> RunFolder:
        (folder.path / "job.py").write_text(CLIENT + code)
        folder.start(f"{sys.executable} {folder.path / 'job.py'}", **{"tracking": TRACKING, **changes})
        return folder

    yield start
    folder.clean_up()


def _servers(folder: RunFolder) -> list[int]:
    """Pids of the endpoint's processes: children of the agent that are not the command."""
    record = folder.agent
    pids = Path(f"/proc/{record['pid']}/task/{record['pid']}/children").read_text().split()
    return [int(pid) for pid in pids if int(pid) != record["command"]["pid"]]


def _lines(folder: RunFolder) -> list[Any]:
    return [json.loads(line) for line in (folder.path / "metrics.jsonl").read_text().splitlines()]


def test_a_job_logs(job: Any) -> None:
    folder = job(
        "assert log(1) == (200, '{}'); print(call('GET', 'runs/get?run_id=' + os.environ['MLFLOW_RUN_ID'])[1])"
    )
    assert folder.ended()["code"] == 0
    assert _lines(folder) == [["x", 1.0, 1, 1]]
    told = json.loads(folder.log())["run"]["info"]
    assert (told["run_id"], told["artifact_uri"]) == ("calm_otter_1", (folder.path / "artifacts").as_uri())
    assert json.loads((folder.path / "summary.json").read_text())["metrics"]["x"]["count"] == 1


def test_in_the_foreground_as_in_a_container(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    (folder.path / "job.py").write_text(CLIENT + "log(1)")
    folder.launch(f"{sys.executable} {folder.path / 'job.py'}", tracking=TRACKING)
    import subprocess

    assert subprocess.run(folder.argv("run", str(folder.path)), timeout=60, check=False).returncode == 0
    assert _lines(folder) == [["x", 1.0, 1, 1]]


def test_a_job_that_does_not_log_has_no_server(job: Any) -> None:
    folder = job("print('ready', flush=True); time.sleep(0.5)")
    folder.says("ready")
    assert _servers(folder) == []
    assert folder.ended()["code"] == 0
    assert not (folder.path / "metrics.jsonl").exists()
    assert not (folder.path / "summary.json").exists()


def test_the_server_comes_with_the_first_connection_and_goes_with_the_run(job: Any) -> None:
    folder = job("log(1); print('logged', flush=True); time.sleep(1)")
    folder.says("logged")
    (server,) = _servers(folder)
    assert folder.ended()["code"] == 0
    assert not is_alive(server)


def test_a_server_that_is_killed_comes_back(job: Any) -> None:
    code = """
for step in range(4):
    print("ask", step, flush=True)
    while not os.path.exists(f"go{step}"): time.sleep(0.01)
    for attempt in range(50):
        try:
            assert log(step)[0] == 200
            break
        except OSError: time.sleep(0.05)
    else: sys.exit("nobody answers")
"""
    folder = job(code)
    for step in range(4):
        folder.says(f"ask {step}")
        if step:
            (server,) = _servers(folder)
            os.kill(server, signal.SIGKILL)
            wait_until(lambda gone=server: not is_alive(gone))
        (folder.working_directory / f"go{step}").touch()
    assert folder.ended()["code"] == 0
    assert [line[2] for line in _lines(folder)] == [0, 1, 2, 3]


def test_an_agent_that_is_killed_leaves_the_script_its_server(job: Any) -> None:
    code = """
log(0)
print("logged", flush=True)
while not os.path.exists("go"): time.sleep(0.01)
for step in range(1, 4): assert log(step)[0] == 200
"""
    folder = job(code)
    folder.says("logged")
    (server,) = _servers(folder)
    folder.kill_agent()
    time.sleep(1.5)
    (folder.working_directory / "go").touch()
    wait_until(lambda: not is_alive(server))
    assert [line[2] for line in _lines(folder)] == [0, 1, 2, 3]
    assert json.loads((folder.path / "summary.json").read_text())["metrics"]["x"]["count"] == 4


def test_a_run_that_is_cancelled_keeps_what_it_logged(job: Any) -> None:
    code = """
import signal
def last(*_):
    log(99)
    sys.exit(3)
signal.signal(signal.SIGTERM, last)
log(1)
print("logged", flush=True)
time.sleep(1000)
"""
    folder = job(code)
    folder.says("logged")
    folder.cancel()
    assert folder.ended()["cause"] == "canceled"
    assert [line[2] for line in _lines(folder)] == [1, 99], "on its way out, too"


def test_many_processes_of_one_job(job: Any) -> None:
    code = """
if len(sys.argv) > 1:
    for step in range(50): assert log(int(sys.argv[1]) * 1000 + step)[0] == 200
else:
    import subprocess
    children = [subprocess.Popen([sys.executable, __file__, str(rank)]) for rank in range(4)]
    sys.exit(max(child.wait() for child in children))
"""
    folder = job(code)
    assert folder.ended()["code"] == 0
    assert sorted(line[2] for line in _lines(folder)) == [rank * 1000 + step for rank in range(4) for step in range(50)]


SHOW = (
    "print(json.dumps({name: value for name, value in os.environ.items() if 'ML' in name or 'proxy' in name.lower()}))"
)


def _environment(folder: RunFolder) -> dict[str, str]:
    folder.ended()
    found: dict[str, str] = json.loads(folder.log())
    return found


def test_what_the_environment_holds(job: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USER", "ada")
    monkeypatch.setenv("MLFLOW_TRACKING_AUTH", "something")
    found = _environment(job(SHOW))
    assert found["MLFLOW_TRACKING_URI"].startswith("http://127.0.0.1:")
    assert found["MLFLOW_RUN_ID"] == "calm_otter_1"
    assert (found["MLFLOW_EXPERIMENT_NAME"], found["MLFLOW_EXPERIMENT_ID"]) == ("iris", "0")
    assert len(found["MLFLOW_TRACKING_TOKEN"]) == 48
    assert found["MLFLOW_TRACKING_PASSWORD"] == found["MLFLOW_TRACKING_TOKEN"]
    assert (found["MLFLOW_TRACKING_USERNAME"], found["MLFLOW_TRACKING_AUTH"]) == ("ada", "")
    assert "no_proxy" not in found


def test_a_tracking_server_of_one_s_own_wins(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.run(
        "env | grep -e MLFLOW -e MLCLI_TRACKING", tracking=TRACKING, variables={"MLFLOW_TRACKING_URI": "http://mine"}
    )
    assert folder.log() == b"MLFLOW_TRACKING_URI=http://mine\n"


def test_the_machine_s_tracking_server_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mine")
    folder = RunFolder(tmp_path / "run")
    folder.run("env | grep -e MLFLOW -e MLCLI_TRACKING", tracking=TRACKING)
    assert folder.log() == b"MLFLOW_TRACKING_URI=http://mine\n"


def test_a_job_that_another_job_starts_has_its_own(job: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "MLCLI_TRACKING_URI"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("MLFLOW_RUN_ID", "the other one")
    found = _environment(job(SHOW))
    assert found["MLFLOW_TRACKING_URI"] == found["MLCLI_TRACKING_URI"] != "http://127.0.0.1:1"
    assert found["MLFLOW_RUN_ID"] == "calm_otter_1"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"http_proxy": "http://p:1"}, "127.0.0.1"),
        ({"ALL_PROXY": "http://p:1", "no_proxy": "a,b"}, "a,b,127.0.0.1"),
        ({"HTTP_PROXY": "http://p:1", "NO_PROXY": "c"}, "c,127.0.0.1"),
    ],
)
def test_a_proxy_is_not_asked(before: dict[str, str], after: str) -> None:
    found = agent.tracking_variables(before, TRACKING, 1, "t", own_experiment=False)
    assert found["no_proxy"] == found["NO_PROXY"] == after


def test_an_experiment_that_the_job_names_itself() -> None:
    found = agent.tracking_variables({}, TRACKING, 1, "t", own_experiment=True)
    assert not any(name.startswith("MLFLOW_EXPERIMENT") for name in found)


def test_the_token_is_in_no_command_line(job: Any) -> None:
    folder = job("log(1); print('logged', flush=True); time.sleep(0.5); print(token)")
    folder.says("logged")
    shown = b"".join(Path(f"/proc/{pid}/cmdline").read_bytes() for pid in (folder.agent["pid"], *_servers(folder)))
    environments = Path(f"/proc/{_servers(folder)[0]}/environ").read_bytes()
    folder.ended()
    token = folder.log().split()[-1]
    assert len(token) == 48
    assert token not in shown + environments


def test_what_travels_is_there_and_is_python_3_8() -> None:
    here = Path(agent.__file__).parent
    there = {str(path.relative_to(here)) for path in (here / "endpoint").glob("*.py")}
    assert set(agent.FILES) == {"agent.py"} | there
    for name in agent.FILES:
        ast.parse((here / name).read_text(), feature_version=(3, 8))


def test_it_needs_nothing_else(tmp_path: Path) -> None:
    """Copied to a folder of its own, as to another machine."""
    here = Path(agent.__file__).parent
    for name in agent.FILES:
        (tmp_path / "there" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "there" / name).write_bytes((here / name).read_bytes())
    import subprocess

    folder = RunFolder(tmp_path / "run")
    (folder.path / "job.py").write_text(CLIENT + "log(1)")
    folder.launch(f"{sys.executable} {folder.path / 'job.py'}", tracking=TRACKING)
    argv = agent.invocation(sys.executable, str(tmp_path / "there"), "start", str(folder.path))
    subprocess.run(argv, check=True, capture_output=True)
    wait_for(lambda: folder.record("exit.json"))
    assert _lines(folder) == [["x", 1.0, 1, 1]]


def test_without_its_files_clients_are_refused(tmp_path: Path) -> None:
    """As after an upgrade that went wrong: the job goes on, its clients hear that nobody listens."""
    import subprocess

    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "agent.py").write_bytes(Path(agent.__file__).read_bytes())
    folder = RunFolder(tmp_path / "run")
    code = """
for attempt in range(100):
    try: log(attempt)
    except ConnectionRefusedError: sys.exit("refused")
    except (OSError, http.client.HTTPException): time.sleep(0.02)
"""
    (folder.path / "job.py").write_text(CLIENT + code)
    folder.launch(f"{sys.executable} {folder.path / 'job.py'}", tracking=TRACKING)
    argv = agent.invocation(sys.executable, str(tmp_path / "there"), "start", str(folder.path))
    subprocess.run(argv, check=True, capture_output=True)
    assert wait_for(lambda: folder.record("exit.json"))["code"] == 1
    assert folder.log() == b"refused\n"
    assert b"No module named 'endpoint'" in (folder.path / "system_logs" / "agent.log").read_bytes()
