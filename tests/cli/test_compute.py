"""``mlcli compute`` as it is typed: made from flags and files of any year, listed with its nodes and jobs, refused with reason."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Any

import pytest

from mlcli import agent
from tests.cli.test_jobs import held, job_file
from tests.conftest import Mlcli, Result

OF_2021 = "name: old\ntype: AmlCompute\nsize: local.1x1\npriority: lowpriority\nmax_instances: 2\nvnet_name: net\n"


def ok(done: Result) -> Any:
    assert done.code == 0, done.stderr
    return done.json if done.stdout else None


def submitted(mlcli: Mlcli, command: str, compute: str, *flags: str) -> str:
    file = job_file(mlcli.cwd, command, compute=f"azureml:{compute}")
    name: str = ok(mlcli("job", "create", "-f", file, *flags))["name"]
    return name


def cluster(mlcli: Mlcli, *flags: str, name: str = "cpu-cluster") -> Any:
    return ok(mlcli("compute", "create", "-n", name, "--type", "amlcompute", *flags))


def test_a_compute_made_from_flags_is_shown_and_listed(mlcli: Mlcli) -> None:
    made = mlcli(
        "compute", "create", "--name", "cpu-cluster", "--type", "AmlCompute", "--min-instances", "0",
        "--max-instances", "10", "--location", "westus", "--tags", "team=vision", "floor=3", "--no-wait",
    )  # fmt: skip
    record = ok(made)
    assert (record["type"], record["size"], record["max_instances"]) == ("amlcompute", "Standard_DS3_v2", 10)
    assert (record["tags"], record["location"]) == ({"team": "vision", "floor": "3"}, "westus")
    assert (record["state"], record["provisioning_state"]) == ("Running", "Succeeded")
    assert "without meaning here: location" in made.stderr
    assert ok(mlcli("compute", "show", "cpu-cluster")) == record
    assert [one["name"] for one in ok(mlcli("compute", "list"))] == ["local", "cpu-cluster"]
    assert ok(mlcli("compute", "list", "--type", "AmlCompute", "--query", "[].name")) == ["cpu-cluster"]
    table = mlcli("compute", "list", "-o", "table").stdout.splitlines()
    assert table[0].split() == ["Name", "Type", "State", "Size", "Nodes", "Running", "Queued"]
    assert table[3].split()[:4] == ["cpu-cluster", "amlcompute", "Running", "Standard_DS3_v2"]


def test_nodes_smaller_than_their_size_are_said_to_be(mlcli: Mlcli) -> None:
    made = mlcli(
        "compute", "create", "-n", "huge", "-t", "amlcompute", "--size", "Standard_M128s", "--max-instances", "3"
    )
    node = ok(made)["node"]
    assert node["scaled_down"]
    assert node["cores"] == max(1, len(os.sched_getaffinity(0)) // 3)
    assert "huge is" in made.stderr
    assert "--max-instances 1" in made.stderr
    small = mlcli(
        "compute", "create", "-n", "small", "-t", "amlcompute", "--size", "local.1x0.1", "--max-instances", "1"
    )
    assert ok(small)["node"]["scaled_down"] is False
    assert ok(small)["node"]["enforced"] == ["cores", *(["memory"] if agent.can_limit_memory() else [])]


@pytest.mark.parametrize("by_stdin", [True, False])
def test_a_file_of_2021_makes_the_same(mlcli: Mlcli, tmp_path: Path, by_stdin: bool) -> None:
    (tmp_path / "compute.yml").write_text(OF_2021)
    where = ["-f", "-"] if by_stdin else ["-f", "compute.yml"]
    record = ok(mlcli("compute", "create", *where, "--set", "max_instances=5", input=OF_2021))
    assert (record["name"], record["tier"], record["max_instances"]) == ("old", "low_priority", 5)
    assert record["network_settings"] == {"vnet_name": "net"}


def test_no_password_is_kept_or_shown(mlcli: Mlcli) -> None:
    made = mlcli(
        "compute", "create", "-n", "c", "-t", "amlcompute", "--admin-username", "me", "--admin-password", "s3cr3t-pw"
    )
    assert "password is not kept" in made.stderr
    assert "s3cr3t-pw" not in made.stdout + made.stderr
    assert all(b"s3cr3t-pw" not in file.read_bytes() for file in mlcli.home.rglob("*") if file.is_file())


REFUSED = [
    (["create", "-n", "c"], 2, "--type is missing"),
    (["create", "-t", "amlcompute"], 2, "--name is missing"),
    (["create", "-n", "c", "-t", "amlcomput"], 1, "did you mean 'amlcompute'?"),
    (["create", "-n", "c", "-t", "amlcompute", "--size", "Standard_DS2v2"], 1, "did you mean 'Standard_DS2_v2'?"),
    (["create", "-n", "c", "-t", "amlcompute", "--max-instances", "0"], 2, "--max-instances"),
    (["create", "-n", "c", "-t", "amlcompute", "--min-instances", "9"], 1, "--min-instances"),
    (["create", "-n", "a/b", "-t", "amlcompute"], 1, "cannot be the name"),
    (["create", "-n", "local", "-t", "amlcompute"], 1, "this machine"),
    (["create", "-n", "c", "-t", "kubernetes", "--set", "namespace=x"], 1, "cannot run jobs on a compute of type kubernetes"),
    (["create", "-f", "nowhere.yml"], 3, "there is no file nowhere.yml"),
    (["show", "nowhere"], 3, "did you mean 'now-here'?"),
    (["update", "now-here"], 2, "nothing to change"),
    (["update", "now-here", "--set", "max_instances=0"], 1, "max_instances is 0"),
    (["update", "now-here", "--set", "name=x"], 2, "the name and the type"),
    (["update", "now-here", "--remove", "nothing"], 2, "no such entry"),
    (["update", "local", "--max-instances", "3"], 2, "this machine"),
    (["delete", "local", "--yes"], 2, "this machine"),
    (["delete", "now-here"], 2, "add --yes"),
    (["delete", "nobody", "--yes"], 3, "there is no compute"),
    (["stop", "local"], 2, "this machine"),
    (["connect-ssh", "now-here"], 2, "is this machine"),
    (["attach", "-n", "k", "-t", "kubernetes", "--namespace", "default"], 1, "cannot run jobs"),
    (["create", "-n", "now-here", "-t", "amlcompute"], 1, "there is a compute 'now-here' already"),
]  # fmt: skip


def test_what_cannot_be_done_is_told_and_changes_nothing(mlcli: Mlcli) -> None:
    before = cluster(mlcli, "--max-instances", "2", name="now-here")
    for words, code, told in REFUSED:
        done = mlcli("compute", *words)
        assert (done.code, told in done.stderr) == (code, True), f"{words}: {done.code} {done.stderr}"
        assert "Traceback" not in done.stderr
    assert ok(mlcli("compute", "list"))[1:] == [before]


def test_a_compute_is_changed_stopped_started_and_deleted(mlcli: Mlcli) -> None:
    cluster(mlcli, "--max-instances", "2")
    assert ok(mlcli("compute", "update", "cpu-cluster", "--max-instances", "3", "--tags", "a=b"))["max_instances"] == 3
    changed = ok(mlcli("compute", "update", "-n", "cpu-cluster", "--set", "description=mine", "--remove", "tags.a"))
    assert (changed["description"], changed["tags"], changed["max_instances"]) == ("mine", {}, 3)
    assert ok(mlcli("compute", "stop", "cpu-cluster"))["state"] == "Stopped"
    assert ok(mlcli("compute", "restart", "cpu-cluster"))["state"] == "Running"
    assert mlcli("compute", "delete", "-n", "cpu-cluster", "-y", "--no-wait").code == 0
    assert ok(mlcli("compute", "list", "--query", "[].name")) == ["local"]


def test_a_job_for_a_compute_that_is_not_there_is_refused_with_the_nearest(mlcli: Mlcli) -> None:
    cluster(mlcli)
    refused = mlcli("job", "create", "-f", job_file(mlcli.cwd, "true", compute="azureml:cpu-clustr"))
    assert refused.code == 1
    assert "did you mean 'cpu-cluster'?" in refused.stderr
    assert "--set compute=local" in refused.stderr


def test_a_job_runs_on_its_node_s_cores_and_says_which_node_it_had(mlcli: Mlcli) -> None:
    cluster(mlcli, "--size", "local.1x0.5", "--max-instances", "1")
    look = "python3 -c 'import os; print(len(os.sched_getaffinity(0)))'"
    file = job_file(mlcli.cwd, look, compute="azureml:cpu-cluster")
    done = mlcli("job", "create", "-f", file, "--stream", "--query", "[status, resolved.node]")
    count, _, record = done.stdout.partition("\n")
    assert count == "1"
    status, node = agent.decode(record.encode())
    assert (status, node["node_id"], len(node["cpus"]), node["memory_bytes"]) == (
        "Completed",
        "cpu-cluster-0",
        1,
        1 << 29,
    )
    planned = ok(mlcli("job", "create", "-f", file, "--dry-run"))
    assert (planned["node"]["cores"], planned["backend"]) == (1, "local")


@pytest.mark.skipif(not agent.can_limit_memory(), reason="no control group may be made here")
def test_a_job_that_takes_more_memory_than_its_node_has_fails_and_says_why(mlcli: Mlcli) -> None:
    cluster(mlcli, "--size", "local.1x0.125", "--max-instances", "1")
    file = job_file(mlcli.cwd, "python3 -c 'bytearray(300 << 20)'", compute="azureml:cpu-cluster")
    done = mlcli("job", "create", "-f", file, "--stream")
    assert done.code == 1
    assert "killed: out of memory (limit 128m)" in done.stderr


def test_nodes_are_there_while_they_are_used_and_a_while_longer(mlcli: Mlcli, until: Any) -> None:
    cluster(mlcli, "--max-instances", "3", "--min-instances", "1", "--idle-time-before-scale-down", "2")
    show = ("compute", "list-nodes", "-n", "cpu-cluster", "--query", "[].[node_id,node_state,current_job_name]")
    assert ok(mlcli(*show)) == [["cpu-cluster-0", "idle", None]]
    command, gate = held(mlcli.cwd)
    names = [submitted(mlcli, command, "cpu-cluster") for _ in range(2)]
    assert ok(mlcli(*show)) == [["cpu-cluster-0", "running", names[0]], ["cpu-cluster-1", "running", names[1]]]
    assert ok(mlcli("compute", "show", "cpu-cluster"))["nodes"] == {"running": 2, "idle": 0, "total": 2}
    used = {row["name"]: row["current_value"] for row in ok(mlcli("compute", "list-usage"))}
    assert used["Nodes of cpu-cluster"] == 2
    gate.touch()
    ok(mlcli("job", "wait", *names))
    assert len(ok(mlcli(*show))) in {1, 2}
    until(lambda: ok(mlcli(*show)) == [["cpu-cluster-0", "idle", None]], pause_s=0.5)


def test_a_compute_with_live_jobs_goes_only_by_force_and_takes_them_along(mlcli: Mlcli, until: Any) -> None:
    cluster(mlcli, "--max-instances", "1")
    command, _ = held(mlcli.cwd)
    first, second = (submitted(mlcli, command, "cpu-cluster") for _ in range(2))
    refused = mlcli("compute", "delete", "cpu-cluster", "--yes")
    assert refused.code == 1
    assert "2 jobs are live on compute cpu-cluster" in refused.stderr
    assert "--force" in refused.stderr
    assert mlcli("compute", "detach", "cpu-cluster", "--yes", "--force").code == 0
    for name in (first, second):
        until(lambda name=name: ok(mlcli("job", "show", name))["status"] == "Canceled")


def test_the_sizes_are_listed(mlcli: Mlcli) -> None:
    sizes = {row["name"]: row for row in ok(mlcli("compute", "list-sizes"))}
    assert sizes["Standard_NC12"] == {"name": "Standard_NC12", "cores": 12, "memory_gb": 112.0, "gpus": 2}
    assert mlcli("compute", "list-sizes", "-o", "table").stdout.split()[:4] == ["Name", "Cores", "Memory", "GB"]


def test_a_local_compute_of_one_s_own_counts_jobs_and_limits_none(mlcli: Mlcli) -> None:
    text = "name: one-by-one\ntype: local\nmax_concurrent_jobs: 1\n"
    record = ok(mlcli("compute", "create", "-f", "-", input=text))
    assert (record["max_instances"], record["node"]) == (1, None)
    look = f"python3 -c 'import os; print(len(os.sched_getaffinity(0)) == {len(os.sched_getaffinity(0))})'"
    name = submitted(mlcli, look, "one-by-one")
    ok(mlcli("job", "wait", name))
    assert mlcli("job", "stream", name).stdout == "True\n"


def test_the_words_of_2020_do_the_same(mlcli: Mlcli) -> None:
    made = ok(
        mlcli(
            "computetarget", "create", "amlcompute", "-n", "old", "--max-nodes", "2", "--min-nodes", "1", "-s",
            "STANDARD_D2_V2", "--idle-seconds-before-scaledown", "300", "-p", "lowpriority", "-v",
        )
    )  # fmt: skip
    assert (made["max_instances"], made["min_instances"], made["tier"]) == (2, 1, "low_priority")
    assert made["idle_time_before_scale_down"] == 300
    updated = ok(mlcli("computetarget", "update", "amlcompute", "-n", "old", "--max-nodes", "4"))
    assert updated["max_instances"] == 4
    assert ok(mlcli("computetarget", "show", "-n", "old")) == ok(mlcli("compute", "show", "-n", "old"))
    assert [one["name"] for one in ok(mlcli("computetarget", "list"))] == ["local", "old"]
    ok(mlcli("computetarget", "delete", "-n", "old"))
    assert mlcli("computetarget", "show", "-n", "old").code == 3
    aks = mlcli("computetarget", "attach", "aks", "-n", "k", "-i", "/subscriptions/x")
    assert (aks.code, "Traceback" in aks.stderr) == (1, False)


def test_a_person_at_a_terminal_sees_views(mlcli: Mlcli) -> None:
    terminal: Any = {"tty": True, "env": {"TERM": "dumb"}}
    cluster(mlcli, "--max-instances", "1", "--size", "local.1x0.5")
    shown = mlcli("compute", "show", "cpu-cluster", **terminal).stdout
    assert "A node here  1 core, 0.5 GB" in shown
    assert "0 busy, 0 idle" in mlcli("compute", "list", **terminal).stdout
    assert "no nodes" in mlcli("compute", "list-nodes", "cpu-cluster", **terminal).stdout


SCRIPT = r"""
set -euo pipefail
az() { shift; mlcli "$@"; }
az ml compute create -n cpu-cluster --type amlcompute --min-instances 0 --max-instances 10
az ml compute create -n gpu-cluster --type AmlCompute --min-instances 0 --max-instances 4 --size Standard_NC12 -g rg -w default
run_id=$(az ml job create -f job.yml --query name -o tsv)
az ml job show -n $run_id --web -o none
az ml job stream -n $run_id
status=$(az ml job show -n $run_id --query status -o tsv)
echo "status: $status"
if [[ $status != Completed ]]; then exit 9; fi
az ml job download -n $run_id --outputs
cat $run_id/outputs/model.txt
az ml job create -f job.yml --set compute.target=local --web --stream > local.log
bad=$(az ml job create -f bad.yml --query name -o tsv)
while true; do
  status=$(az ml job show -n $bad --query status -o tsv)
  case $status in Completed|Failed) break;; esac
  sleep 0.2
