"""What the nouns ``job`` and ``run`` share: the same work under today's names and the older ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlcli.cli.failures import Failed, Interrupted
from mlcli.domain.errors import MlcliError, UsageError
from mlcli.domain.run import Run, RunFilter
from mlcli.domain.state import State

if TYPE_CHECKING:
    from mlcli.cli.command import Session


def job_row(record: Any) -> dict[str, Any]:
    """The columns of ``-o table``: az's, in az's order."""
    return {
        "Name": record["name"],
        "Status": record["status"] + (f" ({record['queue_position']})" if record["queue_position"] else ""),
        "Experiment": record["experiment_name"],
        "Compute": record["compute"],
        "Type": record["type"],
        "Created on": record["creation_context"]["created_at"],
    }


def show(session: Session, run: Run) -> None:
    """Print a run's whole record, and what it has logged."""
    from mlcli.cli import metrics, views
    from mlcli.operations.records import record

    shown = {**record(session.services, run), **dict(metrics.logged(session, run))}
    session.console.emit(shown, view=views.job, columns=job_row)


def show_ended(session: Session, run: Run) -> None:
    """Print the record of a run that was followed to its end; on a terminal only how it ended, its log stands above."""
    from mlcli.cli import views
    from mlcli.operations.records import record

    session.console.emit(record(session.services, run), view=views.ended, columns=job_row)


def show_each(session: Session, runs: Sequence[Run]) -> None:
    """Print the record of one run, or a list of the records of several."""
    from mlcli.cli import views
    from mlcli.operations.records import record

    if len(runs) == 1:
        show(session, runs[0])
        return
    session.console.emit([record(session.services, run) for run in runs], view=views.jobs, columns=job_row)


def list_runs(session: Session, which: RunFilter, more: str | None) -> None:
    """Print the runs that the filter finds; ``more`` says how to see the rest when its limit cut the list."""
    from dataclasses import replace

    from mlcli.cli import views
    from mlcli.operations import observe
    from mlcli.operations.records import summaries

    limit = which.limit
    asked = which if limit is None else replace(which, limit=limit + 1)
    runs = observe.list_runs(session.services, asked)
    shown = runs if limit is None else runs[:limit]
    session.console.emit(summaries(session.services, shown), view=views.jobs, columns=job_row)
    if more is not None and len(runs) > len(shown):
        session.console.notice(f"only the newest {len(shown)} are shown: {more}")


def goes_on(name: str) -> Interrupted:
    """What Ctrl-C leaves behind: a job that runs, and how to come back to it."""
    return Interrupted(
        f"job {name} goes on without being watched",
        hint=f"follow it again: mlcli job stream -n {name}   end it: mlcli job cancel -n {name}",
    )


@contextmanager
def beginning(session: Session, run: str, notices: Sequence[str]) -> Iterator[None]:
    """Tell the notices, then what is inside; a Ctrl-C that comes when there is such a run already says that it goes on."""
    for notice in notices:
        session.console.notice(notice)
    try:
        yield
    except KeyboardInterrupt:
        if run in session.services.runs.complete(run):
            raise goes_on(run) from None
        raise


def check_success(session: Session, run: Run, *, hand_on_code: bool) -> None:
    """Raise why the run did not complete. With ``hand_on_code`` the command's own exit code becomes ours."""
    if run.state is State.COMPLETED:
        return
    from mlcli.operations.stream import failure

    cause = failure(session.services, run)
    raise Failed(cause, run.exit_code if hand_on_code and run.exit_code else cause.exit_code)


def download(session: Session, name: str, target: Path, **parts: Any) -> None:
    """Fetch a run's files and print what was written where."""
    from mlcli.cli import views
    from mlcli.operations.download import download as fetch

    written = fetch(session.services, name, target, progress=_progress(session), **parts)
    if not written:
        session.console.notice(f"job {name} has nothing of that kind: nothing was written")
    record = {"name": name, "download_path": str(target / name), "written": [str(path) for path in written]}
    session.console.emit(record, view=views.downloaded)


def ask(session: Session, question: str, *, yes: bool) -> None:
    """Ask before something goes for good, unless ``yes``. Raises UsageError when nobody can answer, MlcliError at a no."""
    if yes:
        return
    if not session.console.interactive:
        raise UsageError("this deletes for good, and nobody is there to ask", hint="add --yes")
    if not session.console.confirm(question):
        raise MlcliError("nothing was deleted")


def asked_container(*, docker: bool, no_docker: bool) -> bool | None:
    """What ``--docker`` and ``--no-docker`` say; None when neither is given. Raises UsageError for both."""
    if docker and no_docker:
        raise UsageError("--docker and --no-docker were both given", hint="give one, or none to have it chosen")
    return docker or (False if no_docker else None)


def _progress(session: Session) -> Callable[[str, int], None]:
    return lambda path, size: session.console.detail(f"{path} ({size} bytes)")
