"""Environments as a person on a terminal reads them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mlcli.cli import views
from mlcli.cli.sizes import size
from mlcli.cli.views import Record

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table


def environment(record: Record) -> RenderableType:
    """One environment: what it is made from, how it stands here."""
    here = record.get("on_this_machine") or {}
    build = record.get("build") or {}
    state = "built" if here.get("cached") else "not built" if here.get("fingerprint") else None
    return views.grid(
        [
            ("Name", record["name"]),
            ("Version", record["version"]),
            ("Labels", ", ".join(record.get("labels", ()))),
            ("Description", record["description"]),
            ("Tags", views.pairs(record.get("tags", {}))),
            ("Archived", "yes" if record["archived"] else None),
            ("Interpreter", record.get("interpreter")),
            ("Image", record.get("image")),
            ("Docker build", build.get("path") or ("Dockerfile in the definition" if build else None)),
            ("Conda file", _dependencies(record.get("conda_file") or {})),
            ("Variables", views.pairs(record.get("environment_variables", {}))),
            ("Here", here.get("description")),
            ("", state),
            ("Fingerprint", here.get("fingerprint")),
            ("Build log", here.get("build_log")),
            ("Last failure", here.get("last_failure")),
            ("Problem", here.get("problem")),
        ]
    )


def _dependencies(conda: Record) -> str:
    """A line for each package, pip's as they stand."""
    lines = []
    for entry in conda.get("dependencies") or ():
        lines += [f"pip: {line}" for line in entry.get("pip") or ()] if isinstance(entry, Mapping) else [str(entry)]
    return "\n".join(lines)


def environments(records: Sequence[Record]) -> RenderableType:
    """Names with their latest versions, or the versions of one."""
    if not records:
        return views.text("no environments", "dim")
    headings = ("Name", "Latest version" if "latest_version" in records[0] else "Version", "Description", "Created")
    now = time.time()
    return _table(
        headings,
        (
            (
                views.text(record["name"], "dim" if record["archived"] else ""),
                views.text(record.get("latest_version") or record.get("version")),
                views.text(record["description"]),
                views.since(record["creation_context"]["created_at"], now),
            )
            for record in records
        ),
    )


def built_environments(records: Sequence[Record]) -> RenderableType:
    """What is on the disk, and what it takes there."""
    if not records:
        return views.text("nothing is built", "dim")
    now = time.time()
    rows = (
        (
            views.text(each["builder"]),
            views.text(each["fingerprint"][:12]),
            size(each["size"]),
            views.since(each["used_at"], now),
            views.text(each["description"]),
        )
        for each in records
    )
    table = _table(("Builder", "Fingerprint", "Size", "Last used", "Description"), rows)
    return views.stack(
        table, views.text(f"{len(records)} environments, {size(sum(each['size'] for each in records))}", "dim")
    )


def pruned_environments(record: Record) -> RenderableType:
    """What a prune has taken off the disk, or would."""
    found = record["environments"]
    verb = "would go" if record["dry_run"] else "gone"
    amount = sum(each["size"] for each in found) if record["dry_run"] else record["freed"]
    descriptions = "\n".join(f"{each['fingerprint'][:12]}  {each['description']}" for each in found)
    failed = record["failed_builds"]
    return views.grid(
        [
            ("Environments", f"{len(found)} {verb}"),
            ("", descriptions),
            ("Failed builds", f"{len(failed)} {verb}" if failed else ""),
            ("Freed", size(amount)),
        ]
    )


def _table(headings: Sequence[str], rows: Iterable[Sequence[RenderableType]]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, heading in enumerate(headings):
        table.add_column(heading, no_wrap=number < len(headings) - 1, overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def built(record: Record) -> RenderableType:
    """An environment that was built just now, or is there already."""
    return views.grid(
        [
            ("Environment", record["description"]),
            ("", "was there already" if record["was_cached"] else "built"),
            ("Image", record["image"]),
            ("Digest", record["digest"]),
            ("Python", record["python"]),
            ("Packages", len(record["resolved"]) + len(record["packages"])),
            ("Fingerprint", record["fingerprint"]),
        ]
    )


# --- the columns of -o table ------------------------------------------------------------------------------------------


def name_row(record: Record) -> dict[str, Any]:
    """A name with its latest version: az's columns, in az's order."""
    return {"name": record["name"], "latest version": record["latest_version"], "description": record["description"]}


def row(record: Record) -> dict[str, Any]:
    """A version."""
    return {key: record[key] for key in ("name", "version", "description", "archived")}


def cached_row(record: Record) -> dict[str, Any]:
    """What is built."""
    return {
        "Builder": record["builder"],
        "Fingerprint": record["fingerprint"][:12],
        "Size": size(record["size"]),
        "Last used": record["used_at"],
        "Description": record["description"],
    }
