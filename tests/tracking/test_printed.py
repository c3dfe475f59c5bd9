"""Printed metrics: the documented forms, and nothing else."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcli.domain.metrics import Series
from mlcli.tracking import _lines, printed
from mlcli.tracking.printed import PrintedReader
from tests.tracking.helpers import FolderRun

READER = PrintedReader()


def found(folder, text: str | bytes) -> dict[str, list[tuple[int, float]]]:
    run = FolderRun(folder)
    run.write(printed.LOG, text)
    return pairs(READER.news(run, None)[0])


def pairs(news) -> dict[str, list[tuple[int, float]]]:
    return {name: list(zip(points.steps, points.values, strict=True)) for name, points in news.items()}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("metric: loss=0.25 step=3\n", {"loss": [(3, 0.25)]}),
        ("metric: loss=1 acc=.5\nmetric: loss=2e-1\n", {"loss": [(0, 1.0), (1, 0.2)], "acc": [(0, 0.5)]}),
        ("metric: step=7 val/loss=-inf\r\n", {"val/loss": [(7, -math.inf)]}),
        ('{"metric": "a b", "value": 3, "step": 2}\n', {"a b": [(2, 3.0)]}),
        ('{"metric": "x", "value": "Infinity"}\n', {"x": [(0, math.inf)]}),
        (
            "[0]\ttrain-rmse:0.50000\ttest-rmse:0.60000\n[10]\ttrain-rmse:0.4\ttest-rmse:0.5\n",
            {"train-rmse": [(0, 0.5), (10, 0.4)], "test-rmse": [(0, 0.6), (10, 0.5)]},
        ),
        ("[1]\tvalid_0's multi_logloss: 0.93\n", {"valid_0's multi_logloss": [(1, 0.93)]}),
        ("[2]\tcv_agg's l2: 0.25 + 0.01\n", {"cv_agg's l2": [(2, 0.25)]}),
        ("Attempted to log scalar metric accuracy:\n0.915\n", {"accuracy": [(0, 0.915)]}),
        ("Attempted to log scalar metric a b::\nnp.float64(0.5)\n", {"a b:": [(0, 0.5)]}),
        ("Attempted to log list metric l:\n[1, None, 2.5]\n", {"l": [(0, 1.0), (1, 2.5)]}),
        ("Attempted to log row metric r:\n{'x': 1, 'y': 0.4}\n", {"r.x": [(0, 1.0)], "r.y": [(0, 0.4)]}),
        ("Attempted to log table metric t:\n{'x': [1, 2]}\n", {"t.x": [(0, 1.0), (1, 2.0)]}),
    ],
)
def test_a_documented_form(tmp_path, text, expected):
    assert found(tmp_path, "epoch 1\n" + text + "done\n") == expected


@pytest.mark.parametrize(
    "text",
    [
        "loss=0.5\n",
        "the metric: loss=0.5\n",
        "metric: loss = 0.5\n",
        "metric: loss=high\n",
        "metric: loss=0.5 and more\n",
        "metrics: loss=0.5\n",
        '{"metric": "x"}\n',
        '{"metric": "x", "value": true}\n',
        '{"metric": "x", "value": 1, "step": 1.5}\n',
        '{"metric": 3, "value": 1}\n',
        '{"metric": "x", "value": 1\n',
        "[1] train-rmse:0.5\n",
        "[LightGBM] [Info] Total Bins: 97\n",
        "[1]\tno numbers: here\n",
        "[99999999999999999999]\tx:1\n",
        "Attempted to log scalar metric accuracy:\n__import__('os')\n",
        "Attempted to log scalar metric accuracy:\n'text'\n",
        "Attempted to log image metric picture:\n0.5\n",
        "Attempted to log list metric l:\n[1, 2\n",
        "metric: loss=0.5",  # not a line yet
        b"\xff\xfe\x00metric: x=1\n",
    ],
)
def test_what_only_looks_like_one(tmp_path, text):
    assert found(tmp_path, text) == {}


def test_figures_steps_and_what_is_kept_for_the_next_time(tmp_path):
    run = FolderRun(tmp_path)
    file = run.write(printed.LOG, "metric: loss=3\nmetric: loss=1\nAttempted to log scalar metric acc:\n")
    first = READER.read(run, None)
    assert (first.tracked.metrics["loss"].last, first.tracked.metrics["loss"].step) == (1.0, 1)
    assert first.state is not None
    kept = json.loads(json.dumps(first.state()))
    with file.open("a") as more:
        more.write("0.5\nmetric: loss=2\n")
    second = READER.read(run, kept).tracked.metrics
    assert (second["acc"].last, second["loss"].count, second["loss"].step) == (0.5, 3, 2)
    assert READER.read(run, {"size": "x"}).tracked.metrics == second
    assert list(READER.history(run, "loss", 3, 2).values) == [3.0, 2.0]
    file.write_text("metric: other=1\n")
    assert set(READER.read(run, kept).tracked.metrics) == {"other"}


NUMBERS = st.floats() | st.integers(-(10**6), 10**6).map(float)


@given(st.lists(NUMBERS, max_size=20), st.integers(1, 60))
def test_in_whatever_blocks_it_is_read_it_is_the_same(tmp_path_factory, values, block):
    run = FolderRun(tmp_path_factory.mktemp("run"))
    forms = ["metric: x={}", "Attempted to log scalar metric x:\n{}", "noise {}"]
    text = "".join(f"{forms[index % 3].format(value)}\n" for index, value in enumerate(values))
    run.write(printed.LOG, text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_lines, "BLOCK", block)
        news = READER.news(run, None)[0]
    expected = [value for index, value in enumerate(values) if index % 3 < 2]
    assert repr(list(news.get("x", Series()).values)) == repr(expected)


@given(st.text(max_size=200), st.text(max_size=50))
def test_no_text_makes_it_fall_over(tmp_path_factory, before, after):
    run = FolderRun(tmp_path_factory.mktemp("run"))
    heads = ("metric: ", '{"metric"', "[1]\t", "Attempted to log table metric x:\n")
    text = "".join(f"{head}{before}\n{after}\n" for head in heads)
    run.write(printed.LOG, text.encode("utf-8", "surrogatepass"))
    READER.read(run, None)


def test_nan_in_a_list_keeps_its_place(tmp_path):
    run = FolderRun(tmp_path)
    run.write(printed.LOG, "Attempted to log list metric l:\n[1.0, nan, -inf, None, 3]\n")
    assert repr(list(PrintedReader().history(run, "l", 4, None).values)) == "[1.0, nan, -inf, 3.0]"
