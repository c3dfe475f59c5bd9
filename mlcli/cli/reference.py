"""The reference of every command as Markdown: ``python -m mlcli.cli.reference > docs/cli.md``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from mlcli.cli.app import LazyGroup, root
from mlcli.cli.render import write_text

_INTRODUCTION = """# The command line

<!-- Written by `python -m mlcli.cli.reference`; do not edit. -->

Records and logs go to standard output, notices and errors to standard error. On a terminal a record is a readable view,
elsewhere JSON; `--output` and `--query` say otherwise. A flag stands after the verb. Where az takes one flag with several
values (`--set a=1 b=2`), so does mlcli; the name of a job may stand without its flag.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | failed: the command itself, or the job that was streamed or waited for |
| 2 | the command line is wrong |
| 3 | what was named does not exist |
| 130 | Ctrl-C: the job goes on |
| 141 | whoever read the output has closed it |
"""


def commands(command: Any, name: str = "mlcli", parent: Any = None) -> Iterator[tuple[str, Any, Any]]:
    """Every command below and with this one: its whole name, the command, its context."""
    context = typer.Context(command, info_name=name, parent=parent, max_content_width=100, terminal_width=100)
    yield context.command_path, command, context
    if isinstance(command, LazyGroup):
        for below in command.list_commands(context):
            yield from commands(command.get_command(context, below), below, context)


def markdown() -> str:
    """The whole page."""
    sections = (
        f"## {path}\n\n```text\n{command.get_help(context).rstrip()}\n```\n"
        for path, command, context in commands(root())
    )
    return "\n".join([_INTRODUCTION, *sections])


if __name__ == "__main__":
    write_text(markdown())
