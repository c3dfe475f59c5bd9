"""``mlcli environment``: registered by name, built once, shown, exported, pruned; and jobs that name one."""

from __future__ import annotations

import fcntl
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Mlcli, Result
from tests.environments.packages import wheel


@pytest.fixture
def conda(tmp_path: Path) -> Callable[..., Path]:
    """A conda file that asks for these packages, all made on the spot."""
    wheels = tmp_path / "wheels"
    for version in ("1.0", "2.0"):
        wheel(wheels, "alpha", version)

    def write(*lines: str, name: str = "conda.yml") -> Path:
        file = tmp_path / name
        listed = json.dumps(["--no-index", f"--find-links {wheels}", *lines])
        file.write_text(f"name: from_file\ndependencies:\n- pip: {listed}\n")
        return file

    return write


@pytest.fixture
def tiny(mlcli: Mlcli, conda: Callable[..., Path]) -> str:
    """A registered environment with one package."""
    assert mlcli("environment", "create", "--name", "tiny", "--conda-file", conda("alpha")).code == 0
    return "tiny"


@pytest.fixture
def job(tmp_path: Path) -> Path:
    file = tmp_path / "job.yml"
    file.write_text(
        'command: python -c "import alpha; print(alpha.version)"\nenvironment: azureml:tiny@latest\ncompute: local\n'
    )
    return file


def ok(done: Result) -> Any:
    assert done.code == 0, done.stderr
    return done.json


def test_from_a_file_of_every_generation(mlcli: Mlcli, tmp_path: Path) -> None:
    files: dict[str, dict[str, Any]] = {
        "name: e1\ndocker: {image: 'python:3.9'}\n": {"image": "python:3.9"},
        "name: e2\nversion: 3\nimage: python:3.9\nconda_file: conda.yml\n": {"image": "python:3.9"},
        "name: e6\nbuild: {local_path: docker}\n": {"description": None},
        "name: e3\nimage: python:3.9\nos_type: linux\ntags: {a: 1}\n": {"os_type": "linux", "tags": {"a": "1"}},
        "name: e4\ndocker: {build: {dockerfile: 'FROM scratch'}}\n": {"build": {"dockerfile": "FROM scratch"}},
        "name: e5\ninterpreter: current\n": {"interpreter": "current"},
    }
    (tmp_path / "conda.yml").write_text("dependencies: [python=3.11]\n")
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker" / "Dockerfile").write_text("FROM scratch\n")
    for text, expected in files.items():
        (tmp_path / "env.yml").write_text(text)
        made = ok(mlcli("environment", "create", "-f", tmp_path / "env.yml"))
        assert made.items() >= expected.items()
        shown = ok(mlcli("environment", "show", made["name"]))
        assert {key: shown[key] for key in made} == made
        assert made["version"] == ("3" if made["name"] == "e2" else "1")
    assert ok(mlcli("environment", "show", "e2:3"))["conda_file"] == {"dependencies": ["python=3.11"]}


def test_from_flags_which_win_over_the_file(mlcli: Mlcli, tmp_path: Path, conda: Callable[..., Path]) -> None:
    (tmp_path / "env.yml").write_text("name: theirs\nversion: 9\nimage: python:3.9\ndescription: old\n")
    made = ok(
        mlcli(
            *("environment", "create", "-f", tmp_path / "env.yml", "-n", "mine", "-v", "1.10", "-i", "python:3.12"),
            *(
                "-c",
                conda("alpha").name,
                "--description",
                "new: words # kept",
                "--tags",
                "a=b",
                "c=d=e",
                "--os-type",
                "linux",
            ),
            *("--set", "description=loses"),
        )
    )
    assert (made["name"], made["version"], made["image"]) == ("mine", "1.10", "python:3.12")
    assert made["conda_file"]["name"] == "from_file"
    assert (made["description"], made["tags"]) == ("new: words # kept", {"a": "b", "c": "d=e"})


def test_set_reaches_any_key(mlcli: Mlcli, tmp_path: Path) -> None:
    (tmp_path / "env.yml").write_text("name: e\nimage: a\n")
    made = ok(mlcli("environment", "create", "-f", tmp_path / "env.yml", "--set", "image=b:1", "tags.x=1", "version=4"))
    assert (made["image"], made["tags"], made["version"]) == ("b:1", {"x": "1"}, "4")


