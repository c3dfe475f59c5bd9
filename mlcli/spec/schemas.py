"""The JSON schemas (draft 7) that ship with mlcli: where they are, and what they hold.

A name is a path below the schema folder without its suffix: ``commandJob``, ``2021-06/commandJob``.
"""

from __future__ import annotations

import json
import posixpath
from functools import cache
from pathlib import Path
from typing import Any

from mlcli.domain.errors import MlcliError, NotFoundError

_SUFFIX = ".schema.json"
_SHARED = "definitions"


@cache
def schema_folder() -> Path:
    """The folder of the schemas: inside the package when installed from a wheel, beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "schemas", package.parent / "schemas"):
        if (folder / f"commandJob{_SUFFIX}").is_file():
            return folder
    raise MlcliError("the JSON schemas of mlcli are missing", hint="install mlcli again: its files are not complete")


def names() -> tuple[str, ...]:
    """The name of every schema of a kind of file (not those that only hold shared definitions), sorted."""
    found = (path.relative_to(schema_folder()).as_posix() for path in schema_folder().rglob(f"*{_SUFFIX}"))
    return tuple(sorted(name.removesuffix(_SUFFIX) for name in found if _SHARED not in name))


def schema_path(name: str) -> Path:
    """The file of a schema. Raises NotFoundError with the nearest name."""
    path = schema_folder() / f"{name}{_SUFFIX}"
    if not path.is_file():
        import difflib

        close = difflib.get_close_matches(name, names(), 1)
        raise NotFoundError(f"there is no schema '{name}'", hint=f"did you mean '{close[0]}'?" if close else None)
    return path


@cache
def load_schema(name: str) -> dict[str, Any]:
    """The schema as its file holds it, references unresolved. Not to be changed."""
    schema: dict[str, Any] = json.loads(schema_path(name).read_text(encoding="utf-8"))
    return schema


@cache
def resolved_schema(name: str) -> dict[str, Any]:
    """The schema with every ``$ref`` replaced by what it names; definitions are shared and may refer to themselves, so
    the result is a graph. Resolving once makes validating a file several times faster. Not to be changed.
    """
    resolved: dict[str, Any] = _resolved_file(f"{name}{_SUFFIX}")
    return resolved


@cache
def _resolved_file(file: str) -> Any:
    schema = json.loads((schema_folder() / file).read_text(encoding="utf-8"))
    for definition in schema.get("definitions", {}).values():
        _resolve_below(definition, schema, file)
    for key, value in schema.items():
        if key != "definitions":
            _resolve_below(value, schema, file)
    return schema


def _resolve_below(node: Any, schema: dict[str, Any], file: str) -> None:
    if not isinstance(node, (dict, list)):
        return
    for key, value in list(node.items() if isinstance(node, dict) else enumerate(node)):
        if isinstance(value, dict) and isinstance(value.get("$ref"), str):
            node[key] = _target(value["$ref"], schema, file)
        else:
            _resolve_below(value, schema, file)


def _target(reference: str, schema: dict[str, Any], file: str) -> Any:
    other, _, pointer = reference.partition("#")
    if other:
        file = posixpath.normpath(posixpath.join(posixpath.dirname(file), other))
        schema = _resolved_file(file)
    node = schema
    for step in pointer.strip("/").split("/"):
        node = node[step]
    return _target(node["$ref"], schema, file) if isinstance(node.get("$ref"), str) else node
