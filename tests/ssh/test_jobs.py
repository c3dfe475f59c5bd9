"""Jobs on a machine over SSH, at the command line: the same files, the same words, but for the compute's name."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from mlcli.domain.observation import Sight
from mlcli.domain.settings import Settings
from mlcli.operations import observe
from mlcli.workspace import Workspace
from tests.engines.sshd import SshHost
from tests.faults.helpers import refused, wait_for
from tests.ssh.conftest import ENDS, FarJobs, attach

EXAMPLES = Path(__file__).parents[2] / "examples" / "jobs"
COUNTED = "echo begun >> ../count; "


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """The address of a server that has ``table.csv``."""
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "table.csv").write_text("a,b\n1,2\n")

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(tmp_path / "web"))

        def log_message(self, *_: Any) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def begun(jobs: FarJobs, name: str) -> int:
    """How many times the job's command was started."""
    return (jobs.folder(name) / "count").read_text().count("begun")


# what runs


@pytest.mark.parametrize("example", ["hello-world-2021-06", "hello-world-2021-11", "hello-world"])
def test_hello_world_of_each_generation(jobs: FarJobs, example: str) -> None:
    text = (EXAMPLES / f"{example}.yml").read_text()
    file = jobs.mlcli.cwd / "job.yml"
    file.write_text(text.replace("../../schemas", str(EXAMPLES.parents[1] / "schemas")).replace("local", "azureml:box"))
    done = jobs.mlcli("job", "create", "-f", file, "--stream", "-o", "none")
    assert (done.code, done.stdout) == (0, "hello world\n"), done.stderr
    assert ("the image python:3.11 is not used" in done.stderr) == (example != "hello-world")


def test_code_inputs_and_outputs(jobs: FarJobs, web: str) -> None:
    """Values, files, folders and addresses go there; what has a name or a place here comes back."""
    here = jobs.mlcli.cwd
    (here / "data" / "deep").mkdir(parents=True)
    (here / "data" / "deep" / "a.txt").write_text("a\n")
    (here / "data" / "link").symlink_to("deep/a.txt")
    (here / "own.txt").write_text("own\n")
    (here / "src").mkdir()
    (here / "src" / "go.sh").write_text(
        'cat "$1/link" "$2" "$3"; echo "$4"; echo more >> "$2"; cat "$2"; cp "$2" "$5"\n'
    )
    inputs = {
        "folder": {"type": "uri_folder", "path": "./data"},
        "copy": {"type": "uri_file", "path": "./own.txt", "mode": "download"},
        "table": {"type": "uri_file", "path": f"{web}/table.csv"},
        "words": "it's two words",
    }
    outputs = {
        "kept": {"type": "uri_folder"},
        "one": {"type": "uri_file", "path": str(here / "home" / "one.txt")},
        "named": {"type": "uri_folder", "name": "things"},
    }
    command = (
        "sh go.sh ${{inputs.folder}} ${{inputs.copy}} ${{inputs.table}} ${{inputs.words}} ${{outputs.one}}; "
        "echo kept > ${{outputs.kept}}/k; mkdir ${{outputs.named}}/sub; echo named > ${{outputs.named}}/sub/n; pwd"
    )
    fields = {"inputs": inputs, "outputs": outputs, "code": "./src", "name": "with_data"}
    done = jobs.run(command, **fields)
    assert done.code == 0, done.stderr
    *log, folder = done.stdout.partition("{")[0].splitlines()
    assert log == ["a", "own", "a,b", "1,2", "it's two words", "own", "more"]
    assert folder == f"{jobs.folder('with_data')}/wd"
    assert (here / "home" / "one.txt").read_text() == "own\nmore\n"
    assert (here / "own.txt").read_text() == "own\n"
    shown = jobs.mlcli("data", "show", "-n", "things", "-v", "1").json
    assert (Path(shown["path"]) / "sub" / "n").read_text() == "named\n"
    assert Path(shown["path"]).is_relative_to(jobs.workspace)
    jobs.mlcli("job", "download", "-n", "with_data", "--output-name", "kept", "-o", "none")
    assert (here / "with_data" / "named-outputs" / "kept" / "k").read_text() == "kept\n"

    sent = {path.name for path in (jobs.far / "data").iterdir()}
    done = jobs.run(command, **{**fields, "name": "again"})
    assert done.code == 0, done.stderr
    assert "is there already: not sent again" in done.stderr
    assert "sending" not in done.stderr
    assert {path.name for path in (jobs.far / "data").iterdir()} == sent
    made = "azureml://jobs/with_data/outputs/kept/paths/"
    done = jobs.run("cat ${{inputs.made}}/k", inputs={"made": {"type": "uri_folder", "path": made}})
    assert done.stdout.startswith("kept\n"), done.stderr


