"""MLflow's folder of runs (``mlruns``), as its clients of every version lay it out.

``EXPERIMENT/meta.yaml``; below it ``RUN/meta.yaml``, ``metrics/NAME`` (a line ``TIME_MS VALUE STEP`` a point), ``params/NAME``,
``tags/NAME``, ``artifacts/``. MLflow 3 opens it when ``MLFLOW_ALLOW_FILE_STORE=true`` is set.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import posixpath
import re
import shutil
import time
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from mlcli.domain.errors import MlcliError, StoreError
from mlcli.domain.logged import MLCLI_RUN, PARENT, RUN_NAME, LoggedRun
from mlcli.domain.metrics import Series

_META = "meta.yaml"
_STATUSES = {"RUNNING": 1, "SCHEDULED": 2, "FINISHED": 3, "FAILED": 4, "KILLED": 5}
_WORDS = {number: word for word, number in _STATUSES.items()}
_NAME = re.compile(r"[/\w.\- :]+")
_LONGEST = 250


def write(runs: Sequence[LoggedRun], folder: Path) -> list[str]:
    """Put runs there, each whole or not at all; those of an earlier export are replaced. Answers what has no place there."""
    problems: list[str] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for run in runs:
            experiment = _experiment(folder, run.experiment)
            problems += _write_run(run, folder / experiment)
    except OSError as failed:
        raise StoreError(
            f"cannot write {folder}: {failed.strerror or failed}", hint="give another place: --path"
        ) from failed
    return problems


def read(folder: Path) -> list[LoggedRun]:
    """The runs of all experiments that are not deleted. Raises MlcliError when there is none."""
    experiments = {meta.parent: _yaml(meta) for meta in sorted(folder.glob(f"*/{_META}"))}
    found = [
        _read_run(meta.parent, str(told.get("name", "Default")))
        for experiment, told in experiments.items()
        for meta in sorted(experiment.glob(f"*/{_META}"))
        if not meta.parent.name.startswith(".") and _yaml(meta).get("lifecycle_stage") != "deleted"
    ]
    if not experiments:
        raise MlcliError(
            f"{folder} is no folder of MLflow's runs", hint=f"it has EXPERIMENT/{_META}: often called mlruns"
        )
    return sorted(found, key=lambda run: (run.parent is not None, run.start_ms or 0, run.run_id))


def _experiment(folder: Path, name: str) -> str:
    """The folder of the experiment, made if there is none of that name."""
    for meta in folder.glob(f"*/{_META}"):
        if _yaml(meta).get("name") == name:
            return meta.parent.name
    found = "0" if name == "Default" else str(int(hashlib.sha256(name.encode()).hexdigest()[:15], 16))
    now = int(time.time() * 1000)
    place = folder / found
    place.mkdir(exist_ok=True)
    facts = {
        "artifact_location": place.resolve().as_uri(),
        "creation_time": now,
        "experiment_id": found,
        "last_update_time": now,
        "lifecycle_stage": "active",
        "name": name,
    }
    _write_yaml(place / _META, facts)
    return found


def _write_run(run: LoggedRun, experiment: Path) -> list[str]:
    place = experiment / run.run_id
    if place.exists() and not (place / "tags" / MLCLI_RUN).exists():
        raise MlcliError(f"{place} is there, and is no run that mlcli has exported", hint="give another folder: --path")
    fresh = experiment / f".{run.run_id}.{os.getpid()}"
    problems: list[str] = []
    try:
        for kind in ("metrics", "params", "tags", "artifacts"):
            (fresh / kind).mkdir(parents=True)
        for kind, pairs in (("params", run.params), ("tags", run.all_tags)):
            problems += _write_each(run, fresh / kind, pairs, lambda value: value)
        problems += _write_each(run, fresh / "metrics", run.metrics, _lines)
        for path, source in run.artifacts.items():
            target = fresh / "artifacts" / path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
        _write_yaml(fresh / _META, _meta(run, experiment.name, run.artifacts_at or place / "artifacts"))
        if place.exists():
            shutil.rmtree(place)
        fresh.rename(place)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    return problems


def _meta(run: LoggedRun, experiment: str, artifacts: Path) -> dict[str, Any]:
    return {
        "artifact_uri": artifacts.absolute().as_uri(),
        "end_time": run.end_ms,
        "entry_point_name": "",
        "experiment_id": experiment,
        "lifecycle_stage": "active",
        "run_id": run.run_id,
        "run_name": run.name,
        "run_uuid": run.run_id,
        "source_name": "",
        "source_type": 4,
        "source_version": "",
        "start_time": run.start_ms,
        "status": _STATUSES.get(run.status, 1),
        "tags": [],
        "user_id": run.all_tags["mlflow.user"],
    }


def _write_each(run: LoggedRun, folder: Path, values: Mapping[str, Any], text: Callable[[Any], str]) -> Iterator[str]:
    """A file a name. Names that MLflow's clients refuse, and those that cannot be file and folder at once, are told."""
    for name, value in values.items():
        path = folder / name
        if not is_name(name):
            yield f"{folder.name} {name!r} of {run.name} was left out: MLflow takes no such name"
            continue
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text(value).encode("utf-8", "surrogatepass"))
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            yield f"{folder.name} {name!r} of {run.name} was left out: another name is a part of it"
        except OSError as failed:
            if failed.errno != errno.ENAMETOOLONG:  # a file's name has 255 bytes
                raise
            yield f"{folder.name} {name!r} of {run.name} was left out: it is too long for a file's name"


