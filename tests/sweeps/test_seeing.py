"""Seeing a sweep: plots in the terminal and in files, and the study that optuna-dashboard opens."""

from __future__ import annotations

import math
import random
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import optuna
import pytest
from optuna.storages import JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from sqlalchemy.pool import NullPool

from mlcli.cli import sweep_plots
from mlcli.cli.plots import needed
from mlcli.domain.distributions import Choice, Randint, SearchSpace, Uniform
from mlcli.domain.errors import MlcliError, UnsupportedError, UsageError
from mlcli.domain.run import Run
from mlcli.domain.state import Reason, State
from mlcli.domain.sweep import Goal, Objective, Search, Trial
from mlcli.domain.trials import Attempt
from mlcli.operations import sweep_study
from mlcli.operations.sweep_report import Report
from mlcli.operations.trials import load_attempts
from mlcli.workspace import open_workspace
from tests.sweeps.conftest import Sweeps

SPACE = SearchSpace(
    {
        "rate": Uniform(-5, -1, 10),
        "a_{rate}$^$": Uniform(0, 1),
        "model": Choice(("linear", SearchSpace({"kind": "tree", "depth": Randint(9)}))),
    }
)
SQUARE = "x=${{search_space.x}}; echo metric: loss=$(( (x - 2) * (x - 2) ))"


def report(count: int, space: SearchSpace = SPACE, reasons: dict[int, Reason] | None = None) -> Report:
    """A sweep whose metric is how far log10(rate) is from -3."""
    source, attempts = random.Random(3), []
    for number in range(count):
        values = space.at(tuple(source.random() for _ in range(space.dimensions)))
        rate = values.get("rate", 0.1)
        assert isinstance(rate, float)
        reason = (reasons or {}).get(number, Reason.COMPLETED)
        trial = Trial(number, values, (abs(math.log10(rate) + 3),), reason.state)
        attempts.append(Attempt(trial, f"s_{number}", reason=reason, started_at=1e9, ended_at=1e9 + 1))
    run = Run("s", "e", "local", "local", 1e9, state=State.COMPLETED)
    return Report(run, Search(space, Objective("loss\x1b[31m", Goal.MINIMIZE)), (), tuple(attempts))


# In the terminal


def test_what_the_terminal_shows():
    of = report(20, reasons={3: Reason.EARLY_TERMINATION, 4: Reason.COMMAND_FAILED})
    seen = sweep_plots.look(of)
    best = min((one for one in of.attempts if one.reason is Reason.COMPLETED), key=lambda one: one.trial.metrics)

    history = sweep_plots.drawn(seen, "history")
    assert f"best so far, at last {best.trial.metrics[0]:.6g} (trial {best.trial.number})" in history
    assert ("18 trials" in history, "1 stopped early" in history) == (True, True)
    assert history.count("•") > 10

    assert set(seen.own) == {"model.depth"}
    slices = sweep_plots.drawn(seen, "slice")
    assert f"the best, {best.trial.values['rate']:.6g}" in slices
    assert re.search(r"over model\n +trials +best +median\n  (linear|kind=tree, depth) +\d+", slices)
    assert "over model.depth" in slices

    parallel = sweep_plots.drawn(seen, "parallel")
    assert re.search(r"\| 0 +1 +2 +3", parallel)
    assert "3  model  linear, kind=tree, depth" in parallel

    importance = sweep_plots.drawn(seen, "importance")
    rows = [line.split() for line in importance.splitlines()[1:]]
    assert rows[0][0] == "rate"
    assert sum(float(row[-1]) for row in rows) == pytest.approx(1, abs=0.02)
    assert "\x1b" not in history + slices + parallel + importance


def test_there_may_be_little_to_draw():
    one = sweep_plots.look(report(1))
    for kind in ("history", "slice", "parallel"):
        assert "loss" in sweep_plots.drawn(one, kind)
    with pytest.raises(MlcliError, match="too few trials"):
        sweep_plots.drawn(one, "importance")
    with pytest.raises(MlcliError, match=r"nothing to plot.*2 trials: 2 failed"):
        sweep_plots.look(report(2, reasons={0: Reason.COMMAND_FAILED, 1: Reason.COMMAND_FAILED}))
    far = one.study.get_trials()[0]
    attempt = Attempt(Trial(0, dict(far.params), (-1.7e308,), State.COMPLETED), "s_0", reason=Reason.COMPLETED)
    with pytest.raises(MlcliError, match=r"reach 1.7e\+308, too far to be drawn"):
        sweep_plots.look(replace(report(1), attempts=(attempt,)))
    with pytest.raises(UnsupportedError, match="plotting needs the package 'not_there'") as refused, needed():
        import not_there  # type: ignore[import-not-found]  # noqa: F401
    assert refused.value.hint == "pip install 'mlcli[plot]'"


# In a file


def test_files_are_of_their_kind_and_say_what_is_what():
    seen = sweep_plots.look(report(8))
    drawing = ET.fromstring(sweep_plots.file(seen, "slice", "svg"))
    assert drawing.tag.endswith("svg")
    assert "rate" in "".join(drawing.itertext())
    assert sweep_plots.file(seen, "importance", "png").startswith(b"\x89PNG")
    page = sweep_plots.file(seen, "parallel", "html").decode()
    assert ("Plotly.newPlot(" in page, '"rate"' in page, "<script src" in page) == (True, True, False)


