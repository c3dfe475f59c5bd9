"""``mlcli run``: the same jobs under the older names of these commands, with their older flags."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlcli.cli import actions
from mlcli.cli.command import Noun, Session
from mlcli.cli.options import OldRunName
from mlcli.domain.errors import UsageError
from mlcli.domain.run import RunFilter

# Run names are unique in a workspace here: a run's experiment, and the folder attached to it, say nothing more.
_IGNORED = {
    "experiment_name": (Annotated[str | None, typer.Option("--experiment-name", "-e", hidden=True)], None),
    "path": (Annotated[str | None, typer.Option("--path", hidden=True)], None),
}

NOUN = Noun("run", "The same jobs under the older names of these commands.", ignored=_IGNORED)

OutputFolder = Annotated[
    Path,
    typer.Option(
        "--output-dir",
        "--download-path",
        "-d",
        metavar="FOLDER",
        help="Where to: FOLDER/RUN is made.",
        show_default="here",
    ),
]


@NOUN.command("list", "mlcli run list --last 5 --status Failed")
def list_(
    session: Session,
    *,
    last: Annotated[int, typer.Option("--last", min=1, metavar="N", help="The newest N.")] = 10,
    status: Annotated[
        list[str], typer.Option("--status", metavar="STATUS", help="Only runs in this state.", show_default=False)
    ] = [],  # noqa: B006
    experiment_name: Annotated[
        str | None,
        typer.Option(
            "--experiment-name", "-e", metavar="NAME", help="Only runs of this experiment.", show_default=False
        ),
    ] = None,
    compute_target_name: Annotated[
        str | None,
        typer.Option("--compute-target-name", metavar="NAME", help="Only runs on this compute.", show_default=False),
    ] = None,
    parent_run_id: Annotated[
        str | None,
        typer.Option(
            "--parent-run-id", "--pipeline-run-id", metavar="RUN", help="Only children of this run.", show_default=False
        ),
    ] = None,
    tags: Annotated[
        list[str],
        typer.Option("--tags", "--tag", metavar="KEY[=VALUE]", help="Only runs with this tag.", show_default=False),
    ] = [],  # noqa: B006
    minimal: Annotated[bool, typer.Option("--minimal", hidden=True)] = False,  # noqa: ARG001  (a row is minimal as it is)
) -> None:
    """List runs, newest first."""
    from mlcli.cli import values

    which = RunFilter(
        states=values.states(status),
        experiment_name=experiment_name,
        compute=compute_target_name,
        tags=values.wanted_tags(tags),
        parent=parent_run_id,
        limit=last,
    )
    actions.list_runs(session, which, more=None)


@NOUN.command("show", "mlcli run show -r my_job")
def show(session: Session, *, run: OldRunName) -> None:
    """Show a run: as it was written, and what became of it."""
    from mlcli.operations import observe

    actions.show(session, observe.get(session.services, run))


@NOUN.command("cancel", "mlcli run cancel -r my_job")
def cancel(session: Session, *, run: OldRunName) -> None:
    """Cancel a run: end its processes, keep what it has made."""
    from mlcli.operations.cancel import cancel as end

    actions.show(session, end(session.services, run))


@NOUN.command("monitor-logs", "mlcli run monitor-logs -r my_job")
def monitor_logs(session: Session, *, run: OldRunName) -> None:
    """Follow a run's log to its end; the same as `mlcli job stream`."""
    actions.check_success(session, actions.follow(session, run), hand_on_code=False)


@NOUN.command("download-logs", "mlcli run download-logs -r my_job -d ./logs")
def download_logs(
    session: Session,
    *,
    run: OldRunName,
    output_dir: OutputFolder = Path(),
) -> None:
    """Fetch a run's logs."""
    actions.download(session, run, output_dir, logs=True)


@NOUN.command("download", "mlcli run download -r my_job -d ./results")
def download(
    session: Session,
    *,
    run: OldRunName,
    output_dir: OutputFolder = Path(),
) -> None:
    """Fetch what a run has made: outputs and logs."""
    actions.download(session, run, output_dir)


@NOUN.command("update", "mlcli run update -r my_job --add-tag stage=final")
def update(
    session: Session,
    *,
    run: OldRunName,
    add_tag: Annotated[
        list[str], typer.Option("--add-tag", metavar="KEY[=VALUE]", help="A tag to add.", show_default=False)
    ] = [],  # noqa: B006
) -> None:
    """Add tags to a run."""
    from mlcli.cli.edits import changes
    from mlcli.operations import manage

    if not add_tag:
        raise UsageError("nothing to change", hint="--add-tag stage=final")
    tags = [f"tags.{tag}" if "=" in tag else f"tags.{tag}=" for tag in add_tag]
    current = session.services.runs.get(run)
    actions.show(session, manage.update(session.services, run, changes(current, tags)))
