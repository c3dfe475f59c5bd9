"""A transport and a scheduler composed: local processes, and whatever else has a shell and a batch system."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path

from mlcli import agent
from mlcli.domain.errors import MlcliError, TransportError, UnsupportedError
from mlcli.domain.job import CommandJob, Distribution
from mlcli.domain.observation import Observation, Sight, told_by_agent
from mlcli.domain.plan import OutputPlan
from mlcli.domain.settings import Settings
from mlcli.ports.backends import (
    Backend,
    Capabilities,
    Prepared,
    Rejected,
    RunHandle,
    Submission,
    Submitted,
    Unknown,
)
from mlcli.ports.schedulers import Scheduler
from mlcli.ports.stores import SnapshotStore
from mlcli.ports.transports import Transport

LOG = "user_logs/std_log.txt"
_ASKED_AT_ONCE = 500  # run folders in one command line, well below the shortest limit (128 KB for one argument of ssh)
_RENAME = "import os, sys; os.rename(sys.argv[1], sys.argv[2])"


class BatchBackend(Backend):
    """Runs jobs where ``transport`` leads, by way of ``scheduler``. The agent there does the watching."""

    def __init__(self, transport: Transport, scheduler: Scheduler, settings: Settings, *, name: str = "local") -> None:
        self.name = name
        self._transport = transport
        self._scheduler = scheduler
        self._settings = settings

    def capabilities(self) -> Capabilities:
        """One process on one machine, on the host."""
        return Capabilities()

    def check(self, job: CommandJob) -> tuple[str, ...]:
        """Refuse more than one node or process; say what becomes of a distribution of one."""
        if job.resources.instance_count > self.capabilities().max_instance_count:
            raise UnsupportedError(
                f"the job asks for {job.resources.instance_count} instances; compute {self.name!r} is one machine",
                hint="run it on one with: --set resources.instance_count=1",
            )
        if job.distribution is not None:
            _check_distribution(job.distribution, self.name)
        return tuple(_notices(job))

    def submit(self, prepared: Prepared, snapshots: SnapshotStore | None) -> Submission:
        """Lay out the run folder and start the agent in it. Each step is safe to do again after a kill at any point;
        once an agent has begun (or the run was cancelled before), nothing in the folder is touched again.
        """
        folder = prepared.plan.run_folder
        if all(self._transport.read(posixpath.join(folder, name)) is None for name in (agent.AGENT, agent.EXIT)):
            self._lay_out(prepared, snapshots)
        return self._start(folder)

    def _lay_out(self, prepared: Prepared, snapshots: SnapshotStore | None) -> None:
        plan = prepared.plan
        for folder in ("user_logs", "system_logs"):
            self._transport.make_folder(posixpath.join(plan.run_folder, folder))
        self._place_code(plan.working_directory, prepared.snapshot, snapshots)
        for folder in ("outputs", "logs"):
            self._transport.make_folder(posixpath.join(plan.working_directory, folder))
        for output in plan.outputs:
            self._transport.make_folder(_folder_of(output))
        for entry in plan.inputs:
            if entry.action == "link":
                self._link(entry.source, entry.value)
        launch = agent.encode(launch_record(prepared, self._settings.kill_grace_s))
        self._transport.write(posixpath.join(plan.run_folder, agent.LAUNCH), launch.encode())

    def _start(self, run_folder: str) -> Submission:
        argv = self._scheduler.submit_argv(run_folder, **self._agent())
        try:
            return Submitted(self._scheduler.parse_submit(self._transport.run(argv)))
        except TransportError as failed:
            return Unknown(failed.message) if failed.transient else Rejected(failed.message)
        except MlcliError as refused:
            return Rejected(refused.message)

    def _agent(self) -> dict[str, str]:
        return {"python": self._transport.python(), "agent": self._transport.agent_folder()}

    def _place_code(self, target: str, digest: str | None, snapshots: SnapshotStore | None) -> None:
        """The working directory, a fresh copy of the snapshot: it gets its name when it is complete."""
        near = self._transport.local(target)
        if near is None:
            self._place_code_there(target, digest, snapshots)
        elif not near.is_dir():
            _place_code_here(near, digest, snapshots)

    def _place_code_there(self, target: str, digest: str | None, snapshots: SnapshotStore | None) -> None:
        import tempfile

        if self._transport.run(["test", "-d", target]).code == 0:
            return
        partial = f"{target}.partial"
        self._command("rm", "-rf", partial)
        self._transport.make_folder(partial)
        if digest is not None and snapshots is not None:
            with tempfile.TemporaryDirectory(prefix="mlcli-") as staging:
                snapshots.materialise(digest, Path(staging))
                self._transport.put(Path(staging), partial)
        self._command(self._transport.python(), "-I", "-S", "-c", _RENAME, partial, target)

    def _link(self, source: str, target: str) -> None:
        self._transport.make_folder(posixpath.dirname(target))
        self._command("ln", "-sfn", source, target)

    def _command(self, *argv: str) -> None:
        done = self._transport.run(argv)
        if done.code != 0:
            raise TransportError(_words(done.stderr) or f"{argv[0]} ended with code {done.code}", transient=False)

    def observe(self, runs: Sequence[RunHandle]) -> Mapping[str, Observation]:
        """What the run folders themselves tell where they can be read, and one question for all the others."""
        seen = {}
        for run in runs:
            told = self._look(run)
            if told is not None:
                seen[run.name] = told
        asked = iter([run for run in runs if run.name not in seen])
        while group := list(islice(asked, _ASKED_AT_ONCE)):
            seen.update(self._ask(group))
        return seen

    def _look(self, run: RunHandle) -> Observation | None:
        """The run's end, or that its agent lives: facts, whatever the scheduler believes; None when only it can tell."""
        folder = self._transport.local(run.run_folder)
        if folder is None:
            return None
        try:
            told = told_by_agent(agent.observe(str(folder)))
        except (KeyError, TypeError, ValueError):  # a record that somebody has damaged
            return None
        return told if told.sight in {Sight.EXITED, Sight.RUNNING} else None

    def _ask(self, runs: Sequence[RunHandle]) -> Mapping[str, Observation]:
        ids = [run.native_id or run.run_folder for run in runs]
        try:
            answer = self._transport.run(self._scheduler.query_argv(ids, **self._agent()))
        except TransportError as failed:
            return {run.name: Observation(Sight.NO_ANSWER, evidence=failed.message) for run in runs}
        told = self._scheduler.parse_query(ids, answer)
        return {run.name: told[native_id] for run, native_id in zip(runs, ids, strict=True)}

    def cancel(self, run: RunHandle) -> None:
        """Tell the agent (or what it left running when it was killed); a run that has not started never will."""
        self._command(*self._scheduler.cancel_argv(run.native_id or run.run_folder, **self._agent()))

    def read(self, run: RunHandle, path: str, offset: int = 0, limit: int | None = None) -> bytes | None:
        """Bytes of a file below the run folder."""
        return self._transport.read(_below(run, path), offset, limit)

    def list_files(self, run: RunHandle, folder: str = ".") -> Mapping[str, int]:
        """Files below a folder of the run folder.

        A symbolic link to a file counts as that file; one to a folder only while it stays inside the run folder.
        """
        _below(run, folder)
        near = self._transport.local(run.run_folder)
        if near is not None:
            files: Mapping[str, int] = agent.list_files(str(near), folder)["files"]
            return files
        argv = agent.invocation(*self._agent().values(), "list", run.run_folder, folder)
        answer = self._transport.run(argv)
        if answer.code != 0:
            raise TransportError(_words(answer.stderr), transient=False)
        told: Mapping[str, int] = agent.decode(answer.stdout)["files"]
        return told

    def fetch(
        self, run: RunHandle, path: str, target: Path, progress: Callable[[str, int], None] | None = None
    ) -> None:
        """Copy a file to ``target``, or a folder's files below it; ``progress`` takes each path and size when it is there.

        Each file appears whole, with its modification time. Files that are there already are replaced. One that a
        running job has taken away since it was listed (a checkpoint under its first name) is left out.
        """
        source = _below(run, path)
        files = self.list_files(run, path)
        if not files:
            self._transport.get(source, target)
            return
        for name, size in files.items():
            _check_inside(name)
            if not self._got(posixpath.join(source, name), target / name):
                continue
            if progress is not None:
                progress(name, size)

    def _got(self, source: str, target: Path) -> bool:
        """Copy a file; whether it was still there."""
        try:
            self._transport.get(source, target)
        except TransportError:
            if self._transport.read(source, 0, 0) is None:
                return False
            raise
        return True

    def close(self) -> None:
        """Close the transport."""
        self._transport.close()


