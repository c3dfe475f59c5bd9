"""Cancel, delete and prune, in each phase of a run's life and two at once."""

from __future__ import annotations

import time
from pathlib import Path

from mlcli import agent
from mlcli.domain.run import Event
from mlcli.domain.state import Reason
from mlcli.stores.runs import FolderRunStore
from tests.faults.helpers import FOR_EVER, Jobs, refused, until, wait_for
from tests.faults.servers import SlowServer


def preparing(jobs: Jobs, server: SlowServer, name: str) -> None:
    """A job whose supervisor waits for the server."""
    given = {"data": {"type": "uri_file", "path": server.url(f"{name}.txt"), "mode": "download"}}
    jobs.create("echo ran", "-n", name, inputs=given)
    server.wait_for_request()


def ended_without_running(jobs: Jobs, name: str) -> None:
    jobs.wait(name)
    record = jobs.show(name)
    assert (record["status"], record["status_reason"]) == ("Canceled", "canceled_by_user")
    assert jobs.log(name) == b""
    wait_for(lambda: jobs.supervisor(name) is None)


def test_cancel_while_it_is_prepared(jobs: Jobs, slow_server: SlowServer) -> None:
    preparing(jobs, slow_server, "early")
    assert jobs.cancel("early").code == 0
    ended_without_running(jobs, "early")
    slow_server.open()
    ended_without_running(jobs, "early")
    assert jobs.settled()["early"]["status"] == "Canceled"


def test_cancel_when_the_supervisor_is_dead(jobs: Jobs, slow_server: SlowServer) -> None:
    preparing(jobs, slow_server, "orphan")
    jobs.kill_supervisor("orphan")
    assert jobs.cancel("orphan").code == 0
    slow_server.open()
    ended_without_running(jobs, "orphan")
    assert jobs.settled()["orphan"]["status"] == "Canceled"


def test_cancel_ends_what_the_supervisor_has_started(jobs: Jobs, tmp_path: Path) -> None:
    """A build in another process, here one that a pip install would wait for: it goes with its supervisor."""
    package = tmp_path / "package"
    package.mkdir()
    (package / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "slow"\nbackend-path = ["."]\n'
        '[project]\nname = "slow"\nversion = "1"\n'
    )
    (package / "slow.py").write_text(
        "import os, time\n"
        "def build_wheel(*args, **kwargs):\n"
        f"    open({str(tmp_path / 'builder.partial')!r}, 'w').write(str(os.getpid()))\n"
        f"    os.rename({str(tmp_path / 'builder.partial')!r}, {str(tmp_path / 'builder')!r})\n"
        "    time.sleep(1000)\n"
    )
    environment = {"conda_file": {"dependencies": ["python", "pip", {"pip": [str(package)]}]}}
    jobs.create("echo ran", "-n", "building", environment=environment)
    wait_for((tmp_path / "builder").exists)
    builder = int((tmp_path / "builder").read_text())
    assert agent._facts(builder) is not None
    assert jobs.cancel("building").code == 0
    ended_without_running(jobs, "building")
    wait_for(lambda: agent._facts(builder) is None)
    assert jobs.settled()["building"]["status"] == "Canceled"


def test_cancel_while_it_runs_keeps_what_it_has_made(jobs: Jobs) -> None:
    name = jobs.create(f"echo half > outputs/half.txt; echo begun; {FOR_EVER}")
    jobs.says(name, "begun")
    assert jobs.cancel(name).code == 0
    jobs.wait(name)
    assert jobs.show(name)["status"] == "Canceled"
    assert jobs.processes(name) == []
    assert (jobs.folder(name) / "wd" / "outputs" / "half.txt").read_text() == "half\n"
    assert jobs.log(name) == b"begun\n"
    assert jobs.mlcli("job", "stream", "-n", name).code == 1


def test_a_command_that_ends_well_when_asked_is_canceled_not_completed(jobs: Jobs) -> None:
    name = jobs.create("trap 'echo saved; exit 0' TERM; echo begun; while :; do sleep 0.02; done")
    jobs.says(name, "begun")
    jobs.cancel(name)
    jobs.wait(name)
    assert jobs.show(name)["status"] == "Canceled"
    assert jobs.log(name).endswith(b"saved\n")


def test_cancel_of_what_has_ended_changes_nothing(jobs: Jobs) -> None:
    name = jobs.create("exit 3")
    jobs.wait(name)
    told = jobs.cancel(name)
    assert (told.code, told.json["status"], told.json["exit_code"]) == (0, "Failed", 3)
    assert jobs.settled()[name]["status"] == "Failed"


