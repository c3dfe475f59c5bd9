"""``update``: from ``--set``, ``--add`` and ``--remove`` to what they make of a run or of an asset. Pure; every refusal is a
UsageError.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mlcli.domain.errors import UsageError
from mlcli.domain.run import Run, RunChanges

Changed = tuple[dict[str, str], dict[str, dict[str, str]]]


@dataclass(frozen=True)
class Changeable:
    """What may be changed of a ``noun``: single texts, and maps of texts."""

    noun: str
    texts: tuple[str, ...]
    maps: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """All of them."""
        return (*self.texts, *self.maps)


_JOB = Changeable("job", ("display_name", "description"), ("tags", "properties"))


def changes(run: Run, sets: Iterable[str] = (), removes: Iterable[str] = ()) -> RunChanges:
    """What the assignments and removals make of the run; those that come later win."""
    texts, maps = edited(_JOB, run, sets, removes)
    return RunChanges(
        display_name=texts.get("display_name"),
        description=texts.get("description"),
        tags=maps.get("tags"),
        properties=maps.get("properties"),
    )


def edited(what: Changeable, current: object, sets: Iterable[str], removes: Iterable[str]) -> Changed:
    """The texts and the maps that change, each map whole; ``current`` has them as attributes."""
    maps: dict[str, dict[str, str]] = {}
    texts: dict[str, str] = {}
    for assignment in sets:
        path, equals, value = assignment.partition("=")
        if not equals:
            raise UsageError(
                f"--set {assignment}: no '=' in it", hint="write --set tags.stage=final or --set description='My words'"
            )
        field, key = _field(what, path, "--set")
        if field in what.texts:
            texts[field] = value
        elif key:
            _map(maps, current, field)[key] = value
        else:
            maps[field] = _parsed_map(field, value)
    for path in removes:
        field, key = _field(what, path, "--remove")
        if field in what.texts:
            texts[field] = ""
        elif key:
            _remove(what, _map(maps, current, field), field, key)
        else:
            maps[field] = {}
    return texts, maps


def _field(what: Changeable, path: str, flag: str) -> tuple[str, str]:
    field, _, key = path.strip().partition(".")
    if field in what.maps or (field in what.texts and not key):
        return field, key
    near = difflib.get_close_matches(field, what.names, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise UsageError(
        f"{flag} {path}: this cannot be changed once the {what.noun} is created",
        hint=f"{hint}what can be: {', '.join((*what.texts, *(f'{name}.KEY' for name in what.maps)))}",
    )


def _map(maps: dict[str, dict[str, str]], current: object, field: str) -> dict[str, str]:
    return maps.setdefault(field, dict(getattr(current, field)))


def _remove(what: Changeable, entries: dict[str, str], field: str, key: str) -> None:
    if key not in entries:
        near = difflib.get_close_matches(key, entries, n=1)
        raise UsageError(
            f"--remove {field}.{key}: the {what.noun} has no such entry",
            hint=f"did you mean {near[0]!r}?" if near else None,
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
