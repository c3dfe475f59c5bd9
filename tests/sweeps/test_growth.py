"""Sweeps that are paused, that go on, and that grow beyond their end."""

from __future__ import annotations

import json
import threading
import time

import pytest

from mlcli.domain.run import Event
from mlcli.domain.state import Reason
from mlcli.operations.sweep_growth import running_s
from tests.sweeps.conftest import Sweeps

LOSS = "x=${{search_space.x}}; echo metric: loss=$x"
UNIFORM = {"x": {"type": "uniform", "min_value": 0, "max_value": 1}}


def resume(sweeps: Sweeps, *sets: str, name: str = "s", code: int = 0) -> str:
    """Resume it, with limits; what was said on standard error."""
    done = sweeps.mlcli("job", "resume", "-n", name, *(("--set", *sets) if sets else ()), "-o", "none")
    assert done.code == code, done.stderr
    return done.stderr


def pause(sweeps: Sweeps, code: int = 0, name: str = "s") -> str:
    done = sweeps.mlcli("job", "pause", "-n", name, "-o", "none")
    assert done.code == code, done.stderr
    return done.stderr


def is_driven(sweeps: Sweeps) -> bool:
    """Whether it has a supervisor."""
    from mlcli import agent

    return agent.is_alive(json.loads((sweeps.folder() / "supervisor.json").read_text()))


def test_only_the_time_in_which_it_runs_counts():
    history = [
        Event(reason, float(at)) for at, reason in enumerate((Reason.SUBMITTED, Reason.PREPARING, Reason.RUNNING))
    ]
    assert running_s(history[:2], 9.0) == 0
    assert running_s(history, 9.0) == 7
    history += [Event(Reason.PAUSED, 5.0), Event(Reason.RESUMED, 100.0), Event(Reason.RUNNING, 101.0)]
    assert running_s(history, 103.0) == 3 + 2
    assert running_s([*history, Event(Reason.COMPLETED, 104.0)], 999.0) == 3 + 3


@pytest.mark.parametrize("sampling", [{"type": "grid"}, {"type": "random", "seed": 5}])
def test_a_sweep_that_grows_tries_what_a_longer_one_would_have_tried(sweeps: Sweeps, sampling):
    space = None if sampling["type"] == "grid" else UNIFORM
    tried: list[dict[str, object]] = [{"x": number} for number in range(8)]
    if space is not None:
        sweeps.run(sweeps.file(LOSS, space, sampling_algorithm=sampling, limits={"max_total_trials": 8}), name="long")
        tried = [one["values"] for one in sweeps.trials("long")]
    sweeps.run(sweeps.file(LOSS, space, sampling_algorithm=sampling, limits={"max_total_trials": 4}))
    told = resume(sweeps, code=1)
    assert "has ended: 4 trials: 4 completed" in told
    assert "limits.max_total_trials=N, more than 4" in told
    assert "has ended" in resume(sweeps, "limits.max_total_trials=4", code=1)
    assert "cannot be less" in resume(sweeps, "limits.max_total_trials=3", code=1)

    resume(sweeps, "limits.max_total_trials=8", "limits.max_concurrent_trials=3")
    sweeps.kill_supervisor()
    shown = sweeps.wait()
    assert (shown["status"], shown["status_message"]) == ("Completed", "8 trials: 8 completed")
    assert shown["limits"] == {"max_total_trials": 8, "max_concurrent_trials": 3}
    assert shown["sweep"]["max_concurrent_trials"] == 3
    assert [one["values"] for one in sweeps.trials()] == tried
    assert [one["name"] for one in sweeps.trials()] == [f"s_{number}" for number in range(8)]
    assert [run for run in sweeps.ran() if run.startswith("s_")] == [f"s_{number}" for number in range(8)]
    if space is None:
        resume(sweeps, "limits.max_total_trials=40")
        assert sweeps.wait()["status_message"] == "10 trials: 10 completed"
        assert "all 10 combinations" in resume(sweeps, "limits.max_total_trials=50", code=1)


def test_what_a_limit_cannot_be_and_what_is_no_limit(sweeps: Sweeps):
    sweeps.run(sweeps.file(LOSS, limits={"max_total_trials": 1}))
    assert "must be between 1 and 1000, not 1001" in resume(sweeps, "limits.max_total_trials=1001", code=1)
    assert "--set limits.timeout: error" in resume(sweeps, "limits.max_total_trials=2", "limits.timeout=soon", code=1)
    other = resume(sweeps, "objective.goal=maximize", code=2)
    assert "cannot be changed of a sweep" in other
    assert "what can be: limits.max_total_trials, limits.max_concurrent_trials, limits.timeout, limits.trial" in other
    assert "did you mean 'max_total_trials'" in resume(sweeps, "limits.max_totl_trials=2", code=2)
    assert len(sweeps.trials()) == 1


