"""MLflow's search language."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcli.endpoint.errors import RefusedError
from mlcli.endpoint.filters import Condition, Key, holds, order, ordered, parse

NUMERIC = frozenset({"start_time"})


def _parse(text: str) -> list[Condition]:
    return parse(text, NUMERIC)


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("metrics.loss < 0.5", Condition(Key("metric", "loss"), "<", 0.5)),
        ("metric.a.b-c/d >= -1e-3", Condition(Key("metric", "a.b-c/d"), ">=", -0.001)),
        ("metrics.`val loss` = 1", Condition(Key("metric", "val loss"), "=", 1.0)),
        ('metrics."a.b c" <> .5', Condition(Key("metric", "a.b c"), "!=", 0.5)),
        ("params.lr='0.1'", Condition(Key("param", "lr"), "=", "0.1")),
        ('parameters.x != "it\'s"', Condition(Key("param", "x"), "!=", "it's")),
        ("tags.mlflow.parentRunId = 'x'", Condition(Key("tag", "mlflow.parentRunId"), "=", "x")),
        ("tag.a ilike 'B%'", Condition(Key("tag", "a"), "ILIKE", "B%")),
        ("attributes.status = 'FINISHED'", Condition(Key("attribute", "status"), "=", "FINISHED")),
        ("status like 'F%'", Condition(Key("attribute", "status"), "LIKE", "F%")),
        ("Created > 5", Condition(Key("attribute", "start_time"), ">", 5.0)),
        ("run_id in ('a', 'b')", Condition(Key("attribute", "run_id"), "IN", ("a", "b"))),
        ("run_id NOT IN ('a')", Condition(Key("attribute", "run_id"), "NOT IN", ("a",))),
        ("params.x is null", Condition(Key("param", "x"), "IS NULL")),
        ("params.x IS NOT NULL", Condition(Key("param", "x"), "IS NOT NULL")),
        ("dataset.digest = 's'", Condition(Key("dataset", "digest"), "=", "s")),
    ],
)
def test_one_condition(text: str, condition: Condition) -> None:
    assert _parse(text) == [condition]
    assert _parse(f"  {text} AND {text}  and {text} ") == [condition] * 3


@pytest.mark.parametrize("text", ["", "   "])
def test_no_condition(text: str) -> None:
    assert _parse(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "metrics.loss",
        "metrics.loss <",
        "metrics.loss < 'a'",
        "metrics.loss LIKE 'a'",
        "params.a = 1",
        "params.a < 'b'",
        "a = 'b' or c = 'd'",
        "a = 'b' and",
        "and a = 'b'",
        "a = 'b",
        "a == 'b'",
        "a IN 'b'",
        "a IN ()",
        "a IN ('b'",
        "a IN ('b' 'c')",
        "a NOT 'b'",
        "a IS b",
        "'a' = a",
        "((a = 'b'))",
        "a = 'b'; drop table",
        "metrics.loss < 1.2.3",
    ],
)
def test_what_is_none(text: str) -> None:
    with pytest.raises(RefusedError) as refused:
        _parse(text)
    assert refused.value.code == "INVALID_PARAMETER_VALUE"
    assert str(refused.value).startswith("Invalid filter string")


@given(st.text(max_size=40) | st.text("metrics.loss <>='\"`()andANDIN1,", max_size=40))
def test_any_text_is_a_filter_or_refused(text: str) -> None:
    try:
        conditions = _parse(text)
    except RefusedError:
        return
    assert all(isinstance(condition, Condition) for condition in conditions)


names = st.text(st.characters(blacklist_characters="`\0", blacklist_categories=["Cs"]), min_size=1, max_size=12)
strings = st.text(st.characters(blacklist_characters="'\0", blacklist_categories=["Cs"]), max_size=12)


@given(names, strings, st.floats(allow_nan=False, allow_infinity=False))
def test_names_and_values_come_through(name: str, text: str, number: float) -> None:
    found = _parse(f"params.`{name}` = '{text}' AND metrics.`{name}` <= {number!r}")
    assert found == [Condition(Key("param", name), "=", text), Condition(Key("metric", name), "<=", number)]


@pytest.mark.parametrize(
    ("text", "values", "answer"),
    [
        ("params.x = 'a'", ["a"], True),
        ("params.x != 'a'", [], False),
        ("params.x IS NULL", [], True),
        ("params.x LIKE '%.tar_gz'", ["a.tar.gz"], True),
        ("params.x LIKE 'a_c'", ["abbc"], False),
        ("params.x LIKE 'A%'", ["abc"], False),
        ("params.x ILIKE 'A%'", ["a\nbc"], True),
        ("metrics.x > 1", [math.nan], False),
        ("metrics.x > 1", [math.inf], True),
        ("dataset.name = 'b'", ["a", "b"], True),
    ],
)
def test_what_holds(text: str, values: list[Any], answer: bool) -> None:
    assert holds(_parse(text), lambda _key: values) is answer


def test_order() -> None:
    clauses = order(["metrics.`val loss` DESC", "params.a asc", "name"])
    assert clauses == [(Key("metric", "val loss"), True), (Key("param", "a"), False), (Key("attribute", "name"), False)]
    things = [{"x": 2.0}, {"x": math.nan}, {}, {"x": 3.0}, {"x": None}]
    for direction, first in (("DESC", [3.0, 2.0]), ("ASC", [2.0, 3.0])):
        found = ordered(
            things, order([f"metrics.x {direction}"]), lambda thing, key: [thing[key.name]] if thing else []
        )
        assert [thing["x"] for thing in found[:2]] == first
        assert [*found[2:]] == [{"x": pytest.approx(math.nan, nan_ok=True)}, {}, {"x": None}]
    for wrong in ("", "a b c", "'a'", "metrics.x >"):
        with pytest.raises(RefusedError, match="Invalid"):
            order([wrong])
