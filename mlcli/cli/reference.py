"""The reference of every command as Markdown: ``python -m mlcli.cli.reference > docs/cli.md``."""

from __future__ import annotations

from collections.abc import Iterator

from mlcli.cli.app import load
from mlcli.cli.command import Command, Noun
from mlcli.cli.render import write_text
from mlcli.cli.tree import NOUNS, PROGRAM, root_help

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


def commands() -> Iterator[tuple[str, Command | Noun]]:
    """Every noun and every command, with what is typed for it."""
    for noun in NOUNS:
        member = load(noun)
        yield f"{PROGRAM} {noun}", member
        if isinstance(member, Noun):
            yield from ((f"{PROGRAM} {noun} {verb}", command) for verb, command in member.commands.items())


def markdown() -> str:
    """The whole page."""
    texts = [(PROGRAM, root_help())]
    texts += [(path, command.help(path)) for path, command in commands()]
    return "\n".join([_INTRODUCTION, *(f"## {path}\n\n```text\n{text}```\n" for path, text in texts)])


if __name__ == "__main__":
    write_text(markdown())
