"""A job on a node: its cores, its memory, its place behind others; on the control groups of this system."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from mlcli import agent
from tests.agent.helpers import RunFolder

NODE = {"cpus": sorted(os.sched_getaffinity(0))[:1], "memory_bytes": 128 << 20, "nice": 7}
memory_is_limited = pytest.mark.skipif(not agent.can_limit_memory(), reason="no control group may be made here")


def ended(run: RunFolder) -> dict[str, object]:
    deadline = time.monotonic() + 60
    while not (run.path / "exit.json").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    record: dict[str, object] = agent.decode((run.path / "exit.json").read_bytes())
    return record


def groups_left() -> list[str]:
    own = f"{agent.GROUP}"
    found = []
    for parent in agent._memory_parents():
        found += [name for name in os.listdir(parent) if name.startswith(own)]
    return found


def test_a_job_has_the_cores_of_its_node_and_yields(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    look = f"import os; print(sorted(os.sched_getaffinity(0)), os.nice(0) - {os.nice(0)})"
    run.start(f'{sys.executable} -c "{look}"', limits=NODE)
    assert ended(run)["code"] == 0
    assert (tmp_path / "user_logs/std_log.txt").read_text() == f"{NODE['cpus']} 7\n"


@memory_is_limited
def test_a_job_that_takes_more_memory_than_its_node_has_is_told_so(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.start(f"{sys.executable} -c 'x = bytearray(300 << 20); print(len(x))'", limits=NODE)
    record = ended(run)
    assert record["code"] == 137
    assert record["message"] == "killed: out of memory (limit 128m)"
    assert (tmp_path / "user_logs/std_log.txt").read_text() == ""


@memory_is_limited
def test_what_a_job_has_started_is_limited_with_it(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    hog = f"{sys.executable} -c 'import time; x = bytearray(90 << 20); time.sleep(3)'"
    run.start(f"{hog} & {hog} || exit 3; wait $! || exit 4", limits=NODE)
    assert ended(run)["code"] in {3, 4}
    assert "killed: out of memory (limit 128m)" in str(ended(run)["message"])


@memory_is_limited
def test_a_node_leaves_no_control_group_behind(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "a")
    run.start("true", limits=NODE)
    ended(run)
    deadline = time.monotonic() + 20
    mine = agent.decode((tmp_path / "a" / "agent.json").read_bytes())["pid"]
    while any(name.startswith(f"{agent.GROUP}{mine}-") for name in groups_left()):
        assert time.monotonic() < deadline
        time.sleep(0.02)


@memory_is_limited
def test_the_group_of_a_killed_agent_is_swept_by_the_next(tmp_path: Path) -> None:
    left = agent.memory_group(1 << 30)
    folder, name = os.path.split(left)
    dead = os.fork()
    if dead == 0:
        os._exit(0)
    os.waitpid(dead, 0)
    orphan = os.path.join(folder, f"{agent.GROUP}{dead}-00000000")
    os.mkdir(orphan)
    os.rmdir(agent.memory_group(1 << 30))
    assert not os.path.exists(orphan)
    assert os.path.exists(left), f"{name} belongs to a process that lives"
    os.rmdir(left)


def test_without_limits_nothing_is_made(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.start("cat /proc/self/cgroup", limits={})
    ended(run)
    assert agent.GROUP not in (tmp_path / "user_logs/std_log.txt").read_text()
    assert agent.memory_group(None) == ""
