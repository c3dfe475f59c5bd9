"""Sweeps at the command line: created, followed, looked at; and trials that do not do as they should."""

from __future__ import annotations

import csv
import io
import json
import os
import signal

import pytest

from tests.sweeps.conftest import Sweeps

SQUARE = "x=${{search_space.x}}; echo metric: loss=$(( (x - 6) * (x - 6) ))"


def test_a_sweep_from_its_file_to_its_best_trial(sweeps: Sweeps):
    file = sweeps.file(SQUARE + "; mkdir -p outputs; echo $x > outputs/x")
    done = sweeps.run(file)
    assert done.code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 10
    assert "trial 0  Completed  loss=36  x=0" in done.stdout
    assert any(line.startswith("trial 6  Completed  loss=0  x=6  best so far") for line in lines)

    shown = sweeps.show()
    assert (shown["status"], shown["type"]) == ("Completed", "sweep")
    assert shown["sweep"]["best_trial"] == "s_6"
    assert shown["sweep"]["best_values"] == {"x": 6}
    assert shown["status_message"] == "10 trials: 10 completed"
    assert sweeps.ran() == sorted(f"s_{number}" for number in range(10))

    trials = sweeps.trials()
    assert [trial["values"]["x"] for trial in trials] == list(range(10))
    assert [trial["metric"] for trial in trials] == [(x - 6) ** 2 for x in range(10)]
    table = sweeps.mlcli("sweep", "trials", "-n", "s", "--sort", "metric", "-o", "csv")
    rows = list(csv.DictReader(io.StringIO(table.stdout)))
    assert (rows[0]["Name"], rows[0]["x"], float(rows[0]["Metric"])) == ("s_6", "6", 0.0)

    child = sweeps.show("s_3")
    assert (child["parent_job_name"], child["type"], child["status"]) == ("s", "command", "Completed")
    assert "x=3" in child["resolved"]["command"]
    assert sweeps.mlcli("job", "stream", "-n", "s_3").output == b"metric: loss=9\n"

    assert sweeps.mlcli("job", "download", "-n", "s").code == 0
    assert (sweeps.mlcli.cwd / "s" / "outputs" / "x").read_text() == "6\n"
    assert sweeps.mlcli("job", "download", "-n", "s", "--all").code == 0
    assert (sweeps.mlcli.cwd / "s" / "s_2" / "outputs" / "x").read_text() == "2\n"


def test_the_list_shows_sweeps_and_their_trials_when_asked(sweeps: Sweeps):
    sweeps.run(sweeps.file(SQUARE, limits={"max_total_trials": 2}))
    assert sweeps.mlcli("job", "list", "--query", "[].name").json == ["s"]
    for asked in (("job", "list", "-p"), ("run", "list", "--parent")):
        assert sorted(sweeps.mlcli(*asked, "s", "--query", "[].name").json) == ["s_0", "s_1"]


def test_the_best_trial_as_a_job_of_its_own(sweeps: Sweeps):
    space = {"x": {"type": "choice", "values": [6]}, "word": {"type": "choice", "values": ["it's $HOME"]}}
    sweeps.run(sweeps.file(SQUARE + "; echo ${{search_space.word}}", space))
    assert sweeps.mlcli("sweep", "best", "-n", "s", "--save-as", "best.yml").json["values"] == {
        "x": 6,
        "word": "it's $HOME",
    }
    assert sweeps.mlcli("sweep", "best", "-n", "s", "--flags").stdout == """--x 6 --word 'it'"'"'s $HOME'\n"""
    done = sweeps.mlcli("job", "create", "-f", "best.yml", "--stream", "-o", "none")
    assert (done.code, done.stdout) == (0, "metric: loss=0\nit's $HOME\n")


