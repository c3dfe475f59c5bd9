"""Jobs that wait for a node: in order, never more at once than there are nodes, whoever is killed meanwhile."""

from __future__ import annotations

import json
import os
import random
import shlex
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlcli import agent
from tests.cli.test_compute import cluster, ok, submitted
from tests.cli.test_jobs import held, job_file
from tests.conftest import Mlcli

Until = Callable[..., Any]


def states(mlcli: Mlcli) -> dict[str, str]:
    return {row["name"]: row["status"] for row in ok(mlcli("job", "list", "--all-results"))}


def documents(mlcli: Mlcli, name: str) -> dict[str, Any]:
    found = {}
    folder = mlcli.home / "workspaces" / "default" / "runs"
    for run in folder.glob("[!.]*"):
        file = run / f"{name}.json"
        if file.exists():
            found[run.name] = json.loads(file.read_text())
    return found


def watcher(mlcli: Mlcli, compute: str = "cpu-cluster") -> dict[str, Any] | None:
    file = mlcli.home / "workspaces" / "default" / "computes" / f".{compute}.watcher.json"
    try:
        identity: dict[str, Any] = json.loads(file.read_text())
    except FileNotFoundError:
        return None
    return identity if agent.is_alive(identity) else None


def kill_watcher(mlcli: Mlcli) -> None:
    identity = watcher(mlcli)
    assert identity is not None
    os.kill(identity["pid"], signal.SIGKILL)


def diary(folder: Path, work: str = "sleep 0.2") -> str:
    """A command that notes when it begins and ends; one line each, whole."""
    book = shlex.quote(str(folder / "diary"))
    return f'echo "+ $AZUREML_RUN_ID" >> {book}; {work}; echo "- $AZUREML_RUN_ID" >> {book}'


def read_diary(folder: Path) -> tuple[list[str], int]:
    """Who began, in order; and how many were at work at once, at most."""
    begun, busy, most = [], 0, 0
    for line in (folder / "diary").read_text().splitlines():
        what, name = line.split()
        busy += 1 if what == "+" else -1
        most = max(most, busy)
        begun += [name] if what == "+" else []
    return begun, most


def test_a_job_beyond_the_nodes_waits_and_says_at_which_place(mlcli: Mlcli, until: Until) -> None:
    cluster(mlcli, "--max-instances", "1")
    command, gate = held(mlcli.cwd)
    first, second, third = (submitted(mlcli, command, "cpu-cluster", "--name", name) for name in ("a", "b", "c"))
    until(lambda: states(mlcli) == {"a": "Running", "b": "Queued", "c": "Queued"})
    shown = ok(mlcli("job", "show", third))
    assert (shown["queue_position"], shown["status"]) == (2, "Queued")
    assert "waits for a free node of compute cpu-cluster" in shown["status_message"]
    assert [row.split()[:3] for row in mlcli("job", "list", "-o", "table").stdout.splitlines()[2:4]] == [
        ["c", "Queued", "(2)"],
        ["b", "Queued", "(1)"],
    ]
    assert ok(mlcli("compute", "show", "cpu-cluster"))["jobs"] == {"preparing": 0, "queued": 2, "running": 1}
    assert ok(mlcli("job", "list", "--status", "Queued", "--query", "length(@)")) == 2
    gate.touch()
    assert [run["status"] for run in ok(mlcli("job", "wait", first, second, third))] == ["Completed"] * 3
    until(lambda: watcher(mlcli) is None)


def test_a_queued_job_is_followed_from_its_turn_on(mlcli: Mlcli, until: Until) -> None:
    cluster(mlcli, "--max-instances", "1")
    command, gate = held(mlcli.cwd)
    submitted(mlcli, command, "cpu-cluster")
    file = job_file(mlcli.cwd, "echo at last", compute="azureml:cpu-cluster")
    told = mlcli.cwd / "told"
    with (
        told.open("wb") as err,
        mlcli.start("job", "create", "-f", file, "--stream", "-o", "none", stderr=err) as streaming,
    ):
        until(lambda: "Queued: waits for a free node of compute cpu-cluster" in told.read_text())
        assert streaming.poll() is None
        gate.touch()
        out, _ = streaming.communicate(timeout=60)
    assert (streaming.returncode, out) == (0, b"at last\n")


