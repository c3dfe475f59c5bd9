"""The calls about runs: what is logged to them, and what was."""

from __future__ import annotations

import json
import os
import time
from functools import partial
from typing import Any, Iterator

from . import fields, filters
from .errors import invalid, missing
from .fields import Request
from .lines import BLOCK
from .pages import in_view, page, view_type
from .run import ACTIVE, DELETED, STATUSES, Point, Run, now_ms, plain
from .store import OWN_EXPERIMENT, Store
from .wire import Payload

LONGEST_BATCH = 1_000_000
LONGEST_UPLOAD = 10 << 20
_FACTS = ("dataset_name", "dataset_digest", "model_id")
_DATASET = {"name": 500, "digest": 36, "source_type": 500, "source": 65535, "schema": 1048575, "profile": 16777215}
_NUMERIC = frozenset({"start_time", "end_time"})
_ATTRIBUTES = {"run_id", "run_name", "status", "user_id", "artifact_uri", "experiment_id", *_NUMERIC}
_FIRST = ("amber", "brisk", "calm", "dapper", "eager", "fond", "gentle", "hardy", "keen", "lucid", "mellow", "quiet")
_SECOND = ("alder", "beaver", "comet", "dune", "finch", "gull", "heron", "lark", "maple", "otter", "reed", "wren")


