"""Many commands at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.faults.helpers import Jobs


def test_a_first_crowd_in_an_empty_home(jobs: Jobs) -> None:
    """All of them find no workspace, and make one."""
    submitted(jobs, 8)


@pytest.mark.slow
def test_two_hundred_at_once(jobs: Jobs) -> None:
    submitted(jobs, 200)


def submitted(jobs: Jobs, count: int) -> None:
    (jobs.mlcli.cwd / "src").mkdir()
    (jobs.mlcli.cwd / "src" / "train.py").write_text("print('x')\n")
    file = jobs.file('cat train.py; echo "$AZUREML_RUN_ID ran"', code="src")
    names = {f"job_{number}" for number in range(count)}
    with ThreadPoolExecutor(count) as crowd:
        told = [*crowd.map(lambda name: jobs.mlcli("job", "create", "-f", file, "-n", name, "-o", "none"), names)]
    assert {one.code for one in told} == {0}, told
    rows = jobs.settled()
    assert set(rows) == names
    assert {row["status"] for row in rows.values()} == {"Completed"}
    for name in names:
        assert jobs.log(name) == f"print('x')\n{name} ran\n".encode()


def test_the_only_line_of_a_short_job_is_always_shown(jobs: Jobs) -> None:
    file = jobs.file("echo the only line")
    for _ in range(10):
        assert jobs.mlcli("job", "create", "-f", file, "-s", "-o", "none").output == b"the only line\n"


def test_many_watch_one_job(jobs: Jobs) -> None:
    name = jobs.create("for i in 1 2 3 4 5 6; do echo line $i; sleep 0.1; done; exit 5")
    commands = [jobs.mlcli.start("job", verb, "-n", name) for verb in ("stream", "wait", "stream", "show", "wait")]
    told = [(command.communicate(timeout=120), command.returncode) for command in commands]
    assert [code for _, code in told] == [1, 1, 1, 0, 1]
    whole = b"".join(f"line {i}\n".encode() for i in range(1, 7))
    assert told[0][0][0] == told[2][0][0] == whole
    assert jobs.settled()[name]["exit_code"] == 5
