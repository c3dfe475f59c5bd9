"""Attaching folders: the files that make a folder the place of a workspace's experiment."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlcli.domain.errors import MlcliError, NotFoundError
from mlcli.json_files import write_record
from mlcli.operations import attached, folder_files
from mlcli.operations.attached import Attached
from mlcli.ports.services import Services

_OF_AZURE = "config.azure.json"
_NEVER_A_CONFIGURATION = frozenset({"config.json", "project.json", _OF_AZURE, folder_files.CONDA_FILE})
_SUFFIX = ".runconfig"
_SPARK = frozenset({"synapsespark", "hdinsight"})


def attach(services: Services, folder: Path, experiment: str | None = None) -> dict[str, Any]:
    """Make ``folder`` (absolute) the place of that experiment (default: as it was, else the folder's name) in the workspace.

    What is there stays: files that somebody may have edited are not written. Answers what is where. Raises MlcliError when it
    is attached to another workspace, or to one of Azure.
    """
    if not folder.is_dir():
        raise NotFoundError(f"there is no folder {folder}", hint="make it first, or give another --path")
    found = attached.of(folder)
    if found is not None:
        _check_may_attach(found, services.name)
    name = experiment or (found and found.experiment) or folder.name or "Default"
    settings = _settings(folder)
    written: list[Path] = []
    kept: list[Path] = []
    with _told(folder):
        settings.mkdir(exist_ok=True)
        config = found.file if found is not None else settings / "config.json"
        if found is None or found.experiment != name:
            write_record(config, {"Id": str(uuid.uuid4()), "Scope": attached.scope(services.name, name)})
            written.append(config)
        for file, text in _files(services, folder, settings):
            (written if _wrote(file, text) else kept).append(_as_it_is(file))
    shown = {
        "written": [str(one.relative_to(folder)) for one in written],
        "kept": [str(one.relative_to(folder)) for one in kept],
    }
    return {**_record(folder, services.name, name), **shown}


def show(start: Path) -> dict[str, Any]:
    """The attached folder at or above ``start``, and its run configurations. Raises NotFoundError."""
    found = _found(start)
    record = _record(found.folder, found.workspace, found.experiment)
    listed = [str(file.relative_to(found.folder)) for file in configurations(found.folder)]
    return {**record, "run_configurations": listed, **({"azure": found.of_azure} if found.azure else {})}


def detach(start: Path) -> dict[str, Any]:
    """Forget what the folder at or above ``start`` is attached to; run configurations and the rest stay. Settings of Azure are
    renamed, not removed. Raises NotFoundError.
    """
    file = attached.nearest_file(start)  # also one that cannot be read
    if file is None:
        raise _not_attached(start)
    with _told(file.parent):
        if _is_ours(file):
            file.unlink()
            return {"folder": str(file.parent.parent), "kept_as": None}
        target = file.with_name(_OF_AZURE)
        file.replace(target)
    return {"folder": str(file.parent.parent), "kept_as": str(target)}


def _is_ours(file: Path) -> bool:
    try:
        return attached.read(file).azure is None
    except MlcliError:
        return False


def configurations(folder: Path) -> list[Path]:
    """The run configurations of a folder, by name."""
    found = []
    for settings in attached.SETTINGS:
        place = folder / settings
        entries = sorted(place.iterdir()) if place.is_dir() else []
        found += [file for file in entries if _is_configuration(file)]
    return found


def configuration(folders: list[Path], name: str) -> tuple[Path, Path]:
    """The run configuration of that name in one of the folders' settings, or at that path; and the folder that its own paths
    start from. Raises NotFoundError with the names that there are.
    """
    for folder in folders:
        for settings in attached.SETTINGS:
            for spelling in (name, f"{name}{_SUFFIX}", name.removesuffix(_SUFFIX)):
                if (folder / settings / spelling).is_file():
                    return folder / settings / spelling, folder
    for place in (Path.cwd() / name, *(folder / name for folder in folders)):
        if place.is_file():
            return place, place.parent.parent if place.parent.name in attached.SETTINGS else place.parent
    known = [file.name.removesuffix(_SUFFIX) for folder in folders for file in configurations(folder)]
    raise NotFoundError(
        f"there is no run configuration {name!r} in {folders[0]}", hint=_nearest_name(name, known, folders[0])
    )


def _nearest_name(name: str, known: list[str], folder: Path) -> str:
    import difflib

    if not known:
        return f"mlcli folder attach --path {folder} writes some"
    near = difflib.get_close_matches(name, known, 1)
    return f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(dict.fromkeys(known))}"


def _is_configuration(file: Path) -> bool:
    return file.is_file() and not file.name.startswith(".") and file.name not in _NEVER_A_CONFIGURATION


def _check_may_attach(found: Attached, workspace: str) -> None:
    again = f"mlcli folder detach --path {found.folder}"
    if found.azure is not None:
        hint = f"{again} keeps it as {_OF_AZURE}; then attach the folder"
        raise MlcliError(found.of_azure, hint=hint)
    if found.workspace != workspace:
        raise MlcliError(
            f"{found.folder} is attached to the workspace {found.workspace!r} (experiment {found.experiment!r}), "
            f"not to {workspace!r}",
            hint=f"detach it first: {again}",
        )


def _settings(folder: Path) -> Path:
    """``.azureml``, or the older name where only that is there."""
    return next(
        (folder / name for name in attached.SETTINGS if (folder / name).is_dir()), folder / attached.SETTINGS[0]
    )


def _files(services: Services, folder: Path, settings: Path) -> Iterator[tuple[Path, str]]:
    """What an attached folder has besides its settings. Where there is a ``.gitignore`` that goes on saying what is left out."""
    yield settings / folder_files.CONDA_FILE, folder_files.conda_dependencies()
    made = folder_files.run_configuration
    yield settings / "local", made("local", "local", settings.name)
    yield settings / "docker", made("docker", "local", settings.name, docker=True)
    for compute in services.computes.list():
        if compute.name not in {"local", "docker", *_NEVER_A_CONFIGURATION}:
            is_spark = compute.type.lower() in _SPARK
            yield settings / compute.name, made(compute.name, compute.name, settings.name, spark=is_spark)
    if not (folder / ".gitignore").exists():
        yield folder / ".amlignore", folder_files.IGNORED


def _as_it_is(file: Path) -> Path:
    """A run configuration under the name that it has."""
    other = file.with_name(f"{file.name}{_SUFFIX}")
    return other if other.exists() else file


def _wrote(file: Path, text: str) -> bool:
    """Write a file that is not there yet, whole or not at all; False where it is, under one of its names."""
    if _as_it_is(file) != file:
        return False
    try:
        with file.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        return False
    except OSError:
        file.unlink(missing_ok=True)
        raise
    return True


def _record(folder: Path, workspace: str | None, experiment: str | None) -> dict[str, Any]:
    return {"folder": str(folder), "workspace": workspace, "experiment_name": experiment}


def _found(start: Path) -> Attached:
    found = attached.find(start)
    if found is None:
        raise _not_attached(start)
    return found


def _not_attached(start: Path) -> NotFoundError:
    return NotFoundError(
        f"neither {start} nor a folder above it is attached", hint="attach it with: mlcli folder attach"
    )


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = error.filename or folder
        raise MlcliError(
            f"{where} cannot be written: {error.strerror}", hint="check the folder and its permissions"
        ) from error
