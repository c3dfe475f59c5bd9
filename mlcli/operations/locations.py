"""From what a job file names as data to a path of this machine or an address of the web, and from an output to its place."""

from __future__ import annotations

import os.path
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mlcli.domain.errors import MlcliError, NotFoundError, StoreError, TransportError, UnsupportedError
from mlcli.domain.redaction import masked
from mlcli.operations import assets, datastores, layout
from mlcli.operations.contents import are_same, contents
from mlcli.operations.logged_models import logged_models
from mlcli.operations.run_files import RunFilesOf
from mlcli.ports.services import Services
from mlcli.spec.references import (
    ARTIFACTS,
    AssetReference,
    DatastorePath,
    JobPath,
    is_reference,
    parse_reference,
)

if TYPE_CHECKING:
    from mlcli.domain.job import Output
    from mlcli.domain.run import Run
    from mlcli.ports.stores import Asset

_IN_THE_STORE = re.compile(r"ExperimentRun/dcid\.(?P<job>[^/]+)(?:/(?P<path>.*))?")
_ARTIFACTS = {
    "outputs": layout.OUTPUTS,
    "logs": layout.LOGS,
    "user_logs": layout.USER_LOGS,
    "system_logs": layout.SYSTEM_LOGS,
}
_PLACEHOLDER = re.compile(r"\$\{\{\s*(name|output_name|default_datastore)\s*\}\}")


@dataclass(frozen=True)
class Located:
    """Where it is: an absolute path of this machine, or an address. ``type``: as it is registered; ``asset``: the registered
    version, ``noun:name:version``; ``notice``: what the person should know.
    """

    path: str
    type: str | None = None
    asset: str | None = None
    notice: str | None = None


def locate(services: Services, text: str, type_: str) -> Located:
    """Where an input is. A local path and an address of the web are answered as they are, whether or not they are there;
    what a name stands for is there. Raises MlcliError with what to do.
    """
    if not is_reference(text):
        return Located(text)
    found = parse_reference(text)
    if isinstance(found, AssetReference):
        return _asset(services, found, assets.noun_of(type_))
    return Located(str(_there(_path(services, found), found)))


def _path(services: Services, found: DatastorePath | JobPath) -> Path:
    if isinstance(found, DatastorePath):
        stored = _IN_THE_STORE.fullmatch(found.path) if found.datastore == datastores.ARTIFACTS else None
        if stored is None:
            return datastores.path_of(services, found)
        found = JobPath(stored["job"], path=stored["path"] or "")
    return _made_by(services, found)


def _there(path: Path, found: DatastorePath | JobPath) -> Path:
    if not os.path.lexists(path):
        hint = "is the job's end still to come? mlcli job show -n " + found.job if isinstance(found, JobPath) else None
        raise NotFoundError(
            f"{found} is {path}, and nothing is there", hint=hint or "put it there, or correct the path"
        )
    return path


def _made_by(services: Services, found: JobPath) -> Path:
    """What a job has written. Raises NotFoundError."""
    run = services.runs.get(found.job)
    near = services.runs.folder(run.name)
    folder = Path(services.backend(run.backend).run_folder(run.name, near))
    below = found.path.strip("/")
    if found.output == ARTIFACTS:
        places = [(folder / top, rest) for top, rest in _artifacts(services, run, below)]
    else:
        places = [(_output_of(services, run.name, found.output), below)]
    for top, rest in places:
        path = Path(os.path.normpath(top / rest))
        if not path.is_relative_to(top):
            raise MlcliError(f"{found} leads out of what the job has made", hint="give a path in it, without '..'")
        if folder != near and path.is_relative_to(folder):
            path = _brought_home(services, run, path.relative_to(folder), near)
        if os.path.lexists(path):
            break
    return path


def _artifacts(services: Services, run: Run, below: str) -> Iterator[tuple[str, str]]:
    """Where a path of a job's artifacts may be: a folder of its run folder, and the path in it. What MLflow's clients logged
    (a model by its name) goes before a file of ``outputs/`` that is named without it.
    """
    first, _, rest = below.partition("/")
    if first in _ARTIFACTS:
        yield _ARTIFACTS[first], rest
        return
    yield layout.ARTIFACTS, below
    for model in reversed(logged_models(RunFilesOf(services, run), {})):
        if model["name"] == first:
            yield model["path"], rest
    yield layout.OUTPUTS, below


