"""YAML text becomes plain values, each of which knows its line and column; what is not YAML is told in plain words."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlcli.domain.errors import Diagnostic, InvalidSpecError, Place
from mlcli.spec.load import MAX_BYTES, Document, json_path, load, shown_line


def refused(text: str | bytes) -> tuple[Diagnostic, ...]:
    with pytest.raises(InvalidSpecError) as caught:
        load(text, "job.yml")
    return caught.value.diagnostics


def codes(text: str | bytes) -> list[str]:
    return [found.code for found in refused(text)]


def at(document: Document, *path: str | int, key: bool = False) -> tuple[int, int]:
    place = document.place(path, key=key)
    return place.line, place.column


JOB = """\
# a comment
command: >-
  python train.py
  --rate ${{inputs.rate}}
inputs:
  rate: 0.10
  files:
    - a.csv
    - {path: "b.csv", mode: download}
"""


def test_values_and_keys_know_where_they_stand() -> None:
    document = load(JOB, "job.yml")
    assert document.tree["inputs"]["files"][1] == {"path": "b.csv", "mode": "download"}
    assert at(document) == (2, 1)
    assert at(document, "command") == (2, 10)
    assert at(document, "inputs", key=True) == (5, 1)
    assert at(document, "inputs", "rate") == (6, 9)
    assert at(document, "inputs", "files", 0) == (8, 7)
    assert at(document, "inputs", "files", 1, "mode", key=True) == (9, 23)
    assert at(document, "inputs", "files", 1, "mode") == (9, 29)


def test_a_missing_value_stands_where_its_nearest_ancestor_has_its_key() -> None:
    document = load(JOB, "job.yml")
    assert at(document, "inputs", "rate", "mode") == (6, 3)
    assert at(document, "inputs", "iris") == (5, 1)
    assert at(document, "outputs", "model") == (2, 1)


def test_a_key_without_a_value_stands_where_the_key_does() -> None:
    document = load("a:\nb:\n  c:\n  # nothing\nd: &x\n", "f")
    for path, place in ((("a",), (1, 1)), (("b", "c"), (3, 3))):
        assert (document.place(path).line, document.place(path).column) == place


def test_a_diagnostic_can_point_at_a_text_inside_a_folded_value() -> None:
    found = load(JOB, "job.yml").diagnose(("command",), "some-code", "message", within="${{inputs.rate}}")
    assert (found.place.line, found.place.column) == (4, 10)
    assert found.source == "  --rate ${{inputs.rate}}"
    assert found.path == "$.command"


def test_numbers_keep_the_text_they_were_written_as() -> None:
    document = load("a: 0.10\nb: 1e-4\nc: '0.10'\nd: text\n", "job.yml")
    assert document.tree == {"a": 0.1, "b": 0.0001, "c": "0.10", "d": "text"}
    assert [document.written((key,)) for key in "abcd"] == ["0.10", "1e-4", None, "text"]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("yes", "yes"),
        ("NO", "NO"),
        ("on", "on"),
        ("true", True),
        ("False", False),
        ("0o17", 15),
        ("017", 17),
        ("0x1F", 31),
        ("-12", -12),
        ("1_000", "1_000"),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("1.", 1.0),
        (".inf", ".inf"),
        (".nan", ".nan"),
        ("1e999", "1e999"),
        ("9" * 5000, "9" * 5000),
        ("2021-06-18", "2021-06-18"),
        ("12:30:00", "12:30:00"),
        ("~", None),
        ("null", None),
        ("", None),
        ("!!str 5", "5"),
        ("! 5", "5"),
        ("!!int '5'", 5),
        ("'true'", "true"),
        ('"\\x41"', "A"),
    ],
)
def test_scalars_are_read_as_yaml_1_2_reads_them(written: str, value: Any) -> None:
    read = load(f"a: {written}\n", "job.yml").tree["a"]
    assert read == value
    assert type(read) is type(value)


def test_keys_are_text_as_written() -> None:
    assert load("1: a\nyes: b\n2.50: c\nnull: d\n", "f").tree == {"1": "a", "yes": "b", "2.50": "c", "null": "d"}


def test_anchors_aliases_and_merge_keys() -> None:
    document = load("a: &a {p: 1, q: 2}\nb: &b {q: 3}\nc: {<<: [*b, *a], r: 4}\nd:\n  <<: *a\n  p: 9\ne: *a\n", "f")
    assert document.tree["c"] == {"r": 4, "q": 3, "p": 1}
    assert document.tree["d"] == {"p": 9, "q": 2}
    assert document.tree["e"] == {"p": 1, "q": 2}
    assert at(document, "c", "p") == (1, 11)
    assert at(document, "d", "p") == (6, 6)


def test_a_byte_order_mark_and_windows_line_breaks_are_no_trouble() -> None:
    document = load(b"\xef\xbb\xbfcommand: a\r\nenvironment: b\r\n", "f")
    assert document.tree == {"command": "a", "environment": "b"}
    assert document.source_line(2) == "environment: b"
    assert document.source_line(9) == ""


def test_everything_wrong_is_told_at_once_and_in_order() -> None:
    found = refused("a: 1\nb: *none\na: 2\n? [x]\n: 3\nc: !thing 4\n")
    assert [(each.code, each.place.line) for each in found] == [
        ("unknown-anchor", 2),
        ("duplicate-key", 3),
        ("invalid-key", 4),
        ("unsupported-tag", 6),
    ]
    assert found[1].source == "a: 2"


def test_a_template_that_was_not_filled_in_needs_quotes() -> None:
    (found, *_) = refused("command: {{ cookiecutter.command }}\n")
    assert found.code == "invalid-key"
    assert found.hint == "put quotes around a text that starts with '{{'"


def test_duplicate_keys_before_a_syntax_error_are_told_too() -> None:
    assert codes("a: 1\na: 2\nb: [1\n") == ["duplicate-key", "invalid-yaml"]


def test_a_tab_inside_a_block_text_is_text() -> None:
    assert load("command: |\n  cat <<-EOF\n  \tx\n  EOF\n", "f").tree["command"] == "cat <<-EOF\n\tx\nEOF\n"


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("a: b: c\n", (1, 5), "':' stands where no key can be"),
        ("a: 'x\nb: 1\n", (1, 4), "a quoted text that starts here is not closed"),
        ('a: "x\nb: 1\n', (1, 4), "a quoted text that starts here is not closed"),
        ("a: [1, 2\nb: 1\n", (1, 4), "a list in brackets"),
        ("a: {b: 1\nc: 1\n", (1, 4), "a map in braces"),
        ("a:\n  - b\n - c\n", (3, 2), "the indentation does not fit"),
        ("a: 1\n b: 2\n", (2, 3), "':' stands where no key can be"),
        ("a: 1\nb\nc: 2\n", (2, 1), "neither 'key: value' nor a list item"),
        ("a: @x\n", (1, 4), "cannot start with this character"),
        ('a: "\\q"\n', (1, 6), "escape does not exist"),
        ("a: |x\n  b\n", (1, 5), "not a YAML block header"),
        ("a: - b\n", (1, 4), "a list item"),
        ("a: [\n", (2, 1), "the file ends where a value is expected"),
        ("a: ]\n", (1, 4), "stands where a value is expected"),
        ('a: "x" y\n', (1, 8), "behind a value that has ended"),
        ("a: 'it's'\n", (1, 8), "behind a value that has ended"),
        ("$schema=https://x\na: b\n", (1, 1), "neither 'key: value' nor a list item"),
        ("<<<<<<< HEAD\na: b\n=======\na: c\n>>>>>>> main\n", (1, 1), "a merge conflict"),
    ],
)
def test_syntax_errors_in_plain_words(text: str, place: tuple[int, int], words: str) -> None:
    (found,) = refused(text)
    assert found.code == "invalid-yaml"
    assert (found.place.line, found.place.column) == place
    assert words in found.message
    assert found.hint


def test_files_that_are_no_job_at_all() -> None:
    assert codes("") == ["empty-file"]
    assert codes("---\n# nothing\n") == ["empty-file"]
    assert codes("- a\n") == ["not-a-mapping"]
    assert codes("just words\n") == ["not-a-mapping"]
    assert codes("a: 1\n---\nb: 1\n") == ["several-documents"]
    assert codes("a: 1\n".encode("utf-16")) == ["not-utf8"]
    assert codes("a: \x07\n") == ["unprintable-character"]
    assert codes('"a\\0": 1\n') == ["invalid-key"]
    assert codes('a: "\\ud800"\n') == ["unprintable-character"]
    assert codes('a: "\\UFFFFFFFF"\n') == ["invalid-yaml"]


def test_a_byte_that_is_not_utf8_is_named_with_its_line() -> None:
    (found,) = refused(b"a: 1\nb: caf\xe9\n")
    assert (found.place.line, found.place.column) == (2, 7)
    assert "0xe9" in found.message


def test_a_huge_file_is_refused_without_being_parsed() -> None:
    (found,) = refused(b"a: [\n" + b"x" * (10 * MAX_BYTES))
    assert found.code == "file-too-large"
    assert "10.0 MB" in found.message


def test_aliases_that_multiply_are_refused() -> None:
    levels = [f"l{level}: &l{level} [{', '.join([f'*l{level - 1}'] * 30)}]" for level in range(1, 9)]
    assert codes("\n".join(["l0: &l0 [x]", *levels])) == ["file-too-large"]
    assert codes("a: &a\n  b: *a\n") == ["circular-alias"]


def test_deep_nesting_is_refused_not_a_crash() -> None:
    assert codes("a: " + "[" * 300 + "]" * 300) == ["nested-too-deep"]
    assert codes("a: " + "{a: " * 300 + "}" * 300) == ["nested-too-deep"]


def test_json_paths() -> None:
    assert json_path(()) == "$"
    assert json_path(("inputs", "iris", 0, "a b", "$schema")) == "$.inputs.iris[0]['a b'].$schema"


def test_no_secret_is_shown_with_its_line() -> None:
    document = load("environment_variables:\n  HF: [abc]\n", "f")
    found = document.diagnose(("environment_variables", "HF"), "wrong-type", "message")
    assert found.source == "  HF: ***"
    assert shown_line("path: https://me:pw@example.com/x?sig=abc&a=1") == "path: https://***@example.com/x?sig=***&a=1"
    assert shown_line("  api_token: abc  # mine") == "  api_token: ***"
    assert shown_line("db_password: 5") == "db_password: ***"
    assert shown_line("login: {user: ann, db_password: 'a, b', x: 1}") == "login: {user: ann, db_password: ***"
    assert shown_line('{"user":"ann","db_password":"a"}') == '{"user":"ann","db_password":***'
    assert shown_line("command: echo {a: 1, monkey: 2}") == "command: echo {a: 1, monkey: 2}"
    assert len(shown_line("x" * 10_000)) < 500


@settings(deadline=None)
@given(st.text() | st.text(alphabet="ab:-[]{}&*!|>'\"\n\t #,?%<") | st.binary())
def test_any_text_is_read_or_refused(text: str | bytes) -> None:
    try:
        assert isinstance(load(text, "f").tree, dict)
        places = [Place("f")]
    except InvalidSpecError as error:
        places = [found.place for found in error.diagnostics]
    assert places
    assert all(place.line >= 1 and place.column >= 1 for place in places)


def test_a_huge_line_is_refused_in_no_time_and_shown_short() -> None:
    (found,) = refused("a: " + "x" * 500_000 + ": y: z\n")
    assert found.code == "invalid-yaml"
    assert len(found.source or "") < 3000