def launch_record(prepared: Prepared, kill_grace_s: float) -> dict[str, object]:
    """What the agent is told to run (``launch.json``); its keys are the agent's. ``grace_s``, ``timeout_s``: seconds."""
    plan, activation = prepared.plan, prepared.activation
    return {
        "version": agent.VERSION,
        "argv": list(activation.argv_prefix),
        "command": plan.command,
        "working_directory": plan.working_directory,
        "log": LOG,
        "timeout_s": plan.timeout_s,
        "grace_s": kill_grace_s,
        "environment": {
            # Python buffers what it prints into a file: its lines would come late, and those of a killed job never.
            "defaults": {"PYTHONUNBUFFERED": "1"},
            "unset": list(activation.unset),
            "set": {**activation.environment_variables, **plan.environment_variables, **prepared.secrets},
            "prepend_path": list(activation.prepend_path),
            "append_path": list(activation.append_path),
        },
    }


def _place_code_here(target: Path, digest: str | None, snapshots: SnapshotStore | None) -> None:
    import shutil

    partial = target.with_name(f"{target.name}.partial")
    if partial.exists():
        shutil.rmtree(partial)
    try:
        partial.mkdir(mode=0o700, parents=True)
        if digest is not None and snapshots is not None:
            snapshots.materialise(digest, partial)
        partial.rename(target)
    except (OSError, MlcliError) as refused:
        shutil.rmtree(
            partial, ignore_errors=True
        )  # it may be what fills the disk, and the failure must find room to be told
        if isinstance(refused, MlcliError):
            raise
        raise TransportError(f"{target}: {refused.strerror or refused}", transient=False) from refused


