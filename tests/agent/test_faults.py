"""Commands that behave badly, and machines that fail."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlcli import agent
from tests.agent.helpers import FOR_EVER, RunFolder, lives, wait_for

DAEMON = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.closerange(0, 3)
        open("daemon.pid", "w").write(str(os.getpid()))
        time.sleep(1000)
    os._exit(0)
while not os.path.exists("daemon.pid") or not open("daemon.pid").read():
    time.sleep(0.01)
"""


def python(code: str) -> str:
    return f"{shlex.quote(sys.executable)} -c {shlex.quote(code)}"


# ends


def test_cancel_asks_politely_first(run: RunFolder) -> None:
    run.start("trap 'echo saved; exit 0' TERM; echo ready; while :; do sleep 0.05; done")
    run.says("ready")
    assert run.cancel()["sight"] in {"running", "exited"}
    record = run.ended()
    assert (record["cause"], record["code"], record["message"]) == ("canceled", 0, "")
    assert b"saved" in run.log()


def test_a_command_that_ignores_term_is_killed_after_the_grace(run: RunFolder) -> None:
    run.start("trap '' TERM; echo ready; while :; do sleep 0.05; done", grace_s=0.3)
    run.says("ready")
    run.cancel()
    record = run.ended()
    assert (record["cause"], record["signal"]) == ("canceled", 9)
    assert run.processes() == []


def test_cancel_twice_is_cancel_once(run: RunFolder) -> None:
    run.start("trap 'echo asked' TERM; echo ready; while :; do sleep 0.05; done", grace_s=1.0)
    run.says("ready")
    run.cancel()
    run.cancel()
    assert run.ended()["cause"] == "canceled"
    assert run.log().count(b"asked") == 1
    assert run.cancel()["sight"] == "exited"


def test_a_child_is_asked_once_though_its_parent_ends_first(run: RunFolder) -> None:
    """To many programs a second TERM means: drop everything."""
    child = "(trap 'echo asked' TERM; echo ready; while :; do sleep 0.05; done)"
    run.start(f"trap 'exit 0' TERM; {child} & wait", grace_s=0.5)
    run.says("ready")
    run.cancel()
    assert run.ended()["code"] == 0
    assert run.log().count(b"asked") == 1


def test_children_end_with_the_command(run: RunFolder) -> None:
    run.start("sleep 1000 & sleep 1000 | sleep 1000 & echo ready; wait")
    run.says("ready")
    run.cancel()
    run.ended()
    assert run.processes() == []


def test_the_time_limit(run: RunFolder) -> None:
    record = run.run(f"echo begun; {FOR_EVER}", timeout_s=0.3)
    assert (record["cause"], record["signal"]) == ("time_limit", 15)
    assert record["ended_at"] - record["started_at"] >= 0.3
    assert run.log() == b"begun\n"


def test_a_time_limit_that_is_not_reached_changes_nothing(run: RunFolder) -> None:
    assert run.run("true", timeout_s=1e9)["cause"] == "exit"


def test_term_from_elsewhere_says_so(run: RunFolder) -> None:
    """The machine is shutting down: nobody cancelled the job, and the record must not pretend it."""
    started = run.start(FOR_EVER)["agent"]
    os.kill(started["pid"], signal.SIGTERM)
    record = run.ended()
    assert record["cause"] == "canceled"
    assert "from outside mlcli" in record["message"]


def test_a_daemon_that_the_command_leaves_behind_is_ended(run: RunFolder) -> None:
    record = run.run(f"{python(DAEMON)}; exit 3")
    daemon = int((run.working_directory / "daemon.pid").read_text())
    assert not lives(daemon)
    assert record["code"] == 3
    assert str(daemon) in record["message"]
    assert "exited with code 3" in record["message"]


def test_a_daemon_is_cancelled_too(run: RunFolder) -> None:
    run.start(f"{python(DAEMON)}; echo ready; {FOR_EVER}")
    run.says("ready")
    run.cancel()
    run.ended()
    assert not lives(int((run.working_directory / "daemon.pid").read_text()))


