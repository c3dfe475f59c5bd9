"""The calls that log, what they refuse, and the lines that they leave in the run folder."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from tests.endpoint.helpers import API, RUN, Endpoint, Refused


def test_metrics(endpoint: Endpoint) -> None:
    endpoint.metric("loss", 0.5, step=1, timestamp=1000)
    endpoint.metric("loss", 0.25, step=2, timestamp=2000)
    endpoint.post("runs/log-metric", run_uuid=RUN, key="bare", value=3, timestamp=7)
    assert endpoint.lines("metrics.jsonl") == [["loss", 0.5, 1, 1000], ["loss", 0.25, 2, 2000], ["bare", 3.0, 0, 7]]
    assert endpoint.metrics() == {"loss": 0.25, "bare": 3}
    loss = endpoint.run()["data"]["metrics"][0]
    assert loss == {"key": "loss", "value": 0.25, "step": 2, "timestamp": 2000}


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
def test_what_json_has_no_number_for(endpoint: Endpoint, word: str) -> None:
    endpoint.metric("odd", word)
    endpoint.metric("odder", float(word.replace("Infinity", "inf")))  # as a bare word in JSON, which Python writes
    assert endpoint.lines("metrics.jsonl") == [["odd", word, 0, 1], ["odder", word, 0, 1]]
    assert endpoint.metrics() == {"odd": word, "odder": word}
    assert endpoint.history("odd")[0]["value"] == word


def test_numbers_keep_every_digit(endpoint: Endpoint) -> None:
    values = [0.1, 1e-308, 1.7976931348623157e308, -0.0, 2**53 + 2, math.pi]
    for step, value in enumerate(values):
        endpoint.metric("x", value, step=step)
    assert [point["value"] for point in endpoint.history("x")] == values
    endpoint.metric("text", "1.5")
    assert endpoint.metrics()["text"] == 1.5


@pytest.mark.parametrize("name", ["a/b/c", "val loss", "naïve.größe-1", "損失", "system/cpu:0", "x" * 250])
def test_names(endpoint: Endpoint, name: str) -> None:
    endpoint.metric(name, 1)
    endpoint.post("runs/log-parameter", run_id=RUN, key=name, value="v")
    endpoint.post("runs/set-tag", run_id=RUN, key=name, value="t")
    assert endpoint.metrics() == {name: 1}
    assert endpoint.params() == {name: "v"}
    assert endpoint.tags()[name] == "t"
    assert [point["value"] for point in endpoint.history(name)] == [1]


@pytest.mark.parametrize("name", ["a\nb", "a,b", "a//b", "../x", "/x", ".", "a/../b", "x/", 'q"q', "\ud800", "x" * 251])
def test_names_that_are_none(endpoint: Endpoint, name: str) -> None:
    for call, given in (
        ("log-metric", {"value": 1, "timestamp": 1}),
        ("log-parameter", {"value": "1"}),
        ("set-tag", {}),
    ):
        with pytest.raises(Refused) as refused:
            endpoint.post(f"runs/{call}", run_id=RUN, key=name, **given)
        assert refused.value.code == "INVALID_PARAMETER_VALUE"
    assert not (endpoint.folder / "metrics.jsonl").exists()


_GOOD = {"run_id": RUN, "key": "k", "value": 1, "timestamp": 59, "step": 2}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"run_id": 31}, "Invalid value 31 for parameter 'run_id' supplied"),
        ({"key": 31}, "Invalid value 31 for parameter 'key' supplied"),
        ({"step": "foo"}, "Invalid value \"foo\" for parameter 'step' supplied"),
        ({"timestamp": "foo"}, "Invalid value \"foo\" for parameter 'timestamp' supplied"),
        ({"timestamp": -1}, "Invalid value -1 for parameter 'timestamp' supplied"),
        ({"step": 2**63}, "for parameter 'step' supplied"),
        ({"step": 1.5}, "Invalid value 1.5 for parameter 'step' supplied"),
        ({"value": "much"}, "Invalid value \"much\" for parameter 'value' supplied"),
        ({"value": True}, "Invalid value true for parameter 'value' supplied"),
        ({"value": [1]}, "Invalid value [1] for parameter 'value' supplied"),
        ({"run_id": None}, "Missing value for required parameter 'run_id'"),
        ({"key": None}, "Missing value for required parameter 'key'"),
        ({"key": ""}, "Missing value for required parameter 'key'"),
        ({"value": None}, "Missing value for required parameter 'value'"),
        ({"timestamp": None}, "Missing value for required parameter 'timestamp'"),
    ],
)
def test_log_metric_checks_what_it_is_given(shared_endpoint: Endpoint, change: dict[str, Any], message: str) -> None:
    for given in ({**_GOOD, **change}, {key: value for key, value in {**_GOOD, **change}.items() if value is not None}):
        with pytest.raises(Refused) as refused:
            shared_endpoint.post("runs/log-metric", **given)
        assert (refused.value.status, refused.value.code) == (400, "INVALID_PARAMETER_VALUE")
        assert message in refused.value.message


def test_parameters_keep_their_value(endpoint: Endpoint) -> None:
    for _ in range(2):
        endpoint.post("runs/log-parameter", run_id=RUN, key="lr", value="0.1")
    endpoint.post("runs/log-parameter", run_id=RUN, key="empty", value="")
    with pytest.raises(Refused) as refused:
        endpoint.post("runs/log-parameter", run_id=RUN, key="lr", value="0.2")
    assert refused.value.code == "INVALID_PARAMETER_VALUE"
    assert refused.value.message == (
        f"Changing param values is not allowed. Param with key='lr' was already logged with value='0.1' "
        f"for run ID='{RUN}'. Attempted logging new value '0.2'."
    )
    assert endpoint.lines("params.jsonl") == [["lr", "0.1"], ["empty", ""]]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"run_id": 31, "key": "p", "value": "1"}, "Invalid value 31 for parameter 'run_id' supplied"),
        ({"run_id": RUN, "key": 31, "value": "1"}, "Invalid value 31 for parameter 'key' supplied"),
        ({"run_id": RUN, "key": "p", "value": 41}, "Invalid value 41 for parameter 'value' supplied"),
        ({"run_id": RUN, "value": "x"}, "Missing value for required parameter 'key'"),
    ],
)
@pytest.mark.parametrize("call", ["log-parameter", "set-tag"])
def test_parameters_and_tags_are_texts(
    shared_endpoint: Endpoint, call: str, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(Refused) as refused:
        shared_endpoint.post(f"runs/{call}", **given)
    assert message in refused.value.message


def test_a_million_characters(endpoint: Endpoint) -> None:
    """As MLflow's own server does it, by default: a long value is cut, a long key refused."""
    for call, limit in (("log-parameter", 6000), ("set-tag", 8000)):
        endpoint.post(f"runs/{call}", run_id=RUN, key="long", value="ö" * 10**6)
        endpoint.post(f"runs/{call}", run_id=RUN, key="long", value="ö" * 10**6)
        known = endpoint.params() if call == "log-parameter" else endpoint.tags()
        assert known["long"] == "ö" * limit
        with pytest.raises(Refused) as refused:
            endpoint.post(f"runs/{call}", run_id=RUN, key="k" * 10**6, value="")
        assert "had length 1000000, which exceeded length limit of 250" in refused.value.message
        assert len(refused.value.message) < 1000


