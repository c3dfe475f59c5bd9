"""A job in a container logs as one on the host does, on an engine that mounts the run folder and on one that cannot."""

from __future__ import annotations

import json
from collections.abc import Mapping

from tests.conftest import Mlcli
from tests.endpoint.test_agent import CLIENT
from tests.engines.docker import DockerEngine, FarDockerEngine

SCRIPT = (
    CLIENT
    + """
run = os.environ["MLFLOW_RUN_ID"]
for step in range(3): assert log(step)[0] == 200
assert call("POST", "runs/log-parameter", {"run_id": run, "key": "lr", "value": "0.1"})[0] == 200
made = json.loads(call("POST", "runs/create", {"run_name": "child"})[1])["run"]["info"]
os.makedirs(made["artifact_uri"][len("file://"):])
open(made["artifact_uri"][len("file://"):] + "/a.txt", "w").write("a")
"""
)


def _check(mlcli: Mlcli, environment: Mapping[str, str], image: str) -> None:
    (mlcli.cwd / "src").mkdir()
    (mlcli.cwd / "src" / "train.py").write_text(SCRIPT)
    file = mlcli.cwd / "job.yml"
    file.write_text(f'command: python3 train.py\ncode: src\nexperiment_name: iris\nenvironment: {{image: "{image}"}}\n')
    told = mlcli("job", "create", "-f", file, "--docker", "--stream", "-n", "one", env=environment)
    assert told.code == 0, told.stderr
    (folder,) = (path.parent for path in mlcli.home.rglob("metrics.jsonl") if path.parent.name == "one")
    assert (folder / "metrics.jsonl").read_text() == "".join(f'["x", {step}.0, {step}, 1]\n' for step in range(3))
    assert (folder / "params.jsonl").read_text() == '["lr", "0.1"]\n'
    assert json.loads((folder / "summary.json").read_text())["metrics"]["x"]["count"] == 3
    (child,) = (folder / "children").iterdir()
    assert json.loads((child / "run.json").read_text())["experiment"] == "iris"
    assert (child / "artifacts" / "a.txt").read_text() == "a"
    shown = mlcli("job", "show", "-n", "one", env=environment).json
    assert set(shown["metrics"]) == {"x"}


def test_on_this_machine_s_engine(mlcli: Mlcli, docker_engine: DockerEngine, containers_gone: None) -> None:
    del containers_gone
    _check(mlcli, docker_engine.environment, docker_engine.base_image)


def test_on_an_engine_that_cannot_mount(
    mlcli: Mlcli, docker_engine: DockerEngine, tcp_docker_engine: FarDockerEngine
) -> None:
    tcp_docker_engine.load(docker_engine.base_image, docker_engine)
    _check(mlcli, tcp_docker_engine.environment, docker_engine.base_image)
