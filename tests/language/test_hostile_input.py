"""Nothing that can stand in a file, and no file, makes the checker raise anything but the tool's own errors."""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from mlcli.domain.errors import MlcliError
from mlcli.operations.files import DiskFiles
from mlcli.spec.jobs import check_file
from mlcli.spec.report import format_diagnostics
from mlcli.spec.sarif import sarif
from mlcli.spec.schemas import schema_folder
from mlcli.spec.upgrade import upgrade_text
from tests.language.mutations import FILES, job_files

SPECIAL = (
    "azureml:a:1",
    "file:x",
    "${{inputs.x}}",
    "${{parent.jobs.a.outputs.b}}",
    "{inputs.x}",
    "<inputs.x>",
    "$[[ --x",
    "",
)


def words_of(schema: Any) -> Iterator[str]:
    """Every key and every word that a schema knows."""
    if isinstance(schema, dict):
        yield from schema.get("properties", {})
        yield from (word for word in schema.get("enum", ()) if isinstance(word, str))
        for below in schema.values():
            yield from words_of(below)
    elif isinstance(schema, list):
        for below in schema:
            yield from words_of(below)


WORDS = sorted(
    {word for path in schema_folder().rglob("*.json") for word in words_of(json.loads(path.read_text()))} | {*SPECIAL}
)
SCALARS = st.one_of(
    st.sampled_from(WORDS),
    st.text(max_size=20),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.none(),
)
KEYS = st.one_of(st.sampled_from(WORDS), st.text(max_size=8))
TREES = st.recursive(
    SCALARS,
    lambda below: st.one_of(st.lists(below, max_size=4), st.dictionaries(KEYS, below, max_size=6)),
    max_leaves=30,
)
JOBS = st.dictionaries(KEYS, TREES, max_size=10)
TEXTS = [path.read_text() for path in job_files()]
PIECES = sorted({line + "\n" for text in TEXTS for line in text.splitlines()} | {"  ", "- ", ": ", "{", "}", "&a ", "*a", "<<: ", "|", "\t", "---\n", "!!python/object:x "})  # fmt: skip

slowly = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=60)


def examine(text: str | bytes) -> None:
    """Check and upgrade, and show what was found in each form: only MlcliError may come out."""
    try:
        _, found = check_file(text, "job.yml", FILES, DiskFiles())
        format_diagnostics(found)
        json.dumps(sarif(found))
    except MlcliError:
        pass
    if isinstance(text, str):
        with contextlib.suppress(MlcliError):
            upgrade_text(text, "job.yml", FILES, DiskFiles())


@slowly
@given(st.text())
def test_text(text: str) -> None:
    examine(text)


@slowly
@given(st.binary())
def test_bytes(data: bytes) -> None:
    examine(data)


@slowly
@given(st.lists(st.sampled_from(PIECES), max_size=25).map("".join))
def test_pieces_of_job_files_in_any_order(text: str) -> None:
    examine(text)


@slowly
@given(JOBS)
def test_any_mapping(tree: dict[str, Any]) -> None:
    examine(json.dumps(tree))


@slowly
@given(st.sampled_from(TEXTS), st.data())
def test_a_good_file_with_something_else_in_one_place(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 30)))
    examine(text[:start] + data.draw(st.text(max_size=6)) + text[end:])


def places(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, below in items:
        yield (*path, key)
        yield from places(below, (*path, key))


GOOD = [YAML(typ="safe", pure=True).load(text) for text in TEXTS]


@slowly
@given(st.sampled_from(GOOD), st.lists(st.tuples(st.integers(0), KEYS, TREES), min_size=1, max_size=3))
def test_a_good_job_with_another_tree_in_some_places(good: Any, changes: list[tuple[int, str, Any]]) -> None:
    tree = copy.deepcopy(good)
    for number, key, new in changes:
        known = list(places(tree))
        if not known:
            break
        *above, last = known[number % len(known)]
        parent = tree
        for step in above:
            parent = parent[step]
        parent[last] = new
        if isinstance(parent, dict):
            parent[key] = new
    examine(json.dumps(tree))


def test_a_file_that_includes_itself(tmp_path: Path) -> None:
    loop = tmp_path / "loop.yml"
    loop.write_text("type: pipeline\njobs:\n  again:\n    type: pipeline\n    component: ./loop.yml\n")
    _, found = check_file(loop.read_text(), "loop.yml", tmp_path, DiskFiles())
    assert found
    command = "command: echo\nenvironment:\n  conda_file: loop.yml\n"
    _, found = check_file(command, "job.yml", tmp_path, DiskFiles())
    assert any("loop.yml" in one.message or "loop.yml" in one.place.file for one in found)
