"""Leaving with what was logged, and coming back with it. MLflow itself reads what mlcli has written."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.cli.test_jobs import finished
from tests.cli.test_metrics import LOGS_BY_REST, curve, logged
from tests.conftest import Mlcli

READS = """
import json, sys, mlflow
client = mlflow.MlflowClient(sys.argv[1])
(experiment,) = [one for one in client.search_experiments() if one.name == sys.argv[2]]
told = {}
for run in client.search_runs([experiment.experiment_id]):
    points = {name: [[str(point.value), point.step, point.timestamp] for point in client.get_metric_history(run.info.run_id, name)]
              for name in run.data.metrics}
    files = [file.path for file in client.list_artifacts(run.info.run_id)]
    told[run.info.run_name] = {"points": points, "params": run.data.params, "status": run.info.status, "files": files,
                               "parent": run.data.tags.get("mlflow.parentRunId"), "id": run.info.run_id, "end": run.info.end_time}
print(json.dumps(told))
"""


def trained(mlcli: Mlcli, name: str = "calm", *flags: str, experiment: str = "iris") -> str:
    (mlcli.cwd / "train.py").write_text(LOGS_BY_REST)
    command = f"{sys.executable} {mlcli.cwd / 'train.py'}; mkdir -p ../artifacts; echo x > ../artifacts/notes.txt"
    return finished(mlcli, command, "-n", name, *flags, experiment_name=experiment)


def mlflows_environment() -> dict[str, str]:
    """What MLflow imports is compiled once, not in every process."""
    quiet = {"MLFLOW_ALLOW_FILE_STORE": "true", "MLFLOW_DISABLE_TELEMETRY": "true"}
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"} | quiet


def as_mlflow_reads_it(python: Path, place: str, experiment: str = "iris") -> Any:
    argv = [str(python), "-c", READS, place, experiment]
    read = subprocess.run(argv, capture_output=True, text=True, env=mlflows_environment(), check=False)
    assert read.returncode == 0, read.stderr
    return json.loads(read.stdout)


@pytest.mark.parametrize("file", ["runs.csv", "runs.json", "runs.parquet", "mlruns"])
def test_a_run_leaves_one_workspace_and_enters_another(mlcli, file):
    trained(mlcli)
    logged(mlcli, "odd", ["ü/a b", "NaN", 0, 5], ["ü/a b", "-Infinity", 1, 4], experiment_name="iris")
    gone = mlcli("run", "export", "-e", "iris", "--path", file)
    assert (gone.code, [row["name"] for row in gone.json]) == (0, ["calm", "odd"]), gone.stderr
    assert mlcli("workspace", "create", "-n", "other").code == 0
    came = mlcli("run", "import", "--path", file, "-w", "other")
    assert (came.code, sorted(row["name"] for row in came.json)) == (0, ["calm", "odd"]), came.stderr
    shown = mlcli("job", "show", "calm", "-w", "other").json
    before = mlcli("job", "show", "calm").json
    assert (shown["metrics"], shown["params"]) == (before["metrics"], before["params"])
    assert (shown["status"], shown["experiment_name"]) == ("Completed", "iris")
    assert [one["run_name"] for one in shown["nested_runs"]] == ["fold one"]
    for name, metric in (("calm", "loss"), ("calm/fold one", "fold_loss"), ("odd", "ü/a b")):
        rows = [mlcli("run", "metrics", name, "-m", metric, *where).json for where in ((), ("-w", "other"))]
        assert rows[0] == rows[1]
    board = mlcli("job", "list", "--filter", "metrics.loss < 0.6 and tags.team = 'vision'", "-w", "other").json
    assert [row["name"] for row in board] == ["calm"]
    again = mlcli("run", "import", "--path", file, "-w", "other")
    assert (again.code, again.json) == (0, [])
    assert "calm was taken in before" in again.stderr
    has_artifact = (Path(shown["folder"]) / "artifacts" / "notes.txt").exists()
    assert has_artifact == (file == "mlruns")


def test_what_cannot_be_handed_on_is_told(mlcli):
    trained(mlcli)
    for words, said in (
        (["run", "export", "calm"], "--path"),
        (["run", "export", "--path", "x.csv"], "give the runs"),
        (["run", "export", "nobody", "--path", "x.csv"], "nobody"),
        (["run", "export", "-e", "nothing", "--path", "x.csv"], "no run of the experiment"),
        (["run", "export", "calm", "--to", "xml", "--path", "x"], "no format of runs"),
        (["run", "export", "calm", "--to", "mlflow", "--path", "sqlite:///x.db"], "no place that mlcli knows"),
        (["run", "export", "calm", "--to", "mlflow", "--path", "http://127.0.0.1:9"], "does not answer"),
        (["run", "import", "--path", "absent.csv"], "cannot read"),
        (["run", "import", "--path", "."], "no folder of MLflow's runs"),
    ):
        refused = mlcli(*words)
        assert refused.code != 0, words
        assert said in refused.stderr, words
        assert "Traceback" not in refused.stderr


@pytest.mark.slow
@pytest.mark.parametrize("client", ["skinny 2", "skinny 3"])
def test_mlflow_opens_the_folder_with_every_point(mlcli, mlflow_python, client):
    trained(mlcli)
    logged(mlcli, "odd", *curve("val/a b", [0.1, "NaN", "Infinity"]), experiment_name="iris", params={"lr": "é"})
    assert mlcli("run", "export", "calm", "odd", "--path", "mlruns").code == 0
    told = as_mlflow_reads_it(mlflow_python(client), f"file://{mlcli.cwd}/mlruns")
    assert told["calm"]["points"]["loss"] == [
        ["0.9", 0, 1_700_000_000_000], ["0.4", 1, 1_700_000_000_001], ["0.5", 2, 1_700_000_000_002],
    ]  # fmt: skip
    assert told["odd"]["points"]["val/a b"] == [
        ["0.1", 0, 1_700_000_000_000], ["nan", 1, 1_700_000_001_000], ["inf", 2, 1_700_000_002_000],
    ]  # fmt: skip
    assert (told["calm"]["params"], told["odd"]["params"]) == ({"lr": "0.1"}, {"lr": "é"})
    assert (told["calm"]["status"], told["calm"]["files"], told["calm"]["id"]) == ("FINISHED", ["notes.txt"], "calm")
    assert told["fold one"]["parent"] == "calm"


@pytest.mark.slow
def test_a_real_server_takes_runs_and_the_ui_shows_them(mlcli, mlflow_python, interrupt):
    """One start of MLflow serves both: it takes long."""
    python = mlflow_python("full 3")
    trained(mlcli)
    for workspace in ("other", "third"):
        assert mlcli("workspace", "create", "-n", workspace).code == 0
    trained(mlcli, "grape", "-w", "other", experiment="wine")
    tools = {"PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}", "PYTHONDONTWRITEBYTECODE": None}
    port = free_port()
    place = f"http://127.0.0.1:{port}"
    with mlcli.start(
        "ui", "--port", str(port), env=tools, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as shown:
        try:
            wait_for_server(port, shown)
            calls = f"{place}/api/2.0/mlflow"
            found = httpx.post(f"{calls}/experiments/search", json={"max_results": 10}).json()
            names = {one["name"]: one["experiment_id"] for one in found["experiments"]}
            runs = httpx.post(f"{calls}/runs/search", json={"experiment_ids": [names["iris"]]}).json()["runs"]
            assert {one["info"]["run_name"] for one in runs} == {"calm", "fold one"}
            page = httpx.get(f"{place}/get-artifact", params={"run_id": "calm", "path": "notes.txt"})
            assert page.text == "x\n"

            gone = mlcli("run", "export", "grape", "--to", "mlflow", "--path", place, "-w", "other")
            assert gone.code == 0, gone.stderr
            made = httpx.get(f"{calls}/experiments/get-by-name", params={"experiment_name": "wine"}).json()
            assert made["experiment"]["artifact_location"].startswith("mlflow-artifacts:"), "files go over the wire"
            told = as_mlflow_reads_it(mlflow_python("skinny 3"), place, "wine")
            assert sorted(point[1:] for point in told["grape"]["points"]["loss"]) == [
                [0, 1_700_000_000_000], [1, 1_700_000_000_001], [2, 1_700_000_000_002],
            ]  # fmt: skip
            assert (told["grape"]["files"], told["fold one"]["parent"]) == (["notes.txt"], told["grape"]["id"])
            came = mlcli("run", "import", "--path", place, "-e", "wine", "-w", "third")
            assert [row["name"] for row in came.json] == ["grape"], came.stderr
            folder = Path(mlcli("job", "show", "grape", "-w", "third").json["folder"])
            assert (folder / "artifacts" / "notes.txt").read_text() == "x\n"
            interrupt(shown)
            assert shown.wait(30) == 0
        finally:
            shown.send_signal(signal.SIGINT)  # it ends the server with it


def free_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def wait_for_server(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 180
    while True:
        assert process.poll() is None
        assert time.monotonic() < deadline
        try:
            if httpx.get(f"http://127.0.0.1:{port}/health").status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.5)


@pytest.mark.skipif(find_spec("mlflow") is not None, reason="MLflow is installed beside mlcli")
def test_the_ui_says_what_to_install(mlcli):
    refused = mlcli("ui", env={"PATH": "/usr/bin:/bin"})
    assert refused.code != 0
    assert "pip install 'mlcli[ui]'" in refused.stderr
