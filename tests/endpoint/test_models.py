"""Logged models, as MLflow 3 has them; and what this server does not keep."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.endpoint.helpers import API, RUN, Endpoint, Refused


def _create(endpoint: Endpoint, **given: Any) -> Any:
    told = endpoint.post("logged-models", **{"experiment_id": "0", "name": "model", "source_run_id": RUN, **given})
    return told["model"]["info"]


def _names(endpoint: Endpoint, **given: Any) -> list[str]:
    told = endpoint.post("logged-models/search", **{"experiment_ids": ["0"], **given})
    return [model["info"]["name"] for model in told["models"]]


def test_the_life_of_a_model(endpoint: Endpoint) -> None:
    info = _create(endpoint, model_type="agent", params=[{"key": "p", "value": "1"}], tags=[{"key": "t", "value": "2"}])
    model_id = info["model_id"]
    assert info["artifact_uri"] == (endpoint.folder / "models" / model_id / "artifacts").as_uri()
    assert (info["status"], info["source_run_id"], info["model_type"]) == ("LOGGED_MODEL_PENDING", RUN, "agent")
    told = endpoint.call("PATCH", f"logged-models/{model_id}", model_id=model_id, status="LOGGED_MODEL_READY")
    assert told["model"]["info"]["status"] == "LOGGED_MODEL_READY"
    endpoint.post(f"logged-models/{model_id}/params", params=[{"key": "q", "value": "3"}])
    endpoint.call("PATCH", f"logged-models/{model_id}/tags", tags=[{"key": "u/v", "value": "4"}])
    endpoint.call("DELETE", f"logged-models/{model_id}/tags/t")
    endpoint.kill()
    endpoint.start()
    told = endpoint.get(f"logged-models/{model_id}")["model"]
    assert told["info"]["tags"] == [{"key": "u/v", "value": "4"}]
    assert told["data"]["params"] == [{"key": "p", "value": "1"}, {"key": "q", "value": "3"}]
    endpoint.call("DELETE", f"logged-models/{model_id}")
    with pytest.raises(Refused, match=f"Logged model with ID '{model_id}' not found"):
        endpoint.get(f"logged-models/{model_id}")
    assert endpoint.get(f"logged-models/{model_id}", allow_deleted="true")["model"]["info"]["model_id"] == model_id
    assert _names(endpoint) == []


def test_status_as_a_number(endpoint: Endpoint) -> None:
    model_id = _create(endpoint)["model_id"]
    told = endpoint.call("PATCH", f"logged-models/{model_id}", status=3)
    assert told["model"]["info"]["status"] == "LOGGED_MODEL_UPLOAD_FAILED"
    wrongs: list[Any] = [9, "READY", None, []]
    for wrong in wrongs:
        with pytest.raises(Refused, match="for parameter 'status' supplied"):
            endpoint.call("PATCH", f"logged-models/{model_id}", status=wrong)


def test_its_metrics_come_from_the_runs(endpoint: Endpoint) -> None:
    model_id = _create(endpoint)["model_id"]
    child = endpoint.create_run()
    endpoint.metric("acc", 0.5, model_id=model_id, dataset_name="iris", dataset_digest="d")
    endpoint.metric("acc", 0.7, step=1, model_id=model_id, dataset_name="iris", dataset_digest="d")
    endpoint.metric("acc", 0.9, run_id=child, model_id=model_id)
    for _ in range(2):
        told = endpoint.get(f"logged-models/{model_id}")["model"]["data"]["metrics"]
        assert [(point["value"], point["run_id"], point.get("dataset_name")) for point in told] == [
            (0.7, RUN, "iris"),
            (0.9, child, None),
        ]
        endpoint.kill()
        endpoint.start()


def test_search(endpoint: Endpoint) -> None:
    for name, value in (("one", 0.1), ("two", 0.2), ("three", 0.3)):
        model_id = _create(endpoint, name=name, params=[{"key": "kind", "value": name[0]}])["model_id"]
        endpoint.metric("acc", value, model_id=model_id, dataset_name="train" if name == "one" else "test")
    assert set(_names(endpoint)) == {"one", "two", "three"}
    assert _names(endpoint, filter="name = 'one'") == ["one"]
    assert _names(
        endpoint, filter="metrics.acc >= 0.2 AND params.kind = 't'", order_by=[{"field_name": "metrics.acc"}]
    ) == [
        "two",
        "three",
    ]
    by_accuracy = [{"field_name": "metrics.acc", "ascending": False}]
    assert _names(endpoint, order_by=by_accuracy) == ["three", "two", "one"]
    assert _names(endpoint, filter="metrics.acc > 0", datasets=[{"dataset_name": "train"}]) == ["one"]
    assert (
        _names(endpoint, filter=f"source_run_id = '{RUN}' AND status = 'PENDING'", order_by=by_accuracy[:1])[0]
        == "three"
    )
    first = endpoint.post("logged-models/search", experiment_ids=["0"], max_results=2)
    assert len(_names(endpoint, max_results=2, page_token=first["next_page_token"])) == 1
    with pytest.raises(Refused, match="no attribute of models"):
        _names(endpoint, filter="colour = 'red'")


def test_search_for_what_was_measured_on_a_dataset(endpoint: Endpoint) -> None:
    on_iris: dict[str, Any] = {"dataset_name": "iris", "dataset_digest": "d1"}
    for name, dataset in (("plain", {}), ("measured", on_iris), ("changed", {**on_iris, "dataset_digest": "d2"})):
        endpoint.metric("acc", 0.5, model_id=_create(endpoint, name=name)["model_id"], **dataset)
    _create(endpoint, name="never measured")
    assert _names(endpoint, datasets=[on_iris]) == ["measured"]
    assert set(_names(endpoint, datasets=[{"dataset_name": "iris"}])) == {"measured", "changed"}
    assert _names(endpoint, datasets=[{"dataset_name": "wine"}]) == []
    assert _names(endpoint, datasets=[{"dataset_name": "iris"}], filter="name = 'changed'") == ["changed"]
    assert len(_names(endpoint)) == 4


def test_its_artifacts(endpoint: Endpoint) -> None:
    model_id = _create(endpoint)["model_id"]
    folder = endpoint.folder / "models" / model_id / "artifacts"
    (folder / "data").mkdir(parents=True)
    (folder / "MLmodel").write_text("flavors: {}\n")
    told = endpoint.get(f"logged-models/{model_id}/artifacts/directories")
    assert told["files"] == [{"path": "MLmodel", "is_dir": False, "file_size": 12}, {"path": "data", "is_dir": True}]
    with pytest.raises(Refused, match="Invalid path"):
        endpoint.get(f"logged-models/{model_id}/artifacts/directories", artifact_directory_path="../..")


def test_a_file_of_a_model(endpoint: Endpoint) -> None:
    model_id = _create(endpoint)["model_id"]
    folder = endpoint.folder / "models" / model_id / "artifacts"
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "weights").write_bytes(b"\0\1\2" * 100_000)
    call = f"logged-models/{model_id}/artifacts/files"
    assert endpoint.send("GET", f"{API}{call}?artifact_file_path=data/weights") == (200, b"\0\1\2" * 100_000)
    with pytest.raises(Refused, match="Missing value for required parameter 'artifact_file_path'"):
        endpoint.get(call)
    for outside in ("../model.json", "/etc/hostname", "..%2fmodel.json"):
        with pytest.raises(Refused, match="Invalid path"):
            endpoint.get(call, artifact_file_path=outside)
    for absent in ("nothing", "data"):
        with pytest.raises(Refused, match="No such artifact") as refused:
            endpoint.get(call, artifact_file_path=absent)
        assert refused.value.status == 404
    with pytest.raises(Refused, match="Logged model with ID 'm-none' not found"):
        endpoint.get("logged-models/m-none/artifacts/files", artifact_file_path="MLmodel")


def test_what_a_run_has_made(endpoint: Endpoint) -> None:
    model_id = _create(endpoint)["model_id"]
    for _ in range(2):
        endpoint.post("runs/outputs", run_id=RUN, models=[{"model_id": model_id, "step": 3}])
    assert endpoint.run()["outputs"] == {"model_outputs": [{"model_id": model_id, "step": 3}]}
    assert endpoint.lines("outputs.jsonl") == [{"model_id": model_id, "step": 3}]
    with pytest.raises(Refused, match="Missing value for required parameter 'models'"):
        endpoint.post("runs/outputs", run_id=RUN)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/2.0/mlflow/registered-models/create"),
        ("GET", "/api/2.0/mlflow/registered-models/get"),
        ("POST", "/api/2.0/mlflow/model-versions/create"),
        ("GET", "/api/2.0/mlflow/model-versions/search"),
        ("GET", "/model-versions/get-artifact?name=model&version=1&path=MLmodel"),
    ],
)
def test_there_is_no_registry(shared_endpoint: Endpoint, method: str, path: str) -> None:
    status, body = shared_endpoint.send(method, path, b"{}" if method == "POST" else None)
    told = json.loads(body)
    assert (status, told["error_code"]) == (501, "FEATURE_DISABLED")
    assert "mlcli model create" in told["message"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/3.0/mlflow/traces"),
        ("POST", "/api/3.0/mlflow/traces/search"),
        ("POST", "/api/2.0/mlflow/traces"),
        ("POST", "/v1/traces"),
        ("GET", "/ajax-api/2.0/mlflow/get-trace-artifact?request_id=tr-1"),
        ("POST", "/api/3.0/mlflow/scorers/register"),
        ("POST", "/api/3.0/mlflow/datasets/create"),
    ],
)
def test_there_are_no_traces(shared_endpoint: Endpoint, method: str, path: str) -> None:
    status, body = shared_endpoint.send(method, path, b"{}" if method == "POST" else None)
    told = json.loads(body)
    assert (status, told["error_code"]) == (501, "FEATURE_DISABLED")
    assert "traces" in told["message"]


@pytest.mark.parametrize(
    "path", ["/", "/api/2.0/mlflow/runs/nothing", "/api/2.0/mlflow/logged-models/a/b/c", "/graphql", "/x"]
)
def test_any_other_route(shared_endpoint: Endpoint, path: str) -> None:
    status, body = shared_endpoint.send("POST", path, b"{}")
    assert (status, json.loads(body)["error_code"]) == (404, "ENDPOINT_NOT_FOUND")


def test_a_call_by_the_wrong_method(shared_endpoint: Endpoint) -> None:
    with pytest.raises(Refused, match=r"GET /api/2\.0/mlflow/runs/log-metric is no call") as refused:
        shared_endpoint.get("runs/log-metric")
    assert refused.value.status == 404
