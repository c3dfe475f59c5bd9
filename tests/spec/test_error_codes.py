"""Every error code is documented, and has a file that shows it and the message it gets.

After a change of wording: ``python -m tests.spec.test_error_codes`` writes the messages again; read the difference.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from mlcli.domain.errors import Diagnostic, InvalidSpecError
from mlcli.spec.jobs import check_file
from mlcli.spec.report import format_diagnostics
from tests.spec.disk import DiskReader

ROOT = Path(__file__).resolve().parents[2]
INVALID = ROOT / "tests" / "invalid"
EXAMPLES = sorted(INVALID.glob("*.yml"))
HEADING = re.compile(r"^### `([a-z0-9-]+)`$", re.MULTILINE)
CODE = re.compile(r"[a-z0-9]+(-[a-z0-9]+)+")


def found_in(path: Path) -> tuple[Diagnostic, ...]:
    overrides = path.with_suffix(".set")
    assignments = overrides.read_text().splitlines() if overrides.exists() else []
    try:
        return check_file(path.read_bytes(), path.name, path.parent, DiskReader(), overrides=assignments)[1]
    except InvalidSpecError as error:
        return error.diagnostics


def message_of(path: Path) -> str:
    return format_diagnostics(found_in(path)).replace(f"{path.parent}/", "") + "\n"


def codes_in_source() -> set[str]:
    """The text constants that look like codes in calls that make diagnostics."""
    found = set()
    for path in (ROOT / "mlcli" / "spec").glob("*.py"):
        for call in (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)):
            name = getattr(call.func, "attr", getattr(call.func, "id", ""))
            if name in {"diagnose", "Diagnostic", "Fault", "_fault", "fault"}:
                constants = [value.value for value in call.args if isinstance(value, ast.Constant)]
                found |= {text for text in constants if isinstance(text, str) and CODE.fullmatch(text)}
    return found


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_each_bad_file_gets_its_message(path: Path) -> None:
    assert message_of(path) == path.with_suffix(".txt").read_text()
    assert {found.code for found in found_in(path)} == {path.stem}


def test_every_documented_code_has_an_example_and_every_example_is_documented() -> None:
    documented = HEADING.findall((ROOT / "docs" / "error-codes.md").read_text())
    assert len(documented) == len(set(documented))
    assert set(documented) == {path.stem for path in EXAMPLES}


def test_every_code_that_the_source_uses_is_documented() -> None:
    assert codes_in_source() <= {path.stem for path in EXAMPLES}


if __name__ == "__main__":
    for each in EXAMPLES:
        each.with_suffix(".txt").write_text(message_of(each))
