"""What ``job validate --sarif`` writes is SARIF 2.1.0."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from mlcli.domain.errors import Diagnostic, Place, Severity
from mlcli.spec.sarif import sarif

FOUND = (
    Diagnostic(Place("jobs/a b.yml", 3, 5), "unknown-key", "unknown key 'x'", "$.x", "did you mean 'y'?", "x: 1"),
    Diagnostic(Place("/abs/ü.yml", 1, 1), "timeout-short", "under a minute", "$.limits", severity=Severity.WARNING),
    Diagnostic(Place("jobs/a b.yml", 9, 1), "unknown-key", "unknown key 'z'", "$.z"),
)


def test_each_diagnostic_is_a_result_at_its_place() -> None:
    [run] = sarif(FOUND)["runs"]
    first, second, third = run["results"]
    assert (first["level"], second["level"]) == ("error", "warning")
    assert first["message"]["text"] == "unknown key 'x' (did you mean 'y'?)"
    place = first["locations"][0]["physicalLocation"]
    assert place["artifactLocation"] == {"uri": "jobs/a%20b.yml", "uriBaseId": "SRCROOT"}
    assert place["region"] == {"startLine": 3, "startColumn": 5, "snippet": {"text": "x: 1"}}
    assert second["locations"][0]["physicalLocation"]["artifactLocation"] == {"uri": "file:///abs/%C3%BC.yml"}
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == ["timeout-short", "unknown-key"]
    assert all(rules[result["ruleIndex"]]["id"] == result["ruleId"] for result in (first, second, third))


def test_strict_makes_warnings_errors() -> None:
    [run] = sarif(FOUND, strict=True)["runs"]
    assert {result["level"] for result in run["results"]} == {"error"}


def test_nothing_found_is_a_log_without_results() -> None:
    [run] = sarif(())["runs"]
    assert run["results"] == []


def test_the_command_writes_the_file(mlcli, tmp_path: Path) -> None:
    jobs = tmp_path / "jobs"
    jobs.mkdir()
    (jobs / "good.yml").write_text("command: echo hello\nenvironment: current\n")
    (jobs / "bad.yml").write_text("command: echo hello\nenvironment: current\ncompte: local\n")
    (jobs / "broken.yml").write_text("command: [\n")
    result = mlcli("job", "validate", "jobs", "--sarif", "found.sarif", cwd=tmp_path)
    assert result.code == 1
    assert [verdict["valid"] for verdict in result.json] == [False, False, True]
    assert result.json[0]["errors"][0]["severity"] == "error"
    [run] = json.loads((tmp_path / "found.sarif").read_text())["runs"]
    bad, broken = run["results"]
    region = {"startLine": 3, "startColumn": 1, "snippet": {"text": "compte: local"}}
    assert bad["locations"][0]["physicalLocation"]["region"] == region
    assert broken["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "jobs/broken.yml"
    assert broken["level"] == "error"


def test_on_standard_output_it_is_all_there_is(mlcli, tmp_path: Path) -> None:
    (tmp_path / "good.yml").write_text("command: echo hello\nenvironment: current\n")
    result = mlcli("job", "validate", "good.yml", "--sarif", "-", cwd=tmp_path)
    assert result.code == 0
    assert result.json["version"] == "2.1.0"


@pytest.mark.slow
@pytest.mark.network
def test_it_is_valid_against_the_published_schema(npm: Callable[[str], Path]) -> None:
    import jsonschema

    package = npm("@microsoft/jest-sarif@1.0.0-beta.0") / "@microsoft" / "jest-sarif"
    schema = json.loads(next(package.rglob("sarif-2.1.0*.json")).read_text())
    jsonschema.Draft7Validator.check_schema(schema)
    validator = jsonschema.Draft7Validator(schema, format_checker=jsonschema.FormatChecker())
    for log in (sarif(FOUND), sarif(FOUND, strict=True), sarif(())):
        assert [error.message for error in validator.iter_errors(log)] == []
    broken = {**sarif(FOUND), "version": "2.0"}
    assert not validator.is_valid(broken)
