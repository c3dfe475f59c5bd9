"""A container on a node of a compute: the engine keeps it to the node's cores and memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.conftest import Mlcli
from tests.engines.docker import DockerEngine

JOB = """
command: |
  grep Cpus_allowed_list /proc/self/status
  cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null
  true
environment: {image: "%s"}
compute: azureml:cpu-cluster
resources: {memory: %s}
"""


@pytest.mark.usefixtures("containers_gone")
@pytest.mark.parametrize(("asked", "limit"), [("64m", 64 << 20), ("4g", 128 << 20)])
def test_a_container_has_the_node_s_cores_and_no_more_memory(
    mlcli: Mlcli, docker_engine: DockerEngine, tmp_path: Path, asked: str, limit: int
) -> None:
    engine: Mapping[str, str] = docker_engine.environment
    made = mlcli("compute", "create", "-n", "cpu-cluster", "-t", "amlcompute", "--size", "local.1x0.125")
    assert made.code == 0, made.stderr
    (tmp_path / "job.yml").write_text(JOB % (docker_engine.base_image, asked))
    done = mlcli("job", "create", "-f", "job.yml", "--docker", "--stream", "-n", "one", "-o", "none", env=engine)
    assert done.code == 0, done.stderr
    cores, memory = done.stdout.splitlines()
    assert cores.split()[1].isdigit()
    assert int(memory) == limit
    node = mlcli("job", "show", "one", "--query", "resolved.node", env=engine).json
    assert str(node["cpus"][0]) == cores.split()[1]
