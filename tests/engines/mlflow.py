"""MLflow's own clients, each in a virtual environment that is made once a machine.

``mlflow_python``  ``mlflow_python("skinny 3")``: the path of a Python that has it; see ``CLIENTS`` for the names.
"""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from tests.engines import Unavailable, cache_folder, engine_or_skip, may_install
from tests.engines.packages import must

_LEARNING = ("scikit-learn", "lightgbm", "psutil")
CLIENTS = {
    "skinny 2": ("mlflow-skinny<3",),
    "skinny 3": ("mlflow-skinny>=3,<4",),
    "full 2": ("mlflow<3", *_LEARNING),
    "full 3": ("mlflow>=3,<4", *_LEARNING),
}


@pytest.fixture(scope="session")
def mlflow_python() -> Callable[[str], Path]:
    """The interpreter of one of ``CLIENTS``."""

    def find(name: str) -> Path:
        with engine_or_skip(f"MLflow client ({name})"):
            return _environment(name)

    return find


def _environment(name: str) -> Path:
    packages = CLIENTS[name]
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    digest = sha256(" ".join([version, *packages]).encode()).hexdigest()[:8]
    folder = cache_folder() / f"mlflow-{name.replace(' ', '-')}-{digest}"
    python = folder / "bin" / "python"
    with (cache_folder() / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _works(python):
            if not may_install():
                raise Unavailable(f"{' '.join(packages)} not installed; MLCLI_TEST_ENGINES=all installs them")
            shutil.rmtree(folder, ignore_errors=True)
            _install(folder, python, packages)
    return python


def _works(python: Path) -> bool:
    return (python.parent.parent / "done").exists() and subprocess.run([python, "-c", ""], check=False).returncode == 0


def _install(folder: Path, python: Path, packages: tuple[str, ...]) -> None:
    from uv import find_uv_bin

    must([find_uv_bin(), "venv", "--quiet", "--python", sys.executable, str(folder)])
    must([find_uv_bin(), "pip", "install", "--quiet", "--python", str(python), *packages])
    (folder / "done").touch()