def test_versions_count_by_themselves_and_none_is_replaced(mlcli: Mlcli) -> None:
    for number in ("1", "2"):
        assert ok(mlcli("environment", "create", "-n", "e", "-i", f"image:{number}"))["version"] == number
    again = mlcli("environment", "create", "-n", "e", "-v", "2", "-i", "image:2")
    assert ok(again)["version"] == "2"
    assert "already" in again.stderr
    other = mlcli("environment", "create", "-n", "e", "-v", "2", "-i", "image:3")
    assert other.code == 1
    assert "another definition" in other.stderr
    assert "3" in other.stderr
    assert ok(mlcli("environment", "show", "e"))["image"] == "image:2"


def test_two_at_once_make_two_versions(mlcli: Mlcli) -> None:
    running = [mlcli.start("environment", "create", "-n", "e", "-i", f"image:{number}") for number in range(4)]
    made = [json.loads(process.communicate()[0]) for process in running]
    assert sorted(one["version"] for one in made) == ["1", "2", "3", "4"]


def test_the_folder_of_a_docker_build_is_kept(mlcli: Mlcli, tmp_path: Path) -> None:
    context = tmp_path / "docker"
    context.mkdir()
    (context / "Dockerfile").write_text("FROM scratch\nCOPY kept /\n")
    (context / "kept").write_text("first")
    (context / "left").write_text("out")
    (context / ".dockerignore").write_text("left\n")
    made = ok(mlcli("environment", "create", "-n", "d", "-b", context))
    (context / "kept").write_text("second")
    (context / "Dockerfile").write_text("FROM other\n")
    kept = Path(made["build"]["path"])
    assert (kept / "kept").read_text() == "first"
    assert not (kept / "left").exists()
    assert mlcli("environment", "show", "d", "--dockerfile").stdout == "FROM scratch\nCOPY kept /\n"
    assert mlcli("environment", "create", "-n", "d", "-v", "1", "-b", context).code == 1
    (context / "kept").write_text("first")
    (context / "Dockerfile").write_text("FROM scratch\nCOPY kept /\n")
    assert ok(mlcli("environment", "create", "-n", "d", "-v", "1", "-b", context))["version"] == "1"


WRONG = {
    "name: e\nimagge: x\n": ("env.yml:2:1", "did you mean 'image'"),
    "name: e\n": ("env.yml:1:1", "image, build, conda_file"),
    "image: x\n": ("env.yml:1:1", "name"),
    "name: e\nimage: [x]\n": ("env.yml:2:8", "error"),
    "name: e\nconda_file: nowhere.yml\n": ("env.yml:2:13", "there is no file 'nowhere.yml'"),
    "name: e\nimage: a\nbuild: {path: .}\n": ("env.yml:3:", "not both"),
    "name: e\nimage: {\n": ("env.yml:3:1", "error"),
    "name: a b\nimage: x\n": ("'a b'", "letters, digits"),
    "name: e\nversion: 1/2\nimage: x\n": ("'1/2'", "version of an environment"),
    "command: echo\nenvironment: current\n": ("env.yml describes a job", "an environment has a 'name'"),
    "dependencies: [python]\n": ("is a conda file", "--conda-file"),
}


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_file_is_told_with_its_place(mlcli: Mlcli, tmp_path: Path, text: str) -> None:
    (tmp_path / "env.yml").write_text(text)
    done = mlcli("environment", "create", "-f", "env.yml")
    assert done.code in {1, 2}
    assert done.stdout == ""
    for expected in WRONG[text]:
        assert expected in done.stderr
    assert "Traceback" not in done.stderr
    assert ok(mlcli("environment", "list")) == []


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["create"], 2, "--file FILE"),
        (["create", "-n", "x"], 2, "what is it made from"),
        (["create", "-n", "x", "-c", "nowhere.yml"], 2, "there is no file nowhere.yml"),
        (["create", "-n", "x", "-i", "X Y"], 2, "'X Y' is not a name that an image can have"),
        (["create", "-n", "x", "-b", "nowhere"], 2, "there is no folder nowhere"),
        (["create", "-n", "x", "-b", "."], 3, "there is no Dockerfile in"),
        (["create", "-f", "nowhere.yml"], 3, "there is no file nowhere.yml"),
        (["show", "nowhere"], 3, "mlcli environment create --name nowhere"),
        (["show", "x:1", "--version", "2"], 2, "which version"),
        (["show", "x", "--version", "2", "--label", "prod"], 2, "which version"),
        (["show", "a b"], 2, "does not name an environment"),
        (["show"], 2, "which environment?"),
        (["show", "AzureML-AutoML"], 1, "AutoML"),
        (["show", "AzureML-Minimal", "--docker", "--no-docker"], 2, "both given"),
        (["update", "x"], 2, "nothing to change"),
        (["build"], 2, "--name, or a --file"),
        (["build-log"], 2, "whose build log"),
        (["build-log", "--fingerprint", "abc"], 3, "no build log"),
        (["build-log", "--fingerprint", "../../x"], 3, "no build log"),
        (["build-log", "--job-name", "nobody"], 3, "nobody"),
        (["delete", "nowhere", "--yes"], 3, "nowhere"),
        (["archive", "nowhere"], 3, "nowhere"),
        (["prune", "--all", "--unused"], 2, "--all takes everything"),
        (["prune", "--older-than", "soon"], 2, "not a span of time"),
    ],
)
def test_what_cannot_be_done_is_told(mlcli: Mlcli, arguments: list[str], code: int, words: str) -> None:
    done = mlcli("environment", *arguments)
    assert done.code == code, done.stderr
    assert words in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_a_label_that_is_not_there_is_not_taken_away(mlcli: Mlcli) -> None:
    ok(mlcli("environment", "create", "-n", "e", "-i", "x"))
    ok(mlcli("environment", "update", "e", "--add-label", "prod"))
    refused = mlcli("environment", "update", "e", "--remove-label", "test")
    assert refused.code == 2
    assert "it has: prod" in refused.stderr


