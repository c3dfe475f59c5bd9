"""Jobs on machines whose cables are pulled: a job does not need its connection, and is found when there is one again."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable

import pytest

from mlcli import agent
from tests.engines.sshd import SshHost, SshHosts
from tests.faults.helpers import refused, wait_for
from tests.iris import copy_of_iris
from tests.ssh.conftest import FarJobs, attach

COUNTED = "echo begun >> ../count; "
TICKS = COUNTED + "for i in 1 2 3 4 5 6 7 8; do echo tick $i; sleep 1; done"
ALL_TICKS = "".join(f"tick {number}\n" for number in range(1, 9))
pytestmark = pytest.mark.slow
JobsOn = Callable[[SshHost], FarJobs]


def test_three_machines_and_one_without_a_cable(ssh_hosts: SshHosts, jobs_on: JobsOn) -> None:
    """Each job runs where it was sent; a machine that does not answer holds up nobody for long, and loses nothing."""
    jobs = jobs_on(ssh_hosts["h1"])
    for name in ("h2", "h3"):
        attach(jobs.mlcli, name, name, jobs.far.parent / name)
    for name, compute in (("one", "box"), ("two", "h2"), ("three", "h3")):
        jobs.create(COUNTED + "hostname -I; sleep 3; echo done", name=name, compute=f"azureml:{compute}")
    ssh_hosts.cut("h2")
    ssh_hosts.cut("h3")
    started = time.monotonic()
    rows = jobs.list()
    assert time.monotonic() - started < 40
    assert {rows[name]["status"] for name in ("two", "three")} <= {"Starting", "Running"}
    jobs.ended("one")
    refused(jobs.mlcli("job", "create", "-f", jobs.file("true", name="four", compute="azureml:h2")), "h2")
    assert "four" not in jobs.list()
    for name in ("h2", "h3"):
        ssh_hosts.mend(name)
    for name, host in (("two", "h2"), ("three", "h3")):
        jobs.ended(name)
        log = jobs.mlcli("job", "stream", "-n", name, "-o", "none").stdout
        assert log == f"{ssh_hosts[host].address} \ndone\n"


def test_a_job_whose_link_is_cut_while_everybody_here_is_killed(ssh_hosts: SshHosts, jobs_on: JobsOn) -> None:
    jobs = jobs_on(ssh_hosts["h1"])
    file = jobs.file(TICKS, name="far")
    streaming = jobs.mlcli.start("job", "create", "-f", file, "--stream", "-o", "none")
    assert streaming.stdout is not None
    assert streaming.stdout.readline() == b"tick 1\n"
    ssh_hosts.cut("h1")
    streaming.kill()
    streaming.communicate()
    time.sleep(60)
    assert jobs.show("far")["status"] == "Running"
    ssh_hosts.mend("h1")
    jobs.ended("far")
    assert jobs.mlcli("job", "stream", "-n", "far", "-o", "none").stdout == ALL_TICKS
    assert (jobs.folder("far") / "count").read_text() == "begun\n"


def test_a_stream_goes_on_when_the_link_is_back(ssh_hosts: SshHosts, jobs_on: JobsOn) -> None:
    """Long enough for the connection to be given up."""
    jobs = jobs_on(ssh_hosts["h1"])
    streaming = jobs.mlcli.start("job", "create", "-f", jobs.file(TICKS, name="far"), "--stream", "-o", "none")
    assert streaming.stdout is not None
    assert streaming.stdout.readline() == b"tick 1\n"
    ssh_hosts.cut("h1")
    timer = threading.Timer(35, lambda: ssh_hosts.mend("h1"))
    timer.start()
    rest, problems = streaming.communicate(timeout=200)
    timer.join()
    assert (streaming.returncode, b"tick 1\n" + rest) == (0, ALL_TICKS.encode()), problems
    assert (jobs.folder("far") / "count").read_text() == "begun\n"


def test_an_upload_goes_on_when_the_link_is_back(ssh_hosts: SshHosts, jobs_on: JobsOn) -> None:
    """The supervisor waits for the machine; when it is killed meanwhile, the next one goes on."""
    jobs = jobs_on(ssh_hosts["h1"])
    with (jobs.mlcli.cwd / "big").open("wb") as file:
        file.truncate(400_000_000)
    command = COUNTED + "wc -c < ${{inputs.x}}"
    jobs.create(command, name="big", inputs={"x": {"type": "uri_file", "path": "./big"}})
    wait_for(lambda: list((jobs.far / "data").glob(".*")))
    ssh_hosts.cut("h1")
    who = wait_for(lambda: jobs.near_document("big", "supervisor.json"))
    os.killpg(who["pid"], signal.SIGKILL)
    wait_for(lambda: not agent.is_alive(who))
    assert jobs.show("big")["status"] == "Preparing"
    other = wait_for(lambda: (told := jobs.near_document("big", "supervisor.json")) != who and told)
    time.sleep(20)  # it has found that nobody answers, and tries again
    assert agent.is_alive(other)
    assert jobs.show("big")["status"] == "Preparing"
    ssh_hosts.mend("h1")
    jobs.ended("big")
    assert jobs.log("big") == b"400000000\n"
    assert (jobs.folder("big") / "count").read_text() == "begun\n"


def test_a_cancel_of_a_job_whose_machine_does_not_answer(ssh_hosts: SshHosts, jobs_on: JobsOn) -> None:
    """It is noted, and done when the machine is back."""
    jobs = jobs_on(ssh_hosts["h1"])
    jobs.create("sleep 1000", name="far")
    wait_for(lambda: jobs.show("far")["status"] == "Running")
    ssh_hosts.cut("h1")
    refused(jobs.cancel("far"), "no answer")
    assert jobs.show("far")["status"] == "CancelRequested"
    ssh_hosts.mend("h1")
    jobs.ended("far", "Canceled")
    assert not jobs.processes("far")


def test_a_sweep_that_is_cancelled_while_its_machine_is_away(ssh_hosts: SshHosts, jobs_on: JobsOn) -> None:
    """What ends meanwhile is no reason to begin more."""
    jobs = jobs_on(ssh_hosts["h1"])
    file = jobs.file(
        "true",
        name="sweep",
        type="sweep",
        sampling_algorithm="grid",
        trial={"command": COUNTED + "echo metric: loss=${{search_space.x}}; sleep 6", "environment": "current"},
        search_space={"x": {"type": "choice", "values": [1, 2, 3, 4, 5, 6]}},
        objective={"primary_metric": "loss", "goal": "minimize"},
        limits={"max_total_trials": 6, "max_concurrent_trials": 3, "timeout": 600},
    )
    document = json.loads(file.read_text())
    del document["command"], document["environment"]
    file.write_text(json.dumps(document))
    assert jobs.mlcli("job", "create", "-f", file, "-o", "none").code == 0
    wait_for(lambda: all((jobs.folder(f"sweep_{number}") / "agent.json").exists() for number in range(3)))
    ssh_hosts.cut("h1")
    wait_for(lambda: all((jobs.folder(f"sweep_{number}") / "exit.json").exists() for number in range(3)))
    assert jobs.cancel("sweep").code == 0
    ssh_hosts.mend("h1")
    assert "3 completed" in jobs.ended("sweep", "Canceled")["status_message"]
    assert {run.name for run in jobs.folder("sweep").parent.iterdir()} <= {"sweep", "sweep_0", "sweep_1", "sweep_2"}


@pytest.mark.network
def test_iris_is_learnt_there(jobs: FarJobs) -> None:
    """The example, but for the compute's name: code, a conda file, data, outputs, metrics."""
    file = copy_of_iris(jobs.mlcli.cwd / "example") / "job.yml"
    done = jobs.mlcli(
        "job", "create", "-f", file, "-n", "iris", "--set", "compute=azureml:box", "--stream", "-o", "none"
    )
    assert done.code == 0, done.stderr
    assert "test-multi_logloss" in done.stdout
    assert jobs.mlcli("job", "download", "-n", "iris", "-o", "none").code == 0
    assert (jobs.mlcli.cwd / "iris" / "outputs" / "model.txt").read_text().startswith("tree")