# At the command line


def test_a_sweep_is_exported_while_it_runs_and_plotted_afterwards(sweeps: Sweeps, monkeypatch):
    """Trials 0 and 2 complete, 1 fails, 3 waits for a file; 4 logs what is no number."""
    go, home = sweeps.mlcli.cwd / "go", sweeps.mlcli.cwd
    command = (
        f"{SQUARE}; case $x in 1) exit 3;; 3) until [ -e {go} ]; do sleep 0.02; done; echo metric: loss=0.5;; "
        "4) echo metric: loss=nan;; esac"
    )
    sweeps.begin(sweeps.file(command, {"x": {"type": "choice", "values": [0, 1, 2, 3, 4]}}))
    monkeypatch.setenv("MLCLI_HOME", str(sweeps.mlcli.home))
    services = open_workspace("default")

    def exported(name: str) -> tuple[int, int, int]:
        done = sweep_study.export(services, services.runs.get("s"), home / name)
        return done.trials, done.added, done.updated

    ended = {State.COMPLETED, State.FAILED}
    sweeps.until(lambda: sum(one.trial.state in ended for one in load_attempts(services.runs, "s")) == 4)
    first = sweeps.mlcli("sweep", "export", "-n", "s", "--to", "study.db")
    assert first.json == {"study": "s", "path": "study.db", "trials": 5, "added": 5, "updated": 0}
    assert "optuna-dashboard sqlite:///study.db" in first.stderr
    assert exported("study.log") == (5, 5, 0)
    with _study(home / "study.db") as study:
        running = [trial.state.name for trial in study.trials]
        assert running == ["COMPLETE", "FAIL", "COMPLETE", "RUNNING", "COMPLETE"]
    go.touch()
    assert sweeps.wait()["sweep"]["best_trial"] == "s_2"

    for name in ("study.db", "study.log"):
        assert exported(name) == (5, 0, 1)
        assert exported(name) == (5, 0, 0)
        with _study(home / name) as study:
            assert (study.direction.name, study.metric_names) == ("MINIMIZE", ["loss"])
            assert [trial.params["x"] for trial in study.trials] == [0, 1, 2, 3, 4]
            assert [trial.value for trial in study.trials] == [4.0, None, 0.0, 0.5, 4.0]
            assert study.trials[3].intermediate_values == {1: 1.0, 2: 0.5}
            assert (study.best_trial.number, study.best_trial.user_attrs["name"]) == (2, "s_2")
            assert study.trials[1].user_attrs["status_message"].endswith("exited with code 3")
            study.add_trial(optuna.create_trial(state=TrialState.FAIL))
        assert exported(name) == (5, 5, 0), "what is not as it was is written anew"

    # What is not ours stays as it is.
    with closing(sqlite3.connect(home / "other.db")) as database:
        database.execute("CREATE TABLE mine (x)")
    for name, data in (("notes.db", b"my notes"), ("notes.log", b"my notes\n"), ("notes.txt", b"")):
        (home / name).write_bytes(data)
        with pytest.raises(UsageError, match=r"no storage of Optuna's|does not tell"):
            exported(name)
        assert (home / name).read_bytes() == data
    with pytest.raises(UsageError, match="no storage of Optuna's"):
        exported("other.db")
    with closing(sqlite3.connect(home / "begun.db")) as database:  # a full disk, the second time with room
        database.execute(
            "CREATE TABLE studies (study_id INTEGER NOT NULL PRIMARY KEY, study_name VARCHAR(512) NOT NULL)"
        )
    assert exported("begun.db") == (5, 5, 0)
    with _study(home / "theirs.db", make="s"), pytest.raises(MlcliError, match="not of this sweep"):
        exported("theirs.db")
    with pytest.raises(UsageError, match="there is no folder"):
        exported("nowhere/study.db")

    shown = sweeps.mlcli("sweep", "plot", "-n", "s", env={"COLUMNS": "80"})
    assert shown.code == 0, shown.stderr
    assert "best so far, at last 0 (trial 2)" in shown.stdout
    assert max(map(len, shown.stdout.splitlines())) <= 80
    drawn = sweeps.mlcli("sweep", "plot", "-n", "s", "--kind", "slice", "--to", "slice.svg")
    assert "written: slice.svg" in drawn.stderr
    assert b"<svg" in (home / "slice.svg").read_bytes()
    for arguments, said in (
        (("--kind", "contour"), "one of history, parallel, slice, importance"),
        (("--to", "x.bmp"), "end it in .png, .svg, .pdf or .html"),
    ):
        refused = sweeps.mlcli("sweep", "plot", "-n", "s", *arguments)
        assert (refused.code, said in refused.stderr) == (2, True)


@contextmanager
def _study(path: Path, make: str | None = None) -> Iterator[optuna.Study]:
    """The one study of a file, as everybody opens it."""
    if path.suffix == ".log":
        yield optuna.load_study(study_name=None, storage=JournalStorage(JournalFileBackend(str(path))))
        return
    storage = RDBStorage(f"sqlite:///{path}", engine_kwargs={"poolclass": NullPool})
    if make is not None:
        optuna.create_study(study_name=make, storage=storage)
    yield optuna.load_study(study_name=None, storage=storage)
    storage.remove_session()
