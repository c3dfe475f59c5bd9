"""``run metrics|compare|plot|export|import``: what runs have logged."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from mlcli.cli.command import Noun, Session
from mlcli.cli.options import (
    EveryPoint,
    Follow,
    Metrics,
    MostPoints,
    OldRunName,
    OldRunNames,
    OldRunNamesOrNone,
    flag,
)
from mlcli.domain.errors import UsageError

_FORMATS_HELP = "mlflow, csv, json or parquet (default: as the path ends, else mlflow)."
Place = Annotated[str | None, flag("--path", metavar="PATH", help="A file, a folder, or an MLflow server's address.")]


def _format(text: str) -> str:
    if text not in {"mlflow", "csv", "json", "parquet"}:
        raise UsageError(f"{text!r} is no format of runs", hint="mlflow, csv, json or parquet")
    return text


def _axis(text: str) -> str:
    if text not in {"step", "time", "wall"}:
        raise UsageError(f"{text!r} is no axis", hint="step, time or wall")
    return text


def add(noun: Noun) -> None:
    """Add the commands to ``mlcli run``."""
    noun.command(
        "metrics",
        "mlcli run metrics my_job",
        "mlcli run metrics my_job -m loss -m 'val/*' -o csv --all-results",
        "mlcli run metrics my_job -m loss --follow -o json",
        "mlcli run metrics my_job/my_nested_run -m loss",
    )(metrics)
    noun.command(
        "compare",
        "mlcli run compare first_job second_job",
        "mlcli run compare first_job second_job third_job --only-differences -o table",
        "mlcli run compare first_job second_job --diff",
    )(compare)
    noun.command(
        "plot",
        "mlcli run plot my_job",
        "mlcli run plot first_job second_job -m loss --log",
        "mlcli run plot first_job second_job -m loss -m 'val/*' --to curves.svg",
    )(plot)
    noun.command(
        "export",
        "mlcli run export first_job second_job --path runs.csv",
        "mlcli run export -e iris --to mlflow --path ./mlruns",
        "mlcli run export -e iris --to mlflow --path http://localhost:5000",
        "mlcli run export my_job --path my_job.json",
    )(export)
    noun.command(
        "import",
        "mlcli run import --path ./mlruns",
        "mlcli run import --from mlflow --path http://localhost:5000 -e iris",
        "mlcli run import --path runs.parquet",
    )(import_)


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
