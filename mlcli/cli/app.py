"""The tree of commands. A noun's code is imported when it is typed; ``--help`` prints its line from the table below.

The commands are parsed by argparse, which is what az itself is built on: it costs a tenth of what the frameworks above click
cost to import, and start-up time is a feature here.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlcli.cli.command import Command, Noun
    from mlcli.domain.errors import UsageError

PROGRAM = "mlcli"
SUMMARY = "One job file, any compute: run az ml job YAML of every generation on your own machines."
NOUNS: Mapping[str, str] = {
    "job": "Submit jobs, watch them, fetch what they made.",
    "run": "The same jobs under the older names of these commands.",
    "workspace": "The place where runs and snapshots are kept.",
    "schema": "The JSON schemas of job files, for editors.",
    "version": "Show which mlcli this is.",
}
ROOT_FLAGS: Mapping[str, str] = {
    "--version, -V": "Show the version.",
    "--show-completion [SHELL]": "Print what makes bash, zsh or fish complete commands, flags and job names.",
    "--install-completion [SHELL]": "Put it where the shell finds it.",
    "--help, -h": "Show this help; every noun and every command has its own.",
}
HELP = ("--help", "-h")


def load(noun: str) -> Noun | Command:
    """The commands of a noun, imported now."""
    loaded: Noun | Command = importlib.import_module(f"mlcli.cli.{noun}").NOUN
    return loaded


def run(arguments: list[str]) -> int:
    """Run a command line and answer its exit code; raises what went wrong, for ``failures`` to tell."""
    first, rest = (arguments[0], arguments[1:]) if arguments else ("--help", [])
    if first in NOUNS:
        return load(first).run(rest, f"{PROGRAM} {first}")
    if first in HELP:
        return _help()
    if first in {"--complete", "--show-completion", "--install-completion"}:
        from mlcli.cli import completion

        return completion.run(first, rest)
    raise unknown_command(PROGRAM, first, NOUNS)


def _help() -> int:
    from mlcli.cli.helptext import group
    from mlcli.cli.render import write_text

    write_text(group(PROGRAM, SUMMARY, NOUNS, ROOT_FLAGS))
    return 0


def unknown_command(path: str, typed: str, known: Iterable[str]) -> UsageError:
    """The error for a command that does not exist, with the nearest one that does."""
    import difflib

    from mlcli.domain.errors import UsageError

    near = difflib.get_close_matches(typed, known, n=1)
    hint = f"did you mean '{path} {near[0]}'?" if near else f"{path} --help"
    return UsageError(f"there is no command {typed!r} in '{path}'", hint=hint)