def test_lists(mlcli: Mlcli) -> None:
    assert ok(mlcli("environment", "list")) == []
    for name, image in [("b", "x:1"), ("a", "x:2"), ("b", "x:3")]:
        ok(mlcli("environment", "create", "-n", name, "-i", image))
    assert [(one["name"], one["latest_version"]) for one in ok(mlcli("environment", "list"))] == [
        ("a", "1"),
        ("b", "2"),
    ]
    assert [one["version"] for one in ok(mlcli("environment", "list", "-n", "b"))] == ["2", "1"]
    assert mlcli("environment", "list", "-o", "table").stdout.splitlines()[0].split() == [
        "Name",
        "Latest",
        "version",
        "Description",
    ]
    assert len(ok(mlcli("environment", "list", "--max-results", "1"))) == 1
    assert mlcli("environment", "archive", "-n", "b", "--version", "2").code == 0
    assert ok(mlcli("environment", "show", "b"))["version"] == "1"
    assert [one["version"] for one in ok(mlcli("environment", "list", "-n", "b"))] == ["1"]
    assert mlcli("environment", "archive", "-n", "b").code == 0
    assert [one["name"] for one in ok(mlcli("environment", "list"))] == ["a"]
    assert [one["name"] for one in ok(mlcli("environment", "list", "--archived-only"))] == ["b"]
    assert [one["name"] for one in ok(mlcli("environment", "list", "--include-archived"))] == ["a", "b"]
    gone = mlcli("environment", "show", "b")
    assert gone.code == 3
    assert "restore" in gone.stderr
    assert mlcli("environment", "restore", "-n", "b").code == 0
    assert ok(mlcli("environment", "show", "b"))["version"] == "2"


def test_on_a_terminal_it_is_read_by_people(mlcli: Mlcli, tiny: str) -> None:
    assert "Latest version" in mlcli("environment", "list", tty=True).stdout
    shown = mlcli("environment", "show", tiny, tty=True).stdout
    assert "pip: alpha" in shown
    assert "not built" in shown
    assert "built" in mlcli("environment", "build", tiny, tty=True).stdout
    assert "1 environments" in mlcli("environment", "list", "--cached", tty=True).stdout
    assert "1 would go" in mlcli("environment", "prune", "--dry-run", tty=True).stdout


def test_what_may_change(mlcli: Mlcli, tiny: str) -> None:
    done = mlcli(
        *(
            "environment",
            "update",
            tiny,
            "--set",
            "description=Words = kept",
            "tags.stage=final",
            "--add-label",
            "prod",
        ),
    )
    changed = ok(done)
    assert (changed["description"], changed["tags"], changed["labels"]) == (
        "Words = kept",
        {"stage": "final"},
        ["prod"],
    )
    assert ok(mlcli("environment", "update", "tiny@prod", "--remove", "tags.stage"))["tags"] == {}
    refused = mlcli("environment", "update", tiny, "--set", "image=other")
    assert refused.code == 2
    assert "once the environment is created" in refused.stderr
    assert mlcli("environment", "update", tiny, "--add-label", "latest").code == 2


