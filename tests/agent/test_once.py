"""One run folder starts one command, whoever asks, however often, and whoever dies meanwhile."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import random
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from mlcli import agent
from tests.agent.helpers import FOLDER, FOR_EVER, RunFolder, lives, wait_for

if TYPE_CHECKING:
    from pathlib import Path

COUNTED = "echo started >> ../count"


def count(run: RunFolder) -> int:
    path = run.path / "count"
    return path.read_text().count("started") if path.exists() else 0


def test_a_second_start_answers_the_first(run: RunFolder) -> None:
    first = run.start(f"{COUNTED}; {FOR_EVER}")
    run.launch(f"{COUNTED}; {FOR_EVER}")
    assert run.start() == first
    assert not (run.path / "launch.json").exists()
    wait_for(lambda: count(run))
    assert count(run) == 1


def test_fifty_starts_at_once_start_one(run: RunFolder) -> None:
    run.launch(f"{COUNTED}; {FOR_EVER}")
    argv = run.argv("start", str(run.path))
    starters = [subprocess.Popen(argv, stdout=subprocess.PIPE) for _ in range(50)]
    told = [json.loads(starter.communicate()[0]) for starter in starters]
    assert {record["agent"]["pid"] for record in told} == {run.agent["pid"]}
    wait_for(lambda: count(run))
    assert count(run) == 1


@pytest.mark.parametrize("seed", range(12))
def test_a_starter_killed_anywhere_leaves_one_start(run: RunFolder, seed: int) -> None:
    run.launch(COUNTED)
    starter = subprocess.Popen(run.argv("start", str(run.path)), stdout=subprocess.DEVNULL)
    time.sleep(random.Random(seed).uniform(0.005, 0.04))
    starter.kill()
    starter.wait()
    if not (run.path / "launch.json").exists() and run.agent is None:
        pytest.fail("nobody can start this run any more")
    assert "agent" in run.start()
    assert run.ended()["code"] == 0
    assert count(run) == 1


@pytest.mark.parametrize("seed", range(12))
def test_an_agent_killed_anywhere_is_seen_and_leaves_nothing(run: RunFolder, seed: int) -> None:
    """Never for ever running, never told as completed, and what it has started can be ended."""
    started = run.start(FOR_EVER)["agent"]
    time.sleep(random.Random(seed).uniform(0, 0.02))
    os.kill(started["pid"], 9)
    told = wait_for(lambda: (seen := run.observe())["sight"] != "running" and seen)
    assert told["sight"] == "gone"
    run.cancel()
    wait_for(lambda: not run.processes())
    assert not lives(started["command"]["pid"])


def test_secrets_do_not_outlive_a_starter_that_died(run: RunFolder) -> None:
    """Killed right after its fork: the agent itself removes the launch file, before the command begins."""
    run.launch("test ! -e ../launch.json && echo gone")
    code = f"import os, sys; sys.path.append({FOLDER!r}); import agent; folder = {str(run.path)!r}; "
    code += "agent._fork_agent(folder, agent._lock(folder)); os.kill(os.getpid(), 9)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert run.ended()["code"] == 0
    assert run.log() == b"gone\n"


def test_a_run_cancelled_before_it_starts_never_does(run: RunFolder) -> None:
    run.launch(COUNTED)
    assert run.cancel()["exit"]["cause"] == "canceled"
    assert run.start()["exit"]["cause"] == "canceled"
    assert run.observe()["sight"] == "exited"
    assert not (run.path / "launch.json").exists()
    assert count(run) == 0


def test_cancel_and_start_at_once_agree(tmp_path: Path) -> None:
    """Either the command never ran, or it was ended; the record says cancelled both times."""
    for number in range(10):
        run = RunFolder(tmp_path / str(number))
        run.launch(FOR_EVER)
        both = [
            subprocess.Popen(run.argv(verb, str(run.path)), stdout=subprocess.DEVNULL) for verb in ("start", "cancel")
        ]
        assert [process.wait() for process in both] == [0, 0]
        assert run.ended()["cause"] == "canceled"
        assert run.processes() == []


def test_nothing_to_launch_is_an_error(run: RunFolder) -> None:
    done = subprocess.run(run.argv("start", str(run.path)), capture_output=True, check=False)
    assert done.returncode == 1
    assert b"nothing to launch" in done.stderr
    assert run.observe()["sight"] == "absent"


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    assert "No such file" in agent.start(str(tmp_path / "nowhere"))["error"]


def test_a_launch_file_of_another_version_is_refused(run: RunFolder) -> None:
    assert "version" in run.start("true", version=99)["error"]


def test_without_file_locks_the_first_claim_counts(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some network file systems have none."""

    def no_locks(file: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    monkeypatch.setattr(agent, "CLAIM_PATIENCE_S", 0.05)
    run.launch("true")
    os.close(agent._lock(str(run.path)))
    with pytest.raises(FileExistsError):
        agent._lock(str(run.path))
    (run.path / "exit.json").write_text("{}")
    os.close(agent._lock(str(run.path)))


def test_a_run_that_somebody_is_starting_is_starting(run: RunFolder) -> None:
    lock = agent._lock(str(run.path))
    assert run.observe()["sight"] == "starting"
    os.close(lock)
    assert run.observe()["sight"] == "absent"
