"""Data, models, datastores and components: the file of any generation, or flags in its place, in; what a workspace keeps: out.

Pure, but for the files that a component names, which are read in. Flags build the same mapping as a file does, so that
there is one set of checks. Secrets get no further than this.
"""

from __future__ import annotations

import os.path
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlcli.domain.errors import Diagnostic, InvalidSpecError, UnsupportedError, UsageError
from mlcli.domain.redaction import is_secret_name
from mlcli.spec.generation import asset_kind, recognise
from mlcli.spec.load import Document, Path_, load
from mlcli.spec.references import AssetReference, checked_name, is_reference, parse_reference
from mlcli.spec.upgrade import in_datastore, upgraded_component, upgraded_data

if TYPE_CHECKING:
    from mlcli.ports.files import FileReader

DATA_TYPES = ("uri_file", "uri_folder", "mltable")
MODEL_TYPES = ("custom_model", "mlflow_model", "triton_model")
LOCAL = "local"
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
_REACHABLE = ("http:", "https:")
_APART = frozenset(
    {
        "$schema",
        "name",
        "version",
        "description",
        "tags",
        "id",
        "arm_id",
        "creation_context",
        "latest_version",
        "datastore",
    }
)
_OLD_PATHS = ("local_path", "asset_path", "model_uri", "paths")
_RUNS = frozenset({"command", "jobs", "trial", "image", "conda_file"})


@dataclass(frozen=True)
class WrittenAsset:
    """What a file says. ``document``: its definition in today's words, paths absolute; ``version`` None: the next one;
    ``local``: the file or folder of this machine that it is, or comes with.
    """

    noun: str
    name: str
    version: str | None
    document: Mapping[str, Any]
    description: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    local: Path | None = None
    notices: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Source:
    document: Document
    base: Path
    reader: FileReader

    def refuse(self, path: Path_, code: str, message: str, hint: str | None = None) -> InvalidSpecError:
        return InvalidSpecError((self.document.diagnose(path, code, message, hint=hint),))


_Read = tuple[dict[str, Any], "Path | None", tuple[str, ...]]


def read_asset(
    noun: str,
    text: str | bytes | None,
    file: str,
    base: Path,
    reader: FileReader,
    *,
    flags: Mapping[str, tuple[Path_, Any]] | None = None,
    overrides: Sequence[str] = (),
) -> WrittenAsset:
    """The ``noun`` (``data``, ``model``, ``datastore``, ``component``) of a file; ``text`` None: of the flags alone.

    ``file``: the name that errors show; ``base``: the absolute folder that its paths start from; ``flags``: flag -> path in
    the file, and value, which replaces the file's; ``overrides``: ``a.b=value``, which win over both.

    Raises InvalidSpecError with everything that is wrong, UnsupportedError for a file that is something else.
    """
    from mlcli.spec.overrides import apply, with_flags
    from mlcli.spec.validate import validate

    document = load("{}" if text is None else text, file)
    if text is not None:
        _check_noun(noun, document, file)
    document = _without_old_path(with_flags(document, flags or {}), flags or {})
    if overrides:
        document = apply(document, overrides)
    faults = (*validate(document, asset_kind(document.tree, noun)), *_names(noun, document))
    if faults:
        raise InvalidSpecError(faults)
    source = _Source(document, base, reader)
    normal, local, notices = _READERS[noun](source)
    version = document.written(("version",)) or normal.get("version")
    return WrittenAsset(
        noun=noun,
        name=str(document.tree["name"]),
        version=None if version is None else str(version),
        document={key: value for key, value in normal.items() if key not in _APART and value is not None},
        description=normal.get("description"),
        tags={str(key): "" if value is None else str(value) for key, value in (normal.get("tags") or {}).items()},
        local=local,
        notices=notices,
    )


def _check_noun(noun: str, document: Document, file: str) -> None:
    found = recognise(document.tree).noun
    runs = bool(_RUNS & set(document.tree)) and noun != "component"
    if (found == "job" and runs) or (found not in {noun, "job"} and (runs or "$schema" in document.tree)):
        article = "an" if found[0] in "aeiou" else "a"
        raise UnsupportedError(
            f"{file} describes {article} {found}, not a {noun}", hint=f"mlcli {found} create takes it"
        )


def _without_old_path(document: Document, flags: Mapping[str, tuple[Path_, Any]]) -> Document:
    """A path that a flag gives replaces the file's, in whatever words that stands there."""
    if not any(path == ("path",) for path, _ in flags.values()):
        return document
    kept = {key: value for key, value in document.tree.items() if key not in {*_OLD_PATHS, "datastore"}}
    return document.with_tree(kept, document.marks)


def _names(noun: str, document: Document) -> Iterator[Diagnostic]:
    if "name" not in document.tree:
        hint = "add 'name: ...', or give --name"
        yield document.diagnose((), "missing-key", f"the {noun} has no name", hint=hint)
        return
    for key in ("name", "version"):
        value = document.written((key,)) or document.tree.get(key)
        if value is not None:
            try:
                checked_name(str(value), noun, key)
            except UsageError as refused:
                yield document.diagnose((key,), "bad-name", refused.message, hint=refused.hint)


# --- one reader each --------------------------------------------------------------------------------------------------


def _data(source: _Source) -> _Read:
    normal = upgraded_data(source.document, source.base, source.reader)
    if normal["type"] not in DATA_TYPES:
        normal["type"] = "uri_folder"
    local, notices = _located(normal, source)
    if local is not None:
        _check_type(normal, local, source)
    return normal, local, notices


