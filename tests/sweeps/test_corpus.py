"""Published sweeps of three generations, on the Iris data, and our example: each finds a better model than the defaults do.

The corpus has no sources and its data lies in a storage account: here our own example trains, in its own environment.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.conftest import Mlcli
from tests.iris import IRIS, copy_of_iris
from tests.sweeps.conftest import Sweeps

ROOT = Path(__file__).resolve().parents[2]
CORPUS = ROOT.parent / "shared" / "reference" / "corpus"
CSV = IRIS / "data" / "iris.csv"
SEEDED = "sampling_algorithm={type: random, seed: 42}"
LATER = [f"inputs.iris_csv.path={CSV}", "compute=local", "limits.max_total_trials=3", SEEDED]
PUBLISHED = {
    "first": (
        "2021-06-18/jobs/train/lightgbm/iris",  # its words have no seed
        [f"trial.inputs.iris.data.path={CSV}", "trial.compute.target=local", "max_total_trials=4"],
    ),
    "middle": ("2022-05-23/jobs/single-step/lightgbm/iris", LATER),
    "now": ("now/jobs/single-step/lightgbm/iris", LATER),
}


def begin(mlcli: Mlcli, file: Path, name: str, *overrides: str) -> None:
    sets = [word for override in overrides for word in ("--set", override)]
    created = mlcli("job", "create", "-f", file, "-n", name, "--no-docker", *sets, "-o", "none")
    assert created.code == 0, created.stderr


def best_metric(mlcli: Mlcli, name: str) -> float:
    mlcli("job", "wait", "-n", name, "-o", "none")
    shown = mlcli("job", "show", "-n", name).json
    assert shown["status"] == "Completed", shown["status_message"]
    assert mlcli("job", "download", "-n", name).code == 0
    assert (mlcli.cwd / name / "outputs" / "model.txt").read_text().startswith("tree")
    return float(shown["sweep"]["best_metric"])


@pytest.mark.slow
@pytest.mark.network
def test_published_sweeps_beat_the_defaults(sweeps: Sweeps):
    """All at once, and with few trials: it is trials that take the time."""
    mlcli = sweeps.mlcli
    example = copy_of_iris(mlcli.cwd / "example")
    begin(mlcli, example / "job.yml", "plain", "inputs.num_boost_round=10")
    begin(mlcli, example / "sweep.yml", "ours", "limits.max_total_trials=4")
    names = ["ours"]
    for name, (folder, overrides) in PUBLISHED.items() if CORPUS.is_dir() else ():
        there = mlcli.cwd / name
        shutil.copytree(CORPUS / folder, there)
        shutil.copytree(example / "src", there / "src", dirs_exist_ok=True)
        shutil.copyfile(example / "environment.yml", there / "environment.yml")
        text = (there / "job-sweep.yml").read_text()
        own = "environment: {conda_file: environment.yml}"
        (there / "job-sweep.yml").write_text(text.replace("environment: azureml:AzureML-lightgbm-3.3@latest", own))
        names.append(f"{name}-sweep")
        begin(mlcli, there / "job-sweep.yml", names[-1], *overrides)

    mlcli("job", "wait", "-n", "plain", "-o", "none")
    default = mlcli("run", "metrics", "plain", "-m", "test-multi_logloss").json
    plain = min(point["value"] for point in default)
    assert {name: best for name in names if (best := best_metric(mlcli, name)) >= plain} == {}
