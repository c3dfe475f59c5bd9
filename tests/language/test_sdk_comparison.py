"""Our verdict beside the official SDK's: each disagreement is a row of docs/sdk-comparison.md, each row explains one."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from mlcli.domain.errors import Diagnostic, InvalidSpecError, Severity
from mlcli.operations.files import DiskFiles
from mlcli.spec.jobs import check_file
from tests.language.mutations import FILES, VERDICTS, Mutation, all_mutations

ROOT = Path(__file__).parents[2]
CORPUS = ROOT.parent / "shared" / "reference" / "corpus"
VERDICT_WORDS = {"accepts": True, "refuses": False}


@dataclass(frozen=True)
class Row:
    """A row of the table: kinds of change, places, and the two verdicts."""

    kinds: frozenset[str]
    places: frozenset[str]
    sdk: bool
    ours: bool

    def explains(self, mutation: Mutation, *, sdk: bool, ours: bool) -> bool:
        verdicts = (self.sdk, self.ours) == (sdk, ours)
        return verdicts and mutation.kind in self.kinds and mutation.place in self.places


@cache
def rows() -> tuple[Row, ...]:
    return tuple(_rows((ROOT / "docs" / "sdk-comparison.md").read_text()))


def _rows(page: str) -> Iterator[Row]:
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 5 and cells[2] in VERDICT_WORDS:
            kinds = frozenset(cells[0].split(", "))
            yield Row(
                kinds, frozenset(re.findall(r"`([^`]+)`", cells[1])), *(VERDICT_WORDS[cell] for cell in cells[2:4])
            )
            assert cells[4], "a reason"


@cache
def recorded() -> dict[str, Any]:
    lines = [json.loads(line) for line in VERDICTS.read_text().splitlines()]
    return {line["id"]: line for line in lines if "id" in line}


def errors(text: str | bytes, name: str, base: Path) -> list[Diagnostic]:
    try:
        found = check_file(text, name, base, DiskFiles())[1]
    except InvalidSpecError as error:
        found = error.diagnostics
    return [one for one in found if one.severity is Severity.ERROR]


@cache
def disagreements() -> tuple[tuple[Mutation, bool, bool], ...]:
    """(mutation, the SDK's verdict, ours) where they differ."""
    found = []
    for mutation in all_mutations():
        sdk = recorded()[mutation.id]["ok"]
        ours = not errors(mutation.text, mutation.file, FILES)
        if sdk != ours:
            found.append((mutation, sdk, ours))
    return tuple(found)


def test_every_verdict_was_recorded_for_just_this_text() -> None:
    made = {mutation.id: mutation.digest for mutation in all_mutations()}
    assert made == {name: line["digest"] for name, line in recorded().items()}
    kinds = Counter(name.split()[1] for name in made)
    assert len(made) >= 230
    assert all(kinds[kind] >= 50 for kind in ("dropped", "misspelt", "wrong-type", "empty", "bad-value"))
    verdicts = Counter(line["ok"] for line in recorded().values())
    assert min(verdicts[True], verdicts[False]) > 200, (
        "a comparison of files that all are good, or all bad, says little"
    )


@pytest.mark.parametrize("path", sorted(FILES.glob("*.yml")), ids=lambda path: path.stem)
def test_what_the_sdk_accepts_untouched_is_accepted(path: Path) -> None:
    assert recorded()[f"{path.name} as-it-is $"]["ok"]
    assert errors(path.read_bytes(), path.name, FILES) == []


def test_every_disagreement_is_explained() -> None:
    unexplained = [
        f"{mutation.id}: SDK {'accepts' if sdk else 'refuses'}"
        for mutation, sdk, ours in disagreements()
        if not any(row.explains(mutation, sdk=sdk, ours=ours) for row in rows())
    ]
    assert unexplained == []


def test_every_row_explains_something_and_names_no_place_in_vain() -> None:
    for row in rows():
        explained = [mutation for mutation, sdk, ours in disagreements() if row.explains(mutation, sdk=sdk, ours=ours)]
        assert {mutation.place for mutation in explained} == row.places
        assert {mutation.kind for mutation in explained} == row.kinds


def test_a_misspelt_key_is_told_with_the_one_that_was_meant() -> None:
    untold = []
    for mutation in all_mutations():
        if mutation.kind != "misspelt" or mutation.place.endswith(".*"):
            continue
        meant = mutation.path.rsplit(".", 1)[1]
        found = check_file(mutation.text, mutation.file, FILES, DiskFiles())[1]
        if not any(f"'{meant}'" in (one.hint or "") for one in found):
            untold.append(mutation.id)
    assert untold == []


@pytest.mark.skipif(not (CORPUS / "verdicts.ndjson").exists(), reason="the corpus is not beside this checkout")
def test_files_of_today_get_the_verdict_of_the_sdk() -> None:
    lines = [json.loads(line) for line in (CORPUS / "verdicts.ndjson").read_text().splitlines()]
    today = [line for line in lines if line["path"].startswith("now/")]
    assert len(today) > 30
    for line in today:
        path = CORPUS / line["path"]
        found = [one for one in errors(path.read_bytes(), path.name, path.parent) if one.code != "missing-file"]
        assert found == [], line["path"]
        if not line["ok"]:
            assert errors(path.read_bytes(), path.name, path.parent), line["path"]
