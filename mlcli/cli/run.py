"""``mlcli run``: the same jobs under the older names of these commands, with their older flags."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from mlcli.cli import actions
from mlcli.cli.command import Noun, Session
from mlcli.cli.options import OldRunName, count, flag, flags
from mlcli.cli.tree import NOUNS
from mlcli.domain.errors import UsageError
from mlcli.domain.run import RunFilter

# Run names are unique in a workspace here: a run's experiment, and the folder attached to it, say nothing more.
NOUN = Noun(
    NOUNS["run"],
    ignored={
        "experiment_name": flag("--experiment-name", "-e", metavar="NAME", help="Accepted and ignored."),
        "path": flag("--path", metavar="FOLDER", help="Accepted and ignored."),
        "minimal": flag("--minimal", help="Accepted and ignored: a row is minimal as it is."),
    },
)

OutputFolder = Annotated[
    Path,
    flag(
        "--output-dir",
        "--download-path",
        "-d",
        metavar="FOLDER",
        parse=Path,
        help="Where to (default: here); FOLDER/RUN is made.",
    ),
]


@NOUN.command("list", "mlcli run list --last 5 --status Failed")
def list_(
    session: Session,
    *,
    last: Annotated[int, flag("--last", metavar="N", parse=count, help="The newest N (default: 10).")] = 10,
    status: Annotated[list[str], flags("--status", metavar="STATUS", help="Only runs in this state.")],
    experiment_name: Annotated[
        str | None, flag("--experiment-name", "-e", metavar="NAME", help="Only runs of this experiment.")
    ] = None,
    compute_target_name: Annotated[
        str | None, flag("--compute-target-name", metavar="NAME", help="Only runs on this compute.")
    ] = None,
    parent_run_id: Annotated[
        str | None,
        flag("--parent-run-id", "--pipeline-run-id", metavar="RUN", help="Only children of this run."),
    ] = None,
    tags: Annotated[list[str], flags("--tags", "--tag", metavar="KEY[=VALUE]", help="Only runs with this tag.")],
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
def download_logs(session: Session, *, run: OldRunName, output_dir: OutputFolder = Path()) -> None:
    """Fetch a run's logs."""
    actions.download(session, run, output_dir, logs=True)


@NOUN.command("download", "mlcli run download -r my_job -d ./results")
def download(session: Session, *, run: OldRunName, output_dir: OutputFolder = Path()) -> None:
    """Fetch what a run has made: outputs and logs."""
    actions.download(session, run, output_dir)


@NOUN.command("update", "mlcli run update -r my_job --add-tag stage=final")
def update(
    session: Session,
    *,
    run: OldRunName,
    add_tag: Annotated[list[str], flags("--add-tag", metavar="KEY[=VALUE]", help="A tag to add.")],
) -> None:
    """Add tags to a run."""
    from mlcli.cli.edits import changes
    from mlcli.operations import manage

    if not add_tag:
        raise UsageError("nothing to change", hint="--add-tag stage=final")
    tags = [f"tags.{tag}" if "=" in tag else f"tags.{tag}=" for tag in add_tag]
    actions.show(session, manage.update(session.services, run, lambda current: changes(current, tags)))
