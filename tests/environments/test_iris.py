"""The example that trains: its environment is built as it says, and the model knows flowers that it has not seen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from mlcli.domain.job import EnvironmentSpec
from mlcli.domain.settings import Settings
from mlcli.environments.venv import VenvBuilder
from mlcli.testing.environment_builder import run_inside

EXAMPLE = Path(__file__).parents[2] / "examples" / "jobs" / "lightgbm-iris"


@pytest.mark.slow
@pytest.mark.network
def test_lightgbm_learns_iris(tmp_path, monkeypatch):
    builder = VenvBuilder(tmp_path, Settings())
    conda = YAML(typ="safe").load(EXAMPLE / "environment.yml")
    activation = builder.build(builder.plan(EnvironmentSpec(conda=conda)), print)
    assert any(line.startswith("lightgbm==4.") for line in activation.resolved)

    monkeypatch.chdir(tmp_path)
    main, data = EXAMPLE / "src" / "main.py", EXAMPLE / "data" / "iris.csv"
    printed = run_inside(activation, ["python", str(main), "--iris-csv", str(data), "--num-boost-round", "15"])

    metrics = json.loads((tmp_path / "outputs" / "metrics.json").read_text())
    assert metrics["test-accuracy"] > 0.9
    assert printed.count("test-multi_logloss") == 15 + 1
    assert (tmp_path / "outputs" / "model.txt").read_text().startswith("tree")
    again = "import lightgbm; print(lightgbm.Booster(model_file='outputs/model.txt').num_trees())"
    assert run_inside(activation, ["python", "-c", again]).strip() == str(15 * 3)


def test_the_data_is_fishers_iris():
    header, *rows = (EXAMPLE / "data" / "iris.csv").read_text().split()
    assert header == "sepal_length,sepal_width,petal_length,petal_width,species"
    assert len(rows) == 150
    for species in ("setosa", "versicolor", "virginica"):
        assert sum(row.endswith(species) for row in rows) == 50