def test_it_is_built_now_once_and_its_log_is_at_hand(mlcli: Mlcli, tiny: str) -> None:
    before = ok(mlcli("environment", "show", tiny))["on_this_machine"]
    assert (before["builder"], before["cached"], before["build_log"]) == ("venv", False, None)
    assert mlcli("environment", "show", tiny, "--log").code == 3
    first = mlcli("environment", "build", tiny)
    assert "alpha==2.0" in ok(first)["resolved"]
    assert "alpha==2.0" in first.stderr
    second = mlcli("environment", "build", f"azureml:{tiny}:1")
    assert ok(second)["was_cached"]
    assert second.stderr == ""
    after = ok(mlcli("environment", "show", tiny))["on_this_machine"]
    assert after["cached"]
    assert after["fingerprint"] == before["fingerprint"] == ok(first)["fingerprint"]
    log = Path(after["build_log"]).read_text()
    assert "alpha==2.0" in log
    key = after["fingerprint"]
    for asked in (
        *(["show", tiny, "--log"], ["build-log", tiny]),
        *(["build-log", "--fingerprint", key], ["build-log", "--fingerprint", key[:12]]),
    ):
        assert mlcli("environment", *asked).stdout == log
    (built,) = ok(mlcli("environment", "list", "--cached"))
    assert (built["fingerprint"], built["builder"]) == (after["fingerprint"], "venv")
    assert built["size"] > 1000
    assert built["used_at"] >= built["built_at"]


def test_a_build_that_failed_says_so_and_is_tried_again(
    mlcli: Mlcli, conda: Callable[..., Path], tmp_path: Path
) -> None:
    ok(mlcli("environment", "create", "-n", "broken", "-c", conda("delta")))
    failed = mlcli("environment", "build", "broken")
    assert failed.code == 1
    assert "'delta' was not found" in failed.stderr
    assert failed.stdout == ""
    shown = ok(mlcli("environment", "show", "broken"))["on_this_machine"]
    assert not shown["cached"]
    assert "'delta' was not found" in shown["last_failure"]
    assert "delta" in mlcli("environment", "build-log", "broken").stdout
    wheel(tmp_path / "wheels", "delta", "1.0")
    assert "delta==1.0" in ok(mlcli("environment", "build", "broken"))["resolved"]
    assert ok(mlcli("environment", "show", "broken"))["on_this_machine"]["last_failure"] is None


def test_a_file_is_built_without_being_registered(mlcli: Mlcli, tmp_path: Path, conda: Callable[..., Path]) -> None:
    conda("alpha==1.0")
    (tmp_path / "env.yml").write_text("conda_file: conda.yml\n")
    assert "alpha==1.0" in ok(mlcli("environment", "build", "-f", "env.yml"))["resolved"]
    assert ok(mlcli("environment", "list")) == []


def test_a_job_names_it_and_tells_what_it_ran_in(mlcli: Mlcli, tiny: str, job: Path) -> None:
    done = mlcli("job", "create", "-f", job, "-n", "first", "--stream", "-o", "none")
    assert (done.code, done.stdout) == (0, "2.0\n"), done.stderr
    resolved = ok(mlcli("job", "show", "first"))["resolved"]
    assert (resolved["environment_name"], resolved["runs_in"], resolved["image"]) == (f"{tiny}:1", "host", None)
    assert resolved["python"] == ".".join(map(str, sys.version_info[:3]))
    assert "alpha==2.0" in resolved["packages"]
    assert (
        resolved["environment_fingerprint"] == ok(mlcli("environment", "show", tiny))["on_this_machine"]["fingerprint"]
    )
    assert "alpha==2.0" in mlcli("environment", "build-log", "--job-name", "first").stdout
    shown = mlcli("job", "show", "first", tty=True).stdout
    assert "tiny:1" in shown
    assert resolved["python"] in shown