def test_inputs_that_cannot_be_sent(jobs: FarJobs) -> None:
    (jobs.mlcli.cwd / "data").mkdir()
    (jobs.mlcli.cwd / "data" / "out").symlink_to("/etc/hostname")
    given = {"x": {"type": "uri_folder", "path": "./data"}}
    done = jobs.run("true", inputs=given)
    refused(done, "a link to /etc/hostname, which is not sent with it")
    given["x"]["path"] = "./nowhere"
    refused(jobs.run("true", inputs=given), "there is no folder './nowhere'")


def test_variables_of_the_job_and_none_of_ours(jobs: FarJobs) -> None:
    done = jobs.run("echo $MINE-$AZUREML_RUN_ID-$MLCLI_HOME-", name="var", environment_variables={"MINE": "a b"})
    assert done.stdout.startswith("a b-var--\n"), done.stderr


# how it ends


def test_an_exit_code_a_time_limit_a_cancel(jobs: FarJobs) -> None:
    done = jobs.run("echo so; exit 3", name="three")
    refused(done, "the command exited with code 3", "so")
    jobs.create("sleep 1000", name="short", limits={"timeout": 1})
    jobs.create(COUNTED + "echo up; sleep 1000", name="stopped")
    jobs.says("stopped", "up")
    assert jobs.show("stopped")["status"] == "Running"
    assert jobs.cancel("stopped").code == 0
    jobs.ended("stopped", "Canceled")
    assert not jobs.processes("stopped")
    assert "time limit" in jobs.ended("short", "Canceled")["status_message"]
    assert jobs.show("three")["exit_code"] == 3


def test_a_cancel_while_data_is_sent(jobs: FarJobs) -> None:
    with (jobs.mlcli.cwd / "big").open("wb") as file:
        file.truncate(3_000_000_000)
    jobs.create("true", name="much", inputs={"x": {"type": "uri_file", "path": "./big"}})
    wait_for((jobs.near("much") / "supervisor.json").exists)
    assert jobs.cancel("much").code == 0
    jobs.ended("much", "Canceled")
    assert not (jobs.folder("much") / "agent.json").exists()


def test_the_log_comes_as_it_is_written(jobs: FarJobs) -> None:
    """Well within a second, over one connection."""
    jobs.file("for i in 1 2 3; do date +%s.%N; sleep 0.7; done", name="ticks")
    streaming = jobs.mlcli.start("job", "create", "-f", jobs.mlcli.cwd / "ticks.yml", "--stream", "-o", "none")
    assert streaming.stdout is not None
    late = [time.time() - float(line) for line in streaming.stdout]
    streaming.communicate()
    assert streaming.returncode == 0
    assert len(late) == 3
    assert min(late) < 1.0


# what is left, and what is found


def test_a_deleted_run_is_deleted_there_too(jobs: FarJobs) -> None:
    jobs.run("true", name="gone")
    assert jobs.folder("gone").is_dir()
    assert jobs.mlcli("job", "delete", "-n", "gone", "--yes").code == 0
    assert not jobs.folder("gone").exists()
    assert jobs.folder("gone").parent.is_dir()


def test_two_computes_and_one_that_is_gone(jobs: FarJobs, ssh_host: SshHost) -> None:
    """Each has its own folder; the runs of a compute that was detached are still found."""
    other = jobs.far.parent / "other far"
    attach(jobs.mlcli, "other", ssh_host.name, other)
    jobs.create("echo here; sleep 2; echo done", name="left", compute="azureml:other")
    assert jobs.run("echo there", name="right").code == 0
    assert jobs.mlcli("compute", "detach", "-n", "other", "--yes", "--force").code in {0, 1}
    assert wait_for(lambda: jobs.show("left")["status"] in ENDS)
    assert jobs.show("left")["compute"] == "other"
    assert len(list(other.glob("runs/*/left"))) == 1
    log = jobs.mlcli("job", "stream", "-n", "left", "-o", "none")
    assert log.stdout.startswith("here\n"), log.stderr


