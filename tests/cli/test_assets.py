"""``mlcli data|model|component|datastore``: registered, listed, changed; and jobs that read and make them by name."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlcli.domain.settings import Settings
from mlcli.operations.registration import register_outputs
from mlcli.workspace import Workspace
from tests.conftest import Mlcli, Result

SECRET = "c2VjcmV0LWtleS1vZi1hLWRhdGFzdG9yZQ"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the command runs: a file, a folder of two."""
    (tmp_path / "iris.csv").write_text("1,2\n")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_text("a")
    (tmp_path / "photos" / "b.png").write_text("b")
    return tmp_path


def ok(done: Result) -> Any:
    assert done.code == 0, done.stderr
    return done.json if done.stdout else None


def run(mlcli: Mlcli, name: str, **job: Any) -> Result:
    """A job of these keys, followed to its end."""
    (mlcli.cwd / "job.yml").write_text(json.dumps({"environment": "current", **job}))
    return mlcli("job", "create", "-f", "job.yml", "--name", name, "--stream")


def log(mlcli: Mlcli, name: str) -> str:
    return (mlcli.home / "workspaces" / "default" / "runs" / name / "user_logs" / "std_log.txt").read_text()


# --- registering ------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("folder")
def test_a_reference_is_kept_and_says_so(mlcli: Mlcli, tmp_path: Path) -> None:
    done = mlcli("data", "create", "--name", "iris", "--path", "iris.csv", "--tags", "a=b", "--description", "flowers")
    made = ok(done)
    assert (made["id"], made["type"], made["path"]) == ("azureml:iris:1", "uri_file", str(tmp_path / "iris.csv"))
    assert (made["copied"], made["tags"], made["description"]) == (False, {"a": "b"}, "flowers")
    assert "nothing is copied (--copy keeps a copy)" in done.stderr
    assert ok(mlcli("data", "show", "iris")) == ok(mlcli("data", "show", "-n", "iris", "-v", "1")) == made


def test_a_copy_stays_as_it_was(mlcli: Mlcli, folder: Path) -> None:
    file = ok(mlcli("data", "create", "-n", "iris", "-p", "iris.csv", "--copy"))
    photos = ok(mlcli("data", "create", "-n", "photos", "-p", "photos", "--copy"))
    (folder / "iris.csv").write_text("changed")
    (folder / "photos" / "a.png").unlink()
    assert Path(file["path"]).name == "iris.csv"
    assert Path(file["path"]).read_text() == "1,2\n"
    assert sorted(os.listdir(photos["path"])) == ["a.png", "b.png"]
    assert ok(mlcli("data", "delete", "iris", "--yes")) is None
    assert not Path(file["path"]).exists()


def test_a_copy_that_would_lack_something_is_refused(mlcli: Mlcli, folder: Path) -> None:
    (folder / "photos" / "c.png").symlink_to(folder / "iris.csv")
    refused = mlcli("data", "create", "-n", "photos", "-p", "photos", "--copy")
    assert refused.code == 1
    assert "c.png is a link that leads out" in refused.stderr
    assert ok(mlcli("data", "list")) == []


def test_versions_labels_and_the_archive(mlcli: Mlcli, folder: Path) -> None:
    for number in (1, 2):
        (folder / "iris.csv").write_text(f"{number}\n")
        assert ok(mlcli("data", "create", "-n", "iris", "-p", "iris.csv"))["version"] == str(number)
    again = mlcli("data", "create", "-n", "iris", "-v", "2", "-p", "iris.csv")
    assert ok(again)["version"] == "2"
    assert "already, just so" in again.stderr
    (folder / "iris.csv").write_text("other\n")
    taken = mlcli("data", "create", "-n", "iris", "-v", "2", "-p", "iris.csv")
    assert (taken.code, "another definition" in taken.stderr) == (1, True)
    changed = ok(mlcli("data", "update", "iris:1", "--add-label", "prod", "--set", "tags.stage=final", "description=x"))
    assert (changed["labels"], changed["tags"], changed["description"]) == (["prod"], {"stage": "final"}, "x")
    assert ok(mlcli("data", "show", "iris@prod"))["version"] == "1"
    ok(mlcli("data", "archive", "iris:2"))
    assert ok(mlcli("data", "show", "iris", "--label", "latest"))["version"] == "1"
    assert [one["version"] for one in ok(mlcli("data", "list", "-n", "iris"))] == ["1"]
    ok(mlcli("data", "archive", "-n", "iris"))
    assert ok(mlcli("data", "list")) == []
    assert [one["latest_version"] for one in ok(mlcli("data", "list", "--archived-only"))] == ["2"]
    ok(mlcli("data", "restore", "-n", "iris"))
    ok(mlcli("data", "delete", "iris:2", "-y"))
    assert [one["versions"] for one in ok(mlcli("data", "list"))] == [1]


