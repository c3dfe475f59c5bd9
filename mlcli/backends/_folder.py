"""Run folders that a transport reaches: laid out before the job starts, read while it runs and afterwards."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from mlcli import agent
from mlcli.domain.errors import MlcliError, TransportError
from mlcli.domain.plan import OutputPlan
from mlcli.domain.settings import Settings
from mlcli.ports.backends import Backend, Prepared, RunHandle
from mlcli.ports.stores import SnapshotStore
from mlcli.ports.transports import Transport

LOG = "user_logs/std_log.txt"


class FolderBackend(Backend):
    """A backend whose run folders are reached by ``transport``: everything of them, but who runs the job."""

    def __init__(self, transport: Transport, settings: Settings) -> None:
        self._transport = transport
        self._settings = settings

    def _lay_out(self, prepared: Prepared, snapshots: SnapshotStore | None) -> None:
        """The folders, the code and the linked inputs. Each step is safe to do again after a kill at any point."""
        plan = prepared.plan
        logs = [posixpath.join(plan.run_folder, folder) for folder in ("user_logs", "system_logs")]
        results = [posixpath.join(plan.working_directory, folder) for folder in ("outputs", "logs")]
        self._transport.make_folder(*logs)
        self._transport.place(plan.working_directory, prepared.snapshot, snapshots)
        self._transport.make_folder(*results, *(folder_of(output) for output in plan.outputs))
        for entry in plan.inputs:
            if entry.action == "link":
                self._link(entry.source, entry.value)

    def _write_launch(self, run_folder: str, record: dict[str, object]) -> None:
        text = json.dumps(record).encode()
        self._transport.write(posixpath.join(run_folder, agent.LAUNCH), text, sync=False)

    def deliver(self, source: Path, target: str, log: Callable[[str], None], *, copy: bool) -> None:
        """Kept by what it holds, beside the run folders."""
        from mlcli.backends._delivery import deliver

        deliver(self._transport, self._data_folder(target), source, target, log, copy=copy)

    def _data_folder(self, target: str) -> str:
        return posixpath.join(posixpath.dirname(target), ".data")

    def _link(self, source: str, target: str) -> None:
        self._transport.make_folder(posixpath.dirname(target))
        self._command("ln", "-sfn", source, target)

    def _command(self, *argv: str) -> None:
        """Run a command that may be run twice."""
        done = self._transport.run(argv, repeatable=True)
        if done.code != 0:
            raise TransportError(last_line(done.stderr) or f"{argv[0]} ended with code {done.code}", transient=False)

    def read(self, run: RunHandle, path: str, offset: int = 0, limit: int | None = None) -> bytes | None:
        """Bytes of a file below the run folder."""
        return self._transport.read(below(run, path), offset, limit)

    def list_files(self, run: RunHandle, folder: str = ".") -> Mapping[str, int]:
        """Files below a folder of the run folder.

        A symbolic link to a file counts as that file; one to a folder only while it stays inside the run folder.
        """
        below(run, folder)
        near = self._transport.local(run.run_folder)
        if near is not None:
            files: Mapping[str, int] = agent.list_files(str(near), folder)["files"]
            return files
        argv = agent.invocation(
            self._transport.python(), self._transport.agent_folder(), "list", run.run_folder, folder
        )
        answer = self._transport.run(argv, repeatable=True)
        if answer.code != 0:
            raise TransportError(last_line(answer.stderr), transient=False)
        told: Mapping[str, int] = agent.decode(answer.stdout)["files"]
        return told

    def fetch(
        self, run: RunHandle, path: str, target: Path, progress: Callable[[str, int], None] | None = None
    ) -> None:
        """Copy a file to ``target``, or a folder's files below it; ``progress`` takes each path and size when it is there.

        Each file appears whole, with its modification time. Files that are there already are replaced. One that a
        running job has taken away since it was listed (a checkpoint under its first name) is left out.
        """
        source = below(run, path)
        files = self.list_files(run, path)
        if not files:
            self._transport.get(source, target)
            return
        for name in files:
            _check_inside(name)
        wanted = ((posixpath.join(source, name), target / name, size) for name, size in files.items())
        for (name, size), was_there in zip(files.items(), self._transport.get_files(wanted), strict=True):
            if was_there and progress is not None:
                progress(name, size)

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
        "tracking": {"run_id": tracking_id(plan.run), "run_name": plan.run, "experiment": plan.experiment_name},
        "environment": {
            # Python buffers what it prints into a file: its lines would come late, and those of a killed job never.
            # By this tag its runs are found again on a tracking server of its own.
            "defaults": {"PYTHONUNBUFFERED": "1", "MLFLOW_RUN_CONTEXT": f'{{"mlcli.run": "{plan.run}"}}'},
            "unset": list(activation.unset),
            "set": {**activation.environment_variables, **plan.environment_variables, **prepared.secrets},
            "prepend_path": list(activation.prepend_path),
            "append_path": list(activation.append_path),
        },
    }


def tracking_id(run: str) -> str:
    """What MLflow's clients call a run: its name where they take that for an id, else 32 digits made from it."""
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_\-]{0,255}", run):
        return run
    import hashlib

    return hashlib.sha256(run.encode()).hexdigest()[:32]


def folder_of(output: OutputPlan) -> str:
    """The folder that must be there before the job writes the output."""
    return posixpath.dirname(output.value) if output.type == "uri_file" else output.value


def below(run: RunHandle, path: str) -> str:
    """The absolute path of what must lie below the run folder. Raises MlcliError when it does not."""
    _check_inside(path)
    return posixpath.normpath(posixpath.join(run.run_folder, path))


def _check_inside(path: str) -> None:
    if posixpath.isabs(path) or posixpath.normpath(path).split("/")[0] == "..":
        raise MlcliError(f"{path!r} leads out of the run's folder", hint="give a path below it, like outputs/model.txt")


def last_line(stderr: bytes) -> str:
    """The last line of what a program said, at most 500 characters."""
    lines = stderr.decode("utf-8", "replace").strip().splitlines()
    return lines[-1][:500] if lines else ""
