"""``folder attach|show|detach``, and what an attached folder means for the commands typed in it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.conftest import Mlcli
from tests.v1.conftest import ok

AZURE = {"Id": "0", "Scope": "/subscriptions/S/resourceGroups/G/providers/Microsoft.X/workspaces/WS/projects/EXP"}
JOB = "command: echo hello\nenvironment: current\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "iris"
    made.mkdir()
    return made


def test_attach_writes_what_a_v1_folder_has(mlcli: Mlcli, folder: Path) -> None:
    ok(mlcli("compute", "create", "-n", "cpu-cluster", "--type", "amlcompute", "--max-instances", "2"))
    (folder / "src").mkdir()
    done = ok(mlcli("folder", "attach", "--path", "..", cwd=folder / "src"))
    assert (done["workspace"], done["experiment_name"]) == ("default", "iris")
    names = {"config.json", "conda_dependencies.yml", "local", "docker", "cpu-cluster"}
    assert {entry.name for entry in (folder / ".azureml").iterdir()} == names
    config = json.loads((folder / ".azureml" / "config.json").read_text())
    assert config["Scope"] == "/workspaces/default/projects/iris"
    assert "outputs" in (folder / ".amlignore").read_text().splitlines()
    yaml = YAML(typ="safe")
    written = {name: yaml.load(folder / ".azureml" / name) for name in ("local", "docker", "cpu-cluster")}
    assert [written[name]["target"] for name in written] == ["local", "local", "cpu-cluster"]
    assert [written[name]["environment"]["docker"]["enabled"] for name in written] == [False, True, False]
    for name in written:
        assert ok(mlcli("job", "validate", f".azureml/{name}", cwd=folder))["warnings"] == []


def test_again_it_changes_nothing_and_an_edited_file_stays(mlcli: Mlcli, folder: Path) -> None:
    ok(mlcli("folder", "attach", cwd=folder))
    config = (folder / ".azureml" / "config.json").read_bytes()
    (folder / ".azureml" / "local").write_text("script: mine.py\n")
    (folder / ".azureml" / "docker").rename(folder / ".azureml" / "docker.runconfig")
    again = ok(mlcli("folder", "attach", cwd=folder))
    assert again["written"] == []
    assert (folder / ".azureml" / "local").read_text() == "script: mine.py\n"
    assert not (folder / ".azureml" / "docker").exists()
    assert (folder / ".azureml" / "config.json").read_bytes() == config
    assert ok(mlcli("folder", "attach", "-e", "other", cwd=folder))["written"] == [".azureml/config.json"]
    assert ok(mlcli("folder", "show", cwd=folder))["experiment_name"] == "other"


def test_an_older_folder_and_one_with_a_gitignore(mlcli: Mlcli, folder: Path) -> None:
    (folder / "aml_config").mkdir()
    (folder / ".gitignore").write_text("data/\n")
    ok(mlcli("folder", "attach", cwd=folder))
    assert not (folder / ".azureml").exists()
    assert not (folder / ".amlignore").exists()
    assert "aml_config/conda_dependencies.yml" in (folder / "aml_config" / "local").read_text()


def test_commands_below_it_find_workspace_and_experiment(mlcli: Mlcli, folder: Path, tmp_path: Path) -> None:
    ok(mlcli("workspace", "create", "--name", "research"))
    ok(mlcli("folder", "attach", "-w", "research", "-e", "my trial", "--path", folder))
    below = folder / "a" / "b"
    below.mkdir(parents=True)
    (below / "job.yml").write_text(JOB)
    assert mlcli("job", "create", "-f", "job.yml", "--stream", cwd=below).code == 0
    shown = ok(mlcli("job", "list", cwd=below))
    assert [(one["experiment_name"], one["status"]) for one in shown] == [("my trial", "Completed")]
    assert ok(mlcli("workspace", "show", cwd=below))["name"] == "research"
    assert ok(mlcli("job", "list", cwd=tmp_path)) == []
    assert ok(mlcli("job", "list", "-w", "default", cwd=below)) == []
    assert ok(mlcli("job", "list", env={"MLCLI_WORKSPACE": "default"}, cwd=below)) == []
    assert len(ok(mlcli("run", "list", "--path", folder))) == 1
    moved = folder.rename(tmp_path / "elsewhere")
    assert ok(mlcli("folder", "show", cwd=moved))["experiment_name"] == "my trial"


def test_a_job_that_names_its_experiment_keeps_it(mlcli: Mlcli, folder: Path) -> None:
    ok(mlcli("folder", "attach", cwd=folder))
    (folder / "job.yml").write_text(JOB + "experiment_name: own\n")
    assert ok(mlcli("job", "create", "-f", "job.yml", "--dry-run", cwd=folder))["experiment_name"] == "own"


def test_attached_to_two_workspaces_it_is_not(mlcli: Mlcli, folder: Path) -> None:
    for name in ("one", "two"):
        ok(mlcli("workspace", "create", "--name", name))
    ok(mlcli("folder", "attach", "-w", "one", cwd=folder))
    refused = mlcli("folder", "attach", "-w", "two", cwd=folder)
    assert refused.code == 1
    assert "is attached to the workspace 'one' (experiment 'iris'), not to 'two'" in refused.stderr
    ok(mlcli("folder", "detach", cwd=folder))
    assert ok(mlcli("folder", "attach", "-w", "two", cwd=folder))["workspace"] == "two"
    told = mlcli("workspace", "use", "one", cwd=folder).stderr
    assert "names 'two', and comes first" in told


def test_a_folder_whose_workspace_is_gone(mlcli: Mlcli, folder: Path) -> None:
    ok(mlcli("workspace", "create", "--name", "one"))
    ok(mlcli("folder", "attach", "-w", "one", cwd=folder))
    ok(mlcli("workspace", "delete", "--name", "one", "--yes"))
    refused = mlcli("job", "list", cwd=folder)
    assert refused.code == 3
    assert f"there is no workspace 'one' ({folder}/.azureml/config.json names it)" in refused.stderr


@pytest.mark.parametrize("config", [AZURE, {"subscription_id": "S", "resource_group": "G", "workspace_name": "WS"}])
def test_a_folder_of_azure_is_told_for_what_it_is(mlcli: Mlcli, folder: Path, config: dict[str, str]) -> None:
    (folder / ".azureml").mkdir()
    (folder / ".azureml" / "config.json").write_text(json.dumps(config))
    refused = mlcli("folder", "attach", cwd=folder)
    assert refused.code == 1
    assert "names the workspace 'WS' of Azure, which mlcli has nothing to do with" in refused.stderr
    assert "config.azure.json" in refused.stderr
    assert ok(mlcli("job", "list", cwd=folder)) == []
    assert ok(mlcli("folder", "show", cwd=folder))["workspace"] is None
    ok(mlcli("folder", "detach", cwd=folder))
    assert json.loads((folder / ".azureml" / "config.azure.json").read_text()) == config
    assert ok(mlcli("folder", "attach", cwd=folder))["workspace"] == "default"


def test_damaged_settings(mlcli: Mlcli, folder: Path) -> None:
    (folder / ".azureml").mkdir()
    (folder / ".azureml" / "config.json").write_text('{"Id": ')
    refused = mlcli("job", "list", cwd=folder)
    assert refused.code == 1
    assert "config.json cannot be read: it is not JSON" in refused.stderr
    assert ok(mlcli("job", "list", "-w", "default", cwd=folder)) == []
    ok(mlcli("folder", "detach", cwd=folder))
    ok(mlcli("folder", "attach", cwd=folder))


def test_where_nothing_is_attached_or_can_be(mlcli: Mlcli, folder: Path) -> None:
    assert mlcli("folder", "show", cwd=folder).code == 3
    assert mlcli("folder", "detach", cwd=folder).code == 3
    assert mlcli("folder", "attach", "--path", folder / "nowhere").code == 3
    (folder / ".azureml").write_text("a file")
    refused = mlcli("folder", "attach", cwd=folder)
    assert refused.code == 1
    assert "cannot be written" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written(mlcli: Mlcli, folder: Path) -> None:
    folder.chmod(0o500)
    refused = mlcli("folder", "attach", cwd=folder)
    folder.chmod(0o700)
    assert refused.code == 1
    assert "cannot be written" in refused.stderr


def test_two_at_once_write_whole_files(mlcli: Mlcli, folder: Path) -> None:
    both = [mlcli.start("folder", "attach", cwd=folder) for _ in range(2)]
    for one in both:
        _, errors = one.communicate(timeout=60)
        assert one.returncode == 0, errors
    assert ok(mlcli("folder", "attach", cwd=folder))["written"] == []
    assert ok(mlcli("job", "validate", ".azureml/local", cwd=folder))["valid"]


def test_the_workspace_in_use_is_the_folders(mlcli: Mlcli, folder: Path, tmp_path: Path) -> None:
    ok(mlcli("workspace", "create", "--name", "research"))
    ok(mlcli("folder", "attach", "-w", "research", cwd=folder))

    def in_use(cwd: Path) -> list[str]:
        return [one["name"] for one in ok(mlcli("workspace", "list", cwd=cwd)) if one["in_use"]]

    assert (in_use(folder), in_use(tmp_path)) == (["research"], ["default"])
    (folder / ".azureml" / "config.json").write_text("{")
    assert in_use(folder) == ["default"]


def test_what_is_shown_goes_into_a_file_too(mlcli: Mlcli, folder: Path) -> None:
    for typed in (
        ("folder", "attach"),
        ("experiment", "create", "-n", "iris", "--output-metadata-file", "answer.json"),
        ("experiment", "list"),
        ("environment", "scaffold", "-n", "train", "-d", "envs"),
        ("environment", "list", "--path", "."),
        ("run", "list", "--last", "1"),
        ("workspace", "show"),
    ):
        file = () if "answer.json" in typed else ("-t", "answer.json")
        shown = ok(mlcli(*typed, *file, cwd=folder))
        assert json.loads((folder / "answer.json").read_text()) == shown
    refused = mlcli("run", "list", "-t", "no/such/folder.json", cwd=folder)
    assert refused.code == 1
    assert "no/such/folder.json cannot be written" in refused.stderr


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (("run", "submit-pipeline", "-y", "p.yml"), "submit each step"),
        (("model", "register", "-n", "m"), "which files? give --asset-path PATH of a run, or --model-path PATH"),
        (("model", "register", "-n", "m", "--asset-path", "outputs/x"), "which run? give --run RUN"),
        (("computetarget", "computeinstance", "start", "-n", "c"), "mlcli compute start -n NAME"),
        (("computetarget", "get-credentials", "-n", "local"), "there is nothing to log in to"),
    ],
)
def test_what_is_not_here_says_what_is(mlcli: Mlcli, typed: tuple[str, ...], said: str) -> None:
    refused = mlcli(*typed)
    assert refused.code == 2
    assert said in refused.stderr
