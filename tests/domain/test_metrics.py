"""Points in a few figures: the same whether they are seen at once or bit by bit."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcli.domain.metrics import (
    NOT_FINITE,
    Point,
    best,
    direction,
    evenly,
    figures,
    number,
    ordered,
    plain,
    series,
    summarise,
    summary_of,
)

VALUES = st.floats()
POINTS = st.lists(st.builds(Point, VALUES, st.integers(-5, 20), st.integers(0, 10**13)), min_size=1, max_size=30)


@given(POINTS)
def test_figures_are_what_a_person_would_say(points):
    summary = summarise(series(points))
    numbers = [point.value for point in points if not math.isnan(point.value)]
    assert summary.count == len(points)
    assert summary.step == max(point.step for point in points)
    assert summary.time_ms == max(point.time_ms for point in points if point.step == summary.step)
    if numbers:
        assert (summary.minimum, summary.maximum) == (min(numbers), max(numbers))
        assert Point(summary.minimum, summary.min_step, 0) in [Point(p.value, p.step, 0) for p in points]
    else:
        assert math.isnan(summary.minimum)


@given(POINTS, st.data())
def test_bit_by_bit_is_the_same_as_at_once(points, data):
    cut = data.draw(st.integers(0, len(points)))
    parts = [summarise(series(part)) for part in (points[:cut], points[cut:]) if part]
    whole = parts[0] if len(parts) == 1 else parts[0].and_then(parts[1])
    assert repr(whole) == repr(summarise(series(points)))


@given(POINTS)
def test_figures_survive_json(points):
    summary = summarise(series(points))
    assert repr(summary_of(json.loads(json.dumps(figures(summary), allow_nan=False)))) == repr(summary)


@given(VALUES)
def test_a_value_survives_json(value):
    again = number(json.loads(json.dumps(plain(value), allow_nan=False)))
    assert again == value or (math.isnan(again) and math.isnan(value))


@pytest.mark.parametrize("value", [True, None, "nan", "1.5", [], {}])
def test_what_is_no_value_is_refused(value):
    with pytest.raises(ValueError, match="is not a value"):
        number(value)
    assert set(NOT_FINITE) == {"NaN", "Infinity", "-Infinity"}


@given(st.integers(0, 5000), st.integers(2, 300))
def test_some_of_many_have_the_first_and_the_last(length, wanted):
    chosen = evenly(length, wanted)
    assert len(chosen) == min(length, wanted)
    assert chosen == sorted(set(chosen))
    if length:
        assert (chosen[0], chosen[-1]) == (0, length - 1)


@pytest.mark.parametrize(
    ("name", "way"),
    [
        ("loss", -1),
        ("val/accuracy", 1),
        ("test-multi_logloss", -1),
        ("valid_0's l2 error", -1),
        ("RMSE", -1),
        ("roc_auc_score", 1),
        ("f1", 1),
        ("accuracy_loss", -1),
        ("learning_rate", 0),
        ("epoch", 0),
        ("heatmap", 0),
    ],
)
def test_a_name_says_which_way_is_better(name, way):
    assert direction(name) == way
    summary = summarise(series([Point(1.0, 0, 0), Point(3.0, 1, 0), Point(2.0, 2, 0)]))
    assert best(name, summary) == {-1: (1.0, 0), 1: (3.0, 1), 0: None}[way]


def test_the_systems_metrics_come_last():
    assert ordered(["system/cpu", "b", "a"]) == ["a", "b", "system/cpu"]
