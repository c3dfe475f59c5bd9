"""What no schema can say about one command: its references, the files it names, counts and times that fit each other."""

from __future__ import annotations

import os.path
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlcli.domain.errors import Diagnostic, Severity
from mlcli.domain.job import Generation
from mlcli.ports.files import FileReader
from mlcli.spec.compose import Path_
from mlcli.spec.interpolate import Reference, references
from mlcli.spec.load import Document
from mlcli.spec.validate import did_you_mean, nearest

Findings = Iterator[Diagnostic]

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_VARIABLE = re.compile(r"[^=\0]+")
_LOOKALIKE = re.compile(
    r"\$?\{{1,2}\s*(?P<kind>inputs|outputs|search_space)\s*\.\s*(?P<name>\w[\w-]*)\s*\}{1,2}"
    r"|\$\{\{\s*(?:inputs|outputs|search_space)\b[^}\s]*\}{0,2}"
)
_IN_FORM = re.compile(r"\$\{\{\s*\w+\.[\w-]+\s*\}\}")


@dataclass(frozen=True)
class Context:
    """The file that is checked: how it was written, and how to look at the files it names (``base``: its folder)."""

    document: Document
    generation: Generation
    reader: FileReader
    base: Path


@dataclass(frozen=True)
class Body:
    """One command in a file: ``tree`` at ``path`` holds it; its inputs and outputs may stand elsewhere (a sweep's do).

    ``known``: for each kind of reference the names that exist, None for a kind that cannot be checked here.
    """

    tree: Mapping[str, Any]
    path: Path_
    known: Mapping[str, frozenset[str] | None]


def names_of(tree: Mapping[str, Any]) -> dict[str, frozenset[str] | None]:
    """The names of a command's own inputs and outputs."""
    return {group: names_in(tree, group) for group in ("inputs", "outputs")}


def names_in(tree: Mapping[str, Any], group: str) -> frozenset[str] | None:
    """The names in one group; None when it is not a map (which the schema says), so that nothing is told of its names."""
    given = tree.get(group)
    return frozenset(mapping(given)) if given is None or isinstance(given, dict) else None


def body_checks(context: Context, body: Body) -> Findings:
    """What holds for every command: its references, code, environment, distribution and time limit."""
    yield from _references(context, body)
    yield from _lookalikes(context, body)
    yield from _code(context, body)
    yield from _environment(context, body)
    yield from _variables(context, body)
    yield from _nodes(context, body)
    yield from _time_limits(context, body)


def input_checks(context: Context, tree: Mapping[str, Any], path: Path_) -> Findings:
    """Names of inputs and outputs, and the local files that inputs name."""
    for group in ("inputs", "outputs"):
        for name in mapping(tree.get(group)):
            if not _NAME.fullmatch(name):
                message = f"'{name}' cannot be the name of an {group[:-1]}"
                hint = "names are letters, digits, '_', '-' and '.', and do not start with '-' or '.'"
                yield context.document.diagnose((*path, group, name), "bad-name", message, hint=hint, key=True)
    for name, value in mapping(tree.get("inputs")).items():
        for below, text, want in _input_paths(value):
            yield from exists(context, (*path, "inputs", name, *below), text, want, data=True)


def _references(context: Context, body: Body) -> Findings:
    command = body.tree.get("command")
    if not isinstance(command, str):
        return
    path = (*body.path, "command")
    if not command.strip():
        yield context.document.diagnose(path, "bad-value", "'command' is empty", hint="write what the job runs")
    for reference in references(command, context.generation):
        if reference.optional or reference.form == "angle" or reference.key == "name":
            continue
        written = command[slice(*reference.span)]
        finding = _unknown(reference, written, body)
        if finding is not None:
            message, hint = finding
            yield context.document.diagnose(path, "unknown-reference", message, hint=hint, within=written)


