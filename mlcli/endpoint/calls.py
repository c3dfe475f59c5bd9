"""The routes, and the calls about experiments."""

from __future__ import annotations

import re
from functools import partial
from typing import Any, Callable, Dict, Tuple

from . import fields, filters
from .errors import RefusedError, missing
from .fields import Request
from .model_calls import ModelCalls
from .pages import in_view, page, view_type
from .run import ACTIVE, DELETED
from .run_calls import RunCalls
from .store import Store, file_uri
from .wire import Payload

VERSION = "3.0.0"  # of the interface, for clients that ask what a server can do
_PREFIX = re.compile(r"/+(?:ajax-)?api/\d\.\d/mlflow/")
_NUMERIC = frozenset({"creation_time", "last_update_time"})
_NO_REGISTRY = (
    "This server is the one inside an mlcli job; it has no model registry. Log the model without registering it "
    "(leave registered_model_name out); when the job has ended, `mlcli model create` makes it a registered model."
)
_NO_TRACES = "This server is the one inside an mlcli job; it keeps runs and models, no traces and nothing made of them."
_ELSEWHERE = {
    "registered-models": _NO_REGISTRY,
    "model-versions": _NO_REGISTRY,
    "prompts": _NO_REGISTRY,
    "traces": _NO_TRACES,
    "get-trace-artifact": _NO_TRACES,
    "assessments": _NO_TRACES,
    "scorers": _NO_TRACES,
    "datasets": _NO_TRACES,
    "issues": _NO_TRACES,
    "label-schemas": _NO_TRACES,
    "review-queues": _NO_TRACES,
}

Call = Callable[..., Payload]
Routes = Dict[Tuple[str, str], Call]


class Calls:
    """MLflow's calls, answered from a store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._runs = RunCalls(store)
        self._models = ModelCalls(store)
        self._routes: Routes = {
            ("POST", "experiments/create"): self.create,
            ("GET", "experiments/get"): self.get,
            ("GET", "experiments/get-by-name"): self.get_by_name,
            ("GET", "experiments/list"): self.search,
            ("GET", "experiments/search"): self.search,
            ("POST", "experiments/search"): self.search,
            ("POST", "experiments/update"): self.update,
            ("POST", "experiments/delete"): self.delete,
            ("POST", "experiments/restore"): self.restore,
            ("POST", "experiments/set-experiment-tag"): self.set_tag,
            ("POST", "experiments/delete-experiment-tag"): self.delete_tag,
            **self._runs.routes(),
            **self._models.routes(),
        }

    def answer(self, method: str, path: str, request: Request) -> Payload:
        """The answer to a request (the query, or the body's JSON). Raises RefusedError, OSError."""
        if method == "GET" and path == "/get-artifact":
            return self._runs.get_artifact(request)
        prefix = _PREFIX.match(path)
        route = path[prefix.end() :] if prefix else path.strip("/")
        call = self._routes.get((method, route)) if prefix else None
        if call is not None:
            return call(request)
        first, _, rest = route.partition("/")
        if prefix and first == "logged-models":
            named = self._models.about_one(method, rest.split("/"))
            if named is not None:
                return named(request)
        if first in _ELSEWHERE or route == "v1/traces":
            raise RefusedError("FEATURE_DISABLED", _ELSEWHERE.get(first, _NO_TRACES))
        raise RefusedError("ENDPOINT_NOT_FOUND", f"{method} {path} is no call that mlcli's tracking server answers.")

    def create(self, request: Request) -> Payload:
        """The script's own experiment; until it logs, its run is taken there."""
        name = fields.text(request, "name")
        if len(name) > fields.LONGEST_EXPERIMENT_NAME:
            raise fields.too_long("Experiment name", name, fields.LONGEST_EXPERIMENT_NAME)
        location = fields.optional_text(request, "artifact_location")
        tags = dict(fields.pairs(request, "tags"))
        new = self._store.create_experiment(name, location, tags)
        self._store.enter(new)
        return {"experiment_id": new}

    def get(self, request: Request) -> Payload:
        """By its id."""
        return {"experiment": self._told(self._store.experiment(fields.text(request, "experiment_id")))}

    def get_by_name(self, request: Request) -> Payload:
        """By its name."""
        name = fields.text(request, "experiment_name")
        found = self._store.experiment_named(name)
        if found is None:
            raise missing(f"Could not find experiment with name '{name}'")
        if found["lifecycle_stage"] == ACTIVE:
            self._store.enter(found["experiment_id"])
        return {"experiment": self._told(found)}

    def search(self, request: Request) -> Payload:
        """Newest first, unless asked otherwise."""
        view = view_type(request, "view_type")
        conditions = filters.parse(fields.optional_text(request, "filter") or "", _NUMERIC)
        found = [one for one in self._store.experiments.values() if in_view(one["lifecycle_stage"], view)]
        found = [one for one in found if filters.holds(conditions, partial(_values, one))]
        found.sort(key=lambda one: (-one["creation_time"], -int(one["experiment_id"])))
        found = filters.ordered(found, filters.order(fields.texts(request, "order_by")), _values)
        return page("experiments", [self._told(one) for one in found], request, 1000, 50_000)

    def update(self, request: Request) -> Payload:
        """Another name."""
        experiment_id = fields.text(request, "experiment_id")
        self._store.active_experiment(experiment_id)
        self._store.change_experiment(experiment_id, name=fields.text(request, "new_name"))
        return {}

    def delete(self, request: Request) -> Payload:
        """It can be restored."""
        experiment_id = fields.text(request, "experiment_id")
        self._store.active_experiment(experiment_id)
        self._store.change_experiment(experiment_id, lifecycle_stage=DELETED)
        return {}

    def restore(self, request: Request) -> Payload:
        """One that was deleted."""
        self._store.change_experiment(fields.text(request, "experiment_id"), lifecycle_stage=ACTIVE)
        return {}

    def set_tag(self, request: Request) -> Payload:
        """Set or replace it."""
        experiment = self._store.active_experiment(fields.text(request, "experiment_id"))
        key = fields.key("Tag key", fields.text(request, "key"))
        value = fields.optional_text(request, "value") or ""
        if len(value) > fields.LONGEST_TAG:
            raise fields.too_long("Tag value", value, fields.LONGEST_TAG)
        self._store.change_experiment(experiment["experiment_id"], tags={**experiment["tags"], key: value})
        return {}

    def delete_tag(self, request: Request) -> Payload:
        """One that is there."""
        experiment = self._store.active_experiment(fields.text(request, "experiment_id"))
        key = fields.text(request, "key")
        if key not in experiment["tags"]:
            raise missing(f"No tag with name: {key} in experiment with id {experiment['experiment_id']}")
        tags = {name: value for name, value in experiment["tags"].items() if name != key}
        self._store.change_experiment(experiment["experiment_id"], tags=tags)
        return {}

    def _told(self, experiment: dict[str, Any]) -> dict[str, Any]:
        tags = [{"key": key, "value": value} for key, value in experiment["tags"].items()]
        location = experiment["artifact_location"] or file_uri(self._store.folder)
        return {**experiment, "artifact_location": location, "tags": tags}


def _values(experiment: dict[str, Any], key: filters.Key) -> list[Any]:
    if key.kind == "tag":
        return [experiment["tags"][key.name]] if key.name in experiment["tags"] else []
    if key.kind != "attribute" or key.name not in {"name", "experiment_id", *_NUMERIC}:
        raise fields.invalid_value("filter", f"{key.kind}s.{key.name}", "experiments have no such thing")
    return [experiment[key.name]]
