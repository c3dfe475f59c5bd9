"""Runs: what was submitted, and what became of it."""

from __future__ import annotations

import codecs
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlcli.api.context import RunContext
from mlcli.domain.errors import NotFoundError

if TYPE_CHECKING:
    from mlcli.domain.run import Run as DomainRun
    from mlcli.workspace import Workspace as Services

_POLL_S = 0.1
_FOLDERS = {"outputs": "wd/outputs", "logs": "wd/logs", "user_logs": "user_logs", "system_logs": "system_logs"}


def _notice(line: str) -> None:
    print(line, file=sys.stderr)  # noqa: T201


class Details(dict[str, Any]):
    """What there is to know of a run, under Azure ML's keys: ``runId``, ``target``, ``status``, ``startTimeUtc``, ``endTimeUtc``,
    ``properties``, ``runDefinition``, ``logFiles`` (name -> path or None for one on another machine), ``warnings``, ``error``.
    """

    @property
    def status(self) -> str:
        """The state, as the SDK of 2018 had it."""
        return str(self["status"])


class Run:
    """One run. Every question is asked of it as it is now."""

    def __init__(self, services: Services, name: str) -> None:
        self._services = services
        self.id = name

    @staticmethod
    def get_context() -> RunContext:
        """The run that this program is, for its script to log metrics."""
        return RunContext()

    def __repr__(self) -> str:
        return f"Run(id={self.id!r}, status={self.get_status()!r})"

    def _now(self) -> DomainRun:
        from mlcli.operations import observe

        return observe.get(self._services, self.id)

    @property
    def status(self) -> str:
        """Azure ML's word for its state: ``Queued``, ``Running``, ``Completed``, ``Failed``, ..."""
        return str(self._now().state)

    def get_status(self) -> str:
        """The same."""
        return self.status

    @property
    def experiment_name(self) -> str:
        """The experiment that it belongs to."""
        return self._now().experiment_name

    def get_tags(self) -> dict[str, str]:
        """Its tags."""
        return dict(self._now().tags)

    def tag(self, key: str, value: str = "") -> None:
        """Add a tag."""
        from mlcli.domain.run import RunChanges
        from mlcli.operations import manage

        manage.update(self._services, self.id, lambda run: RunChanges(tags={**run.tags, key: str(value)}))

    def wait_for_completion(self, show_output: bool = False, *, raise_on_error: bool = True) -> Details:
        """Wait until it has ended, and answer :meth:`get_details`. ``show_output``: its log goes to standard output meanwhile,
        of a sweep a line for each trial that has ended.
        Ctrl-C ends the waiting, not the run. Raises MlcliError with the log's last lines when it did not complete, unless
        ``raise_on_error`` is false.
        """
        from mlcli.domain.state import State
        from mlcli.operations.stream import failure

        run = self._shown_to_end() if show_output else self._waited()
        if raise_on_error and run.state is not State.COMPLETED:
            raise failure(self._services, run)
        return self.get_details()

    def _waited(self) -> DomainRun:
        while True:
            run = self._now()
            if run.state.is_end:
                return run
            time.sleep(_POLL_S)

    def _shown_to_end(self) -> DomainRun:
        from mlcli.operations import observe
        from mlcli.operations.stream import stream

        if self._now().job_type == observe.SWEEP:
            return self._trials_shown_to_end()
        decoder = codecs.getincrementaldecoder("utf-8")("replace")

        def write(data: bytes) -> None:
            sys.stdout.write(decoder.decode(data))
            sys.stdout.flush()

        return stream(self._services, self.id, write, _notice)

    def _trials_shown_to_end(self) -> DomainRun:
        from mlcli.operations import sweep_report

        told: set[int] = set()

        def show(report: sweep_report.Report) -> None:
            metric = report.search.objective.primary_metric
            for row in report.rows:
                if row.state.is_end and row.number not in told:
                    told.add(row.number)
                    values = " ".join(f"{name}={value}" for name, value in row.values.items())
                    print(f"trial {row.number}  {row.state}  {metric}={row.metric}  {values}", flush=True)  # noqa: T201

        return sweep_report.follow(self._services, self.id, show, _notice, news=False)

    def get_details(self) -> Details:
        """What there is to know of it."""
        from mlcli.domain.state import State
        from mlcli.operations import layout
        from mlcli.operations.stream import failure
        from mlcli.operations.times import iso_time

        run = self._now()
        folder = self._services.runs.folder(run.name)
        details = Details(
            runId=run.name,
            target=run.compute,
            status=str(run.state),
            startTimeUtc=iso_time(run.started_at),
            endTimeUtc=iso_time(run.ended_at),
            properties=dict(run.properties),
            runDefinition=self._services.runs.document(run.name, layout.JOB_DOCUMENT),
            logFiles={
                name: str(folder / path) if (folder / path).exists() else None
                for name, path in self._files().items()
                if not name.startswith("outputs/")
            },
            warnings=list(run.notices),
        )
        if run.state.is_end and run.state is not State.COMPLETED:
            cause = failure(self._services, run)
            details["error"] = {"message": cause.message, "details": list(cause.details)}
        return details

    def get_metrics(self, name: str | None = None) -> dict[str, Any]:
        """What it has logged: metric -> its value, or a list of its values in their order. ``name``: only that metric."""
        from mlcli.operations import tracking
        from mlcli.operations.findings import find

        subject = tracking.subject(self._services, self.id)
        found = find(self._services, subject)
        values: dict[str, Any] = {}
        for metric in found.tracked.metrics:
            if name in {None, metric}:
                points = list(tracking.history(self._services, subject, found, metric).values)
                values[metric] = points[0] if len(points) == 1 else points
        return values

    def cancel(self) -> None:
        """End its processes; what it has made stays."""
        from mlcli.operations.cancel import cancel

        cancel(self._services, self.id)

    def get_file_names(self) -> list[str]:
        """The files that it has written: ``outputs/...``, ``logs/...``, ``user_logs/...``, ``system_logs/...``."""
        return list(self._files())

    def download_file(self, name: str, output_file_path: str | Path | None = None) -> Path:
        """Copy a file of the run to a path, or into that folder when there is one (default: here). Raises NotFoundError."""
        from mlcli.operations import observe

        files = self._files()
        if name not in files:
            raise NotFoundError(f"run {self.id} has no file {name!r}", hint=_nearest(name, files))
        target = Path(output_file_path) if output_file_path is not None else Path(Path(name).name)
        if target.is_dir():
            target = target / Path(name).name
        target.parent.mkdir(parents=True, exist_ok=True)
        run = self._now()
        self._services.backend(run.backend).fetch(observe.handle(self._services, run), files[name], target)
        return target

    def download_files(self, prefix: str = "", output_directory: str | Path = ".") -> list[Path]:
        """Copy every file whose name begins so to a folder, with its own folders; the copies."""
        chosen = [name for name in self._files() if name.startswith(prefix)]
        return [self.download_file(name, Path(output_directory) / name) for name in chosen]

    def _files(self) -> dict[str, str]:
        """As a person names a file -> where it is in the run folder."""
        from mlcli.operations import observe

        run = self._now()
        backend, where = self._services.backend(run.backend), observe.handle(self._services, run)
        return {
            f"{shown}/{name}": f"{folder}/{name}"
            for shown, folder in _FOLDERS.items()
            for name in backend.list_files(where, folder)
        }


def _nearest(name: str, files: Mapping[str, str]) -> str:
    import difflib

    near = difflib.get_close_matches(name, files, 1)
    return f"did you mean {near[0]!r}?" if near else f"it has: {', '.join(list(files)[:10]) or 'none'}"
