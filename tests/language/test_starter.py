"""``job init``: from a script's own flags to a job file that validates and runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from mlcli.domain.job import DataInput, LiteralInput
from mlcli.operations.files import DiskFiles
from mlcli.spec import requirements, starter
from mlcli.spec.script_flags import Flag, read_flags

ARGPARSE = """
import argparse
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--iris-csv", type=Path, required=True, help="the table to train on")
parser.add_argument("-r", "--rounds", type=int, default=10)
parser.add_argument("--rate", type=float, default=1e-4, help="how fast %(default)s")
parser.add_argument("--boosting", default="gbdt", choices=["gbdt", "dart"])
parser.add_argument("--seed", type=int)
parser.add_argument("--verbose", action="store_true")
parser.add_argument("--layers", nargs="+", type=int)
parser.add_argument("target", nargs="?", default="species")
arguments = parser.parse_args()
"""

CLICK = """
import click

@click.command()
@click.option("--rounds", default=10, help="How many.")
@click.option("--kind", type=click.Choice(["a", "b"]), required=True)
@click.option("--shout/--no-shout", default=False)
@click.argument("table")
def main(rounds, kind, shout, table): ...
"""


def load(text: str):
    return YAML(typ="safe", pure=True).load(text)


def minimal(**more) -> starter.Starter:
    return starter.Starter(command="python train.py", code=".", environment="current", compute="local", **more)


def test_the_flags_of_argparse_are_read_without_running_the_script() -> None:
    flags = read_flags("raise SystemExit('was run')\n" + ARGPARSE)
    assert flags is not None
    by_name = {flag.name: flag for flag in flags}
    assert list(by_name) == ["iris_csv", "rounds", "rate", "boosting", "seed", "verbose", "layers", "target"]
    assert by_name["iris_csv"] == Flag("--iris-csv", "iris_csv", "path", required=True, help="the table to train on")
    assert by_name["rounds"] == Flag("--rounds", "rounds", "integer", 10)
    assert by_name["boosting"].choices == ("gbdt", "dart")
    assert by_name["verbose"].takes == "none"
    assert by_name["layers"].takes == "many"
    assert by_name["target"].word == ""
    assert not by_name["target"].required


def test_the_flags_of_click_are_read_too() -> None:
    flags = read_flags(CLICK)
    assert flags is not None
    rounds, kind, shout, table = flags
    assert (rounds.default, rounds.type) == (10, "integer")
    assert kind.required
    assert kind.choices == ("a", "b")
    assert shout.takes == "none"
    assert (table.word, table.required) == ("", True)


@pytest.mark.parametrize(
    "source",
    ["print 'python 2'", "parser.add_subparsers()", "\0", "(" * 1000, "import click\n@cli.group()\ndef main(): ..."],
)
def test_what_cannot_be_told_is_not_guessed(source: str) -> None:
    assert read_flags(source) is None


@settings(deadline=None)
@given(st.text())
def test_no_script_makes_the_reader_fail(source: str) -> None:
    read_flags(source)


def test_defaults_become_inputs_and_the_rest_a_remark() -> None:
    flags = read_flags(ARGPARSE)
    assert flags is not None
    inputs = {"iris_csv": DataInput("data/iris.csv", "uri_file"), **starter.offered(flags)}
    text = starter.write(minimal(flags=flags, inputs=inputs))
    job = load(text)
    assert job["inputs"] == {
        "iris_csv": {"type": "uri_file", "path": "data/iris.csv"},
        "rounds": 10,
        "rate": 0.0001,
        "boosting": "gbdt",
        "target": "species",
    }
    assert job["command"] == (
        "python train.py --iris-csv ${{inputs.iris_csv}} --rounds ${{inputs.rounds}} --rate ${{inputs.rate}} "
        "--boosting ${{inputs.boosting}} ${{inputs.target}}"
    )
    for remark in ("#   --seed SEED", "#   --verbose", "#   --layers ...", "# the table to train on"):
        assert remark in text


def test_a_flag_that_the_script_needs_and_nobody_gave_is_missing() -> None:
    flags = read_flags(ARGPARSE)
    assert flags is not None
    assert [flag.name for flag in starter.missing(flags, starter.offered(flags))] == ["iris_csv"]


LITERALS = st.one_of(
    st.text(min_size=1), st.integers(-(2**40), 2**40), st.floats(allow_nan=False, allow_infinity=False), st.booleans()
)


@settings(deadline=None)
@given(LITERALS, st.text(max_size=30))
def test_whatever_stands_in_a_script_stays_what_it_is_in_the_file(value: object, remark: str) -> None:
    flag = Flag("--x", "x", default=value, help=" ".join(remark.split()))  # type: ignore[arg-type]
    text = starter.write(minimal(flags=(flag,), inputs={"x": LiteralInput(value)}))  # type: ignore[arg-type]
    read = load(text)["inputs"]["x"]
    assert read == value
    assert type(read) is type(value)
    assert text.replace("\n", "").isprintable()


@settings(deadline=None)
@given(st.text(st.characters(blacklist_categories=["Cs"]), min_size=1, max_size=200))
def test_a_command_stays_what_it_is(command: str) -> None:
    content = starter.Starter(command=command, code=".", environment="current", compute="local")
    assert load(starter.write(content))["command"] == command


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("50", LiteralInput(50)),
        ("0.5", LiteralInput(0.5)),
        ("1e-4", LiteralInput("1e-4")),
        ("007", LiteralInput("007")),
        ("True", LiteralInput(value=True)),
        ("gbdt", LiteralInput("gbdt")),
        ("https://example.org/a/iris.csv?sv=1", DataInput("https://example.org/a/iris.csv?sv=1", "uri_file")),
        ("azureml://datastores/d/paths/iris", DataInput("azureml://datastores/d/paths/iris", "uri_folder")),
    ],
)
def test_what_a_person_types_becomes_the_input_that_it_looks_like(typed: str, expected: object) -> None:
    assert starter.as_input(typed, is_file=False, is_dir=False, path=typed) == expected


def test_requirements_are_flattened_and_what_is_local_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "more.txt").write_text("scipy>=1.10 ; python_version > '3.9'\n-e .\n")
    file = tmp_path / "requirements.txt"
    file.write_text(
        "# ours\nlightgbm==4.5.0  # pinned\n-r more.txt\n./wheels/x.whl\n--index-url https://me:secret@host/simple\n"
        "a \\\n  >=1\n"
    )
    taken, left_out = requirements.flatten(file, DiskFiles())
    assert taken == ("lightgbm==4.5.0", "scipy>=1.10 ; python_version > '3.9'", "a   >=1")
    assert left_out == ("-e .", "./wheels/x.whl", "--index-url https://me:secret@host/simple")


@pytest.mark.parametrize(
    ("folder", "name"), [("/x/iris/src", "iris"), ("/x/my-model", "my-model"), ("/x/über uns", None), ("/", None)]
)
def test_the_experiment_is_called_after_the_folder(folder: str, name: str | None) -> None:
    assert starter.experiment_of(Path(folder)) == name
