"""Data, models, components and datastores as a person on a terminal reads them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from mlcli.cli import views
from mlcli.cli.views import Record

if TYPE_CHECKING:
    from rich.console import RenderableType

_SHOWN = ("name", "version", "labels", "description", "tags", "archived", "creation_context", "id", "workspace")


def version(record: Record) -> RenderableType:
    """One version: what it is, where it is."""
    return views.grid(
        [
            ("Name", record["name"]),
            ("Version", record.get("version")),
            ("Labels", ", ".join(record.get("labels", ()))),
            ("Description", record["description"]),
            ("Tags", views.pairs(record["tags"])),
            ("Archived", "yes" if record.get("archived") else None),
            *((_title(key), _text(value)) for key, value in record.items() if key not in _SHOWN),
            ("Created", _since(record)),
        ]
    )


def listing(word: str) -> Callable[[Sequence[Record]], RenderableType]:
    """Names with their latest versions, or the versions of one; ``word``: what there is none of."""

    def table(records: Sequence[Record]) -> RenderableType:
        from rich.table import Table

        if not records:
            return views.text(f"no {word}", "dim")
        shown = Table(box=None, pad_edge=False, header_style="bold")
        for heading in ("Name", "Version", "Type", "Description", "Created"):
            shown.add_column(heading, no_wrap=heading != "Description", overflow="fold")
        for each in records:
            shown.add_row(
                views.text(each["name"], "dim" if each.get("archived") else ""),
                views.text(each.get("latest_version") or each.get("version")),
                views.text(each.get("type")),
                views.text(each["description"]),
                views.text(_since(each)),
            )
        return shown

    return table


def _since(record: Record) -> str | None:
    made = record["creation_context"]["created_at"]
    return views.since(made, time.time()) if made else None


def _title(key: str) -> str:
    return key.replace("_", " ").capitalize()


def _text(value: Any) -> Any:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return views.pairs(value)
    return str(value) if isinstance(value, list) else value


# --- the columns of -o table ------------------------------------------------------------------------------------------


def name_row(record: Any) -> dict[str, Any]:
    """A name with its latest version."""
    return {"name": record["name"], "latest version": record["latest_version"], "description": record["description"]}


def row(record: Any) -> dict[str, Any]:
    """A version."""
    return {key: record.get(key) for key in ("name", "version", "type", "description", "archived")}


def datastore_row(record: Any) -> dict[str, Any]:
    """A datastore."""
    return {key: record.get(key) for key in ("name", "type", "path", "description")}
