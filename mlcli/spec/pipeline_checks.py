"""What no schema can say about a pipeline: what its steps take from each other, and the component files they name.

References: ``${{parent.inputs.x}}``, ``${{parent.outputs.x}}`` and ``${{parent.jobs.step.outputs.x}}`` today,
``${{inputs.x}}``, ``${{outputs.x}}`` and ``${{jobs.step.outputs.x}}`` in late 2021. In a step's own command ``inputs`` and
``outputs`` are the step's. A component file is read, checked against its schema, and its inputs against the step's; a file
that includes itself, over however many others, is an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mlcli.domain.errors import Diagnostic, InvalidSpecError, Severity
from mlcli.domain.job import Generation
from mlcli.spec.command_checks import (
    Body,
    Context,
    Findings,
    body_checks,
    exists,
    input_checks,
    local_path,
    mapping,
    names_in,
    names_of,
)
from mlcli.spec.compose import Path_
from mlcli.spec.generation import recognise
from mlcli.spec.interpolate import Reference, references
from mlcli.spec.load import Document, load
from mlcli.spec.sweep_checks import check_search
from mlcli.spec.validate import did_you_mean, nearest, validate

__all__ = ["check_pipeline"]

_OWN_TEXT = frozenset(
    {"command", "component", "trial", "code", "environment", "task", "args", "comment", "description"}
)
_STEP_NAME = re.compile(r"[A-Za-z0-9_-]+")
_SETTINGS = (
    "default_compute",
    "default_datastore",
    "continue_on_step_failure",
    "force_rerun",
    "environment",
    "datastore",
    "compute",
    "code",
)
_BLOCKS = ("body", "true_block", "false_block")
_LOOPS = frozenset({"do_while", "parallel_for"})


@dataclass(frozen=True)
class _Pipeline:
    """The pipeline that is checked: ``files`` are those that led to this one, itself the last; ``components`` the
    component files read so far, None for one that cannot be used.
    """

    context: Context
    tree: Mapping[str, Any]
    files: tuple[Path, ...]
    components: dict[Path, Document | None] = field(default_factory=dict)

    @property
    def jobs(self) -> Mapping[str, Any]:
        return mapping(self.tree.get("jobs"))


def check_pipeline(context: Context) -> Findings:
    """Everything about a pipeline file, and the component files that it includes."""
    here = context.base / Path(context.document.file).name
    pipeline = _Pipeline(context, context.document.tree, (here,))
    yield from _whole(pipeline)


def _whole(pipeline: _Pipeline) -> Findings:
    yield from _settings(pipeline)
    for name, node in pipeline.jobs.items():
        if not _STEP_NAME.fullmatch(name):
            message, hint = f"'{name}' cannot be the name of a step", "names are letters, digits, '_' and '-'"
            yield pipeline.context.document.diagnose(("jobs", name), "bad-name", message, hint=hint, key=True)
        if isinstance(node, dict):
            yield from _step(pipeline, name, node)
    yield from _cycles(pipeline)


def _settings(pipeline: _Pipeline) -> Findings:
    """Azure ML keeps settings that it does not know, so one that looks like a known one is a warning, not an error."""
    for key in mapping(pipeline.tree.get("settings")):
        close = nearest(key, _SETTINGS)
        if key not in _SETTINGS and close is not None:
            message, hint = f"unknown setting '{key}'", f"did you mean '{close}'?"
            path = ("settings", key)
            severity = Severity.WARNING
            yield pipeline.context.document.diagnose(
                path, "unknown-key", message, hint=hint, key=True, severity=severity
            )


def _step(pipeline: _Pipeline, name: str, node: Mapping[str, Any]) -> Findings:
    path: Path_ = ("jobs", name)
    context = pipeline.context
    yield from input_checks(context, node, path)
    for below, text in _texts(node, path):
        for reference in references(text, Generation.G3):
            found = _unknown(pipeline, name, reference)
            if found is not None:
                written = text[slice(*reference.span)]
                message, code, hint = found
                yield context.document.diagnose(below, code, f"{written}: {message}", hint=hint, within=written)
    if isinstance(node.get("command"), str):
        known = {**names_of(node), "search_space": names_in(node, "search_space")}
        yield from body_checks(context, Body(node, path, known))
    component = node.get("component", node.get("trial"))
    key = "component" if "component" in node else "trial"
    yield from _component(pipeline, (*path, key), component, node)
    if str(node.get("type", "sweep" if "trial" in node else "")).lower() == "sweep":
        trial = _loaded(pipeline, component)
        command = mapping(trial.tree if isinstance(trial, Document) else component).get("command")
        yield from check_search(context, node, path, command)


def _texts(node: Mapping[str, Any], path: Path_) -> Iterator[tuple[Path_, str]]:
    """Every text of a step in which references are the pipeline's, not the step's own."""
    for key, value in node.items():
        if key not in _OWN_TEXT:
            yield from _strings(value, (*path, key))


def _strings(value: Any, path: Path_) -> Iterator[tuple[Path_, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, (dict, list)):
        for key, below in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _strings(below, (*path, key))


def _unknown(pipeline: _Pipeline, step: str, reference: Reference) -> tuple[str, str, str | None] | None:
    """(message, code, hint) for a reference of step ``step`` that names nothing, None for a good one."""
    kind, name = reference.kind.removeprefix("parent."), reference.name
    own = mapping(pipeline.jobs[step])
    if kind in {"inputs", "outputs"}:
        holder = pipeline.tree if reference.kind != kind or pipeline.context.generation is not Generation.G3 else own
        declared = names_in(holder, kind)
        names = set(declared or ())
        if holder is pipeline.tree and reference.kind == kind:
            names |= set(mapping(own.get(kind)))
        if declared is None or name.split(".")[0] in names:
            return None
        whose = "the pipeline" if holder is pipeline.tree else f"the step '{step}'"
        what = kind[:-1]
        hint = did_you_mean(name, names, label=f"its {kind} are") or f"declare it in the {kind} of {whose}"
        return f"{whose} has no {what} '{name}'", "unknown-reference", hint
    if kind == "jobs":
        return _unknown_step(pipeline, step, name)
    return None


def _unknown_step(pipeline: _Pipeline, step: str, name: str) -> tuple[str, str, str | None] | None:
    other, _, rest = name.partition(".")
    if other not in pipeline.jobs:
        names = [each for each in pipeline.jobs if each != step]
        hint = did_you_mean(other, names, label="the other steps are")
        return f"the pipeline has no step '{other}'", "unknown-step", hint
    group, _, output = rest.partition(".")
    names_known = _outputs(pipeline, mapping(pipeline.jobs[other])) if group == "outputs" else None
    if names_known is None or not output or output in names_known:
        return None
    hint = did_you_mean(output, names_known, label="its outputs are") or f"declare it in the outputs of '{other}'"
    return f"the step '{other}' has no output '{output}'", "unknown-reference", hint


def _outputs(pipeline: _Pipeline, node: Mapping[str, Any]) -> set[str] | None:
    """The outputs of a step: its own and its component's; None when they are not at hand (a loop's are its body's)."""
    if _LOOPS & {str(node.get("type")).lower()}:
        return None
    own = set(mapping(node.get("outputs")))
    component = node.get("component", node.get("trial"))
    if component is None:
        return None if str(node.get("type")).lower() == "automl" and not own else own
    if isinstance(component, dict):
        return own | set(mapping(component.get("outputs")))
    loaded = _loaded(pipeline, component)
    return own | set(mapping(loaded.tree.get("outputs"))) if isinstance(loaded, Document) else None


