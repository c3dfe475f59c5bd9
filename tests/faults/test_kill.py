"""kill -9 of each of mlcli's processes, wherever it is in its work: a run is there or it is not, and its command runs once."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sqlite3
import time
from pathlib import Path

import pytest

from mlcli import agent
from tests.faults.helpers import FOR_EVER, Jobs, until, wait_for
from tests.faults.servers import SlowServer

MILESTONES = {
    "folder_made": ".new/*",
    "folder_named": "{name}",
    "log_folder": "{name}/user_logs",
    "code_copied": "{name}/wd",
    "launch_file": "{name}/launch.json",
    "lock_taken": "{name}/agent.lock",
    "exit_reserved": "{name}/exit.json.reserved",
    "agent_there": "{name}/agent.json",
    "command_runs": "{name}/user_logs/std_log.txt",
    "submission_noted": "{name}/submission.json",
}


def tally(jobs: Jobs, name: str) -> str:
    """What the command of :func:`counted` has left outside its run, a line for each time that it ran."""
    try:
        return (jobs.mlcli.cwd / f"{name}.ran").read_text()
    except FileNotFoundError:
        return ""


def counted(jobs: Jobs) -> str:
    return f'echo "$AZUREML_RUN_ID ran"; echo ran >> {shlex.quote(str(jobs.mlcli.cwd))}/"$AZUREML_RUN_ID".ran'


def ran_once_or_not_at_all(jobs: Jobs, asked_for: list[str]) -> None:
    rows = jobs.settled()
    for name in asked_for:
        if name in rows:
            assert rows[name]["status"] == "Completed", jobs.show(name)
            assert (jobs.log(name), tally(jobs, name)) == (f"{name} ran\n".encode(), "ran\n")
        else:
            assert tally(jobs, name) == ""
            assert jobs.mlcli("job", "show", "-n", name).code == 3


def test_the_cli_is_killed_at_any_moment_of_create(jobs: Jobs) -> None:
    (jobs.mlcli.cwd / "src").mkdir()
    (jobs.mlcli.cwd / "src" / "train.py").write_text("print('x')\n")
    file = jobs.file(counted(jobs), code="src")
    names = [f"after_{delay_ms}_ms" for delay_ms in range(0, 301, 20)]
    for name in names:
        with jobs.mlcli.start("job", "create", "-f", file, "-n", name) as command:
            time.sleep(int(name.split("_")[1]) / 1000)
            command.kill()
    ran_once_or_not_at_all(jobs, names)


def test_the_cli_is_killed_at_each_step_of_create(jobs: Jobs) -> None:
    """As above, the steps found by what they leave on the disk."""
    jobs.create("true", "-n", "before")
    for name, pattern in MILESTONES.items():
        with jobs.mlcli.start("job", "create", "-f", jobs.file(counted(jobs)), "-n", name) as command:
            deadline = time.monotonic() + 60
            while not any(jobs.runs.glob(pattern.format(name=name))) and command.poll() is None:
                assert time.monotonic() < deadline
            command.kill()
    ran_once_or_not_at_all(jobs, list(MILESTONES))
    for name in set(MILESTONES) - jobs.names():  # the names are free
        jobs.create(counted(jobs), "-n", name)
    ran_once_or_not_at_all(jobs, list(MILESTONES))


def test_one_look_at_the_list_is_enough_to_carry_on(jobs: Jobs) -> None:
    file = jobs.file(counted(jobs))
    with jobs.mlcli.start("job", "create", "-f", file, "-n", "victim") as command:
        wait_for(lambda: (jobs.folder("victim")).exists())
        command.kill()
    jobs.list()
    wait_for(lambda: jobs.document("victim", "exit.json"))
    assert jobs.show("victim")["status"] == "Completed"


def with_input(jobs: Jobs, server: SlowServer, name: str) -> Path:
    return jobs.file(
        f"{counted(jobs)}; cat ${{{{inputs.data}}}}",
        name=name,
        inputs={"data": {"type": "uri_file", "path": server.url(f"{name}.txt"), "mode": "download"}},
    )


def killed_after(jobs: Jobs, name: str) -> None:
    """Kill the supervisor of ``after_N_ms`` with all that it has started, N ms after it has told who it is."""
    who = wait_for(lambda: jobs.document(name, "supervisor.json"))
    time.sleep(int(name.split("_")[1]) / 1000)
    if agent.is_alive(who):
        os.killpg(who["pid"], signal.SIGKILL)


def test_the_supervisor_is_killed_while_it_fetches(jobs: Jobs, slow_server: SlowServer) -> None:
    """Twice: each look at the run starts another, and the last one ends the work."""
    assert jobs.mlcli("job", "create", "-f", with_input(jobs, slow_server, "victim")).code == 0
    for _ in range(2):
        slow_server.wait_for_request()
        jobs.kill_supervisor("victim")
        assert jobs.show("victim")["status"] == "Preparing"
    slow_server.wait_for_request()
    slow_server.open()
    jobs.wait("victim")
    assert jobs.show("victim")["status"] == "Completed"
    assert tally(jobs, "victim") == "ran\n"
    assert jobs.log("victim") == b"victim ran\n" + slow_server.content
    jobs.settled()


def test_the_supervisor_is_killed_at_any_moment(jobs: Jobs, slow_server: SlowServer) -> None:
    slow_server.open()
    names = [f"after_{delay_ms}_ms" for delay_ms in range(0, 480, 80)]
    for name in names:
        assert jobs.mlcli("job", "create", "-f", with_input(jobs, slow_server, name)).code == 0
        killed_after(jobs, name)
    rows = jobs.settled()
    for name in names:
        assert rows[name]["status"] == "Completed", jobs.show(name)
        assert tally(jobs, name) == "ran\n"
        assert jobs.log(name) == f"{name} ran\n".encode() + slow_server.content


def test_an_environment_whose_build_was_killed_is_built_anew(jobs: Jobs) -> None:
    """The build's processes may be anywhere; nothing half made is taken for an environment."""
    inside = "python -c 'import sys; assert sys.prefix != sys.base_prefix'"
    names = [f"after_{delay_ms}_ms" for delay_ms in (0, 150, 300)]
    for number, name in enumerate(names):
        conda = {"dependencies": [f"python>=3.{number}", "pip"]}  # each builds its own
        file = jobs.file(f"{counted(jobs)}; {inside}", name=name, environment={"conda_file": conda})
        assert jobs.mlcli("job", "create", "-f", file).code == 0
        killed_after(jobs, name)
    ran_once_or_not_at_all(jobs, names)
    assert jobs.names() == set(names)


