"""Every command's help: there, with examples that work, and the same as in docs/cli.md."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from mlcli.cli.command import Command
from mlcli.cli.reference import commands, markdown
from mlcli.cli.tree import NOUNS

ALL = dict(commands())
VERBS = {path: command for path, command in ALL.items() if isinstance(command, Command)}
PAGE = Path(__file__).parents[2] / "docs" / "cli.md"


def test_the_tree_has_the_nouns_of_the_table():
    assert {path.split()[1] for path in ALL} == set(NOUNS)


@pytest.mark.parametrize("path", VERBS)
def test_a_command_says_what_it_does_in_a_sentence(path):
    assert VERBS[path].summary.endswith(".")
    assert len(VERBS[path].summary) < 90


@pytest.mark.parametrize("path", VERBS)
def test_a_command_shows_examples_of_itself_that_parse(path):
    command = VERBS[path]
    assert command.examples
    for example in command.examples:
        typed = re.sub(r"^name=\$\((.*)\)$", r"\1", example)
        assert typed == path or typed.startswith(f"{path} ")
        words = shlex.split(typed)[len(path.split()) :]
        command.build(path.split()[-1]).make_context(path, words)


@pytest.mark.parametrize("path", VERBS)
def test_no_two_flags_of_a_command_share_a_name(path):
    names = [name for flag in VERBS[path].all_flags.values() for name in flag.names]
    assert len(names) == len(set(names))
    assert not {"--help", "-h"} & set(names)


@pytest.mark.parametrize("path", VERBS)
def test_every_flag_is_explained(path):
    for flag in VERBS[path].all_flags.values():
        assert flag.names[0].startswith("--")
        assert flag.help.endswith(".")


def test_the_page_in_docs_is_what_the_commands_say():
    assert PAGE.read_text(encoding="utf-8") == markdown(), "write it anew: python -m mlcli.cli.reference > docs/cli.md"


def test_the_installed_command_prints_the_same_help(mlcli):
    for path in ("mlcli", "mlcli job", "mlcli job create", "mlcli version"):
        shown = mlcli(*path.split()[1:], "--help")
        assert shown.code == 0
        assert shown.stderr == ""
        assert shown.stdout in markdown()
    assert mlcli().stdout == mlcli("-h").stdout
    assert mlcli("job").stdout == mlcli("job", "-h").stdout
