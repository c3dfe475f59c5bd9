"""``environment scaffold|register|download``: an environment as a folder of files."""

from __future__ import annotations

import json

from tests.conftest import Mlcli
from tests.v1.conftest import ok


def test_scaffold_edit_register_download(mlcli: Mlcli) -> None:
    ok(mlcli("environment", "scaffold", "-n", "train", "-d", "envs/train"))
    definition = mlcli.cwd / "envs" / "train" / "azureml_environment.json"
    assert json.loads(definition.read_text())["name"] == "train"
    (definition.parent / "conda_dependencies.yml").write_text("dependencies: [python=3.11, numpy]\n")
    made = ok(mlcli("environment", "register", "-d", "envs/train"))
    assert (made["name"], made["version"], made["conda_file"]) == (
        "train",
        "1",
        {"dependencies": ["python=3.11", "numpy"]},
    )
    ok(mlcli("environment", "download", "-n", "train", "-d", "again"))
    assert "numpy" in (mlcli.cwd / "again" / "conda_dependencies.yml").read_text()
    definition.unlink()
    (mlcli.cwd / "again" / "azureml_environment.json").rename(definition)
    assert json.loads(definition.read_text())["version"] == "1"
    there = mlcli("environment", "download", "-n", "train", "-d", "again")
    assert there.code == 1
    assert "there already" in there.stderr
    assert "replace them: --overwrite" in there.stderr
    ok(mlcli("environment", "download", "-n", "train", "-d", "again", "--overwrite"))


def test_an_image_goes_there_and_back(mlcli: Mlcli) -> None:
    ok(mlcli("environment", "create", "-n", "boxed", "-i", "python:3.12"))
    ok(mlcli("environment", "download", "-n", "boxed", "-d", "boxed"))
    words = json.loads((mlcli.cwd / "boxed" / "azureml_environment.json").read_text())
    assert words["docker"] == {"enabled": True, "baseImage": "python:3.12", "baseDockerfile": None}
    (mlcli.cwd / "boxed" / "azureml_environment.json").write_text(json.dumps({**words, "version": "2"}))
    assert ok(mlcli("environment", "register", "-d", "boxed"))["image"] == "python:3.12"


def test_what_is_wrong(mlcli: Mlcli) -> None:
    assert "give --directory FOLDER" in mlcli("environment", "register").stderr
    assert mlcli("environment", "register", "-d", "nowhere").code == 3
    (mlcli.cwd / "odd").mkdir()
    (mlcli.cwd / "odd" / "azureml_environment.json").write_text('{"name": "odd", "python": {"interpreterpath": "x"}}')
    assert "did you mean 'interpreterPath'?" in mlcli("environment", "register", "-d", "odd").stderr
    (mlcli.cwd / "build").mkdir()
    (mlcli.cwd / "build" / "Dockerfile").write_text("FROM python\n")
    ok(mlcli("environment", "create", "-n", "built", "-b", "build"))
    refused = mlcli("environment", "download", "-n", "built", "-d", "x")
    assert "is made of a Docker build of a folder, which these files cannot say" in refused.stderr
