"""``mlcli run``: the same jobs under the older names of these commands, with their older flags."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from mlcli.cli import actions, run_logged
from mlcli.cli.command import Noun, Session
from mlcli.cli.following import follow
from mlcli.cli.options import (
    ATTACHED_FOLDER,
    METADATA_OUT,
    Condition,
    Descending,
    Metadata,
    OldRunNameOrFile,
    Sort,
    count,
    count_or_none,
    flag,
    flags,
)
from mlcli.cli.run_wish import Wish
from mlcli.cli.tree import NOUNS
from mlcli.domain.errors import UsageError
from mlcli.domain.run import RunFilter

# Run names are unique in a workspace here: a run's experiment says nothing more.
NOUN = Noun(
    NOUNS["run"],
    ignored={
        "experiment_name": flag("--experiment-name", "-e", metavar="NAME", help="Accepted and ignored."),
        "attached_folder": ATTACHED_FOLDER,
        "output_metadata_file": METADATA_OUT,
        "minimal": flag("--minimal", help="Accepted and ignored: a row is minimal as it is."),
    },
    absent={
        "submit-pipeline": "pipelines do not run yet; submit each step, -t hands a run on to the next: mlcli run submit-script -t run.json",
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


@NOUN.command(
    "submit-script",
    "mlcli run submit-script -c local train.py",
    "mlcli run submit-script -e iris -c cpu-cluster --async train.py --learning-rate 0.1",
    "mlcli run submit-script --source-directory src -d conda.yml --ct local -- train.py --epochs 3",
    "mlcli run submit-script -c local -t run.json train.py && mlcli run download-logs -t run.json",
)
def submit_script(session: Session, *, wish: Wish) -> None:
    """Run a script as a run configuration says, and follow it.

    A script that is typed replaces the file's, arguments that are typed replace the file's. Without a run configuration it
    runs on this machine, in an environment made of the attached folder's conda file. What is to be run with a script's own
    flags, such as --help, stands after the script. The run fails the command when it fails.
    """
    from mlcli.cli import run_submit

    session.folder = wish.attached_folder
    run_submit.script(session, wish)


@NOUN.command(
    "submit-hyperdrive",
    "mlcli run submit-hyperdrive -e iris -c local --hyperdrive-configuration-name hdconfig.yml train.py",
)
def submit_hyperdrive(
    session: Session,
    *,
    hyperdrive_configuration_name: Annotated[
        str | None,
        flag(
            "--hyperdrive-configuration-name",
            metavar="NAME",
            help="The HyperDrive configuration: a path, or the end of a file's name.",
        ),
    ] = None,
    wish: Wish,
) -> None:
    """Search for the best values of a script's arguments, and follow the search.

    The script gets each parameter of the HyperDrive configuration as an argument more (--penalty 0.5). It is a sweep:
    `mlcli sweep trials` and `mlcli sweep best` show what was found.
    """
    from mlcli.cli import run_submit

    if wish.configuration is None:
        raise UsageError("which run configuration? give --run-configuration-name NAME")
    if hyperdrive_configuration_name is None:
        raise UsageError("which HyperDrive configuration? give --hyperdrive-configuration-name NAME")
    session.folder = wish.attached_folder
    run_submit.hyperdrive(session, wish, hyperdrive_configuration_name)


@NOUN.command(
    "list",
    "mlcli run list --last 5 --status Failed",
    "mlcli run list -e iris --sort metrics.accuracy",
    "mlcli run list -e iris --filter \"metrics.accuracy > 0.9 and tags.stage = 'final'\" --sort 'params.lr DESC'",
)
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
        flag("--parent-run-id", "--parent", "--pipeline-run-id", metavar="RUN", help="Only children of this run."),
    ] = None,
    tags: Annotated[list[str], flags("--tags", "--tag", metavar="KEY[=VALUE]", help="Only runs with this tag.")],
    sort: Sort = None,
    desc: Descending,
    filter_: Condition = None,
) -> None:
    """List runs, newest first, or sorted and chosen by what they have logged.

    A filter compares metrics (last values), params, tags and attributes (status, run_name, start_time, duration, ...):
    metrics.accuracy > 0.9 and params.lr < 0.1 and tags.`my tag` LIKE 'x%'. Names with other signs stand in backticks.
    In an attached folder only the runs of its experiment are listed, unless another is named.
    """
    from mlcli.cli import values

    attached = session.services.attached
    if experiment_name is None and parent_run_id is None and attached is not None:
        experiment_name = attached.experiment
    which = RunFilter(
        states=values.states(status),
        experiment_name=experiment_name,
        compute=compute_target_name,
        tags=values.wanted_tags(tags),
        parent=parent_run_id,
        without_parent=parent_run_id is None,
        limit=last,
    )
    if sort is not None or filter_ is not None:
        from mlcli.cli import metrics

        metrics.leaderboard(session, which, sort, filter_, desc=desc)
        return
    actions.list_runs(session, which, more=None)


@NOUN.command("show", "mlcli run show -r my_job", "mlcli run show -t run.json")
def show(session: Session, *, run: OldRunNameOrFile = None, output_metadata_file: Metadata = None) -> None:
    """Show a run: as it was written, and what became of it."""
    from mlcli.cli import run_metadata
    from mlcli.operations import observe

    name = run_metadata.named(session, run, output_metadata_file)
    found = observe.get(session.services, name)
    run_metadata.keep(session, name, output_metadata_file)
    actions.show(session, found)


@NOUN.command("cancel", "mlcli run cancel -r my_job", "mlcli run cancel -t run.json")
def cancel(session: Session, *, run: OldRunNameOrFile = None, output_metadata_file: Metadata = None) -> None:
    """Cancel a run: end its processes, keep what it has made."""
    from mlcli.cli import run_metadata
    from mlcli.operations.cancel import cancel as end

    name = run_metadata.named(session, run, output_metadata_file)
    found = end(session.services, name)
    run_metadata.keep(session, name, output_metadata_file)
    actions.show(session, found)


@NOUN.command("monitor-logs", "mlcli run monitor-logs -r my_job", "mlcli run monitor-logs -t run.json")
def monitor_logs(session: Session, *, run: OldRunNameOrFile = None, output_metadata_file: Metadata = None) -> None:
    """Follow a run's log to its end; the same as `mlcli job stream`."""
    from mlcli.cli import run_metadata

    ended = follow(session, run_metadata.named(session, run, output_metadata_file))
    run_metadata.keep(session, ended.name, output_metadata_file)
    actions.check_success(session, ended, hand_on_code=False)


