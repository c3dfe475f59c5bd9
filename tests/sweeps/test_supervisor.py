"""The process that drives a sweep: a copy of the command that created it, and nothing of that command's but what it knows."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

from mlcli import agent
from mlcli.operations.forked import can_fork
from tests.sweeps.conftest import Sweeps

MLCLI = str(Path(sys.executable).with_name("mlcli"))


@pytest.mark.skipif(not agent.LINUX, reason="reads /proc")
def test_it_leads_a_session_and_holds_no_file_of_whoever_typed_the_command(sweeps: Sweeps) -> None:
    reader, writer = os.pipe()
    file = sweeps.file("sleep 60")
    done = subprocess.run(
        [MLCLI, "job", "create", "-f", str(file), "-n", "s", "-o", "none"],
        env=sweeps.mlcli.environment(),
        cwd=sweeps.mlcli.cwd,
        pass_fds=[writer],
        capture_output=True,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stdout) == (0, b""), done.stderr
    assert select.select([reader], [], [], 10)[0], "somebody still has it open"
    os.close(reader)
    who = json.loads((sweeps.folder() / "supervisor.json").read_text())
    process = Path("/proc") / str(who["pid"])
    assert os.getsid(who["pid"]) == who["pid"]
    assert (process / "cwd").readlink() == sweeps.folder().parent.parent
    assert b"create" in (process / "cmdline").read_bytes()
    sweeps.until(lambda: len(sweeps.ran()) == 2)
    assert sweeps.mlcli("job", "cancel", "-n", "s").code == 0
    assert sweeps.wait()["status"] == "Canceled"
    assert (sweeps.folder() / "system_logs" / "supervisor.log").read_bytes() == b""


@pytest.mark.skipif(not agent.LINUX, reason="reads /proc")
def test_the_sweep_that_a_job_creates_is_none_of_its_processes(sweeps: Sweeps) -> None:
    """They are ended with it; a copy of its command would be one of them."""
    file = sweeps.file("sleep 60")
    command = [MLCLI, "job", "create", "-f", str(file), "-n", "s", "-o", "none"]
    environment = {**sweeps.mlcli.environment(), agent.COOKIE: "of that job"}
    subprocess.run(command, env=environment, cwd=sweeps.mlcli.cwd, check=True)
    who = json.loads((sweeps.folder() / "supervisor.json").read_text())
    variables = (Path("/proc") / str(who["pid"]) / "environ").read_bytes()
    assert variables
    assert agent.COOKIE.encode() not in variables
    assert sweeps.mlcli("job", "cancel", "-n", "s").code == 0
    assert sweeps.wait()["status"] == "Canceled"


def test_a_process_with_threads_is_not_copied() -> None:
    code = "import threading, time; threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
    code += "from mlcli.operations.forked import can_fork; print(can_fork())"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    assert told == b"False\n"
    assert can_fork() or len(os.listdir("/proc/self/task")) > 1
