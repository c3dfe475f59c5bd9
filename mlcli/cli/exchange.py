"""``run export``, ``run import`` and ``mlcli ui``: leaving with what was logged, and looking at it with MLflow's own eyes."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from mlcli.domain.errors import MlcliError, TransportError, UnsupportedError, UsageError
from mlcli.domain.redaction import masked

if TYPE_CHECKING:
    from mlcli.cli.command import Session
    from mlcli.domain.run import Run

_LOOK_EVERY_S = 5.0
_QUIET = {
    "MLFLOW_ALLOW_FILE_STORE": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # five processes more, for what has nothing to do with runs
}


def export(session: Session, names: Sequence[str], experiment: str | None, form: str | None, place: str | None) -> None:
    """Hand runs on and print where they are."""
    from mlcli.domain.run import RunFilter
    from mlcli.operations import exchange, observe
    from mlcli.operations.findings import Subject

    services, path = session.services, _given(place)
    if bool(names) == (experiment is not None):
        raise UsageError(
            "give the runs, or the experiment whose runs are wanted", hint="mlcli run export my_job --path runs.csv"
        )
    if experiment is None:
        runs = [observe.get(services, name) for name in dict.fromkeys(names)]
    else:
        runs = list(reversed(observe.list_runs(services, RunFilter(experiment_name=experiment))))
    if not runs:
        raise MlcliError(f"there is no run of the experiment {experiment!r}", hint="mlcli experiment list")
    made = exchange.run_format(form, path)
    for notice in exchange.export(services, [Subject(run, run.name) for run in runs], made, path):
        session.console.notice(notice)
    session.console.emit(
        [{"name": run.name, "experiment_name": run.experiment_name, "path": masked(path)} for run in runs]
    )


def _given(place: str | None) -> str:
    if place is None:
        raise UsageError("--path is missing: where the runs are to go, or to come from", hint="--path runs.csv")
    return place


def take_in(session: Session, form: str | None, place: str | None, experiment: str | None) -> None:
    """Take runs in and print them."""
    from mlcli.cli import actions, views
    from mlcli.operations import exchange
    from mlcli.operations.records import summaries

    path = _given(place)
    runs, notices = exchange.take_in(session.services, exchange.run_format(form, path), path, experiment)
    for notice in notices:
        session.console.notice(notice)
    session.console.emit(summaries(session.services, runs), view=views.jobs, columns=actions.job_row)


def ui(session: Session, port: int) -> int:
    """Run MLflow's UI over the workspace's runs until Ctrl-C; answers 0 then."""
    program = _program()
    folder = session.services.root / "mlruns"
    shown: set[str] = set()
    _show(session, folder, shown)
    address = ["--host", "127.0.0.1", "--port", str(port)]
    argv = [*program, "ui", "--backend-store-uri", folder.as_uri(), "--workers", "1", *address]  # for one person
    process = subprocess.Popen(argv, env={**os.environ, **_QUIET}, start_new_session=True)
    session.console.notice(
        f"MLflow's UI over the workspace {session.services.name}: http://127.0.0.1:{port} (Ctrl-C ends it)"
    )
    try:
        while True:
            try:
                code = process.wait(_LOOK_EVERY_S)
            except subprocess.TimeoutExpired:
                _show(session, folder, shown)
                continue
            if code > 0:
                raise MlcliError(f"MLflow's UI ended with code {code}", hint="what it said stands above")
            return 0
    except KeyboardInterrupt:
        return 0
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """With the processes that it has started, which would outlive it."""
    for number, patience_s in ((signal.SIGTERM, 5), (signal.SIGKILL, None)):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(patience_s)


def _show(session: Session, folder: Path, shown: set[str]) -> None:
    """Bring the folder up to date: runs that have ended are brought once."""
    from mlcli.domain.run import RunFilter
    from mlcli.operations import exchange, observe

    def unseen(run: Run) -> bool:
        return run.name not in shown

    services = session.services
    for run in filter(unseen, reversed(observe.list_runs(services, RunFilter()))):
        try:
            for notice in exchange.show(services, run, folder):
                session.console.notice(notice)
        except TransportError as failed:
            session.console.notice(f"{run.name} is not shown: {failed.message}")
        if run.state.is_end:
            shown.add(run.name)


def _program() -> list[str]:
    """MLflow beside mlcli, else the one on PATH. Raises UnsupportedError."""
    if importlib.util.find_spec("mlflow") is not None and importlib.util.find_spec("flask") is not None:
        return [sys.executable, "-m", "mlflow"]
    found = shutil.which("mlflow")
    if found is not None:
        return [found]
    raise UnsupportedError("MLflow is not installed", hint="pip install 'mlcli[ui]'")
