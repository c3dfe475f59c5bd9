"""Commands that behave badly: what they print is kept byte for byte, and their end is told as it was."""

from __future__ import annotations

import hashlib
import shlex
import sys
from pathlib import Path

import pytest

from mlcli import agent
from tests.conftest import Mlcli
from tests.faults.helpers import Jobs, until, wait_for

DAEMON = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.closerange(0, 3)
        with open("daemon.partial", "w") as file:
            file.write(str(os.getpid()))
        os.rename("daemon.partial", "daemon.pid")
        time.sleep(1000)
    os._exit(0)
while not os.path.exists("daemon.pid"):
    time.sleep(0.01)
"""
ANYTHING = bytes(range(256)) * 3
PRINTED = {
    "binary": ("import sys; sys.stdout.buffer.write(bytes(range(256)) * 3)", ANYTHING),
    "progress bars": (
        "for i in range(0, 101, 10): print(f'\\r{i:3} %', end='')",
        b"".join(f"\r{i:3} %".encode() for i in range(0, 101, 10)),
    ),
    "a line of a megabyte": ("print('x' * 1_000_000)", b"x" * 1_000_000 + b"\n"),
    "no newline at the end": ("print('first'); print('last', end='')", b"first\nlast"),
    "nothing": ("pass", b""),
    "half a character": ("import sys; sys.stdout.buffer.write('é'.encode()[:1])", b"\xc3"),
    "colours and a bell": ("print('\\033[31mred\\033[0m\\a')", b"\x1b[31mred\x1b[0m\a\n"),
}


def python(code: str) -> str:
    return f"{shlex.quote(sys.executable)} -c {shlex.quote(code)}"


@pytest.mark.parametrize("what", PRINTED)
def test_what_is_printed_is_kept_byte_for_byte(jobs: Jobs, what: str) -> None:
    """While it runs and afterwards; the record that follows starts on a line of its own."""
    code, printed = PRINTED[what]
    file = jobs.file(python(code), name="printer")
    followed = jobs.mlcli("job", "create", "-f", file, "--stream", "-o", "none")
    assert followed.code == 0, followed.stderr
    assert followed.output == printed
    assert jobs.log("printer") == printed
    again = jobs.mlcli("job", "stream", "-n", "printer")
    assert (again.code, again.output) == (0, printed)


def test_a_hundred_megabytes_go_through_the_stream_whole(jobs: Jobs) -> None:
    block = bytes(range(256)) * 4096
    code = "import sys\nblock = bytes(range(256)) * 4096\nfor _ in range(100): sys.stdout.buffer.write(block)"
    expected = hashlib.sha256(block * 100).hexdigest()
    followed = jobs.mlcli("job", "create", "-f", jobs.file(python(code), name="big"), "-s", "-o", "none")
    assert followed.code == 0, followed.stderr
    assert hashlib.sha256(followed.output).hexdigest() == expected
    assert hashlib.sha256(jobs.log("big")).hexdigest() == expected


def test_a_command_that_closes_its_output(jobs: Jobs) -> None:
    followed = jobs.mlcli("job", "create", "-f", jobs.file("echo before; exec >&- 2>&-; sleep 0.3; exit 4"), "-s")
    assert followed.code == 1
    assert followed.stdout.startswith("before\n{")
    assert "exited with code 4" in followed.stderr


def test_a_daemon_does_not_keep_a_run_live_and_ends_with_it(jobs: Jobs) -> None:
    name = jobs.create(f"{python(DAEMON)}; echo left it; exit 3")
    jobs.wait(name)
    record = jobs.show(name)
    assert (record["status"], record["exit_code"]) == ("Failed", 3)
    daemon = int((jobs.folder(name) / "wd" / "daemon.pid").read_text())
    assert agent._facts(daemon) is None
    assert str(daemon) in record["status_message"]
    assert jobs.settled()[name]["exit_code"] == 3


def test_a_command_that_ignores_term_is_killed_after_the_grace(jobs: Jobs) -> None:
    stubborn = "trap '' TERM; echo ready; while :; do sleep 0.05; done"
    made = jobs.mlcli("job", "create", "-f", jobs.file(stubborn, name="stubborn"), env={"MLCLI_KILL_GRACE_S": "0.3"})
    assert made.code == 0, made.stderr
    jobs.says("stubborn", "ready")
    assert jobs.cancel("stubborn").json["status"] in {"CancelRequested", "Canceled"}
    jobs.wait("stubborn")
    record = jobs.show("stubborn")
    assert (record["status"], record["status_reason"]) == ("Canceled", "canceled_by_user")
    assert jobs.document("stubborn", "exit.json")["signal"] == 9
    assert jobs.processes("stubborn") == []


def test_a_time_limit_ends_a_command_that_goes_on(jobs: Jobs) -> None:
    """The job language takes no limit under a minute for a mistake, and it may be overridden as one."""
    file = jobs.file("echo begun; sleep 1000", name="late", limits={"timeout": 1})
    made = jobs.mlcli("job", "create", "-f", file, "--skip-validation")
    assert made.code == 0, made.stderr
    jobs.wait("late")
    record = jobs.show("late")
    assert (record["status"], record["status_reason"]) == ("Canceled", "time_limit")
    assert jobs.log("late") == b"begun\n"


@pytest.mark.parametrize("code", [1, 2, 127, 255])
def test_the_commands_own_exit_code_is_handed_on(jobs: Jobs, code: int) -> None:
    file = jobs.file(f"echo before; exit {code}", name=f"code_{code}")
    followed = jobs.mlcli("job", "create", "-f", file, "-s", "--propagate-exit-code", "-o", "none")
    assert (followed.code, followed.stdout) == (code, "before\n")
    record = jobs.show(f"code_{code}")
    assert (record["status"], record["exit_code"]) == ("Failed", code)
    assert jobs.mlcli("job", "stream", "-n", f"code_{code}").code == 1


@pytest.mark.parametrize(("signal", "number"), [("TERM", 15), ("KILL", 9), ("SEGV", 11)])
def test_a_command_that_a_signal_ends(jobs: Jobs, signal: str, number: int) -> None:
    file = jobs.file(f"ulimit -c 0; echo before; kill -{signal} $$", name="struck")
    followed = jobs.mlcli("job", "create", "-f", file, "-s", "--propagate-exit-code", "-o", "none")
    assert (followed.code, followed.stdout) == (128 + number, "before\n")
    assert f"signal {number}" in followed.stderr
    record = jobs.show("struck")
    assert (record["status"], record["status_reason"]) == ("Failed", "killed_by_signal")


def test_a_command_that_is_not_there(jobs: Jobs) -> None:
    followed = jobs.mlcli("job", "create", "-f", jobs.file("no-such-program --fast", name="typo"), "-s")
    assert followed.code == 1
    assert "no-such-program" in followed.stdout
    assert "exited with code 127" in followed.stderr


def test_a_command_that_removes_its_own_run_folder(jobs: Jobs) -> None:
    """Nothing is left to tell how it ended: it is gone, and nothing else is harmed."""
    other = jobs.create("echo kept", "-n", "other")
    jobs.wait(other)
    name = jobs.create(f'{until(jobs.mlcli.cwd / "go")}; rm -rf "$(dirname "$PWD")"', "-n", "wrecker")
    (jobs.mlcli.cwd / "go").touch()
    wait_for(lambda: not jobs.folder(name).exists())
    assert jobs.mlcli("job", "show", "-n", name).code == 3
    assert set(jobs.settled()) == {"other"}


def test_a_command_that_leaves_nothing_readable_behind(jobs: Jobs) -> None:
    name = jobs.create("mkdir outputs/deep; echo x > outputs/deep/file; chmod 0 outputs/deep outputs")
    jobs.wait(name)
    assert jobs.show(name)["status"] == "Completed"
    deleted = jobs.mlcli("job", "delete", "-n", name, "--yes")
    assert deleted.code == 0, deleted.stderr
    assert jobs.settled() == {}


def test_a_command_that_reads_finds_nothing_to_read(jobs: Jobs) -> None:
    """Whatever mlcli itself is given to read, and from a terminal too: it does not wait for an answer."""
    file = jobs.file("cat; echo end", name="reader")
    done = jobs.mlcli("job", "create", "-f", file, "-s", "-o", "none", input="not for the job\n")
    assert (done.code, done.stdout) == (0, "end\n")


def test_folders_whose_names_no_shell_and_no_address_likes(jobs: Jobs, tmp_path: Path) -> None:
    odd = tmp_path / "my 'odd' $HOME é%20?#; \n"
    odd.mkdir()
    (odd / "src").mkdir()
    (odd / "src" / "trän.py").write_text("print(open('data').read())\n")
    (odd / "in put").write_text("given\n")
    elsewhere = Mlcli(odd / "home", odd)
    others = Jobs(elsewhere)
    given = {"data": {"type": "uri_file", "path": "./in put", "mode": "download"}}
    command = (
        "cp ${{inputs.data}} data; "
        + shlex.quote(sys.executable)
        + " trän.py > ${{outputs.model}}/x; cat ${{outputs.model}}/x"
    )
    file = others.file(command, name="odd", code="./src", inputs=given, outputs={"model": {"type": "uri_folder"}})
    done = elsewhere("job", "create", "-f", file, "-s", "-o", "none", env={"LC_ALL": "C.UTF-8"})
    assert (done.code, done.stdout) == (0, "given\n\n"), done.stderr
    fetched = elsewhere("job", "download", "-n", "odd", "--all", "--download-path", "her e")
    assert fetched.code == 0, fetched.stderr
    assert (odd / "her e" / "odd" / "named-outputs" / "model" / "x").read_text() == "given\n\n"
    assert others.settled()["odd"]["status"] == "Completed"