def test_another_job_runs_in_exactly_that(
    mlcli: Mlcli, tiny: str, job: Path, tmp_path: Path, conda: Callable[..., Path]
) -> None:
    assert mlcli("job", "create", "-f", job, "-n", "first", "--stream", "-o", "none").code == 0
    first = ok(mlcli("job", "show", "first"))["resolved"]
    wheel(tmp_path / "wheels", "alpha", "3.0")
    ok(mlcli("environment", "create", "-n", tiny, "-c", conda("alpha>=1")))
    job.write_text(job.read_text().replace("azureml:tiny@latest", "azureml:gone:7"))

    again = mlcli("job", "create", "-f", job, "-n", "again", "--environment-of", "first", "--stream", "-o", "none")
    assert (again.code, again.stdout) == (0, "2.0\n"), again.stderr
    assert ok(mlcli("job", "show", "again"))["resolved"]["environment_fingerprint"] == first["environment_fingerprint"]

    assert mlcli("environment", "prune", "--all", "--yes").code == 0
    pinned = mlcli("job", "create", "-f", job, "-n", "pinned", "--environment-of", "first", "--stream", "-o", "none")
    assert (pinned.code, pinned.stdout) == (0, "2.0\n"), pinned.stderr
    shown = ok(mlcli("job", "show", "pinned"))
    assert shown["resolved"]["packages"] == first["packages"]
    assert (shown["environment"]["name"], shown["environment"]["version"]) == (tiny, "1")


def test_environment_of_and_other_words_about_the_environment(mlcli: Mlcli, job: Path, tmp_path: Path) -> None:
    (tmp_path / "plain.yml").write_text("command: echo hi\nenvironment: current\n")
    assert mlcli("job", "create", "-f", "plain.yml", "-n", "plain", "--stream", "-o", "none").code == 0
    assert (
        mlcli("job", "create", "-f", "plain.yml", "--environment-of", "plain", "--stream", "-o", "none").stdout
        == "hi\n"
    )
    for extra, code, words in [
        (["--docker"], 2, "ran on the host"),
        (["--set", "environment=current"], 2, "both say what the job runs in"),
        (["--set", "environment.image=x"], 2, "both say what the job runs in"),
    ]:
        done = mlcli("job", "create", "-f", job, "--environment-of", "plain", *extra)
        assert (done.code, words in done.stderr) == (code, True), done.stderr
    missing = mlcli("job", "create", "-f", job, "--environment-of", "plan")
    assert missing.code == 3
    assert "plain" in missing.stderr


def test_exported_it_makes_the_same_again(mlcli: Mlcli, tiny: str, tmp_path: Path) -> None:
    ok(mlcli("environment", "update", tiny, "--set", "description=d: e", "tags.a=b"))
    first = ok(mlcli("environment", "show", tiny))
    text = mlcli("environment", "export", tiny).stdout
    mlcli("workspace", "create", "--name", "other")
    made = mlcli("environment", "create", "-f", "-", "-w", "other", input=text)
    same = {key: value for key, value in ok(made).items() if key not in {"workspace", "creation_context"}}
    assert first.items() >= same.items()
    unbuilt = mlcli("environment", "export", tiny, "--pinned")
    assert unbuilt.code == 1
    assert "environment build" in unbuilt.stderr
    ok(mlcli("environment", "build", tiny))
    ok(mlcli("environment", "export", tiny, "--pinned", "--file", "pinned.yml"))
    written = (tmp_path / "pinned.yml").read_text()
    assert "alpha==2.0" in written
    assert f"python=={sys.version_info.major}.{sys.version_info.minor}." in written


def test_exported_with_the_folder_of_its_build(mlcli: Mlcli, tmp_path: Path) -> None:
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker" / "Dockerfile").write_text("FROM scratch\n")
    ok(mlcli("environment", "create", "-n", "d", "-b", "docker"))
    ok(mlcli("environment", "export", "d", "--file", "out.yml"))
    assert mlcli("environment", "export", "d", "--file", "out.yml").code == 2
    made = ok(mlcli("environment", "create", "-f", "out.yml", "-n", "copy"))
    assert (Path(made["build"]["path"]) / "Dockerfile").read_text() == "FROM scratch\n"


def test_deleted_it_is_gone_and_its_jobs_stay(mlcli: Mlcli, tiny: str, job: Path) -> None:
    assert mlcli("job", "create", "-f", job, "-n", "first", "--stream", "-o", "none").code == 0
    assert mlcli("environment", "delete", tiny).code == 2
    assert mlcli("environment", "delete", tiny, "--version", "1", "--yes").code == 0
    assert ok(mlcli("environment", "list")) == []
    assert ok(mlcli("job", "show", "first"))["resolved"]["environment_name"] == "tiny:1"
    refused = mlcli("job", "create", "-f", job)
    assert refused.code == 1
    assert "there is no environment named 'tiny'" in refused.stderr


