"""Ctrl-C, a closed terminal, a reader that goes away: the watching ends, the job does not."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlcli import agent
from tests.conftest import COMMAND, Mlcli
from tests.faults.helpers import DEADLINE_S, Jobs, until, wait_for


class Terminal:
    """A terminal with ``mlcli`` in the foreground; what it prints on both streams is ``seen``."""

    def __init__(self, mlcli: Mlcli, *arguments: str | Path) -> None:
        self.seen = b""
        self._screen, inside = os.openpty()
        self.process = subprocess.Popen(
            # A suite that was started with nohup would hand its deafness to SIGHUP on.
            ["env", "--default-signal=HUP,INT", "setsid", "--ctty", str(COMMAND), *map(str, arguments)],
            stdin=inside,
            stdout=inside,
            stderr=inside,
            env=mlcli.environment(),
            cwd=mlcli.cwd,
        )
        os.close(inside)

    def press(self, key: bytes) -> None:
        os.write(self._screen, key)

    def says(self, text: str) -> None:
        """Wait until it stands there."""
        deadline = time.monotonic() + DEADLINE_S
        while text.encode() not in self.seen:
            assert time.monotonic() < deadline, self.seen
            assert self._read(), self.seen

    def ended(self) -> int:
        """Everything that is still printed, and the exit code."""
        while self._read():
            pass
        return self.process.wait(DEADLINE_S)

    def _read(self) -> bool:
        """Whether more may come."""
        ready, _, _ = select.select([self._screen], [], [], 1.0)
        if not ready:
            return True
        try:
            data = os.read(self._screen, 65536)
        except OSError:  # Linux: the last one inside is gone
            return False
        self.seen += data
        return bool(data)

    def close(self) -> None:
        """As when the window is closed: everybody inside gets SIGHUP."""
        os.close(self._screen)


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Path]:
    """A file that the jobs here wait for."""
    path = tmp_path / "go"
    yield path
    path.touch()


def waiting(gate: Path) -> str:
    return f"trap 'echo struck' INT HUP; echo one; {until(gate)}; echo two"


def went_on(jobs: Jobs, name: str, gate: Path) -> None:
    assert jobs.show(name)["status"] == "Running"
    gate.touch()
    jobs.wait(name)
    assert jobs.log(name) == b"one\ntwo\n"
    assert jobs.settled()[name]["status"] == "Completed"


@pytest.mark.parametrize("verb", ["create", "stream"])
def test_ctrl_c_ends_the_watching_and_says_what_to_do(jobs: Jobs, gate: Path, verb: str) -> None:
    if verb == "create":
        terminal = Terminal(jobs.mlcli, "job", "create", "-f", jobs.file(waiting(gate), name="mine"), "--stream")
    else:
        jobs.create(waiting(gate), "-n", "mine")
        terminal = Terminal(jobs.mlcli, "job", "stream", "-n", "mine")
    terminal.says("one")
    terminal.press(b"\x03")
    assert terminal.ended() == 130
    assert b"goes on" in terminal.seen
    assert b"mlcli job stream -n mine" in terminal.seen
    assert b"mlcli job cancel -n mine" in terminal.seen
    assert b"Traceback" not in terminal.seen
    terminal.close()
    went_on(jobs, "mine", gate)


def test_ctrl_c_while_it_is_prepared_does_not_stop_the_preparation(jobs: Jobs, slow_server) -> None:
    given = {"data": {"type": "uri_file", "path": slow_server.url("data.txt"), "mode": "download"}}
    file = jobs.file("cat ${{inputs.data}}", name="mine", inputs=given)
    terminal = Terminal(jobs.mlcli, "job", "create", "-f", file, "--stream")
    slow_server.wait_for_request()
    terminal.says("Preparing")
    terminal.press(b"\x03")
    assert terminal.ended() == 130
    terminal.close()
    assert jobs.supervisor("mine") is not None
    slow_server.open()
    jobs.wait("mine")
    assert jobs.log("mine") == slow_server.content


def test_ctrl_c_at_any_moment_of_create_leaves_a_whole_run_or_none(jobs: Jobs) -> None:
    """Pressed before the job is on its way there is none, afterwards it runs once: nothing between."""
    file = jobs.file('echo "$AZUREML_RUN_ID ran"')
    codes = {}
    for delay_ms in range(20, 320, 20):
        name = f"after_{delay_ms}_ms"
        with jobs.mlcli.start("job", "create", "-f", file, "-n", name, start_new_session=True) as command:
            time.sleep(delay_ms / 1000)
            os.killpg(command.pid, signal.SIGINT)
            _, stderr = command.communicate(timeout=60)
            codes[name] = command.returncode
        # Python may end with a traceback of its own before `main` begins, or lose the interrupt while it imports
        assert not re.search(rb'cli/main\.py", line \d+, in main', stderr), stderr
    rows = jobs.settled()
    for name, code in codes.items():
        assert code != 0 or name in rows
        if name in rows:
            assert rows[name]["status"] == "Completed"
            assert jobs.log(name) == f"{name} ran\n".encode()


@pytest.mark.parametrize("verb", ["create", "stream", "wait"])
def test_a_closed_terminal_does_not_end_the_job(jobs: Jobs, gate: Path, verb: str) -> None:
    if verb == "create":
        terminal = Terminal(jobs.mlcli, "job", "create", "-f", jobs.file(waiting(gate), name="mine"), "--stream")
    else:
        jobs.create(waiting(gate), "-n", "mine")
        terminal = Terminal(jobs.mlcli, "job", verb, "-n", "mine")
    jobs.says("mine", "one")
    if verb == "wait":
        time.sleep(0.5)
    else:
        terminal.says("one")
    terminal.close()
    terminal.process.wait(60)
    assert terminal.process.returncode != 0
    went_on(jobs, "mine", gate)


def test_hang_up_ends_neither_the_agent_nor_the_supervisor(jobs: Jobs, slow_server) -> None:
    given = {"data": {"type": "uri_file", "path": slow_server.url("data.txt"), "mode": "download"}}
    jobs.create("cat ${{inputs.data}}", "-n", "mine", inputs=given)
    slow_server.wait_for_request()
    who = jobs.supervisor("mine")
    assert who is not None
    assert os.getsid(who["pid"]) == who["pid"] != os.getsid(0)
    slow_server.open()
    jobs.wait("mine")
    assert jobs.settled()["mine"]["status"] == "Completed"


def test_the_agent_ignores_ctrl_c_and_hang_up(jobs: Jobs, gate: Path) -> None:
    name = jobs.create(waiting(gate))
    jobs.says(name, "one")
    who = jobs.agent(name)
    assert os.getsid(who["pid"]) == who["pid"] != os.getsid(0)
    for number in (signal.SIGINT, signal.SIGHUP):
        os.kill(who["pid"], number)
    assert agent.is_alive(who)
    went_on(jobs, name, gate)


@pytest.mark.parametrize("lines", [10, 200_000])
def test_a_reader_that_goes_away_is_no_error(jobs: Jobs, lines: int) -> None:
    """``mlcli job stream | head -1``; 141 is what a shell shows for a program that SIGPIPE ended."""
    name = jobs.create(f"seq {lines}")
    jobs.wait(name)
    piped = f'{COMMAND} job stream -n {name} | head -1; echo "${{PIPESTATUS[0]}}"'
    done = subprocess.run(
        ["bash", "-c", piped], env=jobs.mlcli.environment(), cwd=jobs.mlcli.cwd, capture_output=True, check=False
    )
    first, code = done.stdout.split()
    assert first == b"1"
    assert code in ({b"0", b"141"} if lines == 10 else {b"141"})
    assert done.stderr == b""


def test_a_reader_that_goes_away_while_the_job_runs(jobs: Jobs, gate: Path) -> None:
    file = jobs.file(f"echo one; {until(gate)}; echo two; echo three", name="mine")
    with jobs.mlcli.start("job", "create", "-f", file, "--stream") as command:
        assert command.stdout is not None
        assert command.stdout.readline() == b"one\n"
        command.stdout.close()
        gate.touch()
        assert command.wait(60) == 141
        assert command.stderr is not None
        assert b"Traceback" not in command.stderr.read()
    assert jobs.settled()["mine"]["status"] == "Completed"
    assert jobs.log("mine") == b"one\ntwo\nthree\n"


def test_standard_streams_that_are_closed(jobs: Jobs) -> None:
    """As some schedulers and cron jobs start programs."""
    file = jobs.file("echo ran", name="mine")
    done = subprocess.run(
        ["sh", "-c", f"exec {COMMAND} job create -f {file} <&- >&- 2>&-"],
        env=jobs.mlcli.environment(),
        cwd=jobs.mlcli.cwd,
        check=False,
    )
    assert done.returncode in {0, 1, 141}
    wait_for(lambda: "mine" in jobs.names())
    assert jobs.settled()["mine"]["status"] == "Completed"
    assert jobs.log("mine") == b"ran\n"
