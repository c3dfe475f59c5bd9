"""A HyperDrive configuration of the first Azure ML command line (``hdconfig.yml``) -> the search that it describes.

It is brought to today's words, each value with the place where it stands, so that one set of checks judges both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlcli.domain.errors import Diagnostic, InvalidSpecError, Severity
from mlcli.domain.job import Generation
from mlcli.spec.command_checks import Context, Findings, integer
from mlcli.spec.compose import Mark
from mlcli.spec.generation import Kind
from mlcli.spec.load import Document, load
from mlcli.spec.search_space import ARGUMENTS
from mlcli.spec.sweep_checks import check_search
from mlcli.spec.validate import validate

if TYPE_CHECKING:
    from mlcli.ports.files import FileReader

__all__ = ["read_words"]

KIND = Kind(Generation.RUNCONFIG, "hyperdrive", "v1/hyperDrive", "hyperdrive")

_LONGEST_MINUTES = 10080
_LIMITS = {"max_total_trials": "max_total_runs", "max_concurrent_trials": "max_concurrent_runs"}
_THEN = {**_LIMITS, "early_termination": "policy", "sampling_algorithm": "sampling.type"}
_POLICIES = {
    "banditpolicy": "bandit",
    "medianstoppingpolicy": "median_stopping",
    "truncationselectionpolicy": "truncation_selection",
}


def read_words(text: str | bytes, file: str, base: Path, reader: FileReader) -> tuple[Document, tuple[Diagnostic, ...]]:
    """The search in today's words, as a sweep job's file has it, and what there is to warn of. Its parameters are named as
    they are there (``--penalty``).

    ``file``: the name that errors show. Raises InvalidSpecError with everything that is wrong, in file order.
    """
    document = load(text, file)
    found = [*validate(document, KIND)]
    if not found:
        found += _own_checks(document)
    if found:
        raise InvalidSpecError(tuple(found))
    today = document.with_tree(*_upgraded(document))
    context = Context(today, Generation.G3, reader, base)
    found = sorted(
        (_in_its_words(one) for one in check_search(context, today.tree, (), None)), key=lambda one: one.place
    )
    if any(one.severity is Severity.ERROR for one in found):
        raise InvalidSpecError(tuple(found))
    return today, tuple(found)


def _own_checks(document: Document) -> Findings:
    names = set()
    for index, parameter in enumerate(document.tree["sampling"]["parameter_space"]):
        at = ("sampling", "parameter_space", index)
        if parameter["name"] in names:
            message = f"'{parameter['name']}' is there twice"
            yield document.diagnose((*at, "name"), "duplicate-key", message, hint="take one of them out")
        names.add(parameter["name"])
        kind = parameter["expression"].lower()
        wanted, given = ARGUMENTS[kind], len(parameter["values"])
        if kind != "choice" and given != len(wanted):
            message = f"'{kind}' takes {len(wanted)} values, and {given} are given"
            yield document.diagnose((*at, "values"), "bad-value", message, hint=f"in order: {', '.join(wanted)}")
    minutes = integer(document.tree.get("max_duration_minutes"))
    if minutes is not None and not 1 <= minutes <= _LONGEST_MINUTES:
        message = f"'max_duration_minutes' must be between 1 and {_LONGEST_MINUTES}, not {minutes}"
        yield document.diagnose(("max_duration_minutes",), "out-of-range", message)


def _upgraded(document: Document) -> tuple[dict[str, Any], Mark]:
    """The configuration in today's words, and where each value stands."""
    tree, marks = document.tree, document.marks
    sampling = marks.children["sampling"]
    listed = sampling.children["parameter_space"]
    parameters: dict[str, Any] = {}
    places: dict[str | int, Mark] = {}
    for index, parameter in enumerate(tree["sampling"]["parameter_space"]):
        name, kind = parameter["name"], parameter["expression"].lower()
        mark, values = listed.children[index], parameter["values"]
        given = [values] if kind == "choice" else values
        parameters[name] = {"type": kind, **dict(zip(ARGUMENTS[kind], given, strict=True))}
        inner = mark.children["values"]
        of = [inner] if kind == "choice" else [inner.children[at] for at in range(len(values))]
        found: dict[str | int, Mark] = {
            "type": mark.children["expression"],
            **dict(zip(ARGUMENTS[kind], of, strict=True)),
        }
        places[name] = replace(mark, children=found, keys={})
    limits = {today: tree[then] for today, then in _LIMITS.items() if tree.get(then) is not None}
    upgraded: dict[str, Any] = {
        "search_space": parameters,
        "sampling_algorithm": tree["sampling"]["type"].lower(),
        "objective": {"primary_metric": tree["primary_metric_name"], "goal": tree["primary_metric_goal"].lower()},
        "limits": {**limits, "timeout": 60 * (integer(tree.get("max_duration_minutes")) or _LONGEST_MINUTES)},
    }
    children: dict[str | int, Mark] = {
        "search_space": replace(listed, children=places, keys={}),
        "sampling_algorithm": sampling.children["type"],
        "limits": replace(marks, children={today: marks.children[_LIMITS[today]] for today in limits}, keys={}),
    }
    policy = _policy(tree.get("policy"))
    if policy:
        upgraded["early_termination"], children["early_termination"] = policy, marks.children["policy"]
    return upgraded, replace(marks, children=children, keys={"early_termination": marks.keys.get("policy", (1, 1))})


def _policy(written: Mapping[str, Any] | None) -> dict[str, Any] | None:
    kind = _POLICIES.get(str((written or {}).get("type")).lower())
    return {**written, "type": kind} if written and kind else None


def _in_its_words(found: Diagnostic) -> Diagnostic:
    message, hint = found.message, found.hint
    for today, then in _THEN.items():
        message, hint = message.replace(today, then), hint and hint.replace(today, then)
    return replace(found, message=message, hint=hint)