def test_tags(endpoint: Endpoint) -> None:
    for value in ("one", "two\nlines \u2028 \x00", ""):
        endpoint.post("runs/set-tag", run_id=RUN, key="t", value=value)
        assert endpoint.tags()["t"] == value
    endpoint.post("runs/delete-tag", run_id=RUN, key="t")
    assert "t" not in endpoint.tags()
    with pytest.raises(Refused, match="No tag with name: t") as refused:
        endpoint.post("runs/delete-tag", run_id=RUN, key="t")
    assert refused.value.code == "RESOURCE_DOES_NOT_EXIST"
    assert endpoint.lines("tags.jsonl")[-1] == ["t", None]
    endpoint.kill()
    endpoint.start()
    assert "t" not in endpoint.tags()


def _batch(endpoint: Endpoint, **given: Any) -> None:
    endpoint.post("runs/log-batch", run_id=RUN, **given)


def test_a_batch(endpoint: Endpoint) -> None:
    metrics = [{"key": "m", "value": number, "timestamp": 789, "step": number} for number in range(1000)]
    _batch(endpoint, metrics=metrics)
    pairs = [{"key": f"k{number}", "value": ""} for number in range(100)]
    _batch(endpoint, params=pairs, tags=pairs)
    _batch(endpoint, metrics=[{"key": "mae", "value": 2.5, "timestamp": 123}])
    _batch(endpoint)
    assert len(endpoint.history("m")) == 1000
    assert endpoint.params() == {f"k{number}": "" for number in range(100)}
    assert endpoint.history("mae") == [{"key": "mae", "value": 2.5, "timestamp": 123, "step": 0}]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"metrics": "foo"}, "Invalid value \"foo\" for parameter 'metrics' supplied"),
        ({"params": "foo"}, "Invalid value \"foo\" for parameter 'params' supplied"),
        ({"tags": ["foo"]}, "Invalid value [\"foo\"] for parameter 'tags' supplied"),
        ({"metrics": [{"key": "a", "value": 2.5}]}, "Missing value for required parameter 'metrics[0].timestamp'"),
        ({"metrics": [{"value": 2.5, "timestamp": 1}]}, "Missing value for required parameter 'metrics[0].key'"),
        ({"params": [{"key": "a"}, {}]}, "Missing value for required parameter 'params[1].key'"),
        ({"params": [{"key": "a", "value": "1"}, {"key": "a", "value": "1"}]}, "Duplicate parameter keys"),
        (
            {"params": [{"key": "fixed", "value": "2"}]},
            "Changing param values is not allowed. Params were already logged=",
        ),
        ({"metrics": [{"key": "a", "value": 1, "timestamp": 1}] * 1001}, "at most 1000 metrics. Got 1001"),
        ({"params": [{"key": "a", "value": "1"}] * 101}, "at most 100 params. Got 101"),
        ({"tags": [{"key": "a", "value": "1"}] * 101}, "at most 100 tags. Got 101"),
        (
            {"metrics": [{"key": "a", "value": 1, "timestamp": 1}] * 1000, "tags": [{"key": "a", "value": "1"}]},
            "at most 1000 metrics, params, and tags. Got 1002",
        ),
    ],
)
def test_a_batch_with_something_wrong_is_not_logged_at_all(
    endpoint: Endpoint, given: dict[str, Any], message: str
) -> None:
    endpoint.post("runs/log-parameter", run_id=RUN, key="fixed", value="1")
    good = {
        "metrics": [{"key": "good", "value": 1, "timestamp": 1}],
        "params": [{"key": "good", "value": "1"}],
        "tags": [{"key": "good", "value": "1"}],
    }
    with pytest.raises(Refused) as refused:
        _batch(endpoint, **{**good, **given})
    assert message in refused.value.message
    assert endpoint.metrics() == {}
    assert endpoint.params() == {"fixed": "1"}
    assert "good" not in endpoint.tags()