def test_a_killed_agent_means_lost_and_its_command_is_ended(jobs: Jobs) -> None:
    name = jobs.create(f"echo begun; {FOR_EVER}")
    jobs.says(name, "begun")
    jobs.kill_agent(name)
    assert jobs.processes(name)
    record = jobs.show(name)
    assert (record["status"], record["status_reason"]) == ("Failed", "lost")
    assert "killed" in record["status_message"]
    wait_for(lambda: not jobs.processes(name))
    followed = jobs.mlcli("job", "stream", "-n", name)
    assert (followed.code, followed.stdout) == (1, "begun\n")
    assert jobs.settled()[name]["exit_code"] is None


def test_an_agent_that_is_killed_when_the_command_has_ended_is_lost_or_completed_never_live(jobs: Jobs) -> None:
    """At any moment of its last steps: with an exit record it is Completed, without one it is lost."""
    for delay_ms in range(0, 60, 12):
        name = jobs.create("echo one; exit 0", "-n", f"after_{delay_ms}_ms")
        who = jobs.agent(name)
        time.sleep(delay_ms / 1000)
        if agent.is_alive(who):
            os.kill(who["pid"], signal.SIGKILL)
    for name, row in jobs.settled().items():
        there = jobs.document(name, "exit.json") is not None
        assert row["status"] == ("Completed" if there else "Failed")


def after_a_restart(jobs: Jobs, name: str) -> None:
    """The machine went down while the job ran: nothing of it lives, and what it wrote names another boot."""
    for pid in [jobs.document(name, "agent.json")["pid"], *jobs.processes(name)]:
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not jobs.processes(name))
    path = jobs.folder(name) / "agent.json"
    record = json.loads(path.read_text())
    boot, _, machine = record["boot_id"].partition("@")
    record["boot_id"] = record["command"]["boot_id"] = f"earlier-{boot}@{machine}"
    path.write_text(json.dumps(record))


def test_after_a_restart_of_the_machine_a_running_job_is_lost(jobs: Jobs) -> None:
    name = jobs.create(f"echo begun; {FOR_EVER}")
    jobs.says(name, "begun")
    after_a_restart(jobs, name)
    record = jobs.show(name)
    assert (record["status"], record["status_reason"]) == ("Failed", "lost")
    assert "restarted" in record["status_message"]
    assert jobs.mlcli("job", "cancel", "-n", name).code == 0
    assert jobs.settled()[name]["status"] == "Failed"


def test_after_a_restart_of_the_machine_a_preparation_goes_on(jobs: Jobs, slow_server: SlowServer) -> None:
    assert jobs.mlcli("job", "create", "-f", with_input(jobs, slow_server, "victim")).code == 0
    slow_server.wait_for_request()
    jobs.kill_supervisor("victim")
    boot, _, machine = agent.boot_id().partition("@")
    with sqlite3.connect(jobs.workspace / "index.sqlite") as index:
        index.execute("UPDATE runs SET lease_boot = ?, lease_pid = ?", (f"earlier-{boot}@{machine}", os.getpid()))
        index.execute("DELETE FROM boots")
    index.close()
    slow_server.open()
    jobs.wait("victim")
    assert jobs.settled()["victim"]["status"] == "Completed"
    assert tally(jobs, "victim") == "ran\n"


def test_a_killed_stream_or_wait_takes_nothing_with_it(jobs: Jobs, tmp_path: Path) -> None:
    name = jobs.create(f"echo one; {until(tmp_path / 'go')}; echo two")
    for verb in ("stream", "wait"):
        with jobs.mlcli.start("job", verb, name) as command:
            time.sleep(0.3)
            command.kill()
    (tmp_path / "go").touch()
    assert jobs.settled()[name]["status"] == "Completed"
    assert jobs.log(name) == b"one\ntwo\n"


@pytest.mark.parametrize("verb", ["cancel", "delete", "update"])
def test_a_killed_change_is_done_or_not_begun(jobs: Jobs, verb: str) -> None:
    """Swept over the whole time that the command takes; what stays behind is a whole run or none."""
    command = FOR_EVER if verb == "cancel" else "echo done"
    extra = {"update": ["--set", "tags.stage=final"], "delete": ["--yes"]}.get(verb, [])
    for delay_ms in range(80, 260, 60):
        name = jobs.create(command, "-n", f"after_{delay_ms}_ms")
        if verb != "cancel":
            jobs.wait(name)
        with jobs.mlcli.start("job", verb, "-n", name, *extra) as killed:
            time.sleep(delay_ms / 1000)
            killed.kill()
        jobs.mlcli("job", verb, "-n", name, *extra)
    rows = jobs.settled()
    if verb == "delete":
        assert rows == {}
    elif verb == "cancel":
        assert {row["status"] for row in rows.values()} == {"Canceled"}
    else:
        assert all(row["tags"] == {"stage": "final"} for row in rows.values())
