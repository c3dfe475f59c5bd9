"""The wheel is what people get: built, installed in a clean environment, and tried there."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples" / "jobs").rglob("*.yml"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", target, ROOT],
        check=True,
        capture_output=True,
    )
    (built,) = target.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def clean_bin(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of a virtual environment that holds the wheel and what it depends on, nothing else."""
    venv = tmp_path_factory.mktemp("clean") / "venv"
    uv = Path(sys.executable).parent / "uv"
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, venv], check=True)
    subprocess.run([uv, "pip", "install", "--quiet", "--python", venv / "bin" / "python", wheel], check=True)
    return venv / "bin"


def run(clean_bin: Path, home: Path, *args: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": f"{clean_bin}{os.pathsep}{os.environ['PATH']}", "HOME": str(home), "MLCLI_HOME": str(home)}
    return subprocess.run(
        [clean_bin / "mlcli", *args], cwd=home, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
@pytest.mark.network
def test_every_example_validates(clean_bin: Path, tmp_path: Path) -> None:
    jobs = [str(path) for path in EXAMPLES if "$schema" in path.read_text() or "command:" in path.read_text()]
    assert jobs
    done = run(clean_bin, tmp_path, "job", "validate", "-f", *jobs)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.network
def test_a_job_runs(clean_bin: Path, tmp_path: Path) -> None:
    job = tmp_path / "job.yml"
    job.write_text("command: python -c \"print('from the wheel')\"\nenvironment: current\ncompute: local\n")
    done = run(clean_bin, tmp_path, "job", "create", "-f", str(job), "--stream", "-o", "none")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "from the wheel\n"
    listed = run(clean_bin, tmp_path, "job", "list")
    assert [row["status"] for row in json.loads(listed.stdout)] == ["Completed"]


@pytest.mark.slow
@pytest.mark.network
def test_nothing_of_the_tests_is_shipped(wheel: Path) -> None:
    from zipfile import ZipFile

    names = ZipFile(wheel).namelist()
    assert any(name.startswith("mlcli/schemas/") for name in names)
    assert not any(name.startswith(("tests/", "examples/", "benchmarks/")) for name in names)


@pytest.mark.slow
@pytest.mark.network
def test_it_knows_the_curated_environments(clean_bin: Path, tmp_path: Path) -> None:
    done = run(clean_bin, tmp_path, "environment", "show", "AzureML-lightgbm-3.3", "-o", "json")
    assert done.returncode == 0, done.stderr
    assert any(line.startswith("lightgbm") for line in json.loads(done.stdout)["conda_file"]["dependencies"][-1]["pip"])