def _dataset(name: str, **more: str) -> dict[str, Any]:
    facts = {"name": name, "digest": f"digest of {name}", "source_type": "code", "source": "{}", **more}
    return {"dataset": facts, "tags": [{"key": "mlflow.data.context", "value": "training"}]}


def test_datasets(endpoint: Endpoint) -> None:
    first, second = _dataset("first", schema="[]", profile="{}"), _dataset("second")
    endpoint.post("runs/log-inputs", run_id=RUN, datasets=[first])
    endpoint.post("runs/log-inputs", run_id=RUN, datasets=[first, second], models=[{"model_id": "m-1"}])
    assert endpoint.run()["inputs"] == {"dataset_inputs": [first, second], "model_inputs": [{"model_id": "m-1"}]}
    assert endpoint.lines("inputs.jsonl") == [first, second, {"model_id": "m-1"}]
    assert endpoint.search("dataset.name = 'second'") == ["calm_otter_1"]
    assert endpoint.search("datasets.digest LIKE 'none%'") == []
    found = endpoint.post("experiments/search-datasets", experiment_ids=["0"])["dataset_summaries"]
    assert found[1] == {"experiment_id": "0", "name": "second", "digest": "digest of second", "context": "training"}
    before = endpoint.run()
    endpoint.kill()
    endpoint.start()
    assert endpoint.run() == before


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"datasets": [_dataset("a")]}, "Missing value for required parameter 'run_id'"),
        ({"run_id": RUN}, "Missing value for required parameter 'datasets'"),
        ({"run_id": RUN, "datasets": [{}]}, "Missing value for required parameter 'datasets[0].dataset'"),
        ({"run_id": RUN, "datasets": [{"dataset": {"name": "x"}}]}, "'datasets[0].dataset.digest'"),
        ({"run_id": RUN, "datasets": [_dataset("x" * 501)]}, "exceeded length limit of 500"),
    ],
)
def test_datasets_are_checked(shared_endpoint: Endpoint, given: dict[str, Any], message: str) -> None:
    with pytest.raises(Refused) as refused:
        shared_endpoint.post("runs/log-inputs", **given)
    assert message in refused.value.message


