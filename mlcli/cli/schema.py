"""``mlcli schema``: the JSON schemas of job files, for editors and for whoever checks files without mlcli."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Annotated, Any

from mlcli.cli.app import NOUNS
from mlcli.cli.command import Noun, Session
from mlcli.cli.options import Flag
from mlcli.cli.render import write_text

NOUN = Noun(NOUNS["schema"])


def complete_schema(typed: str, _workspace: str | None) -> list[str]:
    """Names of schemas that start so."""
    from mlcli.spec.schemas import names

    return [name for name in names() if name.startswith(typed)]


_ABOUT = "A schema's name, or the address that files for az carry in $schema."
_NAME = Flag(("--name", "-n"), _ABOUT, "NAME", named="schema", complete=complete_schema)
_OPTIONAL = Flag(("--name", "-n"), _ABOUT, "NAME", named="schema", required=False, complete=complete_schema)


@NOUN.command("list", "mlcli schema list -o table")
def list_(session: Session) -> None:
    """List the schemas: what each describes, and the generation of files that it is for."""
    from mlcli.spec.schemas import names

    session.console.emit([_record(name) for name in names()], view=_view)


@NOUN.command(
    "show", "mlcli schema show commandJob", "mlcli schema show sweepJob --query 'properties | keys(@)' -o tsv"
)
def show(session: Session, *, name: Annotated[str, _NAME]) -> None:
    """Show what a schema holds, as JSON."""
    from mlcli.spec.schemas import load_schema

    session.console.emit(load_schema(schema_name(name)))


@NOUN.command("path", "mlcli schema path", "mlcli schema path commandJob")
def path(session: Session, *, name: Annotated[str | None, _OPTIONAL] = None) -> None:
    """Print the file of a schema, or the folder of all of them: what an editor's settings name."""
    from mlcli.spec.schemas import schema_folder, schema_path

    found = str(schema_folder() if name is None else schema_path(schema_name(name)))
    if session.console.asks_for_record:
        session.console.emit(found)
    else:
        write_text(f"{found}\n")


def schema_name(given: str) -> str:
    """The name of the schema that a name, a file name or an address means; an address is one of today's schemas."""
    plain = re.split(r"[?#]", given, maxsplit=1)[0].removesuffix(".json").removesuffix(".schema")
    return PurePosixPath(plain).name if "://" in given else plain


def _record(name: str) -> dict[str, Any]:
    from mlcli.spec.schemas import load_schema, schema_path

    schema = load_schema(name)
    folder = PurePosixPath(name).parent.name
    return {
        "name": name,
        "title": schema.get("title"),
        "generation": folder or "2022-04",
        "path": str(schema_path(name)),
    }


def _view(records: list[dict[str, Any]]) -> Any:
    from rich.table import Table

    table = Table("Name", "What it describes", "Files since", box=None, header_style="bold")
    for record in records:
        table.add_row(record["name"], record["title"], record["generation"])
    return table
