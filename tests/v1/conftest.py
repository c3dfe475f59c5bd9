"""An attached folder with a script, for tests of the older commands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Mlcli, Result
from tests.ssh.conftest import attached, jobs

__all__ = ["attached", "jobs", "project"]

SCRIPT = """\
import os, sys
print("got", sys.argv[1:], os.environ.get("EXAMPLE_ENV_VAR"), os.environ["AZUREML_ARM_PROJECT_NAME"])
os.makedirs("outputs", exist_ok=True)
open("outputs/model.txt", "w").write("a model")
numbers = dict(zip(sys.argv[1::2], sys.argv[2::2]))
print(f"metric: Accuracy={numbers.get('--penalty', 0)}")
sys.exit(int(numbers.get("--code", 0)))
"""
MANAGED = (
    "environment: {python: {userManagedDependencies: true}, environmentVariables: {EXAMPLE_ENV_VAR: EXAMPLE_VALUE}}\n"
)


def ok(done: Result) -> Any:
    """What a command printed as JSON; it must have gone well."""
    assert done.code == 0, done.stderr
    return done.json if done.stdout else None


@pytest.fixture
def project(mlcli: Mlcli, tmp_path: Path) -> Path:
    """A folder ``iris`` with ``train.py`` and the run configuration ``mine``, which needs no environment; not attached yet."""
    folder = tmp_path / "iris"
    (folder / ".azureml").mkdir(parents=True)
    (folder / "train.py").write_text(SCRIPT)
    (folder / ".azureml" / "mine.runconfig").write_text(
        f"script: train.py\narguments: [--rate, 0.1]\ntarget: local\n{MANAGED}"
    )
    return folder
