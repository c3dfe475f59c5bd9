"""What sweeps take over from earlier ones: finished trials, and what a sampler learns from them."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlcli.domain.state import Reason, State
from mlcli.domain.sweep import Trial
from mlcli.domain.trials import Attempt
from mlcli.operations.trials import Journal
from tests.conftest import Result
from tests.sweeps.conftest import Sweeps

LOSS = (
    "x=${{search_space.x}}; cat ${{inputs.data}} > /dev/null; echo metric: loss=$x; mkdir outputs; echo $x > outputs/x"
)


def create(sweeps: Sweeps, file: Path, name: str, *more: str) -> Result:
    """Create it and follow it to its end."""
    done = sweeps.mlcli("job", "create", "-f", file, "-n", name, "--stream", "-o", "none", *more)
    assert done.code == 0, done.stderr
    return done


def reused(sweeps: Sweeps, name: str) -> list[str]:
    """The trials that were not made again, by the run that they were taken from."""
    return [one["name"] for one in sweeps.trials(name) if one["reused"]]


def test_a_finished_trial_of_the_same_is_not_made_again(sweeps: Sweeps):
    data = sweeps.mlcli.cwd / "data.txt"
    data.write_text("1\n")
    inputs = {"data": {"type": "uri_file", "path": "data.txt"}}
    fails = f"{LOSS}; [ $x != 1 ] || [ -e {sweeps.mlcli.cwd}/mended ]"
    file = sweeps.file(fails, inputs=inputs, limits={"max_total_trials": 3})
    create(sweeps, file, "first", "--reuse")
    assert sweeps.ran() == ["first_0", "first_1", "first_2"]

    (sweeps.mlcli.cwd / "mended").touch()
    done = create(sweeps, file, "second", "--reuse", "--set", "limits.max_total_trials=4")
    assert reused(sweeps, "second") == ["first_0", "first_2"]
    assert "trial 0  Completed  loss=0  x=0  best so far  (reused from first_0)" in done.stdout
    assert sweeps.show("second")["status_message"] == "4 trials: 2 reused, 2 completed"
    assert [run for run in sweeps.ran() if run.startswith("second")] == ["second_1", "second_3"]
    assert [one["metric"] for one in sweeps.trials("second")] == [0, 1, 2, 3]
    assert sweeps.mlcli("sweep", "trials", "-n", "second", tty=True).stdout.count("Completed (reused)") == 2
    assert sweeps.mlcli("sweep", "best", "-n", "second").json["name"] == "first_0"
    assert sweeps.mlcli("job", "download", "-n", "second").code == 0
    assert (sweeps.mlcli.cwd / "second" / "outputs" / "x").read_text() == "0\n"
    assert sweeps.mlcli("job", "download", "-n", "second", "--all").code == 0
    for number, run in enumerate(("first_0", "second_1", "first_2", "second_3")):
        assert (sweeps.mlcli.cwd / "second" / run / "outputs" / "x").read_text() == f"{number}\n"

    data.touch()
    create(sweeps, file, "touched", "--reuse")
    assert len(reused(sweeps, "touched")) == 3
    create(sweeps, file, "unasked")
    data.write_text("2\n")
    create(sweeps, file, "data", "--reuse")
    data.write_text("1\n")
    create(sweeps, file, "variable", "--reuse", "--set", "trial.environment_variables.A=1")
    for other in ("unasked", "data", "variable"):
        assert reused(sweeps, other) == []


def test_within_one_sweep_no_value_is_tried_twice_and_changed_inputs_end_it(sweeps: Sweeps):
    data = sweeps.mlcli.cwd / "data.txt"
    data.write_text("1\n")
    space = {"x": {"type": "choice", "values": [3]}}
    changes = f"{LOSS}; [ $AZUREML_RUN_ID != c_0 ] || echo 2 >> {data}"
    limits = {"max_total_trials": 4, "max_concurrent_trials": 1}
    inputs = {"data": {"type": "uri_file", "path": "data.txt"}}
    file = sweeps.file(changes, space, inputs=inputs, limits=limits, sampling_algorithm="random")
    create(sweeps, file, "s", "--reuse")
    assert reused(sweeps, "s") == ["s_0"] * 3
    assert [one["best"] for one in sweeps.trials("s")] == [True, False, False, False]
    create(sweeps, file, "c", "--reuse", "--set", "trial.environment_variables.B=1", "limits.max_total_trials=2")
    assert reused(sweeps, "c") == []
    create(sweeps, file, "d", "--reuse", "--set", "trial.environment_variables.B=1", "limits.max_total_trials=1")
    assert reused(sweeps, "d") == []


def test_an_output_with_a_place_of_its_own_and_a_plain_job_are_told(sweeps: Sweeps):
    place = {"o": {"type": "uri_folder", "path": str(sweeps.mlcli.cwd / "there")}}
    file = sweeps.file("echo ${{search_space.x}} ${{outputs.o}}", outputs=place)
    plan = sweeps.mlcli("job", "create", "-f", file, "--dry-run", "--reuse").json
    assert plan["reuse"] is True
    assert plan["notices"] == [
        "--reuse: nothing is reused, as output 'o' has a place of its own to which each trial writes"
    ]
    (sweeps.mlcli.cwd / "job.yml").write_text("command: echo hi\nenvironment: current\n")
    for flags in (("--reuse",), ("--warm-start", "s")):
        refused = sweeps.mlcli("job", "create", "-f", "job.yml", *flags)
        assert refused.code == 2
        assert "--reuse and --warm-start are for sweeps" in refused.stderr


def test_the_journal_keeps_what_was_reused(tmp_path: Path):
    trial = Trial(4, {"x": 1}, (0.5, float("inf")), State.COMPLETED)
    one = Attempt(trial, "old_7", 0, Reason.COMPLETED, "reused from old_7", names=frozenset({"m"}), reused=True)
    Journal(tmp_path).reused(one, 1.0)
    assert Journal(tmp_path).attempts == {4: one}


# Warm start


def test_a_sampler_is_told_of_earlier_trials(sweeps: Sweeps):
    pytest.importorskip("optuna")
    space = {"x": {"type": "uniform", "min_value": 0, "max_value": 1}}
    command = "echo metric: loss=$AZUREML_SWEEP_x # ${{search_space.x}}"
    seeded = {"type": "random", "seed": 1}
    create(sweeps, sweeps.file(command, space, sampling_algorithm=seeded, limits={"max_total_trials": 11}), "old")
    narrow = {"x": {"type": "uniform", "min_value": 0, "max_value": 0.9}}
    outside = [one["name"] for one in sweeps.trials("old") if one["values"]["x"] > 0.9]
    assert 0 < len(outside) < 2, "the seed is to give ten that lie inside"

    model = {"type": "bayesian", "seed": 1}
    file = sweeps.file(command, narrow, sampling_algorithm=model, limits={"max_total_trials": 2})
    cold, warm = (
        sweeps.mlcli("job", "create", "-f", file, "-n", "new", "--dry-run", *more).json
        for more in ((), ("--warm-start", "old", "--warm-start", "old"))
    )
    assert (len(cold["warm_start"]), len(warm["warm_start"])) == (0, 10)
    assert warm["notices"] == ["warm start from old: 10 of 11 completed trials lie in the search space"]
    create(sweeps, file, "new", "--warm-start", "old")
    assert sweeps.show("new")["status_message"] == "2 trials: 2 completed"
    assert warm["notices"][0] in sweeps.show("new")["notices"]
    begun = [one["values"]["x"] for one in sweeps.trials("new")]
    first = {
        name: float(plan["first_trial"]["environment_variables"]["AZUREML_SWEEP_x"])
        for name, plan in (("c", cold), ("w", warm))
    }
    assert first["w"] == begun[0]
    assert first["c"] != begun[0]
    sweeps.mlcli("job", "delete", "-n", "old", "--yes")
    done = sweeps.mlcli("job", "resume", "-n", "new", "--set", "limits.max_total_trials=3", "-o", "none")
    assert done.code == 0, done.stderr
    assert sweeps.wait("new")["status_message"] == "3 trials: 3 completed"


def test_a_warm_start_from_what_has_nothing_to_say_is_refused(sweeps: Sweeps):
    file = sweeps.file("echo metric: loss=${{search_space.x}}", limits={"max_total_trials": 1})
    create(sweeps, file, "old")

    def told(start: str, *more: str) -> tuple[int, str]:
        done = sweeps.mlcli("job", "create", "-f", file, "-n", "new", "--warm-start", start, *more)
        return done.code, done.stderr

    assert told("nobody")[0] == 3
    assert "is a command job, not a sweep" in told("old_0")[1]
    assert "a sweep cannot start from itself" in told("new")[1]
    code, why = told("old", "--set", "objective.primary_metric=accuracy")
    assert (code, "it is about the metric 'loss', and this sweep about 'accuracy'" in why) == (1, True)
    assert "grid sampling learns nothing from earlier trials" in told("old", "--dry-run")[1] + str(
        sweeps.mlcli("job", "create", "-f", file, "--warm-start", "old", "--dry-run").json["notices"]
    )
    assert sweeps.mlcli("job", "list", "--query", "[].name").json == ["old"]