def test_prune_frees_what_is_not_used(mlcli: Mlcli, tiny: str, job: Path, conda: Callable[..., Path]) -> None:
    ok(mlcli("environment", "create", "-n", "idle", "-c", conda("alpha==1.0")))
    idle = ok(mlcli("environment", "build", "idle"))["fingerprint"]
    mlcli("workspace", "create", "--name", "second")
    assert mlcli("job", "create", "-f", job, "-n", "first", "--stream", "-o", "none", "-w", "second").code == 1
    ok(mlcli("environment", "create", "-n", tiny, "-c", conda("alpha"), "-w", "second"))
    assert mlcli("job", "create", "-f", job, "-n", "first", "--stream", "-o", "none", "-w", "second").code == 0
    used = ok(mlcli("environment", "show", tiny))["on_this_machine"]["fingerprint"]

    assert mlcli("environment", "prune").code == 2  # nobody is there to ask
    dry = ok(mlcli("environment", "prune", "--dry-run"))
    assert [one["fingerprint"] for one in dry["environments"]] == [idle]
    assert ok(mlcli("environment", "prune", "--unused", "--older-than", "1", "--yes"))["environments"] == []
    gone = ok(mlcli("environment", "prune", "--yes"))
    assert [one["fingerprint"] for one in gone["environments"]] == [idle]
    assert gone["freed"] > 1000
    assert [one["fingerprint"] for one in ok(mlcli("environment", "list", "--cached"))] == [used]
    old = time.time() - 40 * 86400
    os.utime(mlcli.home / "environments" / used / "environment.json", (old, old))
    assert [
        one["fingerprint"] for one in ok(mlcli("environment", "prune", "--older-than", "30", "--yes"))["environments"]
    ] == [used]
    assert ok(mlcli("environment", "list", "--cached")) == []
    assert ok(mlcli("environment", "show", tiny))["name"] == tiny


def test_prune_clears_away_what_failed_builds_have_left(
    mlcli: Mlcli, tiny: str, conda: Callable[..., Path], tmp_path: Path
) -> None:
    assert mlcli("environment", "build", tiny).code == 0
    (tmp_path / "failing.yml").write_text(
        f"command: 'true'\nenvironment: {{conda_file: {conda('beta', name='beta.yml')}}}\n"
    )
    assert mlcli("job", "create", "-f", "failing.yml", "-n", "failing", "--stream").code == 1
    ok(mlcli("environment", "create", "-n", "broken", "-c", conda("delta")))
    assert mlcli("environment", "build", "broken").code == 1
    cache = mlcli.home / "environments"
    killed = cache / ("0" * 64)
    killed.mkdir()
    (killed / "half").write_bytes(bytes(5000))
    assert len(list(cache.glob("*.failed.json"))) == 2

    assert ok(mlcli("environment", "prune", "--older-than", "1", "--yes"))["failed_builds"] == []
    dry = ok(mlcli("environment", "prune", "--unused", "--dry-run"))
    assert len(dry["failed_builds"]) == 2  # a job was made for the third: it can still show its log
    assert ok(mlcli("environment", "prune", "--all", "--dry-run"))["freed"] == 0
    assert "3 would go" in mlcli("environment", "prune", "--all", "--dry-run", tty=True).stdout
    gone = ok(mlcli("environment", "prune", "--all", "--yes"))
    assert (len(gone["environments"]), len(gone["failed_builds"])) == (1, 3)
    assert gone["freed"] > 5000
    assert list(cache.iterdir()) == []


