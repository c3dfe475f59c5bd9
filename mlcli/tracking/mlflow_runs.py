"""Runs handed on to MLflow, and taken back: a server (``http://``, ``https://``), or a folder of runs (``mlruns``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from mlcli.domain.errors import MlcliError, TransportError
from mlcli.domain.logged import MLCLI_RUN, PARENT, RUN_NAME, LoggedRun
from mlcli.domain.metrics import Series, plain
from mlcli.ports.exchange import RunFormat
from mlcli.tracking import mlruns
from mlcli.tracking._server import Server

_METRICS_AT_ONCE = 1000
_OTHERS_AT_ONCE = 100
_PROXY = "/api/2.0/mlflow-artifacts/artifacts"
_LONGEST_PARAM = 6000
_LONGEST_TAG = 5000


class MlflowFormat(RunFormat):
    """A server gives runs ids of its own; in a folder they keep theirs."""

    has_artifacts = True

    def write(self, runs: Sequence[LoggedRun], place: str) -> Sequence[str]:
        """What is on a server already stays as it is."""
        if not _is_server(place):
            return mlruns.write(runs, _folder(place))
        with closing(Server(place, {})) as server:
            return list(_Sender(server).send(runs))

    def read(self, place: str, scratch: Path) -> Sequence[LoggedRun]:
        """Runs that are not deleted."""
        if not _is_server(place):
            return mlruns.read(_folder(place))
        with closing(Server(place, {})) as server:
            return sorted(_received(server, scratch), key=lambda run: (run.parent is not None, run.start_ms or 0))


def _is_server(place: str) -> bool:
    return place.startswith(("http://", "https://"))


def _folder(place: str) -> Path:
    if place.startswith("file:"):
        return Path(unquote(urlsplit(place).path))
    if "://" in place or place == "databricks":
        raise MlcliError(
            f"{place.partition('://')[0]} is no place that mlcli knows", hint="a folder, or http://HOST:PORT"
        )
    return Path(place)


class _Sender:
    """Logs runs to a server, one after the other."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._experiments: dict[str, str] = {}
        self._ids: dict[str, str] = {}

    def send(self, runs: Sequence[LoggedRun]) -> Iterator[str]:
        """Sentences about what has no place there."""
        for run in runs:
            experiment = self._experiment(run.experiment)
            there = self._there(run, experiment)
            if there is not None:
                self._ids[run.run_id] = there
                yield f"{run.name} is there already, as {there}: it was left as it is"
                continue
            yield from self._send(run, experiment)

    def _experiment(self, name: str) -> str:
        if name not in self._experiments:
            found = [
                one["experiment_id"]
                for page in self._server.pages("experiments/search", {"max_results": 1000})
                for one in page.get("experiments", ())
                if one["name"] == name
            ]
            made = found or [self._server.ask("POST", "experiments/create", json={"name": name})["experiment_id"]]
            self._experiments[name] = str(made[0])
        return self._experiments[name]

    def _there(self, run: LoggedRun, experiment: str) -> str | None:
        """Its id, when an earlier export has brought it there; what one that was cut off has left goes."""
        condition = f"tags.`{MLCLI_RUN}` = '{run.run_id}'"
        asked = {"experiment_ids": [experiment], "filter": condition, "max_results": 100}
        for found in (one for page in self._server.pages("runs/search", asked) for one in page.get("runs", ())):
            run_id = str(found["info"]["run_id"])
            if found["info"]["status"] == run.status and run.status != "RUNNING":
                return run_id
            self._server.ask("POST", "runs/delete", json={"run_id": run_id})
        return None

    def _send(self, run: LoggedRun, experiment: str) -> Iterator[str]:
        tags = {**run.all_tags, MLCLI_RUN: run.run_id}
        if run.parent:
            tags[PARENT] = self._ids.get(run.parent, run.parent)
        made = self._server.ask(
            "POST",
            "runs/create",
            json={
                "experiment_id": experiment,
                "run_name": run.name,
                "start_time": run.start_ms,
                "tags": [{"key": key, "value": tags[key]} for key in (MLCLI_RUN, RUN_NAME, PARENT) if key in tags],
            },
        )["run"]
        run_id = self._ids[run.run_id] = str(made["info"]["run_id"])
        params, no_params = _sorted_out(run, "params", run.params)
        rest, no_tags = _sorted_out(run, "tags", {key: tags[key] for key in tags if key not in {MLCLI_RUN, PARENT}})
        points, no_metrics = _sorted_out(run, "metrics", run.metrics)
        yield from (*no_params, *no_tags, *no_metrics)
        for key, values, longest in (("params", params, _LONGEST_PARAM), ("tags", rest, _LONGEST_TAG)):
            pairs = [{"key": name, "value": str(value)[:longest]} for name, value in values.items()]
            for start in range(0, len(pairs), _OTHERS_AT_ONCE):
                self._log(run_id, **{key: pairs[start : start + _OTHERS_AT_ONCE]})
        logged = list(_points(points))
        for start in range(0, len(logged), _METRICS_AT_ONCE):
            self._log(run_id, metrics=logged[start : start + _METRICS_AT_ONCE])
        yield from self._artifacts(run, str(made["info"]["artifact_uri"]))
        ended = {} if run.end_ms is None else {"end_time": run.end_ms}
        self._server.ask("POST", "runs/update", json={"run_id": run_id, "status": run.status, **ended})

    def _log(self, run_id: str, **values: Any) -> None:
        self._server.ask("POST", "runs/log-batch", json={"run_id": run_id, **values})

    def _artifacts(self, run: LoggedRun, uri: str) -> Iterator[str]:
        """Through the server's own proxy, or straight into a folder of this machine."""
        if not run.artifacts:
            return
        place = urlsplit(uri)
        if place.scheme == "mlflow-artifacts":
            for path, file in run.artifacts.items():
                with file.open("rb") as data:
                    self._server.request("PUT", f"{_PROXY}{quote(f'{place.path}/{path}')}", content=data)
            return
        yield f"artifacts of {run.name} were left out: the server keeps them at {place.scheme or 'a path'}, not with itself"