def is_name(name: str) -> bool:
    """Whether MLflow takes it for the name of a metric, a parameter or a tag."""
    plain = posixpath.normpath(name) == name and name != "." and not name.startswith(("..", "/"))
    return plain and len(name) <= _LONGEST and _NAME.fullmatch(name) is not None


def _lines(points: Series) -> str:
    columns = zip(points.times_ms, points.values, points.steps, strict=True)
    return "".join(f"{time_ms} {value!r} {step}\n" for time_ms, value, step in columns)


def _read_run(folder: Path, experiment: str) -> LoggedRun:
    meta = _yaml(folder / _META)
    tags = _texts(folder / "tags")
    run_id = str(meta.get("run_id") or meta.get("run_uuid") or folder.name)
    start, end = (None if meta.get(key) is None else int(meta[key]) for key in ("start_time", "end_time"))
    return LoggedRun(
        run_id,
        str(meta.get("run_name") or tags.get(RUN_NAME) or run_id),
        experiment,
        _WORDS.get(meta.get("status", 1), "RUNNING"),
        start,
        end,
        tags.get(PARENT),
        _texts(folder / "params"),
        tags,
        {name: _points(path) for name, path in _files(folder / "metrics").items()},
        _files(_artifacts(folder, str(meta.get("artifact_uri", "")))),
    )


def _artifacts(folder: Path, uri: str) -> Path:
    """A folder that was moved is told by its own place."""
    beside = folder / "artifacts"
    told = Path(unquote(urlsplit(uri).path))
    return told if uri.startswith(("file:", "/")) and told.is_dir() and not any(_files(beside)) else beside


def _points(path: Path) -> Series:
    values, steps, times = array("d"), array("q"), array("q")
    for number, line in enumerate(path.read_text().splitlines(), 1):
        cells = line.split(" ")
        try:
            time_ms, value, step = int(cells[0]), float(cells[1]), int(cells[2]) if len(cells) > 2 else 0
        except (ValueError, IndexError):
            raise MlcliError(f"{path}: line {number} is no point of a metric") from None
        times.append(time_ms)
        values.append(value)
        steps.append(step)
    return Series(values, steps, times)


def _texts(folder: Path) -> dict[str, str]:
    return {name: path.read_bytes().decode("utf-8", "surrogatepass") for name, path in _files(folder).items()}


def _files(folder: Path) -> dict[str, Path]:
    return {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}


def _yaml(path: Path) -> dict[str, Any]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        told = YAML(typ="safe", pure=True).load(path.read_bytes())
    except (OSError, YAMLError, UnicodeDecodeError) as failed:
        raise MlcliError(f"cannot read {path}: {failed}") from failed
    return told if isinstance(told, dict) else {}


def _write_yaml(path: Path, facts: Mapping[str, Any]) -> None:
    """JSON's texts are YAML's."""
    text = "".join(f"{key}: {json.dumps(value, ensure_ascii=False)}\n" for key, value in facts.items())
    path.write_text(text, encoding="utf-8")
