"""What runs have logged, as a person sees it: figures, points, curves, comparisons, leaderboards. The jobs run for real."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.cli.test_jobs import create, finished, held, job_file
from tests.conftest import Mlcli
from tests.endpoint.helpers import TOKEN, Endpoint
from tests.tracking.helpers import lines
from tests.tracking.test_tensorboard import write_events

LOGS_BY_REST = """
import json, os, urllib.request
def call(path, **given):
    request = urllib.request.Request(
        os.environ["MLFLOW_TRACKING_URI"] + "/api/2.0/mlflow/" + path, json.dumps(given).encode(),
        {"Content-Type": "application/json", "Authorization": "Bearer " + os.environ["MLFLOW_TRACKING_TOKEN"]})
    return json.load(urllib.request.urlopen(request))
run = os.environ["MLFLOW_RUN_ID"]
for step, loss in enumerate([0.9, 0.4, 0.5]):
    call("runs/log-metric", run_id=run, key="loss", value=loss, step=step, timestamp=1700000000000 + step)
call("runs/log-parameter", run_id=run, key="lr", value="0.1")
call("runs/set-tag", run_id=run, key="team", value="vision")
tags = [{"key": "mlflow.parentRunId", "value": run}, {"key": "mlflow.runName", "value": "fold one"}]
child = call("runs/create", experiment_id="0", tags=tags, run_name="fold one")["run"]["info"]["run_id"]
call("runs/log-metric", run_id=child, key="fold_loss", value=7, step=0, timestamp=1700000000000)
call("runs/update", run_id=child, status="FINISHED")
"""


def logged(mlcli: Mlcli, name: str, *points: list[Any], params: dict[str, str] | None = None, **extra: Any) -> str:
    """A job that has ended, and has left these points and parameters as the endpoint does."""
    text = lines(*points) + extra.pop("raw", "")
    source = mlcli.cwd / f"{name}.jsonl"
    source.write_text(text)
    parameters = mlcli.cwd / f"{name}.params"
    parameters.write_text(lines(*([key, value] for key, value in (params or {}).items())))
    command = f"cp {source} ../metrics.jsonl; cp {parameters} ../params.jsonl; {extra.pop('command', 'true')}"
    return finished(mlcli, command, "-n", name, **extra)


def curve(name: str, values: list[Any], **more: Any) -> list[list[Any]]:
    return [[name, value, step, 1_700_000_000_000 + 1000 * step] for step, value in enumerate(values)]


def test_what_a_script_logs_by_rest_is_there_at_once(mlcli):
    (mlcli.cwd / "train.py").write_text(LOGS_BY_REST)
    name = finished(mlcli, f"{sys.executable} {mlcli.cwd / 'train.py'}", "-n", "calm", experiment_name="iris")
    shown = mlcli("job", "show", name).json
    assert shown["metrics"]["loss"] == {
        "last": 0.5, "step": 2, "best": 0.4, "best_step": 1, "min": 0.4, "min_step": 1, "max": 0.9, "max_step": 0, "count": 3,
    }  # fmt: skip
    assert (shown["params"], shown["tags"]) == ({"lr": "0.1"}, {"team": "vision"})
    assert [nested["run_name"] for nested in shown["nested_runs"]] == ["fold one"]
    rows = mlcli("run", "metrics", name, "-m", "loss").json
    assert [(row["step"], row["value"]) for row in rows] == [(0, 0.9), (1, 0.4), (2, 0.5)]
    assert rows[0]["time"] == "2023-11-14T22:13:20+00:00"
    nested = mlcli("run", "metrics", f"{name}/fold one", "--query", "[].[name, last]", "-o", "tsv")
    assert nested.stdout == "fold_loss\t7.0\n"
    assert "it has: fold one" in mlcli("run", "metrics", f"{name}/nobody").stderr
    found = mlcli("job", "list", "--filter", "metrics.loss < 0.6 and params.lr = '0.1' and tags.team = 'vision'").json
    assert [row["name"] for row in found] == [name]


def test_every_format_tells_the_same_points(mlcli):
    name = logged(mlcli, "calm", *curve("val/a b", [0.5, "NaN", "-Infinity"]), ["ü", 1, 7, 0])
    ask = ["job", "metrics", name, "-m", "val/a b"]
    rows = mlcli(*ask).json
    assert [row["value"] for row in rows] == [0.5, "NaN", "-Infinity"]
    assert YAML(typ="safe", pure=True).load(mlcli(*ask, "-o", "yaml").stdout) == rows
    read = list(csv.DictReader(io.StringIO(mlcli(*ask, "-o", "csv").stdout)))
    assert read == [{key: str(value) for key, value in row.items()} for row in rows]
    tsv = [line.split("\t") for line in mlcli(*ask, "-o", "tsv").stdout.splitlines()]
    assert tsv == [[str(value) for value in row.values()] for row in rows]
    table = mlcli(*ask, "-o", "table").stdout.splitlines()
    assert table[0].split() == ["Name", "Step", "Value", "Time"]
    assert len(table) == 5
    figures = mlcli("run", "metrics", "-r", name, tty=True)
    assert re.search(r"val/a b\S* +-Infinity +2 ", figures.stdout)
    assert "ü" in figures.stdout
    assert "NaN" in mlcli(*ask, tty=True).stdout


def test_of_many_points_some_are_shown_and_every_one_when_asked_for(mlcli):
    name = logged(mlcli, "long", *curve("loss", [float(step) for step in range(5000)]), ["one", 1.0, 0, 0])
    some = mlcli("run", "metrics", name, "-m", "loss")
    assert len(some.json) == 1000
    assert (some.json[0]["step"], some.json[-1]["step"]) == (0, 4999)
    assert "loss: 1,000 of 5,000 points, evenly chosen" in some.stderr
    assert len(mlcli("run", "metrics", name, "-m", "loss", "--all-results").json) == 5000
    both = mlcli("run", "metrics", name, "-m", "lo*", "-m", "one", "--max-results", "2").json
    assert [(row["name"], row["step"]) for row in both] == [("loss", 0), ("loss", 4999), ("one", 0)]


def test_a_metric_that_is_not_there_is_told_with_those_that_are(mlcli):
    name = logged(mlcli, "calm", *curve("accuracy", [0.5]))
    refused = mlcli("run", "metrics", name, "-m", "acuracy")
    assert refused.code == 3
    assert refused.stderr == (
        "error: job calm has logged no metric 'acuracy'\n  it has: accuracy\n\nhint: did you mean accuracy?\n"
    )
    assert mlcli("run", "metrics", name, "-m", "val/*").code == 3
    silent = finished(mlcli, "true")
    for command in (
        ["run", "metrics", silent],
        ["run", "plot", silent],
        ["run", "metrics", silent, "--follow", "-m", "x"],
    ):
        nothing = mlcli(*command)
        assert nothing.code == 3
        assert f"job {silent} has logged no metrics" in nothing.stderr
        assert "mlflow.log_metric" in nothing.stderr
    assert mlcli("job", "show", silent).json["metrics"] == {}


def test_damaged_lines_are_counted_and_the_rest_is_read(mlcli):
    name = logged(mlcli, "calm", *curve("loss", [1.0]), raw='["loss", 2.0,\nnonsense\n["loss", 3.0, 2, 2]\n["loss", 9')
    shown = mlcli("run", "metrics", name)
    assert [(row["last"], row["count"]) for row in shown.json] == [(3.0, 2)]
    assert "2 damaged lines of what calm has logged were left out" in shown.stderr


def test_printed_metrics_and_event_files_count_too(mlcli):
    events = write_events(mlcli.cwd / "events", [("tb", 3, 0.25)])
    name = finished(mlcli, f"echo 'metric: loss=0.5 step=2'; mkdir logs/train; cp {events} logs/train/", "-n", "calm")
    rows = mlcli("run", "metrics", name).json
    assert [(row["name"], row["last"], row["step"], row["source"]) for row in rows] == [
        ("loss", 0.5, 2, "printed"),
        ("train/tb", 0.25, 3, "tensorboard"),
    ]


def test_following_prints_points_as_they_come_and_ends_with_the_job(mlcli, until):
    wait, gate = held(mlcli.cwd)
    file = job_file(mlcli.cwd, f"echo 'metric: loss=2'; {wait}; echo 'metric: loss=1'; echo 'metric: other=3'")
    assert mlcli("job", "create", "-f", file, "-n", "live").code == 0
    with mlcli.start("run", "metrics", "live", "-m", "loss", "--follow") as follower:
        first = json.loads(follower.stdout.readline())
        assert (first["name"], first["step"], first["value"]) == ("loss", 0, 2.0)
        gate.touch()
        began = time.monotonic()
        rest = [json.loads(line) for line in follower.stdout]
        assert [(row["step"], row["value"]) for row in rest] == [(1, 1.0)]
        assert follower.wait(60) == 0
        assert time.monotonic() - began < 30
    again = mlcli("run", "metrics", "live", "--follow", "-o", "csv")
    assert [line.split(",")[:3] for line in again.stdout.splitlines()] == [
        ["name", "step", "value"], ["loss", "0", "2.0"], ["loss", "1", "1.0"], ["other", "0", "3.0"],
    ]  # fmt: skip
    assert mlcli("run", "metrics", "live", "--follow", "--query", "[0]").code == 2


def test_ctrl_c_ends_the_following_not_the_job(mlcli, interrupt):
    wait, gate = held(mlcli.cwd)
    name = create(mlcli, f"echo 'metric: loss=2'; {wait}", "-n", "live")
    with mlcli.start("run", "metrics", name, "--follow") as follower:
        follower.stdout.readline()
        interrupt(follower)
        assert follower.wait(60) == 130
    gate.touch()
    assert mlcli("job", "wait", name).code == 0


def runs(mlcli: Mlcli) -> None:
    (mlcli.cwd / "src").mkdir()
    script = mlcli.cwd / "src" / "train.py"
    for name, lr, accuracy in (("low", "0.01", 0.8), ("mid", "0.1", 0.95), ("high", "1", "NaN")):
        script.write_text(f"same\nlr = {lr}\n")
        points = [*curve("accuracy", [0.1, accuracy]), *curve("loss", [1.0, 0.5])]
        logged(
            mlcli,
            name,
            *points,
            params={"lr": lr, "model": "gbm"},
            experiment_name="iris",
            code="src",
            inputs={"lr": lr},
        )
    finished(mlcli, "true", "-n", "silent", experiment_name="iris")


def names(mlcli: Mlcli, *flags: str) -> list[str]:
    done = mlcli("run", "list", "-e", "iris", *flags)
    assert done.code == 0, done.stderr
    return [row["name"] for row in done.json]


def test_leaderboards(mlcli):
    runs(mlcli)
    assert names(mlcli, "--sort", "metrics.accuracy") == ["mid", "low", "high", "silent"]  # the best first
    assert names(mlcli, "--sort", "metrics.accuracy ASC")[:2] == ["low", "mid"]
    assert names(mlcli, "--sort", "params.lr")[:3] == ["low", "mid", "high"]
    assert names(mlcli, "--sort", "params.lr", "--desc")[:3] == ["high", "mid", "low"]
    assert names(mlcli, "--filter", "metrics.accuracy > 0.7 and params.lr < 0.05") == ["low"]
    assert names(mlcli, "--filter", "status = 'FINISHED'", "--sort", "created", "--last", "2") == ["low", "mid"]
    assert mlcli("job", "list", "-e", "other", "--sort", "metrics.accuracy").json == []
    table = mlcli(
        "job", "list", "-e", "iris", "--sort", "metrics.accuracy", "--filter", "params.lr < 0.5", "-o", "table"
    )
    assert table.stdout.splitlines()[0].split() == ["Name", "Status", "accuracy", "lr", "Experiment", "Created", "on"]
    assert table.stdout.splitlines()[2].split()[:4] == ["mid", "Completed", "0.95", "0.1"]
    board = mlcli("run", "list", "-e", "iris", "--sort", "metrics.accuracy", tty=True).stdout
    assert board.index("mid") < board.index("low")
    record = mlcli("job", "list", "-e", "iris", "--filter", "run_name = 'mid'").json[0]
    assert record["metrics"] == {"accuracy": 0.95, "loss": 0.5}
    assert record["params"] == {"lr": "0.1", "model": "gbm"}


def test_a_filter_that_is_wrong_is_pointed_at(mlcli):
    refused = mlcli("job", "list", "--filter", "metrics.accuracy >> 3")
    assert refused.code == 2
    assert refused.stderr.startswith("error: --filter: metrics.accuracy is compared with a number, not with >\n")
    assert "\n  metrics.accuracy >> 3\n                    ^\n" in refused.stderr
    assert mlcli("job", "list", "--sort", "metrics.accuracy DOWN").code == 2


def test_runs_side_by_side(mlcli):
    runs(mlcli)
    rows = mlcli("run", "compare", "low", "mid").json
    by_name = {(row["kind"], row["name"]): row for row in rows}
    assert by_name["param", "lr"] == {
        "kind": "param", "name": "lr", "differs": True, "values": {"low": "0.01", "mid": "0.1"},
    }  # fmt: skip
    assert by_name["param", "model"]["differs"] is False
    assert by_name["metric", "accuracy"]["values"] == {"low": 0.8, "mid": 0.95}
    assert by_name["input", "lr"]["differs"] is True
    assert by_name["code", "train.py"]["differs"] is True
    kinds = [row["kind"] for row in rows]
    assert kinds == sorted(kinds, key=list(dict.fromkeys(kinds)).index)
    assert [row["differs"] for row in rows if row["kind"] == "param"] == [True, False]
    differing = mlcli("run", "compare", "low", "mid", "silent", "--only-differences").json
    assert all(row["differs"] for row in differing)
    assert ("param", "model") in {(row["kind"], row["name"]) for row in differing}
    table = mlcli("run", "compare", "low", "mid", "-o", "csv").stdout.splitlines()
    assert table[0] == "Kind,Name,Differs,low,mid"
    assert "param,lr,*,0.01,0.1" in table
    seen = mlcli("run", "compare", "low", "mid", tty=True).stdout
    assert "Parameters" in seen
    assert "Files that differ" in seen
    diff = mlcli("run", "compare", "low", "mid", "silent", "--diff").stdout
    assert "--- low/train.py\n+++ mid/train.py\n@@ -1,2 +1,2 @@\n same\n-lr = 0.01\n+lr = 0.1\n" in diff
    assert "+++ /dev/null\n" in diff
    assert mlcli("run", "compare", "low").code == 2
    assert mlcli("run", "compare", "low", "nobody").code == 3


def test_curves_in_the_terminal(mlcli):
    runs(mlcli)
    drawn = mlcli("run", "plot", "low", "mid", "-m", "loss")
    assert drawn.code == 0, drawn.stderr
    assert drawn.stdout.startswith("loss by step\n")
    assert re.search("[\u2801-\u28ff]", drawn.stdout)
    assert "low  last 0.5\n" in drawn.stdout
    assert "\x1b" not in drawn.stdout
    every = mlcli("run", "plot", "low", tty=True).stdout
    assert "accuracy by step" in every
    assert "loss by step" in every
    assert "\x1b[" in every
    assert mlcli("run", "plot", "low", "-m", "loss", "--log", "-x", "time").stdout.startswith("loss by seconds")
    assert mlcli("run", "plot", "low", "-x", "sideways").code == 2
    partly = mlcli("run", "plot", "silent", "mid", "-m", "accuracy")
    assert (partly.code, "silent" in partly.stderr) == (0, True)
    nan = logged(mlcli, "nan", ["bad", "NaN", 0, 0], ["bad", "Infinity", 1, 0])
    assert "nothing to plot" in mlcli("run", "plot", nan).stderr


@pytest.mark.parametrize(
    ("suffix", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("html", b"<!DOCTYPE html>"), ("pdf", b"%PDF")]
)
def test_curves_in_a_file(mlcli, suffix, start):
    logged(mlcli, "calm", *curve("lo$s$ <&>_{", [3.0, "NaN", 1.0]), *curve("数", [1.0]))
    target = mlcli.cwd / f"curves.{suffix}"
    drawn = mlcli("run", "plot", "calm", "-m", "*", "--to", target)
    assert (drawn.code, drawn.stdout) == (0, ""), drawn.stderr
    assert drawn.stderr == f"written: {target}\n"
    assert target.read_bytes().startswith(start)
    if suffix == "html":
        assert "<td>lo$s$ &lt;&amp;&gt;_{</td><td>calm</td><td>1</td>" in target.read_text()


def test_a_file_that_cannot_be_drawn(mlcli):
    logged(mlcli, "calm", *curve("loss", [3.0, 1.0]))
    assert mlcli("run", "plot", "calm", "--to", "curves.gif").code == 2
    refused = mlcli("run", "plot", "calm", "--to", "nowhere/curves.png")
    assert refused.code == 2
    assert "there is no folder" in refused.stderr
    without = mlcli("run", "plot", "calm", env={"PYTHONPATH": str(_hidden(mlcli.cwd, "plotille"))})
    assert without.code == 1
    assert "pip install 'mlcli[plot]'" in without.stderr


def _hidden(folder: Path, package: str) -> Path:
    """A folder for PYTHONPATH with which a package is as if it were not installed."""
    place = folder / "hidden"
    place.mkdir()
    (place / f"{package}.py").write_text(f"raise ModuleNotFoundError('no', name={package!r})\n")
    return place


def test_experiments(mlcli):
    runs(mlcli)
    made = mlcli("experiment", "create", "later", "--description", "Next spring", "--tags", "team=vision").json
    assert (made["runs"], made["description"], made["tags"]) == (0, "Next spring", {"team": "vision"})
    assert mlcli("experiment", "create", "later", "--description", "Next spring", "--tags", "team=vision").code == 0
    assert mlcli("experiment", "create", "later").code == 1
    assert [one["name"] for one in mlcli("experiment", "list").json] == ["later", "iris"]
    shown = mlcli("experiment", "show", "-n", "iris").json
    assert (shown["runs"], shown["status"]) == (4, {"Completed": 4})
    assert mlcli("experiment", "archive", "iris").code == 0
    assert [one["name"] for one in mlcli("experiment", "list").json] == ["later"]
    assert [one["name"] for one in mlcli("experiment", "list", "--archived-only").json] == ["iris"]
    assert len(names(mlcli)) == 4
    assert mlcli("experiment", "restore", "iris").code == 0
    assert "iris" in mlcli("experiment", "list", tty=True).stdout
    refused = mlcli("experiment", "show", "irsi")
    assert refused.code == 3
    assert "did you mean iris?" in refused.stderr


def test_tensorboard_without_event_files_says_so(mlcli):
    name = finished(mlcli, "true", "-n", "calm")
    refused = mlcli("run", "monitor-tensorboard", "-r", name)
    assert refused.code == 1
    assert "no TensorBoard event files" in refused.stderr


@pytest.mark.slow
def test_tensorboard_serves_the_runs_events(mlcli, interrupt):
    import httpx

    events = write_events(mlcli.cwd / "events", [("loss", 3, 0.25)])
    name = finished(mlcli, f"cp {events} logs/", "-n", "calm")
    copies = mlcli.cwd / "copies"
    with mlcli.start("run", "monitor-tensorboard", "-r", name, "--local-directory", copies) as board:
        said = ""
        while "http://" not in said:
            line = board.stderr.readline().decode()
            assert line, said
            said += line
        address = re.search(r"http://\S+?:(\d+)", said)
        assert address is not None
        url = f"http://127.0.0.1:{address[1]}/data/plugin/scalars/tags"
        deadline = time.monotonic() + 60
        while "loss" not in httpx.get(url).text:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        interrupt(board)
        assert board.wait(30) == 0
    assert [file.name for file in copies.iterdir()] == [events.name]


def test_what_took_long_to_find_is_kept(mlcli):
    name = logged(mlcli, "calm", *curve("loss", [*range(2, 2000), 0.5]))
    folder = Path(mlcli("job", "show", name).json["folder"])
    assert json.loads((folder / "tracked.json").read_text())["complete"] is True
    (folder / "metrics.jsonl").write_text("")
    assert mlcli("job", "show", name).json["metrics"]["loss"]["last"] == 0.5
    (folder / "tracked.json").write_text("{")
    assert mlcli("job", "show", name).json["metrics"] == {}


def test_a_leaderboard_remembers_ended_runs_and_forgets_deleted_ones(mlcli):
    for name in ("first", "second"):
        logged(mlcli, name, *curve("loss", [0.5]), experiment_name="iris")
    shelf = mlcli.home / "workspaces" / "default" / "tracked.jsonl"
    kept = [json.loads(line) for line in shelf.read_text().splitlines() if line]
    assert [one["name"] for one in kept] == ["first", "second"], "each was put there when its end was seen"
    (shelf.parent / "runs" / "first" / "metrics.jsonl").write_text("")
    assert names(mlcli, "--filter", "metrics.loss = 0.5") == ["second", "first"]
    assert mlcli("job", "delete", "first", "--yes").code == 0
    logged(mlcli, "first", *curve("loss", [0.25]), experiment_name="iris")
    assert names(mlcli, "--filter", "metrics.loss = 0.25") == ["first"]
    shelf.write_text('{"version": 1, "name": "first", "met')
    assert names(mlcli, "--sort", "metrics.loss") == ["first", "second"]
    assert len(shelf.read_text().splitlines()) == 3, "what was torn stays, and both are there again"


def test_the_machine_s_own_tracking_server_is_read_back(mlcli, tmp_path):
    server = Endpoint(tmp_path / "server")
    server.start()
    there = {"MLFLOW_TRACKING_URI": f"http://ada:geheim@127.0.0.1:{server.port}", "MLFLOW_TRACKING_TOKEN": TOKEN}
    try:
        file = job_file(mlcli.cwd, "echo metric: printed=1")
        assert mlcli("job", "create", "-f", file, "-n", "calm", "--stream", env=there).code == 0
        logged_there = server.create_run(tags=[{"key": "mlcli.run", "value": "calm"}])
        server.metric("loss", 0.5, run_id=logged_there)
        folder = mlcli.home / "workspaces" / "default" / "runs" / "calm"
        assert "geheim" not in (folder / "tracking.json").read_text()
        shown = mlcli("run", "metrics", "calm", env={"MLFLOW_TRACKING_TOKEN": "wrong"})
        assert ([row["name"] for row in shown.json], shown.code) == (["printed"], 0)
        assert "401" in shown.stderr, "what was printed is shown, and why there is no more"
        rows = mlcli("run", "metrics", "calm", env={"MLFLOW_TRACKING_TOKEN": TOKEN}).json
        assert [(row["name"], row["source"]) for row in rows] == [("loss", "mlflow"), ("printed", "printed")]
    finally:
        server.close()
