"""``run submit-script``: a run configuration, a script and its arguments become a run; -t hands it on to the next command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlcli.cli.command import parted
from mlcli.cli.run import NOUN
from tests.conftest import Mlcli
from tests.v1.conftest import MANAGED, ok


def test_it_runs_the_script_and_follows_it(mlcli: Mlcli, project: Path) -> None:
    ok(mlcli("folder", "attach", cwd=project))
    ran = mlcli("run", "submit-script", "-c", "mine", "-t", "run.json", cwd=project)
    assert ran.code == 0, ran.stderr
    assert "got ['--rate', '0.1'] EXAMPLE_VALUE iris" in ran.stdout
    kept = json.loads((project / "run.json").read_text())
    assert (kept["experimentName"], kept["status"], kept["target"]) == ("iris", "Completed", "local")
    shown = ok(mlcli("run", "show", "-t", "run.json", cwd=project))
    assert shown["name"] == kept["runId"]
    assert shown["command"] == "python train.py --rate 0.1"
    ok(mlcli("run", "download", "-t", "run.json", "-d", "got", cwd=project))
    assert (project / "got" / kept["runId"] / "outputs" / "model.txt").read_text() == "a model"
    assert "got ['--rate'" in mlcli("run", "monitor-logs", "-t", "run.json", cwd=project).stdout
    typed = ("model", "register", "-n", "iris", "--model-framework", "Custom", "--tag", "a=b", "-t", "model.json")
    made = ok(mlcli(*typed, "--asset-path", "outputs/model.txt", "-f", "run.json", cwd=project))
    assert (made["version"], made["tags"]) == ("1", {"a": "b"})
    assert json.loads((project / "model.json").read_text()) == made
    ok(mlcli("model", "download", "-n", "iris", "-p", "models", cwd=project))
    assert [file.read_text() for file in (project / "models").rglob("model.txt")] == ["a model"]
    assert ok(mlcli(*typed, "-p", "train.py", cwd=project))["version"] == "2"
    ok(mlcli("run", "update", "-t", "run.json", "--add-tag", "stage=final", cwd=project))
    assert json.loads((project / "run.json").read_text())["tags"] == {"stage": "final"}
    assert [run["name"] for run in ok(mlcli("run", "list", cwd=project))] == [kept["runId"]]


def test_typed_words_replace_the_files(mlcli: Mlcli, project: Path) -> None:
    typed = ("run", "submit-script", "-c", "mine", "-e", "other")
    ran = mlcli(*typed, "train.py", "--out", "a b", "-o", "--help", "--", "-c", cwd=project)
    assert "got ['--out', 'a b', '-o', '--help', '--', '-c'] EXAMPLE_VALUE other" in ran.stdout
    assert "got ['-x']" in mlcli(*typed, "--", "train.py", "-x", cwd=project).stdout
    assert "got ['--rate', '0.1']" in mlcli(*typed, "train.py", cwd=project).stdout


def test_a_failing_run_fails_the_command_and_is_kept(mlcli: Mlcli, project: Path) -> None:
    ran = mlcli(
        "run", "submit-script", "-c", "mine.runconfig", "-t", "run.json", "train.py", "--code", "3", cwd=project
    )
    assert ran.code == 1
    assert json.loads((project / "run.json").read_text())["status"] == "Failed"


def test_async_returns_and_cancel_reads_the_file(mlcli: Mlcli, project: Path) -> None:
    (project / "train.py").write_text("import time; time.sleep(60)")
    begun = ok(mlcli("run", "submit-script", "-c", "mine", "--async", "-t", "run.json", cwd=project))
    assert begun["status"] not in {"Completed", "Failed"}
    assert ok(mlcli("run", "cancel", "-t", "run.json", cwd=project))["name"] == begun["name"]
    assert mlcli("run", "monitor-logs", "-t", "run.json", cwd=project).code == 1
    assert json.loads((project / "run.json").read_text())["status"] == "Canceled"


def test_a_source_directory_and_another_folder(mlcli: Mlcli, project: Path, tmp_path: Path) -> None:
    (project / "src").mkdir()
    (project / "train.py").rename(project / "src" / "train.py")
    for arguments in (
        ("--path", "iris", "--source-directory", "src"),
        ("--path", "iris", "--source-directory", "iris/src"),
    ):
        ran = mlcli("run", "submit-script", *arguments, "-c", "mine", cwd=tmp_path)
        assert "got ['--rate', '0.1']" in ran.stdout, ran.stderr
    around = ("--path", "../iris", "--source-directory", "../iris/src", "--dry-run")
    assert mlcli("run", "submit-script", *around, "-c", "mine", cwd=project).code == 0
    outside = mlcli("run", "submit-script", "-c", "mine", "--source-directory", "src", "../other.py", cwd=project)
    assert "the script '../other.py' is outside the source directory" in outside.stderr
    lost = mlcli("run", "submit-script", "-c", "mine", "train.py", cwd=project)
    assert lost.code == 3
    assert "there is no script 'train.py' in the source directory" in lost.stderr


def test_without_a_configuration_the_environment_is_made(mlcli: Mlcli, project: Path) -> None:
    planned = ok(mlcli("run", "submit-script", "--dry-run", "train.py", cwd=project))
    assert planned["environment"]["builder"] == "venv"
    assert planned["environment"]["spec"]["conda"]["dependencies"][0].startswith("python=")
    (project / "conda.yml").write_text("dependencies: [python=3.9]\n")
    typed = ("run", "submit-script", "-c", "mine", "-d", "conda.yml", "--ct", "local", "--dry-run")
    planned = ok(mlcli(*typed, cwd=project))
    assert planned["environment"]["spec"]["conda"] == {"dependencies": ["python=3.9"]}
    (project / ".azureml" / "conda_dependencies.yml").write_text("dependencies: [python=3.10]\n")
    planned = ok(mlcli("run", "submit-script", "--dry-run", "train.py", cwd=project))
    assert planned["environment"]["spec"]["conda"] == {"dependencies": ["python=3.10"]}


def test_the_plan_is_that_of_the_upgraded_file(mlcli: Mlcli, project: Path) -> None:
    typed = ("run", "submit-script", "-c", "mine", "--dry-run", "train.py", "--rate", "a b")
    wanted = ok(mlcli(*typed, cwd=project))
    sets = ("--set", "script=train.py", "--set", "arguments=[--rate, a b]")
    far = project.parent / "far.yml"
    ok(mlcli("job", "upgrade", "-f", ".azureml/mine.runconfig", *sets, "--to", far, cwd=project))
    found = ok(mlcli("job", "create", "-f", far, "--dry-run", cwd=project))
    for plan in (wanted, found):
        for key in ("run", "run_folder", "working_directory", "environment_variables", "code"):
            plan.pop(key)
    assert wanted == found


def test_upgrade_says_what_is_missing(mlcli: Mlcli, project: Path) -> None:
    ok(mlcli("folder", "attach", cwd=project))
    assert "there is no script to run" in mlcli("job", "upgrade", "-f", ".azureml/local", cwd=project).stderr
    assert mlcli("job", "upgrade", "-f", ".azureml/local", "--in-place", cwd=project).code == 2
    refused = mlcli("job", "create", "-f", ".azureml/mine.runconfig", cwd=project)
    assert "is a run configuration, not a job file" in refused.stderr


def test_no_secret_is_shown(mlcli: Mlcli, project: Path) -> None:
    registry = "baseImageRegistry: {address: r.example.org, username: u, password: hunter2hunter2}"
    docker = f"docker: {{enabled: true, baseImage: python, {registry}}}"
    text = f"script: train.py\nenvironment:\n  python: {{userManagedDependencies: true}}\n  {docker}\n"
    (project / ".azureml" / "private").write_text(text)
    upgraded = mlcli("job", "upgrade", "-f", ".azureml/private", cwd=project)
    planned = mlcli("run", "submit-script", "-c", "private", "--dry-run", cwd=project)
    (project / ".azureml" / "private").write_text(
        "script: train.py\nenvironmentVariables:\n  DATABASE: [hunter2hunter2]\n"
    )
    refused = mlcli("run", "submit-script", "-c", "private", cwd=project)
    assert (upgraded.code, planned.code, refused.code) == (0, 0, 1)
    for shown in (upgraded, planned, refused):
        assert "hunter2hunter2" not in shown.stdout + shown.stderr
    assert "password_env: MLCLI_REGISTRY_PASSWORD" in upgraded.stdout


def test_a_compute_made_for_the_run_goes_with_it(mlcli: Mlcli, project: Path) -> None:
    section = "amlCompute: {name: made, vmSize: Standard_DS2_v2, clusterMaxNodeCount: 1}\n"
    (project / ".azureml" / "made").write_text(f"script: train.py\ntarget: amlcompute\n{section}{MANAGED}")
    ran = mlcli("run", "submit-script", "-c", "made", "-t", "run.json", cwd=project)
    assert ran.code == 0, ran.stderr
    assert json.loads((project / "run.json").read_text())["compute"] == "made"
    assert "made" not in [compute["name"] for compute in ok(mlcli("compute", "list"))]
    begun = ok(mlcli("run", "submit-script", "-c", "made", "--async", cwd=project))
    ok(mlcli("job", "wait", "-n", begun["name"]))
    assert "made" not in [compute["name"] for compute in ok(mlcli("compute", "list"))]
    ok(mlcli("compute", "create", "-n", "made", "--type", "amlcompute"))
    refused = mlcli("run", "submit-script", "-c", "made", cwd=project)
    assert "made" in refused.stderr
    assert "made" in [compute["name"] for compute in ok(mlcli("compute", "list"))]


def test_an_azure_folder_runs_as_it_is(mlcli: Mlcli, project: Path) -> None:
    scope = "/subscriptions/S/resourceGroups/G/providers/Microsoft.X/workspaces/WS/projects/EXP"
    (project / ".azureml" / "config.json").write_text(json.dumps({"Id": "0", "Scope": scope}))
    ran = mlcli("run", "submit-script", "-c", "mine", cwd=project)
    assert "EXAMPLE_VALUE EXP" in ran.stdout
    assert (
        "names the workspace 'WS' of Azure, which mlcli has nothing to do with: this run belongs to the workspace"
        in ran.stderr
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("script: train.py\nnodecount: 2\n", "did you mean 'nodeCount'?"),
        ("script: train.py\nframework: PySpark\n", "hands the script to a Spark cluster"),
        (f"script: train.py\nnodeCount: 2\n{MANAGED}", "the job asks for 2 instances"),
        (f"script: train.py\ncommunicator: Mpi\nmpi: {{processCountPerNode: 4}}\n{MANAGED}", "mpi distribution of several"),
        (f"script: train.py\ntarget: nowhere\n{MANAGED}", "no compute named 'nowhere'"),
        ("script: [\n", "invalid-yaml"),
        ("script: none.py\n", "there is no script 'none.py'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told(mlcli: Mlcli, project: Path, text: str, said: str) -> None:
    (project / ".azureml" / "bad").write_text(text)
    refused = mlcli("run", "submit-script", "-c", "bad", cwd=project)
    assert refused.code in {1, 3}
    assert said in refused.stderr
    assert "Traceback" not in refused.stderr


def test_names_that_are_not_there(mlcli: Mlcli, project: Path) -> None:
    assert "did you mean 'mine'?" in mlcli("run", "submit-script", "-c", "mien", cwd=project).stderr
    assert (
        "--conda-dependencies: there is no file"
        in mlcli("run", "submit-script", "-d", "x.yml", "train.py", cwd=project).stderr
    )
    assert "which run? give --run RUN" in mlcli("run", "show").stderr
    assert mlcli("run", "show", "-t", "nowhere.json").code == 3
    (project / "far.json").write_text('{"runId": "x", "workspace": "research"}')
    assert "add: --workspace-name research" in mlcli("run", "show", "-t", "far.json", cwd=project).stderr
    (project / "other.json").write_text("[]")
    assert "names no run" in mlcli("run", "show", "-t", "other.json", cwd=project).stderr


@pytest.mark.parametrize(
    ("typed", "own", "rest"),
    [
        (["-c", "a", "t.py", "-c", "b"], ["-c", "a"], ["--", "t.py", "-c", "b"]),
        (["--async", "t.py"], ["--async"], ["--", "t.py"]),
        (["--path=x", "--", "-t"], ["--path=x"], ["--", "-t"]),
        (["-o", "json"], ["-o", "json"], []),
        (["-"], [], ["--", "-"]),
    ],
)
def test_where_the_scripts_own_words_begin(typed: list[str], own: list[str], rest: list[str]) -> None:
    assert parted(typed, NOUN.commands["submit-script"].all_flags.values()) == (own, rest)


def test_without_anything_to_run(mlcli: Mlcli, project: Path) -> None:
    refused = mlcli("run", "submit-script", cwd=project)
    assert refused.code == 2
    assert "which script?" in refused.stderr
