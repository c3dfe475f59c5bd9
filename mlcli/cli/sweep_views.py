"""What a person on a terminal sees of sweeps."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from mlcli.cli.formats import printable
from mlcli.cli.sizes import span
from mlcli.cli.views import figure, grid, pairs, stack, status, text
from mlcli.domain.state import State

if TYPE_CHECKING:
    from rich.console import RenderableType

    from mlcli.domain.sweep import Search
    from mlcli.operations.sweep_report import Report

Record = Mapping[str, Any]
_ROWS = 30


def plan(record: Record) -> RenderableType:
    """What a sweep would do."""
    first = record["first_trial"] or {}
    sampling = record["sampling_algorithm"]
    limits = record.get("limits") or {}
    return grid(
        [
            ("Sweep", record["run"]),
            ("Goal", f"{record['objective']['goal']} {record['objective']['primary_metric']}"),
            ("Search space", pairs({name: _parameter(one) for name, one in record["search_space"].items()})),
            ("Sampling", " ".join(f"{key}={value}" for key, value in sampling.items())),
            ("Limits", pairs(limits)),
            ("Early termination", pairs(record.get("early_termination") or {})),
            ("Reuse", "finished trials of the same are not made again" if record["reuse"] else None),
            ("Warm start", f"told of {len(record['warm_start'])} earlier trials" if record["warm_start"] else None),
            ("Compute", f"{first['compute']} ({first['backend']})" if first else None),
            ("Environment", first["environment"]["description"] if first else None),
            ("First trial", first.get("command")),
            ("Notices", "\n".join(record["notices"])),
        ]
    )


def _parameter(one: Record) -> str:
    """``uniform(0.01, 0.9)``."""
    if "values" in one:
        return f"{one['type']}({', '.join(map(str, one['values']))})"
    return f"{one['type']}({', '.join(str(value) for key, value in one.items() if key != 'type')})"


def line(record: Record, report: Report) -> str:
    """One trial that has ended."""
    metric = report.search.objective.primary_metric
    told = f"{metric}={figure(record['metric'])}" if record["metric"] is not None else f"no {metric}"
    values = " ".join(f"{name}={figure(value)}" for name, value in record["values"].items())
    best = "  best so far" if record["best"] else ""
    why = f"  ({record['status_message']})" if record["status_message"] else ""
    return printable(f"trial {record['trial']}  {record['status']}  {told}  {values}{best}{why}")


def names(records: Sequence[Record]) -> list[str]:
    """The parameters that the trials have, some perhaps only a few of them."""
    return list(dict.fromkeys(name for record in records for name in record["values"]))


def row(record: Record, names: Sequence[str] | None = None) -> dict[str, Any]:
    """The columns of ``sweep trials -o table`` and ``-o csv``. ``names``: the parameters that have one; None: the trial's own."""
    values = record["values"]
    first = {
        "Trial": record["trial"],
        "Name": record["name"],
        "Status": record["status"],
        "Metric": record["metric"],
    }
    last = {"Took": record["duration_s"], "Note": record["status_message"] or None}
    taken = {*first, *last}
    shown = values if names is None else names
    own = {f"search_space.{name}" if name in taken else name: values.get(name) for name in shown}
    return {**first, **own, **last}


def trials(records: Sequence[Record]) -> RenderableType:
    """The trials of a sweep."""
    from rich.table import Table

    if not records:
        return text("no trials yet", "dim")
    parameters = names(records)
    table = Table(box=None, pad_edge=False, header_style="bold")
    noted = ["Note"] if any(record["status_message"] for record in records) else []
    for heading in ("Trial", "Status", *parameters, "Metric", "Took", *noted):
        gives_way = heading in parameters or heading == "Note"  # where there is little room
        table.add_column(heading, no_wrap=not gives_way, overflow="fold", style="dim" if heading == "Note" else "")
    for record in records:
        values = [_cell(figure(record["values"][name]) if name in record["values"] else "") for name in parameters]
        metric = "" if record["metric"] is None else figure(record["metric"])
        mark = " *" if record["best"] else ""
        took = "" if record["duration_s"] is None else span(record["duration_s"])
        state = status(record).append(" (reused)" if record["reused"] else "")
        notes = [_cell(record["status_message"]) for _ in noted]
        table.add_row(str(record["trial"]), state, *values, text(metric + mark), took, *notes)
    return table


def _cell(value: str) -> RenderableType:
    """A text on one line, cut short where there is little room."""
    cell = text(value)
    cell.no_wrap, cell.overflow = True, "ellipsis"
    return cell


class Live:
    """A table of the trials that changes in its place."""

    def __init__(self, keeping: ExitStack) -> None:
        from rich.console import Console
        from rich.live import Live as RichLive

        self._live = keeping.enter_context(RichLive(console=Console(highlight=False), auto_refresh=False))
        self._shown: Any = None
        self._at = 0.0

    def __call__(self, report: Report) -> None:
        """Draw it as it is now, where it has changed."""
        now = time.time()
        if report.rows != self._shown or now - self._at > 1.0 or report.run.state.is_end:
            self._shown, self._at = report.rows, now
            self._live.update(table(report, now), refresh=True)


def table(report: Report, now: float) -> RenderableType:
    """The latest trials, the best one, and how far it is."""
    best = report.best
    shown = [one.as_record(best) for one in report.rows[-_ROWS:]]
    if best is not None and best.number < len(report.rows) - _ROWS:
        shown.insert(0, best.as_record(best))
    parts = [trials(shown)]
    metric = report.search.objective.primary_metric
    if best is not None and best.metric is not None:
        values = "  ".join(f"{key}={figure(value)}" for key, value in best.values.items())
        parts.append(text(f"best: trial {best.number}  {metric}={figure(best.metric)}  {values}", "green"))
    parts.append(text(progress(report, now), "dim"))
    return stack(*parts)


def progress(report: Report, now: float) -> str:
    """``12 of 20 trials have ended; about 3m left``."""
    total = _to_come(report.search)
    said = f"{report.ended} of {total} trials have ended"
    if report.run.state is State.PAUSED:
        return f"{said}; paused until: mlcli job resume -n {report.run.name}"
    started = report.run.started_at
    if report.run.state.is_end or started is None or not report.ended:
        return said
    left = (now - started) / report.ended * (total - report.ended)
    return f"{said}; about {span(max(0.0, min(left, started + report.search.limits.timeout_s - now)))} left"


def _to_come(search: Search) -> int:
    """How many trials there are to be at most: a grid may have fewer than its limit."""
    from mlcli.sampling.grid import size

    most = search.limits.max_total_trials
    return min(most, size(search.space)) if search.sampling.algorithm == "grid" else most


def one(record: Record) -> RenderableType:
    """One trial."""
    values = {name: figure(value) for name, value in record["values"].items()}
    return grid(
        [
            ("Trial", record["trial"]),
            ("Name", record["name"]),
            ("Status", status(record)),
            ("Metric", None if record["metric"] is None else figure(record["metric"])),
            ("Values", pairs(values)),
        ]
    )


def exported(record: Record) -> RenderableType:
    """A sweep that is a study of Optuna's now."""
    told = f"{record['trials']} trials, {record['added']} of them new, {record['updated']} brought up to date"
    return grid([("Study", record["study"]), ("File", record["path"]), ("Trials", told)])