def test_a_queued_job_is_cancelled_at_once_and_never_runs(mlcli: Mlcli, until: Until) -> None:
    cluster(mlcli, "--max-instances", "1")
    command, gate = held(mlcli.cwd)
    first = submitted(mlcli, command, "cpu-cluster")
    doomed, last = (submitted(mlcli, diary(mlcli.cwd), "cpu-cluster") for _ in range(2))
    assert ok(mlcli("job", "cancel", doomed))["status"] == "Canceled"
    assert ok(mlcli("job", "show", last))["queue_position"] == 1
    gate.touch()
    ok(mlcli("job", "wait", first, last))
    assert read_diary(mlcli.cwd) == ([last], 1)


def test_what_is_urgent_goes_first(mlcli: Mlcli) -> None:
    cluster(mlcli, "--max-instances", "1")
    command, gate = held(mlcli.cwd)
    waiting = [submitted(mlcli, command, "cpu-cluster")]
    for name, settings in (
        ("low", {"priority": "low"}),
        ("first", {}),
        ("spot", {"job_tier": "spot", "priority": "high"}),
        ("second", {"job_tier": "standard"}),
        ("high", {"priority": "high"}),
    ):
        file = job_file(mlcli.cwd, diary(mlcli.cwd), compute="azureml:cpu-cluster", queue_settings=settings)
        waiting.append(ok(mlcli("job", "create", "-f", file, "--name", name))["name"])
    gate.touch()
    ok(mlcli("job", "wait", *waiting))
    assert read_diary(mlcli.cwd) == (["high", "first", "second", "low", "spot"], 1)


def test_twenty_at_once_on_two_nodes_never_more_than_two_and_in_order(mlcli: Mlcli) -> None:
    cluster(mlcli, "--max-instances", "2")
    command, gate = held(mlcli.cwd)
    names = [submitted(mlcli, command, "cpu-cluster") for _ in range(2)]
    file = job_file(mlcli.cwd, diary(mlcli.cwd, "sleep 0.1"), compute="azureml:cpu-cluster")
    crowd = [mlcli.start("job", "create", "-f", file, "--name", f"crowd_{number}") for number in range(20)]
    for one in crowd:
        _, err = one.communicate(timeout=120)
        assert one.returncode == 0, err
    names += [f"crowd_{number}" for number in range(20)]
    assert list(states(mlcli).values()).count("Queued") == 20
    gate.touch()
    ended = ok(mlcli("job", "wait", *names))
    assert {run["status"] for run in ended} == {"Completed"}
    begun, most = read_diary(mlcli.cwd)
    assert most <= 2
    assert sorted(begun) == sorted(names[2:])
    created = {run["name"]: run["creation_context"]["created_at"] for run in ended}
    turns = sorted((one["time"], name) for name, one in documents(mlcli, "allocation").items() if name in begun)
    assert [name for _, name in turns] == sorted(begun, key=created.__getitem__)


def test_a_watcher_that_is_killed_is_replaced_by_the_next_command_that_looks(mlcli: Mlcli, until: Until) -> None:
    cluster(mlcli, "--max-instances", "1")
    command, gate = held(mlcli.cwd)
    names = [submitted(mlcli, command, "cpu-cluster"), submitted(mlcli, diary(mlcli.cwd), "cpu-cluster")]
    until(lambda: watcher(mlcli))  # those that are submitted from now on start no other
    names += [submitted(mlcli, diary(mlcli.cwd), "cpu-cluster") for _ in range(2)]
    kill_watcher(mlcli)
    gate.touch()
    until(lambda: documents(mlcli, "exit").keys() == {names[0]})
    time.sleep(1.0)
    assert documents(mlcli, "exit").keys() == {names[0]}  # nobody is there to see it
    assert states(mlcli)[names[1]] == "Queued"
    until(lambda: watcher(mlcli) is not None or "Queued" not in states(mlcli).values())
    ok(mlcli("job", "wait", *names))
    assert read_diary(mlcli.cwd) == (names[1:], 1)


