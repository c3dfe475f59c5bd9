"""Histories: whole, in pages, of many runs, a choice of steps."""

from __future__ import annotations

from typing import Any

import pytest

from mlcli.endpoint.run_calls import sampled
from tests.endpoint.helpers import RUN, Endpoint, Refused

BULK = "metrics/get-history-bulk"
INTERVAL = "metrics/get-history-bulk-interval"


def _log(endpoint: Endpoint, name: str, count: int, run_id: str = RUN, timestamp: int = 1) -> None:
    points = [{"key": name, "value": float(step), "timestamp": timestamp, "step": step} for step in range(count)]
    for start in range(0, count, 1000):
        endpoint.post("runs/log-batch", run_id=run_id, metrics=points[start : start + 1000])


def test_one_name_among_others(endpoint: Endpoint) -> None:
    for step in range(3):
        for name in ("a", "a b", "aa", "a/b"):
            endpoint.metric(name, step, step=step)
    assert [(point["key"], point["step"]) for point in endpoint.history("a")] == [("a", 0), ("a", 1), ("a", 2)]
    assert endpoint.history("never") == []
    with pytest.raises(Refused, match="Missing value for required parameter 'metric_key'"):
        endpoint.get("metrics/get-history", run_id=RUN)


def test_pages(endpoint: Endpoint) -> None:
    _log(endpoint, "x", 2500)
    _log(endpoint, "other", 10)
    found: list[int] = []
    token = ""
    sizes = []
    while True:
        given = {"page_token": token} if token else {}
        told = endpoint.get("metrics/get-history", run_id=RUN, metric_key="x", max_results=1000, **given)
        found += [point["step"] for point in told["metrics"]]
        sizes.append(len(told["metrics"]))
        token = told.get("next_page_token", "")
        if not token:
            break
        endpoint.metric("x", 1.0, step=len(found) + 10_000)  # it goes on meanwhile
    assert found[:2500] == list(range(2500))
    assert sizes == [1000, 1000, 502]
    with pytest.raises(Refused, match="no such token"):
        endpoint.get("metrics/get-history", run_id=RUN, metric_key="x", page_token="nonsense")


def test_the_last_page_has_no_token(endpoint: Endpoint) -> None:
    _log(endpoint, "x", 10)
    _log(endpoint, "other", 10)
    assert "next_page_token" not in endpoint.get("metrics/get-history", run_id=RUN, metric_key="x", max_results=10)


def test_a_history_larger_than_what_the_server_may_take(endpoint: Endpoint) -> None:
    _log(endpoint, "x", 200_000)
    before = endpoint.resident_mb()
    assert [point["step"] for point in endpoint.history("x")] == list(range(200_000))
    assert endpoint.resident_mb() < min(40, before + 6)


def test_what_a_point_belongs_to(endpoint: Endpoint) -> None:
    facts: dict[str, Any] = {"dataset_name": "iris", "dataset_digest": "abc", "model_id": "m-1"}
    endpoint.metric("acc", 0.5, **facts)
    endpoint.metric("acc", 0.6, step=1, model_id="")
    assert endpoint.lines("metrics.jsonl") == [["acc", 0.5, 0, 1, facts], ["acc", 0.6, 1, 1]]
    assert endpoint.history("acc")[0] == {"key": "acc", "value": 0.5, "timestamp": 1, "step": 0, **facts}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"metric_key": "key"}, "GetMetricHistoryBulk request must specify at least one run_id"),
        (
            {"metric_key": "key", "run_id": [f"r{n}" for n in range(101)]},
            "GetMetricHistoryBulk request cannot specify more",
        ),
        ({"run_id": [RUN]}, "GetMetricHistoryBulk request must specify a metric_key"),
        ({"run_id": ["nobody"], "metric_key": "x"}, "Run with id=nobody not found"),
    ],
)
def test_bulk_checks_what_it_is_given(shared_endpoint: Endpoint, given: dict[str, Any], message: str) -> None:
    with pytest.raises(Refused, match=message):
        shared_endpoint.get(BULK, **given)


