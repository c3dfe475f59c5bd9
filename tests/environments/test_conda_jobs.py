"""Jobs of the installed command in environments that conda, a requirements file or a lock describes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.environments.channels import index, package
from tests.environments.packages import wheel

pytest.importorskip("rattler")


@pytest.fixture
def channel(tmp_path) -> Path:
    folder = tmp_path / "project" / "channel"
    files = {
        "bin/greet": "#!/bin/sh\necho hello $GREETED from $TONE\n",
        "etc/conda/activate.d/greet.sh": "export GREETED=world\n",
    }
    package(folder, "greet", "1.2", files=files)
    return index(folder)


def job(tmp_path: Path, environment: str, command: str) -> Path:
    file = tmp_path / "project" / "job.yml"
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"command: {command}\nenvironment: {environment}\ncompute: local\nname: one\n")
    return file


def record(mlcli, name: str = "one") -> dict[str, object]:
    [file] = mlcli.home.rglob(f"{name}/environment.json")
    found: dict[str, object] = json.loads(file.read_text())
    return found


def test_a_job_runs_in_a_conda_environment_and_keeps_what_it_had(mlcli, tmp_path, channel):
    text = "channels: [./channel]\ndependencies: [greet=1]\nvariables: {TONE: conda}\n"
    (tmp_path / "project" / "conda.yml").write_text(text)
    file = job(tmp_path, "{conda_file: conda.yml}", "greet")
    done = mlcli("job", "create", "--file", file, "--stream")
    assert done.code == 0, done.stderr
    assert "hello world from conda\n" in done.stdout + done.stderr
    kept = record(mlcli)
    assert kept["builder"] == "conda"
    assert [address.rsplit("/", 1)[1].split("#")[0] for address in kept["packages"]] == ["greet-1.2-0.tar.bz2"]  # type: ignore[attr-defined]
    lock = "\n".join(["@EXPLICIT", *kept["packages"]])  # type: ignore[misc]
    (tmp_path / "project" / "explicit.txt").write_text(lock)
    again = job(tmp_path, "{conda_file: explicit.txt}", "greet")
    done = mlcli("job", "create", "--file", again, "--name", "two", "--stream")
    assert done.code == 0, done.stderr
    assert record(mlcli, "two")["packages"] == kept["packages"]


def test_a_job_runs_with_a_requirements_file(mlcli, tmp_path):
    (tmp_path / "project").mkdir()
    wheel(tmp_path / "project" / "wheels", "alpha", "3.0")
    (tmp_path / "project" / "requirements.txt").write_text("--no-index\n--find-links wheels\nalpha  # the only one\n")
    file = job(tmp_path, "{conda_file: requirements.txt}", 'python -c "import alpha; print(alpha.version)"')
    done = mlcli("job", "create", "--file", file, "--stream")
    assert done.code == 0, done.stderr
    assert record(mlcli)["resolved"] == ["alpha==3.0"]


def test_a_misspelt_package_is_told_and_nothing_is_left(mlcli, tmp_path, channel):
    (tmp_path / "project" / "conda.yml").write_text("channels: [./channel]\ndependencies: [gret]\n")
    done = mlcli("job", "create", "--file", job(tmp_path, "{conda_file: conda.yml}", "greet"), "--stream")
    assert done.code == 1
    assert "the package 'gret' was not found" in done.stderr
    assert "did you mean greet?" in done.stderr
    assert "Traceback" not in done.stderr
    assert not [path for path in (mlcli.home / "environments").iterdir() if path.is_dir()]