def lookalikes(command: str, generation: Generation) -> Iterator[tuple[str, str, str]]:
    """(text, kind, name) of what was meant as a reference and is none, such as ``{inputs.x}`` today; kind and name are
    empty where they cannot be made out.
    """
    suspects = [found for found in _LOOKALIKE.finditer(command) if not _IN_FORM.fullmatch(found[0])]
    taken = [reference.span for reference in references(command, generation)] if suspects else []
    for found in suspects:
        if not any(start < found.end() and found.start() < end for start, end in taken):
            yield found[0], found["kind"] or "", found["name"] or ""


def _lookalikes(context: Context, body: Body) -> Findings:
    command = body.tree.get("command")
    for written, kind, name in lookalikes(command, context.generation) if isinstance(command, str) else ():
        if kind and name not in (body.known.get(kind) or ()):
            continue  # a template of another tool
        message = f"{written} is not a reference: the command gets it as it stands"
        today = "{inputs.x}" if context.generation is Generation.G1 else "${{inputs.x}}"
        hint = f"write {today.replace('inputs.x', f'{kind}.{name}') if kind else today}"
        path, severity = (*body.path, "command"), Severity.WARNING
        yield context.document.diagnose(
            path, "unknown-reference", message, hint=hint, within=written, severity=severity
        )


def _unknown(reference: Reference, written: str, body: Body) -> tuple[str, str | None] | None:
    """The message and hint for a reference that names nothing, None for a good one."""
    known = body.known
    if reference.kind.startswith("parent.") and "jobs" in body.path:
        hint = f"give it to the step, 'inputs: {{x: {written}}}', and write ${{{{inputs.x}}}} here"
        return f"{written} stands for nothing in a command", hint
    if reference.kind not in known:
        return f"{written} stands for nothing in a command", "a command can refer to inputs, outputs and search_space"
    names = known[reference.kind]
    first = reference.name.split(".")[0]
    if names is None or reference.name in names or first in names:
        return None
    if reference.kind == "search_space" and not names and body.path != ("trial",):
        return f"{written}: this job has no search space", "only the trial of a sweep can refer to one"
    what = {"inputs": "input", "outputs": "output", "search_space": "search parameter"}[reference.kind]
    label = f"the {what}s are"
    hint = (
        did_you_mean(reference.name, names, label=label) or f"declare it: '{reference.kind}: {{{reference.name}: ...}}'"
    )
    return f"the job has no {what} '{reference.name}'", hint


def _code(context: Context, body: Body) -> Findings:
    code = body.tree.get("code")
    path = (*body.path, "code")
    if isinstance(code, dict):
        code, path = code.get("local_path"), (*path, "local_path")
    if isinstance(code, str):
        yield from exists(context, path, code, "folder")


def _environment(context: Context, body: Body) -> Findings:
    environment, path = body.tree.get("environment"), (*body.path, "environment")
    if isinstance(environment, str) and environment.startswith("file:"):
        yield from exists(context, path, environment, "file")
    if not isinstance(environment, dict):
        return
    leads = {"image", "build", "docker", "conda_file", "lock", "interpreter", "id"}
    given = {key for key, value in environment.items() if value is not None}
    if not leads & given and not any(nearest(key, leads) for key in given):  # a slip is told as such
        message = "the environment says nothing of what the job runs in"
        hint = "give it 'image', 'build' or 'conda_file', or write 'environment: current'"
        yield context.document.diagnose(path, "empty-environment", message, hint=hint, key=True)
    yield from _conda_file(context, environment.get("conda_file"), (*path, "conda_file"))
    yield from _docker_files(context, environment, path)


def _conda_file(context: Context, conda: Any, path: Path_) -> Findings:
    if not isinstance(conda, str) or "\n" in conda:
        return
    target = local_path(conda, context.base)
    if target is not None and target == local_path(Path(context.document.file).name, context.base):
        message = "the conda file named here is this job file itself"
        yield context.document.diagnose(path, "circular-include", message, hint="name a conda environment file")
        return
    yield from exists(context, path, conda, "file")


