"""The endpoint's files: whole, growing, torn, damaged, and long."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcli.domain.metrics import Point, plain, series, summarise
from mlcli.ports.tracking import Seen
from mlcli.tracking import _lines, _points
from mlcli.tracking.files import FilesReader
from tests.tracking.helpers import FolderRun, lines

READER = FilesReader()


def state(seen: Seen) -> Any:
    assert seen.state is not None
    return json.loads(json.dumps(seen.state(), allow_nan=False))


@pytest.fixture
def run(tmp_path):
    return FolderRun(tmp_path)


def test_a_run_that_logged_nothing_has_nothing(run):
    seen = READER.read(run, None)
    assert (seen.tracked.metrics, seen.tracked.params, seen.tracked.damaged, seen.state) == ({}, {}, 0, None)
    assert len(READER.history(run, "loss", 0, None)) == 0


def test_metrics_parameters_and_tags(run):
    origin = {"dataset_name": "iris", "dataset_digest": "1a"}
    run.write("metrics.jsonl", lines(["loss", 2, 0, 10], ["a/ü", "NaN", 0, 11], ["loss", 1.5, 1, 12, origin]))
    run.write("params.jsonl", lines(["lr", "0.1"], ["lr", "0.1"], ["empty", ""]))
    run.write("tags.jsonl", lines(["stage", "trial"], ["gone", "x"], ["stage", "final"], ["gone", None]))
    tracked = READER.read(run, None).tracked
    assert tracked.metrics["loss"] == summarise(series([Point(2.0, 0, 10), Point(1.5, 1, 12)]))
    assert math.isnan(tracked.metrics["a/ü"].last)
    assert tracked.params == {"lr": "0.1", "empty": ""}
    assert tracked.tags == {"stage": "final"}
    assert list(READER.history(run, "loss", 2, None)) == [Point(2.0, 0, 10), Point(1.5, 1, 12)]


def test_a_line_that_is_torn_is_read_when_it_is_whole(run):
    file = run.write("metrics.jsonl", lines(["loss", 1.0, 0, 1]) + '["loss", 2.0, 1')
    first = READER.read(run, None)
    assert (first.tracked.metrics["loss"].count, first.tracked.damaged) == (1, 0)
    with file.open("a") as more:
        more.write(", 2]\n")
    second = READER.read(run, state(first))
    assert (second.tracked.metrics["loss"].count, second.tracked.metrics["loss"].last) == (2, 2.0)


DAMAGED = [
    '["loss", 2.0, 1\n',  # torn, and completed by the next writer
    "\x00\x00\x00\n",
    '{"loss": 3}\n',
    '["loss", true, 1, 2]\n',
    '["loss", "high", 1, 2]\n',
    '["loss", 1.0, 1.5, 2]\n',
    '["loss", 1.0, 1]\n',
    "[1, 1.0, 1, 2]\n",
    '[["loss"], 1.0, 1, 2]\n',
    '["loss", 1.0, 99999999999999999999, 2]\n',
    "7\n",
    "null\n",
    "[" * 100_000 + "\n",
]


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_line_costs_itself_alone(run, damage):
    good = lines(["loss", 1.0, 0, 1]), lines(["loss", 3.0, 2, 3])
    run.write("metrics.jsonl", good[0] + damage + good[1])
    run.write("params.jsonl", '["a"]\n["b", 3]\n["c", "x"]\nx\n')
    tracked = READER.read(run, None).tracked
    assert (tracked.metrics["loss"].count, tracked.metrics["loss"].last) == (2, 3.0)
    assert tracked.damaged == 1 + 3
    assert tracked.params == {"c": "x"}
    assert [point.step for point in READER.history(run, "loss", 2, None)] == [0, 2]


def test_an_empty_line_is_no_damage(run):
    run.write("metrics.jsonl", "\n" + lines(["loss", 1.0, 0, 1]) + "\n\n")
    assert READER.read(run, None).tracked.damaged == 0


def test_a_file_that_became_shorter_is_read_anew(run):
    run.write("metrics.jsonl", lines(*(["loss", float(step), step, step] for step in range(10))))
    before = state(READER.read(run, None))
    run.write("metrics.jsonl", lines(["acc", 1.0, 0, 0]))
    assert set(READER.read(run, before).tracked.metrics) == {"acc"}


@pytest.mark.parametrize(
    "before", [{}, {"size": "x"}, {"size": 3, "damaged": 0, "metrics": {"a": [1]}}, {"metrics": 3}]
)
def test_a_state_that_is_none_is_not_believed(run, before):
    run.write("metrics.jsonl", lines(["loss", 1.0, 0, 1]))
    assert READER.read(run, before).tracked.metrics["loss"].count == 1


def _summary(file_size: int) -> str:
    figures = {
        "last": 5.0,
        "step": 9,
        "time_ms": 9,
        "min": None,
        "max": "Infinity",
        "min_step": 1,
        "max_step": 2,
        "count": 10,
    }
    return json.dumps({"bytes": file_size, "metrics": {"loss": figures}})


def test_the_endpoints_summary_is_believed_as_far_as_it_goes(run):
    begun = lines(["loss", 1.0, 0, 1])
    file = run.write("metrics.jsonl", begun)
    run.write("summary.json", _summary(len(begun)))
    seen = READER.read(run, None)
    assert (seen.tracked.metrics["loss"].last, seen.tracked.metrics["loss"].count) == (5.0, 10)
    assert math.isnan(seen.tracked.metrics["loss"].minimum)
    with file.open("a") as more:
        more.write(lines(["loss", 6.0, 10, 10], ["acc", 1.0, 0, 0]))
    grown = READER.read(run, None).tracked.metrics
    assert (grown["loss"].last, grown["loss"].count, grown["loss"].minimum, grown["acc"].count) == (6.0, 11, 6.0, 1)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"bytes": 10}', '{"bytes": 10, "metrics": {"a": {}}}', _summary(10**9)]
)
def test_a_summary_that_cannot_be_is_not_believed(run, text):
    run.write("metrics.jsonl", lines(["loss", 1.0, 0, 1]))
    run.write("summary.json", text)
    assert READER.read(run, None).tracked.metrics["loss"].last == 1.0


RECORDS = st.lists(
    st.tuples(st.sampled_from(["loss", "a/b", "ü", 'q"\\']), st.floats(), st.integers(-3, 9), st.integers(0, 99)),
    max_size=40,
)


@given(RECORDS, st.integers(1, 200), st.data())
def test_in_whatever_blocks_and_however_often_it_is_read_it_is_the_same(tmp_path_factory, records, block, data):
    run = FolderRun(tmp_path_factory.mktemp("run"))
    text = lines(*([name, plain(value), step, time] for name, value, step, time in records)).encode()
    cut = data.draw(st.integers(0, len(text)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_lines, "BLOCK", block)
        file = run.write("metrics.jsonl", text[:cut])
        first = READER.read(run, None)
        since = READER.news(run, None)[1]
        file.write_bytes(text)
        second = READER.read(run, state(first)).tracked.metrics
        assert sum(len(points) for points in READER.news(run, since)[0].values()) <= len(records)
    for name in {record[0] for record in records}:
        points = [Point(*record[1:]) for record in records if record[0] == name]
        assert repr(second[name]) == repr(summarise(series(points)))
        assert repr(list(READER.history(run, name, len(points), None))) == repr(points)


def _interleaved(count: int) -> Iterator[list[Any]]:
    for step in range(count):
        yield ["loss", step / 2, step, step]
        if step % 7 == 0:
            yield ["loss2", 1.0, step, step]
        if step % 1000 == 0:
            yield ["val/ünicode", float(step), step, step]


@pytest.mark.parametrize("name", ["loss", "loss2", "val/ünicode"])
def test_some_points_of_many_are_evenly_chosen(run, name):
    run.write("metrics.jsonl", lines(*_interleaved(20_000)))
    every = list(READER.history(run, name, 1, None))
    some = list(READER.history(run, name, len(every), 11))
    assert len(some) == 11
    assert (some[0], some[-1]) == (every[0], every[-1])
    places = [every.index(point) for point in some]
    gaps = [after - before for before, after in pairwise(places)]
    assert max(gaps) - min(gaps) <= 1


def test_some_points_are_found_though_other_lines_are_damaged_or_written_otherwise(run):
    text = lines(*(["loss", float(step), step, step] for step in range(500)))
    compact = "".join(f'["loss",{step}.0,{step},{step}]\n' for step in range(500, 1000))
    run.write("metrics.jsonl", text + "broken\n" + compact + '["loss"')
    some = READER.history(run, "loss", 1000, 3)
    assert [point.step for point in some] == [0, 500, 999]


def test_points_that_were_asked_for_are_not_parsed_one_by_one(run, monkeypatch):
    run.write("metrics.jsonl", lines(*_interleaved(20_000)))
    parsed = []
    real = _points._columns

    def counting(block, only=None):
        parsed.append(len(block))
        return real(block, only)

    monkeypatch.setattr(_points, "_columns", counting)
    assert len(READER.history(run, "loss", 20_000, 5)) == 5
    assert sum(parsed) < 1000
