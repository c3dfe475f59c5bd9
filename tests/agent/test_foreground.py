"""``run``: the agent as the main process of a container."""

from __future__ import annotations

import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from mlcli import agent
from tests.agent.helpers import FOR_EVER, RunFolder, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator


def in_foreground(run: RunFolder) -> subprocess.Popen[bytes]:
    return subprocess.Popen(run.argv("run", str(run.path)), stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def ended(run: RunFolder) -> int:
    return subprocess.run(run.argv("run", str(run.path)), timeout=60, check=False).returncode


@pytest.fixture
def agent_of(run: RunFolder) -> Iterator[subprocess.Popen[bytes]]:
    run.launch(f"echo ready; {FOR_EVER}")
    process = in_foreground(run)
    yield process
    process.kill()
    process.communicate()


@pytest.mark.parametrize(("command", "code"), [("exit 0", 0), ("exit 3", 3), ("kill -9 $$", 137)])
def test_it_ends_with_the_command_s_code(run: RunFolder, command: str, code: int) -> None:
    run.launch(f"echo said; {command}")
    process = in_foreground(run)
    assert process.communicate(timeout=60) == (b"", b"")
    assert process.returncode == code
    assert run.record("exit.json")["code"] == code
    assert run.log() == b"said\n"
    assert not (run.path / "launch.json").exists()


def test_it_is_the_agent_itself(run: RunFolder, agent_of: subprocess.Popen[bytes]) -> None:
    wait_for(lambda: run.agent)
    assert run.agent["pid"] == agent_of.pid
    agent_of.send_signal(signal.SIGTERM)
    assert agent_of.wait(60) == 143
    assert run.record("exit.json")["message"] == agent.ENDED_FROM_OUTSIDE


def test_a_second_one_does_nothing(run: RunFolder) -> None:
    """A container that somebody starts again."""
    run.launch("exit 3")
    assert ended(run) == 3
    run.launch("echo again")
    assert ended(run) == 3
    assert run.log() == b""


def test_one_that_was_cancelled_before_starts_nothing(run: RunFolder) -> None:
    run.launch("echo started")
    agent.mark_cancelled(str(run.path))
    assert ended(run) == agent.NOT_STARTED
    assert run.record("exit.json")["cause"] == "canceled"
    assert not (run.path / "user_logs" / "std_log.txt").exists()


def test_what_cannot_be_launched_is_said(run: RunFolder) -> None:
    process = in_foreground(run)
    _, said = process.communicate(timeout=60)
    assert process.returncode == agent.NOT_STARTED
    assert b"launch.json" in said
