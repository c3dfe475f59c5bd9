"""Job files that are wrong: exit code 1, every error at once with its file, line and column, and never a traceback."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.conftest import Mlcli, Result
from tests.faults.helpers import PLACE, Jobs, refused, wrapped

ROOT = Path(__file__).resolve().parents[2]
INVALID = sorted((ROOT / "tests" / "invalid").glob("*.yml"))
GOOD = "command: 'true'\nenvironment: current\n"


def told_where(told: Result, *places: str) -> None:
    """It names these places (``job.yml:3:1``), and sends nothing."""
    refused(told, *places)
    assert PLACE.search(told.stderr), told.stderr
    assert told.stdout == ""


FAULTS = {
    "a typo in a key": ("comand: 'true'\nenvironment: current\n", ["job.yml:1:1:", "command"]),
    "a wrong type": ("command: 'true'\nenvironment: current\ntags: [1, 2]\n", ["job.yml:3:"]),
    "a duplicate key": (GOOD + "tags:\n  a: 1\n  a: 2\n", ["job.yml:5:3:"]),
    "a tab": ("command: 'true'\nenvironment: current\ntags:\n\ta: 1\n", ["job.yml:4:1:", "tab"]),
    "an unknown anchor": (GOOD + "tags: *nowhere\n", ["job.yml:3:7:"]),
    "an anchor in itself": (GOOD + "tags: &a\n  x: *a\n", ["job.yml:4:"]),
    "an unknown input": (
        "command: echo ${{inputs.lr}}\nenvironment: current\ninputs: {rate: 1}\n",
        ["job.yml:1:", "rate"],
    ),
    "a missing file": ("command: 'true'\nenvironment:\n  conda_file: nowhere.yml\n", ["job.yml:3:", "nowhere.yml"]),
    "a missing code folder": (GOOD + "code: ./nowhere\n", ["job.yml:3:", "nowhere"]),
    "an include of itself": ("$schema: x\ncommand: 'true'\nenvironment: file:job.yml\n", ["job.yml"]),
    "an empty file": ("", ["job.yml:1:1:", "empty"]),
    "only a comment": ("# nothing\n", ["job.yml:"]),
    "two documents": (GOOD + "---\n" + GOOD, ["job.yml:3:"]),
    "a list": ("- command: 'true'\n", ["job.yml:1:1:"]),
    "half a document": ("command: 'true\nenvironment: current\n", ["job.yml:"]),
    "an unsafe tag": (GOOD + "tags: !!python/object/apply:os.system ['touch pwned']\n", ["job.yml:3:7:"]),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_told_with_its_place(jobs: Jobs, fault: str) -> None:
    text, words = FAULTS[fault]
    (jobs.mlcli.cwd / "job.yml").write_text(text)
    told_where(jobs.mlcli("job", "create", "-f", "job.yml"), *words)
    assert jobs.names() == set()
    assert not (jobs.mlcli.cwd / "pwned").exists()


def test_every_error_is_told_at_once_in_the_order_of_the_file(jobs: Jobs) -> None:
    text = "comand: 'true'\nenvironment: current\ntags: 3\ninputs:\n  a: 1\n  a: 2\nexperimentname: x\n"
    (jobs.mlcli.cwd / "job.yml").write_text(text)
    told = jobs.mlcli("job", "create", "-f", "job.yml")
    told_where(told)
    lines = [int(line) for line in re.findall(r"^job\.yml:(\d+):\d+:", told.stderr, re.MULTILINE)]
    assert {1, 3, 6, 7} <= set(lines)
    assert lines == sorted(lines)


def test_every_kind_of_invalid_file_from_the_command_line(mlcli: Mlcli, tmp_path: Path) -> None:
    """All in one call: each is named, nothing is sent, nothing crashes."""
    shutil.copytree(ROOT / "tests" / "invalid", tmp_path / "invalid")
    told = mlcli("job", "validate", "invalid")
    assert told.code == 1
    assert "Traceback" not in told.stderr
    assert "internal error" not in told.stderr
    assert not (mlcli.home / "workspaces").exists()
    with_warnings_only = {"unused-parameter", "missing-input"}
    for path in INVALID:
        if path.stem not in with_warnings_only and not path.with_suffix(".set").exists():
            assert path.name in told.stderr + told.stdout, path


def test_bytes_that_are_not_text(jobs: Jobs) -> None:
    (jobs.mlcli.cwd / "job.yml").write_bytes(b"command: 'true'\nenvironment: current\ndescription: caf\xe9\n")
    told_where(jobs.mlcli("job", "create", "-f", "job.yml"), "job.yml:3:17:", "UTF-8")


def test_ten_megabytes_are_refused_unread(jobs: Jobs) -> None:
    (jobs.mlcli.cwd / "job.yml").write_text(GOOD + "# padding\n" * 1_000_000)
    told_where(jobs.mlcli("job", "create", "-f", "job.yml"), "job.yml:1:1:", "MB")


def test_a_file_that_unfolds_without_end(jobs: Jobs) -> None:
    """Aliases of aliases: a few lines that would be billions of values."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10)]
    (jobs.mlcli.cwd / "job.yml").write_text(GOOD + "\n".join(lines) + "\n")
    told_where(jobs.mlcli("job", "create", "-f", "job.yml"))


