"""One script, three places: what it logs with MLflow is the same record on the host, in a container and over SSH."""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.engines.docker import DockerEngine
from tests.ssh.conftest import FarJobs

SCRIPT = """
import math, os, sys
sys.path.insert(0, sys.argv[1])
import mlflow
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric

client, main = MlflowClient(), os.environ["MLFLOW_RUN_ID"]
with mlflow.start_run() as run:
    mlflow.log_params({"lr": 0.1, "depth": 3, "größe": "ü"})
    for step in range(50):
        mlflow.log_metric("loss", 1 / (step + 1), step=step, timestamp=1700000000000 + step)
    points = [Metric("val/f1", value, 5 - step, step) for step, value in enumerate([0.1, math.nan, math.inf, -0.5])]
    client.log_batch(main, points)
    mlflow.log_metric("later", 7, step=2, timestamp=1, synchronous=False)
    mlflow.set_tags({"team": "vision", "gone": "soon"})
    mlflow.delete_tag("gone")
    mlflow.log_text("hello\\n", "notes/hello.txt")
    mlflow.log_dict({"a": [1, 2]}, "d.json")
    open("weights.bin", "wb").write(bytes(range(256)) * 4096)
    mlflow.log_artifact("weights.bin", "weights")
    dataset = Dataset("iris", "d1", "code", "{}")
    client.log_inputs(main, [DatasetInput(dataset, [InputTag("mlflow.data.context", "train")])])
    model = client.create_logged_model("0", name="tree", source_run_id=main, params={"leaves": "31"}, tags={"kind": "gbdt"})
    os.makedirs("tree")
    open("tree/MLmodel", "w").write("flavors: {}\\n")
    client.log_model_artifacts(model.model_id, "tree")
    client.finalize_logged_model(model.model_id, "READY")
    mlflow.log_metric("accuracy", 0.9, step=1, timestamp=2, model_id=model.model_id)
    with mlflow.start_run(nested=True, run_name="fold one"):
        mlflow.log_metric("loss", 3, step=1, timestamp=3)
        mlflow.log_text("inner", "inner.txt")
os.makedirs("outputs", exist_ok=True)
open("outputs/model.txt", "w").write("tree")
print("metric: printed=1.5 step=3")
"""
FACTS = ("name", "status", "params", "tags", "lifecycle_stage", "experiment_id")


@pytest.mark.slow
def test_the_same_script_leaves_the_same_record(
    jobs: FarJobs, docker_engine: DockerEngine, containers_gone: None, mlflow_python: Callable[[str], Path]
) -> None:
    del containers_gone
    (client,) = mlflow_python("skinny 3").parents[1].glob("lib/python*/site-packages")
    code = jobs.mlcli.cwd / "code"
    code.mkdir()
    (code / "train.py").write_text(SCRIPT)
    mounted = {"client": {"type": "uri_folder", "path": str(client)}}
    places: dict[str, dict[str, Any]] = {
        "host": {"compute": "local", "inputs": mounted},
        "docker": {"compute": "local", "inputs": mounted, "environment": {"image": docker_engine.base_image}},
        "ssh": {"inputs": {"client": str(client)}},
    }
    for name, fields in places.items():
        file = jobs.file(
            "python3 train.py ${{inputs.client}}", name=name, code="code", experiment_name="iris", **fields
        )
        where = {**docker_engine.environment, "MLCLI_LOCAL_CONTAINER": None} if name == "docker" else {}
        done = jobs.mlcli("job", "create", "-f", file, "-o", "none", env=where)
        assert done.code == 0, done.stderr
    records = {name: record(jobs, name) for name in places}
    assert [jobs.show(name)["resolved"]["runs_in"] for name in places] == ["host", "container", "host"]
    here = records["host"]
    assert (len(here["points"]), here["params"]["größe"], here["tags"]) == (57, "ü", {"team": "vision"})
    assert [(model["name"], model["uri"]) for model in here["models"]] == [("tree", "runs:/RUN/tree")]
    assert {"artifacts/weights/weights.bin", "outputs/model.txt", "models/MODEL/artifacts/MLmodel"} <= set(
        here["files"]
    )
    assert here["nested"]["fold one"]["points"]
    for name in ("docker", "ssh"):
        for part, value in here.items():
            assert records[name][part] == value, (name, part)
    for name in places:
        created = jobs.mlcli("model", "create", "-n", f"of_{name}", "--path", f"runs:/{name}/tree")
        assert created.code == 0, created.stderr
        download = jobs.mlcli("model", "download", "-n", f"of_{name}", "-o", "none")
        assert download.code == 0, download.stderr
        assert (jobs.mlcli.cwd / f"of_{name}" / "MLmodel").read_text() == "flavors: {}\n"


def record(jobs: FarJobs, name: str) -> dict[str, Any]:
    """All that a person can ask of it, but for what differs with each run: ids, and times that the script does not give."""
    shown = jobs.ended(name)
    download = jobs.mlcli("job", "download", "-n", name, "-o", "none")
    assert download.code == 0, download.stderr
    folder = jobs.mlcli.cwd / name
    models = [json.loads(path.read_text()) for path in folder.glob("models/*/model.json")]
    names = {model["model_id"]: "MODEL" for model in models} | {name: "RUN"}

    def told(text: str) -> str:
        for own, common in names.items():
            text = text.replace(own, common)
        return text

    files = {told(str(path.relative_to(folder))): path for path in folder.rglob("*") if path.is_file()}
    return {
        "metrics": shown["metrics"],
        "points": points(jobs, name),
        "params": shown["params"],
        "tags": shown["tags"],
        "nested": {
            one["run_name"]: {"status": one["status"], "points": points(jobs, f"{name}/{one['run_name']}")}
            for one in shown["nested_runs"]
        },
        "models": json.loads(told(json.dumps(shown["models"]))),
        "model records": [{fact: model[fact] for fact in FACTS} for model in models],
        "inputs": told((jobs.near(name) / "inputs.jsonl").read_text()),
        "files": {
            path: (file.stat().st_size, sha256(file.read_bytes()).hexdigest())
            for path, file in files.items()
            if not path.endswith(("model.json", "std_log.txt"))
        },
    }


def points(jobs: FarJobs, name: str) -> list[tuple[Any, ...]]:
    """Name, step and value of each, with its time where the script gave it."""
    rows = jobs.mlcli("run", "metrics", name, "-m", "*", "--all-results").json
    return sorted(
        (row["name"], row["step"], str(row["value"]), "" if row["name"] == "printed" else row["time"]) for row in rows
    )
