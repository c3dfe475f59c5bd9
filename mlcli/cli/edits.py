"""``job update``: from ``--set``, ``--add`` and ``--remove`` to the changes of a run. Pure; every refusal is a UsageError."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from mlcli.domain.errors import UsageError
from mlcli.domain.run import Run, RunChanges

_TEXTS = ("display_name", "description")
_MAPS = ("tags", "properties")
_CHANGEABLE = (*_TEXTS, *_MAPS)


def changes(run: Run, sets: Iterable[str] = (), removes: Iterable[str] = ()) -> RunChanges:
    """What the assignments and removals make of the run; those that come later win."""
    maps: dict[str, dict[str, str]] = {}
    texts: dict[str, str] = {}
    for assignment in sets:
        path, equals, value = assignment.partition("=")
        if not equals:
            raise UsageError(
                f"--set {assignment}: no '=' in it", hint="write --set tags.stage=final or --set display_name='My job'"
            )
        field, key = _field(path, "--set")
        if field in _TEXTS:
            texts[field] = value
        elif key:
            _map(maps, run, field)[key] = value
        else:
            maps[field] = _parsed_map(field, value)
    for path in removes:
        field, key = _field(path, "--remove")
        if field in _TEXTS:
            texts[field] = ""
        elif key:
            _remove(_map(maps, run, field), field, key)
        else:
            maps[field] = {}
    return RunChanges(
        display_name=texts.get("display_name"),
        description=texts.get("description"),
        tags=maps.get("tags"),
        properties=maps.get("properties"),
    )


def _field(path: str, flag: str) -> tuple[str, str]:
    field, _, key = path.strip().partition(".")
    if field in _MAPS or (field in _TEXTS and not key):
        return field, key
    near = difflib.get_close_matches(field, _CHANGEABLE, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise UsageError(
        f"{flag} {path}: this cannot be changed once the job is created",
        hint=f"{hint}what can be: {', '.join((*_TEXTS, *(f'{name}.KEY' for name in _MAPS)))}",
    )


def _map(maps: dict[str, dict[str, str]], run: Run, field: str) -> dict[str, str]:
    return maps.setdefault(field, dict(getattr(run, field)))


def _remove(entries: dict[str, str], field: str, key: str) -> None:
    if key not in entries:
        near = difflib.get_close_matches(key, entries, n=1)
        raise UsageError(
            f"--remove {field}.{key}: the job has no such entry", hint=f"did you mean {near[0]!r}?" if near else None
        )
    del entries[key]


def _parsed_map(field: str, value: str) -> dict[str, str]:
    try:
        parsed: Any = json.loads(value)
    except ValueError:
        parsed = None
    if not isinstance(parsed, Mapping):
        raise UsageError(
            f"--set {field}={value}: not a JSON object", hint=f"write --set {field}.KEY=VALUE for one entry"
        )
    return {str(key): text if isinstance(text, str) else json.dumps(text) for key, text in parsed.items()}
