"""The example that trains: MLflow logs it by itself, every command shows its curves, and the model that it logged loads again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import Mlcli

EXAMPLE = Path(__file__).parents[2] / "examples" / "jobs" / "lightgbm-iris"
CURVES = {"train-multi_logloss", "test-multi_logloss"}
PREDICT = """
import csv, sys, mlflow
rows = list(csv.reader(open(sys.argv[2])))[1:]
scores = mlflow.lightgbm.load_model(sys.argv[1]).predict([[float(cell) for cell in row[:-1]] for row in rows])
species = sorted({row[-1] for row in rows})
print("right", sum(species[best] == row[-1] for best, row in zip(scores.argmax(axis=1), rows)))
"""


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.timeout(600)
def test_lightgbm_learns_iris_and_mlflow_logs_it(mlcli: Mlcli) -> None:
    ready = {"PYTHONDONTWRITEBYTECODE": None}  # what MLflow imports is compiled once
    create = ("job", "create", "--no-docker", "--stream", "-o", "none", "-f", EXAMPLE / "job.yml")
    done = mlcli(*create, "-n", "iris", env=ready)
    assert done.code == 0, done.stderr
    shown = mlcli("job", "show", "iris").json
    assert {name: figures["count"] for name, figures in shown["metrics"].items()} == dict.fromkeys(CURVES, 20)
    assert (shown["params"]["num_boost_round"], shown["params"]["learning_rate"]) == ("20", "0.1")
    assert any(package.startswith("lightgbm==4.") for package in shown["resolved"]["packages"])

    by_hand = "command=python main.py --iris-csv ${{inputs.iris_csv}} --learning-rate 0.3 --no-autolog"
    done = mlcli(*create, "-n", "printed", "--set", by_hand, env=ready)
    assert done.code == 0, done.stderr
    rows = {name: mlcli("run", "metrics", name, "-m", "test-multi_logloss").json for name in ("iris", "printed")}
    assert [len(points) for points in rows.values()] == [20, 10]
    assert [point["step"] for point in rows["printed"]] == [point["step"] for point in rows["iris"]][:10]
    assert rows["iris"][-1]["value"] < rows["iris"][0]["value"] / 5
    compared = mlcli("run", "compare", "iris", "printed").json
    assert {row["name"] for row in compared} >= CURVES, compared
    plot = mlcli("run", "plot", "iris", "printed", "-m", "test-multi_logloss")
    assert (plot.code, "iris" in plot.stdout, "printed" in plot.stdout) == (0, True, True), plot.stderr

    assert mlcli("job", "download", "-n", "iris").code == 0
    metrics = json.loads((mlcli.cwd / "iris" / "outputs" / "metrics.json").read_text())
    assert metrics["test-accuracy"] > 0.9
    assert (mlcli.cwd / "iris" / "outputs" / "model.txt").read_text().startswith("tree")
    assert (mlcli.cwd / "iris" / "artifacts" / "feature_importance_gain.png").read_bytes().startswith(b"\x89PNG")

    registered = mlcli("model", "create", "-n", "iris", "--path", "runs:/iris/model", "--type", "mlflow_model")
    assert registered.code == 0, registered.stderr
    (mlcli.cwd / "predict.py").write_text(PREDICT)
    job = {
        "command": f"python {mlcli.cwd}/predict.py ${{{{inputs.model}}}} {EXAMPLE}/data/iris.csv",
        "inputs": {"model": {"type": "mlflow_model", "path": "azureml:iris@latest"}},
    }
    (mlcli.cwd / "predict.yml").write_text(json.dumps(job))
    done = mlcli("job", "create", "-f", "predict.yml", "--environment-of", "iris", "--stream", "-o", "none", env=ready)
    assert done.code == 0, done.stderr
    assert int(done.stdout.split()[-1]) > 140


def test_the_data_is_fishers_iris() -> None:
    header, *rows = (EXAMPLE / "data" / "iris.csv").read_text().split()
    assert header == "sepal_length,sepal_width,petal_length,petal_width,species"
    assert len(rows) == 150
    for species in ("setosa", "versicolor", "virginica"):
        assert sum(row.endswith(species) for row in rows) == 50
