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
        "Nodes": _nodes(record) or (record["machine"]["address"] if record.get("machine") else None),
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
    nodes = record["nodes"]
    if nodes is None:
        return None
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
            ("Tier", record["tier"] if record["nodes"] is not None else None),
            ("Idle time", span(record["idle_time_before_scale_down"]) if record["nodes"] is not None else None),
            *_machine(record),
            ("Jobs", jobs or "none"),
        ]
    )


def _machine(record: Record) -> list[tuple[str, Any]]:
    """What was found on a machine when it was attached."""
    found = record.get("machine")
    if not found:
        return []
    cores = f"{found['cores']} core{'' if found['cores'] == 1 else 's'}"
    free = f"{found['free_gb']:g} GB free" if found["free_gb"] is not None else None
    return [
        ("Problem", record["problem"]),
        ("Address", found["address"]),
        ("Host key", f"{found['host_key']} ({found['host_key_state']})"),
        ("Login", found["login"]),
        ("Machine", f"{found['system']}, {cores}, {found['memory_gb']:g} GB"),
        ("GPUs", ", ".join(found["gpus"]) or None),
        ("Python", f"{found['python_version']} ({found['python']})"),
        ("Docker", found["docker"] or "no engine that answers"),
        ("Folder", f"{found['folder']}" + (f", {free}" if free else "")),
        ("At once", None if record["max_instances"] is None else f"{record['max_instances']} jobs"),
    ]


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
