"""A loaded file against the JSON schema of its kind: every error at once, each with its place and in plain words.

The schemas select one branch of every union by ``type`` or by shape (``if``/``then``), so that an error always speaks of
the form that was meant, never of a list of alternatives.
"""

from __future__ import annotations

import difflib
from collections.abc import Container, Iterable, Iterator, Mapping
from functools import cache
from typing import Any

from mlcli.domain.errors import Diagnostic
from mlcli.domain.job import Generation
from mlcli.domain.redaction import is_secret_name
from mlcli.spec.accepts import accepts
from mlcli.spec.generation import JOB_TYPES, Kind
from mlcli.spec.load import Document, Path_
from mlcli.spec.schemas import resolved_schema

__all__ = ["did_you_mean", "nearest", "validate"]

_PLAIN = {
    "object": "a map",
    "array": "a list",
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "nothing",
}
_MISSPELT = 0.75  # "tyep" is this like "type"; what is less alike is another key
_SECRET_WORDS = ("password", "secret", "token", "key", "credential")
_WHEN = {
    Generation.G1: "as files of mid 2021 write it",
    Generation.G2: "as files of late 2021 write it",
    Generation.G3: "as files since 2022 write it",
}


def validate(document: Document, kind: Kind) -> tuple[Diagnostic, ...]:
    """Everything in ``document`` that its schema does not allow, in file order."""
    if kind.schema is None:
        return (_no_schema(document, kind),)
    if accepts(resolved_schema(kind.schema), document.tree):
        return ()
    found: dict[tuple[Path_, str, str], Diagnostic] = {}
    for error in _validator(kind.schema).iter_errors(document.tree):
        for diagnostic in _explain(document, kind, error):
            found.setdefault((tuple(error.absolute_path), diagnostic.code, diagnostic.message), diagnostic)
    return tuple(sorted(_without_consequences(found.values()), key=_order))


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known name that looks most like ``word``, None when none does."""
    choices = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), choices, 1, 0.6)
    return choices[close[0]] if close else None


def did_you_mean(word: str, known: Iterable[str], *, label: str = "there is") -> str | None:
    """A hint that names the nearest known name, or else all of them."""
    names = sorted(known)
    close = nearest(word, names)
    if close is not None:
        return f"did you mean '{close}'?"
    return f"{label}: {_listed(names)}" if names else None


@cache
def _validator(schema: str) -> Any:
    from jsonschema.validators import Draft7Validator

    return Draft7Validator(resolved_schema(schema))


def _order(diagnostic: Diagnostic) -> tuple[bool, Any, str]:
    return diagnostic.place.file.startswith("--set"), diagnostic.place, diagnostic.message


def _no_schema(document: Document, kind: Kind) -> Diagnostic:
    if kind.noun in {"workspace", "flow"}:
        message = f"this is a {kind.noun} file of Azure ML, of which mlcli knows nothing"
        return document.diagnose((), "unsupported-file", message, hint="name a job file, or one of its parts")
    known = JOB_TYPES.get(kind.generation, JOB_TYPES[Generation.G3])
    close = nearest(kind.type, known)
    hint = f"did you mean '{close}'? " if close else ""
    message = f"'{document.tree.get('type')}' is not a type of {kind.noun}"
    return document.diagnose(("type",), "bad-value", message, hint=f"{hint}allowed: {_listed(known)}")


def _explain(document: Document, kind: Kind, error: Any) -> Iterator[Diagnostic]:
    path = tuple(error.absolute_path)
    if error.validator == "additionalProperties":
        yield from _unknown_keys(document, kind, path, error)
    elif error.validator == "required":
        missing = next(key for key in error.validator_value if f"'{key}' is" in error.message)
        yield _missing_key(document, path, missing, error)
    else:
        yield _foreign(document, kind, path) or _bad_value(document, kind, path, error)


def _unknown_keys(document: Document, kind: Kind, path: Path_, error: Any) -> Iterator[Diagnostic]:
    known = error.schema.get("properties", {})
    for key in error.instance:
        if key in known:
            continue
        below = (*path, key)
        foreign = _foreign(document, kind, below)
        if foreign is not None:
            yield foreign
            continue
        given = () if _is_override(document, below) else error.instance
        hint = _unknown_key_hint(kind, path, key, known, given)
        yield document.diagnose(below, "unknown-key", f"unknown key '{key}'", hint=hint, key=True)


def _is_override(document: Document, path: Path_) -> bool:
    """Whether a value comes from ``--set``, which may well mean a key that the file has already."""
    return document.place(path).file.startswith("--set")


def _unknown_key_hint(kind: Kind, path: Path_, key: str, known: Mapping[str, Any], given: Container[str]) -> str | None:
    """Where in the file a key of just this name would stand; else the name that is meant; else what is allowed here."""
    elsewhere = _elsewhere(kind, path, key, known)
    if elsewhere is not None:
        return elsewhere
    meant = _OTHER_WORDS.get(key) or nearest(key, known)
    if meant in known:
        return f"did you mean '{meant}'?" + (" It is there already" if meant in given else "")
    return did_you_mean(key, [name for name in known if name not in given], label="keys allowed here")


def _elsewhere(kind: Kind, path: Path_, key: str, known: Mapping[str, Any]) -> str | None:
    for name, section in known.items():
        if key in section.get("properties", {}):
            return f"'{key}' belongs in '{name}'"
    top = resolved_schema(kind.schema or "").get("properties", {})
    if path and key in top:
        return f"'{key}' belongs at the top of the file, not in '{path[-1]}'"
    if not path and kind.type == "pipeline" and key in resolved_schema("commandJob")["properties"]:
        return f"'{key}' belongs in a step: 'jobs: {{name: {{{key}: ...}}}}'"
    return None


_OTHER_WORDS = {
    "directory": "local_path",
    "args": "program_arguments",
    "uri": "path",
    "url": "path",
    "min": "min_value",
    "max": "max_value",
}
"""What other versions and other tools call a key."""


def _missing_key(document: Document, path: Path_, key: str, error: Any) -> Diagnostic:
    where = f" in '{path[-1]}'" if path else ""
    described = error.schema.get("properties", {}).get(key, {}).get("description")
    hint = f"add '{key}: ...': {_first_sentence(described)}" if described else f"add '{key}: ...'"
    unknown = [name for name in error.instance if name not in error.schema.get("properties", {})]
    misspelt = difflib.get_close_matches(key, unknown, 1, _MISSPELT)
    if misspelt and error.schema.get("additionalProperties") is not False:  # else the unknown key is told by itself
        path, hint = (*path, misspelt[0]), f"write '{key}' instead of '{misspelt[0]}'"
    return document.diagnose(path, "missing-key", f"the key '{key}' is missing{where}", hint=hint, key=True)


def _first_sentence(description: str) -> str:
    return description.split(". ", maxsplit=1)[0].rstrip(".")


def _foreign(document: Document, kind: Kind, path: Path_) -> Diagnostic | None:
    """The error of a value that another generation would allow, when the file holds such ones."""
    for evidence in kind.foreign:
        if evidence.path == path or evidence.path[: len(path)] == path:
            written = max(evidence.generations, key=lambda generation: generation.value)
            message = f"'{path[-1]}' stands here {_WHEN[written]}, the rest of the file {_WHEN[kind.generation]}"
            hint = _TODAY.get(str(path[-1])) if kind.generation is Generation.G3 else None
            return document.diagnose(
                path, "mixed-generations", message, hint=hint or "write all of the file in one way", key=True
            )
    return None


_TODAY = {
    "code": "today it is 'code: src', the folder itself",
    "compute": "today it is 'compute: name', and the number of nodes is 'resources.instance_count'",
    "data": "today the input holds 'path' and 'type' itself",
    "file": "today it is 'type: uri_file' and 'path: ...'",
    "folder": "today it is 'type: uri_folder' and 'path: ...'",
    "dataset": "today it is 'path: azureml:name:version'",
    "mode": "today the modes are 'ro_mount' and 'download'",
    "docker": "today it is 'image: ...', or 'build: {path: ...}'",
    "local_path": "today it is 'path'",
    "process_count": "today it is 'process_count_per_instance'",
    "algorithm": "today it is 'sampling_algorithm'",
    "timeout": "today it is 'limits: {timeout: seconds}'",
    "timeout_minutes": "today it is 'limits: {timeout: seconds}'",
    "max_total_trials": "today it stands in 'limits'",
    "max_concurrent_trials": "today it stands in 'limits'",
    "policy_type": "today it is 'type'",
    "type": "today the types are 'command', 'sweep' and 'pipeline'",
}


def _bad_value(document: Document, kind: Kind, path: Path_, error: Any) -> Diagnostic:
    name = _name(path)
    shown = _shown(path, error.instance)
    choices = _choices(error)
    if choices is not None:
        if not isinstance(error.instance, str):
            message = f"{name} must be {_or(choices)}, not {_what(error.instance)}"
            return document.diagnose(path, "wrong-type", message)
        close = nearest(error.instance, choices)
        hint = f"did you mean '{close}'? " if close else ""
        message = f"{shown} is not a value of {name}"
        hint = _literal_hint(path, error.instance) or f"{hint}allowed: {_listed(choices)}"
        return document.diagnose(path, "bad-value", message, hint=hint)
    if error.validator in {"minItems", "minProperties"}:
        return document.diagnose(path, "bad-value", f"{name} is empty; it needs at least one entry")
    expected = _expected(error, kind)
    if expected is not None:
        fraction = expected == _PLAIN["integer"] and isinstance(error.instance, float)
        message = f"{name} must be {expected}, not {error.instance if fraction else _what(error.instance)}"
        return document.diagnose(path, "wrong-type", message, hint=_type_hint(error, path, document))
    return document.diagnose(
        path, "bad-value", f"{shown} is not what {name} takes", hint=error.schema.get("description")
    )


def _literal_hint(path: Path_, word: str) -> str | None:
    """A job's input that is declared as a component declares one."""
    if path[:1] == ("inputs",) and path[-1] == "type" and word.lower() in {"number", "integer", "string", "boolean"}:
        return f"'type' is for data; a {word.lower()} is written as '{path[1]}: value'"
    return None


