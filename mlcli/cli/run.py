"""``mlcli run``: the same jobs under the older names of these commands, with their older flags."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from mlcli.cli import actions
from mlcli.cli.command import Noun, Session
from mlcli.cli.following import follow
from mlcli.cli.options import (
    ATTACHED_FOLDER,
    Condition,
    Descending,
    EveryPoint,
    Flag,
    Follow,
    Metadata,
    Metrics,
    MostPoints,
    OldRunName,
    OldRunNameOrFile,
    OldRunNames,
    Sort,
    complete_job,
    count,
    count_or_none,
    flag,
    flags,
    name_of_job,
)
from mlcli.cli.tree import NOUNS
from mlcli.domain.errors import UsageError
from mlcli.domain.run import RunFilter

# Run names are unique in a workspace here: a run's experiment says nothing more.
NOUN = Noun(
    NOUNS["run"],
    ignored={
        "experiment_name": flag("--experiment-name", "-e", metavar="NAME", help="Accepted and ignored."),
        "attached_folder": ATTACHED_FOLDER,
        "output_metadata_file": flag("--output-metadata-file", "-t", metavar="FILE", help="Accepted and ignored."),
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


Words = Annotated[
    list[str],
    Flag(
        ("--",),
        "The script and its arguments: everything from the first word on that is no flag of this command.",
        "SCRIPT",
        many=True,
        named="script",
        required=False,
        rest=True,
    ),
]
Experiment = Annotated[
    str | None,
    flag("--experiment-name", "-e", metavar="NAME", help="Its experiment (default: the attached folder's)."),
]
Configuration = Annotated[
    str | None,
    flag("--run-configuration-name", "-c", metavar="NAME", help="A run configuration: a name in .azureml, or a path."),
]
AttachedFolder = Annotated[Path | None, ATTACHED_FOLDER]
SourceDirectory = Annotated[
    Path | None,
    flag("--source-directory", metavar="FOLDER", parse=Path, help="The folder of the code (default: that of --path)."),
]
Target = Annotated[
    str | None, flag("--target", "--ct", metavar="COMPUTE", help="Where it runs, whatever the run configuration says.")
]
CondaDependencies = Annotated[
    Path | None,
    flag("--conda-dependencies", "-d", metavar="FILE", parse=Path, help="A conda file, in place of the one named."),
]
Async = Annotated[bool, flag("--async", help="Return as soon as it is on its way.")]
MetadataOut = Annotated[
    Path | None,
    flag("--output-metadata-file", "-t", metavar="FILE", parse=Path, help="Write the run as JSON to this file."),
]
DryRun = Annotated[bool, flag("--dry-run", help="Show the plan, send nothing.")]
Docker = Annotated[bool, flag("--docker", help="Run in a container, whatever the setting local.container says.")]
NoDocker = Annotated[bool, flag("--no-docker", help="Run on the host, though it names an image.")]


_FORMATS_HELP = "mlflow, csv, json or parquet (default: as the path ends, else mlflow)."
Place = Annotated[str | None, flag("--path", metavar="PATH", help="A file, a folder, or an MLflow server's address.")]
OldRunNamesOrNone = Annotated[
    list[str],
    Flag(
        ("--run", "-r", "--name", "-n"),
        "Names of runs.",
        "RUN",
        many=True,
        named="run",
        required=False,
        parse=name_of_job,
        complete=complete_job,
    ),
]


def _format(text: str) -> str:
    if text not in {"mlflow", "csv", "json", "parquet"}:
        raise UsageError(f"{text!r} is no format of runs", hint="mlflow, csv, json or parquet")
    return text


def _axis(text: str) -> str:
    if text not in {"step", "time", "wall"}:
        raise UsageError(f"{text!r} is no axis", hint="step, time or wall")
    return text


@NOUN.command(
    "submit-script",
    "mlcli run submit-script -c local train.py",
    "mlcli run submit-script -e iris -c cpu-cluster --async train.py --learning-rate 0.1",
    "mlcli run submit-script --source-directory src -d conda.yml --ct local -- train.py --epochs 3",
    "mlcli run submit-script -c local -t run.json train.py && mlcli run download-logs -t run.json",
)
def submit_script(
    session: Session,
    *,
    script: Words,
    run_configuration_name: Configuration = None,
    experiment_name: Experiment = None,
    attached_folder: AttachedFolder = None,
    source_directory: SourceDirectory = None,
    target: Target = None,
    conda_dependencies: CondaDependencies = None,
    async_: Async,
    output_metadata_file: MetadataOut = None,
    dry_run: DryRun,
    docker: Docker,
    no_docker: NoDocker,
) -> None:
    """Run a script as a run configuration says, and follow it.

    A script that is typed replaces the file's, arguments that are typed replace the file's. Without a run configuration it
    runs on this machine, in an environment made of the attached folder's conda file. What is to be run with a script's own
    flags, such as --help, stands after the script. The run fails the command when it fails.
    """
    from mlcli.cli import run_submit

    wish = run_submit.Wish(
        words=tuple(script),
        configuration=run_configuration_name,
        experiment=experiment_name,
        source=source_directory,
        target=target,
        conda_file=conda_dependencies,
        metadata=output_metadata_file,
        asynchronous=async_,
        dry_run=dry_run,
        in_container=actions.asked_container(docker=docker, no_docker=no_docker),
    )
    session.folder = attached_folder
    run_submit.script(session, wish)


@NOUN.command(
    "submit-hyperdrive",
    "mlcli run submit-hyperdrive -e iris -c local --hyperdrive-configuration-name hdconfig.yml train.py",
)
def submit_hyperdrive(
    session: Session,
    *,
    script: Words,
    hyperdrive_configuration_name: Annotated[
        str | None,
        flag(
            "--hyperdrive-configuration-name",
            metavar="NAME",
            help="The HyperDrive configuration: a path, or the end of a file's name.",
        ),
    ] = None,
    run_configuration_name: Configuration = None,
    experiment_name: Experiment = None,
    attached_folder: AttachedFolder = None,
    source_directory: SourceDirectory = None,
    target: Target = None,
    conda_dependencies: CondaDependencies = None,
    async_: Async,
    output_metadata_file: MetadataOut = None,
    dry_run: DryRun,
    docker: Docker,
    no_docker: NoDocker,
) -> None:
    """Search for the best values of a script's arguments, and follow the search.

    The script gets each parameter of the HyperDrive configuration as an argument more (--penalty 0.5). It is a sweep:
    `mlcli sweep trials` and `mlcli sweep best` show what was found.
    """
    from mlcli.cli import run_submit

    if run_configuration_name is None:
        raise UsageError("which run configuration? give --run-configuration-name NAME")
    if hyperdrive_configuration_name is None:
        raise UsageError("which HyperDrive configuration? give --hyperdrive-configuration-name NAME")
    wish = run_submit.Wish(
        words=tuple(script),
        configuration=run_configuration_name,
        experiment=experiment_name,
        source=source_directory,
        target=target,
        conda_file=conda_dependencies,
        metadata=output_metadata_file,
        asynchronous=async_,
        dry_run=dry_run,
        in_container=actions.asked_container(docker=docker, no_docker=no_docker),
    )
    session.folder = attached_folder
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
        flag("--parent-run-id", "--pipeline-run-id", metavar="RUN", help="Only children of this run."),
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

    name = run_metadata.named(run, output_metadata_file)
    found = observe.get(session.services, name)
    run_metadata.keep(session, name, output_metadata_file)
    actions.show(session, found)


@NOUN.command("cancel", "mlcli run cancel -r my_job", "mlcli run cancel -t run.json")
def cancel(session: Session, *, run: OldRunNameOrFile = None, output_metadata_file: Metadata = None) -> None:
    """Cancel a run: end its processes, keep what it has made."""
    from mlcli.cli import run_metadata
    from mlcli.operations.cancel import cancel as end

    name = run_metadata.named(run, output_metadata_file)
    found = end(session.services, name)
    run_metadata.keep(session, name, output_metadata_file)
    actions.show(session, found)


@NOUN.command("monitor-logs", "mlcli run monitor-logs -r my_job", "mlcli run monitor-logs -t run.json")
def monitor_logs(session: Session, *, run: OldRunNameOrFile = None, output_metadata_file: Metadata = None) -> None:
    """Follow a run's log to its end; the same as `mlcli job stream`."""
    from mlcli.cli import run_metadata

    ended = follow(session, run_metadata.named(run, output_metadata_file))
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

    name = run_metadata.named(run, output_metadata_file)
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

    name = run_metadata.named(run, output_metadata_file)
    actions.download(session, name, output_dir)
    run_metadata.keep(session, name, output_metadata_file)


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


