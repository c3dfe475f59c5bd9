"""``mlcli schema``, and the schema lines of the examples."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from mlcli.cli.schema import schema_name
from mlcli.spec.schemas import names, schema_folder

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted(path for path in (ROOT / "examples" / "jobs").rglob("*.y*ml") if "command:" in path.read_text())
SCHEMA_LINE = re.compile(r"^(?:# yaml-language-server: \$schema=|\$schema: )(?P<schema>\S+)", re.MULTILINE)


def test_path_without_a_name_is_the_folder_of_all(mlcli) -> None:
    assert mlcli("schema", "path").stdout == f"{schema_folder()}\n"


def test_path_names_a_file_that_exists(mlcli) -> None:
    found = mlcli("schema", "path", "commandJob").stdout.strip()
    assert json.loads(Path(found).read_text())["title"] == "Command job"


def test_list_and_show_speak_of_the_same_schemas(mlcli) -> None:
    listed = mlcli("schema", "list").json
    assert [record["name"] for record in listed] == list(names())
    assert {record["generation"] for record in listed} == {"v1", "2021-06", "2021-11", "2022-04"}
    assert all(record["title"] for record in listed)
    shown = mlcli("schema", "show", "2021-06/commandJob").json
    assert shown == json.loads((schema_folder() / "2021-06" / "commandJob.schema.json").read_text())


def test_a_name_that_does_not_exist_is_told_with_the_nearest(mlcli) -> None:
    result = mlcli("schema", "path", "comandJob")
    assert result.code == 3
    assert "commandJob" in result.stderr


@pytest.mark.parametrize(
    "given",
    [
        "commandJob",
        "commandJob.schema.json",
        "https://azuremlschemas.azureedge.net/latest/commandJob.schema.json",
        "https://azuremlschemas.azureedge.net/latest/commandJob.schema.json?v=1#top",
    ],
)
def test_the_addresses_that_files_for_az_carry_are_recognised(given: str) -> None:
    assert schema_name(given) == "commandJob"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_schema_of_every_example_resolves(path: Path) -> None:
    found = SCHEMA_LINE.search(path.read_text())
    assert found is not None, "an example shows the line that makes editors complete"
    schema = found["schema"]
    if "://" in schema:
        assert schema_name(schema) in names()
    else:
        assert (path.parent / schema).resolve().is_file()


def test_every_property_has_a_title_and_a_description() -> None:
    """An editor shows them; a property may take them from the definition that it refers to."""
    untold = []
    for file in sorted(schema_folder().rglob("*.schema.json")):
        schema = json.loads(file.read_text())
        for where, prop in _properties(schema, ""):
            told = _resolved(prop, file, schema)
            if not (told.get("title") and told.get("description")):
                untold.append(f"{file.name}{where}")
    assert untold == []


def _properties(node: object, where: str):
    if isinstance(node, list):
        for index, below in enumerate(node):
            yield from _properties(below, f"{where}[{index}]")
    if not isinstance(node, dict):
        return
    narrows = where.endswith((".if", ".then", ".else", ".not")) or ".allOf" in where
    if isinstance(node.get("properties"), dict) and not narrows and not where.endswith(".definitions"):
        for name, prop in node["properties"].items():
            if isinstance(prop, dict):
                yield f"{where}.{name}", prop
    for key, below in node.items():
        yield from _properties(below, f"{where}.{key}")


def _resolved(prop: dict[str, Any], file: Path, schema: Any) -> dict[str, Any]:
    reference = prop.get("$ref")
    if reference is None:
        return prop
    name, _, pointer = reference.partition("#")
    if name:
        file = (file.parent / name).resolve()
        schema = json.loads(file.read_text())
    target = schema
    for step in pointer.strip("/").split("/"):
        target = target[step]
    return {**_resolved(target, file, schema), **prop}