def _docker_files(context: Context, environment: Mapping[str, Any], path: Path_) -> Findings:
    dockerfile = mapping(mapping(environment.get("docker")).get("build")).get("dockerfile")
    if isinstance(dockerfile, str) and dockerfile.startswith("file:"):
        yield from exists(context, (*path, "docker", "build", "dockerfile"), dockerfile, "file")
    build = mapping(environment.get("build"))
    for key in ("path", "local_path"):
        folder = build.get(key)
        if not isinstance(folder, str) or local_path(folder, context.base) is None:
            continue
        missing = tuple(exists(context, (*path, "build", key), folder, "folder"))
        yield from missing
        name = build.get("dockerfile_path", "Dockerfile")
        if not missing and isinstance(name, str):
            at = (*path, "build", "dockerfile_path" if "dockerfile_path" in build else key)
            yield from exists(context, at, os.path.join(folder, name), "file")  # noqa: PTH118


def _variables(context: Context, body: Body) -> Findings:
    path = (*body.path, "environment_variables")
    for name in mapping(body.tree.get("environment_variables")):
        if not _VARIABLE.fullmatch(name):
            message = "the name of an environment variable cannot hold '='"
            yield context.document.diagnose(
                (*path, name), "bad-name", message, hint="write it as 'NAME: value'", key=True
            )


def _nodes(context: Context, body: Body) -> Findings:
    """Counts of nodes and processes that are possible and fit each other."""
    compute, resources = mapping(body.tree.get("compute")), mapping(body.tree.get("resources"))
    distribution = mapping(body.tree.get("distribution"))
    where = {"compute": compute, "resources": resources, "distribution": distribution}
    least = {"parameter_server_count": 0, "port": 0, "dashboard_port": 0, "gpus": 0}
    cpus = number(resources.get("cpus"))
    if cpus is not None and cpus <= 0:
        yield context.document.diagnose((*body.path, "resources", "cpus"), "out-of-range", "'cpus' must be more than 0")
    for section, values in where.items():
        for key, value in values.items():
            count = integer(value)
            if key not in {"properties", "cpus"} and count is not None and count < least.get(key, 1):
                message = f"'{key}' must be at least {least.get(key, 1)}"
                yield context.document.diagnose((*body.path, section, key), "out-of-range", message)
    nodes = integer(compute.get("instance_count", resources.get("instance_count", 1)))
    if nodes is not None and nodes > 0:
        yield from _distribution(context, distribution, nodes, (*body.path, "distribution"))


def _distribution(context: Context, distribution: Mapping[str, Any], nodes: int, path: Path_) -> Findings:
    total, workers = integer(distribution.get("process_count")), integer(distribution.get("worker_count"))
    if total is not None and total > 0 and total % nodes:
        message = f"{total} processes cannot be spread evenly over {counted(nodes, 'node')}"
        hint = "'process_count' is the total over all nodes: make it a multiple of 'instance_count'"
        yield context.document.diagnose((*path, "process_count"), "node-count", message, hint=hint)
    if workers is not None and workers > nodes:
        message = f"{workers} workers need as many nodes, and the job has {nodes}"
        hint = "each node runs one worker: raise 'instance_count', or lower 'worker_count'"
        severity = Severity.WARNING
        yield context.document.diagnose((*path, "worker_count"), "node-count", message, hint=hint, severity=severity)


def _time_limits(context: Context, body: Body) -> Findings:
    limits = mapping(body.tree.get("limits"))
    for path, value in (
        *(((*body.path, "limits", key), limits.get(key)) for key in ("timeout", "trial_timeout")),
        ((*body.path, "timeout"), body.tree.get("timeout")),
    ):
        seconds = integer(value)
        if seconds is None:
            continue
        if seconds <= 0:
            yield context.document.diagnose(path, "out-of-range", f"'{path[-1]}' must be more than 0 seconds")
        elif seconds < 60:
            message = f"the time limit is {counted(seconds, 'second')}"
            hint = "limits are in seconds; Azure ML takes none under 60, mlcli keeps this one"
            yield context.document.diagnose(path, "short-timeout", message, hint=hint, severity=Severity.WARNING)


