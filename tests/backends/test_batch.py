"""The batch backend over the process scheduler: on this machine, and as if this machine were another one."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from mlcli import agent
from mlcli.backends._folder import launch_record
from mlcli.backends.batch import BatchBackend
from mlcli.domain.errors import UnsupportedError
from mlcli.domain.job import CommandJob, Distribution, EnvironmentSpec, Resources
from mlcli.domain.observation import Sight
from mlcli.domain.plan import InputPlan
from mlcli.domain.settings import Settings
from mlcli.ports.backends import Capabilities, Prepared, Rejected, RunHandle, Submitted, Unknown
from mlcli.ports.environments import Activation
from mlcli.ports.stores import SnapshotStore
from mlcli.ports.transports import Completed
from mlcli.schedulers.process import ProcessScheduler
from mlcli.stores.snapshots import ContentStore
from mlcli.testing.backend import COUNTED, BackendContract, Job, planned
from mlcli.transports.local import LocalTransport

CURRENT = EnvironmentSpec(interpreter="current")


class AnotherMachine(LocalTransport):
    """This machine without the short cut: everything goes through commands and copies."""

    def local(self, path: str) -> Path | None:  # noqa: ARG002
        return None


def local_backend(transport: LocalTransport | None = None) -> BatchBackend:
    return BatchBackend(transport or LocalTransport(), ProcessScheduler(), Settings(kill_grace_s=2.0))


class TestThisMachine(BackendContract):
    @pytest.fixture
    def backend(self) -> BatchBackend:
        return local_backend()

    @pytest.fixture
    def run_folder(self, tmp_path: Path) -> str:
        return str(tmp_path / "a folder" / "quiet_fig_1")

    @pytest.fixture
    def snapshots(self, tmp_path: Path) -> SnapshotStore:
        return ContentStore(tmp_path / "store", Settings())

    def test_an_input_is_linked_where_the_plan_says(self, job: Job, tmp_path: Path) -> None:
        data = tmp_path / "data"
        data.mkdir()
        (data / "iris.csv").write_text("5.1")
        value = f"{job.folder}/inputs/iris/data"
        entry = InputPlan("iris", "local", "link", str(data), value, "ro_mount", "uri_folder")
        assert job.run(f"cat '{value}/iris.csv'", inputs=(entry,)).code == 0
        assert job.log() == b"5.1"

    def test_a_torn_attempt_is_begun_anew(self, job: Job, tmp_path: Path) -> None:
        """Killed while the code was copied: what there is of the working directory never had its name."""
        (tmp_path / "code").mkdir()
        (tmp_path / "code" / "train.py").write_text("print('trained')")
        torn = Path(f"{job.folder}/wd.partial")
        torn.mkdir(parents=True)
        (torn / "half-a-fi").touch()
        digest = job.snapshots.put(tmp_path / "code").digest
        job.run("ls", snapshot=digest)
        assert job.log().split() == [b"logs", b"outputs", b"train.py"]
        assert not torn.exists()

    def test_the_working_directory_of_a_job_that_runs_is_not_touched(self, job: Job) -> None:
        job.submit("echo mine > outputs/x; echo ready; sleep 1000")
        job.says(b"ready")
        job.submit("true")
        assert job.backend.read(job.handle, "wd/outputs/x") == b"mine\n"
        assert job.backend.read(job.handle, agent.LAUNCH) is None

    @pytest.mark.parametrize("record", ["{torn", "[]", "{}", '{"cause": "exit"}'])
    def test_a_damaged_record_is_no_answer(self, job: Job, record: str) -> None:
        job.run("true")
        (Path(job.folder) / agent.EXIT).write_text(record)
        assert job.look().sight is Sight.NO_ANSWER
        assert job.look().evidence

    def test_a_killed_agent_is_seen_as_gone(self, job: Job) -> None:
        job.submit("echo ready; sleep 1000")
        job.says(b"ready")
        record = agent.decode((Path(job.folder) / agent.AGENT).read_bytes())
        os.kill(record["pid"], signal.SIGKILL)
        job.until(lambda: job.look().sight is Sight.GONE)
        assert "was killed" in job.look().evidence
        job.backend.cancel(job.handle)
        job.until(lambda: not agent.is_alive(record["command"]))


class TestAnotherMachine(TestThisMachine):
    @pytest.fixture
    def backend(self) -> BatchBackend:
        return local_backend(AnotherMachine())


SUBMIT = """
import sys
from pathlib import Path
from mlcli.domain.settings import Settings
from mlcli.ports.backends import Prepared
from mlcli.ports.environments import Activation
from mlcli.stores.snapshots import ContentStore
from mlcli.testing.backend import COUNTED, planned
from tests.backends.test_batch import local_backend
folder, store, digest = sys.argv[1:]
prepared = Prepared(planned(folder, COUNTED + "ls"), Activation(), digest)
print("ready", flush=True)
local_backend().submit(prepared, ContentStore(Path(store), Settings()))
"""


@pytest.mark.parametrize("seed", range(8))
def test_a_submission_killed_anywhere_can_be_made_again(tmp_path: Path, seed: int) -> None:
    """kill -9 between any two steps: the next submission starts the job, once, with all of its code."""
    code, store, folder = tmp_path / "code", tmp_path / "store", str(tmp_path / "runs" / "r")
    code.mkdir()
    for number in range(50):
        (code / f"{number:02}.txt").write_text(str(number))
    snapshots = ContentStore(store, Settings())
    digest = snapshots.put(code).digest
    root = Path(__file__).parents[2]
    argv = [sys.executable, "-c", SUBMIT, folder, str(store), digest]
    victim = subprocess.Popen(argv, stdout=subprocess.PIPE, cwd=root)
    assert victim.stdout is not None
    victim.stdout.readline()
    time.sleep(random.Random(seed).uniform(0, 0.08))
    victim.kill()
    victim.communicate()
    job = Job(local_backend(), snapshots, folder)
    job.submit(COUNTED + "ls", snapshot=digest)
    assert job.wait().code == 0
    assert job.backend.read(job.handle, "count") == b"begun\n"
    assert len(job.log().split()) == 50 + len(["logs", "outputs"])


class Dropped(LocalTransport):
    """The starter is killed before it can answer."""

    def run(self, argv: object, **options: object) -> Completed:  # noqa: ARG002
        return Completed(-9, b"", b"")


class WithoutPython(LocalTransport):
    def python(self) -> str:
        return "/no/such/python3"


class BrokenPython(LocalTransport):
    def python(self) -> str:
        return "false"


@pytest.mark.parametrize(
    ("transport", "answer"),
    [(Dropped(), Unknown), (WithoutPython(), Rejected), (BrokenPython(), Rejected), (LocalTransport(), Submitted)],
)
def test_submission_answers(tmp_path: Path, transport: LocalTransport, answer: type) -> None:
    snapshots = ContentStore(tmp_path / "store", Settings())
    told = local_backend(transport).submit(Prepared(planned(str(tmp_path / "r"), "true"), Activation()), snapshots)
    assert isinstance(told, answer), told
    if isinstance(told, (Rejected, Unknown)):
        assert told.message


def test_who_cannot_be_asked_gives_no_answer(tmp_path: Path) -> None:
    told = local_backend(WithoutPython()).observe([RunHandle("r", str(tmp_path / "r"))])
    assert told["r"].sight is Sight.NO_ANSWER
    assert "/no/such/python3" in told["r"].evidence


def test_hundreds_are_observed_in_one_go(tmp_path: Path) -> None:
    runs = [RunHandle(f"r{number}", str(tmp_path / f"r{number}")) for number in range(1100)]
    told = local_backend(AnotherMachine()).observe(runs)
    assert [told[run.name].sight for run in runs] == [Sight.ABSENT] * len(runs)


def test_what_the_agent_is_told_to_run() -> None:
    plan = planned("/runs/r", "python train.py", timeout_s=60.0, environment_variables={"A": "job", "B": "job"})
    activation = Activation(("nice",), ("/venv/bin",), ("/shims",), {"A": "environment", "C": "environment"}, ("X",))
    assert launch_record(Prepared(plan, activation, None, {"B": "secret"}), 10.0) == {
        "version": agent.VERSION,
        "argv": ["nice"],
        "command": "python train.py",
        "working_directory": "/runs/r/wd",
        "log": "user_logs/std_log.txt",
        "timeout_s": 60.0,
        "grace_s": 10.0,
        "tracking": {"run_id": "r", "run_name": "r", "experiment": "conformance"},
        "environment": {
            "defaults": {"PYTHONUNBUFFERED": "1", "MLFLOW_RUN_CONTEXT": '{"mlcli.run": "r"}'},
            "unset": ["X"],
            "set": {"A": "job", "B": "secret", "C": "environment"},
            "prepend_path": ["/venv/bin"],
            "append_path": ["/shims"],
        },
    }


def test_the_host_honours_one_process_on_one_machine() -> None:
    assert local_backend().capabilities() == Capabilities(containers=False, max_instance_count=1)
    assert local_backend().check(CommandJob("true", CURRENT)) == ()


def test_the_limits_of_a_container_are_not_those_of_the_host() -> None:
    (notice,) = local_backend().check(CommandJob("true", CURRENT, resources=Resources(memory="1g", gpus="all")))
    assert notice == "resources.memory, gpus: a limit of containers, not heeded on the host"


def test_more_than_one_machine_is_refused() -> None:
    two = CommandJob("true", CURRENT, resources=Resources(instance_count=2))
    with pytest.raises(UnsupportedError, match="2 instances; compute 'local' is one machine") as error:
        local_backend().check(two)
    assert error.value.hint == "run it on one with: --set resources.instance_count=1 (run configuration: nodeCount 1)"
    with pytest.raises(UnsupportedError, match="compute 'cpu' is one machine"):
        local_backend().check(replace(two, compute="cpu"))


@pytest.mark.parametrize(
    "distribution",
    [
        Distribution("pytorch", process_count_per_instance=2),
        Distribution("mpi", process_count_per_instance=4),
        Distribution("tensorflow", worker_count=2),
        Distribution("tensorflow", worker_count=1, parameter_server_count=1),
        Distribution("ray"),
    ],
)
def test_more_than_one_process_is_refused(distribution: Distribution) -> None:
    with pytest.raises(UnsupportedError, match=distribution.type) as error:
        local_backend().check(CommandJob("true", CURRENT, distribution=distribution))
    assert error.value.hint


@pytest.mark.parametrize(
    "distribution",
    [
        Distribution("pytorch"),
        Distribution("mpi", process_count_per_instance=1),
        Distribution("tensorflow", worker_count=1),
    ],
)
def test_a_distribution_of_one_is_a_plain_command(distribution: Distribution) -> None:
    (notice,) = local_backend().check(CommandJob("true", CURRENT, distribution=distribution))
    assert distribution.type in notice
