"""The data of a run configuration (``dataReferences``, ``data``, ``outputData``) as inputs and outputs in today's words. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlcli.spec.upgrade import in_datastore

if TYPE_CHECKING:
    from mlcli.spec.load import Path_

_DEFAULT_DATASTORE = "workspaceblobstore"
_MODES = {"mount": "ro_mount", "download": "download", "direct": "direct"}
_OUTPUT_MODES = {"mount": "rw_mount", "upload": "upload"}


@dataclass(frozen=True)
class Data:
    """``references``: a name as arguments have it -> ``inputs.x`` or ``outputs.x``. ``faults``: where, what, what to do."""

    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]
    references: Mapping[str, str]
    faults: tuple[tuple[Path_, str, str], ...]


def data_of(tree: Mapping[str, Any]) -> Data:
    """What a run configuration reads and writes."""
    inputs: dict[str, Any] = {}
    outputs: dict[str, Any] = {}
    references: dict[str, str] = {}
    faults: list[tuple[Path_, str, str]] = []
    for section, read in (("dataReferences", _reference), ("data", _data), ("outputData", _output)):
        for name, entry in (tree.get(section) or {}).items():
            key = re.sub(r"\W", "_", name)
            try:
                is_output, value = read(entry or {})
            except _NoPlaceError as nowhere:
                faults.append(((section, name), nowhere.args[0], nowhere.args[1]))
                continue
            (outputs if is_output else inputs)[key] = value
            references[key] = f"{'outputs' if is_output else 'inputs'}.{key}"
    return Data(inputs, outputs, references, tuple(faults))


class _NoPlaceError(Exception):
    """It does not say where the data is: what, and what to do."""


def _reference(entry: Mapping[str, Any]) -> tuple[bool, dict[str, Any]]:
    mode = str(entry.get("mode") or "mount").lower()
    path = in_datastore(str(entry.get("dataStoreName") or _DEFAULT_DATASTORE), str(entry.get("pathOnDataStore") or ""))
    if mode == "upload":
        return True, {"type": "uri_folder", "path": path, "mode": "upload"}
    return False, {"type": "uri_folder", "path": path, "mode": _MODES[mode]}


def _data(entry: Mapping[str, Any]) -> tuple[bool, dict[str, Any]]:
    mode = _MODES[str(entry.get("mechanism") or "mount").lower()]
    place = entry.get("dataLocation") or {}
    address = (place.get("uri") or {}).get("path")
    kind = "uri_file" if (place.get("uri") or {}).get("isFile") else "uri_folder"
    path = address or _registered(place.get("dataset") or {}) or _in_datastore(place.get("dataPath"))
    if path is None:
        raise _NoPlaceError(
            "there is no name, no path and no address of this data", "name it: dataLocation.dataset.name"
        )
    return False, {"type": kind, "path": path, "mode": mode}


def _output(entry: Mapping[str, Any]) -> tuple[bool, dict[str, Any]]:
    mode = str(entry.get("mechanism") or "mount").lower()
    if mode not in _OUTPUT_MODES:
        raise _NoPlaceError(f"outputs cannot be handed on by '{mode}' here", "set its mechanism to mount or upload")
    found: dict[str, Any] = {"type": "uri_folder", "mode": _OUTPUT_MODES[mode]}
    path = _in_datastore((entry.get("outputLocation") or {}).get("dataPath"))
    if path is not None:
        found["path"] = path
    name = ((entry.get("additionalOptions") or {}).get("registrationOptions") or {}).get("name")
    if name:
        found["name"] = str(name)
    return True, found


def _registered(dataset: Mapping[str, Any]) -> str | None:
    name, version = dataset.get("name"), dataset.get("version")
    if not name:
        return None
    return f"azureml:{name}:{version}" if version not in (None, "latest") else f"azureml:{name}@latest"


def _in_datastore(path: Mapping[str, Any] | None) -> str | None:
    if not path:
        return None
    return in_datastore(str(path.get("datastoreName") or _DEFAULT_DATASTORE), str(path.get("relativePath") or ""))