@NOUN.command(
    "metrics",
    "mlcli run metrics my_job",
    "mlcli run metrics my_job -m loss -m 'val/*' -o csv --all-results",
    "mlcli run metrics my_job -m loss --follow -o json",
    "mlcli run metrics my_job/my_nested_run -m loss",
)
def metrics(
    session: Session,
    *,
    run: OldRunName,
    metric: Metrics,
    follow: Follow,
    max_results: MostPoints = 1000,
    all_results: EveryPoint,
) -> None:
    """Show what a run has logged: its metrics in a few figures, or their points.

    Logged with MLflow, printed (the guide says in which forms), or written as TensorBoard events. Of many points some are
    chosen evenly, unless --all-results asks for every one. With --follow each point is a line as it comes, as JSON Lines
    where the output is JSON. RUN/NESTED means a run that MLflow has nested in it, by name or id.
    """
    from mlcli.cli import metrics as shown

    shown.metrics(session, run, metric, follow=follow, most=max_results, every=all_results)


@NOUN.command(
    "compare",
    "mlcli run compare first_job second_job",
    "mlcli run compare first_job second_job third_job --only-differences -o table",
    "mlcli run compare first_job second_job --diff",
)
def compare(
    session: Session,
    *,
    run: OldRunNames,
    only_differences: Annotated[bool, flag("--only-differences", help="Leave out what is the same.")],
    diff: Annotated[bool, flag("--diff", help="Print how the code differs from the first run's, as diff -u does.")],
) -> None:
    """Compare runs side by side, what differs first.

    Parameters, metrics (last and best), inputs, the job, its environment and packages, and the files of its code.
    """
    from mlcli.cli import metrics as shown

    shown.compare(session, run, only_differences=only_differences, diff=diff)


