"""``job resume --set limits.KEY=VALUE``: the limits of a sweep that is there already, changed as its file might have them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlcli.domain.errors import Diagnostic, InvalidSpecError, Severity, UsageError
from mlcli.spec.command_checks import Context, integer, mapping
from mlcli.spec.generation import recognise
from mlcli.spec.load import load
from mlcli.spec.overrides import apply
from mlcli.spec.sweep_checks import check_search
from mlcli.spec.validate import did_you_mean, validate

if TYPE_CHECKING:
    from mlcli.ports.files import FileReader

LIMITS = ("max_total_trials", "max_concurrent_trials", "timeout", "trial_timeout")
_AT = "limits."
_SWEEP = {  # a sweep about which there is nothing to say but its limits
    "type": "sweep",
    "trial": {"command": "echo ${{search_space.x}}", "environment": "azureml:any@latest"},
    "search_space": {"x": {"type": "choice", "values": [1]}},
    "sampling_algorithm": "random",
    "objective": {"primary_metric": "x", "goal": "minimize"},
}


def changed_limits(
    limits: Mapping[str, Any], assignments: Sequence[str], reader: FileReader
) -> tuple[dict[str, int], tuple[Diagnostic, ...]]:
    """``limits`` (a sweep's, in today's words) as ``--set`` changes them, in whole numbers, and what a person may want to know.

    Raises UsageError for what is no limit, InvalidSpecError for a value that the file of a sweep might not have either.
    """
    named = [_named(assignment) for assignment in assignments]
    tree = {**_SWEEP, "limits": dict(limits)}
    document = apply(load(json.dumps(tree), "limits"), named)
    kind = recognise(document.tree)
    context = Context(document, kind.generation, reader, Path())
    found = validate(document, kind) or tuple(check_search(context, document.tree, (), None))
    told = tuple(one for one in found if one.place.file.startswith("--"))
    if any(one.severity is Severity.ERROR for one in told):
        raise InvalidSpecError(told)
    written = mapping(document.tree["limits"])
    return {key: number for key in LIMITS if (number := integer(written.get(key))) is not None}, told


def _named(assignment: str) -> str:
    """With ``limits.`` before it, if a person has left that out."""
    name, _, _ = assignment.partition("=")
    key = name.strip().removeprefix(_AT)
    if key not in LIMITS:
        can = ", ".join(_AT + one for one in LIMITS)
        near = did_you_mean(key, LIMITS, label="") if key not in {"", "limits"} else None
        hint = f"{near} " if near and near.startswith("did") else ""
        raise UsageError(f"--set {name}: this cannot be changed of a sweep", hint=f"{hint}what can be: {can}")
    return f"{_AT}{assignment.strip().removeprefix(_AT)}"
