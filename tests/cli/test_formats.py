"""What scripts read: the formats of -o."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from mlcli.cli.formats import as_json, as_table, as_tsv, as_yaml, printable

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
RECORDS = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=12
)
ROWS = st.lists(
    st.dictionaries(st.sampled_from(["name", "status", "tags"]), SCALARS, min_size=3), min_size=1, max_size=5
)


@given(RECORDS)
def test_json_says_the_same_data(value):
    assert json.loads(as_json(value)) == value


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"])),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=4),
    )
)
def test_yaml_says_the_same_data(value):
    assert YAML(typ="safe", pure=True).load(as_yaml(value)) == value


def test_json_and_yaml_keep_the_keys_in_their_order():
    record = {"name": "b", "display_name": "a", "tags": {"z": 1, "y": 2}}
    assert list(json.loads(as_json(record))) == ["name", "display_name", "tags"]
    assert as_yaml(record) == "name: b\ndisplay_name: a\ntags:\n  z: 1\n  y: 2\n"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("calm_harbor", "calm_harbor\n"),
        (3, "3\n"),
        (True, "true\n"),
        (None, "\n"),
        ([], ""),
        (["a", "b"], "a\nb\n"),
        ([["a", "Completed"], ["b", None]], "a\tCompleted\nb\t\n"),
        ({"name": "a", "archived": True, "tags": {"x": 1}, "notices": [1, 2]}, "a\tTrue\t\t2\n"),
        ([{"name": "one\ttab", "why": "two\nlines"}], "one tab\ttwo lines\n"),
        ("two\nlines", "two\nlines\n"),
    ],
)
def test_tsv_prints_what_az_prints(value, text):
    assert as_tsv(value) == text


@given(ROWS)
def test_a_row_of_tsv_is_one_line_with_a_cell_for_every_value(rows):
    lines = as_tsv(rows).split("\n")
    assert lines.pop() == ""
    assert [line.count("\t") for line in lines] == [len(row) - 1 for row in rows]


def test_a_table_has_headings_and_a_line_a_row():
    rows = [{"Name": "calm_harbor", "Status": "Running"}, {"Name": "b", "Status": None}]
    assert as_table(rows) == "Name         Status\n-----------  -------\ncalm_harbor  Running\nb\n"


def test_a_table_leaves_nested_values_out_and_holds_lone_ones():
    assert as_table({"name": "a", "tags": {"x": 1}, "list": []}) == "Name\n----\na\n"
    assert as_table("x") == "Result\n------\nx\n"
    assert as_table([["a", 1]]) == "Column1  Column2\n-------  -------\na        1\n"
    assert as_table([]) == ""


@given(ROWS)
def test_every_line_of_a_table_fits_its_headings(rows):
    headings, rule, *lines = as_table(rows).splitlines()
    assert len(lines) == len(rows)
    assert set(rule) == {"-", " "}
    assert max(map(len, [headings, *lines])) <= len(rule)


@given(st.text())
def test_what_is_printed_cannot_drive_a_terminal(text):
    assert not {letter for letter in printable(text) if letter < " " and letter not in "\n\t"}
    assert "\x7f" not in printable(text)
    assert "\x9b" not in printable(text)


def test_an_escape_sequence_is_shown_as_one():
    assert printable("\x1b[31mred\x1b[0m Grün 緑") == "\\x1b[31mred\\x1b[0m Grün 緑"
