"""docs/from-azure-ml.md: each command in its tables is one that there is, with flags that it takes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from mlcli.cli.app import load
from mlcli.cli.command import Command, Noun
from mlcli.cli.tree import NOUNS

PAGE = Path(__file__).parents[2] / "docs" / "from-azure-ml.md"
ROWS = re.findall(r"^\| `(?P<then>[^|]*)` \| (?P<here>.*) \|$", PAGE.read_text(), re.MULTILINE)
COMMANDS = [re.findall(r"`(mlcli [^`]*)`", here)[0] for _, here in ROWS if "`mlcli " in here]
ABSENT = [name for then, here in ROWS if here == "-" for name in then.split("`, `")]


def command(noun: str, verb: str) -> Command | None:
    if noun not in NOUNS:
        return None
    member = load(noun)
    return member.commands.get(verb) if isinstance(member, Noun) else member


@pytest.mark.parametrize("typed", COMMANDS)
def test_what_the_table_says_can_be_typed(typed: str) -> None:
    _, noun, verb, *words = shlex.split(typed)
    found = command(noun, verb)
    assert found is not None
    found.build(verb).make_context(f"mlcli {noun} {verb}", words)
    flags = {name for flag in found.all_flags.values() for name in flag.names}
    own = words if not found.has_rest else [word for word in words if word.startswith("-")]
    assert {word for word in own if word.startswith("-")} <= flags
    shown = found.help(f"mlcli {noun} {verb}")
    assert all(word in shown for word in own if word.startswith("--"))


@pytest.mark.parametrize("name", ABSENT)
def test_what_the_table_says_is_not_there_is_not(name: str) -> None:
    noun, verb = name.split()[:2]
    assert command(noun, verb) is None


def test_every_command_of_the_first_generation_that_is_here_has_a_row() -> None:
    for noun in ("folder", "run", "experiment", "computetarget"):
        member = load(noun)
        assert isinstance(member, Noun)
        ours = {"attach", "submit-script", "submit-hyperdrive", "list", "show", "cancel", "monitor-logs", "update"}
        for verb in ours & set(member.commands):
            named = any(typed.split()[1:3] == [noun, verb] for typed in COMMANDS)
            assert named or (noun, verb) in {("folder", "show"), ("experiment", "show"), ("computetarget", "update")}