@pytest.mark.parametrize("given", [{}, {"experiment_ids": []}, {"experiment_ids": [str(n) for n in range(30)]}])
def test_datasets_of_no_or_too_many_experiments(shared_endpoint: Endpoint, given: dict[str, Any]) -> None:
    with pytest.raises(Refused, match="SearchDatasets request"):
        shared_endpoint.post("experiments/search-datasets", **given)


def test_a_model_as_mlflow_2_logs_it(endpoint: Endpoint) -> None:
    models = [{"artifact_path": f"model/{number}", "utc_time_created": "now", "flavors": {}} for number in range(2)]
    for model in models:
        endpoint.post("runs/log-model", run_id=RUN, model_json=json.dumps(model))
    assert json.loads(endpoint.tags()["mlflow.log-model.history"]) == models
    for wrong in ("no JSON", "{}", "[]"):
        with pytest.raises(Refused, match="for parameter 'model_json' supplied"):
            endpoint.post("runs/log-model", run_id=RUN, model_json=wrong)


def test_metrics_after_the_run_ended(endpoint: Endpoint) -> None:
    endpoint.post("runs/update", run_id=RUN, status="FINISHED", end_time=1)
    endpoint.metric("late", 1)
    assert endpoint.metrics() == {"late": 1}


def test_a_clock_that_goes_back(endpoint: Endpoint) -> None:
    """The greatest step is the newest, whatever the clock says; of one step, the latest time."""
    for value, step, timestamp in ((1.0, 1, 9000), (2.0, 2, 5000), (3.0, 2, 4000), (4.0, 0, 99000)):
        endpoint.metric("x", value, step=step, timestamp=timestamp)
    assert endpoint.metrics() == {"x": 2}
    assert [point["value"] for point in endpoint.history("x")] == [1, 2, 3, 4], "as they were logged"


def test_the_summary_at_the_end(endpoint: Endpoint) -> None:
    for step, value in enumerate(["NaN", 3, 1, 2, "Infinity", "NaN"]):
        endpoint.metric("x", value, step=step, timestamp=100 - step)
    endpoint.metric("none", "NaN")
    endpoint.end()
    told = json.loads((endpoint.folder / "summary.json").read_text())
    assert told["bytes"] == (endpoint.folder / "metrics.jsonl").stat().st_size
    assert told["metrics"]["x"] == {
        "last": "NaN",
        "step": 5,
        "time_ms": 95,
        "min": 1.0,
        "max": "Infinity",
        "min_step": 2,
        "max_step": 4,
        "count": 6,
    }
    assert told["metrics"]["none"]["min"] == "NaN"


def test_every_prefix_of_the_api(endpoint: Endpoint) -> None:
    for prefix in (API, "/api/3.0/mlflow/", "/ajax-api/2.0/mlflow/", "//api/2.0/mlflow/"):
        assert endpoint.send("GET", f"{prefix}runs/get?run_id={RUN}")[0] == 200


def test_files_are_readable_by_whoever_may_enter_the_run_folder(endpoint: Endpoint) -> None:
    endpoint.metric("x", 1)
    assert Path(endpoint.folder / "metrics.jsonl").stat().st_mode & 0o777 == 0o644