def test_prune_spares_a_build_that_goes_on(mlcli: Mlcli) -> None:
    key = "0" * 64
    cache = mlcli.home / "environments"
    cache.mkdir(parents=True)
    (cache / f"{key}.log").write_text("installing\n")
    with (cache / f"{key}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert ok(mlcli("environment", "prune", "--all", "--yes"))["failed_builds"] == []
        assert sorted(file.name for file in cache.iterdir()) == [f"{key}.lock", f"{key}.log"]
    assert ok(mlcli("environment", "prune", "--all", "--yes"))["failed_builds"] == [key]
    assert list(cache.iterdir()) == []


def test_prune_spares_what_a_live_job_uses(mlcli: Mlcli, tiny: str, job: Path, until: Callable[..., Any]) -> None:
    job.write_text(job.read_text().replace("print(alpha.version)", "import time; print(1, flush=True); time.sleep(60)"))
    assert mlcli("job", "create", "-f", job, "-n", "live", "-o", "none").code == 0
    until(lambda: ok(mlcli("job", "show", "live"))["status"] == "Running")
    assert ok(mlcli("environment", "prune", "--all", "--yes"))["environments"] == []
    assert mlcli("job", "cancel", "live").code == 0
    until(lambda: ok(mlcli("job", "show", "live"))["status"] == "Canceled")
    assert len(ok(mlcli("environment", "prune", "--all", "--yes"))["environments"]) == 1


def test_a_curated_name_is_shown_with_what_it_is_mapped_to(mlcli: Mlcli, tmp_path: Path) -> None:
    done = mlcli("environment", "show", "AzureML-lightgbm-3.3")
    assert any("lightgbm" in line for line in ok(done)["conda_file"]["dependencies"][-1]["pip"])
    assert "curated" in done.stderr
    (tmp_path / "job.yml").write_text("command: python -V\nenvironment: azureml:AzureML-lightgbm-3.3@latest\n")
    planned = mlcli("job", "create", "-f", "job.yml", "--dry-run")
    assert ok(planned)["refusals"] == []
    assert any("LightGBM" in notice for notice in planned.json["notices"])
    ok(mlcli("environment", "create", "-n", "AzureML-lightgbm-3.3", "-i", "mine"))
    planned = mlcli("job", "create", "-f", "job.yml", "--dry-run")
    assert planned.json["environment"]["spec"]["name"] == "AzureML-lightgbm-3.3"
    assert not any("curated" in notice for notice in planned.json["notices"])


def test_a_damaged_registration_is_named(mlcli: Mlcli, tiny: str) -> None:
    (file,) = (mlcli.home / "workspaces" / "default" / "assets").rglob("1.json")
    file.write_text("{")
    for asked in (["show", tiny], ["build", tiny]):
        done = mlcli("environment", *asked)
        assert done.code == 1
        assert f"{file} is damaged" in done.stderr
    listed = mlcli("environment", "list")
    assert ok(listed) == []
    assert str(file) in listed.stderr
    assert mlcli("environment", "delete", "tiny:1", "--yes").code == 0


def test_a_secret_is_not_shown(mlcli: Mlcli, tmp_path: Path) -> None:
    line = "--extra-index-url https://me:hunter2@index.example/simple"
    (tmp_path / "env.yml").write_text(f"name: e\nconda_file: {{dependencies: [{{pip: ['{line}', six]}}]}}\n")
    done = [mlcli("environment", *asked) for asked in (["create", "-f", "env.yml"], ["show", "e"], ["export", "e"])]
    for one in done:
        assert one.code == 0, one.stderr
        assert "hunter2" not in one.stdout + one.stderr
        assert "***" in one.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="a small disk is mounted")
def test_a_full_disk_leaves_nothing_half_registered(mlcli: Mlcli, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], check=False, capture_output=True
    ).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        (tmp_path / "docker").mkdir()
        (tmp_path / "docker" / "Dockerfile").write_text("FROM scratch\n")
        (tmp_path / "docker" / "big").write_bytes(b"x" * 2_000_000)
        full = mlcli("environment", "create", "-n", "d", "-b", "docker", env={"MLCLI_HOME": str(disk)})
        assert full.code == 1
        assert re.search(r"could not be copied.*No space left", full.stderr)
        assert ok(mlcli("environment", "list", env={"MLCLI_HOME": str(disk)})) == []
        assert ok(mlcli("environment", "create", "-n", "d", "-i", "x", env={"MLCLI_HOME": str(disk)}))["version"] == "1"
    finally:
        subprocess.run(["umount", disk], check=True)


