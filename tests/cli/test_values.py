"""What people type for times, spans and states."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcli.cli.sizes import size
from mlcli.cli.sizes import span as shown_span
from mlcli.cli.values import moment, span, states, wanted_tags
from mlcli.domain.errors import UsageError
from mlcli.domain.state import State


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("1.5h", 5400),
        ("30m", 1800),
        ("7d", 604_800),
        ("2w", 1_209_600),
        ("1h30m", 5400),
        ("1d 12H", 129_600),
    ],
)
def test_a_span_of_time(text, seconds):
    assert span(text, "--timeout") == seconds


@given(st.text())
def test_no_text_makes_anything_but_a_span_or_a_refusal(text):
    with suppress(UsageError):
        assert span(text, "--timeout") >= 0


NOW = datetime(2024, 5, 31, 12, tzinfo=timezone.utc).timestamp()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7d", NOW - 604_800),
        ("2024-05-31T12:00:00Z", NOW),
        ("2024-05-31T14:00:00+02:00", NOW),
        ("2024-05-31 12:00+00:00", NOW),
    ],
)
def test_a_moment_is_a_date_or_so_long_ago(text, seconds):
    assert moment(text, "--since", NOW) == seconds


def test_a_date_without_a_zone_is_local():
    assert moment("2024-05-31", "--since", NOW) == datetime(2024, 5, 31).astimezone().timestamp()


def test_a_wrong_date_says_how_to_write_one():
    with pytest.raises(UsageError, match=r"--since: 'yesterday' is neither") as refused:
        moment("yesterday", "--since", NOW)
    assert "2024-05-31" in (refused.value.hint or "")


def test_states_in_any_case_with_commas_and_the_british_spelling():
    assert states(["running,Failed", "CANCELLED"]) == frozenset({State.RUNNING, State.FAILED, State.CANCELED})
    assert states(["cancel_requested"]) == frozenset({State.CANCEL_REQUESTED})
    assert states([]) is None


def test_a_state_that_does_not_exist_names_the_nearest():
    with pytest.raises(UsageError) as refused:
        states(["complete"])
    assert refused.value.hint == "did you mean Completed?"


def test_tags_to_look_for():
    assert wanted_tags(["stage=final", "owner", "note=a=b"]) == {"stage": "final", "owner": None, "note": "a=b"}


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 KB"),
        (1_400_000, "1.4 MB"),
        (999_990_000, "1.0 GB"),
        (5e18, "5000.0 PB"),
    ],
)
def test_sizes_as_people_read_them(count, text):
    assert size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.42, "0.4 s"), (12, "12 s"), (59.7, "1 min"), (200, "3 min 20 s"), (18_240, "5 h 4 min"), (266_400, "3 d 2 h")],
)
def test_spans_as_people_read_them(seconds, text):
    assert shown_span(seconds) == text


def test_a_wrong_span_names_its_flag_and_says_how_to_write_one():
    with pytest.raises(UsageError, match=r"^--timeout: '5 minutes'") as refused:
        span("5 minutes", "--timeout")
    assert "30m" in (refused.value.hint or "")
