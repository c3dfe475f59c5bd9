"""A sweep whose trials run in containers."""

from __future__ import annotations

from tests.conftest import Mlcli
from tests.engines.docker import DockerEngine

SWEEP = """
type: sweep
trial:
  command: cat ${{inputs.data}} && echo metric:" "loss=${{search_space.x}}
  environment: {image: "%s"}
inputs:
  data: {type: uri_file, path: data.txt}
search_space:
  x: {type: choice, values: [3, 1, 2]}
sampling_algorithm: grid
objective: {primary_metric: loss, goal: minimize}
limits: {max_total_trials: 3, max_concurrent_trials: 2}
"""


def test_a_sweep_in_containers(mlcli: Mlcli, docker_engine: DockerEngine, containers_gone: None) -> None:
    del containers_gone
    (mlcli.cwd / "data.txt").write_text("data\n")
    (mlcli.cwd / "sweep.yml").write_text(SWEEP % docker_engine.base_image)
    environment = docker_engine.environment
    done = mlcli("job", "create", "-f", "sweep.yml", "-n", "s", "--docker", "--stream", "-o", "none", env=environment)
    assert done.code == 0, done.stderr
    shown = mlcli("job", "show", "-n", "s", env=environment).json
    assert (shown["status_message"], shown["sweep"]["best_trial"]) == ("3 trials: 3 completed", "s_1")
    trial = mlcli("job", "show", "-n", "s_1", env=environment).json
    assert trial["resolved"]["runs_in"] == "container"
    assert mlcli("job", "stream", "-n", "s_1", env=environment).output == b"data\nmetric: loss=1\n"
