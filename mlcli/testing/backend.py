"""What every backend must do. Subclass it, give the fixtures, and run it with pytest.

Implementations of other packages run the same suite over theirs::

    class TestMine(BackendContract):
        @pytest.fixture
        def backend(self):
            return MyBackend()

        @pytest.fixture
        def run_folder(self):
            return "/an/absolute/path/there/NAME"

        @pytest.fixture
        def snapshots(self, tmp_path):
            return ContentStore(tmp_path, Settings())
"""

from __future__ import annotations

import os
import posixpath
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlcli.domain.errors import MlcliError
from mlcli.domain.job import EnvironmentSpec
from mlcli.domain.observation import Observation, Sight
from mlcli.domain.plan import EnvironmentPlan, OutputPlan, Plan
from mlcli.domain.run import ExitRecord
from mlcli.ports.backends import Backend, Prepared, RunHandle, Submitted
from mlcli.ports.environments import Activation
from mlcli.ports.stores import SnapshotStore

LOG = "user_logs/std_log.txt"
DEADLINE_S = 120.0
COUNTED = "echo begun >> ../count; "


def planned(run_folder: str, command: str, **changes: Any) -> Plan:
    """The plan of a job that runs ``command`` in the current environment; ``changes`` are other fields of Plan."""
    environment = EnvironmentPlan("current", EnvironmentSpec(interpreter="current"), None, cached=True, description="")
    plan = Plan(
        run=posixpath.basename(run_folder),
        experiment_name="conformance",
        compute="local",
        backend="local",
        run_folder=run_folder,
        working_directory=posixpath.join(run_folder, "wd"),
        command=command,
        environment=environment,
    )
    return replace(plan, **changes)