def test_the_best_trials_job_has_what_the_trial_had_and_no_more(sweeps: Sweeps):
    """A value that its command does not name, an optional fragment of another option, parameters named like a column."""
    space = {
        "kind": {"type": "choice", "values": [{"depth": 6}, {"width": {"type": "choice", "values": [4]}}]},
        "seen": {"type": "choice", "values": [7]},
        "Name": {"type": "choice", "values": ["n"]},
    }
    command = (
        "echo metric: loss=1; echo $[[--depth ${{search_space.kind.depth}}]] $[[--width ${{search_space.kind.width}}]]"
    )
    sweeps.run(sweeps.file(f"{command}; env | grep SWEEP_seen; echo ${{{{search_space.Name}}}}", space))
    assert sweeps.mlcli("sweep", "best", "-n", "s", "--save-as", "best.yml").json["values"]["kind.depth"] == 6
    assert "search_space" not in (sweeps.mlcli.cwd / "best.yml").read_text()
    done = sweeps.mlcli("job", "create", "-f", "best.yml", "--stream", "-o", "none")
    assert done.stdout.splitlines() == ["metric: loss=1", "--depth 6", "AZUREML_SWEEP_seen=7", "n"], done.stderr
    table = sweeps.mlcli("sweep", "trials", "-n", "s", "-o", "csv").stdout.splitlines()
    assert table[0] == "Trial,Name,Status,Metric,kind.depth,seen,search_space.Name,kind.width,Took,Note"
    assert table[2].startswith("1,s_1,Completed,1.0,,7,n,4,")
    sweeps.mlcli("job", "delete", "-n", "s_0", "-y")
    assert "the best trial of sweep s was s_0, which is deleted" in sweeps.mlcli("job", "download", "-n", "s").stderr


def test_a_dry_run_shows_space_seed_limits_and_the_first_trial_and_makes_nothing(sweeps: Sweeps):
    space = {"x": {"type": "uniform", "min_value": 0, "max_value": 1}}
    file = sweeps.file("echo ${{search_space.x}} ${{inputs.n}}", space, sampling_algorithm="random", inputs={"n": 3})
    plan = sweeps.mlcli("job", "create", "-f", file, "--dry-run").json
    assert plan["search_space"] == space
    assert plan["sampling_algorithm"]["type"] == "random"
    assert 0 <= plan["sampling_algorithm"]["seed"] < 2**31
    first = plan["first_trial"]
    assert first["run"] == plan["run"] + "_0"
    variables = first["environment_variables"]
    assert f"echo {variables['AZUREML_SWEEP_x']} 3" in first["command"]
    assert (variables["AZUREML_ROOT_RUN_ID"], variables["AZUREML_RUN_ID"]) == (plan["run"], first["run"])
    assert variables["AZUREML_PARAMETER_n"] == "3"
    assert sweeps.mlcli("job", "list").json == []


def test_inputs_are_brought_once_and_code_and_outputs_are_each_trials_own(sweeps: Sweeps):
    (sweeps.mlcli.cwd / "src").mkdir()
    (sweeps.mlcli.cwd / "src" / "go.sh").write_text('cat "$1" > "$2/copy"; echo "metric: loss=$3"\n')
    (sweeps.mlcli.cwd / "data.txt").write_text("data\n")
    file = sweeps.file(
        "sh go.sh ${{inputs.data}} ${{outputs.kept}} ${{search_space.x}}",
        trial={"code": "src"},
        inputs={"data": {"type": "uri_file", "path": "data.txt", "mode": "download"}},
        outputs={"kept": {"type": "uri_folder"}},
        limits={"max_total_trials": 3},
    )
    done = sweeps.run(file)
    assert done.code == 0, done.stderr
    for number in range(3):
        assert (sweeps.folder(f"s_{number}") / "named-outputs" / "kept" / "copy").read_text() == "data\n"


# Trials that do not do as they should


def test_a_sweep_whose_every_trial_fails_gives_up_and_says_why(sweeps: Sweeps):
    file = sweeps.file("echo no such data >&2; exit 3")
    done = sweeps.run(file, env={"MLCLI_SWEEP_FAILURES": "3"})
    assert done.code == 1
    assert "trials failed before any completed" in done.stderr
    assert "exited with code 3" in done.stderr
    assert "\n  no such data\n" in done.stderr, "the last lines of the trial that failed last"
    assert "mlcli job stream -n s_" in done.stderr, "and where the whole log of it is"
    assert sweeps.show()["status_reason"] == "trials_failed"
    assert 3 <= len(sweeps.ran()) <= 4


def test_trials_that_fail_here_and_there_count_and_the_sweep_completes(sweeps: Sweeps):
    done = sweeps.run(sweeps.file(SQUARE + "; [ $((x % 3)) != 0 ]"))
    assert done.code == 0, done.stderr
    assert sweeps.show()["status_message"] == "10 trials: 4 failed, 6 completed"
    assert "trial 3  Failed" in done.stdout


