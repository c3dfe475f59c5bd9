"""Workspaces: the folders of a home, made, listed, chosen and removed.

On disk, below the home: ``workspaces/NAME/workspace.json``, what a person has said of it; ``current-workspace.json``, the name
that ``workspace use`` has chosen.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from mlcli.domain.errors import NameTakenError, NotFoundError, UsageError
from mlcli.stores._files import free_name, read_json, remove_tree, replace_json
from mlcli.stores._sqlite import store_errors

DEFAULT = "default"
_FOLDER = "workspaces"
_FACTS = "workspace.json"
_CURRENT = "current-workspace.json"
_LONGEST = 200


def folder(home: Path, name: str) -> Path:
    """Where a workspace lies, whether or not it is there. Raises UsageError for a name that cannot be one."""
    known = all(letter.isalnum() or letter in "-_." for letter in name)
    if not known or not name or name.startswith(".") or len(name) > _LONGEST:
        raise UsageError(f"{name!r} is not a workspace name", hint="use letters, digits, '-', '_' and '.'")
    return home / _FOLDER / name


def names(home: Path) -> list[str]:
    """Every workspace; ``default`` is there without being made."""
    with store_errors("cannot list the workspaces", home):
        try:
            entries = list(os.scandir(home / _FOLDER))
        except FileNotFoundError:
            entries = []
    found = {entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")}
    return [DEFAULT, *sorted(found - {DEFAULT})]


def check_exists(home: Path, name: str, named_by: str = "") -> None:
    """Raise NotFoundError with the nearest names for a workspace that nobody has made. ``named_by``: what named it."""
    place = folder(home, name)
    if name == DEFAULT or place.is_dir():
        return
    import difflib

    near = difflib.get_close_matches(name, names(home), n=3)
    meant = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
    by = f" ({named_by} names it)" if named_by else ""
    raise NotFoundError(
        f"there is no workspace {name!r}{by}",
        hint=f"{meant}'mlcli workspace list' shows them; make it with: mlcli workspace create --name {name}",
    )


def chosen(home: Path, given: str | None) -> str:
    """The workspace that a command works in: the one given, else ``MLCLI_WORKSPACE``, else the one that ``workspace use`` has
    chosen, else ``default``. Raises NotFoundError for one that nobody has made.
    """
    name, named_by = _named(home, given)
    check_exists(home, name, named_by)
    return name


def in_use(home: Path) -> str:
    """The same without one given, whether or not it is there."""
    return _named(home, None)[0]


def _named(home: Path, given: str | None) -> tuple[str, str]:
    """A name, and what named it."""
    if given:
        return given, ""
    if os.environ.get("MLCLI_WORKSPACE"):
        return os.environ["MLCLI_WORKSPACE"], "MLCLI_WORKSPACE"
    return current(home) or DEFAULT, "mlcli workspace use"


def create(home: Path, name: str, facts: Mapping[str, Any]) -> None:
    """Make a workspace. ``facts``: ``description``, ``display_name``, ``tags``. Raises NameTakenError."""
    place = folder(home, name)
    with store_errors(f"cannot make workspace {name}", home):
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            place.mkdir()
        except FileExistsError:
            if name != DEFAULT or (place / _FACTS).exists():
                raise NameTakenError(
                    f"there is a workspace {name!r} already", hint=f"work in it with: mlcli workspace use {name}"
                ) from None
        replace_json(place / _FACTS, {**facts, "created_at": time.time()})


def facts(home: Path, name: str) -> dict[str, Any]:
    """What a person has said of a workspace; nothing for one that was made by itself."""
    with store_errors(f"cannot read workspace {name}", home), suppress(ValueError):
        found = read_json(folder(home, name) / _FACTS)
        return found if isinstance(found, dict) else {}
    return {}


def delete(home: Path, name: str) -> int:
    """Remove a workspace with all that is in it; bytes freed. It is gone at once, before its files are."""
    check_exists(home, name)
    place = folder(home, name)
    doomed = place.with_name(f".deleted-{free_name()}")
    with store_errors(f"cannot delete workspace {name}", home):
        if current(home) == name:
            (home / _CURRENT).unlink(missing_ok=True)
        try:
            place.rename(doomed)
        except FileNotFoundError:  # default, never used
            return 0
        return remove_tree(doomed)


def current(home: Path) -> str | None:
    """The name that ``workspace use`` has chosen."""
    with suppress(OSError, ValueError):
        name = read_json(home / _CURRENT)
        return name if isinstance(name, str) and name else None
    return None


def use(home: Path, name: str) -> None:
    """Work in that workspace from now on. Raises NotFoundError."""
    check_exists(home, name)
    with store_errors(f"cannot choose workspace {name}", home):
        home.mkdir(parents=True, exist_ok=True)
        replace_json(home / _CURRENT, name)
