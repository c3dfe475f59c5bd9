"""What a person on a terminal sees of each record: rich renderables. rich is imported only when one is made."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from mlcli.cli.formats import printable
from mlcli.cli.sizes import size, span

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

_STYLES = {
    "Completed": "green",
    "Failed": "red",
    "NotResponding": "red",
    "Canceled": "yellow",
    "CancelRequested": "yellow",
    "Paused": "yellow",
}
_LIVE_STYLE = "cyan"

Record = Mapping[str, Any]


def text(value: Any, style: str = "") -> Text:
    """A value as text that cannot drive the terminal; None is nothing."""
    from rich.text import Text

    return Text("" if value is None else printable(str(value)), style=style)


def _line(*parts: Text | str) -> Text:
    from rich.text import Text

    return Text.assemble(*parts)


def stack(*parts: RenderableType) -> RenderableType:
    """One below the other."""
    from rich.console import Group

    return Group(*parts)


def status(record: Record) -> Text:
    """A job's state, in its colour."""
    place = record.get("queue_position")
    shown = f"{record['status']} ({place})" if place else record["status"]
    return text(shown, _STYLES.get(record["status"], _LIVE_STYLE))


def grid(rows: Iterable[tuple[str, Any]]) -> Table:
    """Names on the left, values on the right; rows without a value are left out."""
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        if value not in (None, "", {}, []):
            table.add_row(name, text(value) if isinstance(value, (str, int, float)) else value)
    return table


def pairs(entries: Mapping[str, Any]) -> str:
    """A line for each entry."""
    return "\n".join(f"{name} = {value}" for name, value in entries.items())


def _ago(record: Record, now: float) -> str:
    return since(record["creation_context"]["created_at"], now)


def since(moment: str, now: float) -> str:
    """How long ago a moment (ISO 8601) was."""
    return f"{span(max(0.0, now - datetime.fromisoformat(moment).timestamp()))} ago"


def _duration(record: Record, now: float) -> str:
    if record["duration_s"] is not None:
        return span(record["duration_s"])
    if record["start_time"] is None or record["end_time"] is not None:
        return ""
    return span(max(0.0, now - datetime.fromisoformat(record["start_time"]).timestamp()))


def jobs(records: Sequence[Record]) -> RenderableType:
    """A list of jobs, newest first."""
    if not records:
        return text("no jobs", "dim")
    from rich.table import Table

    now = time.time()
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("Name", no_wrap=True, overflow="fold")
    for heading in ("Status", "Experiment", "Compute", "Created", "Took"):
        table.add_column(heading, no_wrap=True)
    for record in records:
        table.add_row(
            text(record["name"], "dim" if record["archived"] else ""),
            status(record),
            text(record["experiment_name"]),
            text(record["compute"]),
            _ago(record, now),
            _duration(record, now),
        )
    return table


def job(record: Record) -> RenderableType:
    """One job: what it is, what became of it, where its things are."""
    now = time.time()
    resolved = record["resolved"]
    return grid(
        [
            ("Name", record["name"]),
            ("Status", status(record)),
            ("Why", record["status_message"] if record["status"] != "Completed" else None),
            ("Display name", record["display_name"]),
            ("Description", record["description"]),
            ("Experiment", record["experiment_name"]),
            ("Compute", record["compute"]),
            ("Environment", resolved["environment_name"]),
            ("" if resolved["environment_name"] else "Environment", resolved["environment"]),
            ("Container", resolved["container_reason"]),
            ("Image", resolved["image_digest"] or resolved["image"]),
            ("Python", resolved["python"]),
            ("Command", resolved["command"]),
            ("Inputs", pairs(resolved["inputs"])),
            ("Outputs", pairs(resolved["outputs"])),
            *_sweep(record.get("sweep")),
            ("Parameters", pairs(record.get("params", {}))),
            ("Metrics", _metrics(record.get("metrics", {}))),
            ("Models", "\n".join(str(model["uri"]) for model in record.get("models", ()))),
            (
                "Nested runs",
                "\n".join(str(nested["run_name"] or nested["run_id"]) for nested in record.get("nested_runs", ())),
            ),
            ("Tags", pairs(record["tags"])),
            ("Created", _ago(record, now)),
            ("Took", _duration(record, now)),
            ("Exit code", record["exit_code"]),
            ("Folder", record["folder"]),
        ]
    )


