"""Packages from npm, for the tests that check our files with the tools of others."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def npm(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Installs a package into a folder of the tests' own; answers its ``node_modules``."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not on this machine")

    @cache
    def install(package: str) -> Path:
        folder = tmp_path_factory.mktemp("npm")
        command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(folder), package]
        done = subprocess.run(command, capture_output=True, check=False, text=True, cwd=folder)
        assert done.returncode == 0, done.stderr
        return folder / "node_modules"

    return install