class Job:
    """One job of the test: submitted, looked at, and ended when the test is over."""

    def __init__(self, backend: Backend, snapshots: SnapshotStore, run_folder: str) -> None:
        self.backend = backend
        self.snapshots = snapshots
        self.folder = run_folder
        self.handle = RunHandle(posixpath.basename(run_folder), run_folder)

    def submit(
        self,
        command: str,
        *,
        activation: Activation = Activation(),  # noqa: B008  (frozen)
        snapshot: str | None = None,
        secrets: dict[str, str] | None = None,
        **changes: Any,
    ) -> None:
        prepared = Prepared(planned(self.folder, command, **changes), activation, snapshot, secrets or {})
        answer = self.backend.submit(prepared, self.snapshots)
        assert isinstance(answer, Submitted), answer
        self.handle = replace(self.handle, native_id=answer.native_id)

    def look(self) -> Observation:
        return self.backend.observe([self.handle])[self.handle.name]

    def wait(self) -> ExitRecord:
        """Its end."""
        record = self.until(lambda: self.look().exit)
        assert isinstance(record, ExitRecord)
        return record

    def run(self, command: str, **changes: Any) -> ExitRecord:
        self.submit(command, **changes)
        return self.wait()

    def log(self) -> bytes:
        return self.backend.read(self.handle, LOG) or b""

    def says(self, text: bytes) -> None:
        self.until(lambda: text in self.log())

    def until(self, what: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + DEADLINE_S
        while not (answer := what()):
            assert time.monotonic() < deadline, f"it did not happen: {self.look()}"
            time.sleep(0.02)
        return answer


class BackendContract:
    """A job is started once, seen as it is, ended when that is asked for, and its files can be had."""

    @pytest.fixture
    def backend(self) -> Backend:
        """The backend under test."""
        raise NotImplementedError

    @pytest.fixture
    def run_folder(self) -> str:
        """An absolute path there for one run's folder; it need not exist."""
        raise NotImplementedError

    @pytest.fixture
    def snapshots(self) -> SnapshotStore:
        """A store of code snapshots on this machine."""
        raise NotImplementedError

    @pytest.fixture
    def job(self, backend: Backend, snapshots: SnapshotStore, run_folder: str) -> Any:
        job = Job(backend, snapshots, run_folder)
        yield job
        backend.cancel(job.handle)
        job.until(lambda: job.look().sight not in {Sight.RUNNING, Sight.STARTING})
        backend.close()

    def test_a_command_runs_to_its_end(self, job: Job) -> None:
        before = time.time()
        record = job.run("echo hello; echo oops >&2")
        assert (record.cause, record.code, record.signal) == ("exit", 0, None)
        assert record.started_at is not None
        assert before - 60 < record.started_at <= record.ended_at < time.time() + 60
        assert job.log() == b"hello\noops\n"

    def test_it_is_seen_running(self, job: Job) -> None:
        job.submit("echo ready; sleep 1000")
        job.says(b"ready")
        told = job.look()
        assert told.sight is Sight.RUNNING
        assert told.started_at is not None

    def test_its_exit_code_is_its_own(self, job: Job) -> None:
        record = job.run("exit 3")
        assert (record.cause, record.code, record.signal) == ("exit", 3, None)

    def test_a_signal_is_told(self, job: Job) -> None:
        record = job.run("kill -9 $$")
        assert (record.cause, record.code, record.signal) == ("exit", 137, 9)

    def test_a_run_submitted_twice_starts_once(self, job: Job) -> None:
        job.submit(COUNTED + "sleep 0.3")
        job.submit(COUNTED + "sleep 0.3")
        job.wait()
        job.submit(COUNTED)
        job.wait()
        assert job.backend.read(job.handle, "count") == b"begun\n"

    def test_the_code_is_a_fresh_copy_with_folders_for_its_results(self, job: Job, tmp_path: Path) -> None:
        code = tmp_path / "code"
        (code / "src").mkdir(parents=True)
        (code / "src" / "train.sh").write_text("echo trained > ../outputs/model; echo log > ../logs/log; pwd; ls ..")
        digest = job.snapshots.put(code).digest
        assert job.run("cd src && sh train.sh && rm train.sh", snapshot=digest).code == 0
        where, *listed = job.log().decode().splitlines()
        assert where.endswith("/wd/src")
        assert listed == ["logs", "outputs", "src"]
        assert job.backend.read(job.handle, "wd/outputs/model") == b"trained\n"
        again = tmp_path / "again"
        job.snapshots.materialise(digest, again)
        assert (again / "src" / "train.sh").exists()

    def test_named_outputs_have_a_place(self, job: Job) -> None:
        folder, file = f"{job.folder}/named-outputs/model", f"{job.folder}/named-outputs/report/report"
        outputs = (OutputPlan("model", folder), OutputPlan("report", file, type="uri_file"))
        command = f"echo m > '{folder}/m'; echo r > '{file}'"
        assert job.run(command, outputs=outputs).code == 0
        assert job.backend.list_files(job.handle, "named-outputs") == {"model/m": 2, "report/report": 2}

    def test_its_environment(self, job: Job, run_folder: str) -> None:
        activation = Activation(
            argv_prefix=("env", "PREFIX=yes"),
            prepend_path=(f"{run_folder}/wd/first",),
            append_path=(f"{run_folder}/wd/last",),
            environment_variables={"ENVIRONMENT": "its", "BOTH": "environment"},
            unset=("HOME",),
        )
        record = job.run(
            'echo "$PREFIX $ENVIRONMENT $BOTH $JOB ${HOME-none} $PYTHONUNBUFFERED $TOKEN"; echo "$PATH"',
            activation=activation,
            environment_variables={"JOB": "a 'b' \"c\" $d", "BOTH": "job"},
            secrets={"TOKEN": "secret"},
        )
        assert record.code == 0
        line, path = job.log().decode().splitlines()
        assert line == "yes its job a 'b' \"c\" $d none 1 secret"
        folders = path.split(":")
        assert (folders[0], folders[-1]) == (f"{run_folder}/wd/first", f"{run_folder}/wd/last")
        assert len(folders) > 2

    def test_a_secret_is_kept_nowhere(self, job: Job) -> None:
        job.run("test -n $TOKEN", secrets={"TOKEN": "very-secret-word"})
        for path in job.backend.list_files(job.handle):
            assert b"very-secret-word" not in (job.backend.read(job.handle, path) or b""), path

    def test_a_command_that_cannot_be_started_says_why(self, job: Job) -> None:
        record = job.run("true", activation=Activation(argv_prefix=("no-such-program",)))
        assert (record.cause, record.code) == ("not_started", None)
        assert "no-such-program" in record.message

    def test_a_cancelled_job_ends(self, job: Job) -> None:
        job.submit("sleep 1000 & echo ready; wait")
        job.says(b"ready")
        job.backend.cancel(job.handle)
        job.backend.cancel(job.handle)
        assert job.wait().cause == "canceled"
        job.backend.cancel(job.handle)
        assert job.wait().cause == "canceled"

    def test_a_job_cancelled_before_its_submission_never_starts(self, job: Job) -> None:
        job.backend.cancel(job.handle)
        job.submit(COUNTED)
        assert job.wait().cause == "canceled"
        assert job.backend.read(job.handle, "count") is None

    def test_the_time_limit_ends_it(self, job: Job) -> None:
        assert job.run("sleep 1000", timeout_s=0.3).cause == "time_limit"

    def test_many_are_observed_at_once(self, job: Job, run_folder: str) -> None:
        job.run("true")
        nobody = RunHandle("nobody", f"{run_folder}-nobody")
        told = job.backend.observe([job.handle, nobody])
        assert {name: observation.sight for name, observation in told.items()} == {
            job.handle.name: Sight.EXITED,
            "nobody": Sight.ABSENT,
        }
        assert job.backend.observe([]) == {}

    def test_a_log_is_read_from_an_offset(self, job: Job) -> None:
        job.run("printf '0123456789'")
        assert job.backend.read(job.handle, LOG, 4) == b"456789"
        assert job.backend.read(job.handle, LOG, 4, 2) == b"45"
        assert job.backend.read(job.handle, LOG, 10) == b""
        assert job.backend.read(job.handle, "user_logs/none.txt") is None

    def test_files_are_listed(self, job: Job) -> None:
        job.run("mkdir -p outputs/a; printf 12345 > outputs/a/five; touch outputs/none; ln -s a outputs/latest")
        listed = {"a/five": 5, "latest/five": 5, "none": 0}
        assert job.backend.list_files(job.handle, "wd/outputs") == listed
        assert job.backend.list_files(job.handle, "wd/nowhere") == {}

    def test_a_folder_is_fetched_whole(self, job: Job, tmp_path: Path) -> None:
        job.run(
            "mkdir -p 'outputs/a b'; head -c 100000 /dev/zero > 'outputs/a b/model'; echo x > outputs/x; ln -s x outputs/l"
        )
        target = tmp_path / "fetched"
        target.mkdir()
        (target / "x").write_text("older")
        seen: list[tuple[str, int]] = []
        job.backend.fetch(job.handle, "wd/outputs", target, lambda path, size: seen.append((path, size)))
        assert (target / "a b" / "model").read_bytes() == bytes(100_000)
        assert (target / "x").read_text() == (target / "l").read_text() == "x\n"
        assert dict(seen) == {"a b/model": 100_000, "x": 2, "l": 2}

    def test_one_file_is_fetched_with_its_time(self, job: Job, tmp_path: Path) -> None:
        job.run("echo x > outputs/x; touch -t 200109090146.40 outputs/x")
        job.backend.fetch(job.handle, "wd/outputs/x", tmp_path / "made" / "x")
        assert (tmp_path / "made" / "x").read_text() == "x\n"
        assert time.time() - os.stat(tmp_path / "made" / "x").st_mtime > 86400  # noqa: PTH116

    def test_what_is_not_there_cannot_be_fetched(self, job: Job, tmp_path: Path) -> None:
        job.run("true")
        with pytest.raises(MlcliError):
            job.backend.fetch(job.handle, "wd/nothing", tmp_path / "target")
        assert not (tmp_path / "target").exists()

    @pytest.mark.parametrize("path", ["../other", "/etc/passwd", "wd/../../other", ".."])
    def test_nothing_outside_the_run_folder_is_read(self, job: Job, tmp_path: Path, path: str) -> None:
        with pytest.raises(MlcliError, match="leads out"):
            job.backend.read(job.handle, path)
        with pytest.raises(MlcliError, match="leads out"):
            job.backend.list_files(job.handle, path)
        with pytest.raises(MlcliError, match="leads out"):
            job.backend.fetch(job.handle, path, tmp_path / "target")

    def test_output_is_kept_byte_for_byte(self, job: Job) -> None:
        job.run(r"printf '10%%\r20%%\r\001\377'")
        assert job.log() == b"10%\r20%\r\x01\xff"

    def test_files_of_this_machine_are_delivered(self, job: Job, tmp_path: Path) -> None:
        """Linked, or copied so that they may be written to; what was delivered once is not sent again."""
        source, told = tmp_path / "source", list[str]()
        (source / "sub").mkdir(parents=True)
        (source / "sub" / "a").write_text("a\n")
        (source / "run").write_text("#!/bin/sh\necho ran\n")
        (source / "run").chmod(0o755)
        (source / "link").symlink_to("sub/a")
        for target, copy in (("x/data", False), ("x/again", False), ("x/data", False), ("x/copy", True)):
            job.backend.deliver(source, f"{job.folder}/inputs/{target}", told.append, copy=copy)
        job.backend.deliver(source / "run", f"{job.folder}/inputs/y/one", told.append, copy=True)
        assert [line.split()[0] for line in told].count("sending") == 2
        command = (
            "cd ../inputs; cat x/data/link x/again/sub/a; y/one; echo more >> x/copy/sub/a; cat x/copy/link x/data/link"
        )
        assert job.run(command).code == 0
        assert job.log() == b"a\na\nran\na\nmore\na\n"
        assert (source / "sub" / "a").read_text() == "a\n"

    @pytest.mark.parametrize("leads", ["/etc/hostname", "../outside"])
    def test_a_link_that_leaves_what_is_delivered_is_refused(self, job: Job, tmp_path: Path, leads: str) -> None:
        (tmp_path / "source").mkdir()
        (tmp_path / "source" / "link").symlink_to(leads)
        with pytest.raises(MlcliError, match=f"a link to {leads}"):
            job.backend.deliver(tmp_path / "source", f"{job.folder}/inputs/x/data", lambda _: None, copy=False)
