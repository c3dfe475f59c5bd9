"""Diagnostics as SARIF 2.1.0, which code hosts show beside the changed lines. Data in, data out.

Source of the words: OASIS, "Static Analysis Results Interchange Format (SARIF) Version 2.1.0", sections 3.13 to 3.52.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from mlcli import __version__
from mlcli.domain.errors import Diagnostic, Severity

VERSION = "2.1.0"
SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
ROOT = "SRCROOT"
"""The folder that relative file names start from: the checkout, in CI."""


def sarif(diagnostics: Sequence[Diagnostic], *, strict: bool = False) -> dict[str, Any]:
    """One log with one run. With ``strict`` warnings count as errors. Files are named as the diagnostics name them."""
    codes = sorted({found.code for found in diagnostics})
    rules = [{"id": code, "shortDescription": {"text": code.replace("-", " ")}} for code in codes]
    driver = {"name": "mlcli", "semanticVersion": __version__, "rules": rules}
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": [_result(found, codes.index(found.code), strict=strict) for found in diagnostics],
    }
    return {"$schema": SCHEMA, "version": VERSION, "runs": [run]}


def _result(found: Diagnostic, rule: int, *, strict: bool) -> dict[str, Any]:
    is_error = strict or found.severity is Severity.ERROR
    return {
        "ruleId": found.code,
        "ruleIndex": rule,
        "level": "error" if is_error else "warning",
        "message": {"text": f"{found.message} ({found.hint})" if found.hint else found.message},
        "locations": [{"physicalLocation": _location(found), "logicalLocations": [{"fullyQualifiedName": found.path}]}],
    }


def _location(found: Diagnostic) -> dict[str, Any]:
    region: dict[str, Any] = {"startLine": found.place.line, "startColumn": found.place.column}
    if found.source is not None:
        region["snippet"] = {"text": found.source}
    return {"artifactLocation": _artifact(found.place.file), "region": region}


def _artifact(file: str) -> Mapping[str, str]:
    posix = file.replace("\\", "/").removeprefix("./")
    if posix.startswith("/"):
        return {"uri": f"file://{quote(posix)}"}
    return {"uri": quote(posix), "uriBaseId": ROOT}
