"""A job in a container: an echo end to end, beside the shortest script on the Docker SDK that does the same.

Needs a Docker Engine that answers; ``MLCLI_BENCH_IMAGE`` names an image with Python that it has (default: the
base image of tests/engines).
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.measure import MLCLI, seconds

ROUNDS = 9
PAUSE_S = 0.5  # what one leaves to the engine (removing its container) is not to slow the other
SCRIPT = """
import docker, sys
print(docker.from_env().containers.run(sys.argv[1], ["echo", "hello world"], remove=True).decode())
"""


def run() -> list[tuple[str, float, float]]:
    """Ratios to the script; rounds interleaved, medians."""
    image = _image()
    with tempfile.TemporaryDirectory() as folder:
        job = Path(folder) / "job.yml"
        job.write_text(f"command: echo hello world\nenvironment: {{image: '{image}'}}\ncompute: local\n")
        ours = [MLCLI, "job", "create", "-f", str(job), "--docker", "--stream"]
        theirs = [sys.executable, "-c", SCRIPT, image]
        taken: dict[str, list[float]] = {"ours": [], "theirs": []}
        for _ in range(ROUNDS + 1):
            taken["ours"].append(seconds(ours, Path(folder) / "home"))
            time.sleep(PAUSE_S)
            taken["theirs"].append(seconds(theirs))
            time.sleep(PAUSE_S)
        ratio = statistics.median(taken["ours"][1:]) / statistics.median(taken["theirs"][1:])
        return [("an echo in a container, end to end, x a script on the Docker SDK", ratio, 1.2)]


def _image() -> str:
    given = os.environ.get("MLCLI_BENCH_IMAGE")
    if given:
        return given
    from mlcli import docker_engine
    from tests.engines.docker import DockerEngine

    return DockerEngine(docker_engine.base_url() or "").base_image
