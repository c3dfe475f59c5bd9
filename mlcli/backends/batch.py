"""A transport and a scheduler composed: local processes, and whatever else has a shell and a batch system."""

from __future__ import annotations

import os
import posixpath
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from itertools import islice
from pathlib import Path

from mlcli import agent
from mlcli.backends._checks import check_one_process
from mlcli.backends._folder import FolderBackend, below, launch_record
from mlcli.domain.errors import MlcliError, TransportError
from mlcli.domain.job import CommandJob
from mlcli.domain.observation import Observation, Sight, told_by_agent
from mlcli.domain.settings import Settings
from mlcli.json_files import write_record
from mlcli.ports.backends import Capabilities, Prepared, Rejected, RunHandle, Submission, Submitted, Unknown
from mlcli.ports.schedulers import Scheduler
from mlcli.ports.stores import SnapshotStore
from mlcli.ports.transports import Completed, Later, Transport

_ASKED_AT_ONCE = 500  # run folders in one command line, well below the shortest limit (128 KB for one argument of ssh)


_AWAY_S = 3.0
_LOGS = "user_logs"
_KEPT_BYTES = 64 << 20
_RECORDS = (
    "params.jsonl",
    "tags.jsonl",
    "inputs.jsonl",
    "outputs.jsonl",
    "summary.json",
    "mlflow.json",
    "tracking.json",
)
_POINTS = "metrics.jsonl"
_KEPT = "kept.json"


def _kept(run: RunHandle) -> Path | None:
    return None if run.near is None else Path(run.near) / _LOGS


