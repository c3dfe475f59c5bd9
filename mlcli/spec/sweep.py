"""From a sweep's normal form, today's words in a plain mapping, to the frozen :class:`~mlcli.domain.sweep.SweepJob`; and
from the values of a trial to what its command gets.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlcli.domain.distributions import SearchSpace, Values, flat
from mlcli.domain.errors import InvalidSpecError
from mlcli.domain.sweep import (
    DEFAULT_TIMEOUT_S,
    DEFAULT_TRIALS,
    EarlyTermination,
    Goal,
    Objective,
    Sampling,
    Search,
    SweepJob,
    SweepLimits,
)
from mlcli.spec.command_checks import integer, mapping, number
from mlcli.spec.interpolate import literal_text, references, without_absent_fragments
from mlcli.spec.search_space import distribution, log_base

if TYPE_CHECKING:
    from mlcli.ports.files import FileReader
    from mlcli.spec.generation import Kind
    from mlcli.spec.load import Document, Path_

__all__ = ["build_sweep", "in_words", "search", "search_of", "texts", "with_values"]

_OF_THE_SWEEP = (
    "name",
    "display_name",
    "experiment_name",
    "description",
    "tags",
    "properties",
    "compute",
    "inputs",
    "outputs",
    "services",
    "identity",
    "queue_settings",
)
_OF_THE_SEARCH = ("search_space", "objective", "sampling_algorithm", "limits", "early_termination")
_POLICIES = {"medianstopping": "median_stopping", "truncationselection": "truncation_selection"}
_SHARED_SETTINGS = frozenset({"type", "evaluation_interval", "delay_evaluation"})
_EXCLUDING = "exclude_finished_jobs"


def build_sweep(document: Document, normal: Mapping[str, Any], kind: Kind, base: Path, reader: FileReader) -> SweepJob:
    """The sweep that ``normal`` (of :func:`mlcli.spec.upgrade.upgrade`) describes; the rest as in
    :func:`mlcli.spec.build.build`. Raises InvalidSpecError.
    """
    from mlcli.spec.build import build

    found = search(document, normal)
    trial = {key: value for key, value in mapping(normal["trial"]).items() if key != "$schema"}
    body = {"type": "command", **{key: normal[key] for key in _OF_THE_SWEEP if key in normal}, **trial}
    resources = {**mapping(normal.get("resources")), **mapping(trial.get("resources"))}
    if resources:
        body["resources"] = resources
    if found.limits.trial_timeout_s is not None:
        body["limits"] = {"timeout": int(found.limits.trial_timeout_s)}
    return SweepJob(build(_seen_as_command(document), body, kind, base, reader), found, normal)


def search(document: Document, normal: Mapping[str, Any], path: Path_ = ()) -> Search:
    """What a sweep, or a pipeline's sweep step (at ``path``), says of its search. ``normal``: in today's words.

    Raises InvalidSpecError for a reference where a number is needed.
    """
    reader = _Numbers(document, path)
    objective = normal["objective"]
    written = normal.get("sampling_algorithm") or "random"
    sampling = mapping(written) or {"type": written}
    policy = mapping(normal.get("early_termination"))
    return Search(
        space=_space(reader, mapping(normal.get("search_space")), log_base(sampling) or math.e),
        objective=Objective(str(objective["primary_metric"]), Goal(str(objective["goal"]).lower())),
        sampling=Sampling(
            algorithm=str(sampling["type"]).lower(),
            rule=str(sampling["rule"]).lower() if sampling.get("rule") else None,
            seed=reader.integer(sampling, "sampling_algorithm", "seed"),
        ),
        limits=_limits(reader, mapping(normal.get("limits"))),
        early_termination=_policy(reader, policy) if policy else None,
    )


def in_words(sweep: SweepJob, seed: int) -> dict[str, Any]:
    """The search of a sweep as a plain mapping in today's words, with the seed that was drawn: :func:`search_of` reads it."""
    words = {key: sweep.document[key] for key in _OF_THE_SEARCH if sweep.document.get(key) is not None}
    written = words.get("sampling_algorithm") or "random"
    return {**words, "sampling_algorithm": {**(mapping(written) or {"type": written}), "seed": seed}}


def search_of(words: Mapping[str, Any], file: str) -> Search:
    """The search that :func:`in_words` wrote to ``file``. Raises InvalidSpecError."""
    from mlcli.spec.compose import Mark
    from mlcli.spec.load import Document

    return search(Document(file, "", words, Mark(1, 1)), words)


def texts(values: Values) -> dict[str, str]:
    """What ``${{search_space.NAME}}`` stands for: each scalar by its dotted name, and what a choice of maps came to, as
    JSON, by its own.
    """
    whole = {name: json.dumps(value) for name, value in values.items() if isinstance(value, Mapping)}
    return {**whole, **{name: literal_text(value) for name, value in flat(values).items()}}


