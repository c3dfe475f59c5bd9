"""The file of ``az ml dataset register`` (2020): in; the words of a data asset: out. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlcli.domain.errors import InvalidSpecError
from mlcli.spec.load import Document, Path_, load

TEMPLATE: Mapping[str, Any] = {
    "datasetType": "File",
    "parameters": {"path": ["https://example.com/iris.csv"]},
    "registration": {
        "name": "iris",
        "description": "what it is",
        "tags": {"key": "value"},
        "createNewVersion": True,
    },
    "schemaVersion": 1,
}
_COLUMNS = "how its columns are read (header, separator, types) means nothing here: jobs get the files themselves"
_EVERYTHING = ("/**", "/*")


@dataclass(frozen=True)
class WrittenDataset:
    """``keys``: what the file of a data asset would say; ``new_version``: whether the name may be there already."""

    keys: Mapping[str, Any]
    new_version: bool
    notices: tuple[str, ...] = ()


def read_dataset(text: str | bytes, file: str) -> WrittenDataset:
    """Raises InvalidSpecError for what is missing, and for a dataset of several paths."""
    document = load(text, file)
    tree = document.tree
    registration = _map(document, ("registration",))
    name = registration.get("name")
    if not isinstance(name, str):
        raise _fault(
            document, ("registration",), "missing-key", "the dataset has no name", "registration: {name: iris}"
        )
    keys = {
        "name": name,
        "description": registration.get("description"),
        "tags": registration.get("tags") or None,
        "path": _path(document, _map(document, ("parameters",)).get("path")),
    }
    tabular = str(tree.get("datasetType", "File")).lower() == "tabular"
    return WrittenDataset(
        {key: value for key, value in keys.items() if value is not None},
        bool(registration.get("createNewVersion")),
        (_COLUMNS,) if tabular else (),
    )


def _path(document: Document, written: Any) -> str:
    where: Path_ = ("parameters", "path")
    given = written if isinstance(written, list) else [written]
    if len(given) != 1:
        message = f"the dataset has {len(given)} paths; a data asset here is one file, one folder or one address"
        hint = "put the files into one folder and register that, or register each"
        raise _fault(document, where, "bad-value", message, hint)
    (one,) = given
    if isinstance(one, Mapping) and {"datastoreName", "relativePath"} <= set(one):
        one = f"azureml://datastores/{one['datastoreName']}/paths/{str(one['relativePath']).lstrip('/')}"
    if not isinstance(one, str) or not one:
        hint = 'an address, a path, or {"datastoreName": ..., "relativePath": ...}'
        raise _fault(document, where, "bad-value", "the dataset says no path", hint)
    for ending in _EVERYTHING:
        one = one.removesuffix(ending)
    if "*" in one:
        hint = "name the folder itself, or one file"
        raise _fault(document, where, "bad-value", f"{one!r} names files by a pattern", hint)
    return one


def _map(document: Document, path: Path_) -> Mapping[str, Any]:
    found = document.tree.get(path[0])
    if not isinstance(found, Mapping):
        hint = "`mlcli dataset register --show-template` shows what it looks like"
        raise _fault(document, (), "missing-key", f"the file of a dataset has a part '{path[0]}'", hint)
    return found


def _fault(document: Document, path: Path_, code: str, message: str, hint: str) -> InvalidSpecError:
    return InvalidSpecError((document.diagnose(path, code, message, hint=hint),))