@pytest.mark.parametrize(
    ("command", "warning", "told"),
    [
        (
            "true",
            "no trial logged 'loss', the primary metric; they logged no metrics",
            "it did not log 'loss'; it logged no metrics",
        ),
        (
            "echo metric: val_loss=1 acc=2",
            "no trial logged 'loss', the primary metric; they logged: acc, val_loss",
            "it did not log 'loss'; it logged: acc, val_loss",
        ),
        (
            "echo metric: loss=nan",
            "no trial logged a finite number as 'loss', the primary metric",
            "it logged no finite number as 'loss'",
        ),
    ],
)
def test_trials_that_log_nothing_or_something_else(sweeps: Sweeps, command, warning, told):
    done = sweeps.run(sweeps.file(command, limits={"max_total_trials": 2}))
    assert done.code == 0, done.stderr
    assert f"trial 1  Completed  no loss  x=1  ({told})" in done.stdout
    shown = sweeps.show()
    assert (shown["status"], shown["sweep"]["warning"]) == ("Completed", warning)
    assert warning in shown["status_message"]
    best = sweeps.mlcli("sweep", "best", "-n", "s")
    assert best.code == 3
    assert warning in best.stderr


def test_not_a_number_is_nobodys_best(sweeps: Sweeps):
    command = "[ ${{search_space.x}} = 1 ] && echo metric: loss=5 || echo metric: loss=nan"
    assert sweeps.run(sweeps.file(command, limits={"max_total_trials": 3})).code == 0
    assert sweeps.show()["sweep"]["best_trial"] == "s_1"
    assert [trial["metric"] for trial in sweeps.trials()] == [None, 5, None]


def test_a_trial_that_hangs_is_ended_by_its_time_limit(sweeps: Sweeps):
    file = sweeps.file(SQUARE + "; [ $x != 0 ] || sleep 1000", limits={"max_total_trials": 3, "trial_timeout": 1})
    done = sweeps.run(file)
    assert done.code == 0, done.stderr
    hung, *others = sweeps.trials()
    assert (hung["status"], hung["status_reason"]) == ("Canceled", "time_limit")
    assert {trial["status"] for trial in others} == {"Completed"}


def test_the_time_limit_of_a_sweep_ends_its_trials_too(sweeps: Sweeps):
    done = sweeps.run(sweeps.file("sleep 1000", limits={"timeout": 2}))
    assert done.code == 1
    shown = sweeps.show()
    assert (shown["status"], shown["status_reason"]) == ("Canceled", "time_limit")
    assert {trial["status"] for trial in sweeps.trials()} == {"Canceled"}


def test_a_trial_cancelled_by_hand_counts_as_cancelled(sweeps: Sweeps):
    file = sweeps.file(SQUARE + "; [ $x != 1 ] || sleep 1000", limits={"max_total_trials": 4})
    sweeps.begin(file)
    sweeps.until(lambda: "s_1" in sweeps.ran())
    assert sweeps.mlcli("job", "cancel", "-n", "s_1").code == 0
    shown = sweeps.wait()
    assert (shown["status"], shown["status_message"]) == ("Completed", "4 trials: 3 completed, 1 cancelled")
    assert sweeps.trials()[1]["status_reason"] == "canceled_by_user"


def test_cancelling_a_sweep_cancels_its_trials_even_without_its_supervisor(sweeps: Sweeps):
    sweeps.begin(sweeps.file("sleep 1000"))
    sweeps.until(lambda: len(sweeps.ran()) == 2)
    assert sweeps.kill_supervisor()
    assert sweeps.mlcli("job", "cancel", "-n", "s").code == 0
    shown = sweeps.wait()
    assert (shown["status"], shown["status_reason"]) == ("Canceled", "canceled_by_user")
    assert [trial["status"] for trial in sweeps.trials()] == ["Canceled", "Canceled"]
    assert sweeps.ran() == ["s_0", "s_1"]


def test_a_sweep_cancelled_right_after_it_was_created(sweeps: Sweeps):
    sweeps.begin(sweeps.file("sleep 1000", limits={"max_total_trials": 2}))
    assert sweeps.mlcli("job", "cancel", "-n", "s").code == 0
    shown = sweeps.wait()
    assert shown["status"] == "Canceled"
    assert {trial["status"] for trial in sweeps.trials()} <= {"Canceled"}


