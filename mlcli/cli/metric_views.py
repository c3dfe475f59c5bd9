"""What a person on a terminal sees of metrics, comparisons and leaderboards: rich renderables."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from mlcli.cli.views import figure, since, stack, text
from mlcli.domain.metrics import evenly

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

Record = Mapping[str, Any]
_MOST_ROWS = 40


def _table(*headings: str) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(
            heading, justify="left" if heading in {"Metric", "Name", "Status", "Time"} else "right", overflow="fold"
        )
    return table


def figures(records: Sequence[Record]) -> RenderableType:
    """A line for each metric."""
    if not records:
        return text("no metrics", "dim")
    table = _table("Metric", "Last", "Step", "Best", "At step", "Min", "Max", "Points")
    for record in records:
        keys = ("last", "step", "best", "best_step", "min", "max", "count")
        table.add_row(text(record["name"], "bold"), *(text(figure(record[key])) for key in keys))
    return table


def points(records: Sequence[Record]) -> RenderableType:
    """Some lines for each metric: a terminal is no place for a thousand."""
    by_name: dict[str, list[Record]] = {}
    for record in records:
        by_name.setdefault(record["name"], []).append(record)
    table = _table("Metric", "Step", "Value", "Time")
    for name, rows in by_name.items():
        for index in evenly(len(rows), _MOST_ROWS):
            row = rows[index]
            moment = datetime.fromisoformat(row["time"]).astimezone().strftime("%Y-%m-%d %H:%M:%S")
            table.add_row(text(name), text(row["step"]), text(figure(row["value"])), text(moment, "dim"))
    hidden = sum(max(0, len(rows) - _MOST_ROWS) for rows in by_name.values())
    if not hidden:
        return table
    return stack(table, text(f"{hidden} more points between these: -o csv, or mlcli run plot, shows them", "dim"))


_TITLES = {
    "param": "Parameters",
    "metric": "Metrics, last",
    "best": "Metrics, best",
    "input": "Inputs",
    "job": "Job",
    "environment": "Environment",
    "package": "Packages that differ",
    "code": "Files that differ",
}


def comparison(rows: Sequence[Record]) -> RenderableType:
    """A block for each kind, what differs in colour."""
    if not rows:
        return text("no differences", "dim")
    from rich.table import Table

    runs = list(rows[0]["values"])
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("", *runs):
        table.add_column(text(heading), overflow="fold")
    kind = None
    for row in rows:
        if row["kind"] != kind:
            kind = row["kind"]
            table.add_row(text(_TITLES[kind], "bold cyan"))
        values = (text(figure(row["values"][run]), "yellow" if row["differs"] else "") for run in runs)
        table.add_row(text(f"  {row['name']}", "" if row["differs"] else "dim"), *values)
    return table


def board(records: Sequence[Record], columns: Sequence[tuple[str, str]]) -> RenderableType:
    """A leaderboard: what was asked about stands beside the name."""
    if not records:
        return text("no jobs", "dim")
    now = time.time()
    table = _table("Name", "Status", *(key for _, key in columns), "Experiment", "Created")
    for record in records:
        table.add_row(
            text(record["name"]),
            text(record["status"]),
            *(text(figure(record[kind].get(key))) for kind, key in columns),
            text(record["experiment_name"]),
            text(since(record["creation_context"]["created_at"], now)),
        )
    return table


def experiments(records: Sequence[Record]) -> RenderableType:
    """A line for each experiment."""
    if not records:
        return text("no experiments", "dim")
    now = time.time()
    table = _table("Name", "Jobs", "Last job", "Description")
    for record in records:
        last = record["last_run"]
        table.add_row(
            text(record["name"], "dim" if record["archived"] else ""),
            text(record["runs"]),
            text(since(last, now) if last else ""),
            text(record["description"]),
        )
    return table
