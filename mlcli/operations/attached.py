"""The folder that a command is typed in or below, when it is attached: which workspace and experiment it names.

Its settings lie in ``.azureml`` (``aml_config`` in the oldest): ``config.json`` with ``Id`` and ``Scope``, whose end is
``/workspaces/W/projects/E``. A folder that Azure ML's tools have attached has a Scope that starts with a subscription, and
the file that its portal hands out has ``workspace_name``; both name a workspace of Azure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

from mlcli.domain.errors import MlcliError
from mlcli.operations.nearest import FILES, SETTINGS, nearest_file

_SCOPE = re.compile(r"(?P<before>.*)/workspaces/(?P<workspace>[^/]+)(?:/projects/(?P<experiment>[^/]+))?/?")


__all__ = ["SETTINGS", "Attached", "candidates", "downloaded", "find", "nearest_file", "of", "read", "scope"]


@dataclass(frozen=True)
class Attached:
    """What a folder's settings say. ``file``: where. ``workspace``: None when it is one of Azure, which ``azure`` then names."""

    folder: Path
    file: Path
    workspace: str | None
    experiment: str | None
    azure: str | None = None

    @property
    def of_azure(self) -> str:
        """What there is to say of a workspace of Azure."""
        return f"{self.file} names {self.azure} of Azure, which mlcli has nothing to do with"


def find(start: Path) -> Attached | None:
    """The nearest attached folder at or above ``start``; None when there is none. Raises MlcliError for settings that cannot be
    read.
    """
    file = nearest_file(start)
    return None if file is None else read(file)


def of(folder: Path) -> Attached | None:
    """What the folder itself has been attached to."""
    return next((read(file) for file in candidates(folder) if file.is_file()), None)


def downloaded(folder: Path) -> Attached | None:
    """What a ``config.json`` in the folder itself says, when it is the one that Azure's portal hands out."""
    file = folder / FILES[0]
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return None
    if not isinstance(found, dict) or not {"subscription_id", "workspace_name"} <= set(found):
        return None
    return Attached(folder, file, None, None, f"the workspace {found['workspace_name']!r}")


def candidates(folder: Path) -> Iterator[Path]:
    """Where a folder's settings may lie, the first that is there counts."""
    for settings in SETTINGS:
        yield from (folder / settings / name for name in FILES)


def read(file: Path) -> Attached:
    """What the settings say. Raises MlcliError."""
    folder = file.parent.parent
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is not JSON"
        hint = f"attach the folder anew: mlcli folder detach --path {folder}, then mlcli folder attach --path {folder}"
        raise MlcliError(f"{file} cannot be read: {why}", hint=hint) from error
    found = found if isinstance(found, dict) else {}
    scope = _SCOPE.fullmatch(str(found.get("Scope") or ""))
    if scope is not None:
        workspace, experiment = unquote(scope["workspace"]), scope["experiment"] and unquote(scope["experiment"])
        if "/subscriptions/" in scope["before"]:
            return Attached(folder, file, None, experiment, f"the workspace {workspace!r}")
        return Attached(folder, file, workspace, experiment)
    named = found.get("workspace_name") or found.get("WorkspaceName")
    return Attached(
        folder, file, None, None, f"the workspace {named!r}" if named else "no workspace that is known, maybe one"
    )


def scope(workspace: str, experiment: str) -> str:
    """What is written for a workspace and an experiment of ours."""
    return f"/workspaces/{quote(workspace, safe='')}/projects/{quote(experiment, safe='')}"
