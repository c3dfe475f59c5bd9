"""The calls about runs that are not logging: create, get, update, delete, search; artifacts."""

from __future__ import annotations

import json
import time
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.endpoint.helpers import API, RUN, Endpoint, Refused


def test_the_job_s_own_run(endpoint: Endpoint) -> None:
    told = endpoint.run()
    info = told["info"]
    assert (info["run_id"], info["run_uuid"], info["run_name"]) == (RUN, RUN, "calm_otter_1")
    assert (info["experiment_id"], info["user_id"], info["status"]) == ("0", "ada", "RUNNING")
    assert (info["start_time"], info["lifecycle_stage"]) == (1_700_000_000_000, "active")
    assert "end_time" not in info
    assert info["artifact_uri"] == (endpoint.folder / "artifacts").as_uri()
    assert endpoint.tags()["mlflow.runName"] == "calm_otter_1"
    assert endpoint.get("runs/get", run_uuid=RUN)["run"] == told


def test_looking_leaves_nothing_behind(endpoint: Endpoint) -> None:
    endpoint.run()
    endpoint.search()
    endpoint.end()
    assert [path.name for path in endpoint.folder.iterdir()] == ["wd"]


def test_create_with_everything(endpoint: Endpoint) -> None:
    tags = {"mlflow.user": "bob", "mlflow.parentRunId": RUN, "my": "tag"}
    told = endpoint.post(
        "runs/create",
        experiment_id="0",
        run_name="my name",
        start_time=456,
        tags=[{"key": key, "value": value} for key, value in tags.items()],
    )["run"]
    info = told["info"]
    run_id = info["run_id"]
    assert (info["run_name"], info["start_time"], info["user_id"], info["status"]) == ("my name", 456, "bob", "RUNNING")
    assert endpoint.tags(run_id) == {**tags, "mlflow.runName": "my name"}
    assert endpoint.run(run_id) == told
    assert info["artifact_uri"] == (endpoint.folder / "children" / run_id / "artifacts").as_uri()
    record = json.loads((endpoint.folder / "children" / run_id / "run.json").read_text())
    assert {"run_id": run_id, "run_name": "my name", "parent": RUN, "experiment": "iris"}.items() <= record.items()


def test_create_with_nothing(endpoint: Endpoint) -> None:
    info = endpoint.run(endpoint.create_run())["info"]
    assert info["user_id"] == "unknown"
    assert len(info["run_id"]) == 32
    assert info["run_name"]
    assert abs(info["start_time"] - time.time() * 1000) < 60_000


def test_two_runs_may_have_one_name(endpoint: Endpoint) -> None:
    ids = [endpoint.create_run(run_name="same") for _ in range(2)]
    assert ids[0] != ids[1]
    assert endpoint.search("run_name = 'same'") == ["same", "same"]


def test_a_name_and_another_name(endpoint: Endpoint) -> None:
    tags = [{"key": "mlflow.runName", "value": "b"}]
    assert endpoint.run(endpoint.create_run(tags=tags))["info"]["run_name"] == "b"
    with pytest.raises(Refused, match="different values"):
        endpoint.create_run(run_name="a", tags=tags)


@pytest.mark.parametrize("run_id", [RUN, None])
def test_update(endpoint: Endpoint, run_id: str | None) -> None:
    run_id = run_id or endpoint.create_run()
    told = endpoint.post("runs/update", run_id=run_id, status="FINISHED", end_time=99)["run_info"]
    assert (told["status"], told["end_time"]) == ("FINISHED", 99)
    endpoint.post("runs/update", run_uuid=run_id, run_name="renamed")
    told = endpoint.run(run_id)["info"]
    assert (told["status"], told["end_time"], told["run_name"]) == ("FINISHED", 99, "renamed")
    assert endpoint.tags(run_id)["mlflow.runName"] == "renamed"
    endpoint.post("runs/set-tag", run_id=run_id, key="mlflow.runName", value="again")
    assert endpoint.run(run_id)["info"]["run_name"] == "again"
    assert endpoint.post("runs/update", run_id=run_id, status=4)["run_info"]["status"] == "FAILED"
    with pytest.raises(Refused, match="must be one of RUNNING"):
        endpoint.post("runs/update", run_id=run_id, status="DONE")