def _input_paths(value: Any) -> Iterator[tuple[Path_, str, str]]:
    """(path below the input, text, ``file``, ``folder`` or ``any``) of each place where an input names files."""
    if not isinstance(value, dict):
        return
    for key in ("data", "dataset"):
        if isinstance(value.get(key), str):
            yield (key,), value[key], "any"
        elif isinstance(value.get(key), dict):
            yield from (((key, *below), text, want) for below, text, want in _asset_paths(value[key]))
    wanted = {"uri_file": "file", "uri_folder": "folder"}.get(str(value.get("type")).lower(), "any")
    for key, want in (("path", wanted), ("file", "file"), ("folder", "folder")):
        if isinstance(value.get(key), str):
            yield (key,), value[key], want


def _asset_paths(asset: Mapping[str, Any]) -> Iterator[tuple[Path_, str, str]]:
    if isinstance(asset.get("local_path"), str):
        yield ("local_path",), asset["local_path"], "any"
    for index, entry in enumerate(items(asset.get("paths"))):
        for key in ("file", "folder"):
            if isinstance(mapping(entry).get(key), str):
                yield ("paths", index, key), entry[key], key


def exists(context: Context, path: Path_, text: str, want: str, *, data: bool = False) -> Findings:
    """A finding when ``text`` names something on this machine that is not there. ``want``: file, folder or any.

    ``data``: it is fetched or made before the job is submitted, often by another script; a warning until then.
    """
    target = local_path(text, context.base)
    if target is None:
        return
    is_file, is_folder = sees(context.reader.is_file, target), sees(context.reader.is_dir, target)
    if (is_file and want != "folder") or (is_folder and want != "file"):
        return
    thing = "file or folder" if want == "any" else want
    if is_file or is_folder:
        other = "a file" if is_file else "a folder"
        message = f"'{text}' is {other}, and '{path[-1]}' names a {want} here"
        right_type = f"write 'type: uri_{'file' if is_file else 'folder'}', or name another {want}"
        hint = f"name the {want} that is meant" if path[-1] != "path" else right_type
        yield context.document.diagnose(path, "wrong-file-type", message, hint=hint)
        return
    hint = f"looked for {target}; paths start at the folder of the job file"
    message = f"there is no {thing} '{text}'"
    if data:
        yield context.document.diagnose(path, "missing-data", message, hint=hint, severity=Severity.WARNING)
    else:
        yield context.document.diagnose(path, "missing-file", message, hint=hint)


def local_path(text: str, base: Path) -> Path | None:
    """The absolute path that ``text`` names on this machine; None for an address or a reference."""
    text = text.removeprefix("file://") if text.startswith("file://") else text.removeprefix("file:")
    if not text or "${{" in text or "\0" in text or _ADDRESS.match(text):
        return None
    return Path(os.path.normpath(base / text))


def sees(look: Any, target: Path) -> bool:
    """Whether the reader finds ``target``; a path that no file system takes (too long) is not found."""
    try:
        return bool(look(target))
    except (OSError, ValueError):
        return False


def mapping(value: Any) -> Mapping[str, Any]:
    """``value`` if it is a map, else an empty one."""
    return value if isinstance(value, dict) else {}


def items(value: Any) -> list[Any]:
    """``value`` if it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def integer(value: Any) -> int | None:
    """A whole number, or the text of one, as an int; None for anything else."""
    found = number(value)
    return int(found) if found is not None and found == int(found) else None


def number(value: Any) -> float | None:
    """A number, or the text of one; None for anything else (a boolean, a binding)."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if abs(found) < 1e300 else None


def counted(count: int, noun: str) -> str:
    """``1 node``, ``2 nodes``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
