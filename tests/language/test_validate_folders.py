"""``job validate`` over folders: job files and components are checked, what merely stands beside them is left alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlcli.spec.generation import may_be_ours, recognise

HELLO = "command: echo hello\nenvironment: current\n"


@pytest.fixture
def folder(mlcli) -> Path:
    jobs: Path = mlcli.cwd / "jobs"
    (jobs / "deep").mkdir(parents=True)
    (jobs / "hello.yml").write_text(HELLO)
    (jobs / "deep" / "train.yaml").write_text(HELLO)
    (jobs / "environment.yml").write_text("name: e\nchannels: [conda-forge]\ndependencies: [python=3.11]\n")
    (jobs / "ci.yml").write_text("name: ci\n'on': push\njobs: {test: {runs-on: ubuntu-latest, steps: [{run: make}]}}\n")
    return jobs


def test_other_files_of_a_folder_are_skipped_and_named(mlcli, folder: Path) -> None:
    result = mlcli("job", "validate", "jobs")
    assert result.code == 0, result.stderr
    assert [verdict["file"] for verdict in result.json] == ["jobs/deep/train.yaml", "jobs/hello.yml"]
    assert "jobs/environment.yml" in result.stderr
    assert "jobs/ci.yml" in result.stderr


def test_a_file_that_is_named_is_never_skipped(mlcli, folder: Path) -> None:
    result = mlcli("job", "validate", "jobs/environment.yml")
    assert result.code == 1
    assert "'command' is missing" in result.stderr


def test_several_files_and_folders_in_one_call(mlcli, folder: Path) -> None:
    (folder / "deep" / "wrong.yml").write_text(HELLO + "compte: local\n")
    result = mlcli("job", "validate", "jobs/deep", "jobs/hello.yml")
    assert result.code == 1
    assert [verdict["valid"] for verdict in result.json] == [True, False, True]
    [error] = result.json[1]["errors"]
    expected = {"file": "jobs/deep/wrong.yml", "line": 3, "column": 1, "code": "unknown-key", "path": "$.compte"}
    assert error.items() >= {**expected, "severity": "error"}.items()
    assert "compute" in error["hint"]


def test_a_folder_without_any_job(mlcli, folder: Path) -> None:
    (mlcli.cwd / "none").mkdir()
    (mlcli.cwd / "none" / "environment.yml").write_text("dependencies: [python]\n")
    assert mlcli("job", "validate", "none").code == 3


def test_strict_makes_a_warning_an_error(mlcli, folder: Path) -> None:
    (folder / "short.yml").write_text(HELLO + "limits: {timeout: 5}\n")
    assert mlcli("job", "validate", "jobs/short.yml").code == 0
    strict = mlcli("job", "validate", "jobs/short.yml", "--strict")
    assert strict.code == 1
    assert strict.json["warnings"][0]["severity"] == "warning"


@pytest.mark.parametrize(
    ("tree", "noun"),
    [
        ({"command": "echo", "environment": "azureml:e:1"}, "job"),
        ({"command": "echo", "environment": "azureml:e:1", "version": 1}, "component"),
        ({"command": "echo", "environment": "e", "inputs": {"rate": {"type": "number", "default": 1}}}, "component"),
        ({"command": "echo", "compute": "local", "version": 1}, "job"),
        ({"command": "echo", "inputs": {"data": {"type": "uri_file", "path": "x"}}}, "job"),
    ],
)
def test_a_component_is_known_by_what_it_declares(tree: dict[str, object], noun: str) -> None:
    assert recognise(tree).noun == noun


@pytest.mark.parametrize(
    ("tree", "ours"),
    [
        ({"type": "sweep_job"}, True),
        ({"environment": "x", "comand": "y"}, True),
        ({"services": {"web": {"image": "nginx"}}}, False),
        ({"apiVersion": "v1", "kind": "Pod"}, False),
        ({"type": "object", "properties": {}}, False),
        (["a"], False),
        (None, False),
    ],
)
def test_what_may_be_meant_for_us(tree: object, ours: bool) -> None:
    assert may_be_ours(tree) is ours