def _component(pipeline: _Pipeline, path: Path_, component: Any, node: Mapping[str, Any]) -> Findings:
    context = pipeline.context
    if isinstance(component, dict):
        yield from _interface(pipeline, path, component, node)
        return
    target = _component_file(pipeline, component)
    if target is None:
        return
    missing = tuple(exists(context, path, component, "file"))
    yield from missing
    if missing:
        return
    if target in pipeline.files:
        names = " -> ".join(each.name for each in (*pipeline.files[pipeline.files.index(target) :], target))
        message = f"this file includes itself: {names}"
        yield context.document.diagnose(
            path, "circular-include", message, hint="a step cannot contain its own pipeline"
        )
        return
    first = target not in pipeline.components
    loaded = _loaded(pipeline, component)
    if first:
        yield from _included(pipeline, target, component)
    if isinstance(loaded, Document):
        yield from _interface(pipeline, path, loaded.tree, node)


def _component_file(pipeline: _Pipeline, component: Any) -> Path | None:
    return local_path(component, pipeline.context.base) if isinstance(component, str) else None


def _loaded(pipeline: _Pipeline, component: Any) -> Document | None:
    """The component file that a step names, read once; None when there is none to read or it is not YAML."""
    target = _component_file(pipeline, component)
    if target is None or target in pipeline.files:
        return None
    if target not in pipeline.components:
        try:
            text = pipeline.context.reader.read_text(target)
            pipeline.components[target] = load(text, _shown_name(pipeline, component))
        except (InvalidSpecError, OSError, ValueError):
            pipeline.components[target] = None
    return pipeline.components[target]


