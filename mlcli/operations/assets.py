"""Data, models, datastores and components by name: registering them, and what may be done to a registered one."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlcli.domain.errors import MlcliError, NameTakenError, StoreError
from mlcli.domain.redaction import masked_record
from mlcli.operations.contents import are_same, contents, leaving_links
from mlcli.operations.times import iso_time
from mlcli.ports.services import Services
from mlcli.ports.stores import Asset, AssetChanges
from mlcli.spec.references import AssetReference

if TYPE_CHECKING:
    from mlcli.spec.assets import WrittenAsset

DATA = "data"
MODEL = "model"
COMPONENT = "component"
DATASTORE = "datastore"
CONTENTS = "contents"
KEPT = "kept"
_MODEL_TYPES = frozenset({"custom_model", "mlflow_model", "triton_model"})
_HIDDEN = frozenset({CONTENTS, KEPT})
Record = dict[str, Any]


def noun_of(type_: str) -> str:
    """What data of that type is registered as."""
    return MODEL if type_ in _MODEL_TYPES else DATA


def create(services: Services, written: WrittenAsset, *, copy: bool = False) -> tuple[Asset, tuple[str, ...]]:
    """Register a version, and what the person should know of it. Local files stay where they are, or, with ``copy``, a copy
    of them is kept in the workspace; a component's code is always copied.

    The very definition that is there already under that version is answered as it is. Raises NameTakenError for another
    one, MlcliError for files that cannot be copied.
    """
    document, files = dict(written.document), None
    notices = list(written.notices)
    if written.local is not None and written.noun != DATASTORE:
        document[CONTENTS] = _contents(written.local)
        if copy or written.noun == COMPONENT:
            _check_links(written.local)
            files = written.local
            document[KEPT] = written.local.name if written.local.is_file() else ""
        else:
            notices.append(_reference_notice(written, document[CONTENTS]))
    try:
        made = services.assets.create(
            written.noun,
            written.name,
            document,
            version=written.version,
            description=written.description,
            tags=written.tags,
            files=files,
            ignore=shutil.ignore_patterns("__pycache__") if written.noun == COMPONENT else None,
        )
    except NameTakenError as taken:
        existing = services.assets.find(written.noun, written.name, version=written.version)
        if not _is_same(existing, document):
            raise NameTakenError(f"{taken.message}, with another definition", hint=taken.hint) from taken
        return existing, (f"{written.noun} {existing.name}:{existing.version} is there already, just so",)
    return made, tuple(notices)


def _contents(path: Path) -> dict[str, Any] | None:
    try:
        return contents(path)
    except OSError as error:
        raise StoreError(f"{error.filename or path} cannot be read: {error.strerror}") from error


def _check_links(path: Path) -> None:
    leaving = next(leaving_links(path), None) if path.is_dir() else None
    if leaving is not None:
        hint = "put the file itself there, or register the folder without --copy"
        raise MlcliError(f"{leaving} is a link that leads out of {path}, so a copy would lack what it names", hint=hint)


def _reference_notice(written: WrittenAsset, found: Mapping[str, Any] | None) -> str:
    told = "a later change of it is told when it is used" if found else "so many files that no later change is told"
    return f"{written.local} stays where it is, nothing is copied (--copy keeps a copy): {told}"


def _is_same(existing: Asset, document: Mapping[str, Any]) -> bool:
    plain = {key: value for key, value in existing.document.items() if key != CONTENTS}
    new = {key: value for key, value in document.items() if key != CONTENTS}
    if KEPT in plain and KEPT in new:  # where the copy was made from means nothing
        plain.pop("path", None)
        new.pop("path", None)
    return plain == new and are_same(existing.document.get(CONTENTS), document.get(CONTENTS))


# --- what is there ----------------------------------------------------------------------------------------------------


def find(services: Services, noun: str, reference: AssetReference) -> Asset:
    """The registered version that a reference names. Raises NotFoundError."""
    return services.assets.find(noun, reference.name, version=reference.version, label=reference.label)


def versions(services: Services, noun: str, reference: AssetReference) -> Sequence[Asset]:
    """What a reference is about where all versions may be meant: the one that it names, else every one."""
    if reference.version or reference.label:
        return [find(services, noun, reference)]
    return services.assets.versions(noun, reference.name)


def archive(services: Services, noun: str, reference: AssetReference, *, archived: bool) -> None:
    """Hide or show a version, or every one."""
    for one in versions(services, noun, reference):
        services.assets.edit(noun, one.name, one.version, lambda _: AssetChanges(archived=archived))


def listing(
    services: Services,
    noun: str,
    name: str | None,
    *,
    include_archived: bool = False,
    archived_only: bool = False,
    version_record: Callable[[Asset, Services], Record] | None = None,
) -> list[Record]:
    """A record for each name with its latest version, or for each version of ``name``. A name is archived when every one of
    its versions is. Raises NotFoundError for a name that is not there.
    """
    if name is not None:
        found = [(version_record or record)(one, services) for one in services.assets.versions(noun, name)]
    else:
        found = [_name_record(services.assets.versions(noun, each)) for each in services.assets.names(noun)]
    return [one for one in found if one["archived"] == archived_only or (include_archived and not archived_only)]


def _name_record(existing: Sequence[Asset]) -> Record:
    latest = next((one for one in existing if not one.archived), existing[0])
    return {
        "name": latest.name,
        "latest_version": latest.version,
        "versions": len(existing),
        **({"type": latest.document["type"]} if "type" in latest.document else {}),
        "description": latest.description,
        "tags": dict(latest.tags),
        "archived": all(one.archived for one in existing),
        "creation_context": {"created_at": iso_time(latest.created_at)},
    }


def record(asset: Asset, services: Services) -> Record:
    """A registered version as ``show`` prints it, under az's keys; no secret in it."""
    shown: Record = masked_record({key: value for key, value in asset.document.items() if key not in _HIDDEN})
    if asset.folder is not None:
        shown["code" if asset.kind == COMPONENT else "path"] = str(kept_path(asset))
    return {
        **standing(asset),
        **shown,
        "copied": asset.folder is not None,
        "workspace": services.name,
        "creation_context": {"created_at": iso_time(asset.created_at)},
    }


def standing(asset: Asset) -> Record:
    """What every registered version has beside its definition."""
    return {
        "name": asset.name,
        "version": asset.version,
        "id": f"azureml:{asset.name}:{asset.version}",
        "description": asset.description,
        "tags": dict(asset.tags),
        "labels": list(asset.labels),
        "archived": asset.archived,
    }


def kept_path(asset: Asset) -> Path | None:
    """The copy of its files that the workspace keeps, None where there is none."""
    return None if asset.folder is None else asset.folder / asset.document[KEPT]
