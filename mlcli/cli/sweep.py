"""``mlcli sweep``: the trials of a sweep, and the best of them. Sweeps are created, followed and cancelled as jobs are."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from mlcli.cli import sweep_views
from mlcli.cli.command import Noun, Session
from mlcli.cli.options import JobName, flag
from mlcli.cli.tree import NOUNS
from mlcli.domain.errors import UsageError

if TYPE_CHECKING:
    from mlcli.operations.sweep_report import Row

NOUN = Noun(NOUNS["sweep"])
_SORTS = ("trial", "metric")


_KINDS = ("history", "parallel", "slice", "importance")


def _kind(text: str) -> str:
    if text not in _KINDS:
        raise UsageError(f"there is no plot of the kind {text!r}", hint=f"one of {', '.join(_KINDS)}")
    return text


def _sort(text: str) -> str:
    if text not in _SORTS:
        raise UsageError(f"trials are not sorted by {text!r}", hint=f"one of {', '.join(_SORTS)}")
    return text


@NOUN.command(
    "trials",
    "mlcli sweep trials -n my_sweep",
    "mlcli sweep trials -n my_sweep --sort metric -o csv > trials.csv",
    "mlcli sweep trials -n my_sweep --query '[?best].name' -o tsv",
)
def trials(
    session: Session,
    *,
    name: JobName,
    sort: Annotated[
        str, flag("--sort", metavar="KEY", parse=_sort, help="By trial, or by metric with the best first.")
    ] = "trial",
) -> None:
    """List the trials of a sweep: their values, states and metrics."""
    from mlcli.operations import sweep_report

    found = sweep_report.report(session.services, sweep_report.sweep_named(session.services, name))
    best = found.best
    goal = found.search.objective.goal

    def place(row: Row) -> tuple[bool, float]:
        return row.metric is None, 0.0 if row.metric is None else -goal.score(row.metric)

    rows = sorted(found.rows, key=place) if sort == "metric" else found.rows
    records = [row.as_record(best) for row in rows]
    columns = partial(sweep_views.row, names=sweep_views.names(records))
    session.console.emit(records, view=sweep_views.trials, columns=columns, logged_names=True)


@NOUN.command(
    "best",
    "mlcli sweep best -n my_sweep",
    "mlcli sweep best -n my_sweep --save-as best.yml",
    "mlcli sweep best -n my_sweep --query values",
    "mlcli sweep best -n my_sweep --flags",
)
def best(
    session: Session,
    *,
    name: JobName,
    save_as: Annotated[
        Path | None,
        flag("--save-as", "-a", metavar="FILE", parse=Path, help="Write a command job with its values to this file."),
    ] = None,
    flags: Annotated[bool, flag("--flags", help="Print its values as flags alone: --rate 0.1 --kind tree.")],
) -> None:
    """Show the best trial of a sweep.

    With --save-as its values are put into the sweep's command: a job file of its own. With --flags they are printed for a
    shell to put behind a command.
    """
    from mlcli.operations import sweep_report

    run = sweep_report.sweep_named(session.services, name)
    row = sweep_report.best_trial(session.services, run)
    if save_as is not None:
        from mlcli.cli.jobfile import write

        write(sweep_report.as_command(session.services, run, row), save_as)
    if flags:
        session.console.log(f"{shlex.join(sweep_report.as_flags(row))}\n".encode())
        return
    session.console.emit(row.as_record(row), view=sweep_views.one, columns=sweep_views.row, logged_names=True)


@NOUN.command(
    "plot",
    "mlcli sweep plot -n my_sweep",
    "mlcli sweep plot -n my_sweep --kind slice",
    "mlcli sweep plot -n my_sweep --kind parallel --to sweep.html",
)
def plot(
    session: Session,
    *,
    name: JobName,
    kind: Annotated[
        str,
        flag("--kind", "-k", metavar="KIND", parse=_kind, help="history (default), parallel, slice or importance."),
    ] = "history",
    to: Annotated[
        Path | None,
        flag(
            "--to", "--save-as", "-a", metavar="FILE", parse=Path, help="Draw into a file: .png, .svg, .pdf or .html."
        ),
    ] = None,
) -> None:
    """Plot what a sweep has found, in the terminal or into a file.

    history: the metric of each trial and the best so far. parallel: a line for each trial through its values. slice: the
    metric over each parameter. importance: how much each parameter counts. Needs two extras:
    pip install 'mlcli[plot,sweep]'.
    """
    from mlcli.cli import sweep_plots

    sweep_plots.plot(session, name, kind, to)


@NOUN.command(
    "export",
    "mlcli sweep export -n my_sweep --to study.db",
    "mlcli sweep export -n my_sweep --to study.log",
)
def export(
    session: Session,
    *,
    name: JobName,
    to: Annotated[Path, flag("--to", metavar="FILE", parse=Path, help="A .db (SQLite) or a .log (Optuna's journal).")],
) -> None:
    """Write a sweep as a study into a file that optuna-dashboard and Optuna open.

    The study has the sweep's name. Exporting again brings the study up to date. Needs Optuna: pip install 'mlcli[sweep]'.
    """
    from mlcli.operations import sweep_report, sweep_study

    done = sweep_study.export(session.services, sweep_report.sweep_named(session.services, name), to)
    shown = f"sqlite:///{to}" if to.suffix.lower() in sweep_study.SQLITE else str(to)
    session.console.notice(f"look at it: optuna-dashboard {shown}")
    session.console.emit(asdict(done), view=sweep_views.exported)