def test_a_paused_sweep_begins_nothing_costs_nothing_and_goes_on(sweeps: Sweeps):
    gate = sweeps.mlcli.cwd / "gate"
    file = sweeps.file(f"{LOSS}; until [ -e {gate} ]; do sleep 0.02; done", limits={"max_total_trials": 5})
    sweeps.begin(file)
    sweeps.until(lambda: len(sweeps.ran()) == 2)
    pause(sweeps)
    pause(sweeps)
    assert sweeps.kill_supervisor()
    shown = sweeps.show()
    assert (shown["status"], shown["status_message"]) == ("Paused", "no trial is begun until: mlcli job resume -n s")
    sweeps.until(lambda: is_driven(sweeps))
    gate.touch()
    sweeps.until(lambda: not is_driven(sweeps))
    assert [one["status"] for one in sweeps.trials()] == ["Completed", "Completed"]
    assert sweeps.mlcli("job", "list", "--status", "Paused", "--query", "[].name").json == ["s"]
    assert not is_driven(sweeps)
    waited = sweeps.mlcli("job", "wait", "-n", "s", "--timeout", "1s")
    assert waited.code == 1
    assert "sweep s is paused: no trial is begun until: mlcli job resume -n s" in waited.stderr
    followed: list[str] = []
    follower = threading.Thread(target=lambda: followed.append(sweeps.mlcli("job", "stream", "-n", "s").stderr))
    follower.start()
    resume(sweeps, "limits.max_total_trials=4")
    assert sweeps.wait()["status_message"] == "4 trials: 4 completed"
    assert sweeps.ran() == [f"s_{number}" for number in range(4)]
    follower.join(30)
    assert len(followed) == 1
    assert "has ended, there is nothing to pause" in pause(sweeps, code=1)


def test_a_paused_sweep_is_resumed_while_its_trials_run_and_is_cancelled_when_none_does(sweeps: Sweeps):
    sweeps.begin(sweeps.file(f"{LOSS}; sleep 0.6", limits={"max_total_trials": 9, "max_concurrent_trials": 1}))
    sweeps.until(lambda: len(sweeps.ran()) == 1)
    pause(sweeps)
    time.sleep(0.2)
    resume(sweeps)
    sweeps.until(lambda: len(sweeps.ran()) == 2)
    pause(sweeps)
    sweeps.until(lambda: not is_driven(sweeps))
    assert len(sweeps.ran()) <= 3
    sweeps.mlcli("job", "cancel", "-n", "s")
    shown = sweeps.wait()
    assert (shown["status"], shown["status_reason"]) == ("Canceled", "canceled_by_user")
    assert {one["status"] for one in sweeps.trials()} == {"Completed"}


def test_a_cancelled_sweep_goes_on_with_the_trials_that_were_ended_with_it(sweeps: Sweeps):
    marker = sweeps.mlcli.cwd / "again"
    sweeps.begin(sweeps.file(f"{LOSS}; [ -e {marker} ] || [ $x -lt 1 ] || sleep 1000", limits={"max_total_trials": 4}))
    sweeps.until(lambda: len(sweeps.ran()) == 3)
    sweeps.mlcli("job", "cancel", "-n", "s")
    assert sweeps.wait()["status"] == "Canceled"
    assert [one["status_reason"] for one in sweeps.trials()] == ["completed", "sweep_ended", "sweep_ended"]
    marker.touch()
    threads = [threading.Thread(target=resume, args=(sweeps,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sweeps.kill_supervisor()
    shown = sweeps.wait()
    assert (shown["status"], shown["status_message"]) == ("Completed", "4 trials: 4 completed")
    assert [one["name"] for one in sweeps.trials()] == ["s_0", "s_1_1", "s_2_1", "s_3"]
    assert [one["values"]["x"] for one in sweeps.trials()] == [0, 1, 2, 3]


def test_a_sweep_out_of_time_or_given_up_gets_another_chance(sweeps: Sweeps):
    sweeps.run(sweeps.file(f"{LOSS}; [ $x = 0 ] || sleep 1000", limits={"timeout": 1, "max_total_trials": 2}))
    assert sweeps.show()["status_reason"] == "time_limit"
    assert "nothing is left" in resume(sweeps, code=1)
    told = resume(sweeps, "limits.timeout=100", "limits.trial_timeout=1")
    assert "limits.trial_timeout: warning[short-timeout]" in told
    assert sweeps.wait()["status_message"] == "2 trials: 1 completed, 1 cancelled"
    assert sweeps.trials()[1]["status_reason"] == "time_limit"

    marker = sweeps.mlcli.cwd / "mended"
    file = sweeps.file(f"{LOSS}; [ -e {marker} ]", limits={"max_total_trials": 5})
    sweeps.run(file, name="f", env={"MLCLI_SWEEP_FAILURES": "2"})
    failed = sweeps.show("f")
    assert (failed["status"], failed["status_reason"]) == ("Failed", "trials_failed")
    marker.touch()
    begun = len(sweeps.trials("f"))
    resume(sweeps, name="f")
    assert sweeps.wait("f")["status_message"] == f"5 trials: {begun} failed, {5 - begun} completed"


def test_limits_change_while_it_runs_and_only_sweeps_are_paused_and_resumed(sweeps: Sweeps):
    sweeps.begin(sweeps.file(f"{LOSS}; sleep 0.4", limits={"max_total_trials": 9, "max_concurrent_trials": 1}))
    sweeps.until(lambda: len(sweeps.ran()) == 1)
    resume(sweeps, "max_total_trials=3")
    assert sweeps.wait()["status_message"] == "3 trials: 3 completed"

    (sweeps.mlcli.cwd / "job.yml").write_text("command: echo hi\nenvironment: current\n")
    sweeps.mlcli("job", "create", "-f", "job.yml", "--name", "j", "--stream")
    assert "only a sweep can be paused" in pause(sweeps, name="j", code=2)
    assert "only a sweep can be resumed" in resume(sweeps, name="j", code=2)
    assert "there is no run 'nobody'" in pause(sweeps, name="nobody", code=3)
