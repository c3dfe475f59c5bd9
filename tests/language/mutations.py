"""Job files with one thing made wrong, the same ones each time: what the comparison with the official SDK is made over.

Pure, and without mlcli: ``record_sdk.py`` runs it beside the SDK, the tests beside us.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

FILES = Path(__file__).parent / "files"
VERDICTS = Path(__file__).parent / "sdk_verdicts.ndjson"

NAMED = frozenset({"inputs", "outputs", "jobs", "search_space", "services"})
"""Maps whose keys are the person's own names."""

FREE = frozenset({"tags", "properties", "environment_variables", "conda_file"})
"""Maps in which anything may stand: nothing below them is mutated."""

ENUMS = frozenset({"type", "mode", "goal", "sampling_algorithm", "rule", "job_tier", "logging_level"})

Steps = tuple["str | int", ...]


@dataclass(frozen=True)
class Mutation:
    """One changed file. ``place`` is the JSON path with the person's own names as ``*``; ``id`` says which one it is."""

    file: str
    kind: str
    path: str
    place: str
    tree: Any

    @property
    def id(self) -> str:
        return f"{self.file} {self.kind} {self.path}"

    @property
    def text(self) -> str:
        """The file's text: JSON, which is YAML."""
        return json.dumps(self.tree, indent=1) + "\n"

    @property
    def digest(self) -> str:
        """Changes when the file does: a recorded verdict is about exactly this text."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:12]


def job_files() -> list[Path]:
    """The accepted files that are mutated."""
    return sorted(FILES.glob("*.yml"))


def all_mutations() -> Iterator[Mutation]:
    """Each file as it is, then with each thing made wrong that no file before it had wrong at such a place."""
    seen: set[tuple[str, ...]] = set()
    for path in job_files():
        tree = YAML(typ="safe", pure=True).load(path.read_text())
        yield Mutation(path.name, "as-it-is", "$", "$", tree)
        for mutation, context in _mutations(path.name, tree):
            key = (path.name.partition("_")[0], mutation.kind, mutation.place, context)
            if key not in seen:
                seen.add(key)
                yield mutation


def _mutations(file: str, tree: Any) -> Iterator[tuple[Mutation, str]]:
    for steps in _paths(tree, ()):
        parent = _at(tree, steps[:-1])
        value = parent[steps[-1]]
        context = str(parent.get("type", "")) if isinstance(parent, dict) else ""
        for kind, changed in _changes(steps[-1], value):
            mutated = copy.deepcopy(tree)
            _change(_at(mutated, steps[:-1]), steps[-1], changed)
            yield (
                Mutation(file, kind, _json_path(steps), _json_path(_generic(steps)), mutated),
                f"{context} {type(value)}",
            )


def _paths(value: Any, steps: Steps) -> Iterator[Steps]:
    if steps and steps[-1] in FREE:
        return
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in items:
        yield (*steps, key)
        yield from _paths(child, (*steps, key))


DROP = object()


@dataclass(frozen=True)
class Renamed:
    to: str


def _changes(key: str | int, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(key, str):
        yield "dropped", DROP
        yield "misspelt", Renamed(key[:-2] + key[-1] + key[-2] if len(key) > 2 and key[-1] != key[-2] else key + "x")
    yield "wrong-type", _other_type(value)
    yield "empty", None
    if isinstance(value, str) and key in ENUMS:
        yield "bad-value", value + "x"
        yield "upper-case", value.upper()


def _other_type(value: Any) -> Any:
    if isinstance(value, (bool, int, float)):
        return "plenty"
    if isinstance(value, dict):
        return "plenty"
    if isinstance(value, list):
        return {"first": "plenty"}
    return ["plenty", "of", "words"]


def _change(parent: Any, key: str | int, changed: Any) -> None:
    if changed is DROP:
        del parent[key]
    elif isinstance(changed, Renamed):
        items = [(changed.to if name == key else name, value) for name, value in parent.items()]
        parent.clear()
        parent.update(items)
    else:
        parent[key] = changed


def _at(tree: Any, steps: Steps) -> Any:
    for step in steps:
        tree = tree[step]
    return tree


def _generic(steps: Steps) -> Steps:
    above = ("", *steps)
    return tuple("*" if above[number] in NAMED or isinstance(step, int) else step for number, step in enumerate(steps))


def _json_path(steps: Steps) -> str:
    return "$" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