def test_a_download_goes_on_where_it_was_killed(jobs: FarJobs) -> None:
    jobs.run("head -c 60000000 /dev/urandom > outputs/big; echo small > outputs/small", name="heavy")
    target = jobs.mlcli.cwd / "heavy" / "outputs"
    loading = jobs.mlcli.start("job", "download", "-n", "heavy")
    wait_for(lambda: any(part.name != "small" for part in target.glob("*")) or loading.poll() is not None)
    loading.kill()
    loading.communicate()
    assert jobs.mlcli("job", "download", "-n", "heavy").code == 0
    assert sorted(os.listdir(target)) == ["big", "small"]
    same = subprocess.run(["cmp", target / "big", jobs.folder("heavy") / "wd" / "outputs" / "big"], check=False)
    assert same.returncode == 0


@pytest.mark.slow
def test_an_ended_job_can_be_looked_at_when_its_machine_is_gone(
    jobs_on: Callable[[SshHost], FarJobs], make_ssh_host: Callable[..., SshHost]
) -> None:
    host = make_ssh_host()
    jobs = jobs_on(host)
    jobs.run("echo first; echo last; false", name="failed")
    jobs.create("sleep 1000", name="on")
    wait_for(lambda: jobs.show("on")["status"] == "Running")
    jobs.kill_processes("on")
    host.stop()
    done = jobs.mlcli("job", "stream", "-n", "failed")
    assert done.stdout == "first\nlast\n", done.stderr
    done = jobs.mlcli("job", "show", "-n", "on")
    assert done.code == 0, done.stderr
    assert done.json["status"] == "Running"
    assert "its jobs are shown as they were seen last" in done.stderr
    refused(jobs.mlcli("job", "create", "-f", jobs.file("true", name="never")), "connection refused")
    refused(jobs.mlcli("job", "show", "-n", "never"), "there is no run", code=3)
    host.start()
    assert jobs.ended("on", "Failed")["status_message"]


# twenty at once


@pytest.mark.slow
def test_twenty_jobs_are_seen_in_one_round_trip(
    jobs: FarJobs, monkeypatch: pytest.MonkeyPatch, ssh_host: SshHost
) -> None:
    for name, value in ssh_host.environment.items():
        monkeypatch.setenv(name, value)
    workspace = Workspace(jobs.mlcli.home, "default", Settings())
    file = jobs.file(COUNTED + "sleep 1000")
    starting = [
        jobs.mlcli.start("job", "create", "-f", file, "-n", f"many_{number}", "-o", "none") for number in range(20)
    ]
    for each in starting:
        _, problems = each.communicate()
        assert each.returncode == 0, problems
    runs = [workspace.runs.get(f"many_{number}") for number in range(20)]
    backend = workspace.backend(runs[0].backend)
    handles = [observe.handle(workspace, run) for run in runs]
    backend.connect()
    backend.observe(handles[:1])
    (transport,) = workspace._transports.values()
    before = transport.frames
    seen = backend.observe(handles)
    assert transport.frames - before == 1
    assert [seen[run.name].sight for run in runs] == [Sight.RUNNING] * 20
    for run in runs:
        assert begun(jobs, run.name) == 1
        backend.cancel(observe.handle(workspace, run))
    backend.close()
    wait_for(lambda: all(jobs.list()[run.name]["status"] == "Canceled" for run in runs))


# whoever is killed


@pytest.mark.parametrize("after_s", [0.4, 0.55, 0.7, 0.85, 1.0])
def test_a_killed_create_starts_nothing_twice_and_loses_nothing(jobs: FarJobs, after_s: float) -> None:
    name = f"killed_{after_s:g}".replace(".", "_")
    creating = jobs.mlcli.start("job", "create", "-f", jobs.file(COUNTED + "sleep 0.5; echo done", name=name))
    time.sleep(after_s)
    creating.kill()
    creating.communicate()
    if name not in jobs.list():
        return  # it had not begun
    jobs.ended(name)
    assert begun(jobs, name) == 1
    assert jobs.mlcli("job", "stream", "-n", name, "-o", "none").stdout == "done\n"


def test_a_killed_supervisor_is_replaced(jobs: FarJobs) -> None:
    with (jobs.mlcli.cwd / "big").open("wb") as file:
        file.truncate(300_000_000)
    given = {"x": {"type": "uri_file", "path": "./big"}}
    jobs.create(COUNTED + "wc -c < ${{inputs.x}}", name="orphan", inputs=given)
    who = wait_for(lambda: jobs.near_document("orphan", "supervisor.json"))
    os.killpg(who["pid"], signal.SIGKILL)
    jobs.ended("orphan")
    assert begun(jobs, "orphan") == 1
    assert jobs.log("orphan") == b"300000000\n"