def test_two_at_once_make_two_versions(mlcli: Mlcli, folder: Path) -> None:
    files = [folder / f"{number}.csv" for number in range(3)]
    for file in files:
        file.write_text(file.name)
    running = [mlcli.start("data", "create", "-n", "d", "-p", file) for file in files]
    assert sorted(json.loads(one.communicate()[0])["version"] for one in running) == ["1", "2", "3"]


def test_flags_win_over_the_file_and_set_over_both(mlcli: Mlcli, folder: Path) -> None:
    (folder / "d.yml").write_text("name: theirs\nversion: 9\nlocal_path: photos\ndescription: old\n")
    made = ok(mlcli("data", "create", "-f", "d.yml", "-n", "mine", "--path", "iris.csv", "--set", "description=new"))
    assert (made["name"], made["version"], made["type"], made["description"]) == ("mine", "9", "uri_file", "new")


def test_a_component_keeps_its_code(mlcli: Mlcli, folder: Path) -> None:
    (folder / "photos" / "train.py").write_text("first")
    (folder / "conda.yml").write_text("dependencies: [python]\n")
    text = (
        "name: t\nversion: 3\ncommand: python train.py\ncode: photos\nenvironment: {image: a, conda_file: conda.yml}\n"
    )
    (folder / "t.yml").write_text(text)
    made = ok(mlcli("component", "create", "-f", "t.yml"))
    (folder / "photos" / "train.py").write_text("second")
    assert (Path(made["code"]) / "train.py").read_text() == "first"
    assert made["environment"] == {"image": "a", "conda_file": {"dependencies": ["python"]}}
    assert (made["version"], ok(mlcli("component", "list"))[0]["latest_version"]) == ("3", "3")
    taken = mlcli("component", "create", "-f", "t.yml")
    assert (taken.code, "another definition" in taken.stderr) == (1, True)


