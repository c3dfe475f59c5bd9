"""``mlcli dataset``: the words of 2020 for data; and what ``data`` does not do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Mlcli, Result


def ok(done: Result) -> Any:
    assert done.code == 0, done.stderr
    return done.json if done.stdout else None


def dataset(path: Any, **changes: Any) -> str:
    registration = {"name": "iris", "description": "flowers", "tags": {"a": "b"}, "createNewVersion": True}
    record = {"datasetType": "File", "parameters": {"path": path}, "registration": registration, "schemaVersion": 1}
    return json.dumps({**record, **changes})


def test_what_was_registered_is_data(mlcli: Mlcli, tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "iris.csv").write_text("1,2\n")
    file = tmp_path / "dataset.json"
    file.write_text(dataset(["files/**"]))
    made = ok(mlcli("dataset", "register", "-f", file, "--skip-validation", "-w", "default", "-g", "rg"))
    assert (made["name"], made["version"], made["type"]) == ("iris", "1", "uri_folder")
    assert (made["path"], made["description"], made["tags"]) == (str(tmp_path / "files"), "flowers", {"a": "b"})
    assert ok(mlcli("data", "show", "iris")) == ok(mlcli("dataset", "show", "-n", "iris", "-v", "latest")) == made
    file.write_text(dataset({"datastoreName": "workspaceblobstore", "relativePath": "/x/iris.csv"}))
    assert ok(mlcli("dataset", "register", "-f", file))["version"] == "2"
    assert (
        ok(mlcli("dataset", "show", "-i", "iris"))["path"] == "azureml://datastores/workspaceblobstore/paths/x/iris.csv"
    )
    assert [one["latest_version"] for one in ok(mlcli("dataset", "list"))] == ["2"]
    (tmp_path / "job.yml").write_text(
        "command: cat ${{inputs.x}}/iris.csv\nenvironment: current\ninputs: {x: {path: azureml:iris:1, type: uri_folder}}\n"
    )
    assert "1,2" in mlcli("job", "create", "-f", "job.yml", "--stream").stdout


def test_the_template_can_be_registered(mlcli: Mlcli) -> None:
    shown = mlcli("dataset", "register", "--show-template").stdout
    assert ok(mlcli("dataset", "register", "-f", "-", input=shown))["path"] == "https://example.com/iris.csv"


def test_archived_deprecated_forgotten(mlcli: Mlcli, tmp_path: Path) -> None:
    for name in ("iris", "better"):
        (tmp_path / "d.json").write_text(dataset("https://example.com/x", registration={"name": name}))
        ok(mlcli("dataset", "register", "-f", "d.json"))
    again = mlcli("dataset", "register", "-f", "d.json")
    assert (again.code, "createNewVersion" in again.stderr) == (1, True)
    ok(mlcli("dataset", "deprecate", "-n", "iris", "-d", "better"))
    assert [one["name"] for one in ok(mlcli("dataset", "list"))] == ["better"]
    ok(mlcli("dataset", "reactivate", "-n", "iris"))
    assert ok(mlcli("dataset", "show", "-n", "iris"))["tags"] == {"deprecated_by": "better"}
    ok(mlcli("dataset", "archive", "-n", "iris"))
    ok(mlcli("dataset", "unregister", "-n", "iris"))
    assert mlcli("dataset", "unregister", "-n", "iris").code == 3
    assert mlcli("dataset", "deprecate", "-n", "better").code == 2
    assert mlcli("dataset", "deprecate", "-n", "better", "-d", "none").code == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (dataset(["a", "b"]), "has 2 paths"),
        (dataset([]), "has 0 paths"),
        (dataset("data/*.csv"), "by a pattern"),
        (dataset(7), "says no path"),
        (dataset("x", registration={"description": "x"}), "has no name"),
        (dataset("x", parameters=None), "has a part 'parameters'"),
        ("name: iris\npath: x\n", "has a part 'registration'"),
        ("[1]", "dataset.json"),
        ("{", "dataset.json"),
    ],
)
def test_a_file_that_will_not_do(mlcli: Mlcli, tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "dataset.json").write_text(text)
    done = mlcli("dataset", "register", "-f", "dataset.json")
    assert (done.code, said in done.stderr, "Traceback" in done.stderr) == (1, True, False), done.stderr
    assert ok(mlcli("dataset", "list")) == []


def test_columns_mean_nothing(mlcli: Mlcli, tmp_path: Path) -> None:
    (tmp_path / "d.json").write_text(dataset("https://example.com/x.csv", datasetType="Tabular"))
    assert "how its columns are read" in mlcli("dataset", "register", "-f", "d.json").stderr
    assert mlcli("dataset", "register").code == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["import", "-f", "x.yml"], "data import"),
        (["mount", "--path", "azureml:iris:1", "--mode", "ro_mount"], "data mount"),
        (["share", "--name", "iris", "--version", "1", "--registry-name", "r", "--share-with-name", "i"], "data share"),
    ],
)
def test_what_data_does_not_do_is_said(mlcli: Mlcli, arguments: list[str], said: str) -> None:
    done = mlcli("data", *arguments)
    assert (done.code, said in done.stderr, "hint: " in done.stderr) == (1, True, True)
