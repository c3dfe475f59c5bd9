"""MLflow's filter grammar: what it means, and what a person is told who got it wrong."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcli.domain.errors import UsageError
from mlcli.domain.filters import Candidate, Comparison, Order, in_order, matches, parse_filter, parse_order

RUN = Candidate(
    metrics={"accuracy": 0.95, "val/loss": 0.1, "bad": math.nan, "a b": 1.0, "valid_0's auc": 0.5},
    params={"lr": "0.05", "model": "CNN_large", "rounds": "50"},
    tags={"stage": "final", "my tag": "x'y"},
    attributes={"status": ("Completed", "FINISHED"), "run_name": "Iris 50", "start_time": 1000.0, "run_id": "calm_1"},
)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "metrics.accuracy > 0.9",
        "metric.accuracy >= .95 and metrics.val/loss<1e0",
        'params.lr = "0.05"',
        "params.lr < 0.1 AND param.lr > 0.01",
        'parameters.lr < "0.1"',
        "params.rounds < 100",  # as numbers, not as texts
        "params.lr = 0.050",
        "params.model LIKE 'CNN%' and params.model ILIKE 'cnn\\_LARGE' or_not",
        "params.model like 'CNN_large'",
        "params.model != 'MLP'",
        "tags.stage IN ('trial', 'final')",
        "tags.stage NOT IN ('trial')",
        "tags.`my tag` = 'x''y'",
        'tags."my tag" LIKE "x%"',
        "metrics.`a b` = 1 and metrics.`valid_0's auc` <= 0.5",
        "status = 'FINISHED' and attributes.status = 'Completed'",
        "attr.status != 'RUNNING'",
        "run_name ILIKE 'iris%'",
        "attributes.run_id IN ('calm_1')",
        "start_time >= 1000 and created_time != 3 or_not",
    ],
)
def test_what_holds_of_a_run(text):
    if text.endswith("or_not"):
        assert not matches(parse_filter(text.removesuffix(" or_not")), RUN)
    else:
        assert matches(parse_filter(text), RUN)


@pytest.mark.parametrize(
    "text",
    [
        "metrics.accuracy > 0.96",
        "metrics.absent != 3",  # what a run does not have never matches
        "params.absent != 'x'",
        "tags.absent NOT IN ('x')",
        "metrics.bad > 0",
        "metrics.bad <= 0",
        "params.model < 3",
        "params.model LIKE 'large'",
        "params.model LIKE 'cnn%'",
        "status != 'FINISHED'",
        "status NOT IN ('FINISHED', 'FAILED')",
    ],
)
def test_what_does_not_hold(text):
    assert not matches(parse_filter(text), RUN)


@pytest.mark.parametrize(
    ("text", "column", "words"),
    [
        ("metrics.a > 1 or metrics.b > 2", 14, "no OR"),
        ("metrics.a > 'x'", 12, "compared with a number"),
        ("params.model = CNN", 15, "write 'CNN'"),
        ("metrics.a", 9, "a comparison"),
        ("metrics.a >", 11, "a value is expected"),
        ("metrics.a ~ 3", 10, "no comparison"),
        ("metrics.a LIKE 'x'", 10, "is for texts"),
        ("metric.a > 1 metric.b > 2", 13, "AND is expected"),
        ("stats = 'x'", 0, "did you mean status"),
        ("dataset.name = 'x'", 0, "there is no 'dataset'"),
        ("tags.a = 'x", 9, "not closed"),
        ("tags.`a = 'x'", 5, "not closed"),
        ("tags.a IN ('x'", 14, "is expected here"),
        ("tags.a IN 'x'", 10, "( is expected"),
        ("tags.a NOT LIKE 'x'", 7, "no comparison"),
        ("> 3", 0, "a name such as"),
        ("metrics.a = 3 and", 17, "a name such as"),
        ("metrics.a = 3)", 13, "AND is expected"),
    ],
)
def test_what_is_wrong_is_pointed_at(text, column, words):
    with pytest.raises(UsageError) as refused:
        parse_filter(text)
    shown, caret = refused.value.details
    assert shown == text
    assert caret == " " * column + "^"
    assert words in f"{refused.value.message} {refused.value.hint}"


def test_a_long_filter_is_shown_around_the_place():
    with pytest.raises(UsageError) as refused:
        parse_filter("metrics.a > 1 and " * 30 + "metrics.b > x")
    shown, caret = refused.value.details
    assert len(shown) <= 100
    assert shown[caret.index("^")] == "x"


@given(st.text(max_size=60))
def test_no_text_makes_it_fall_over(text):
    for parse in (parse_filter, parse_order):
        caret = "^"
        try:
            parse(text)
        except UsageError as refused:
            caret = refused.details[1].strip()
        assert caret == "^"


NAMES = st.text(st.characters(exclude_characters="`\n", exclude_categories=["Cs"]), min_size=1, max_size=12)


@given(NAMES, st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(["<", "<=", ">", ">=", "=", "!="]))
def test_any_name_in_backticks_is_that_name(name, value, operator):
    assert parse_filter(f"metrics.`{name}` {operator} {value!r}") == (Comparison("metrics", name, operator, value),)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), st.sampled_from("'\""))
def test_any_text_in_quotes_is_that_text(text, quote):
    quoted = quote + text.replace(quote, quote * 2) + quote
    parsed = parse_filter(f"params.x = {quoted} and tags.y IN ({quoted}, {quoted})")
    assert [one.value for one in parsed] == [text, (text, text)]
    assert matches(parsed, Candidate(params={"x": text}, tags={"y": text}))


@given(st.dictionaries(st.sampled_from("abc"), st.floats(allow_nan=False), max_size=3), st.floats(-10, 10))
def test_a_condition_and_its_opposite_split_those_that_have_the_value(metrics, limit):
    run = Candidate(metrics=metrics)
    above, below = (matches(parse_filter(f"metrics.a {sign} {limit!r}"), run) for sign in (">", "<="))
    assert above + below == ("a" in metrics)


def test_orders():
    assert parse_order("metrics.accuracy DESC, params.lr asc, start_time") == (
        Order("metrics", "accuracy", True),
        Order("params", "lr", False),
        Order("attributes", "start_time", None),
    )
    for wrong in ("", "metrics.a up", "metrics.a,", "DESC"):
        with pytest.raises(UsageError):
            parse_order(wrong)


def test_sorted_runs_end_with_nan_and_with_those_that_lack_the_value():
    runs = {
        "none": Candidate(),
        "low": Candidate(metrics={"a": 1.0}, params={"p": "9"}),
        "nan": Candidate(metrics={"a": math.nan}),
        "high": Candidate(metrics={"a": 2.0}, params={"p": "10"}),
        "text": Candidate(params={"p": "x"}),
    }
    for descending, first in ((False, ["low", "high"]), (True, ["high", "low"])):
        found = in_order(list(runs), runs.__getitem__, [Order("metrics", "a", descending)])
        assert found[:3] == [*first, "nan"]
    found = in_order(list(runs), runs.__getitem__, [Order("params", "p", False)])
    assert found[:3] == ["low", "high", "text"]