def _sorted_out(run: LoggedRun, kind: str, values: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Those with names that MLflow takes, and sentences about the others."""
    refused = [name for name in values if not mlruns.is_name(name)]
    told = [f"{kind} {name!r} of {run.name} was left out: MLflow takes no such name" for name in refused]
    return {name: value for name, value in values.items() if name not in refused}, told


def _points(metrics: Mapping[str, Series]) -> Iterator[dict[str, Any]]:
    for name, points in metrics.items():
        for point in points:
            yield {"key": name, "value": plain(point.value), "step": point.step, "timestamp": point.time_ms}


def _received(server: Server, scratch: Path) -> Iterator[LoggedRun]:
    for experiment in (
        one for page in server.pages("experiments/search", {"max_results": 1000}) for one in page.get("experiments", ())
    ):
        asked = {"experiment_ids": [experiment["experiment_id"]], "max_results": 1000}
        for found in (one for page in server.pages("runs/search", asked) for one in page.get("runs", ())):
            yield _run(server, found, str(experiment["name"]), scratch)


def _run(server: Server, found: Mapping[str, Any], experiment: str, scratch: Path) -> LoggedRun:
    info, data = found["info"], found["data"]
    run_id = str(info["run_id"])
    tags = {entry["key"]: entry["value"] for entry in data.get("tags", ())}
    start, end = (int(info[key]) if info.get(key) else None for key in ("start_time", "end_time"))
    return LoggedRun(
        run_id,
        str(info.get("run_name") or tags.get(RUN_NAME) or run_id),
        experiment,
        str(info["status"]),
        start,
        end,
        tags.get(PARENT),
        {entry["key"]: entry["value"] for entry in data.get("params", ())},
        tags,
        {entry["key"]: server.history(run_id, entry["key"]) for entry in data.get("metrics", ())},
        dict(_fetched(server, run_id, "", scratch)),
    )


def _fetched(server: Server, run_id: str, folder: str, scratch: Path) -> Iterator[tuple[str, Path]]:
    """What the server hands out of the run's artifacts; a store that it cannot read has none."""
    try:
        listed = server.ask("GET", "artifacts/list", params={"run_id": run_id, **({"path": folder} if folder else {})})
    except TransportError as failed:
        if failed.transient:
            raise
        return
    for entry in listed.get("files", ()):
        path = str(entry["path"])
        if entry.get("is_dir"):
            yield from _fetched(server, run_id, path, scratch)
            continue
        if ".." in PurePosixPath(path).parts or path.startswith("/"):
            raise MlcliError(f"the server tells of an artifact {path!r}, which leads out of the run's folder")
        target = scratch / run_id / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(server.request("GET", "/get-artifact", params={"run_id": run_id, "path": path}).content)
        yield path, target
