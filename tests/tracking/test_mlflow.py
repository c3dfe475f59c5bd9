"""A server of the job's own, over MLflow's REST interface: here another run's endpoint, which speaks it, plays that server."""

from __future__ import annotations

import http.server
import math
import threading
from collections.abc import Iterator

import pytest

from mlcli.domain.errors import TransportError
from mlcli.tracking import _server
from mlcli.tracking.mlflow import MlflowReader
from tests.endpoint.helpers import TOKEN, Endpoint
from tests.tracking.helpers import FolderRun

READER = MlflowReader()


@pytest.fixture
def server(tmp_path) -> Iterator[Endpoint]:
    endpoint = Endpoint(tmp_path / "server")
    endpoint.start()
    yield endpoint
    endpoint.close()


def job(tmp_path, server: Endpoint, name: str = "it's calm", **more: str) -> FolderRun:
    uri = f"http://127.0.0.1:{server.port}/"
    return FolderRun(tmp_path, name, {"MLFLOW_TRACKING_URI": uri, "MLFLOW_TRACKING_TOKEN": TOKEN, **more})


def test_a_job_without_a_server_of_its_own_asks_nobody(tmp_path):
    seen = READER.read(FolderRun(tmp_path), None)
    assert (seen.tracked.metrics, seen.tracked.notices) == ({}, ())
    assert len(READER.history(FolderRun(tmp_path), "loss", 1, None)) == 0


def test_what_the_job_logged_there_is_found_by_its_tag(tmp_path, server, monkeypatch):
    monkeypatch.setattr(_server, "_PAGE", 2)
    other = server.create_run(tags=[{"key": "mlcli.run", "value": "another"}])
    mine = server.create_run(tags=[{"key": "mlcli.run", "value": "it's calm"}])
    server.metric("loss", 9.0, run_id=other)
    for step, value in enumerate([3.0, "NaN", 1.0, 2.0, "Infinity"]):
        server.metric("loss", value, step=step, timestamp=10 + step, run_id=mine)
    server.post("runs/log-parameter", run_id=mine, key="lr", value="0.1")
    run = job(tmp_path, server)
    tracked = READER.read(run, None).tracked
    loss = tracked.metrics["loss"]
    assert (loss.last, loss.step, loss.minimum, loss.count) == (math.inf, 4, 1.0, 5)
    assert (tracked.params, tracked.tags["mlcli.run"]) == ({"lr": "0.1"}, "it's calm")
    assert READER.history(run, "loss", 5, None).steps.tolist() == [0, 1, 2, 3, 4]  # type: ignore[attr-defined]
    assert list(READER.history(run, "loss", 5, 3).steps) == [0, 2, 4]
    assert len(READER.history(run, "absent", 1, None)) == 0


def test_or_by_the_run_id_that_the_job_was_given(tmp_path, server):
    mine = server.create_run()
    server.metric("loss", 1.5, run_id=mine)
    run = job(tmp_path, server, MLFLOW_RUN_ID=mine)
    assert READER.read(run, None).tracked.metrics["loss"].last == 1.5


def test_a_server_that_refuses_is_told_with_its_words(tmp_path, server):
    run = job(tmp_path, server, MLFLOW_TRACKING_TOKEN="wrong")
    with pytest.raises(TransportError, match="answered experiments/search with 401") as refused:
        READER.read(run, None)
    assert not refused.value.transient


def test_a_server_that_is_not_there_is_told_without_its_password(tmp_path):
    run = FolderRun(tmp_path, variables={"MLFLOW_TRACKING_URI": "http://ada:geheim@127.0.0.1:9"})
    with pytest.raises(TransportError, match="does not answer") as refused:
        READER.read(run, None)
    assert refused.value.transient
    assert "geheim" not in refused.value.message


class _Web(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>a login page</html>")

    def log_message(self, *_: object) -> None: ...


def test_what_is_no_mlflow_server_is_told(tmp_path):
    with http.server.HTTPServer(("127.0.0.1", 0), _Web) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        run = FolderRun(tmp_path, variables={"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{web.server_port}"})
        with pytest.raises(TransportError, match="does not answer"):
            READER.read(run, None)
        web.shutdown()


@pytest.mark.parametrize("uri", ["sqlite:///runs.db", "file:///x/mlruns", "databricks"])
def test_a_store_that_is_no_server_is_said_not_to_be_read(tmp_path, uri):
    tracked = READER.read(FolderRun(tmp_path, variables={"MLFLOW_TRACKING_URI": uri}), None).tracked
    assert "does not read" in tracked.notices[0]
