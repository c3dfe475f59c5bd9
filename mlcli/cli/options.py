"""The flags of commands, as annotated types: those that every command has, and those that several share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from mlcli.cli.formats import FORMATS

SPREAD = frozenset({"--set", "--add", "--tag", "--tags", "--add-tag"})


Flags = Mapping[str, tuple[Any, Any]]
"""Flags that no command function names itself: parameter name -> (annotated type, default)."""


@dataclass(frozen=True)
class Named:
    """Marks a parameter that may be given by flag (as az does) or by position: the name a command is about."""

    flags: tuple[str, ...]
    metavar: str
    what: str
    help: str
    many: bool = False
    required: bool = True
    complete: Callable[..., list[str]] | None = None


def complete_job(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of jobs that start so, newest first. Completion never fails: a workspace that cannot be read has none."""
    from mlcli.domain.errors import MlcliError
    from mlcli.workspace import open_workspace

    try:
        return list(open_workspace(ctx.params.get("workspace_name")).runs.complete(incomplete))
    except MlcliError:
        return []


def _complete_format(incomplete: str) -> list[str]:
    return [name for name in FORMATS if name.startswith(incomplete)]


JobName = Annotated[str, Named(("--name", "-n"), "NAME", "job", "Name of the job.", complete=complete_job)]
JobNames = Annotated[
    list[str], Named(("--name", "-n"), "NAME", "job", "Names of jobs.", many=True, complete=complete_job)
]
OldRunName = Annotated[
    str, Named(("--run", "-r", "--name", "-n"), "RUN", "run", "Name of the run.", complete=complete_job)
]

Sets = Annotated[
    list[str],
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Set a value, by its dotted path; several may follow.", show_default=False
    ),
]
Web = Annotated[
    bool, typer.Option("--web", "-e", help="Accepted for az's sake: there is no web page here.", show_default=False)
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.", show_default=False)]
HandOnCode = Annotated[
    bool,
    typer.Option("--propagate-exit-code", help="End with the exit code of the job's own command.", show_default=False),
]

SHARED: Flags = {
    "output": (
        Annotated[
            str | None,
            typer.Option(
                "--output",
                "-o",
                metavar="FORMAT",
                help=f"{', '.join(FORMATS[:-1])} or none. Default: a readable view on a terminal, else json.",
                autocompletion=_complete_format,
                show_default=False,
            ),
        ],
        None,
    ),
    "query": (
        Annotated[
            str | None,
            typer.Option(
                "--query", metavar="JMESPATH", help="Show only what this JMESPath selects.", show_default=False
            ),
        ],
        None,
    ),
    "workspace_name": (
        Annotated[
            str | None,
            typer.Option("--workspace-name", "-w", metavar="NAME", help="The workspace to use.", show_default=False),
        ],
        None,
    ),
    "verbose": (
        Annotated[bool, typer.Option("--verbose", help="Say more about what is done.", show_default=False)],
        False,
    ),
    "only_show_errors": (
        Annotated[bool, typer.Option("--only-show-errors", help="No notices, no warnings.", show_default=False)],
        False,
    ),
    "debug": (
        Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.", show_default=False)],
        False,
    ),
}
"""What every command has, and hands to its session."""

IGNORED: Flags = {
    "resource_group": (Annotated[str | None, typer.Option("--resource-group", "-g", hidden=True)], None),
    "subscription": (Annotated[str | None, typer.Option("--subscription", hidden=True)], None),
}
"""What az's scripts may give to every command, and means nothing here."""
