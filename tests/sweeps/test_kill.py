"""kill -9 of a sweep's supervisor at any moment: no trial is run twice and none forgotten, and the values are those of an
undisturbed sweep.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

import pytest

from mlcli.domain.sweep import Trial
from mlcli.operations import observe
from mlcli.operations.sweep_submit import sampler_of
from mlcli.operations.trials import load_record
from mlcli.ports.sampling import EXHAUSTED
from mlcli.workspace import Workspace, open_workspace
from tests.sweeps.conftest import Sweeps

UNIFORM = {"x": {"type": "uniform", "min_value": 0, "max_value": 1}}


@pytest.fixture
def workspace(sweeps: Sweeps, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    for name, value in sweeps.mlcli.environment().items():
        monkeypatch.setenv(name, value)
    opened = open_workspace()
    yield opened
    for process in opened._supervisors:
        process.wait(30)  # type: ignore[attr-defined]


def undisturbed(workspace: Workspace, count: int) -> list[object]:
    """The values that a sweep with this one's search tries when nobody is killed."""
    search = load_record(workspace.runs, "s").parsed()
    sampler = sampler_of(search)
    trials: list[Trial] = []
    for number in range(count):
        values = sampler.ask(search.space, trials)
        assert values is not EXHAUSTED
        trials.append(Trial(number, values))
    return [trial.values for trial in trials]


def killed_often(sweeps: Sweeps, workspace: Workspace, kills: int, longest_s: float, seed: int) -> int:
    """Kill the supervisor, have it replaced, again and again; how often there was one to kill."""
    moments = random.Random(seed)
    killed = 0
    while killed < kills and not workspace.runs.get("s").state.is_end:
        time.sleep(moments.uniform(0, longest_s))
        killed += sweeps.kill_supervisor()
        observe.attend_sweep(workspace, "s")
    return killed


def check(sweeps: Sweeps, workspace: Workspace, count: int) -> None:
    shown = sweeps.wait()
    assert shown["status_message"] == f"{count} trials: {count} completed"
    trials = sweeps.trials()
    assert [trial["name"] for trial in trials] == [f"s_{number}" for number in range(count)]
    assert [trial["values"] for trial in trials] == undisturbed(workspace, count)
    assert sweeps.ran() == sorted(f"s_{number}" for number in range(count))
    assert all(trial["metric"] is not None for trial in trials)


@pytest.mark.parametrize("algorithm", ["random", "grid"])
def test_a_sweep_whose_supervisor_is_killed_a_few_times(sweeps: Sweeps, workspace: Workspace, algorithm: str):
    space = UNIFORM if algorithm == "random" else None
    command = "echo metric: loss=${{search_space.x}}; sleep 0.3"
    sweeps.begin(sweeps.file(command, space, sampling_algorithm={"type": algorithm, "seed": 3}))
    assert killed_often(sweeps, workspace, 3, 0.4, seed=5) >= 1
    check(sweeps, workspace, 10)


@pytest.mark.slow
def test_a_supervisor_killed_at_fifty_moments_of_a_hundred_trials(sweeps: Sweeps, workspace: Workspace):
    space = {"x": {"type": "choice", "values": list(range(100))}}
    limits = {"max_total_trials": 100, "max_concurrent_trials": 2}
    sweeps.begin(sweeps.file("echo metric: loss=${{search_space.x}}; sleep 0.2", space, limits=limits))
    killed = killed_often(sweeps, workspace, 50, 0.8, seed=11)
    check(sweeps, workspace, 100)
    assert killed >= 30


def test_commands_that_only_look_put_a_new_supervisor_in_the_place_of_a_dead_one(sweeps: Sweeps):
    sweeps.begin(sweeps.file("echo metric: loss=1; sleep 0.3", limits={"max_total_trials": 4}))
    sweeps.until(lambda: "s_0" in sweeps.ran())
    assert sweeps.kill_supervisor()
    sweeps.mlcli("job", "show", "-n", "s_0")
    shown = sweeps.until(lambda: (record := sweeps.mlcli("job", "list").json[0])["status"] == "Completed" and record)
    assert shown["name"] == "s"
    assert sweeps.ran() == [f"s_{number}" for number in range(4)]


def test_resume_goes_on_and_says_when_there_is_nothing_to_go_on_with(sweeps: Sweeps):
    sweeps.begin(sweeps.file("echo metric: loss=1; sleep 0.3", limits={"max_total_trials": 3}))
    sweeps.until(lambda: "s_0" in sweeps.ran())
    assert sweeps.kill_supervisor()
    assert sweeps.mlcli("job", "resume", "-n", "s").code == 0
    sweeps.until(lambda: len(sweeps.ran()) == 3)
    assert sweeps.wait()["status"] == "Completed"
    done = sweeps.mlcli("job", "resume", "-n", "s")
    assert done.code == 1
    assert "has ended: 3 trials: 3 completed" in done.stderr
    freed = sweeps.mlcli("job", "delete", "-n", "s", "--yes")
    assert freed.code == 0, freed.stderr
    assert not list(sweeps.folder().parent.glob("s*"))
