"""Compare: runs side by side, what differs first: parameters, metrics, inputs, code, environments."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from mlcli.domain.metrics import best, ordered, plain
from mlcli.domain.redaction import masked
from mlcli.operations import findings, layout, records, tracking
from mlcli.operations.findings import Findings, Subject
from mlcli.ports.services import Services

_FACTS = ("experiment_name", "status", "compute", "duration_s", "exit_code")
_GIT = {"git_commit": "azureml.git.commit", "git_branch": "azureml.git.branch", "git_dirty": "azureml.git.dirty"}
_MOST_BYTES = 1 << 20
_CONDA = re.compile(r"([^/]+)-([^-/]+)-[^-/]+\.(?:conda|tar\.bz2)")
Row = dict[str, Any]
Column = Mapping[str, Any]


def compare(services: Services, subjects: Sequence[Subject]) -> tuple[list[Row], list[str]]:
    """A row for each thing that they have: ``kind``, ``name``, ``differs`` and ``values`` (run -> value, None for nothing);
    of code and packages only what differs. And what the person should know of what could not be read.
    """
    found = [findings.find_or_tell(services, subject) for subject in subjects]
    described = [records.record(services, subject.run) for subject in subjects]
    columns: dict[str, list[Column]] = {
        "param": [{key: masked(value) for key, value in one.tracked.params.items()} for one in found],
        "metric": [{name: plain(summary.last) for name, summary in one.tracked.metrics.items()} for one in found],
        "best": [_best(one) for one in found],
        "input": [one["resolved"]["inputs"] for one in described],
        "job": [_facts(one) for one in described],
        "environment": [_environment(one["resolved"]) for one in described],
        "package": [_packages(one["resolved"]) for one in described],
        "code": [_code(services, one["resolved"]["snapshot"]) for one in described],
    }
    labels = [subject.label for subject in subjects]
    rows = [row for kind, per_run in columns.items() for row in _rows(kind, labels, per_run)]
    notices = [
        sentence
        for subject, one in zip(subjects, found, strict=True)
        for sentence in tracking.damage(subject.label, one.tracked)
    ]
    return rows, notices


def _rows(kind: str, labels: Sequence[str], per_run: Sequence[Column]) -> list[Row]:
    """What differs first."""
    names = ordered({name for column in per_run for name in column})
    rows = []
    for name in names:
        values = [column.get(name) for column in per_run]
        differs = any(value != values[0] for value in values)
        if differs or kind not in {"package", "code", "best"}:
            row = {"kind": kind, "name": name, "differs": differs, "values": dict(zip(labels, values, strict=True))}
            rows.append(row)
    return sorted(rows, key=lambda row: not row["differs"])


def _best(found: Findings) -> Column:
    pairs = ((name, best(name, summary)) for name, summary in found.tracked.metrics.items())
    return {name: plain(chosen[0]) for name, chosen in pairs if chosen is not None}


def _facts(described: Mapping[str, Any]) -> Column:
    """Always the same names, so that what one lacks is seen."""
    facts = {key: described[key] for key in _FACTS}
    git = {name: described["properties"].get(key) for name, key in _GIT.items()}
    command = {"command": described["resolved"]["command"]}
    return {**facts, **command, **{name: value for name, value in git.items() if value is not None}}


def _environment(resolved: Mapping[str, Any]) -> Column:
    shown = {key: resolved[key] for key in ("environment", "environment_name", "runs_in", "python")}
    shown["image"] = resolved["image_digest"] or resolved["image"]
    return {key: value for key, value in shown.items() if value is not None}


def _packages(resolved: Mapping[str, Any]) -> Column:
    """Package -> version, pip's and conda's."""
    found = {}
    for line in (*resolved["conda_packages"], *resolved["packages"]):
        conda = _CONDA.search(line)
        name, _, version = (conda[1], "", conda[2]) if conda else line.partition("==")
        found[name.strip().lower()] = version or line
    return found


def _code(services: Services, snapshot: str | None) -> Column:
    """File -> the beginning of its digest."""
    return {} if snapshot is None else {path: blob[:12] for path, blob, _ in services.snapshots.entries(snapshot)}


def code_difference(services: Services, subjects: Sequence[Subject]) -> Iterator[str]:
    """The lines in which the code of each differs from that of the first, as ``diff -u`` writes them."""
    snapshots = [(services.runs.document(one.run.name, layout.PLAN_DOCUMENT) or {}).get("snapshot") for one in subjects]
    trees = [{} if one is None else _tree(services, one) for one in snapshots]
    first, label = trees[0], subjects[0].label
    for other, tree in zip(subjects[1:], trees[1:], strict=True):
        for path in sorted({*first, *tree}):
            if first.get(path) != tree.get(path):
                sides = (f"{label}/{path}", f"{other.label}/{path}")
                yield from _difference(services, sides, first.get(path), tree.get(path))


def _tree(services: Services, snapshot: str) -> Mapping[str, tuple[str, int]]:
    return {path: (blob, size) for path, blob, size in services.snapshots.entries(snapshot)}


def _difference(
    services: Services, sides: tuple[str, str], one: tuple[str, int] | None, other: tuple[str, int] | None
) -> Iterable[str]:
    texts = [_lines(services, side) for side in (one, other)]
    if texts[0] is None or texts[1] is None:
        return [f"{sides[0]} and {sides[1]} differ"]
    before, after = (name if side else "/dev/null" for name, side in zip(sides, (one, other), strict=True))
    return difflib.unified_diff(texts[0], texts[1], before, after, lineterm="")


def _lines(services: Services, file: tuple[str, int] | None) -> list[str] | None:
    """A file's lines, none for no file; None for what is no text, or too long to be shown."""
    if file is None:
        return []
    if file[1] > _MOST_BYTES:
        return None
    try:
        return b"".join(services.snapshots.blob(file[0])).decode().splitlines()
    except UnicodeDecodeError:
        return None