def _folder_of(output: OutputPlan) -> str:
    return posixpath.dirname(output.value) if output.type == "uri_file" else output.value


def _check_distribution(distribution: Distribution, compute: str) -> None:
    """One process without peers is what happens here anyway; anything else is refused."""
    processes = distribution.process_count_per_instance or 1
    peers = (distribution.worker_count or 1) - 1 + (distribution.parameter_server_count or 0)
    if distribution.type == "ray" or processes > 1 or peers > 0:
        raise UnsupportedError(
            f"the job asks for a {distribution.type} distribution of several processes; "
            f"compute {compute!r} starts one process",
            hint="remove the distribution from the job, or set its counts to 1",
        )


def _notices(job: CommandJob) -> list[str]:
    notices = []
    if job.distribution is not None:
        notices.append(f"the job's {job.distribution.type} distribution of one process is run as a plain command")
    return notices


def _below(run: RunHandle, path: str) -> str:
    """The absolute path of what must lie below the run folder. Raises MlcliError when it does not."""
    _check_inside(path)
    return posixpath.normpath(posixpath.join(run.run_folder, path))


def _check_inside(path: str) -> None:
    if posixpath.isabs(path) or posixpath.normpath(path).split("/")[0] == "..":
        raise MlcliError(f"{path!r} leads out of the run's folder", hint="give a path below it, like outputs/model.txt")


def _words(stderr: bytes) -> str:
    lines = stderr.decode("utf-8", "replace").strip().splitlines()
    return lines[-1][:500] if lines else ""