class RunCalls:
    """MLflow's calls about runs."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def routes(self) -> dict[tuple[str, str], Any]:
        """(method, path below ``/api/2.0/mlflow/``) -> call."""
        return {
            ("POST", "runs/create"): self.create,
            ("GET", "runs/get"): self.get,
            ("POST", "runs/search"): self.search,
            ("POST", "runs/update"): self.update,
            ("POST", "runs/delete"): self.delete,
            ("POST", "runs/restore"): self.restore,
            ("POST", "runs/log-metric"): self.log_metric,
            ("POST", "runs/log-parameter"): self.log_param,
            ("POST", "runs/log-batch"): self.log_batch,
            ("POST", "runs/set-tag"): self.set_tag,
            ("POST", "runs/delete-tag"): self.delete_tag,
            ("POST", "runs/log-inputs"): self.log_inputs,
            ("POST", "runs/outputs"): self.log_outputs,
            ("POST", "runs/log-model"): self.log_model,
            ("GET", "metrics/get-history"): self.history,
            ("GET", "metrics/get-history-bulk"): self.history_bulk,
            ("GET", "metrics/get-history-bulk-interval"): self.history_interval,
            ("GET", "artifacts/list"): self.list_artifacts,
            ("POST", "upload-artifact"): self.upload_artifact,
            ("POST", "experiments/search-datasets"): self.search_datasets,
        }

    # Runs

    def create(self, request: Request) -> Payload:
        """A run below the job's own."""
        experiment_id = fields.optional_text(request, "experiment_id") or OWN_EXPERIMENT
        start = fields.integer(request, "start_time")
        tags = _tags(request)
        name = fields.optional_text(request, "run_name") or ""
        tagged = tags.get("mlflow.runName", "")
        if name and tagged and name != tagged:
            why = f"Both 'run_name' argument and 'mlflow.runName' tag are specified, but with different values ('{name}', "
            raise invalid(f"{why}'{tagged}').")
        name = name or tagged or _random_name()
        user = fields.optional_text(request, "user_id") or tags.get("mlflow.user") or "unknown"
        new = self._store.create_run(experiment_id, name, user, now_ms() if start is None else start, tags)
        return {"run": self._told(new)}

    def get(self, request: Request) -> Payload:
        """With its newest metrics, all parameters and tags, inputs and outputs."""
        return {"run": self._told(self._run(request))}

    def update(self, request: Request) -> Payload:
        """Status, end, name."""
        run = self._active(request)
        changes: dict[str, Any] = {
            "status": fields.status(request, "status", STATUSES),
            "end_time_ms": fields.integer(request, "end_time"),
        }
        name = fields.optional_text(request, "run_name")
        changes = {key: value for key, value in changes.items() if value is not None}
        if changes:
            run.save(**changes)
        if name:
            run.set_tags({"mlflow.runName": name})
        return {"run_info": self._info(run)}

    def delete(self, request: Request) -> Payload:
        """What it logged stays; it can be restored."""
        self._run(request).save(lifecycle_stage=DELETED)
        return {}

    def restore(self, request: Request) -> Payload:
        """One that was deleted."""
        self._run(request).save(lifecycle_stage=ACTIVE)
        return {}

    def search(self, request: Request) -> Payload:
        """Latest start first, unless asked otherwise."""
        fields.most(request, 1000, 50_000)
        wanted = set(fields.texts(request, "experiment_ids"))
        view = view_type(request, "run_view_type")
        conditions = filters.parse(fields.optional_text(request, "filter") or "", _NUMERIC)
        found = [
            run
            for run in self._store.runs.values()
            if run.info["experiment_id"] in wanted
            and in_view(run.info["lifecycle_stage"], view)
            and filters.holds(conditions, partial(self._values, run))
        ]
        found.sort(key=lambda run: (-run.info["start_time_ms"], run.id))
        found = filters.ordered(found, filters.order(fields.texts(request, "order_by")), self._values)
        answer = page("runs", found, request, 1000, 50_000)
        return {**answer, "runs": [self._told(run) for run in answer["runs"]]}

    # Logging

    def log_metric(self, request: Request) -> Payload:
        """One point."""
        run = self._active(request)
        run.log_metrics([_point(request, "")])
        return {}

    def log_param(self, request: Request) -> Payload:
        """A parameter keeps its first value."""
        run = self._active(request)
        key = fields.key("Param key", fields.text(request, "key"))
        value = (fields.optional_text(request, "value") or "")[: fields.LONGEST_PARAM]
        old = run.params.get(key, value)
        if old != value:
            raise invalid(
                f"Changing param values is not allowed. Param with key='{key}' was already logged with value='{old}' "
                f"for run ID='{run.id}'. Attempted logging new value '{value}'."
            )
        run.log_params({key: value})
        return {}

    def log_batch(self, request: Request) -> Payload:
        """All of it is checked before any of it is written."""
        run = self._active(request)
        counts = {name: len(fields.items(request, name)) for name in fields.MOST_IN_BATCH}
        for name, count in counts.items():
            _check_count(name, count, fields.MOST_IN_BATCH[name])
        _check_count("metrics, params, and tags", sum(counts.values()), 1000)
        points = [_point(item, f"metrics[{index}].") for index, item in enumerate(fields.items(request, "metrics"))]
        params = _params(request)
        changed = [
            {"key": key, "old_value": run.params[key], "new_value": value}
            for key, value in params.items()
            if run.params.get(key, value) != value
        ]
        if changed:
            raise invalid(
                f"Changing param values is not allowed. Params were already logged='{changed}' for run ID='{run.id}'."
            )
        tags = _tags(request)
        run.log_params(params)
        run.set_tags(tags)
        run.log_metrics(points)
        return {}

    def set_tag(self, request: Request) -> Payload:
        """Set or replace it."""
        run = self._active(request)
        key = fields.key("Tag key", fields.text(request, "key"))
        run.set_tags({key: (fields.optional_text(request, "value") or "")[: fields.LONGEST_TAG]})
        return {}

    def delete_tag(self, request: Request) -> Payload:
        """One that is there."""
        run = self._active(request)
        key = fields.text(request, "key")
        if key not in run.tags:
            raise missing(f"No tag with name: {key} in run with id {run.id}")
        run.delete_tag(key)
        return {}

    def log_inputs(self, request: Request) -> Payload:
        """Datasets, and models that were read."""
        run = self._active(request)
        datasets = [_dataset(item, index) for index, item in enumerate(fields.items(request, "datasets"))]
        models = [{"model_id": fields.text(item, "model_id")} for item in fields.items(request, "models")]
        if not datasets and not models:
            raise invalid("Missing value for required parameter 'datasets': at least one dataset or model is wanted.")
        run.log_inputs(datasets + models)
        return {}

    def log_outputs(self, request: Request) -> Payload:
        """Models that were made."""
        run = self._active(request)
        models = [
            {"model_id": fields.text(item, "model_id"), "step": fields.integer(item, "step") or 0}
            for item in fields.items(request, "models")
        ]
        if not models:
            raise invalid("Missing value for required parameter 'models'.")
        run.log_outputs(models)
        return {}

    def log_model(self, request: Request) -> Payload:
        """As MLflow 2 does it: a tag that lists the run's models."""
        run = self._active(request)
        given = fields.text(request, "model_json")
        try:
            model = json.loads(given)
        except ValueError as broken:
            raise fields.invalid_value("model_json", given, f"it is not JSON: {broken}") from None
        absent = {"artifact_path", "utc_time_created", "flavors"} - set(model if isinstance(model, dict) else ())
        if absent:
            raise fields.invalid_value("model_json", given, f"it has no {', '.join(sorted(absent))}.")
        before = json.loads(run.tags.get("mlflow.log-model.history", "[]"))
        run.set_tags({"mlflow.log-model.history": json.dumps([*before, model])})
        return {}

    # Metric history

    def history(self, request: Request) -> Payload:
        """All points of a name, or a page of them; the token is an offset of the file."""
        run, name = self._run(request), fields.text(request, "metric_key")
        start = fields.offset(request)
        if fields.integer(request, "max_results") is None:
            return _streamed(run, name, start)
        size = fields.most(request, 25_000, 25_000)
        found: list[dict[str, Any]] = []
        for batch in run.history(name, start):
            for end, line in batch:
                found.append(_metric(line))
                if len(found) == size:
                    more = next((True for rest in run.history(name, end) if rest), False)
                    return {"metrics": found, **({"next_page_token": str(end)} if more else {})}
        return {"metrics": found}

    def history_bulk(self, request: Request) -> Payload:
        """One name in up to 100 runs."""
        run_ids = fields.texts(request, "run_id")
        if not run_ids:
            raise invalid("GetMetricHistoryBulk request must specify at least one run_id.")
        if len(run_ids) > 100:
            raise invalid("GetMetricHistoryBulk request cannot specify more than 100 run_ids.")
        name = fields.optional_text(request, "metric_key")
        if not name:
            raise invalid("GetMetricHistoryBulk request must specify a metric_key.")
        left = fields.most(request, 25_000, 25_000)
        found: list[dict[str, Any]] = []
        for run_id in sorted(run_ids):
            points = [_metric(line) for batch in self._store.run(run_id).history(name) for _, line in batch]
            points.sort(key=lambda point: (point["timestamp"], point["step"]))
            found += [dict(point, run_id=run_id) for point in points]
        return {"metrics": found[:left]}

    def history_interval(self, request: Request) -> Payload:
        """One name in up to 100 runs, evenly chosen steps."""
        run_ids = fields.texts(request, "run_ids")
        if not run_ids:
            raise invalid("Missing value for required parameter 'run_ids'.")
        if len(run_ids) > 100:
            raise invalid("GetMetricHistoryBulkInterval request must specify at most 100 run_ids.")
        name = fields.text(request, "metric_key")
        size = fields.integer(request, "max_results")
        size = 320 if size is None else size
        if not 1 <= size <= 2500:
            raise invalid("max_results must be between 1 and 2500.")
        first, last = fields.integer(request, "start_step"), fields.integer(request, "end_step")
        if (first is None) != (last is None):
            raise invalid("If either start step or end step are specified, both must be specified.")
        if first is not None and last is not None and first > last:
            raise invalid(f"end_step must be greater than start_step. Found {first} > {last}.")
        runs = {run_id: self._store.run(run_id) for run_id in run_ids}
        steps = {run_id: sorted(_steps(run, name, first, last)) for run_id, run in runs.items()}
        chosen = sampled(sorted(set().union(*steps.values())), size)
        for mine in steps.values():
            chosen.update(mine[:1] + mine[-1:])
        found = []
        for run_id, run in runs.items():
            lines = [line for batch in run.history(name) for _, line in batch if line[2] in chosen]
            lines.sort(key=lambda line: (line[2], line[3]))
            found += [dict(_metric(line), run_id=run_id) for line in lines]
        return {"metrics": found}

    # Artifacts and datasets

    def list_artifacts(self, request: Request) -> Payload:
        """What lies in a folder of the run's artifacts."""
        run = self._run(request)
        below = fields.artifact_path(fields.optional_text(request, "path") or "")
        return {"root_uri": self._store.artifact_uri(run), "files": listed(run.artifacts, below)}

    def get_artifact(self, request: Request) -> Payload:
        """A file."""
        run = self._run(request)
        return artifact(run.artifacts, fields.text(request, "path"))

    def upload_artifact(self, request: Request) -> Payload:
        """A small file; its bytes are the body."""
        for name in ("run_uuid", "path"):
            if not fields.optional_text(request, name):
                raise invalid(f"Request must specify {name}.")
        path = fields.artifact_path(request["path"])
        data = request.get("")
        if not data:
            raise invalid("Request must specify data.")
        if len(data) > LONGEST_UPLOAD:
            raise invalid(f"Artifact size is too large. Max size is {LONGEST_UPLOAD >> 20}MB.")
        target = os.path.join(self._active(request).artifacts, path)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        temporary = f"{target}.{os.getpid()}"
        with open(temporary, "wb") as file:
            file.write(data)
        os.replace(temporary, target)
        return {}

    def search_datasets(self, request: Request) -> Payload:
        """What the runs of up to 20 experiments have read."""
        wanted = fields.texts(request, "experiment_ids")
        if not wanted:
            raise invalid("SearchDatasets request must specify at least one experiment_id.")
        if len(wanted) > 20:
            raise invalid("SearchDatasets request cannot specify more than 20 experiment_ids.")
        found: list[dict[str, Any]] = []
        for run in self._store.runs.values():
            for item in run.inputs if run.info["experiment_id"] in wanted else ():
                if "dataset" in item:
                    told = {"experiment_id": run.info["experiment_id"], **_named(item)}
                    found += [] if told in found else [told]
        return {"dataset_summaries": found}

    # What clients are told

    def _run(self, request: Request) -> Run:
        name = "run_id" if request.get("run_id") is not None else "run_uuid"
        if request.get(name) is None:
            name = "run_id"
        return self._store.run(fields.text(request, name))

    def _active(self, request: Request) -> Run:
        run = self._run(request)
        run.check_active()
        return run

    def _info(self, run: Run) -> dict[str, Any]:
        info = run.info
        told = {
            "run_id": run.id,
            "run_uuid": run.id,
            "run_name": info["run_name"],
            "experiment_id": info["experiment_id"],
            "user_id": info["user"],
            "status": info["status"] or "RUNNING",
            "start_time": info["start_time_ms"],
            "end_time": info["end_time_ms"],
            "artifact_uri": self._store.artifact_uri(run),
            "lifecycle_stage": info["lifecycle_stage"],
        }
        return {name: value for name, value in told.items() if value is not None}

    def _told(self, run: Run) -> dict[str, Any]:
        metrics = [
            {"key": name, "value": plain(figures[0]), "step": figures[1], "timestamp": figures[2]}
            for name, figures in run.metrics.items()
        ]
        data = {"metrics": metrics, "params": _as_pairs(run.params), "tags": _as_pairs(run.tags)}
        inputs = {
            "dataset_inputs": [item for item in run.inputs if "dataset" in item],
            "model_inputs": [item for item in run.inputs if "dataset" not in item],
        }
        return {"info": self._info(run), "data": data, "inputs": inputs, "outputs": {"model_outputs": run.outputs}}

    def _values(self, run: Run, key: filters.Key) -> list[Any]:
        if key.kind == "metric":
            return run.metrics[key.name][:1] if key.name in run.metrics else []
        if key.kind in ("param", "tag"):
            known = run.params if key.kind == "param" else run.tags
            return [known[key.name]] if key.name in known else []
        if key.kind == "dataset":
            return [_named(item).get(key.name) for item in run.inputs if "dataset" in item]
        if key.name not in _ATTRIBUTES:
            raise fields.invalid_value(
                "filter", key.name, f"it is no attribute of runs: {', '.join(sorted(_ATTRIBUTES))}"
            )
        return [self._info(run).get(key.name)]