@NOUN.command("download-logs", "mlcli run download-logs -r my_job -d ./logs")
def download_logs(
    session: Session,
    *,
    run: OldRunNameOrFile = None,
    output_dir: OutputFolder = Path(),
    output_metadata_file: Metadata = None,
) -> None:
    """Fetch a run's logs."""
    from mlcli.cli import run_metadata

    name = run_metadata.named(session, run, output_metadata_file)
    actions.download(session, name, output_dir, logs=True)
    run_metadata.keep(session, name, output_metadata_file)


@NOUN.command("download", "mlcli run download -r my_job -d ./results")
def download(
    session: Session,
    *,
    run: OldRunNameOrFile = None,
    output_dir: OutputFolder = Path(),
    output_metadata_file: Metadata = None,
) -> None:
    """Fetch what a run has made: outputs and logs."""
    from mlcli.cli import run_metadata

    name = run_metadata.named(session, run, output_metadata_file)
    actions.download(session, name, output_dir)
    run_metadata.keep(session, name, output_metadata_file)


@NOUN.command(
    "update", "mlcli run update -r my_job --add-tag stage=final", "mlcli run update -t run.json --add-tag good"
)
def update(
    session: Session,
    *,
    run: OldRunNameOrFile = None,
    add_tag: Annotated[list[str], flags("--add-tag", metavar="KEY[=VALUE]", help="A tag to add.")],
    output_metadata_file: Metadata = None,
) -> None:
    """Add tags to a run."""
    from mlcli.cli import run_metadata
    from mlcli.cli.edits import changes
    from mlcli.operations import manage

    if not add_tag:
        raise UsageError("nothing to change", hint="--add-tag stage=final")
    tags = [f"tags.{tag}" if "=" in tag else f"tags.{tag}=" for tag in add_tag]
    name = run_metadata.named(session, run, output_metadata_file)
    found = manage.update(session.services, name, lambda current: changes(current, tags))
    run_metadata.keep(session, name, output_metadata_file)
    actions.show(session, found)


@NOUN.command(
    "monitor-tensorboard",
    "mlcli run monitor-tensorboard -r my_job",
    "mlcli run monitor-tensorboard -r my_job --local-directory ./events --port 6006",
)
def monitor_tensorboard(
    session: Session,
    *,
    run: OldRunNameOrFile = None,
    local_directory: Annotated[
        Path | None,
        flag("--local-directory", metavar="FOLDER", parse=Path, help="Keep copies of the event files here."),
    ] = None,
    port: Annotated[
        int, flag("--port", metavar="PORT", parse=count_or_none, help="Its port (default: a free one).")
    ] = 0,
    output_metadata_file: Metadata = None,
) -> int:
    """Start TensorBoard over the event files that a run writes to ./logs.

    Needs TensorBoard: pip install 'mlcli[tensorboard]'. Ctrl-C ends it; the run goes on.
    """
    from mlcli.cli import run_metadata, tensorboard

    name = run_metadata.named(session, run, output_metadata_file)
    run_metadata.keep(session, name, output_metadata_file)
    return tensorboard.monitor(session, name, local_directory, port)


run_logged.add(NOUN)