def _choices(error: Any) -> list[str] | None:
    """The words that an enumeration allows; the schemas write one as ``enum``, or as ``enum`` beside a pattern that takes
    any case.
    """
    if error.validator == "enum":
        return [str(word) for word in error.validator_value]
    if error.validator == "anyOf" and "enum" in error.validator_value[0]:
        return [str(word) for word in error.validator_value[0]["enum"]]
    return None


def _expected(error: Any, kind: Kind) -> str | None:
    types = error.schema.get("type")
    if error.validator == "anyOf":
        return _PLAIN["boolean"]
    if types in (["integer", "number", "string"], ["number", "string"]):
        return _PLAIN["integer"] if "integer" in types else _PLAIN["number"]
    if error.validator != "type":
        return None
    wanted = [_PLAIN[name] for name in ([types] if isinstance(types, str) else types)]
    if _may_be_map(error, kind):
        wanted.append(_PLAIN["object"])
    return _or(wanted)


def _may_be_map(error: Any, kind: Kind) -> bool:
    """Whether the value stands where a map would have been taken too (the ``else`` of a union by shape)."""
    steps = list(error.absolute_schema_path)
    if len(steps) < 2 or steps[-2] != "else":
        return False
    node: Any = resolved_schema(kind.schema or "")
    for step in steps[:-2]:
        node = node[step]
    return bool(node["if"].get("type") == "object")


