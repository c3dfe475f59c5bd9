"""The models that MLflow's clients have logged, of MLflow 3 and of MLflow 2, as they lie in a run folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Protocol

from mlcli.operations import layout

_RECORD = "model.json"
_HISTORY = "mlflow.log-model.history"
_ACTIVE = "active"


class Files(Protocol):
    """What :class:`~mlcli.operations.run_files.RunFilesOf` offers of them."""

    def local(self, path: str) -> Any:
        """The file here."""

    def below(self, folder: str) -> Mapping[str, int]:
        """The files below a folder."""


def logged_models(files: Files, tags: Mapping[str, str | None]) -> list[dict[str, Any]]:
    """``name``, ``model_id`` (MLflow 2: None), ``path`` of the folder with ``MLmodel`` in the run folder; the oldest first."""
    history = tags.get(_HISTORY)
    return [*(_of_mlflow_2(history) if history else ()), *_of_mlflow_3(files)]


def _of_mlflow_3(files: Files) -> list[dict[str, Any]]:
    """A record a model. Raises TransportError."""
    found = []
    for path in files.below(layout.MODELS):
        model_id, _, file = path.partition("/")
        local = files.local(f"{layout.MODELS}/{path}") if file == _RECORD else None
        if local is not None:
            with suppress(ValueError, KeyError, TypeError, OSError):
                told = json.loads(local.read_bytes())
                if told["lifecycle_stage"] == _ACTIVE:
                    place = f"{layout.MODELS}/{model_id}/artifacts"
                    found.append((told["creation_timestamp_ms"], told["name"], model_id, place))
    return [{"name": name, "model_id": model_id, "path": place} for _, name, model_id, place in sorted(found)]


def _of_mlflow_2(history: str) -> list[dict[str, Any]]:
    with suppress(ValueError, KeyError, TypeError):
        paths = [str(model["artifact_path"]) for model in json.loads(history)]
        return [{"name": path, "model_id": None, "path": f"{layout.ARTIFACTS}/{path}"} for path in dict.fromkeys(paths)]
    return []
