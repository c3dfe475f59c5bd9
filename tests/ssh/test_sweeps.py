"""A sweep whose trials run on another machine: its data goes there once, and its supervisor may be killed here."""

from __future__ import annotations

import json
import os
import signal

import pytest

from tests.faults.helpers import wait_for
from tests.ssh.conftest import FarJobs

pytestmark = pytest.mark.ssh


def test_a_sweep_over_there_whose_supervisor_is_killed(jobs: FarJobs) -> None:
    cwd = jobs.mlcli.cwd
    (cwd / "data.txt").write_text("data\n")
    command = "cat ${{inputs.data}} && sleep 0.5 && echo metric:' 'loss=${{search_space.x}}"
    document = {
        "type": "sweep",
        "trial": {"command": command, "environment": "current"},
        "inputs": {"data": {"type": "uri_file", "path": "data.txt"}},
        "compute": "azureml:box",
        "search_space": {"x": {"type": "choice", "values": [3, 1, 2, 4]}},
        "sampling_algorithm": "grid",
        "objective": {"primary_metric": "loss", "goal": "minimize"},
        "limits": {"max_total_trials": 4, "max_concurrent_trials": 2},
    }
    (cwd / "sweep.yml").write_text(json.dumps(document))
    done = jobs.mlcli("job", "create", "-f", "sweep.yml", "-n", "swept", "-o", "none")
    assert done.code == 0, done.stderr
    wait_for(lambda: jobs.near("swept_0").exists())
    who = jobs.near_document("swept", "supervisor.json")
    os.kill(who["pid"], signal.SIGKILL)
    shown = jobs.ended("swept")
    assert (shown["status_message"], shown["sweep"]["best_trial"]) == ("4 trials: 4 completed", "swept_1")
    assert jobs.mlcli("job", "stream", "-n", "swept_2").output == b"data\nmetric: loss=2\n"
    assert (jobs.folder("swept") / "inputs" / "data" / "data.txt").read_text() == "data\n"
