"""What runs have logged, on the command line: figures, histories, comparisons. ``job`` and ``run`` share it."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mlcli.domain.errors import UsageError
from mlcli.domain.metrics import Point, Summary, Tracked, best, ordered, plain
from mlcli.domain.redaction import masked

if TYPE_CHECKING:
    from mlcli.cli.command import Session
    from mlcli.operations.findings import Findings, Subject

Record = dict[str, Any]
MOST = 1000


def metrics(
    session: Session, name: str, wanted: Sequence[str], *, follow: bool, most: int | None = MOST, every: bool = False
) -> None:
    """Print the figures of every metric of a run, or the points of those that are wanted."""
    from mlcli.operations import findings, tracking

    of = tracking.subject(session.services, name)
    if follow:
        _follow(session, of, wanted)
        return
    found = findings.find(session.services, of)
    if wanted:
        _show_points(session, of, found, wanted, None if every else most)
    else:
        _show_figures(session, of, found)
    tell_damage(session, of.label, found.tracked)


def tell_damage(session: Session, label: str, tracked: Tracked) -> None:
    """Say what could not be read."""
    from mlcli.operations.tracking import damage

    for sentence in damage(label, tracked):
        session.console.notice(sentence)


def _show_figures(session: Session, of: Subject, found: Findings) -> None:
    from mlcli.cli import metric_views
    from mlcli.operations.tracking import unknown_metric

    if not found.tracked.metrics and found.complete:
        raise unknown_metric(of.label, "", found.tracked)
    if not found.tracked.metrics:
        session.console.notice(f"job {of.label} has logged no metrics yet")
    rows = [figures(name, found.tracked.metrics[name], found.sources[name]) for name in ordered(found.tracked.metrics)]
    session.console.emit(rows, view=metric_views.figures)


def figures(name: str, summary: Summary, source: str) -> Record:
    """The row of a metric. ``time``: of the last value, ISO 8601."""
    from mlcli.operations.times import iso_time

    return {
        "name": name,
        **short(name, summary),
        "time": iso_time(summary.time_ms / 1000),
        "source": source,
    }


def short(name: str, summary: Summary) -> Record:
    """The same without name and time, as ``show`` has it. ``best`` is null where nobody can tell."""
    chosen = best(name, summary)
    return {
        "last": plain(summary.last),
        "step": summary.step,
        "best": None if chosen is None else plain(chosen[0]),
        "best_step": None if chosen is None else chosen[1],
        "min": plain(summary.minimum),
        "min_step": summary.min_step,
        "max": plain(summary.maximum),
        "max_step": summary.max_step,
        "count": summary.count,
    }


def _show_points(session: Session, of: Subject, found: Findings, wanted: Sequence[str], most: int | None) -> None:
    from mlcli.cli import metric_views
    from mlcli.operations import tracking

    rows: list[Record] = []
    for metric in chosen(of, found, wanted):
        points = tracking.history(session.services, of, found, metric, most).by_step()
        rows += [_row(metric, point) for point in points]
        count = found.tracked.metrics[metric].count
        if len(points) < count:
            session.console.notice(
                f"{metric}: {len(points):,} of {count:,} points, evenly chosen: --all-results shows every one"
            )
    session.console.emit(rows, view=metric_views.points)


def chosen(of: Subject, found: Findings, wanted: Sequence[str]) -> list[str]:
    """The metrics that are meant: by their names, or by patterns such as ``val/*``. Raises NotFoundError."""
    from mlcli.operations.tracking import unknown_metric

    there = ordered(found.tracked.metrics)
    names: dict[str, None] = {}
    for word in wanted:
        fitting = [word] if word in there else [name for name in there if fnmatch.fnmatchcase(name, word)]
        if not fitting:
            raise unknown_metric(of.label, word, found.tracked)
        names.update(dict.fromkeys(fitting))
    return list(names)


def _row(metric: str, point: Point) -> Record:
    from mlcli.operations.times import iso_time

    return {"name": metric, "step": point.step, "value": plain(point.value), "time": iso_time(point.time_ms / 1000)}


def _follow(session: Session, of: Subject, wanted: Sequence[str]) -> None:
    from mlcli.cli.failures import Interrupted
    from mlcli.operations import tracking

    first = True
    try:
        for metric, point in tracking.follow(session.services, of, wanted, session.console.notice):
            session.console.emit_row(_row(metric, point), first=first)
            first = False
    except KeyboardInterrupt:
        hint = f"follow it again: mlcli run metrics {of.label} --follow"
        raise Interrupted(f"job {of.run.name} goes on without being watched", hint=hint) from None


def compare(session: Session, names: Sequence[str], *, only_differences: bool, diff: bool) -> None:
    """Print runs side by side, or the difference of their code."""
    from mlcli.cli import metric_views
    from mlcli.operations import comparison, tracking

    if len(names) < 2:
        raise UsageError("a comparison takes two runs or more", hint="mlcli run compare first_job second_job")
    subjects = [tracking.subject(session.services, name) for name in names]
    if diff:
        for line in comparison.code_difference(session.services, subjects):
            session.console.log(f"{line}\n".encode())
        return
    rows, notices = comparison.compare(session.services, subjects)
    rows = [row for row in rows if row["differs"] or not only_differences]
    session.console.emit(rows, view=metric_views.comparison, columns=_side_by_side, logged_names=True)
    for sentence in notices:
        session.console.notice(sentence)


def _side_by_side(row: Mapping[str, Any]) -> Record:
    return {"Kind": row["kind"], "Name": row["name"], "Differs": "*" if row["differs"] else "", **row["values"]}


def leaderboard(session: Session, which: Any, sort: str | None, condition: str | None, *, desc: bool) -> None:
    """Print the runs for which a filter holds, sorted by what they have logged."""
    from dataclasses import replace
    from functools import partial

    from mlcli.cli import metric_views
    from mlcli.domain.filters import parse_filter, parse_order
    from mlcli.operations import leaderboard as board
    from mlcli.operations.records import summaries

    conditions = parse_filter(condition or "")
    orders = parse_order(sort) if sort else ()
    if desc:
        orders = tuple(replace(order, descending=order.descending is not False) for order in orders)
    entries = board.leaderboard(session.services, which, conditions, orders)
    named = [*((one.kind, one.key) for one in orders), *((one.kind, one.key) for one in conditions)]
    asked = [(kind, key) for kind, key in named if kind in {"metrics", "params"}]
    rows = []
    for entry, record in zip(entries, summaries(session.services, [entry.run for entry in entries]), strict=True):
        logged = {name: plain(summary.last) for name, summary in entry.tracked.metrics.items()}
        params = {name: masked(value) for name, value in entry.tracked.params.items()}
        rows.append({**record, "metrics": logged, "params": params})
    columns = list(dict.fromkeys(asked))
    session.console.emit(
        rows,
        view=partial(metric_views.board, columns=columns),
        columns=partial(_board_row, columns=columns),
        logged_names=True,
    )
    for entry in entries:
        tell_damage(session, entry.run.name, entry.tracked)


def _board_row(record: Mapping[str, Any], columns: Sequence[tuple[str, str]]) -> Record:
    """The columns of ``-o table``: what was asked about stands beside the name."""
    return {
        "Name": record["name"],
        "Status": record["status"],
        **{key: record[kind].get(key) for kind, key in columns},
        "Experiment": record["experiment_name"],
        "Created on": record["creation_context"]["created_at"],
    }


def logged(session: Session, run: Any) -> Iterator[tuple[str, Any]]:
    """What ``show`` adds to a record: metrics, the tags that were logged (MLflow's own left out), and parameters, models and
    nested runs where there are any. A machine that does not answer is asked once, and keeps nobody from the rest.
    """
    from mlcli.operations import findings

    found = findings.find_or_tell(session.services, findings.Subject(run, run.name))
    yield "metrics", {name: short(name, found.tracked.metrics[name]) for name in ordered(found.tracked.metrics)}
    tags = {name: masked(tag) for name, tag in found.tracked.tags.items() if not name.startswith("mlflow.")}
    yield "tags", {**tags, **run.tags}
    if found.tracked.params:
        yield "params", {name: masked(value) for name, value in found.tracked.params.items()}
    if found.models:
        yield "models", [{**model, "uri": f"runs:/{run.name}/{model['name']}"} for model in found.models]
    if found.nested:
        yield "nested_runs", list(found.nested)
    tell_damage(session, run.name, found.tracked)