@pytest.mark.parametrize("verb", [["create"], ["validate"], ["upgrade"]])
def test_a_file_that_is_not_there(jobs: Jobs, verb: list[str]) -> None:
    jobs.file("true", name="train")
    refused(jobs.mlcli("job", *verb, "-f", "trian.yml"), "trian.yml", "train.yml", code=3)
    refused(jobs.mlcli("job", *verb, "-f", "no/folder/job.yml"), "no/folder", code=3)


def test_a_folder_and_a_device(jobs: Jobs) -> None:
    (jobs.mlcli.cwd / "src").mkdir()
    refused(jobs.mlcli("job", "create", "-f", "src"), "src", "folder")
    refused(jobs.mlcli("job", "create", "-f", "/dev/null"), "empty")


def test_a_file_that_may_not_be_read(jobs: Jobs, unprivileged: list[str]) -> None:
    file = jobs.file("true")
    file.chmod(0)
    refused(wrapped(jobs.mlcli, unprivileged, "job", "create", "-f", file), file.name, "ermission denied")


def test_code_that_may_not_be_read(jobs: Jobs, unprivileged: list[str]) -> None:
    source = jobs.mlcli.cwd / "src"
    source.mkdir()
    (source / "secret.py").touch(mode=0)
    file = jobs.file("true", code="src")
    refused(wrapped(jobs.mlcli, unprivileged, "job", "create", "-f", file), "secret.py", "ermission denied")
    assert jobs.names() == set()


def test_a_home_that_cannot_be_written(jobs: Jobs, unprivileged: list[str], tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    variables: dict[str, str | None] = {"MLCLI_HOME": str(tmp_path / "locked" / "home")}
    file = jobs.file("true")
    refused(wrapped(jobs.mlcli, unprivileged, "job", "create", "-f", file, env=variables), "ermission denied")
    listed = wrapped(jobs.mlcli, unprivileged, "job", "list", env=variables)
    assert listed.code == 0 or "ermission denied" in listed.stderr, listed
    (tmp_path / "file").touch()
    refused(jobs.mlcli("job", "create", "-f", file, env={"MLCLI_HOME": str(tmp_path / "file")}), "file", "MLCLI_HOME")


def test_standard_input(jobs: Jobs) -> None:
    told_where(jobs.mlcli("job", "create", "-f", "-", input="comand: 'true'\nenvironment: current\n"), "<stdin>:1:1:")
    told_where(jobs.mlcli("job", "create", "-f", "-", input=b""), "<stdin>:1:1:")
    told_where(jobs.mlcli("job", "create", "-f", "-", input=b"\xff\xfe\x00"), "<stdin>:1:1:")
    done = jobs.mlcli("job", "create", "-f", "-", "-s", "-o", "none", input=GOOD.replace("'true'", "echo piped"))
    assert (done.code, done.stdout) == (0, "piped\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ["job", "create"],
        ["job", "create", "-f"],
        ["job", "create", "-f", "job.yml", "--strem"],
        ["job", "create", "-f", "job.yml", "extra"],
        ["job", "creat", "-f", "job.yml"],
        ["jobs", "list"],
        ["job", "list", "--max-results", "many"],
        ["job", "list", "--status", "Runing"],
        ["job", "show", "-n", "x", "-o", "jsn"],
        ["job", "show", "-n", "x", "--query", "[?"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_2(jobs: Jobs, arguments: list[str]) -> None:
    jobs.file("true")
    refused(jobs.mlcli(*arguments), code=2)


@pytest.mark.parametrize("override", ["compute", "nonsense.key=1", "tags=[", "=x", "inputs.x.y.z=1", "command="])
def test_an_override_that_cannot_be_applied(jobs: Jobs, override: str) -> None:
    told = jobs.mlcli("job", "create", "-f", jobs.file("true"), "--set", override)
    assert told.code in {1, 2}, told
    assert "Traceback" not in told.stderr
    assert "internal error" not in told.stderr
    assert jobs.names() == set()


def test_a_working_folder_that_is_gone(jobs: Jobs) -> None:
    gone = jobs.mlcli.cwd / "gone"
    gone.mkdir()
    file = jobs.file("echo ran", name="mine")
    prefix = ["sh", "-c", f'cd "{gone}" && rmdir "{gone}" && exec "$@"', "sh"]
    refused(wrapped(jobs.mlcli, prefix, "job", "create", "-f", "job.yml"), code=3)
    gone.mkdir()
    told = wrapped(jobs.mlcli, prefix, "job", "create", "-f", file)
    assert told.code == 0 or (told.code == 1 and "internal error" not in told.stderr), told
    assert "Traceback" not in told.stderr