def _type_hint(error: Any, path: Path_, document: Document) -> str | None:
    wanted = error.schema.get("type")
    if wanted == "string" and isinstance(error.instance, (int, float, bool)):
        written = document.written(path)
        shown = written is not None and not is_secret_name(str(path[-1]) if path else "")
        return f"put it in quotes: '{written}'" if shown else "put it in quotes"
    if error.instance is None:
        return "give it a value, or take the key out"
    if str(path[-1]).endswith("timeout"):
        return "times are in seconds: 3600 is an hour"
    return None


def _without_consequences(found: Iterable[Diagnostic]) -> list[Diagnostic]:
    """Without 'missing' for a key that a misspelt one stands for: mending the one mends the other."""
    diagnostics = list(found)
    meant = {
        (_parent(each.path), each.hint.split("'")[1])
        for each in diagnostics
        if each.code == "unknown-key" and each.hint and each.hint.startswith("did you mean")
    }
    return [
        each
        for each in diagnostics
        if each.code != "missing-key" or (each.path, each.message.split("'")[1]) not in meant
    ]


def _parent(path: str) -> str:
    cut = max(path.rfind("."), path.rfind("["))
    return path[:cut]


def _name(path: Path_) -> str:
    if not path:
        return "the file"
    if isinstance(path[-1], int):
        return f"item {path[-1] + 1} of {_name(path[:-1])}"
    return f"'{path[-1]}'"


def _shown(path: Path_, value: Any) -> str:
    """The value as an error may show it: short, and never a secret."""
    keys = [str(step).lower() for step in path]
    if "environment_variables" in keys or any(word in keys[-1] for word in _SECRET_WORDS if keys):
        return "this value"
    if isinstance(value, (dict, list)):
        return f"this {_what(value).removeprefix('a ')}"
    text = str(value)
    return f"'{text if len(text) <= 60 else text[:57] + '...'}'"


def _what(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return "a text" if value else "an empty text"
    if value is None:
        return "empty"
    return _PLAIN["object" if isinstance(value, Mapping) else "array" if isinstance(value, list) else "number"]


def _or(choices: list[str]) -> str:
    return choices[0] if len(choices) == 1 else f"{', '.join(choices[:-1])} or {choices[-1]}"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
