"""Our faster events are ruamel's own, for every text."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from mlcli.spec.events import events
from tests.language.mutations import job_files

PIECES = [
    "a", "b: ", "b:", "key: value\n", "k: v w\n", " ", "  ", ": ", "- ", "-", "\n", "\n  ", "\r\n", "\u2028", "\t",
    "{", "}", "[", "]", ", ", ",", "'", '"', "|\n", ">-\n", "#c", " #c", "&x ", "*x", "? ", "!t ", "<<: ",
    "---\n", "...\n", "%YAML 1.1\n---\n", "\ufeff", "\u00e9: \u00fc\n", "$schema: http://x:8/y.json\n", "'q': ", "0.5", "_", "~",
    "x" * 99, "x" * 100, "x" * 101, "y" * 500, "z" * 1023, "z" * 1024, "w " * 400,
]  # fmt: skip
"""What shortcuts begin and end at, and what is just too long for them, or for a key at all."""


def told(found: Any) -> list[str]:
    """The events, or those before an error and the error."""
    lines: list[str] = []
    try:
        lines.extend(f"{event} {place(event.start_mark)} {place(event.end_mark)}" for event in found)
    except Exception as error:  # noqa: BLE001  (ruamel's own defects are to be the same ones)
        lines.append(f"{type(error).__name__} {error}")
    return lines


def place(mark: Any) -> str:
    return f"{mark.index}: {mark}"


def ruamels(text: str) -> list[str]:
    return told(YAML(typ="safe", pure=True).parse(text))


@pytest.mark.parametrize("path", job_files(), ids=lambda path: path.stem)
def test_of_job_files(path: Any) -> None:
    text = path.read_text()
    assert told(events(text)) == ruamels(text)


@settings(deadline=None, max_examples=500)
@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
def test_of_any_text(text: str) -> None:
    assert told(events(text)) == ruamels(text)


@pytest.mark.parametrize("length", range(1000, 1024))
def test_of_a_map_in_braces_that_is_too_long_for_a_key(length: int) -> None:
    text = "a: 1\n{b: '" + "x" * length + "', cc: d}: e\n"  # it ends before, at and behind the longest key
    assert told(events(text)) == ruamels(text)


@settings(deadline=None)
@given(st.sampled_from(job_files()), st.lists(st.tuples(st.floats(0, 1), st.sampled_from([*PIECES, ""])), max_size=4))
def test_of_job_files_that_were_changed(path: Any, changes: list[tuple[float, str]]) -> None:
    text = path.read_text()
    for where, piece in changes:  # over the character there, or away with it
        at = int(where * len(text))
        text = text[:at] + piece + text[at + 1 :]
    assert told(events(text)) == ruamels(text)
