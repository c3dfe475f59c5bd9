"""Published job files, as they are but for the name of their image: in a container and on the host, with the same results.

The corpus has no sources (its ``main.py`` is empty) and its data lies in a storage account: here our own example trains, on the
data beside it. Of the environment's sixteen packages it keeps the two that training needs, so that the suite stays quick.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Mlcli
from tests.engines.docker import DockerEngine

ROOT = Path(__file__).resolve().parents[2]
JOBS = ROOT.parent / "shared" / "reference" / "corpus" / "2021-06-18" / "jobs"
EXAMPLE = ROOT / "examples" / "jobs" / "lightgbm-iris"
IMAGES = ("docker.io/python", "python:latest", "mcr.microsoft.com/azureml/openmpi3.1.2-ubuntu18.04")
KEPT = {"numpy", "lightgbm"}
Results = Callable[..., dict[str, bytes]]

pytestmark = pytest.mark.skipif(
    not JOBS.is_dir(), reason="the corpus of published job files is not beside this checkout"
)


def with_image(file: Path, image: str) -> None:
    """Replace the image's name, and nothing else."""
    text = file.read_text()
    for name in IMAGES:
        text = text.replace(f"image: {name}\n", f"image: {image}\n")
    assert image in text
    file.write_text(text)


@pytest.fixture
def results(mlcli: Mlcli, docker_engine: DockerEngine, containers_gone: None, until: Any) -> Results:
    """``results(file, "--docker")``: what the job has printed and written, by path."""
    del containers_gone
    environment = docker_engine.environment

    def run(file: Path, where: str, *more: str) -> dict[str, bytes]:
        created = mlcli("job", "create", "-f", file, where, "-n", f"run{where}", *more, env=environment)
        assert created.code == 0, created.stderr
        show = ("job", "show", "-n", f"run{where}")
        until(lambda: mlcli(*show, env=environment).json["status"] in {"Completed", "Failed"}, deadline_s=600)
        shown = mlcli(*show, env=environment).json
        assert shown["status"] == "Completed", mlcli("job", "stream", "-n", f"run{where}", env=environment).stderr
        assert shown["resolved"]["runs_in"] == {"--docker": "container", "--no-docker": "host"}[where]
        folder = Path(shown["folder"])
        files = [folder / "user_logs" / "std_log.txt", *(folder / "wd" / "outputs").rglob("*")]
        return {str(path.relative_to(folder)): path.read_bytes() for path in files if path.is_file()}

    return run


@pytest.mark.parametrize("name", ["hello-world.yml", "hello-world-env-var.yml"])
def test_hello_world(docker_engine: DockerEngine, results: Results, tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    shutil.copyfile(JOBS / name, file)
    with_image(file, docker_engine.base_image)
    contained = results(file, "--docker")
    assert contained == {"user_logs/std_log.txt": b"hello world\n"}
    assert contained == results(file, "--no-docker")


@pytest.mark.slow
@pytest.mark.network
def test_iris(mlcli: Mlcli, docker_engine: DockerEngine, results: Results, tmp_path: Path) -> None:
    folder = tmp_path / "iris"
    shutil.copytree(JOBS / "train" / "lightgbm" / "iris", folder)
    with_image(folder / "job.yml", docker_engine.base_image)
    shutil.copyfile(EXAMPLE / "src" / "main.py", folder / "src" / "main.py")
    environment = folder / "environment.yml"
    lines = environment.read_text().splitlines()
    environment.write_text("\n".join(line for line in lines if not line.startswith("    - ") or line[6:] in KEPT))
    mlcli("compute", "create", "--name", "cpu-cluster", "--type", "amlcompute", "--max-instances", "1")

    data = ("--set", f"inputs.iris.data.path={EXAMPLE / 'data' / 'iris.csv'}")
    contained = results(folder / "job.yml", "--docker", *data)
    assert set(contained) == {"user_logs/std_log.txt", "wd/outputs/metrics.json", "wd/outputs/model.txt"}
    assert b"test-accuracy: 0.9" in contained["user_logs/std_log.txt"]
    assert contained == results(folder / "job.yml", "--no-docker", *data)
