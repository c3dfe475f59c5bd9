"""An editor completes and marks job files: the real yaml-language-server, with the settings of docs/editors.md."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mlcli.spec.schemas import schema_folder
from tests.language.lsp import LanguageClient

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.slow, pytest.mark.network]


@pytest.fixture(scope="module")
def server(npm: Callable[[str], Path]) -> Path:
    """The language server, installed by npm."""
    return npm("yaml-language-server@1") / ".bin" / "yaml-language-server"


def documented_settings() -> dict[str, str]:
    """The mapping of docs/editors.md, with what `mlcli schema path` prints in its place."""
    page = (ROOT / "docs" / "editors.md").read_text()
    block = re.search(r"```json\n(.*?)```", page, re.DOTALL)
    assert block is not None
    settings = json.loads(block[1].replace("SCHEMA_FOLDER", str(schema_folder())))
    mapping: dict[str, str] = settings["yaml.schemas"]
    return mapping


@pytest.fixture
def editor(server: Path, tmp_path: Path) -> Iterator[LanguageClient]:
    yaml = {"schemas": documented_settings(), "validate": True, "completion": True, "schemaStore": {"enable": False}}
    client = LanguageClient([str(server), "--stdio"], tmp_path, {"yaml": yaml})
    yield client
    client.close()


def write(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.write_text(text)
    return file


def test_a_wrong_key_is_marked_where_it_stands(editor: LanguageClient, tmp_path: Path) -> None:
    file = write(tmp_path, "job.yml", "command: echo hello\nenvironment: current\nenviroment_variables: {A: b}\n")
    uri = editor.open(file)
    editor.until(lambda: bool(editor.diagnostics.get(uri)))
    [found] = editor.diagnostics[uri]
    assert found["range"]["start"] == {"line": 2, "character": 0}
    assert "enviroment_variables" in found["message"]


def test_keys_are_offered_with_their_description(editor: LanguageClient, tmp_path: Path) -> None:
    file = write(tmp_path, "job.yml", "command: echo hello\nenvironment: current\n\n")
    offered = {item["label"]: item for item in editor.complete(editor.open(file), 2, 0)}
    assert {"compute", "inputs", "outputs", "code", "limits", "distribution"} <= set(offered)
    assert offered["compute"]["documentation"]


def test_values_are_offered_too(editor: LanguageClient, tmp_path: Path) -> None:
    text = "command: echo hello\nenvironment: current\ninputs:\n  data:\n    path: .\n    mode: \n"
    offered = {item["label"] for item in editor.complete(editor.open(write(tmp_path, "job.yml", text)), 5, 10)}
    assert {"ro_mount", "download"} <= offered


def test_so_does_a_schema_key_with_a_relative_path(editor: LanguageClient, tmp_path: Path) -> None:
    schemas = tmp_path / "schemas"
    schemas.symlink_to(schema_folder())
    uri = editor.open(write(tmp_path, "search.yaml", "$schema: ./schemas/sweepJob.schema.json\nobjectve: {}\n"))
    editor.until(lambda: bool(editor.diagnostics.get(uri)))
    assert any("objectve" in found["message"] for found in editor.diagnostics[uri])


def test_a_schema_line_in_the_file_needs_no_setting(editor: LanguageClient, tmp_path: Path) -> None:
    schema = schema_folder() / "sweepJob.schema.json"
    text = f"# yaml-language-server: $schema={schema}\ntype: sweep\nobjectve: {{}}\n"
    uri = editor.open(write(tmp_path, "search.yaml", text))
    editor.until(lambda: bool(editor.diagnostics.get(uri)))
    assert any("objectve" in found["message"] for found in editor.diagnostics[uri])