class BatchBackend(FolderBackend):
    """Runs jobs where ``transport`` leads, by way of ``scheduler``. The agent there does the watching."""

    def __init__(
        self,
        transport: Transport,
        scheduler: Scheduler,
        settings: Settings,
        *,
        name: str = "local",
        folder: str | None = None,
        workspace: str = "",
    ) -> None:
        """``folder``: an absolute path on another machine, below which run folders and data are kept; ``workspace``: whose
        runs they are, as several workspaces may use one machine. Without it run folders are where the workspace has them.
        """
        super().__init__(transport, settings)
        self.name = name
        self.is_far = self.may_be_away = folder is not None
        self.notices: list[str] = []
        self._away: tuple[TransportError, float] | None = None
        self._scheduler = scheduler
        self._folder = folder or ""
        self._runs = posixpath.join(self._folder, "runs", workspace)

    def run_folder(self, run: str, near: Path) -> str:
        """Below the folder of the other machine, where there is one."""
        return posixpath.join(self._runs, run) if self.is_far else str(near)

    def connect(self) -> None:
        """A connection, where one is needed."""
        self._transport.python()

    def _data_folder(self, target: str) -> str:
        return posixpath.join(self._folder, "data") if self.is_far else super()._data_folder(target)

    def keep(self, run: RunHandle) -> None:
        """The log and what was logged by MLflow's clients, unless it is very long; what is there is whole."""
        kept = _kept(run) if self.is_far else None
        if kept is None or kept.exists():
            return
        self._keep_records(run, kept.parent)
        sizes = super().list_files(run, _LOGS)
        if 0 < sum(sizes.values()) <= _KEPT_BYTES:
            partial = kept.with_name(f".{kept.name}.{os.getpid()}.partial")
            self.fetch(run, _LOGS, partial)
            with suppress(OSError):  # somebody was quicker
                partial.rename(kept)

    def _keep_records(self, run: RunHandle, near: Path) -> None:
        """Those of the run, of runs nested in it and of its models, and which files are in its ``logs``."""
        children, models = super().list_files(run, "children"), super().list_files(run, "models")
        inside = {f"children/{path}": size for path, size in children.items() if path.count("/") == 1}
        inside |= {f"models/{path}": size for path, size in models.items() if path.partition("/")[2] == "model.json"}
        if sum(inside.values()) > _KEPT_BYTES:
            return
        if self._transport.read(below(run, _POINTS), _KEPT_BYTES, 1):
            return
        sizes = {_POINTS: _KEPT_BYTES, **dict.fromkeys(_RECORDS, 0), **inside}
        wanted = ((below(run, path), near / path, size) for path, size in sizes.items())
        for _ in self._transport.get_files(wanted):
            pass
        logs = dict(super().list_files(run, "wd/logs"))
        with suppress(OSError):  # then the machine is asked again
            write_record(near / _KEPT, {"logs": logs})

    def read(self, run: RunHandle, path: str, offset: int = 0, limit: int | None = None) -> bytes | None:
        """Of a log that is kept here, without asking the other machine."""
        source, kept = below(run, path), _kept(run) if self.is_far else None
        if kept is None or not kept.exists() or not path.startswith(f"{_LOGS}/"):
            self._check_away()
            return self._transport.read(source, offset, limit)
        try:
            with (kept.parent / path).open("rb") as file:
                file.seek(offset)
                return file.read(-1 if limit is None else limit)
        except FileNotFoundError:
            return None

    def list_files(self, run: RunHandle, folder: str = ".") -> Mapping[str, int]:
        """The same."""
        kept = _kept(run)
        if self.is_far and folder == _LOGS and kept is not None and kept.exists():
            files: Mapping[str, int] = agent.list_files(str(kept.parent), folder)["files"]
            return files
        self._check_away()
        return super().list_files(run, folder)

    def forget(self, run: RunHandle) -> None:
        """A run folder of another machine goes; one here is the run store's."""
        if self.is_far and posixpath.dirname(run.run_folder) == self._runs:
            try:
                self._command("rm", "-rf", "--", run.run_folder)
            except TransportError as failed:
                self.notices = [f"{run.run_folder} stays there: {failed.message}"]
                raise

    def capabilities(self) -> Capabilities:
        """One process on one machine, on the host."""
        return Capabilities()

    def check(self, job: CommandJob) -> tuple[str, ...]:
        """Refuse more than one node or process; say what becomes of a distribution of one."""
        asked = job.resources
        limits = [name for name in ("memory", "cpus", "gpus") if getattr(asked, name) is not None]
        if not limits:
            return tuple(check_one_process(job, self.name))
        unheeded = f"resources.{', '.join(limits)}: a limit of containers, not heeded on the host"
        return (*check_one_process(job, self.name), unheeded)

    def submit(self, prepared: Prepared, snapshots: SnapshotStore | None) -> Submission:
        """Lay out the run folder and start the agent in it. Each step is safe to do again after a kill at any point;
        once an agent has begun (or the run was cancelled before), nothing in the folder is touched again.
        """
        self._lay_out_once(prepared, snapshots)
        return self._start(prepared.plan.run_folder)

    def begin(self, prepared: Prepared, snapshots: SnapshotStore | None) -> Submission | Later[Submission]:
        """The same, but for the wait until the agent has begun."""
        folder = prepared.plan.run_folder
        self._lay_out_once(prepared, snapshots)
        begun = self._transport.begin(self._scheduler.submit_argv(folder, **self._agent()))
        if begun is None:
            return self._start(folder)
        return Later(begun.file, begun.is_there, lambda: self._told(begun.get))

    def _lay_out_once(self, prepared: Prepared, snapshots: SnapshotStore | None) -> None:
        folder = prepared.plan.run_folder
        if all(self._transport.read(posixpath.join(folder, name)) is None for name in (agent.AGENT, agent.EXIT)):
            self._lay_out(prepared, snapshots)
            limits = asdict(prepared.allocation) if prepared.allocation else {}
            self._write_launch(folder, {**launch_record(prepared, self._settings.kill_grace_s), "limits": limits})

    def _start(self, run_folder: str) -> Submission:
        """What submits may be run twice. While it is not known what has become of it over there, it is to be asked again."""
        argv = self._scheduler.submit_argv(run_folder, **self._agent())
        return self._told(lambda: self._transport.run(argv, repeatable=self.is_far))

    def _told(self, answer: Callable[[], Completed]) -> Submission:
        """What the answer to a start says."""
        try:
            return Submitted(self._scheduler.parse_submit(answer()))
        except TransportError as failed:
            if failed.transient and self.is_far:
                raise
            return Unknown(failed.message) if failed.transient else Rejected(failed.message)
        except MlcliError as refused:
            return Rejected(refused.message)

    def _agent(self) -> dict[str, str]:
        return {"python": self._transport.python(), "agent": self._transport.agent_folder()}

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
            answer = self._transport.run(self._scheduler.query_argv(ids, **self._agent()), repeatable=True)
        except TransportError as failed:
            self._note_away(failed)
            return {run.name: Observation(Sight.NO_ANSWER, evidence=failed.message) for run in runs}
        told = self._scheduler.parse_query(ids, answer)
        return {run.name: told[native_id] for run, native_id in zip(runs, ids, strict=True)}

    def _note_away(self, failed: TransportError) -> None:
        if self.is_far:
            self.notices = [f"{failed.message}: its jobs are shown as they were seen last"]
            self._away = failed, time.monotonic()

    def _check_away(self) -> None:
        """A machine that did not answer a moment ago is not waited for again by whoever reads."""
        if self._away is not None and time.monotonic() - self._away[1] < _AWAY_S:
            raise self._away[0]

    def cancel(self, run: RunHandle) -> None:
        """Tell the agent (or what it left running when it was killed); a run that has not started never will."""
        self._command(*self._scheduler.cancel_argv(run.native_id or run.run_folder, **self._agent()))
