"""What an ordinary run is: one command, its own session, its output in a file, its end written down."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from mlcli import agent
from tests.agent.helpers import FOLDER, FOR_EVER, RunFolder, wait_for

if TYPE_CHECKING:
    from pathlib import Path

linux = pytest.mark.skipif(not agent.LINUX, reason="reads /proc")


def test_a_command_that_exits_0_is_told_with_its_times(run: RunFolder) -> None:
    before = time.time()
    record = run.run("echo hello; echo oops >&2")
    assert (record["cause"], record["code"], record["signal"], record["message"]) == ("exit", 0, None, "")
    assert before <= record["started_at"] <= record["ended_at"] <= time.time()
    assert run.log() == b"hello\noops\n"


@pytest.mark.parametrize("code", [1, 2, 127, 255])
def test_its_exit_code_is_kept(run: RunFolder, code: int) -> None:
    assert run.run(f"exit {code}")["code"] == code


@pytest.mark.parametrize(("name", "number"), [("KILL", 9), ("SEGV", 11), ("TERM", 15)])
def test_a_signal_is_told_as_a_shell_does(run: RunFolder, name: str, number: int) -> None:
    """KILL is how the kernel ends a process when memory runs out."""
    record = run.run(f"kill -{name} $$")
    assert (record["cause"], record["code"], record["signal"]) == ("exit", 128 + number, number)


def test_it_runs_in_its_working_directory_with_nothing_to_read(run: RunFolder) -> None:
    run.run("pwd -P; cat; echo end")
    assert run.log().decode().split() == [str(run.working_directory.resolve()), "end"]


def test_the_answer_of_start_is_the_agents_own_record(run: RunFolder) -> None:
    told = run.start(FOR_EVER)
    assert told == {"run_folder": str(run.path), "agent": run.agent}
    assert agent.is_alive(run.agent)
    assert agent.is_alive(run.agent["command"])


def test_agent_and_command_lead_sessions_of_their_own(run: RunFolder) -> None:
    record = run.start(FOR_EVER)["agent"]
    for pid in (record["pid"], record["command"]["pid"]):
        assert os.getsid(pid) == os.getpgid(pid) == pid


def test_secrets_are_gone_from_the_disk_once_the_command_runs(run: RunFolder) -> None:
    run.run("echo $TOKEN | rev", variables={"TOKEN": "terces-on"})
    assert run.log() == b"no-secret\n"
    kept = [path for path in run.path.rglob("*") if path.is_file() and b"terces-on" in path.read_bytes()]
    assert kept == []
    assert not (run.path / "launch.json").exists()


def test_what_the_agent_writes_is_for_its_owner_only(run: RunFolder) -> None:
    run.run("true")
    modes = {name: stat.S_IMODE((run.path / name).stat().st_mode) for name in ("agent.json", "exit.json")}
    assert modes == {"agent.json": 0o600, "exit.json": 0o600}


def test_an_argv_runs_without_a_shell(run: RunFolder) -> None:
    run.start(None, argv=[sys.executable, "-c", "import sys; print(sys.argv[1:])", "a b", "$HOME"])
    run.ended()
    assert run.log() == b"['a b', '$HOME']\n"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("python train.py --rate 0.1 a=b\n", ["python", "train.py", "--rate", "0.1", "a=b"]),
        ("./run.sh  -x", ["./run.sh", "-x"]),
        ("echo built-in", None),
        ("a=/b python train.py", None),
        ("python=/b x", None),
        ("python train.py $HOME", None),
        ("python 'train.py'", None),
        ("python a.py\npython b.py", None),
        ("python ~/a.py", None),
        ("", None),
    ],
)
def test_a_plain_command_is_started_without_a_shell(command: str, words: list[str] | None) -> None:
    assert agent.plain_argv({"command": command, "argv": []}, {}) == words
    assert agent.plain_argv({"command": command, "argv": ["env"]}, {}) is None
    assert agent.plain_argv({"command": command, "argv": []}, {"BASH_ENV": "/etc/rc"}) is None


def test_a_plain_command_that_needs_a_shell_after_all_gets_one(run: RunFolder) -> None:
    """Where it cannot be started by itself, the shell does what it always does."""
    script = run.working_directory / "bare"  # no interpreter in its first line: only a shell runs it
    script.write_text("echo $PWD $1\n")
    script.chmod(0o755)
    assert run.run("./bare x")["code"] == 0
    assert run.log().decode().split() == [str(run.working_directory.resolve()), "x"]


def test_a_plain_command_finds_its_folder_in_its_variables(run: RunFolder) -> None:
    (run.working_directory / "a.py").write_text("import os; print(os.environ['PWD'] == os.getcwd())")
    assert run.run(f"{sys.executable} a.py", variables={"PWD": "/"})["code"] == 0
    assert run.log() == b"True\n"


def test_a_prefix_stands_before_the_shell(run: RunFolder) -> None:
    run.run("echo $FLAVOUR", argv=["env", "FLAVOUR=vanilla"])
    assert run.log() == b"vanilla\n"


def test_the_commands_environment() -> None:
    machine = {"PATH": "/bin", "KEEP": "1", "CONDA_PREFIX": "/conda", "LEVEL": "own", agent.COOKIE: "of an outer job"}
    changes = {
        "defaults": {"LEVEL": "default", "PYTHONUNBUFFERED": "1"},
        "unset": ["CONDA_PREFIX", "NEVER_THERE"],
        "set": {"A": "1"},
        "prepend_path": ["/venv/bin"],
        "append_path": ["/shims"],
    }
    assert agent.command_environment(machine, changes, "ours") == {
        "PATH": "/venv/bin:/bin:/shims",
        "KEEP": "1",
        "LEVEL": "own",
        "PYTHONUNBUFFERED": "1",
        "A": "1",
        agent.COOKIE: "ours",
    }


def test_a_path_that_the_job_sets_is_kept_behind_its_environments() -> None:
    changes: dict[str, Any] = {"defaults": {}, "unset": [], "append_path": [], "prepend_path": ["/venv/bin"]}
    made = agent.command_environment({"PATH": "/bin"}, {**changes, "set": {"PATH": "/opt/bin"}}, "x")
    assert made["PATH"] == "/venv/bin:/opt/bin"
    made = agent.command_environment({}, {**changes, "set": {}}, "x")
    assert made["PATH"] == f"/venv/bin:{os.defpath}"


@linux
def test_the_command_inherits_no_ignored_signal_and_no_open_file(run: RunFolder) -> None:
    """Python ignores SIGPIPE for itself: a shell pipeline that inherits that never ends."""
    run.run("grep -E 'SigIgn|SigBlk' /proc/self/status; ls /proc/self/fd | wc -l")
    blocked, ignored, files = run.log().decode().split("\n")[:3]
    assert int(blocked.split()[1], 16) == 0
    assert int(ignored.split()[1], 16) == 0
    assert files == "4"  # 0, 1, 2 and the folder that ls reads


@linux
def test_a_waiting_agent_sleeps(run: RunFolder) -> None:
    pid = run.start(FOR_EVER)["agent"]["pid"]

    def wake_ups() -> str:
        with open(f"/proc/{pid}/status") as status:
            return next(line for line in status if line.startswith("voluntary"))

    def asleep() -> bool:
        with open(f"/proc/{pid}/stat") as stat_file:
            return stat_file.read().rpartition(")")[2].split()[0] == "S"

    def undisturbed() -> bool:
        """Half a second without a wake-up: whoever polls never has one, however late it got there."""
        before = wake_ups()
        time.sleep(0.5)
        return wake_ups() == before

    wait_for(asleep)
    wait_for(undisturbed)


def test_no_line_is_ever_lost(tmp_path: Path) -> None:
    """Whoever sees the exit record finds the whole log, of fifty jobs at once."""
    runs = [RunFolder(tmp_path / str(number)) for number in range(50)]
    for number, run in enumerate(runs):
        run.launch(f"echo only line {number}")
    starters = [subprocess.Popen(run.argv("start", str(run.path)), stdout=subprocess.DEVNULL) for run in runs]
    for number, run in enumerate(runs):
        run.ended()
        assert run.log() == f"only line {number}\n".encode()
    assert [starter.wait() for starter in starters] == [0] * len(runs)


def test_many_runs_are_observed_at_once(tmp_path: Path) -> None:
    ended, absent = RunFolder(tmp_path / "ended"), tmp_path / "absent"
    ended.run("true")
    done = subprocess.run(ended.argv("observe", str(ended.path), str(absent)), capture_output=True, check=True)
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(line["run_folder"], line["sight"]) for line in told] == [
        (str(ended.path), "exited"),
        (str(absent), "absent"),
    ]


def test_files_are_listed_with_their_sizes(run: RunFolder, tmp_path: Path) -> None:
    outside = tmp_path / "data"
    outside.mkdir()
    (outside / "huge.bin").write_bytes(b"12345")
    outputs = run.working_directory / "outputs"
    (outputs / "deep" / "er").mkdir(parents=True)
    (outputs / "deep" / "er" / "ö.txt").write_text("123")
    (outputs / "latest").symlink_to("deep")
    (outputs / "blob").symlink_to(outside / "huge.bin")
    (outputs / "data").symlink_to(outside)
    (outputs / "loop").symlink_to(".")
    (outputs / "dangling").symlink_to("nowhere")
    os.mkfifo(outputs / "pipe")
    done = subprocess.run(run.argv("list", str(run.path), "wd/outputs"), capture_output=True, check=True)
    assert json.loads(done.stdout)["files"] == {"deep/er/ö.txt": 3, "latest/er/ö.txt": 3, "blob": 5}
    assert agent.list_files(str(run.path), "nowhere")["files"] == {}


def test_it_stays_small() -> None:
    """What would double its start-up time and its memory is not imported."""
    code = f"import sys; sys.path.append({FOLDER!r}); import agent; agent.decode(agent.encode([1, 'x']).encode());"
    code += "print(' '.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, check=True, text=True)
    heavy = {
        "json",
        "re",
        "enum",
        "signal",
        "subprocess",
        "typing",
        "dataclasses",
        "pathlib",
        "collections",
        "contextlib",
    }
    assert heavy & set(loaded.stdout.split()) == set()
