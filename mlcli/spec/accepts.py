"""Whether a value is valid against a JSON schema: a quick yes, for the part of draft 7 that our schemas use.

Importing jsonschema takes longer than everything else that checking a good file needs, so it is imported only to say what is
wrong with a bad one. Where this module is not sure it answers no, and jsonschema decides.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

_Schema = Mapping[str, Any]
_Check = Callable[[Any, Any, _Schema], bool]

ANNOTATIONS = frozenset(
    {"$schema", "$id", "title", "description", "examples", "default", "definitions", "then", "else"}
)
"""Keywords that decide nothing by themselves."""


class _UnsureError(Exception):
    """A keyword, or a form of one, that is not handled here."""


def accepts(schema: Any, value: Any) -> bool:
    """True only when ``value`` is valid against ``schema`` (its references resolved)."""
    try:
        return _accepts(schema, value)
    except _UnsureError:
        return False


def _accepts(schema: Any, value: Any) -> bool:
    if isinstance(schema, bool):
        return schema
    for keyword, argument in schema.items():
        if keyword in ANNOTATIONS:
            continue
        check = CHECKS.get(keyword)
        if check is None:
            raise _UnsureError
        if not check(argument, value, schema):
            return False
    return True


def _type(names: Any, value: Any, _schema: _Schema) -> bool:
    return _TYPES[names](value) if isinstance(names, str) else any(_TYPES[name](value) for name in names)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


_TYPES: Mapping[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "number": _is_number,
    "integer": lambda value: _is_number(value) and (isinstance(value, int) or value.is_integer()),
}


def _enum(words: list[Any], value: Any, _schema: _Schema) -> bool:
    if isinstance(value, str):
        return value in words
    if all(isinstance(word, str) for word in words):
        return False
    raise _UnsureError


def _pattern(pattern: str, value: Any, _schema: _Schema) -> bool:
    return not isinstance(value, str) or _compiled(pattern).search(value) is not None


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def _multiple_of(step: Any, value: Any, _schema: _Schema) -> bool:
    if not _is_number(value):
        return True
    if isinstance(step, int) and isinstance(value, int):
        return value % step == 0
    raise _UnsureError


def _properties(known: _Schema, value: Any, _schema: _Schema) -> bool:
    if not isinstance(value, dict):
        return True
    return all(_accepts(known[key], below) for key, below in value.items() if key in known)


def _additional(argument: Any, value: Any, schema: _Schema) -> bool:
    if not isinstance(value, dict):
        return True
    known = schema.get("properties", {})
    return all(_accepts(argument, below) for key, below in value.items() if key not in known)


def _items(argument: Any, value: Any, _schema: _Schema) -> bool:
    if not isinstance(value, list):
        return True
    if isinstance(argument, list):
        raise _UnsureError
    return all(_accepts(argument, below) for below in value)


def _if(condition: Any, value: Any, schema: _Schema) -> bool:
    return _accepts(schema.get("then" if _accepts(condition, value) else "else", True), value)


CHECKS: Mapping[str, _Check] = {
    "type": _type,
    "enum": _enum,
    "pattern": _pattern,
    "multipleOf": _multiple_of,
    "minimum": lambda least, value, _: not _is_number(value) or value >= least,
    "properties": _properties,
    "additionalProperties": _additional,
    "required": lambda names, value, _: not isinstance(value, dict) or all(name in value for name in names),
    "minProperties": lambda least, value, _: not isinstance(value, dict) or len(value) >= least,
    "items": _items,
    "minItems": lambda least, value, _: not isinstance(value, list) or len(value) >= least,
    "anyOf": lambda branches, value, _: any(_accepts(branch, value) for branch in branches),
    "allOf": lambda branches, value, _: all(_accepts(branch, value) for branch in branches),
    "not": lambda branch, value, _: not _accepts(branch, value),
    "if": _if,
}