def test_a_queue_survives_the_loss_of_the_index(mlcli: Mlcli, until: Until) -> None:
    cluster(mlcli, "--max-instances", "1")
    command, gate = held(mlcli.cwd)
    names = [submitted(mlcli, command, "cpu-cluster"), submitted(mlcli, diary(mlcli.cwd), "cpu-cluster")]
    until(lambda: watcher(mlcli))  # those that are submitted from now on start no other
    names += [submitted(mlcli, diary(mlcli.cwd), "cpu-cluster") for _ in range(2)]
    kill_watcher(mlcli)
    for file in (mlcli.home / "workspaces" / "default").glob("index.sqlite*"):
        file.unlink()
    gate.touch()
    assert {run["status"] for run in ok(mlcli("job", "wait", *names))} == {"Completed"}
    assert read_diary(mlcli.cwd) == (names[1:], 1)


def test_a_stopped_compute_starts_nothing_and_goes_on_where_it_was(mlcli: Mlcli, until: Until) -> None:
    cluster(mlcli, "--max-instances", "1")
    command, gate = held(mlcli.cwd)
    running = submitted(mlcli, command, "cpu-cluster")
    waiting = submitted(mlcli, diary(mlcli.cwd), "cpu-cluster")
    ok(mlcli("compute", "stop", "cpu-cluster"))
    made = mlcli("job", "create", "-f", job_file(mlcli.cwd, diary(mlcli.cwd), compute="cpu-cluster"), "-n", "late")
    assert "compute cpu-cluster is stopped" in made.stderr
    gate.touch()
    ok(mlcli("job", "wait", running))
    until(lambda: watcher(mlcli) is None)
    assert states(mlcli) == {running: "Completed", waiting: "Queued", "late": "Queued"}
    assert watcher(mlcli) is None
    ok(mlcli("compute", "start", "cpu-cluster"))
    ok(mlcli("job", "wait", waiting, "late"))
    assert read_diary(mlcli.cwd) == ([waiting, "late"], 1)


def test_more_nodes_let_more_begin(mlcli: Mlcli, until: Until) -> None:
    cluster(mlcli, "--max-instances", "1")
    command, gate = held(mlcli.cwd)
    names = [submitted(mlcli, command, "cpu-cluster") for _ in range(3)]
    until(lambda: list(states(mlcli).values()).count("Running") == 1)
    ok(mlcli("compute", "update", "cpu-cluster", "--max-instances", "2"))
    until(lambda: list(states(mlcli).values()).count("Running") == 2)
    gate.touch()
    ok(mlcli("job", "wait", *names))


def test_jobs_whose_compute_was_taken_away_fail_and_say_so(mlcli: Mlcli, until: Until) -> None:
    cluster(mlcli, "--max-instances", "1")
    command, gate = held(mlcli.cwd)
    first, second = (submitted(mlcli, command, "cpu-cluster") for _ in range(2))
    (mlcli.home / "workspaces" / "default" / "computes" / "cpu-cluster.json").unlink()
    gate.touch()
    until(lambda: states(mlcli) == {first: "Completed", second: "Failed"})
    assert "there is no compute named 'cpu-cluster'" in ok(mlcli("job", "show", second))["status_message"]


