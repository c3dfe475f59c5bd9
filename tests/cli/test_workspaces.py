"""``mlcli workspace``: made, listed, chosen, deleted; a name that nobody has made is not there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_completion import completed
from tests.cli.test_jobs import create, finished, held, job_file, names
from tests.conftest import Mlcli, Result


def ok(done: Result) -> Any:
    assert done.code == 0, done.stderr
    return done.json if done.stdout else None


def test_a_workspace_is_made_listed_used_and_deleted(mlcli: Mlcli) -> None:
    made = ok(mlcli("workspace", "create", "research", "--description", "trials", "--tags", "a=b", "-l", "westus"))
    assert (made["name"], made["description"], made["tags"], made["in_use"]) == (
        "research",
        "trials",
        {"a": "b"},
        False,
    )
    finished(mlcli, "true", "-n", "here")
    finished(mlcli, "true", "-n", "there", "-w", "research", "-g", "rg", "--subscription", "s")
    assert mlcli("workspace", "use", "research").code == 0
    assert names(mlcli("job", "list")) == ["there"]
    assert names(mlcli("job", "list", "-w", "default")) == ["here"]
    assert names(mlcli("job", "list", *[], env={"MLCLI_WORKSPACE": "default"})) == ["here"]
    listed = {row["name"]: row["in_use"] for row in ok(mlcli("workspace", "list"))}
    assert listed == {"default": False, "research": True}
    deleted = mlcli("workspace", "delete", "research", "--yes", "--all-resources", "--no-wait")
    assert deleted.code == 0
    assert "freed" in deleted.stderr
    assert names(mlcli("job", "list")) == ["here"]
    assert sorted(os.listdir(mlcli.home / "workspaces")) == ["default"]


COMMANDS = [
    ("job", "list"),
    ("job", "show", "x"),
    ("job", "create", "-f", "job.yml"),
    ("compute", "list"),
    ("compute", "create", "-n", "c", "-t", "amlcompute"),
    ("workspace", "show"),
    ("workspace", "reindex"),
    ("workspace", "delete", "--yes"),
    ("environment", "list"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_misspelt_workspace_is_not_made_but_refused(mlcli: Mlcli, command: tuple[str, ...]) -> None:
    ok(mlcli("workspace", "create", "research"))
    job_file(mlcli.cwd, "true")
    refused = mlcli(*command, "-w", "reserch")
    assert refused.code == 3
    assert "there is no workspace 'reserch'" in refused.stderr
    assert "did you mean 'research'?" in refused.stderr
    assert "mlcli workspace create --name reserch" in refused.stderr
    assert not (mlcli.home / "workspaces" / "reserch").exists()


def test_what_named_a_workspace_that_is_gone_is_said(mlcli: Mlcli) -> None:
    refused = mlcli("job", "list", env={"MLCLI_WORKSPACE": "gone"})
    assert (refused.code, "(MLCLI_WORKSPACE names it)" in refused.stderr) == (3, True)
    ok(mlcli("workspace", "create", "gone"))
    assert mlcli("workspace", "use", "gone").code == 0
    (mlcli.home / "workspaces" / "gone").rename(mlcli.home / "moved")
    refused = mlcli("job", "list")
    assert (refused.code, "(mlcli workspace use names it)" in refused.stderr) == (3, True)
    assert mlcli("workspace", "use", "default").code == 0
    assert names(mlcli("job", "list")) == []


def test_a_workspace_in_use_that_something_else_overrules_is_warned_of(mlcli: Mlcli) -> None:
    ok(mlcli("workspace", "create", "research"))
    used = mlcli("workspace", "use", "research", env={"MLCLI_WORKSPACE": "default"})
    assert "MLCLI_WORKSPACE names 'default', and comes first" in used.stderr


@pytest.mark.parametrize("words", [["create", "research"], ["create", "-w", "research"], ["create", "-n", "research"]])
def test_a_name_is_given_once(mlcli: Mlcli, words: list[str]) -> None:
    ok(mlcli("workspace", *words))
    again = mlcli("workspace", "create", "research")
    assert (again.code, "there is a workspace 'research' already" in again.stderr) == (1, True)
    assert ok(mlcli("workspace", "create", "research", "--exist-ok"))["name"] == "research"


@pytest.mark.parametrize("name", ["..", ".hidden", "a/b", "a b", "", "x" * 300])
def test_what_cannot_be_a_name_is_refused(mlcli: Mlcli, name: str) -> None:
    for command in (("workspace", "create", "--name", name), ("workspace", "use", "--name", name)):
        refused = mlcli(*command)
        assert refused.code == 2, refused.stderr
        assert "Traceback" not in refused.stderr


def test_a_workspace_of_a_file(mlcli: Mlcli) -> None:
    text = "name: filed\ndisplay_name: From a file\ntags: {a: b}\nlocation: westus\nhbi_workspace: false\n"
    made = mlcli("workspace", "create", "-f", "-", "--set", "description=set", input=text)
    record = ok(made)
    assert (record["name"], record["display_name"], record["description"]) == ("filed", "From a file", "set")
    assert "not kept: hbi_workspace, location" in made.stderr
    assert mlcli("workspace", "create").code == 2


def test_a_workspace_with_live_jobs_goes_only_by_force(mlcli: Mlcli) -> None:
    ok(mlcli("workspace", "create", "busy"))
    command, gate = held(mlcli.cwd)
    name = create(mlcli, command, "-w", "busy")
    refused = mlcli("workspace", "delete", "busy", "--yes")
    assert refused.code == 1
    assert name in refused.stderr
    assert mlcli("workspace", "delete", "busy").code == 1
    assert mlcli("workspace", "delete", "busy", "--yes", "--force").code == 0
    assert not gate.exists()
    assert not (mlcli.home / "workspaces" / "busy").exists()


def test_default_is_emptied_and_there_again(mlcli: Mlcli) -> None:
    finished(mlcli, "chmod 500 .; true", "-n", "locked")
    assert mlcli("workspace", "delete", "default").code == 2
    assert mlcli("workspace", "delete", "default", "--yes").code == 0
    assert names(mlcli("job", "list")) == []
    assert mlcli("workspace", "delete", "default", "--yes").code == 0


def test_a_shell_completes_workspaces_and_computes(mlcli: Mlcli) -> None:
    ok(mlcli("workspace", "create", "research"))
    assert completed(mlcli, "mlcli workspace use re") == ["research"]
    ok(mlcli("compute", "create", "-n", "cpu-cluster", "-t", "amlcompute", "-w", "research"))
    assert completed(mlcli, "mlcli compute show -w research cp") == ["cpu-cluster"]
    assert completed(mlcli, "mlcli compute show -w nowhere cp") == []


def test_computes_belong_to_their_workspace(mlcli: Mlcli, tmp_path: Path) -> None:
    ok(mlcli("workspace", "create", "research"))
    ok(mlcli("compute", "create", "-n", "c", "-t", "amlcompute", "-w", "research"))
    assert [one["name"] for one in ok(mlcli("compute", "list"))] == ["local"]
    file = job_file(tmp_path, "echo hi", compute="azureml:c")
    assert mlcli("job", "create", "-f", file).code == 1
    assert mlcli("job", "create", "-f", file, "-w", "research", "--stream").code == 0
