"""``mlcli job init`` as a person and as a script run it."""

from __future__ import annotations

from pathlib import Path

import pytest
from ruamel.yaml import YAML

SCRIPT = """
import argparse

parser = argparse.ArgumentParser()
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--data", required=True, help="what to read")
arguments = parser.parse_args()
print("rounds", arguments.rounds, "of", open(arguments.data).read().strip())
"""


@pytest.fixture
def project(mlcli) -> Path:
    folder: Path = mlcli.cwd
    (folder / "src").mkdir()
    (folder / "src" / "train.py").write_text(SCRIPT)
    (folder / "numbers.txt").write_text("one two\n")
    return folder


def test_the_job_validates_and_runs(mlcli, project: Path) -> None:
    made = mlcli("job", "init", "src/train.py", "--input", "data=numbers.txt")
    assert made.code == 0, made.stderr
    assert made.json["file"] == "job.yml"
    checked = mlcli("job", "validate", "-f", "job.yml", "--strict")
    assert checked.code == 0, checked.stderr
    ran = mlcli("job", "create", "-f", "job.yml", "--stream")
    assert ran.code == 0, ran.stderr
    assert "rounds 3 of one two" in ran.stdout


def test_what_is_missing_is_said_where_nobody_can_be_asked(mlcli, project: Path) -> None:
    made = mlcli("job", "init", "src/train.py")
    assert made.code == 2
    assert "--data" in made.stderr
    assert "--input data=VALUE" in made.stderr
    assert not (project / "job.yml").exists()


def test_on_a_terminal_it_asks(mlcli, project: Path) -> None:
    made = mlcli("job", "init", "src/train.py", input="numbers.txt\n\n\n", tty=True)
    assert made.code == 0, made.stdout + made.stderr
    assert "what to read" in made.stdout + made.stderr
    job = YAML(typ="safe", pure=True).load(project / "job.yml")
    assert job["inputs"]["data"] == {"type": "uri_file", "path": "numbers.txt"}
    assert (job["environment"], job["compute"]) == ("current", "local")


def test_a_file_that_exists_is_not_overwritten(mlcli, project: Path) -> None:
    (project / "job.yml").write_text("mine\n")
    refused = mlcli("job", "init", "src/train.py", "--input", "data=1")
    assert refused.code == 2
    assert "--force" in refused.stderr
    assert (project / "job.yml").read_text() == "mine\n"
    assert mlcli("job", "init", "src/train.py", "--input", "data=1", "--force").code == 0


def test_a_conda_file_beside_the_script_is_found(mlcli, project: Path) -> None:
    (project / "src" / "environment.yml").write_text("dependencies:\n  - python=3.11\n  - pip: [lightgbm]\n")
    assert mlcli("job", "init", "src/train.py", "--input", "data=1", "-f", "jobs/first.yml").code == 0
    job = YAML(typ="safe", pure=True).load(project / "jobs" / "first.yml")
    assert job["environment"] == {"conda_file": "../src/environment.yml"}
    assert job["code"] == "../src"
    assert mlcli("job", "validate", "-f", "jobs/first.yml").code == 0


def test_requirements_become_the_environment(mlcli, project: Path) -> None:
    (project / "requirements-dev.txt").write_text("numpy>=1.26\n-e .\n")
    made = mlcli("job", "init", "src/train.py", "--input", "data=1", "--environment", "requirements-dev.txt")
    assert made.code == 0
    assert '"environment": "requirements-dev.txt"' in made.stdout
    assert "# the packages of requirements-dev.txt" in (project / "job.yml").read_text()
    assert "-e ." in made.stderr
    job = YAML(typ="safe", pure=True).load(project / "job.yml")
    assert job["environment"]["conda_file"]["dependencies"][1] == {"pip": ["numpy>=1.26"]}
    assert mlcli("job", "validate", "-f", "job.yml").code == 0


def test_requirements_beside_the_script_are_found(mlcli, project: Path) -> None:
    (project / "requirements.txt").write_text("numpy\n")
    assert mlcli("job", "init", "src/train.py", "--input", "data=1").code == 0
    assert "# the packages of requirements.txt" in (project / "job.yml").read_text()


def test_a_command_of_ones_own_leaves_the_flags_alone(mlcli, project: Path) -> None:
    made = mlcli(
        "job", "init", "src/train.py", "--command", "python train.py --data x | tee 'a: b'", "--compute", "big"
    )
    assert made.code == 0, made.stderr
    job = YAML(typ="safe", pure=True).load(project / "job.yml")
    assert job["command"] == "python train.py --data x | tee 'a: b'"
    assert job["compute"] == "big"
    assert "inputs" not in job


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nowhere.py"], 3, "nowhere.py does not exist"),
        (["src"], 3, "src is a folder"),
        (["numbers.txt"], 2, "--command"),
        (["src/train.py", "--input", "data"], 2, "NAME=VALUE"),
        (["src/train.py", "--input", "data=1", "--environment", "nowhere.yml"], 3, "nowhere.yml"),
    ],
)
def test_wrong_wishes_are_refused(mlcli, project: Path, arguments: list[str], code: int, words: str) -> None:
    refused = mlcli("job", "init", *arguments)
    assert refused.code == code
    assert words in refused.stderr
    assert not (project / "job.yml").exists()