def test_what_is_prepared_by_a_supervisor_waits_for_its_turn_too(mlcli: Mlcli, tmp_path: Path) -> None:
    cluster(mlcli, "--max-instances", "1")
    (tmp_path / "data.txt").write_text("copied\n")
    command, gate = held(mlcli.cwd)
    names = [submitted(mlcli, command, "cpu-cluster")]
    inputs = {"data": {"type": "uri_file", "path": "data.txt", "mode": "download"}}
    for _ in range(2):
        file = job_file(mlcli.cwd, "cat ${{inputs.data}}", compute="azureml:cpu-cluster", inputs=inputs)
        names.append(ok(mlcli("job", "create", "-f", file))["name"])
    gate.touch()
    assert {run["status"] for run in ok(mlcli("job", "wait", *names))} == {"Completed"}
    assert mlcli("job", "stream", names[2]).stdout == "copied\n"


def test_each_job_starts_with_the_variables_of_the_command_that_submitted_it(mlcli: Mlcli) -> None:
    cluster(mlcli, "--max-instances", "1")
    command, gate = held(mlcli.cwd)
    names = [submitted(mlcli, command, "cpu-cluster")]
    file = job_file(mlcli.cwd, "echo $COLOUR", compute="azureml:cpu-cluster")
    names += [ok(mlcli("job", "create", "-f", file, env={"COLOUR": colour}))["name"] for colour in ("red", "green")]
    gate.touch()
    ok(mlcli("job", "wait", *names, env={"COLOUR": "blue"}))
    assert [mlcli("job", "stream", name).stdout for name in names[1:]] == ["red\n", "green\n"]
    assert all(b"green" not in file.read_bytes() for file in mlcli.home.rglob("*.json"))


def test_a_job_whose_holder_was_killed_runs_all_the_same(mlcli: Mlcli) -> None:
    cluster(mlcli, "--max-instances", "1")
    command, gate = held(mlcli.cwd)
    names = [submitted(mlcli, command, "cpu-cluster")]
    names += [submitted(mlcli, diary(mlcli.cwd), "cpu-cluster") for _ in range(2)]
    holders = documents(mlcli, "supervisor")
    assert sorted(holders) == sorted(names[1:])
    os.kill(holders[names[1]]["pid"], signal.SIGKILL)
    gate.touch()
    ok(mlcli("job", "wait", *names))
    assert read_diary(mlcli.cwd) == (names[1:], 1)


def test_no_process_stays_when_nobody_waits_any_more(mlcli: Mlcli, until: Until) -> None:
    cluster(mlcli, "--max-instances", "1")
    command, _ = held(mlcli.cwd)
    names = [submitted(mlcli, command, "cpu-cluster") for _ in range(3)]
    waiting = list(documents(mlcli, "supervisor").values())
    for name in reversed(names):
        assert mlcli("job", "cancel", name).code == 0
    until(lambda: watcher(mlcli) is None)
    assert not any(agent.is_alive(one) for one in waiting)


@pytest.mark.slow
def test_commands_killed_at_any_moment_lose_no_job_and_start_none_twice(mlcli: Mlcli, until: Until) -> None:
    cluster(mlcli, "--max-instances", "2")
    file = job_file(mlcli.cwd, diary(mlcli.cwd, "sleep 0.3"), compute="azureml:cpu-cluster")
    chance = random.Random(5)
    for number in range(16):
        command = mlcli.start("job", "create", "-f", file, "--name", f"job_{number}")
        try:
            command.communicate(timeout=chance.uniform(0.2, 1.2))
        except subprocess.TimeoutExpired:
            command.kill()
            command.communicate()
        identity = watcher(mlcli)
        if identity is not None and chance.random() < 0.4:
            os.kill(identity["pid"], signal.SIGKILL)
        for holder in documents(mlcli, "supervisor").values():
            if agent.is_alive(holder) and chance.random() < 0.2:
                os.kill(holder["pid"], signal.SIGKILL)
    until(lambda: set(states(mlcli).values()) == {"Completed"}, deadline_s=120, pause_s=0.3)
    begun, most = read_diary(mlcli.cwd)
    assert most <= 2
    assert sorted(begun) == sorted(states(mlcli))
