"""How a command line becomes the values of a function."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcli.cli.command import Noun, Session, spread
from mlcli.cli.options import JobName, JobNames, Sets, count, flag
from mlcli.domain.errors import UsageError

CALLS: list[dict[str, Any]] = []
NOUN = Noun("A noun for these tests.", ignored={"path": flag("--path", metavar="P", help="Ignored.")})


@NOUN.command("one", "x one -n a")
def one(
    session: Session,
    *,
    name: JobName,
    set_: Sets,
    web: Annotated[bool, flag("--web", "-e", help="A switch.")],
    target: Annotated[Path | None, flag("--target", "-t", metavar="FILE", parse=Path, help="A path.")] = None,
    last: Annotated[int, flag("--last", metavar="N", parse=count, help="A count.")] = 10,
) -> None:
    """Do one thing.

    At some length.
    """
    CALLS.append(
        {"name": name, "set": set_, "web": web, "target": target, "last": last, "workspace": session.workspace_name}
    )


@NOUN.command("many", "x many a b")
def many(session: Session, *, name: JobNames) -> int:
    """Do it to many."""
    CALLS.append({"name": name, "workspace": session.workspace_name})
    return 7


def call(*arguments: str) -> dict[str, Any]:
    CALLS.clear()
    NOUN.build("x").main(list(arguments), prog_name="x", standalone_mode=False)
    return CALLS[0]


DEFAULTS = {"name": "a", "set": [], "web": False, "target": None, "last": 10, "workspace": None}


@pytest.mark.parametrize("arguments", [["-n", "a"], ["--name", "a"], ["--name=a"], ["a"], ["a", "-n", "a"]])
def test_a_name_is_given_by_flag_or_stands_alone(arguments):
    assert call("one", *arguments) == DEFAULTS


def test_flags_may_stand_before_and_after_the_name():
    assert call("one", "-e", "a", "--last", "3", "-t", "f", "-w", "team") == {
        **DEFAULTS,
        "web": True,
        "last": 3,
        "target": Path("f"),
        "workspace": "team",
    }


def test_set_takes_one_or_several_values_and_may_be_repeated():
    made = call("one", "--set", "a=1", "b.c=x y", "-e", "--set", "d==", "a")
    assert made["set"] == ["a=1", "b.c=x y", "d=="]
    assert made["name"] == "a"


def test_what_az_scripts_give_to_every_command_is_ignored():
    assert call("one", "-g", "group", "--subscription", "x", "--path", ".", "a") == DEFAULTS


def test_many_names_each_once():
    assert call("many", "b", "-n", "a", "a", "--name", "c")["name"] == ["a", "c", "b"]


def test_an_exit_code_is_handed_on():
    assert NOUN.build("x").main(["many", "a"], prog_name="x", standalone_mode=False) == 7


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["one"], "which job? give --name NAME", None),
        (["one", "a", "b"], "unknown argument 'b'", "the job is 'a' already"),
        (["one", "a", "-n", "b"], "unknown argument 'a'", "the job is 'b' already"),
        (["one", "a", "--wbe"], "unknown flag '--wbe'", "did you mean '--web'?"),
        (["one", "a", "--targt=x"], "unknown flag '--targt'", "did you mean '--target'?"),
        (["one", "a", "--tar", "x"], "unknown flag '--tar'", "did you mean '--target'?"),
        (["one", "a", "--last", "0"], "'0' is not a whole number above zero", None),
        (["one", "a", "--last"], "Option '--last' requires an argument.", "x one --help"),
        (["one", "a", "-o", "jsn"], "--output: there is no format 'jsn'", "did you mean 'json'?"),
        (["one", "a", "--query", "[?"], "--query: ", "jmespath.org"),
        (["oen"], "there is no command 'oen' in 'x'", "did you mean 'x one'?"),
    ],
)
def test_a_wrong_command_line_says_what_is_meant(arguments, message, hint):
    with pytest.raises(UsageError) as refused:
        call(*arguments)
    assert message in refused.value.message
    assert hint is None or hint in (refused.value.hint or "")
    assert CALLS == []


SET = NOUN.commands["one"].flags["set_"]


@given(st.lists(st.sampled_from(["--set", "-e", "a=1", "b=2", "name", "--", "-x=3"])))
def test_spreading_keeps_every_word_in_its_order(words):
    made = list(spread(words, [SET]))
    rest = iter(made)
    assert all(any(word == other for other in rest) for word in words)
    assert set(made) <= {*words, "--set"}


def test_spreading_stops_at_words_that_are_no_assignments():
    assert list(spread(["--set", "a=1", "b=2", "name", "c=3"], [SET])) == [
        "--set",
        "a=1",
        "--set",
        "b=2",
        "name",
        "c=3",
    ]
    assert list(spread(["--set", "a=1", "--", "b=2"], [SET])) == ["--set", "a=1", "--", "b=2"]
    assert list(spread(["--set=a=1", "b=2"], [SET])) == ["--set=a=1", "b=2"]


def test_the_help_shows_usage_flags_and_examples(capfdbinary):
    NOUN.build("x").main(["one", "a", "--help"], prog_name="x", standalone_mode=False)
    shown = capfdbinary.readouterr().out.decode()
    assert shown.startswith(
        "Usage: x one NAME [FLAGS]\n\n  Do one thing.\n\n  At some length.\n\nArguments:\n  NAME  Name of the job.\n"
    )
    assert "  --target, -t FILE  A path.\n" in shown
    assert "--path" not in shown
    assert shown.endswith("Example:\n  x one -n a\n")


def test_flags_that_are_ignored_are_neither_shown_nor_completed():
    built = NOUN.commands["one"].build("one")
    hidden = {parameter.name for parameter in built.params if getattr(parameter, "hidden", False)}
    assert hidden == {"resource_group", "subscription", "path"}


def test_a_short_flag_may_have_an_equals_sign_as_with_az():
    assert call("one", "-n=a", "-t=x=y", "-w=team") == {**DEFAULTS, "target": Path("x=y"), "workspace": "team"}


def test_a_value_that_is_refused_names_its_flag():
    with pytest.raises(UsageError, match="--last: '0' is not a whole number above zero"):
        call("one", "a", "--last", "0")