def test_from_a_run_configuration_of_v1(mlcli: Mlcli, tmp_path: Path) -> None:
    project = tmp_path / "project"
    (project / ".azureml").mkdir(parents=True)
    (project / "conda.yml").write_text("dependencies: [python=3.11, {pip: [six]}]\n")
    (project / ".azureml" / "train.runconfig").write_text(
        "script: train.py\nframework: Python\ntarget: local\nenvironment:\n  name: old\n"
        "  python: {userManagedDependencies: false, condaDependenciesFile: conda.yml}\n"
        "  environmentVariables: {A: b}\n"
        "  docker: {enabled: true, baseImage: 'python:3.11', baseImageRegistry: {address: r.example, username: me}}\n"
    )
    made = ok(mlcli("environment", "create", "-f", project / ".azureml" / "train.runconfig"))
    assert (made["name"], made["image"], made["environment_variables"]) == ("old", "python:3.11", {"A": "b"})
    assert made["conda_file"]["dependencies"] == ["python=3.11", {"pip": ["six"]}]
    assert made["registry"] == {"address": "r.example", "username": "me"}


def test_what_a_run_configuration_says_of_the_job_is_told(mlcli: Mlcli, tmp_path: Path) -> None:
    (tmp_path / "docker").write_text(
        "environment:\n  name: old\n  docker: {enabled: true, baseImage: a, shmSize: 2g, arguments: [--ipc, host]}\n"
        "docker: {useDocker: false}\n"
    )
    made = mlcli("environment", "create", "-f", "docker")
    assert ok(made)["image"] == "a"
    assert "resources: {shm_size: 2g, docker_args: --ipc host}" in made.stderr


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name: e\nimage: a\nos_type: Windows\n", "env.yml:3:1"),
        ("name: e\ndocker: {imge: a}\n", "env.yml:2:10"),
        ("name: e\nimage: a\nenvironmentVariables: {A: b}\n", "env.yml:3:1"),
    ],
)
def test_a_slip_is_told_with_its_place(mlcli: Mlcli, tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "env.yml").write_text(text)
    refused = mlcli("environment", "create", "-f", "env.yml")
    assert refused.code == 1
    assert told in refused.stderr


def test_flags_have_no_lines_to_point_at(mlcli: Mlcli, tmp_path: Path) -> None:
    refused = mlcli("environment", "create", "-n", "e", "-i", "a", "--os-type", "windows")
    assert refused.code == 2
    assert "Linux" in refused.stderr
    assert "1:1" not in refused.stderr


def test_a_file_of_late_2021(mlcli: Mlcli, tmp_path: Path) -> None:
    (tmp_path / "conda.yml").write_text("dependencies: [python=3.11]\n")
    (tmp_path / "env.yml").write_text("name: e\nversion: 5\nimage: a\nconda_file: file:conda.yml\n")
    made = ok(mlcli("environment", "create", "-f", "env.yml"))
    assert (made["image"], made["conda_file"]) == ("a", {"dependencies": ["python=3.11"]})


def test_an_environment_is_built_from_standard_input(mlcli: Mlcli) -> None:
    made = ok(mlcli("environment", "build", "-f", "-", input="interpreter: current\n"))
    assert made["was_cached"]


def test_a_password_is_never_kept(mlcli: Mlcli, tmp_path: Path) -> None:
    login = "{address: r.example, username: me, password: hunter2}"
    (tmp_path / "env.yml").write_text(f"name: e\nimage: r.example/x\nregistry: {login}\n")
    refused = mlcli("environment", "create", "-f", "env.yml")
    assert refused.code == 1
    assert "hunter2" not in refused.stderr
    (tmp_path / "env.yml").write_text(
        f"name: e\nimage: r.example/x\nregistry: {login.replace('password:', 'password_env:')}\n"
    )
    assert ok(mlcli("environment", "create", "-f", "env.yml"))["registry"]["password_env"]
    kept = [file.read_bytes() for file in mlcli.home.rglob("*") if file.is_file()]
    assert not any(b'password": ' in text for text in kept)


def test_a_lock_is_kept_and_exported(mlcli: Mlcli, tmp_path: Path) -> None:
    lock = "@EXPLICIT\nhttps://channel.example/linux-64/python-3.12.1-0.conda#" + "0" * 32 + "\n"
    (tmp_path / "explicit.txt").write_text(lock)
    (tmp_path / "env.yml").write_text("name: e\nconda_file: explicit.txt\n")
    assert ok(mlcli("environment", "create", "-f", "env.yml"))["lock"] == lock
    text = mlcli("environment", "export", "e").stdout
    assert ok(mlcli("environment", "create", "-f", "-", "-n", "copy", input=text))["lock"] == lock