def test_a_leftover_that_ignores_term_is_killed(run: RunFolder) -> None:
    record = run.run(
        "(trap '' TERM; echo ready; while :; do sleep 0.05; done) & until grep -q ready ../user_logs/*; do :; done",
        grace_s=0.2,
    )
    assert record["code"] == 0
    assert run.processes() == []


def test_what_finishes_by_itself_is_left_to_finish(run: RunFolder) -> None:
    record = run.run("(sleep 0.3; echo last line) & exit 0")
    assert (record["code"], record["message"]) == (0, "")
    assert run.log() == b"last line\n"


# output


def test_a_command_that_closes_its_output(run: RunFolder) -> None:
    assert run.run("echo before; exec >&- 2>&-; sleep 0.05; exit 4")["code"] == 4
    assert run.log() == b"before\n"


def test_any_bytes_are_kept_as_they_are(run: RunFolder) -> None:
    code = (
        "import sys; sys.stdout.buffer.write(bytes(range(256)) + b'10%\\r20%\\r' + b'x' * 1_000_000 + b'\\nno newline')"
    )
    run.run(python(code))
    assert run.log() == bytes(range(256)) + b"10%\r20%\r" + b"x" * 1_000_000 + b"\nno newline"


def test_a_hundred_megabytes_are_captured_whole(run: RunFolder) -> None:
    block = bytes(range(256)) * 4096
    code = "import sys\nblock = bytes(range(256)) * 4096\nfor _ in range(100): sys.stdout.buffer.write(block)"
    run.run(python(code))
    expected = hashlib.sha256(block * 100).hexdigest()
    assert hashlib.sha256(run.log()).hexdigest() == expected


def test_lines_go_on_when_the_agent_is_killed(run: RunFolder) -> None:
    run.start("echo one; until [ -e go ]; do sleep 0.01; done; echo two")
    run.says("one")
    run.kill_agent()
    (run.working_directory / "go").touch()
    run.says("two")


# starts that fail


def test_a_program_that_is_not_there(run: RunFolder) -> None:
    run.start(None, argv=["no-such-program"])
    record = run.ended()
    assert (record["cause"], record["code"]) == ("not_started", None)
    assert record["message"] == "no-such-program: no such program"


def test_a_program_that_may_not_be_run(run: RunFolder) -> None:
    script = run.working_directory / "train.sh"
    script.write_text("echo hi")
    script.chmod(0o644)
    run.start(None, argv=[str(script)])
    assert "permission denied (not an executable file" in run.ended()["message"]


def test_a_script_whose_interpreter_is_not_there(run: RunFolder) -> None:
    script = run.working_directory / "train.sh"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    run.start(None, argv=[str(script)])
    assert "interpreter in its first line" in run.ended()["message"]


def test_a_file_that_is_no_program(run: RunFolder) -> None:
    script = run.working_directory / "model.bin"
    script.write_bytes(b"\0\1\2")
    script.chmod(0o755)
    run.start(None, argv=[str(script)])
    assert "cannot be run" in run.ended()["message"]


@pytest.mark.parametrize("variables", [{"A": "nul\0byte"}, {"A=B": "x"}, {"A": "\ud800"}])
def test_an_environment_variable_that_cannot_be(run: RunFolder, variables: dict[str, str]) -> None:
    run.start("true", variables=variables)
    record = run.ended()
    assert record["cause"] == "not_started"
    assert "environment variable" in record["message"]


def test_a_working_directory_that_is_not_there(run: RunFolder) -> None:
    run.start("true", working_directory=str(run.path / "nowhere"))
    record = run.ended()
    assert record["cause"] == "not_started"
    assert str(run.path / "nowhere") in record["message"]


def test_a_command_that_is_too_long(run: RunFolder) -> None:
    run.start("true " + "x" * 3_000_000)
    assert "longer than this system allows" in run.ended()["message"]


# machines that fail


def test_a_killed_agent_is_gone_and_cancel_ends_what_it_left(run: RunFolder) -> None:
    started = run.start(f"{python(DAEMON)}; echo ready; {FOR_EVER}", grace_s=0.5)["agent"]
    run.says("ready")
    run.kill_agent()
    told = run.observe()
    assert told["sight"] == "gone"
    assert "still running" in told["evidence"]
    assert str(started["command"]["pid"]) in told["evidence"]
    run.cancel()
    wait_for(lambda: not run.processes())
    assert not lives(int((run.working_directory / "daemon.pid").read_text()))
    assert run.observe()["sight"] == "gone"