def _model(source: _Source) -> _Read:
    tree = source.document.tree
    key = next((key for key in ("local_path", "path", "asset_path", "model_uri") if tree.get(key)), None)
    if key is None:
        raise source.refuse((), "missing-key", "the model has no path", "add 'path: ...', or give --path")
    path, datastore = str(tree[key]), tree.get("datastore")
    if datastore and key != "local_path" and not _ADDRESS.match(path) and not path.startswith("/"):
        path = in_datastore(str(datastore), path)
    written = str(tree.get("type") or f"{tree.get('model_format') or 'custom'}_model").lower()
    left_out = {*_OLD_PATHS, "model_format", "utc_time_created", "job_name"}
    normal = {**{key: value for key, value in tree.items() if key not in left_out}, "type": written, "path": path}
    if written not in MODEL_TYPES:
        raise source.refuse(("model_format",), "bad-value", f"there is no type {written!r} of model")
    local, notices = _located(normal, source)
    return normal, local, notices


def _component(source: _Source) -> _Read:
    kind = asset_kind(source.document.tree, "component")
    normal = upgraded_component(source.document, kind)
    normal["type"] = kind.type
    code = normal.get("code")
    local = None
    if isinstance(code, str) and not _ADDRESS.match(code):
        local = Path(os.path.normpath(source.base / code))
        if not source.reader.is_dir(local):
            raise source.refuse(("code",), "missing-file", f"there is no folder '{code}'")
        normal["code"] = str(local)
    if isinstance(normal.get("environment"), dict):
        normal["environment"] = _standalone(normal["environment"], source)
    return normal, local, ()


def _standalone(environment: Mapping[str, Any], source: _Source) -> dict[str, Any]:
    """The environment with the files that it names read in."""
    from mlcli.spec.build import build_environment
    from mlcli.spec.environments import environment_document

    marks = source.document.marks.children.get("environment", source.document.marks)
    inner = source.document.with_tree(environment, marks)
    return environment_document(build_environment(inner, environment, source.base, source.reader))


def _datastore(source: _Source) -> _Read:
    normal = dict(source.document.tree)
    normal["type"] = str(normal["type"]).lower()
    notices = []
    credentials = normal.pop("credentials", None) or {}
    kept = {key: value for key, value in credentials.items() if not is_secret_name(key) and key != "certificate"}
    if len(kept) < len(credentials):
        left_out = ", ".join(sorted(set(credentials) - set(kept)))
        notices.append(f"not kept, as mlcli writes no secrets to the disk: {left_out}")
    if kept:
        normal["credentials"] = kept
    if normal["type"] != LOCAL:
        notices.append(f"kept, but jobs cannot use it yet: mlcli reaches no datastore of type {normal['type']}")
        return normal, None, tuple(notices)
    path = Path(os.path.normpath(source.base / str(normal["path"]).removeprefix("file:")))
    if not source.reader.is_dir(path):
        raise source.refuse(("path",), "missing-file", f"there is no folder {path}", f"make it: mkdir -p {path}")
    return {**normal, "path": str(path)}, path, tuple(notices)


_READERS: Mapping[str, Callable[[_Source], _Read]] = {
    "data": _data,
    "model": _model,
    "component": _component,
    "datastore": _datastore,
}
NOUNS = tuple(_READERS)


# --- where it is ------------------------------------------------------------------------------------------------------


def _located(normal: dict[str, Any], source: _Source) -> tuple[Path | None, tuple[str, ...]]:
    """Make the path absolute; the file or folder of this machine that it is, and what to tell of it."""
    text, at = str(normal["path"]), _written_at(source.document.tree)
    if is_reference(text):
        try:
            found = parse_reference(text)
        except UsageError as refused:
            raise source.refuse(at, "bad-value", refused.message, refused.hint) from refused
        if isinstance(found, AssetReference):
            message = f"'{text}' is registered already"
            raise source.refuse(at, "bad-value", message, "give the path of its files, or name it as it is")
        normal["path"] = str(found)
        return None, ()
    if _ADDRESS.match(text) and not text.startswith("file:"):
        if text.lower().startswith(_REACHABLE):
            return None, ()
        scheme = text.partition(":")[0]
        return None, (f"kept, but jobs cannot use it: mlcli reaches no {scheme}: addresses",)
    for prefix in ("file://", "file:"):
        text = text.removeprefix(prefix)
    path = Path(os.path.normpath(source.base / text))
    if not source.reader.is_file(path) and not source.reader.is_dir(path):
        raise source.refuse(at, "missing-file", f"there is no file or folder {path}")
    normal["path"] = str(path)
    return path, ()


def _check_type(normal: Mapping[str, Any], local: Path, source: _Source) -> None:
    is_file = source.reader.is_file(local)
    if is_file != (normal["type"] == "uri_file"):
        found, right = ("file", "uri_file") if is_file else ("folder", "uri_folder")
        message = f"{local} is a {found}, not {normal['type']}"
        raise source.refuse(("type",), "wrong-file-type", message, f"write 'type: {right}'")


def _written_at(tree: Mapping[str, Any]) -> Path_:
    if tree.get("paths"):
        return ("paths", 0)
    return (next((key for key in ("local_path", "path", "asset_path", "model_uri") if key in tree), "path"),)
