"""Runs handed on and taken back: every format keeps every point, its step, its time, their order."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlcli import registry
from mlcli.domain.errors import MlcliError, StoreError, TransportError
from mlcli.domain.logged import LoggedRun
from mlcli.domain.metrics import Point, Series, series
from mlcli.tracking import mlruns
from mlcli.tracking.mlflow_runs import MlflowFormat
from tests.endpoint.helpers import Endpoint

FORMATS = ["csv", "json", "parquet", "mlflow"]
POINTS = [
    Point(0.1 + 0.2, 0, 1_700_000_000_000),
    Point(math.inf, 3, 5),
    Point(-math.inf, -2, 5),
    Point(1e-300, 3, 5),
    Point(math.nan, 2**40, 7),
]


def run(tmp_path: Path, **changes: object) -> LoggedRun:
    plot = tmp_path / "plot.png"
    plot.write_bytes(b"\x89PNG")
    made = LoggedRun(
        "calm_otter",
        "Otter é",
        "iris",
        "KILLED",
        1_700_000_000_000,
        1_700_000_001_000,
        params={"lr": "0.1", "opt/name": 'ad"am, \n2 é', "empty": ""},
        tags={"mlcli.run": "calm_otter", "team": "vision"},
        metrics={"loss": series(POINTS), "val/a b:c": series(POINTS[:1])},
        artifacts={"notes/plot.png": plot},
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def back(form: str, place: Path, runs: list[LoggedRun]) -> list[LoggedRun]:
    made = registry.load("run_formats", form)()
    assert list(made.write(runs, str(place))) == []
    scratch = place.parent / "scratch"
    scratch.mkdir(exist_ok=True)
    return list(made.read(str(place), scratch))


def same(one: Series, other: Series) -> bool:
    return repr(list(one)) == repr(list(other))


@pytest.mark.parametrize("form", FORMATS)
def test_there_and_back(tmp_path, form):
    whole = run(tmp_path)
    child = LoggedRun("c" * 32, "fold 1", "iris", parent="calm_otter", metrics={"loss": series(POINTS[:2])})
    found, inner = back(form, tmp_path / "place", [whole, child])
    facts = ("run_id", "name", "experiment", "status", "start_ms", "end_ms", "parent", "params")
    assert [getattr(found, fact) for fact in facts] == [getattr(whole, fact) for fact in facts]
    assert whole.tags.items() <= found.tags.items()
    assert set(found.metrics) == set(whole.metrics)
    assert all(same(found.metrics[name], whole.metrics[name]) for name in whole.metrics)
    assert (inner.parent, inner.name, len(inner.metrics["loss"])) == ("calm_otter", "fold 1", 2)
    if form == "mlflow":
        assert found.artifacts["notes/plot.png"].read_bytes() == b"\x89PNG"


@pytest.mark.parametrize("form", FORMATS)
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(
        st.builds(Point, st.floats(), st.integers(-(2**63), 2**63 - 1), st.integers(0, 2**53)), min_size=1, max_size=5
    )
)
def test_every_point_comes_back_as_it_was(tmp_path, form, points):
    (found,) = back(
        form,
        tmp_path / "any",
        [LoggedRun("one", "one", "iris", tags={"mlcli.run": "one"}, metrics={"x": series(points)})],
    )
    assert same(found.metrics["x"], series(points))


def test_a_second_export_replaces_the_first_and_nobody_else_s(tmp_path):
    place = tmp_path / "mlruns"
    back("mlflow", place, [run(tmp_path)])
    (found,) = back("mlflow", place, [run(tmp_path, name="renamed", metrics={})])
    assert (found.name, dict(found.metrics)) == ("renamed", {})
    (tag,) = place.glob("*/calm_otter/tags/mlcli.run")
    tag.unlink()
    with pytest.raises(MlcliError, match="no run that mlcli has exported"):
        mlruns.write([run(tmp_path)], place)


def test_names_that_mlflow_refuses_are_told(tmp_path):
    names = ["a/b", "a", "../up", "percent%", "é" * 200]
    odd = run(tmp_path, metrics={name: series(POINTS[:1]) for name in names}, artifacts={})
    told = mlruns.write([odd], tmp_path / "mlruns")
    assert len(told) == 4
    assert {name for name in names if any(repr(name) in sentence for sentence in told)} == set(names) - {"a/b"}
    (found,) = mlruns.read(tmp_path / "mlruns")
    assert set(found.metrics) == {"a/b"}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b'{"a": [1', b"run_id,kind\n1,2\n", b"[3]"])
def test_what_is_none_is_refused_in_words(tmp_path, form, content):
    place = tmp_path / "place"
    place.write_bytes(content)
    with pytest.raises(MlcliError):
        registry.load("run_formats", form)().read(str(place), tmp_path)
    with pytest.raises(MlcliError):
        registry.load("run_formats", form)().read(str(tmp_path / "absent"), tmp_path)


def test_a_bad_row_is_told_with_its_number(tmp_path):
    place = tmp_path / "runs.csv"
    back("csv", place, [run(tmp_path)])
    place.write_text(place.read_text() + "calm_otter,metric,loss,,high,1,1\r\n")
    with pytest.raises(MlcliError, match=r"row \d+ is no row of a run"):
        registry.load("run_formats", "csv")().read(str(place), tmp_path)


@pytest.mark.parametrize("form", FORMATS)
def test_a_place_that_cannot_be_written_is_told(tmp_path, form):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot write"):
        registry.load("run_formats", form)().write([run(tmp_path)], str(tmp_path / "file" / "below"))


def test_a_server_is_given_the_same(tmp_path, monkeypatch):
    """Another run's endpoint plays the server; it hands artifacts over as a folder of this machine."""
    server = Endpoint(tmp_path / "server")
    server.start()
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "a token of the tests")
    place = f"http://127.0.0.1:{server.port}"
    try:
        whole = run(tmp_path)
        child = LoggedRun("c" * 32, "fold 1", "iris", parent="calm_otter", metrics={"loss": series(POINTS[:2])})
        told = list(MlflowFormat().write([whole, child], place))
        assert ["artifacts of Otter é were left out" in sentence for sentence in told] == [True]
        told = list(MlflowFormat().write([whole], place))
        assert ["is there already" in sentence for sentence in told] == [True]
        runs = {found.name: found for found in MlflowFormat().read(place, tmp_path)}
        assert same(runs["Otter é"].metrics["loss"], whole.metrics["loss"])
        assert runs["Otter é"].params == whole.params
        assert (runs["Otter é"].status, runs["Otter é"].end_ms) == ("KILLED", whole.end_ms)
        assert runs["fold 1"].parent == runs["Otter é"].run_id
    finally:
        server.close()
    with pytest.raises(TransportError, match="does not answer"):
        MlflowFormat().read(place, tmp_path)


def test_the_json_document_is_one_that_any_program_reads(tmp_path):
    registry.load("run_formats", "json")().write([run(tmp_path)], str(tmp_path / "runs.json"))
    (document,) = json.loads((tmp_path / "runs.json").read_text(), parse_constant=pytest.fail)
    assert document["metrics"]["loss"][1] == ["Infinity", 3, 5]
    assert document["artifacts"] == ["notes/plot.png"]