def with_values(job: Mapping[str, Any], values: Values) -> dict[str, Any]:
    """A trial's command job (in today's words) as one that needs no sweep: its values are inputs, to which the command refers.
    What the command does not refer to comes where trials have it, in a variable.
    """
    given = {name: value for name, value in {**texts(values), **flat(values)}.items() if not isinstance(value, Mapping)}
    inputs = dict(mapping(job.get("inputs")))
    named = {}
    for name, value in given.items():
        key = re.sub(r"\W", "_", name)
        while key in inputs:
            key += "_"
        named[name] = key
        inputs[key] = value
    command = str(job["command"])
    known = {found.key for found in references(command) if found.kind != "search_space"}
    command = without_absent_fragments(command, known | {f"search_space.{name}" for name in given}, {"search_space"})
    seen = {found.name.split(".")[0] for found in references(command) if found.kind == "search_space"}
    own = {f"AZUREML_SWEEP_{name}": text for name, text in texts(values).items() if name in values and name not in seen}
    for reference in reversed(references(command)):
        if reference.kind == "search_space" and reference.name in named:
            start, end = reference.span
            command = f"{command[:start]}${{{{inputs.{named[reference.name]}}}}}{command[end:]}"
    kept = {key: value for key, value in job.items() if key != "name"}
    variables = {**own, **mapping(job.get("environment_variables"))}
    return {**kept, "command": command, "inputs": inputs, **({"environment_variables": variables} if variables else {})}


class _Numbers:
    """Reads numbers that the schema lets stand as texts and, in a pipeline, as references. Here a number it must be."""

    def __init__(self, document: Document, path: Path_) -> None:
        self._document = document
        self._path = path

    def integer(self, values: Mapping[str, Any], section: str, key: str) -> int | None:
        """A whole number, None where there is nothing."""
        value = values.get(key)
        found = integer(value)
        if value is not None and found is None:
            raise self.fault((section, key), f"'{key}' must be a whole number here")
        return found

    def number(self, values: Mapping[str, Any], section: str, key: str) -> float | None:
        """A number, None where there is nothing."""
        value = values.get(key)
        found = number(value)
        if value is not None and found is None:
            raise self.fault((section, key), f"'{key}' must be a number here")
        return found

    def fault(self, at: Path_, message: str) -> InvalidSpecError:
        """The error about the value at a path."""
        hint = "write the number itself"
        return InvalidSpecError((self._document.diagnose((*self._path, *at), "wrong-type", message, hint=hint),))


def _space(reader: _Numbers, written: Mapping[str, Any], base: float) -> SearchSpace:
    parameters = {}
    for name, parameter in written.items():
        found = distribution(parameter, base)
        if found is None:
            raise reader.fault(("search_space", name), f"'{name}' must have numbers here")
        parameters[name] = found
    return SearchSpace(parameters)


def _limits(reader: _Numbers, written: Mapping[str, Any]) -> SweepLimits:
    timeout, trial_timeout = (reader.integer(written, "limits", key) for key in ("timeout", "trial_timeout"))
    return SweepLimits(
        max_total_trials=reader.integer(written, "limits", "max_total_trials") or DEFAULT_TRIALS,
        max_concurrent_trials=reader.integer(written, "limits", "max_concurrent_trials"),
        timeout_s=DEFAULT_TIMEOUT_S if timeout is None else float(timeout),
        trial_timeout_s=None if trial_timeout is None else float(trial_timeout),
    )


def _policy(reader: _Numbers, written: Mapping[str, Any]) -> EarlyTermination:
    at = "early_termination"
    if _EXCLUDING in written:
        written = {**written, _EXCLUDING: float(_is_true(written[_EXCLUDING]))}
    kind = str(written["type"]).lower()
    interval = reader.integer(written, at, "evaluation_interval")
    own = [key for key in written if key not in _SHARED_SETTINGS]
    settings = {key: value for key in own if (value := reader.number(written, at, key)) is not None}
    return EarlyTermination(
        type=_POLICIES.get(kind, kind),
        evaluation_interval=1 if interval is None else interval,
        delay_evaluation=reader.integer(written, at, "delay_evaluation") or 0,
        settings=settings,
    )


def _is_true(value: Any) -> bool:
    """Whether a boolean, or a word for one, says yes."""
    return str(value).lower() in {"true", "t", "yes", "y", "on", "1"}


def _seen_as_command(document: Document) -> Document:
    """The file with what its trial holds at the top, where a command job has it, so that places are found."""
    marks, trial = document.marks, document.marks.children.get("trial")
    if trial is None:
        return document
    merged = replace(marks, children={**marks.children, **trial.children}, keys={**marks.keys, **trial.keys})
    return document.with_tree(document.tree, merged)