@NOUN.command(
    "plot",
    "mlcli run plot my_job",
    "mlcli run plot first_job second_job -m loss --log",
    "mlcli run plot first_job second_job -m loss -m 'val/*' --to curves.svg",
)
def plot(
    session: Session,
    *,
    run: OldRunNames,
    metric: Metrics,
    to: Annotated[
        Path | None,
        flag("--to", metavar="FILE", parse=Path, help="Draw into a file instead: .png, .svg, .pdf or .html."),
    ] = None,
    axis: Annotated[
        str, flag("--axis", "-x", metavar="AXIS", parse=_axis, help="step (default), time (since the start) or wall.")
    ] = "step",
    log: Annotated[bool, flag("--log", help="A logarithmic scale for the values.")],
) -> None:
    """Plot metrics as curves, in the terminal or into a file; several runs over each other.

    Needs the extra plot: pip install 'mlcli[plot]'.
    """
    from mlcli.cli import plots

    plots.plot(session, run, metric, to=to, axis=axis, log=log)


@NOUN.command(
    "monitor-tensorboard",
    "mlcli run monitor-tensorboard -r my_job",
    "mlcli run monitor-tensorboard -r my_job --local-directory ./events --port 6006",
)
def monitor_tensorboard(
    session: Session,
    *,
    run: OldRunName,
    local_directory: Annotated[
        Path | None,
        flag("--local-directory", metavar="FOLDER", parse=Path, help="Keep copies of the event files here."),
    ] = None,
    port: Annotated[
        int, flag("--port", metavar="PORT", parse=count_or_none, help="Its port (default: a free one).")
    ] = 0,
) -> int:
    """Start TensorBoard over the event files that a run writes to ./logs.

    Needs TensorBoard: pip install 'mlcli[tensorboard]'. Ctrl-C ends it; the run goes on.
    """
    from mlcli.cli import tensorboard

    return tensorboard.monitor(session, run, local_directory, port)


@NOUN.command(
    "export",
    "mlcli run export first_job second_job --path runs.csv",
    "mlcli run export -e iris --to mlflow --path ./mlruns",
    "mlcli run export -e iris --to mlflow --path http://localhost:5000",
    "mlcli run export my_job --path my_job.json",
)
def export(
    session: Session,
    *,
    run: OldRunNamesOrNone,
    experiment_name: Annotated[
        str | None, flag("--experiment-name", "-e", metavar="NAME", help="Every run of this experiment.")
    ] = None,
    to: Annotated[str | None, flag("--to", metavar="FORMAT", parse=_format, help=_FORMATS_HELP)] = None,
    path: Place = None,
) -> None:
    """Hand runs on with all that they have logged.

    Every point of every metric, parameters, tags, nested runs. To MLflow artifacts go along, to a folder of runs (mlruns) or a server, with a model under its name; the other formats
    are one file. What a place has no room for is told.
    """
    from mlcli.cli import exchange

    exchange.export(session, run, experiment_name, to, path)


@NOUN.command(
    "import",
    "mlcli run import --path ./mlruns",
    "mlcli run import --from mlflow --path http://localhost:5000 -e iris",
    "mlcli run import --path runs.parquet",
)
def import_(
    session: Session,
    *,
    from_: Annotated[str | None, flag("--from", metavar="FORMAT", parse=_format, help=_FORMATS_HELP)] = None,
    path: Place = None,
    experiment_name: Annotated[
        str | None, flag("--experiment-name", "-e", metavar="NAME", help="Only the runs of this experiment.")
    ] = None,
) -> None:
    """Take runs in, from MLflow or from what was exported.

    Each is then a run that has ended. What was taken in before stays as it is.
    """
    from mlcli.cli import exchange

    exchange.take_in(session, from_, path, experiment_name)