def _brought_home(services: Services, run: Run, path: Path, near: Path) -> Path:
    """A copy on this machine of what a job has made on another one; fetched once, when the job has ended."""
    from mlcli.operations import observe

    copy = near / layout.FETCHED / path
    if copy.exists():
        return copy
    if not observe.get(services, run.name).state.is_end:
        raise MlcliError(f"job {run.name} has not ended yet", hint=f"wait for it: mlcli job stream -n {run.name}")
    partial = copy.with_name(f".{copy.name}.partial")
    try:
        services.backend(run.backend).fetch(observe.handle(services, run), str(path), partial)
    except TransportError as failed:
        if failed.transient:
            raise
        return copy  # nothing is there, and that is told
    with suppress(OSError):  # somebody was quicker
        partial.rename(copy)
    return copy


def _output_of(services: Services, job: str, output: str) -> Path:
    document = services.runs.document(job, layout.PLAN_DOCUMENT) or {}
    places = {
        entry["name"]: entry.get("home") or entry["value"] for entry in (document.get("plan") or {}).get("outputs", ())
    }
    if output not in places:
        has = ", ".join([ARTIFACTS, *places])
        raise NotFoundError(f"job {job} has no output named {output!r}", hint=f"it has: {has}")
    return Path(places[output])


def _asset(services: Services, reference: AssetReference, likely: str) -> Located:
    if reference.registry is not None:
        hint = f"register it here: mlcli {reference.noun or likely} create --name {reference.name} --path PATH"
        raise UnsupportedError(
            f"{reference} is in the registry {reference.registry!r}, which mlcli cannot ask", hint=hint
        )
    asset = _registered(services, reference, likely)
    said = f"{asset.kind}:{asset.name}:{asset.version}"
    located = Located("", asset.document.get("type"), said)
    kept = assets.kept_path(asset)
    if kept is not None:
        return replace(located, path=str(kept))
    path = str(asset.document["path"])
    if is_reference(path):
        return replace(located, path=locate(services, path, "").path)
    if Path(path).is_absolute():
        return replace(located, path=path, notice=_change(asset, Path(path)))
    return replace(located, path=path)


def _registered(services: Services, reference: AssetReference, likely: str) -> Asset:
    """The registered version; of data where no model has the name, and the other way round."""
    noun = reference.noun or likely
    other = assets.DATA if noun == assets.MODEL else assets.MODEL
    names = services.assets.names(noun)
    if reference.noun is None and reference.name not in names and reference.name in services.assets.names(other):
        noun = other
    try:
        return assets.find(services, noun, reference)
    except NotFoundError as missing:
        if reference.name in names:
            raise
        near = f"{missing.hint} " if missing.hint and missing.hint.startswith("did you mean") else ""
        create = f"mlcli {noun} create --name {reference.name} --path PATH"
        raise NotFoundError(missing.message, hint=f"{near}register it: {create}") from missing


def _change(asset: Asset, path: Path) -> str | None:
    """What has become of the files that a version refers to. Raises NotFoundError when they are gone."""
    said = f"{asset.kind} {asset.name}:{asset.version}"
    if not path.exists():
        create = f"mlcli {asset.kind} create --name {asset.name} --path PATH"
        raise NotFoundError(f"{said} is {path}, which is gone", hint=f"put it back, or register another: {create}")
    before = asset.document.get(assets.CONTENTS)
    if before is None:
        return None
    try:
        now = contents(path)
    except OSError as error:
        raise StoreError(f"{said} cannot be read: {error.filename or path}: {error.strerror}") from error
    if are_same(before, now) or now is None:
        return None
    was, is_ = (f"files: {each['files']}, bytes: {each['bytes']}" for each in (before, now))
    return f"{said} has changed since it was registered: {path} (then {was}; now {is_})"


# --- outputs ----------------------------------------------------------------------------------------------------------


def output_place(services: Services, run: str, output: str, wanted: Output) -> Path | None:
    """Where a named output is written on this machine: its local path, its path in a datastore, or, when it is to be
    registered, the place that Azure ML gives it in the default datastore, where it outlives the run. None: with the run.

    Raises MlcliError for a datastore that cannot be written to.
    """
    text = wanted.path
    if text is None:
        if wanted.name is None:
            return None
        text = str(DatastorePath(datastores.DEFAULT, f"azureml/{run}/{output}/"))
    values = {"name": run, "output_name": output, "default_datastore": datastores.DEFAULT}
    text = _PLACEHOLDER.sub(lambda found: values[found[1]], text)
    if Path(text).is_absolute():
        return Path(text)
    if not is_reference(text):
        return None
    found = parse_reference(text)
    if not isinstance(found, DatastorePath):
        hint = "write azureml://datastores/NAME/paths/PATH, or leave the path out and give the output a name"
        raise UnsupportedError(f"{masked(text)} is no place to write to", hint=hint)
    path = datastores.path_of(services, found)
    return path / output if wanted.type == "uri_file" and text.endswith("/") else path
