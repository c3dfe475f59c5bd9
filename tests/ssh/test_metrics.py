"""What a job on a machine over SSH logs, read from here: as it grows, by offset, and when the machine is gone."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.engines.sshd import SshHost
from tests.faults.helpers import refused, wait_for
from tests.ssh.conftest import FarJobs

pytestmark = pytest.mark.ssh


def test_a_running_jobs_metrics_come_by_offset_and_stay(jobs: FarJobs) -> None:
    gate = jobs.far / "gate"
    line = """echo '["loss", 0.5, %d, 1]' >> ../metrics.jsonl; """
    wait = f"for i in $(seq 600); do [ -e {gate} ] && break; sleep 0.1; done; "
    file = jobs.file(line % 0 + wait + line % 1, name="live")
    assert jobs.mlcli("job", "create", "-f", file).code == 0
    wait_for(lambda: jobs.show("live").get("metrics"))
    copy = jobs.near("live") / "tracked" / "metrics.jsonl"
    assert copy.read_text() == '["loss", 0.5, 0, 1]\n'
    with jobs.mlcli.start("run", "metrics", "live", "--follow") as follower:
        assert follower.stdout is not None
        assert json.loads(follower.stdout.readline())["step"] == 0
        gate.touch()
        assert [json.loads(row)["step"] for row in follower.stdout] == [1]
        assert follower.wait(60) == 0
    jobs.ended("live")
    assert (jobs.near("live") / "metrics.jsonl").read_text().count("\n") == 2, "its records came here with its end"
    jobs.folder("live").rename(jobs.far / "gone")
    assert [row["count"] for row in jobs.mlcli("run", "metrics", "live").json] == [2]
    assert len(jobs.mlcli("run", "metrics", "live", "-m", "loss").json) == 2


def test_a_machine_that_is_away_keeps_nobody_from_the_rest(
    jobs_on: Callable[[SshHost], FarJobs], make_ssh_host: Callable[..., SshHost]
) -> None:
    host = make_ssh_host()
    jobs = jobs_on(host)
    for name in ("seen", "unseen"):
        assert jobs.run("echo 'metric: loss=1'; echo '[\"acc\", 0.5, 0, 1]' > ../metrics.jsonl", name=name).code == 0
    (jobs.near("unseen") / "kept.json").unlink()  # as if it had been too much to be brought here
    (jobs.near("unseen") / "metrics.jsonl").unlink()
    (jobs.near("unseen") / "tracked.json").unlink()
    (jobs.near("unseen").parent.parent / "tracked.jsonl").unlink()
    host.stop()
    assert {name: one["last"] for name, one in jobs.show("seen")["metrics"].items()} == {"acc": 0.5, "loss": 1.0}
    assert [row["value"] for row in jobs.mlcli("run", "metrics", "seen", "-m", "acc").json] == [0.5]
    shown = jobs.mlcli("job", "show", "unseen")
    assert (shown.code, shown.json["metrics"]) == (0, {})
    assert "connection refused" in shown.stderr.lower()
    refused(jobs.mlcli("run", "metrics", "unseen"), "connection refused")
    board = jobs.mlcli("job", "list", "--sort", "metrics.loss")
    assert [row["name"] for row in board.json] == ["seen", "unseen"], board.stderr
