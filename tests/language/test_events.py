"""Our faster events are ruamel's own, for every text."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from mlcli.spec.events import events
from tests.language.mutations import job_files

PIECES = ["a", "b: ", ": ", "- ", "\n", "\n  ", "{", "}", "[", "]", ", ", "'", '"', "|\n", ">-\n", "#c", "&x ", "*x", "? ", "!t ", "---\n", "...\n", "<<: ", "\t"]  # fmt: skip


def told(found: Any) -> list[str]:
    """The events, or those before an error and the error."""
    lines: list[str] = []
    try:
        lines.extend(f"{event} {event.start_mark} {event.end_mark}" for event in found)
    except Exception as error:  # noqa: BLE001  (ruamel's own defects are to be the same ones)
        lines.append(f"{type(error).__name__} {error}")
    return lines


@pytest.mark.parametrize("path", job_files(), ids=lambda path: path.stem)
def test_of_job_files(path: Any) -> None:
    text = path.read_text()
    assert told(events(text)) == told(YAML(typ="safe", pure=True).parse(text))


@settings(deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
def test_of_any_text(text: str) -> None:
    assert told(events(text)) == told(YAML(typ="safe", pure=True).parse(text))
