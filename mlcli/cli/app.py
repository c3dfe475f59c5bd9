"""The tree of typer commands. A noun's code is imported when it is typed, a command is built when it is typed."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import typer

from mlcli.cli.groups import group
from mlcli.cli.tree import NOUNS, PROGRAM, ROOT_FLAGS, root_help
from mlcli.domain.errors import UsageError

if TYPE_CHECKING:
    from mlcli.cli.command import Command, Noun

__all__ = ["NOUNS", "load", "root", "run"]


def _root(*, version: bool = typer.Option(False, "--version", "-V", help=ROOT_FLAGS["--version, -V"])) -> None:
    if version:
        raise UsageError("--version stands alone", hint="mlcli --version")


def load(noun: str) -> Noun | Command:
    """The commands of a noun, imported now."""
    loaded: Noun | Command = importlib.import_module(f"mlcli.cli.{noun}").NOUN
    return loaded


def root() -> Any:
    """The whole tree, as the command object that typer runs."""
    return group(PROGRAM, NOUNS, lambda noun: load(noun).build(noun), lambda _path: root_help(), _root)


def run(arguments: list[str]) -> int:
    """Run a command line and answer its exit code; raises what went wrong, for ``failures`` to tell."""
    code = root().main(args=arguments, prog_name=PROGRAM, standalone_mode=False)
    return code if isinstance(code, int) else 0
