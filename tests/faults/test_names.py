"""Names of jobs: what they may be, and that each is given once, however many ask at the same time."""

from __future__ import annotations

import re

import pytest

from tests.faults.helpers import Jobs, refused


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../escape", "a/b", "with space", "-dash", "new\nline", "a" * 300, ".x"]
)
def test_a_name_that_cannot_be_is_refused(jobs: Jobs, name: str) -> None:
    told = jobs.mlcli("job", "create", "-f", jobs.file("true"), f"--name={name}")
    assert told.code in {1, 2}
    assert "Traceback" not in told.stderr
    assert "name" in told.stderr
    assert jobs.names() == set()


@pytest.mark.parametrize("name", ["../escape", "a b", 17])
def test_so_is_one_in_the_file_with_its_place(jobs: Jobs, name: object) -> None:
    path = jobs.mlcli.cwd / "job.yml"
    path.write_text(f"command: 'true'\nname: {name}\nenvironment: current\n")
    told = jobs.mlcli("job", "create", "-f", path)
    if name == 17:  # a number is a name when it is written as a text; the SDK takes both
        assert told.code in {0, 1}
    else:
        refused(told, "job.yml:2:7:")


def test_a_taken_name_is_refused_and_the_first_job_stays(jobs: Jobs) -> None:
    jobs.create("echo first", "-n", "mine")
    jobs.wait("mine")
    refused(jobs.mlcli("job", "create", "-f", jobs.file("echo second"), "-n", "mine"), "mine", "already")
    assert jobs.log("mine") == b"first\n"
    assert set(jobs.settled()) == {"mine"}


def test_of_many_that_want_one_name_at_once_one_gets_it(jobs: Jobs) -> None:
    file = jobs.file("echo ran")
    commands = [jobs.mlcli.start("job", "create", "-f", file, "-n", "mine") for _ in range(6)]
    answers = [(command.communicate(timeout=120), command.returncode) for command in commands]
    assert sorted(code for _, code in answers) == [0, 1, 1, 1, 1, 1]
    for (_, stderr), code in answers:
        if code:
            assert b"already" in stderr
            assert b"Traceback" not in stderr
    assert jobs.settled()["mine"]["status"] == "Completed"
    assert jobs.log("mine") == b"ran\n"


def test_names_that_are_made_up_are_readable_and_differ(jobs: Jobs) -> None:
    names = [jobs.create("true") for _ in range(4)]
    assert len(set(names)) == 4
    assert all(re.fullmatch(r"[a-z]+_[a-z]+_[a-z0-9]{6,}", name) for name in names)


def test_a_name_that_is_not_there_is_told_with_its_nearest(jobs: Jobs) -> None:
    jobs.create("true", "-n", "iris_final")
    for verb in ("show", "stream", "cancel", "download", "archive"):
        refused(jobs.mlcli("job", verb, "-n", "iris_fnal"), "iris_final", code=3)


def test_a_name_with_a_path_in_it_finds_nothing_outside(jobs: Jobs) -> None:
    jobs.create("true", "-n", "mine")
    for verb in (["show"], ["delete", "--yes"], ["stream"]):
        refused(jobs.mlcli("job", *verb, "-n", "../runs/mine"), code=3)
    assert set(jobs.settled()) == {"mine"}