done
echo "bad: $status"
sweep_id=$(az ml job create -f sweep.yml --query name -o tsv)
az ml job stream -n $sweep_id
status=$(az ml job show -n $sweep_id --query status -o tsv)
echo "sweep: $status"
az ml job show -n $sweep_id --web -o none
az ml job download -n $sweep_id --outputs
cat $sweep_id/outputs/model.txt
az ml compute list -o table
az ml compute delete -n cpu-cluster --yes --no-wait
"""


SWEEP = """
type: sweep_job
algorithm: grid
trial:
  command: >-
    mkdir -p outputs; echo trained with {search_space.rate} > outputs/model.txt;
    echo metric: test-multi_logloss={search_space.rate}
  environment: current
  compute:
    target: azureml:cpu-cluster
search_space:
  rate: {type: choice, values: [0.5, 0.25, 0.75]}
objective: {primary_metric: test-multi_logloss, goal: minimize}
max_total_trials: 3
max_concurrent_trials: 3
timeout_minutes: 10
"""


def test_the_scripts_of_the_documents_run_as_they_stand(mlcli: Mlcli, tmp_path: Path) -> None:
    import subprocess

    job = "command: >-\n  mkdir -p outputs; echo trained > outputs/model.txt; echo done\nenvironment: current\n"
    (tmp_path / "job.yml").write_text(f"{job}compute: {{target: 'azureml:cpu-cluster'}}\n")
    (tmp_path / "bad.yml").write_text("command: exit 3\nenvironment: current\ncompute: azureml:gpu-cluster\n")
    (tmp_path / "sweep.yml").write_text(SWEEP)
    from tests.conftest import COMMAND

    path = f"{COMMAND.parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", SCRIPT],
        cwd=tmp_path,
        env={**mlcli.environment(), "PATH": path},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{shlex.quote(done.stderr)}"
    for line in ("status: Completed", "trained", "bad: Failed", "sweep: Completed", "trained with 0.25"):
        assert line in done.stdout.splitlines(), done.stdout
    assert (tmp_path / "local.log").read_text().startswith("done\n")
