"""Sweeps of real, trivial jobs, through the installed ``mlcli``."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mlcli import agent
from tests.conftest import Mlcli, Result


@dataclass(frozen=True)
class Sweeps:
    """Calls of one test. A trial's command writes its run's name to ``ran``: it tells how often each has run."""

    mlcli: Mlcli
    until: Callable[..., Any]

    def file(self, command: str, space: dict[str, Any] | None = None, **more: Any) -> Path:
        """A job file: minimise ``loss`` over a grid of ten, two at a time, unless ``more`` says otherwise."""
        limits = {"max_total_trials": 10, "max_concurrent_trials": 2, **more.pop("limits", {})}
        counted = f"echo $AZUREML_RUN_ID >> {self.mlcli.cwd}/ran\n{command}"
        document = {
            "type": "sweep",
            "trial": {"command": counted, "environment": "current", **more.pop("trial", {})},
            "search_space": space or {"x": {"type": "choice", "values": list(range(10))}},
            "sampling_algorithm": "grid",
            "objective": {"primary_metric": "loss", "goal": "minimize"},
            "limits": limits,
            **more,
        }
        path = self.mlcli.cwd / "sweep.yml"
        path.write_text(json.dumps(document))
        return path

    def run(self, file: Path, name: str = "s", **more: Any) -> Result:
        """Create it and follow it to its end."""
        return self.mlcli("job", "create", "-f", file, "--name", name, "--stream", "-o", "none", **more)

    def begin(self, file: Path, name: str = "s") -> None:
        """Create it, and do not wait."""
        done = self.mlcli("job", "create", "-f", file, "--name", name, "-o", "none")
        assert done.code == 0, done.stderr

    def show(self, name: str = "s") -> dict[str, Any]:
        done = self.mlcli("job", "show", "-n", name, "-o", "json")
        assert done.code == 0, done.stderr
        return done.json  # type: ignore[no-any-return]

    def trials(self, name: str = "s") -> list[dict[str, Any]]:
        done = self.mlcli("sweep", "trials", "-n", name, "-o", "json")
        assert done.code == 0, done.stderr
        return done.json  # type: ignore[no-any-return]

    def wait(self, name: str = "s") -> dict[str, Any]:
        """Its record when it has ended."""
        self.mlcli("job", "wait", "-n", name, "--timeout", "90s", "-o", "none")
        return self.show(name)

    def ran(self) -> list[str]:
        """The runs whose command has run, once for each time."""
        file = self.mlcli.cwd / "ran"
        return sorted(file.read_text().split()) if file.exists() else []

    def folder(self, name: str = "s") -> Path:
        return self.mlcli.home / "workspaces" / "default" / "runs" / name

    def kill_supervisor(self, name: str = "s") -> bool:
        """Whether there was one to kill."""
        try:
            who = json.loads((self.folder(name) / "supervisor.json").read_text())
        except FileNotFoundError:
            return False
        if not agent.is_alive(who):
            return False
        with suppress(ProcessLookupError):
            os.kill(who["pid"], signal.SIGKILL)
        self.until(lambda: not agent.is_alive(who))
        return True


@pytest.fixture
def sweeps(mlcli: Mlcli, until: Callable[..., Any]) -> Sweeps:
    return Sweeps(mlcli, until)