def test_what_the_client_said_of_the_run_is_a_file_of_its_own(endpoint: Endpoint) -> None:
    endpoint.post("runs/update", run_id=RUN, status="FAILED", end_time=7)
    record = json.loads((endpoint.folder / "mlflow.json").read_text())
    assert (record["status"], record["end_time_ms"], record["run_id"]) == ("FAILED", 7, RUN)
    assert not (endpoint.folder / "exit.json").exists()


def test_delete_and_restore(endpoint: Endpoint) -> None:
    run_id = endpoint.create_run(run_name="gone")
    endpoint.metric("loss", 1, run_id=run_id)
    endpoint.post("runs/delete", run_id=run_id)
    assert endpoint.run(run_id)["info"]["lifecycle_stage"] == "deleted"
    for call, given in (
        ("log-metric", {"key": "a", "value": 1, "timestamp": 1}),
        ("log-parameter", {"key": "a", "value": "1"}),
        ("log-batch", {}),
        ("set-tag", {"key": "a", "value": "1"}),
        ("delete-tag", {"key": "mlflow.runName"}),
        ("update", {"status": "FAILED"}),
    ):
        with pytest.raises(Refused, match=f"The run {run_id} must be in the 'active' state. Current state is deleted."):
            endpoint.post(f"runs/{call}", run_id=run_id, **given)
    assert endpoint.search() == ["calm_otter_1"]
    assert endpoint.search(run_view_type="DELETED_ONLY") == ["gone"]
    assert sorted(endpoint.search(run_view_type="ALL")) == ["calm_otter_1", "gone"]
    endpoint.post("runs/restore", run_id=run_id)
    assert endpoint.metrics(run_id) == {"loss": 1}


@pytest.mark.parametrize(
    ("call", "given"),
    [
        ("get", {}),
        ("log-metric", {"key": "a", "value": 1, "timestamp": 1}),
        ("delete", {}),
        ("delete-tag", {"key": "a"}),
    ],
)
def test_a_run_that_is_not_there(shared_endpoint: Endpoint, call: str, given: dict[str, object]) -> None:
    with pytest.raises(Refused, match="Run with id=nobody not found") as refused:
        shared_endpoint.call("GET" if call == "get" else "POST", f"runs/{call}", run_id="nobody", **given)
    assert (refused.value.status, refused.value.code) == (404, "RESOURCE_DOES_NOT_EXIST")


def test_search_by_what_was_logged(endpoint: Endpoint) -> None:
    for number in range(4):
        run_id = endpoint.create_run(run_name=f"run {number}", start_time=number)
        endpoint.metric("acc", number / 4, run_id=run_id)
        endpoint.post("runs/log-parameter", run_id=run_id, key="lr rate", value=f"0.{number}")
        endpoint.post("runs/set-tag", run_id=run_id, key="mlflow.x/y", value="Even" if number % 2 == 0 else "odd")
        if number == 3:
            endpoint.post("runs/update", run_id=run_id, status="FINISHED")
    for condition, found in {
        "metrics.acc >= 0.5": [3, 2],
        "metrics.acc > 0.1 and metrics.`acc` < 0.6": [2, 1],
        "params.`lr rate` = '0.1'": [1],
        'params."lr rate" != "0.1"': [3, 2, 0],
        "tags.`mlflow.x/y` LIKE 'E%'": [2, 0],
        "tags.\"mlflow.x/y\" ILIKE 'e%' AND attributes.status = 'RUNNING'": [2, 0],
        "attributes.status = 'FINISHED'": [3],
        "run_name IN ('run 1', 'run 3')": [3, 1],
        "start_time <= 1": [1, 0],
        "metrics.nothing > 0": [],
        "metrics.acc IS NOT NULL AND params.nothing IS NULL AND start_time = 2": [2],
    }.items():
        assert endpoint.search(condition) == [f"run {number}" for number in found], condition
    assert endpoint.search("metrics.acc >= 0", order_by=["metrics.acc ASC"]) == [f"run {n}" for n in range(4)]
    assert endpoint.search("metrics.acc >= 0", order_by=["params.`lr rate` DESC"]) == [f"run {n}" for n in (3, 2, 1, 0)]
    assert endpoint.search(order_by=["metrics.acc"])[-1] == "calm_otter_1", "what has no value comes last"
    assert endpoint.search(experiment_ids=["5"]) == []


