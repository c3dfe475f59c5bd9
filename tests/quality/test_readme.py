"""The README's first command does all the set-up on a fresh machine and runs the main job."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def commands() -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.timeout(600)
def test_the_first_command_trains_a_model_on_a_fresh_clone(tmp_path: Path) -> None:
    clone = tmp_path / "mlcli"
    shutil.copytree(
        ROOT, clone, ignore=shutil.ignore_patterns(".venv", ".git", ".*_cache", "__pycache__", ".hypothesis")
    )
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(("MLCLI", "VIRTUAL_ENV", "PYTEST"))
    }
    environment["MLCLI_HOME"] = str(tmp_path / "home")
    done = subprocess.run(
        ["bash", "-c", commands()[0]], cwd=clone, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    mlcli = clone / ".venv" / "bin" / "mlcli"
    name = subprocess.run(
        [mlcli, "job", "list", "--query", "[0].name", "-o", "tsv"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    subprocess.run([mlcli, "job", "download", "-n", name, "--outputs", "-p", tmp_path], env=environment, check=True)
    assert (tmp_path / name / "outputs" / "model.txt").stat().st_size > 1000
    shown = subprocess.run(
        [mlcli, "job", "show", "-n", name, "--query", "status", "-o", "tsv"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout == "Completed\n"


def test_the_second_command_is_the_one_that_ci_runs() -> None:
    assert "pytest" in commands()[1]
    assert "block == 2" in (ROOT / ".ci" / "run").read_text()