def test_a_model_is_made_and_fetched(mlcli: Mlcli, folder: Path) -> None:
    made = ok(mlcli("model", "create", "-n", "m", "-l", "photos", "-t", "mlflow_model", "--stage", "Staging"))
    assert (made["type"], made["tags"]) == ("mlflow_model", {"stage": "Staging"})
    ok(mlcli("model", "create", "-n", "f", "-p", "iris.csv"))
    for name, expected in (("m", ["a.png", "b.png"]), ("f", ["iris.csv"])):
        written = ok(mlcli("model", "download", "-n", name, "-v", "1", "-p", "out"))["written"]
        assert written == [str(folder / "out" / name)]
        assert sorted(os.listdir(written[0])) == expected


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["data", "create"], 2, "--file FILE"),
        (["data", "create", "-n", "x"], 2, "'path' is missing"),
        (["data", "create", "-n", "x", "-p", "gone"], 2, "--path: there is no file or folder"),
        (["data", "create", "-n", "x y", "-p", "photos"], 2, "--name: 'x y' cannot be the name of a data asset"),
        (["data", "create", "-n", "x", "-p", "photos", "-t", "uri_file"], 2, "write 'type: uri_folder'"),
        (["data", "create", "-f", "gone.yml"], 3, "there is no file gone.yml"),
        (["data", "show", "nobody"], 3, "mlcli data create"),
        (["data", "show", "x:1", "-v", "2"], 2, "which version"),
        (["data", "show", "azureml://datastores/d/paths/x"], 2, "does not name a data"),
        (["data", "update", "x"], 3, "no data named 'x'"),
        (["data", "delete", "x", "-y"], 3, "no data named 'x'"),
        (["model", "download", "x"], 3, "no model named 'x'"),
        (["datastore", "create", "-n", "x", "-t", "local", "-p", "gone"], 2, "mkdir -p"),
        (["datastore", "show", "workspaceblobstor"], 3, "did you mean 'workspaceblobstore'"),
        (["datastore", "delete", "workspaceblobstore", "-y"], 2, "there always"),
        (["datastore", "update", "workspaceblobstore"], 2, "nothing to change"),
        (["component", "create"], 2, "which component"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_what_is_wrong_is_told(mlcli: Mlcli, arguments: list[str], code: int, words: str) -> None:
    done = mlcli(*arguments)
    assert (done.code, done.stdout) == (code, "")
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_datastore_is_made_changed_and_forgotten(mlcli: Mlcli, folder: Path) -> None:
    assert [one["name"] for one in ok(mlcli("datastore", "list"))] == ["workspaceartifactstore", "workspaceblobstore"]
    ok(mlcli("datastore", "create", "-n", "lake", "-t", "local", "-p", "photos"))
    assert "already, just so" in mlcli("datastore", "create", "-n", "lake", "-t", "local", "-p", "photos").stderr
    assert mlcli("datastore", "create", "-n", "lake", "-t", "local", "-p", ".").code == 1
    changed = ok(mlcli("datastore", "update", "-n", "lake", "--path", ".", "--set", "tags.a=b", "description=d"))
    assert (changed["path"], changed["tags"], changed["description"]) == (str(folder), {"a": "b"}, "d")
    changed = ok(mlcli("datastore", "update", "lake", "--remove", "tags.a", "--remove", "description"))
    assert (changed["path"], changed["tags"], changed["description"]) == (str(folder), {}, None)
    ok(mlcli("datastore", "delete", "lake", "--yes"))
    assert mlcli("datastore", "show", "lake").code == 3
    assert (folder / "photos" / "a.png").exists()


def test_no_secret_of_a_datastore_is_anywhere(mlcli: Mlcli, folder: Path) -> None:
    keys = f"{{account_key: {SECRET}, sas_token: {SECRET}}}"
    (folder / "d.yml").write_text(
        f"name: d\ntype: azure_blob\naccount_name: a\ncontainer_name: c\ncredentials: {keys}\n"
    )
    done = mlcli("datastore", "create", "-f", "d.yml", "--debug")
    assert "not kept" in done.stderr
    shown = mlcli("datastore", "show", "d", "--include-secrets")
    assert ok(shown)["account_name"] == "a"
    assert SECRET not in done.stdout + done.stderr + shown.stdout + shown.stderr
    for file in (path for path in mlcli.home.rglob("*") if path.is_file()):
        assert SECRET.encode() not in file.read_bytes()
    refused = run(mlcli, "j", command="x", inputs={"a": {"path": "azureml://datastores/d/paths/x"}})
    assert "of type azure_blob, which mlcli cannot reach" in refused.stderr


# --- jobs -------------------------------------------------------------------------------------------------------------


def test_a_job_reads_what_is_registered(mlcli: Mlcli, folder: Path) -> None:
    ok(mlcli("data", "create", "-n", "iris", "-p", "iris.csv"))
    ok(mlcli("model", "create", "-n", "m", "-p", "photos", "--copy"))
    lake = ok(mlcli("datastore", "show", "workspaceblobstore"))["path"]
    Path(lake, "deep").mkdir(parents=True)
    Path(lake, "deep", "x.txt").write_text("deep\n")
    inputs = {
        "one": {"type": "uri_file", "path": "azureml:iris:1"},
        "copy": {"type": "uri_file", "path": "azureml:iris@latest", "mode": "download"},
        "model": {"type": "mlflow_model", "path": "azureml:m:1"},
        "other": {"type": "custom_model", "path": "models:/m/1"},
        "store": {"type": "uri_file", "path": "azureml://subscriptions/s/resourcegroups/g/workspaces/w/datastores/workspaceblobstore/paths/deep/x.txt"},
    }  # fmt: skip
    command = "cat ${{inputs.one}} ${{inputs.copy}} ${{inputs.store}}; ls ${{inputs.model}} ${{inputs.other}}"
    done = run(mlcli, "reader", command=command, inputs=inputs)
    assert done.code == 0, done.stderr
    assert log(mlcli, "reader").split().count("1,2") == 2
    assert "deep" in log(mlcli, "reader")
    assert log(mlcli, "reader").count("b.png") == 2
    plan = ok(mlcli("job", "create", "-f", "job.yml", "--dry-run"))
    assert [one["asset"] for one in plan["inputs"]][:3] == ["data:iris:1", "data:iris:1", "model:m:1"]
    mid_2021 = {"one": {"data": "azureml:iris:1", "mode": "mount"}}
    (folder / "old.yml").write_text(
        json.dumps(
            {
                "command": "cat {inputs.one}",
                "environment": "current",
                "compute": {"target": "local"},
                "inputs": mid_2021,
            }
        )
    )
    assert mlcli("job", "create", "-f", "old.yml", "-n", "old", "--stream").code == 0
    assert "1,2" in log(mlcli, "old")


def test_a_reference_that_changed_is_told(mlcli: Mlcli, folder: Path) -> None:
    ok(mlcli("data", "create", "-n", "iris", "-p", "iris.csv"))
    job: dict[str, Any] = {"command": "true", "inputs": {"i": {"type": "uri_file", "path": "azureml:iris:1"}}}
    os.utime(folder / "iris.csv", (1, 1))
    assert "has changed" not in run(mlcli, "same", **job).stderr
    (folder / "iris.csv").write_text("3,4\n")
    assert "data iris:1 has changed since it was registered" in run(mlcli, "changed", **job).stderr
    (folder / "iris.csv").unlink()
    gone = run(mlcli, "gone", **job)
    assert (gone.code, "which is gone" in gone.stderr) == (1, True)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("azureml:iriss:1", "did you mean 'iris'"),
        ("azureml:nobody", "mlcli data create --name nobody --path PATH"),
        ("azureml:iris:7", "it has: 1"),
        ("azureml:a b", "names nothing"),
        ("azureml://datastores/lake/paths/x", "mlcli datastore create --name lake"),
        ("azureml://datastores/workspaceblobstore/paths/x", "nothing is there"),
        ("azureml://datastores/workspaceblobstore/paths/../../index.sqlite", "leads out of the datastore"),
        ("azureml://jobs/nobody/outputs/artifacts/paths/x", "nobody"),
        ("azureml://registries/r/data/x/versions/1", "registry 'r'"),
        ("wasbs://c@a.blob.core.windows.net/x", "cannot be reached"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_what_cannot_be_found_is_refused(mlcli: Mlcli, path: str, words: str) -> None:
    ok(mlcli("data", "create", "-n", "iris", "-p", "iris.csv"))
    done = run(mlcli, "j", command="echo ${{inputs.x}}", inputs={"x": {"type": "uri_file", "path": path}})
    assert done.code == 1
    assert words in done.stderr
    assert done.stderr.count("input 'x'") == 1
    assert ok(mlcli("job", "list")) == []


def test_outputs_with_a_name_are_registered(mlcli: Mlcli) -> None:
    job: dict[str, Any] = {
        "command": "echo m > ${{outputs.model}}/m; echo t > ${{outputs.table}}; echo p > ${{outputs.plain}}/p",
        "outputs": {
            "model": {"type": "custom_model", "name": "made"},
            "table": {"type": "uri_file", "name": "table", "version": "7", "path": "azureml://datastores/${{default_datastore}}/paths/res/${{name}}/${{output_name}}.csv"},
            "plain": {},
        },
    }  # fmt: skip
    assert run(mlcli, "maker", **job).code == 0
    registered = ok(mlcli("job", "show", "maker"))["resolved"]["registered"]
    assert registered == {
        "model": {"noun": "model", "name": "made", "version": "1"},
        "table": {"noun": "data", "name": "table", "version": "7"},
    }
    store = ok(mlcli("datastore", "show", "workspaceblobstore"))["path"]
    table = ok(mlcli("data", "show", "table"))
    assert (table["path"], table["job_name"]) == (f"{store}/res/maker/table.csv", "maker")
    assert Path(table["path"]).read_text() == "t\n"
    assert ok(mlcli("model", "show", "made"))["type"] == "custom_model"
    again = run(mlcli, "again", **job)
    assert "the data asset 'table' has a version '7' already" in again.stderr
    ok(mlcli("job", "download", "-n", "maker", "--all", "-p", "out"))
    kept = mlcli.cwd / "out" / "maker" / "named-outputs"
    assert [(kept / part).read_text() for part in ("model/m", "table/table.csv", "plain/p")] == ["m\n", "t\n", "p\n"]
    ok(mlcli("job", "delete", "maker", "--yes"))
    read = {"m": {"type": "custom_model", "path": "azureml:made:1"}}
    assert run(mlcli, "reader", command="cat ${{inputs.m}}/m", inputs=read).code == 0
    assert log(mlcli, "reader") == "m\n"


def test_what_a_job_has_made_is_named_by_the_job(mlcli: Mlcli) -> None:
    command = "echo a > outputs/a; echo o > ${{outputs.out}}/o"
    assert run(mlcli, "first", command=command, outputs={"out": {}}).code == 0
    paths = [
        "runs:/first/outputs/a",
        "runs:/first/a",
        "azureml://jobs/first/outputs/artifacts/paths/outputs/a",
        "azureml://datastores/workspaceartifactstore/paths/ExperimentRun/dcid.first/outputs/a",
        "azureml://jobs/first/outputs/out/paths/o",
    ]
    inputs = {f"i{number}": {"type": "uri_file", "path": path} for number, path in enumerate(paths)}
    told = " ".join(f"${{{{inputs.{name}}}}}" for name in inputs)
    assert run(mlcli, "second", command=f"cat {told}", inputs=inputs).code == 0
    assert log(mlcli, "second").split() == ["a", "a", "a", "a", "o"]
    made = ok(mlcli("model", "create", "-n", "m", "--path", "runs:/first/outputs/a"))
    assert made["path"] == "azureml://jobs/first/outputs/artifacts/paths/outputs/a"
    ok(mlcli("model", "download", "m", "-p", "got"))
    assert (mlcli.cwd / "got" / "m" / "a").read_text() == "a\n"


def test_a_failed_job_registers_nothing_and_what_is_missing_is_told(mlcli: Mlcli) -> None:
    output = {"out": {"type": "uri_file", "name": "made"}}
    assert run(mlcli, "bad", command="echo x > ${{outputs.out}}; exit 3", outputs=output).code == 1
    assert run(mlcli, "empty", command="true", outputs=output).code == 0
    assert ok(mlcli("data", "list")) == []
    shown = ok(mlcli("job", "show", "empty"))
    assert "output out is not registered: the job has not written" in shown["status_message"]


def test_an_end_seen_by_many_is_registered_once(mlcli: Mlcli, until: Callable[..., Any]) -> None:
    (mlcli.cwd / "job.yml").write_text(
        json.dumps(
            {
                "command": "echo x > ${{outputs.o}}/x",
                "environment": "current",
                "outputs": {"o": {"name": "made"}, "two": {"name": "made"}},
            }
        )
    )
    ok(mlcli("job", "create", "-f", "job.yml", "--name", "j"))
    until((mlcli.home / "workspaces/default/runs/j/exit.json").exists)
    looking = [mlcli.start("job", "show", "j") for _ in range(4)]
    for one in looking:
        one.communicate()
        assert one.returncode == 0
    register_outputs(Workspace(mlcli.home, "default", Settings()), "j")  # who died before the end was written down
    made = ok(mlcli("data", "list", "-n", "made"))
    assert sorted((one["version"], one["output_name"]) for one in made) == [("1", "o"), ("2", "two")]
