"""The quick yes of our own says what jsonschema says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema.validators import Draft7Validator

from mlcli.spec.accepts import ANNOTATIONS, CHECKS, accepts
from mlcli.spec.schemas import names, resolved_schema, schema_folder
from tests.language.mutations import all_mutations
from tests.language.test_hostile_input import JOBS

FILES = sorted(schema_folder().rglob("*.schema.json"))


def test_the_verdict_is_the_same_over_every_mutation() -> None:
    seen = {True: 0, False: 0}
    for mutation in all_mutations():
        schema = resolved_schema(f"{mutation.file.partition('_')[0]}Job")
        expected = Draft7Validator(schema).is_valid(mutation.tree)
        assert accepts(schema, mutation.tree) is expected, mutation.id
        seen[expected] += 1
    assert min(seen.values()) > 200


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(names()), JOBS)
def test_it_never_says_yes_where_jsonschema_says_no(name: str, tree: dict[str, Any]) -> None:
    schema = resolved_schema(name)
    assert not accepts(schema, tree) or Draft7Validator(schema).is_valid(tree)


VALUES = [None, True, 0, 1, 2.0, 2.5, "", "a", "b", [], [1], ["a", "b"], {}, {"a": 1}, {"a": "x", "b": []}]
SCHEMAS: list[Any] = [
    True,
    False,
    {"type": "integer"},
    {"type": ["string", "null"]},
    {"type": "number", "multipleOf": 2},
    {"type": ["integer", "string"], "minimum": 1},
    {"enum": ["a"]},
    {"pattern": "^a"},
    {"items": {"type": "string"}, "minItems": 1},
    {"properties": {"a": {"type": "integer"}}, "additionalProperties": False, "minProperties": 1},
    {"required": ["a"], "additionalProperties": {"type": "integer"}},
    {"not": {"type": "string"}},
    {"if": {"type": "object"}, "then": {"required": ["a"]}, "else": {"type": "string"}},
    {"if": {"required": ["b"]}, "then": {"properties": {"a": {"type": "string"}}}},
    {"anyOf": [{"type": "null"}, {"type": "boolean"}]},
    {"allOf": [{"type": "array"}, {"minItems": 2}]},
]


@pytest.mark.parametrize("schema", SCHEMAS, ids=json.dumps)
def test_every_keyword(schema: Any) -> None:
    for value in VALUES:
        if accepts(schema, value) is not Draft7Validator(schema).is_valid(value):
            assert not accepts(schema, value), "unsure is no, never yes"
            assert isinstance(value, float), "and only where numbers are compared"


def test_a_keyword_that_is_not_known_makes_it_unsure_even_behind_a_not() -> None:
    assert not accepts({"not": {"maximum": 3}}, 5)
    assert not accepts({"uniqueItems": True}, [])


def keywords(node: Any, *, names_only: bool = False) -> Iterator[str]:
    if isinstance(node, list):
        for below in node:
            yield from keywords(below)
    if not isinstance(node, dict):
        return
    for key, below in node.items():
        if not names_only:
            yield key
        if names_only or key not in {"enum", "examples", "default", "required"}:
            yield from keywords(below, names_only=not names_only and key in {"properties", "definitions"})


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_our_schemas_use_nothing_else(path: Path) -> None:
    assert set(keywords(json.loads(path.read_text()))) <= {*ANNOTATIONS, *CHECKS, "$ref"}
