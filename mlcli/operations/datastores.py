"""Datastores: folders for data under a name. Two are there without being made; one of the same name takes its place."""

from __future__ import annotations

import os.path
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlcli.domain.errors import MlcliError, NameTakenError, NotFoundError, UnsupportedError, UsageError
from mlcli.operations import layout
from mlcli.operations.assets import DATASTORE, create, record
from mlcli.ports.services import Services
from mlcli.spec.references import DatastorePath

if TYPE_CHECKING:
    from mlcli.ports.stores import Asset
    from mlcli.spec.assets import WrittenAsset

DEFAULT = "workspaceblobstore"
ARTIFACTS = "workspaceartifactstore"
_BUILT_IN = {
    DEFAULT: "The default datastore: a folder of the workspace.",
    ARTIFACTS: "What jobs have made, below ExperimentRun/dcid.JOB.",
}
_LOCAL = "local"


def get(services: Services, name: str) -> dict[str, Any]:
    """A datastore as ``show`` prints it. Raises NotFoundError."""
    asset = _registered(services, name)
    return _built_in(services, name) if asset is None else _shown(asset, services)


def listing(services: Services) -> list[dict[str, Any]]:
    """All of them, by name."""
    return [get(services, name) for name in sorted({*_BUILT_IN, *services.assets.names(DATASTORE)})]


def make(services: Services, written: WrittenAsset) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Register one. The very definition that is there already is answered; raises NameTakenError for another one."""
    if written.name in services.assets.names(DATASTORE):
        existing = services.assets.find(DATASTORE, written.name)
        if dict(existing.document) != dict(written.document):
            hint = f"change it: mlcli datastore update --name {written.name} --set KEY=VALUE"
            raise NameTakenError(f"the datastore {written.name!r} is there already, with another definition", hint=hint)
        return _shown(existing, services), (f"datastore {written.name} is there already, just so",)
    return replace(services, written)


def replace(services: Services, written: WrittenAsset) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Define it so from now on, whatever it was."""
    asset, notices = create(services, written)
    return _shown(asset, services), notices


def delete(services: Services, name: str) -> None:
    """Forget it; the files in it stay. Raises NotFoundError, UsageError for one that is there always."""
    if _registered(services, name) is None:
        raise UsageError(
            f"the datastore {name!r} is there always", hint="one of your own with its name takes its place"
        )
    services.assets.delete(DATASTORE, name)


def definition(services: Services, name: str) -> dict[str, Any]:
    """What it is now, as its file would say it. Raises NotFoundError."""
    asset = _registered(services, name)
    if asset is None:
        return {"type": _LOCAL, "path": str(folder(services, name))}
    apart = {"description": asset.description, "tags": dict(asset.tags) or None}
    return {**asset.document, **{key: value for key, value in apart.items() if value}}


def make_folder(services: Services, name: str) -> None:
    """Make the folder of one that is there without being made, so that all of it can be read before anything is in it."""
    if _registered(services, name) is None:
        folder(services, name).mkdir(parents=True, exist_ok=True)


def folder(services: Services, name: str) -> Path:
    """The folder that a datastore is. Raises NotFoundError, UnsupportedError for one that is none."""
    asset = _registered(services, name)
    if asset is None:
        return services.root / layout.DATASTORES / name
    kind = asset.document["type"]
    if kind != _LOCAL:
        hint = "mlcli reaches datastores of type local: a folder of this machine, a mounted one too"
        raise UnsupportedError(f"the datastore {name!r} is of type {kind}, which mlcli cannot reach", hint=hint)
    return Path(asset.document["path"])


def path_of(services: Services, place: DatastorePath) -> Path:
    """Where a path in a datastore is on this machine. Raises as :func:`folder`, MlcliError for one that leaves it."""
    top = folder(services, place.datastore)
    path = Path(os.path.normpath(top / place.path.lstrip("/")))
    if not path.is_relative_to(top):
        raise MlcliError(f"{place} leads out of the datastore", hint="give a path in it, without '..'")
    return path


def _registered(services: Services, name: str) -> Asset | None:
    """The registered one; None for one that is there always."""
    known = services.assets.names(DATASTORE)
    if name in known:
        return services.assets.find(DATASTORE, name)
    if name in _BUILT_IN:
        return None
    import difflib

    near = difflib.get_close_matches(name, [*_BUILT_IN, *known], n=1)
    there = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(sorted([*_BUILT_IN, *known]))};"
    hint = f"{there} make it: mlcli datastore create --name {name} --type local --path FOLDER"
    raise NotFoundError(f"there is no datastore named {name!r} in workspace {services.name!r}", hint=hint)


def _shown(asset: Asset, services: Services) -> dict[str, Any]:
    left_out = {"version", "labels", "archived", "copied"}
    shown: Mapping[str, Any] = record(asset, services)
    kept = {key: value for key, value in shown.items() if key not in left_out}
    return {**kept, "id": f"azureml://datastores/{asset.name}", "is_default": asset.name == DEFAULT}


def _built_in(services: Services, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "id": f"azureml://datastores/{name}",
        "description": _BUILT_IN[name],
        "tags": {},
        "type": _LOCAL,
        "path": str(folder(services, name)),
        "workspace": services.name,
        "creation_context": {"created_at": None},
        "is_default": name == DEFAULT,
    }
