"""The calls about logged models, as MLflow 3 has them."""

from __future__ import annotations

import os
from functools import partial
from typing import Any, Callable

from . import fields, filters
from .errors import missing
from .fields import Request
from .pages import page
from .run import ACTIVE, DELETED, now_ms
from .run_calls import artifact, listed
from .store import MODEL_STATUSES, Store, file_uri
from .wire import Payload

_NUMERIC = frozenset({"creation_timestamp", "last_updated_timestamp"})
_ATTRIBUTES = {"name", "model_id", "model_type", "status", "source_run_id", "experiment_id", *_NUMERIC}
_PENDING = MODEL_STATUSES[1]


class ModelCalls:
    """MLflow's calls about logged models."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def routes(self) -> dict[tuple[str, str], Any]:
        """(method, path below ``/api/2.0/mlflow/``) -> call."""
        return {
            ("POST", "logged-models"): self.create,
            ("POST", "logged-models/search"): self.search,
        }

    def about_one(self, method: str, parts: list[str]) -> Callable[[Request], Payload] | None:
        """The call of ``logged-models/ID/...``, if there is one."""
        model_id, rest = parts[0], parts[1:]
        if method == "DELETE" and len(rest) == 2 and rest[0] == "tags":
            return partial(self.delete_tag, model_id, rest[1])
        found = {
            ("GET", ""): self.get,
            ("PATCH", ""): self.finalize,
            ("DELETE", ""): self.delete,
            ("PATCH", "tags"): self.set_tags,
            ("POST", "params"): self.log_params,
            ("GET", "artifacts/directories"): self.list_artifacts,
            ("GET", "artifacts/files"): self.get_artifact,
        }.get((method, "/".join(rest)))
        return None if found is None else partial(found, model_id)

    def create(self, request: Request) -> Payload:
        """A model that is being written."""
        experiment_id = fields.text(request, "experiment_id")
        self._store.active_experiment(experiment_id)
        model_id = f"m-{os.urandom(16).hex()}"
        now = now_ms()
        model = {
            "model_id": model_id,
            "experiment_id": experiment_id,
            "name": fields.optional_text(request, "name") or f"model-{model_id[2:10]}",
            "model_type": fields.optional_text(request, "model_type") or "",
            "source_run_id": fields.optional_text(request, "source_run_id") or "",
            "status": _PENDING,
            "creation_timestamp_ms": now,
            "last_updated_timestamp_ms": now,
            "lifecycle_stage": ACTIVE,
            "params": dict(fields.pairs(request, "params")),
            "tags": dict(fields.pairs(request, "tags")),
        }
        self._store.save_model(model)
        return self._answer(model)

    def get(self, model_id: str, request: Request) -> Payload:
        """One model."""
        is_any_wanted = str(request.get("allow_deleted", "")).lower() == "true"
        return self._answer(self._store.model(model_id, is_deleted_wanted=is_any_wanted))

    def finalize(self, model_id: str, request: Request) -> Payload:
        """It is ready, or was not written."""
        model = self._store.model(model_id)
        status = fields.status(request, "status", MODEL_STATUSES)
        if status is None:
            raise fields.invalid_value("status", None, "it is wanted")
        return self._answer(self._change(model, status=status))

    def delete(self, model_id: str, _request: Request) -> Payload:
        """Its files stay."""
        self._change(self._store.model(model_id), lifecycle_stage=DELETED)
        return {}

    def set_tags(self, model_id: str, request: Request) -> Payload:
        """Set or replace them."""
        model = self._store.model(model_id)
        return self._answer(self._change(model, tags={**model["tags"], **dict(fields.pairs(request, "tags"))}))

    def delete_tag(self, model_id: str, key: str, _request: Request) -> Payload:
        """One that is there."""
        model = self._store.model(model_id)
        if key not in model["tags"]:
            raise missing(f"No tag with key {key!r} found for model with ID {model_id!r}.")
        self._change(model, tags={name: value for name, value in model["tags"].items() if name != key})
        return {}

    def log_params(self, model_id: str, request: Request) -> Payload:
        """Set or replace them."""
        model = self._store.model(model_id)
        self._change(model, params={**model["params"], **dict(fields.pairs(request, "params"))})
        return {}

    def list_artifacts(self, model_id: str, request: Request) -> Payload:
        """What lies in a folder of the model."""
        folder = self._store.model_artifacts(self._store.model(model_id))
        below = fields.artifact_path(fields.optional_text(request, "artifact_directory_path") or "")
        return {"root_uri": file_uri(folder), "files": listed(folder, below)}

    def get_artifact(self, model_id: str, request: Request) -> Payload:
        """A file of the model."""
        folder = self._store.model_artifacts(self._store.model(model_id))
        return artifact(folder, fields.text(request, "artifact_file_path"))

    def search(self, request: Request) -> Payload:
        """Newest first, unless asked otherwise; where datasets are named, those measured on one of them."""
        wanted = fields.texts(request, "experiment_ids")
        datasets = fields.items(request, "datasets")
        conditions = filters.parse(fields.optional_text(request, "filter") or "", _NUMERIC)
        found = [
            model
            for model in self._store.models.values()
            if model["experiment_id"] in wanted
            and model["lifecycle_stage"] == ACTIVE
            and (not datasets or any(_fits(point, datasets) for point in self._store.model_metrics(model["model_id"])))
            and filters.holds(conditions, partial(self._values, datasets, model))
        ]
        found.sort(key=lambda model: (-model["creation_timestamp_ms"], model["model_id"]))
        for clause in reversed(fields.items(request, "order_by")):
            (key, _), *_ = filters.order([fields.text(clause, "field_name")])
            is_descending = clause.get("ascending", True) is False
            of = [clause] if clause.get("dataset_name") else []
            found = filters.ordered(found, [(key, is_descending)], partial(self._values, of))
        answer = page("models", found, request, 50, 1000)
        return {**answer, "models": [self._told(model) for model in answer["models"]]}

    def _change(self, model: dict[str, Any], **changes: Any) -> dict[str, Any]:
        changed = {**model, "last_updated_timestamp_ms": now_ms(), **changes}
        self._store.save_model(changed)
        return changed

    def _answer(self, model: dict[str, Any]) -> Payload:
        return {"model": self._told(model)}

    def _told(self, model: dict[str, Any]) -> dict[str, Any]:
        left_out = ("params", "tags", "lifecycle_stage")
        info = {name: value for name, value in model.items() if name not in left_out}
        info["artifact_uri"] = file_uri(self._store.model_artifacts(model))
        info["tags"] = [{"key": key, "value": value} for key, value in model["tags"].items()]
        params = [{"key": key, "value": value} for key, value in model["params"].items()]
        return {"info": info, "data": {"params": params, "metrics": self._store.model_metrics(model["model_id"])}}

    def _values(self, datasets: list[dict[str, Any]], model: dict[str, Any], key: filters.Key) -> list[Any]:
        if key.kind == "metric":
            points = (point for point in self._store.model_metrics(model["model_id"]) if point["key"] == key.name)
            return [fields.WORDS.get(point["value"], point["value"]) for point in points if _fits(point, datasets)]
        if key.kind in ("param", "tag"):
            known = model["params" if key.kind == "param" else "tags"]
            return [known[key.name]] if key.name in known else []
        if key.kind != "attribute" or key.name not in _ATTRIBUTES:
            raise fields.invalid_value(
                "filter", key.name, f"it is no attribute of models: {', '.join(sorted(_ATTRIBUTES))}"
            )
        name = f"{key.name}_ms" if key.name in _NUMERIC else key.name
        return [model[name].replace("LOGGED_MODEL_", "") if name == "status" else model[name]]


def _fits(point: dict[str, Any], datasets: list[dict[str, Any]]) -> bool:
    return not datasets or any(
        point.get("dataset_name") == wanted.get("dataset_name")
        and wanted.get("dataset_digest") in (None, "", point.get("dataset_digest"))
        for wanted in datasets
    )