def test_a_trial_lost_with_its_machine_is_begun_again(sweeps: Sweeps):
    marker = sweeps.mlcli.cwd / "lost"
    file = sweeps.file(f"{SQUARE}; [ $x != 0 ] || [ -e {marker} ] || sleep 1000", limits={"max_total_trials": 3})
    sweeps.begin(file)
    sweeps.until(lambda: "s_0" in sweeps.ran())
    who = sweeps.until(lambda: json.loads((sweeps.folder("s_0") / "agent.json").read_text()))
    marker.touch()
    os.kill(who["pid"], signal.SIGKILL)
    shown = sweeps.wait()
    assert shown["status_message"] == "3 trials: 3 completed"
    assert [trial["name"] for trial in sweeps.trials()] == ["s_0_1", "s_1", "s_2"]
    assert sweeps.show("s_0")["status_reason"] == "lost"
    assert sweeps.ran() == ["s_0", "s_0_1", "s_1", "s_2"]


def test_a_policy_stops_the_trial_that_falls_behind(sweeps: Sweeps):
    """One trial is bad from its first metric on; the other has logged a good one before it looks."""
    wait = f"until [ -e {sweeps.mlcli.cwd}/good ]; do sleep 0.02; done"
    command = (
        f"if [ ${{{{search_space.x}}}} = 0 ]; then echo metric: loss=1; touch {sweeps.mlcli.cwd}/good; sleep 0.5; "
        f"else {wait}; sleep 0.5; echo metric: loss=100; exec sleep 1000; fi"
    )
    file = sweeps.file(
        command,
        limits={"max_total_trials": 2},
        early_termination={"type": "bandit", "slack_factor": 0.1, "evaluation_interval": 1},
    )
    done = sweeps.run(file)
    assert done.code == 0, done.stderr
    good, bad = sweeps.trials()
    assert (good["status"], bad["status"], bad["status_reason"]) == ("Completed", "Canceled", "early_termination")
    assert bad["status_message"].startswith("bandit: ")
    assert sweeps.show("s_1")["status_reason"] == "early_termination"
    assert sweeps.show()["status_message"] == "2 trials: 1 completed, 1 stopped early"


def test_a_value_that_the_command_cannot_take_is_refused_before_anything_runs(sweeps: Sweeps):
    file = sweeps.file("cat <<'END'\n${{search_space.x}}\nEND", {"x": {"type": "choice", "values": ["END\nrm -rf"]}})
    done = sweeps.run(file)
    assert done.code == 1
    assert "cannot be put into the command" in done.stderr
    assert sweeps.mlcli("job", "list").json == []


def test_trials_wait_for_the_nodes_of_their_compute(sweeps: Sweeps):
    compute = ("compute", "create", "-n", "one", "--type", "amlcompute", "--max-instances", "1")
    assert sweeps.mlcli(*compute).code == 0
    lock = sweeps.mlcli.cwd / "busy"
    alone = f"mkdir {lock} || exit 9; sleep 0.1; rmdir {lock}; {SQUARE}"
    done = sweeps.run(sweeps.file(alone, compute="azureml:one", limits={"max_total_trials": 4}))
    assert done.code == 0, done.stderr
    assert sweeps.show()["status_message"] == "4 trials: 4 completed"


def test_the_table_on_a_terminal_and_the_record_of_a_trial(sweeps: Sweeps):
    file = sweeps.file(SQUARE, limits={"max_total_trials": 3})
    done = sweeps.mlcli("job", "create", "-f", file, "--name", "s", "--stream", tty=True)
    assert done.code == 0
    assert "best: trial 2  loss=16  x=2" in done.stdout
    assert "3 of 3 trials have ended" in done.stdout
    shown = sweeps.mlcli("job", "show", "-n", "s", tty=True).stdout
    assert "s_2  loss = 16" in shown
    assert "trial" in sweeps.mlcli("sweep", "best", "-n", "s", tty=True).stdout.lower()


def test_what_is_no_sweep_has_no_trials(sweeps: Sweeps):
    (sweeps.mlcli.cwd / "job.yml").write_text("command: echo hi\nenvironment: current\n")
    sweeps.mlcli("job", "create", "-f", "job.yml", "--name", "j", "--stream")
    done = sweeps.mlcli("sweep", "trials", "-n", "j")
    assert done.code == 2
    assert "not a sweep" in done.stderr
    assert sweeps.mlcli("sweep", "trials", "-n", "nobody").code == 3