def test_what_a_killed_agent_left_is_killed_when_it_ignores_term(run: RunFolder) -> None:
    run.start("trap '' TERM; echo ready; while :; do sleep 0.05; done", grace_s=0.2)
    run.says("ready")
    run.kill_agent()
    run.cancel()
    wait_for(lambda: not run.processes())


def test_after_a_restart_of_the_machine_the_run_is_gone_and_strangers_are_safe(run: RunFolder) -> None:
    record = run.start(FOR_EVER)["agent"]
    boot, _, machine = record["boot_id"].partition("@")
    before = dict(record, boot_id=f"another-{boot}@{machine}", command=dict(record["command"], boot_id="another"))
    (run.path / "agent.json").write_text(json.dumps(before))
    told = run.observe()
    assert (told["sight"], told["evidence"]) == ("gone", "the machine was restarted while the job ran")
    run.cancel()
    assert lives(record["command"]["pid"])
    (run.path / "agent.json").write_text(json.dumps(record))


def test_a_run_of_another_machine_gives_no_answer(run: RunFolder) -> None:
    """A home folder on the network: the other machine's processes cannot be seen from here."""
    record = run.start(FOR_EVER)["agent"]
    (run.path / "agent.json").write_text(json.dumps(dict(record, boot_id="other@elsewhere", host="node7")))
    told = run.observe()
    assert told["sight"] == "no_answer"
    assert "node7" in told["evidence"]
    run.cancel()
    assert lives(record["command"]["pid"])
    (run.path / "agent.json").write_text(json.dumps(record))


def test_a_later_process_with_the_same_pid_is_not_the_agent(run: RunFolder) -> None:
    stranger = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    try:
        who = dict(agent.identity(stranger.pid), start_time=1)
        record = dict(who, command=who, cookie="x", grace_s=0.1, started_at=1.0, host="here")
        (run.path / "agent.json").write_text(json.dumps(record))
        assert run.observe()["sight"] == "gone"
        run.cancel()
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()
        (run.path / "agent.json").unlink()


def test_a_record_that_cannot_be_read_gives_no_answer(run: RunFolder) -> None:
    (run.path / "exit.json").write_text("{torn")
    assert run.observe()["sight"] == "no_answer"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """One megabyte."""
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    done = subprocess.run([mount, "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no small disk here: {done.stderr!r}")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_job_that_fills_the_disk_can_still_tell_its_end(small_disk: Path) -> None:
    run = RunFolder(small_disk / "run")
    record = run.run("head -c 5000000 /dev/zero > big; cat /dev/zero; exit 7")
    assert shutil.disk_usage(small_disk).free == 0
    assert (record["cause"], record["code"]) == ("exit", 7)


def test_cancel_works_on_a_full_disk(small_disk: Path) -> None:
    run = RunFolder(small_disk / "run")
    run.start(f"head -c 5000000 /dev/zero > big; touch ready; {FOR_EVER}")
    wait_for((run.working_directory / "ready").exists)
    run.cancel()
    assert run.ended()["cause"] == "canceled"


@pytest.mark.parametrize("free_pages", [0, 1])
def test_nothing_starts_on_a_full_disk(small_disk: Path, free_pages: int) -> None:
    """With one page left the exit record finds its place and agent.json does not: nobody would know of the command."""
    run = RunFolder(small_disk / "run")
    run.launch("touch ../begun")
    big = small_disk / "big"
    filled = subprocess.run(["sh", "-c", f"cat /dev/zero > {big}"], capture_output=True, check=False)
    assert b"space" in filled.stderr
    os.truncate(big, big.stat().st_size - free_pages * 4096)
    assert "No space left" in run.start()["error"]
    assert not (run.path / "begun").exists()
    assert run.observe()["sight"] == "absent"
    assert sorted(path.name for path in run.path.iterdir() if path.is_file()) == ["agent.lock"]
