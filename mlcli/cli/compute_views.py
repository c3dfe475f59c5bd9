"""Computes as a person on a terminal reads them, and as the columns of ``-o table``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mlcli.cli import views
from mlcli.cli.sizes import span
from mlcli.cli.views import Record

if TYPE_CHECKING:
    from rich.console import RenderableType


def row(record: Any) -> dict[str, Any]:
    """The columns of a compute."""
    return {
        "Name": record["name"],
        "Type": record["type"],
        "State": record["state"],
        "Size": record["size"],
        "Nodes": _nodes(record),
        "Running": record["jobs"]["running"],
        "Queued": record["jobs"]["queued"],
    }


def node_row(record: Any) -> dict[str, Any]:
    """The columns of a node."""
    return {
        "Node": record["node_id"],
        "State": record["node_state"],
        "Job": record["current_job_name"],
        "Address": record["private_ip_address"],
    }


def size_row(record: Any) -> dict[str, Any]:
    """The columns of a size."""
    return {"Name": record["name"], "Cores": record["cores"], "Memory GB": record["memory_gb"], "GPUs": record["gpus"]}


def usage_row(record: Any) -> dict[str, Any]:
    """The columns of what is used."""
    return {
        "Name": record["name"],
        "Used": record["current_value"],
        "Limit": record["limit"],
        "Unit": record["unit"],
    }


def _nodes(record: Record) -> str | None:
    if record["max_instances"] is None:
        return None
    nodes = record["nodes"]
    return f"{nodes['running']} busy, {nodes['idle']} idle, at most {record['max_instances']}"


def compute(record: Record) -> RenderableType:
    """One compute: what it is, what goes on there."""
    node: Mapping[str, Any] = record["node"] or {}
    smaller = " (scaled down to this machine)" if node.get("scaled_down") else ""
    cores = f"{node.get('cores')} core{'' if node.get('cores') == 1 else 's'}"
    jobs = ", ".join(f"{count} {state}" for state, count in record["jobs"].items() if count)
    return views.grid(
        [
            ("Name", record["name"]),
            ("Type", record["type"]),
            ("State", record["state"]),
            ("Description", record["description"]),
            ("Tags", views.pairs(record["tags"])),
            ("Size", record["size"]),
            ("A node here", f"{cores}, {node['memory_gb']} GB{smaller}" if node else None),
            ("Nodes", _nodes(record)),
            ("Tier", record["tier"] if record["max_instances"] is not None else None),
            ("Idle time", span(record["idle_time_before_scale_down"]) if record["max_instances"] is not None else None),
            ("Jobs", jobs or "none"),
        ]
    )


def table(columns: Any, nothing: str) -> Any:
    """A view of records as a table of those columns."""

    def view(records: Sequence[Record]) -> RenderableType:
        if not records:
            return views.text(nothing, "dim")
        from rich.table import Table

        rows = [columns(record) for record in records]
        shown = Table(box=None, pad_edge=False, header_style="bold")
        for heading in rows[0]:
            shown.add_column(heading, no_wrap=True, overflow="fold")
        for cells in rows:
            shown.add_row(*(views.text(cell) for cell in cells.values()))
        return shown

    return view
