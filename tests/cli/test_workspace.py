"""``mlcli workspace``: what was mended is told, what could not be read is named."""

from pathlib import Path

from tests.conftest import Mlcli

JOB = "command: echo hi\nenvironment: current\n"


def test_a_ruined_index_is_made_anew_and_said(mlcli: Mlcli, tmp_path: Path) -> None:
    (tmp_path / "job.yml").write_text(JOB)
    assert mlcli("job", "create", "-f", tmp_path / "job.yml", "--name", "kept", "--stream").code == 0
    index = mlcli.home / "workspaces" / "default" / "index.sqlite"
    for leftover in index.parent.glob("index.sqlite-*"):
        leftover.unlink()
    index.write_bytes(b"this is no database" * 100)
    listed = mlcli("job", "list")
    assert [row["name"] for row in listed.json] == ["kept"]
    assert "index" in listed.stderr
    assert mlcli("job", "list").stderr == ""


def test_reindex_names_the_folders_that_are_no_runs(mlcli: Mlcli, tmp_path: Path) -> None:
    (tmp_path / "job.yml").write_text(JOB)
    assert mlcli("job", "create", "-f", tmp_path / "job.yml", "--name", "whole", "--stream").code == 0
    broken = mlcli.home / "workspaces" / "default" / "runs" / "broken"
    broken.mkdir()
    (broken / "run.json").write_text("{")
    done = mlcli("workspace", "reindex")
    assert done.json["jobs"] == 1
    assert any("broken" in problem for problem in done.json["problems"])