def test_cancel_of_what_was_never_heard_of(jobs: Jobs) -> None:
    refused(jobs.cancel("nobody"), "nobody", code=3)


def test_cancel_twice_at_once_is_cancel_once(jobs: Jobs) -> None:
    name = jobs.create("trap 'echo asked; exit 9' TERM; echo begun; while :; do sleep 0.02; done")
    jobs.says(name, "begun")
    commands = [jobs.mlcli.start("job", "cancel", "-n", name) for _ in range(3)]
    told = [(command.communicate(timeout=120), command.returncode) for command in commands]
    assert {code for _, code in told} == {0}, told
    jobs.wait(name)
    assert jobs.log(name).count(b"asked") == 1
    assert jobs.settled()[name]["status"] == "Canceled"


def test_a_cancel_that_was_killed_on_its_way_is_brought_there_by_a_later_look(jobs: Jobs) -> None:
    """Killed when it had written down the request, before it had told anybody: this is what it leaves."""
    name = jobs.create(f"echo begun; {FOR_EVER}")
    jobs.says(name, "begun")
    store = FolderRunStore(jobs.workspace)
    store.append(name, Event(Reason.CANCEL_REQUESTED, time.time()))
    store.close()
    assert jobs.show(name)["status"] == "CancelRequested"
    jobs.wait(name)
    assert jobs.settled()[name]["status"] == "Canceled"


def test_a_cancel_is_not_told_twice_to_a_command_that_takes_its_time(jobs: Jobs) -> None:
    """To many programs a second TERM means: now."""
    name = jobs.create("trap 'echo asked' TERM; echo begun; for i in $(seq 100); do sleep 0.05; done; exit 0")
    jobs.says(name, "begun")
    jobs.cancel(name)
    jobs.wait(name)
    assert jobs.log(name).count(b"asked") == 1
    assert jobs.settled()[name]["status"] == "Canceled"


def test_cancel_against_create(jobs: Jobs) -> None:
    """The cancel comes as soon as the name is there: the command runs or it does not, and the run is canceled."""
    for number in range(4):
        name = f"job_{number}"
        with jobs.mlcli.start("job", "create", "-f", jobs.file(f"echo begun; {FOR_EVER}"), "-n", name) as command:
            wait_for(jobs.folder(name).exists)
            assert jobs.cancel(name).code == 0
            assert command.wait(60) in {0, 1}
    assert {row["status"] for row in jobs.settled().values()} == {"Canceled"}


def test_delete_of_a_live_run_is_refused(jobs: Jobs, slow_server: SlowServer, tmp_path: Path) -> None:
    preparing(jobs, slow_server, "early")
    jobs.create(f"echo begun; {until(tmp_path / 'go')}", "-n", "live")
    for name in ("early", "live"):
        refused(jobs.mlcli("job", "delete", "-n", name, "--yes"), name, "mlcli job cancel")
    slow_server.open()
    (tmp_path / "go").touch()
    assert {row["status"] for row in jobs.settled().values()} == {"Completed"}


def test_prune_takes_what_has_ended_and_its_code_and_nothing_else(jobs: Jobs, tmp_path: Path) -> None:
    source = jobs.mlcli.cwd / "src"
    source.mkdir()
    for name in ("first", "second"):
        (source / "train.py").write_text(f"{name}\n")
        jobs.create("cat train.py", "-n", name, code="src")
        jobs.wait(name)
    (source / "train.py").write_text("third\n")
    jobs.create(f"{until(tmp_path / 'go')}; cat train.py", "-n", "live", code="src")
    foreseen = jobs.mlcli("job", "prune", "--keep-last", "2", "--dry-run")
    assert foreseen.code == 0, foreseen.stderr
    assert set(jobs.list()) == {"first", "second", "live"}
    pruned = jobs.mlcli("job", "prune", "--keep-last", "2", "--yes")
    assert pruned.code == 0, pruned.stderr
    assert set(jobs.list()) == {"second", "live"}
    pruned = jobs.mlcli("job", "prune", "--older-than", "0s", "--yes")
    assert pruned.code == 0, pruned.stderr
    assert set(jobs.list()) == {"live"}
    (tmp_path / "go").touch()
    assert jobs.settled()["live"]["status"] == "Completed"
    assert jobs.log("live") == b"third\n"