def _sweep(record: Record | None) -> list[tuple[str, Any]]:
    """How a sweep stands, and its best trial."""
    if record is None:
        return []
    best = f"{record['best_trial']}  {record['primary_metric']} = {figure(record['best_metric'])}"
    values = {name: figure(value) for name, value in (record["best_values"] or {}).items()}
    return [
        ("Goal", f"{record['goal']} {record['primary_metric']}"),
        ("Trials", f"{record['summary']}; at most {record['max_total_trials']}"),
        ("Seed", record["seed"]),
        ("Best trial", best if record["best_trial"] else None),
        ("Best values", pairs(values)),
        ("Warning", record["warning"]),
    ]


def figure(value: Any) -> str:
    """A value at a length that eyes compare: six significant digits."""
    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value is None else str(value)


def _metrics(metrics: Mapping[str, Record]) -> str:
    """Each with its last value, and its best where that was another."""
    lines = []
    for name, figures in metrics.items():
        better = figures["best"] is not None and figures["best"] != figures["last"]
        where = f" (best {figure(figures['best'])} at step {figures['best_step']})" if better else ""
        lines.append(f"{name} = {figure(figures['last'])}{where}")
    return "\n".join(lines)


def created(record: Record) -> RenderableType:
    """A job that is on its way, and what may be asked of it."""
    name = record["name"]
    line = _line(text(name, "bold"), "  ", status(record))
    asks = [
        ("follow", f"mlcli job stream -n {name}"),
        ("look", f"mlcli job show -n {name}"),
        ("end", f"mlcli job cancel -n {name}"),
    ]
    return stack(line, grid(asks))


def ended(record: Record) -> RenderableType:
    """A job whose log has just been followed to its end."""
    name = record["name"]
    took = _duration(record, time.time())
    line = _line(text(name, "bold"), "  ", status(record), f"  {took}" if took else "")
    if record["status"] != "Completed":
        return line
    return stack(line, grid([("fetch", f"mlcli job download -n {name} --outputs")]))


def plan(record: Record) -> RenderableType:
    """What would be done."""
    code = record["code"]
    environment = record["environment"]
    built = " (built already)" if environment["cached"] and environment["fingerprint"] else ""
    return grid(
        [
            ("Job", record["run"]),
            ("Experiment", record["experiment_name"]),
            ("Compute", f"{record['compute']} ({record['backend']})"),
            ("Command", record["command"]),
            ("Environment", f"{environment['description']}{built}"),
            ("Code", f"{code['folder']} ({code['files']} files, {size(code['size'])})" if code else None),
            ("Inputs", pairs({entry["name"]: f"{entry['value']} ({entry['action']})" for entry in record["inputs"]})),
            ("Outputs", pairs({entry["name"]: entry["value"] for entry in record["outputs"]})),
            ("Time limit", span(record["timeout_s"]) if record["timeout_s"] else None),
            ("Notices", "\n".join(record["notices"])),
        ]
    )


def downloaded(record: Record) -> RenderableType:
    """What was fetched to where."""
    return grid([("Written", "\n".join(record["written"]))])


def pruned(record: Record) -> RenderableType:
    """What a prune has removed, or would."""
    verb = "would go" if record["dry_run"] else "deleted"
    freed = None if record["dry_run"] else size(record["run_bytes"] + record["snapshot_bytes"])
    return grid([("Jobs", f"{len(record['runs'])} {verb}"), ("", "\n".join(record["runs"])), ("Freed", freed)])


def verdicts(found: Any) -> RenderableType:
    """A line for each file that was validated."""
    records = found if isinstance(found, list) else [found]
    return stack(*map(_verdict, records))


def _verdict(record: Record) -> Text:
    if not record["valid"]:
        return _line(
            text("✗ ", "red"),
            text(record["file"]),
            f": {len(record['errors'])} errors, {len(record['warnings'])} warnings",
        )
    what = " ".join(filter(None, (record["type"], record["noun"])))
    return _line(text("✓ ", "green"), text(record["file"]), f": a valid {what} ({record['generation']})")


def workspace(record: Record) -> RenderableType:
    """A workspace."""
    return facts({**record, "tags": pairs(record["tags"]), "settings": pairs(record["settings"])})


def facts(record: Record) -> RenderableType:
    """Any record of plain values."""
    return grid((name.replace("_", " ").capitalize(), value) for name, value in record.items())