@pytest.mark.parametrize(
    "wrong", ["metrics.a >", "metrics.a = 'text'", "params.a = 1", "foo.bar.baz ~ 3", "a = 'b' OR c = 'd'"]
)
def test_a_filter_that_is_none(shared_endpoint: Endpoint, wrong: str) -> None:
    with pytest.raises(Refused) as refused:
        shared_endpoint.search(wrong)
    assert refused.value.code == "INVALID_PARAMETER_VALUE"


def test_pages_of_runs(endpoint: Endpoint) -> None:
    ids = sorted(endpoint.create_run(start_time=1_800_000_000_000) for _ in range(10))
    found, token = [], ""
    for size in (4, 4, 3):
        told = endpoint.post("runs/search", experiment_ids=["0"], max_results=4, page_token=token)
        found += [run["info"]["run_id"] for run in told["runs"]]
        assert len(told["runs"]) == size
        token = told.get("next_page_token", "")
    assert found == [*ids, RUN]
    assert not token
    with pytest.raises(Refused, match="Invalid value 123456789 for parameter 'max_results' supplied"):
        endpoint.search(max_results=123456789)


def test_runs_outlive_the_process(endpoint: Endpoint) -> None:
    child = endpoint.create_run(run_name="child", start_time=5)
    endpoint.metric("loss", 0.5, step=3, run_id=child)
    endpoint.post("runs/update", run_id=child, status="KILLED", end_time=9)
    before = endpoint.run(child)
    endpoint.kill()
    endpoint.start()
    assert endpoint.run(child) == before


def test_artifacts_are_listed(endpoint: Endpoint) -> None:
    folder = endpoint.folder / "artifacts"
    (folder / "dir ö").mkdir(parents=True)
    (folder / "my.file").write_text("Hello")
    (folder / "dir ö" / "x").write_text("1")
    told = endpoint.get("artifacts/list", run_id=RUN)
    assert told["root_uri"] == folder.as_uri()
    assert told["files"] == [{"path": "dir ö", "is_dir": True}, {"path": "my.file", "is_dir": False, "file_size": 5}]
    below = endpoint.get("artifacts/list", run_id=RUN, path="dir ö")["files"]
    assert below == [{"path": "dir ö/x", "is_dir": False, "file_size": 1}]
    assert endpoint.get("artifacts/list", run_id=RUN, path="nothing")["files"] == []


@pytest.mark.parametrize("path", ["../path", "/etc", "a/../../b", "%2e%2e/x", "..%252fx", "a\0b", "c:/x"])
def test_a_path_stays_below_the_artifacts(shared_endpoint: Endpoint, path: str) -> None:
    for url in (f"{API}artifacts/list?run_id={RUN}&path=", f"/get-artifact?run_id={RUN}&path="):
        status, body = shared_endpoint.send("GET", url + quote(path))
        assert status == 400
        assert json.loads(body) == {"error_code": "INVALID_PARAMETER_VALUE", "message": "Invalid path"}


def test_small_artifacts_by_http(endpoint: Endpoint) -> None:
    url = f"/ajax-api/2.0/mlflow/upload-artifact?run_uuid={RUN}&path="
    assert endpoint.send("POST", url + "a/b.txt", b"hello world")[0] == 200
    assert (endpoint.folder / "artifacts" / "a" / "b.txt").read_bytes() == b"hello world"
    assert endpoint.send("GET", f"/get-artifact?run_uuid={RUN}&path=a/b.txt") == (200, b"hello world")
    big = bytes(range(256)) * 8192
    Path(endpoint.folder / "artifacts" / "big").write_bytes(big)
    assert endpoint.send("GET", f"/get-artifact?run_uuid={RUN}&path=big") == (200, big)
    for wrong, message in (("", "path"), ("x", "data"), ("../x", "Invalid path")):
        status, body = endpoint.send("POST", url + wrong, b"")
        assert status == 400
        assert message in json.loads(body)["message"]
    assert endpoint.send("GET", f"/get-artifact?run_id={RUN}&path=nothing")[0] == 404