def _shown_name(pipeline: _Pipeline, component: str) -> str:
    relative = component.removeprefix("file://").removeprefix("file:").removeprefix("./")
    return str(Path(pipeline.context.document.file).parent / relative)


def _included(pipeline: _Pipeline, target: Path, component: str) -> Findings:
    """The errors of a component file itself, at their places in it."""
    loaded = pipeline.components.get(target)
    if loaded is None:
        yield from _unreadable(pipeline, target, component)
        return
    kind = recognise({"$schema": "commandComponent", **loaded.tree})
    errors = validate(loaded, kind)
    yield from errors
    if errors:
        return
    context = replace(pipeline.context, document=loaded, generation=kind.generation, base=target.parent)
    if kind.type == "pipeline":
        yield from _whole(_Pipeline(context, loaded.tree, (*pipeline.files, target), pipeline.components))
    elif kind.type == "command":
        yield from body_checks(context, Body(loaded.tree, (), {**names_of(loaded.tree), "search_space": None}))


def _unreadable(pipeline: _Pipeline, target: Path, component: str) -> Iterator[Diagnostic]:
    try:
        load(pipeline.context.reader.read_text(target), _shown_name(pipeline, component))
    except InvalidSpecError as error:
        yield from error.diagnostics
    except (OSError, ValueError) as error:
        reason = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else "permission or disk"
        path = next(path for path, text in _strings(pipeline.jobs, ("jobs",)) if text == component)
        message = f"the component file '{component}' cannot be read: {reason}"
        yield pipeline.context.document.diagnose(path, "missing-file", message)


def _interface(pipeline: _Pipeline, path: Path_, component: Mapping[str, Any], node: Mapping[str, Any]) -> Findings:
    """The step's inputs against those that its component declares."""
    declared, given = mapping(component.get("inputs")), mapping(node.get("inputs"))
    document, step = pipeline.context.document, path[:-1]
    for name in given:
        if name not in declared and name.split(".")[0] not in declared:
            message = f"the component of '{step[-1]}' has no input '{name}'"
            hint = did_you_mean(name, [each for each in declared if each not in given], label="its inputs are")
            yield document.diagnose((*step, "inputs", name), "unknown-input", message, hint=hint, key=True)
    searched = set(mapping(node.get("search_space")))
    for name, value in declared.items():
        spec = mapping(value)
        optional = str(spec.get("optional")).lower() in {"true", "yes", "on"} or spec.get("default") is not None
        given_group = any(each.startswith(f"{name}.") for each in given)
        if not optional and name not in given and name not in searched and not given_group:
            message = f"the step '{step[-1]}' does not give the input '{name}' that its component needs"
            yield document.diagnose(step, "missing-input", message, hint=f"add it: 'inputs: {{{name}: ...}}'", key=True)


def _cycles(pipeline: _Pipeline) -> Findings:
    """One finding for each ring of steps that wait for each other."""
    waits = {name: _waits_for(pipeline, node) for name, node in pipeline.jobs.items() if isinstance(node, dict)}
    done: set[str] = set()
    for start in waits:
        ring = _ring(start, waits, done)
        if ring:
            names = " -> ".join([*ring, ring[0]])
            message = (
                f"these steps wait for each other: {names}" if ring[1:] else f"the step '{ring[0]}' waits for itself"
            )
            hint = "a step can only use outputs of steps that do not wait for it"
            path = ("jobs", ring[0])
            yield pipeline.context.document.diagnose(path, "step-cycle", message, hint=hint, key=True)


def _waits_for(pipeline: _Pipeline, node: Mapping[str, Any]) -> list[str]:
    found = []
    for key, value in node.items():
        if key in _OWN_TEXT or key in _BLOCKS or key == "mapping":
            continue
        for _, text in _strings(value, ()):
            for reference in references(text, Generation.G3):
                step = reference.name.split(".")[0]
                if reference.kind.removeprefix("parent.") == "jobs" and step in pipeline.jobs and step not in found:
                    found.append(step)
    return found


def _ring(start: str, waits: Mapping[str, list[str]], done: set[str]) -> list[str]:
    """A ring reachable from ``start`` and not seen before, in the order of waiting; empty when there is none."""
    trail: list[str] = []
    stack = [(start, iter(waits.get(start, ())))] if start not in done else []
    trail = [start] if stack else []
    while stack:
        step, others = stack[-1]
        following = next((other for other in others if other not in done), None)
        if following is None:
            done.add(step)
            trail.pop()
            stack.pop()
        elif following in trail:
            ring = trail[trail.index(following) :]
            done.update(trail)
            return ring
        else:
            trail.append(following)
            stack.append((following, iter(waits.get(following, ()))))
    return []