def test_bulk(endpoint: Endpoint) -> None:
    other = endpoint.create_run()
    for run_id, more in ((RUN, 0), (other, 1)):
        for value, step, timestamp in ((10, 2, 1), (11, 3, 1), (12, 3, 1), (12, 3, 2)):
            endpoint.metric("a", value + more, step=step, timestamp=timestamp, run_id=run_id)
    told = endpoint.get(BULK, run_id=[RUN, other], metric_key="a")["metrics"]
    assert [point["run_id"] for point in told] == sorted([RUN] * 4 + [other] * 4)
    mine = [(point["value"], point["step"], point["timestamp"]) for point in told if point["run_id"] == RUN]
    assert mine == [(10, 2, 1), (11, 3, 1), (12, 3, 1), (12, 3, 2)]
    assert len(endpoint.get(BULK, run_id=RUN, metric_key="a", max_results=2)["metrics"]) == 2
    assert endpoint.get(BULK, run_id=RUN, metric_key="b")["metrics"] == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"metric_key": "k"}, "Missing value for required parameter 'run_ids'"),
        ({"metric_key": "k", "run_ids": [f"r{n}" for n in range(101)]}, "must specify at most 100 run_ids"),
        ({"metric_key": "k", "run_ids": [RUN], "max_results": 0}, "max_results must be between 1 and 2500"),
        ({"metric_key": "k", "run_ids": [RUN], "max_results": 2501}, "max_results must be between 1 and 2500"),
        ({"metric_key": "", "run_ids": [RUN]}, "Missing value for required parameter 'metric_key'"),
        ({"run_ids": [RUN]}, "Missing value for required parameter 'metric_key'"),
        (
            {"metric_key": "k", "run_ids": [RUN], "start_step": 1, "end_step": 0},
            "end_step must be greater than start_step",
        ),
        ({"metric_key": "k", "run_ids": [RUN], "start_step": 1}, "both must be specified"),
    ],
)
def test_interval_checks_what_it_is_given(shared_endpoint: Endpoint, given: dict[str, Any], message: str) -> None:
    with pytest.raises(Refused, match=message):
        shared_endpoint.get(INTERVAL, **given)


def test_interval(endpoint: Endpoint) -> None:
    def steps(*run_ids: str, **given: int) -> list[int]:
        told = endpoint.get(INTERVAL, run_ids=list(run_ids), metric_key="a", max_results=5, **given)["metrics"]
        assert [point["run_id"] for point in told] == [run for run in run_ids for p in told if p["run_id"] == run]
        return [point["step"] for point in told]

    _log(endpoint, "a", 10)
    assert steps(RUN) == [0, 2, 4, 6, 8, 9]
    assert steps(RUN, start_step=0, end_step=4) == [0, 1, 2, 3, 4]
    other = endpoint.create_run()
    _log(endpoint, "a", 20, run_id=other)
    assert steps(RUN, other) == [0, 4, 8, 9, 0, 4, 8, 9, 12, 16, 19]
    _log(endpoint, "a", 10, timestamp=2)
    assert steps(RUN) == [step for step in (0, 2, 4, 6, 8, 9) for _ in range(2)]


@pytest.mark.parametrize(
    ("steps", "most", "chosen"),
    [
        (list(range(10)), 5, {0, 2, 4, 6, 8, 9}),
        ([4, 5, 6, 7, 8], 5, {4, 5, 6, 7, 8}),
        (list(range(0, 1001, 10)), 5, {0, 200, 400, 600, 800, 1000}),
        ([], 5, set()),
        ([3, 9], 1, {3, 9}),
    ],
)
def test_a_choice_of_steps(steps: list[int], most: int, chosen: set[int]) -> None:
    assert sampled(steps, most) == chosen
