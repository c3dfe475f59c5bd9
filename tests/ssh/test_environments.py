"""Environments of jobs on a machine over SSH: built there, from files that are here."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.environments.packages import gated_source, wheel
from tests.faults.helpers import refused, wait_for
from tests.ssh.conftest import FarJobs


@pytest.fixture(autouse=True)
def _packages(jobs: FarJobs) -> None:
    wheel(jobs.mlcli.cwd / "wheels", "alpha")


def environment(jobs: FarJobs, *lines: str) -> dict[str, Any]:
    """A job's ``environment``, with a conda file beside the job file; packages come from the folder ``wheels``."""
    listed = "".join(f"      - {line}\n" for line in ("--no-index", f"--find-links {jobs.mlcli.cwd}/wheels", *lines))
    (jobs.mlcli.cwd / "conda.yml").write_text(f"dependencies:\n  - pip:\n{listed}")
    return {"conda_file": "conda.yml"}


def builds(jobs: FarJobs) -> list[int]:
    """Processes over there that build."""
    answer = subprocess.run(
        ["pgrep", "-f", f"{jobs.far}/package/.* build$"], capture_output=True, text=True, check=False
    )
    return [int(pid) for pid in answer.stdout.split()]


def preparation(jobs: FarJobs, name: str) -> list[str]:
    log = jobs.near(name) / "system_logs" / "preparation.log"
    return log.read_text().splitlines() if log.exists() else []


def gated(jobs: FarJobs, package: str) -> Path:
    """A package whose build waits for ``go`` in the folder that is answered."""
    gates = jobs.mlcli.cwd / "gates"
    gated_source(jobs.mlcli.cwd / "wheels", package, gates)
    return gates


def test_a_conda_file_of_python_and_pip(jobs: FarJobs) -> None:
    """Built once; the second job finds it."""
    command = "python -c 'import alpha, sys; print(alpha.version, sys.prefix)'"
    first = jobs.run(command, name="built", environment=environment(jobs, "alpha"))
    assert first.code == 0, first.stderr
    assert first.stdout.split()[0] == "1.0"
    assert first.stdout.split()[1].startswith(str(jobs.far / "environments"))
    assert " + alpha==1.0" in preparation(jobs, "built")
    again = jobs.run(command, name="found", environment=environment(jobs, "alpha"))
    assert again.stdout.splitlines()[0] == first.stdout.splitlines()[0]
    assert preparation(jobs, "found") == []
    assert jobs.near_document("found", "environment.json")["resolved"] == ["alpha==1.0"]


def test_what_cannot_be_built_fails_the_job(jobs: FarJobs) -> None:
    name = jobs.create("true", name="misspelt", environment=environment(jobs, "alhpa"))
    record = jobs.ended(name, "Failed")
    assert "'alhpa' was not found" in str(record)
    assert f"{jobs.far}/environments/" in str(record)


def test_what_cannot_be_sent_is_refused_before_there_is_a_job(jobs: FarJobs) -> None:
    file = jobs.file("true", name="refused", environment=environment(jobs, "-r /no/such/requirements.txt"))
    refused(jobs.mlcli("job", "create", "-f", file), "/no/such/requirements.txt")
    assert "refused" not in jobs.list()


def test_a_cancel_ends_the_build_there(jobs: FarJobs) -> None:
    gates = gated(jobs, "slowly")
    name = jobs.create("true", name="given_up", environment=environment(jobs, "slowly"))
    wait_for((gates / "started").exists)
    assert builds(jobs)
    jobs.cancel(name)
    jobs.ended(name, "Canceled")
    wait_for(lambda: not builds(jobs))


def test_a_killed_supervisor_is_replaced_and_the_build_is_the_same(jobs: FarJobs) -> None:
    gates = gated(jobs, "long")
    name = jobs.create("python -c 'import long'", name="orphan", environment=environment(jobs, "long"))
    wait_for((gates / "started").exists)
    who = jobs.near_document(name, "supervisor.json")
    os.killpg(who["pid"], signal.SIGKILL)
    jobs.show(name)
    (gates / "go").touch()
    jobs.ended(name)
    assert (gates / "started").read_text() == "x"