def sampled(steps: list[int], most: int) -> set[int]:
    """At most ``most`` of the steps, evenly chosen from the first on, and the last."""
    if len(steps) <= most:
        return set(steps)
    return {*steps[:: len(steps) // most], steps[-1]}


def listed(root: str, below: str) -> list[dict[str, Any]]:
    """Files and folders in a folder below ``root``, their paths relative to it."""
    try:
        entries = sorted(os.scandir(os.path.join(root, below)), key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return []
    found: list[dict[str, Any]] = []
    for entry in entries:
        told: dict[str, Any] = {"path": os.path.join(below, entry.name), "is_dir": entry.is_dir()}
        found.append(told if entry.is_dir() else {**told, "file_size": entry.stat().st_size})
    return found


def artifact(root: str, path: str) -> Iterator[bytes]:
    """The file ``path`` below ``root``. Raises RefusedError when it is no path below it, or there is no such file."""
    file = os.path.join(root, fields.artifact_path(path))
    if not os.path.isfile(file):
        raise missing(f"No such artifact: '{path}'")
    return _file(file)


def _point(item: Request, path: str) -> Point:
    name = fields.key("Metric name", fields.text(item, "key", f"{path}key"), f"{path}name")
    value = fields.number(item, "value", f"{path}value")
    time_ms = fields.required_integer(item, "timestamp", f"{path}timestamp")
    if time_ms < 0:
        raise fields.invalid_value(f"{path}timestamp", time_ms, "Timestamp must be a nonnegative long (64-bit integer)")
    step = fields.integer(item, "step", f"{path}step") or 0
    facts = {fact: fields.text(item, fact) for fact in _FACTS if item.get(fact)}
    return name, value, step, time_ms, facts or None


def _params(request: Request) -> dict[str, str]:
    found: dict[str, str] = {}
    for index, (key, value) in enumerate(fields.pairs(request, "params")):
        fields.key("Param key", key, f"params[{index}].key")
        if key in found:
            raise invalid(
                f"Duplicate parameter keys have been submitted: ['{key}']. "
                "Please ensure the request contains only one param value per param key."
            )
        found[key] = value[: fields.LONGEST_PARAM]
    return found


def _tags(request: Request) -> dict[str, str]:
    return {
        fields.key("Tag key", key, f"tags[{index}].key"): value[: fields.LONGEST_TAG]
        for index, (key, value) in enumerate(fields.pairs(request, "tags"))
    }


def _check_count(what: str, count: int, limit: int) -> None:
    if count > limit:
        raise invalid(
            f"A batch logging request can contain at most {limit} {what}. Got {count} {what}. "
            f"Please split up {what} across multiple requests and try again."
        )


def _dataset(item: Request, index: int) -> dict[str, Any]:
    given = item.get("dataset")
    path = f"datasets[{index}].dataset"
    if not isinstance(given, dict):
        raise invalid(f"Missing value for required parameter '{path}'.")
    for name in ("name", "digest", "source_type", "source"):
        fields.text(given, name, f"{path}.{name}")
    dataset = {name: value for name in _DATASET if (value := fields.optional_text(given, name)) is not None}
    for name, value in dataset.items():
        if len(value) > _DATASET[name]:
            raise fields.too_long(f"Dataset {name}", value, _DATASET[name])
    tags = [{"key": key, "value": value} for key, value in fields.pairs(item, "tags")]
    return {"dataset": dataset, "tags": tags}


def _named(item: dict[str, Any]) -> dict[str, Any]:
    told = {"name": item["dataset"]["name"], "digest": item["dataset"]["digest"]}
    context = [tag["value"] for tag in item["tags"] if tag["key"] == "mlflow.data.context"]
    return {**told, "context": context[0]} if context else told


def _metric(line: list[Any]) -> dict[str, Any]:
    name, value, step, time_ms, *more = line
    return {"key": name, "value": value, "timestamp": time_ms, "step": step, **(more[0] if more else {})}


def _steps(run: Run, name: str, first: int | None, last: int | None) -> set[int]:
    return {
        line[2]
        for batch in run.history(name)
        for _, line in batch
        if (first is None or line[2] >= first) and (last is None or line[2] <= last)
    }


def _streamed(run: Run, name: str, start: int) -> Iterator[bytes]:
    """``{"metrics": [...]}`` in pieces: a history may be larger than what this process may take."""
    before = b'{"metrics": ['
    for batch in run.history(name, start):
        if batch:
            yield before + ", ".join(json.dumps(_metric(line)) for _, line in batch).encode()
            before = b", "
    yield before + b"]}" if before != b", " else b"]}"


def _file(path: str) -> Iterator[bytes]:
    with open(path, "rb") as file:
        while True:
            data = file.read(BLOCK)
            if not data:
                return
            yield data


def _as_pairs(values: dict[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in values.items()]


def _random_name() -> str:
    first, second, number = os.urandom(1)[0], os.urandom(1)[0], time.time_ns() // 1000 % 1000
    return f"{_FIRST[first % len(_FIRST)]}-{_SECOND[second % len(_SECOND)]}-{number}"
