"""From any generation's words to today's: one set of rules, for running a job and for rewriting its file.

The rules go by the shape of each value, so that a file which mixes generations comes out right and today's file comes out
as it went in. They edit mappings in place, which are either plain copies of a loaded document (:func:`upgrade`) or
ruamel's round-trip maps that keep the comments (:func:`upgrade_text`).

What the older files leave open is decided so:

- 2021's ``data`` said nothing of files and folders. It becomes ``uri_file`` when the local path is a file, or when the
  path's last part has a suffix (``iris.csv``, also at the end of a URL) and is no local folder; else ``uri_folder``.
- ``docker.build.dockerfile: file:F`` had no build context. It becomes a build whose context is the folder of F.
- The total ``process_count`` of 2021's pytorch becomes the count per instance; a total that does not divide is refused.
- References become ``${{inputs.x}}``; every other brace in the command stays as it is.
- Line breaks at a command's end (``command: >``) go.

Source of the words: the JSON schemas and examples that Azure ML published with each generation.
"""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from mlcli.domain.errors import InvalidSpecError, Severity
from mlcli.domain.job import Generation
from mlcli.spec.editing import Body, move_after, put_after, remove, rename, replace, replace_word
from mlcli.spec.interpolate import rewrite

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from mlcli.domain.errors import Diagnostic
    from mlcli.ports.files import FileReader
    from mlcli.spec.generation import Kind
    from mlcli.spec.load import Document, Path_

_READ_ONLY = ("id", "arm_id", "creation_context", "status", "log_files")
_MODES = {"mount": "ro_mount"}
_OUTPUT_MODES = {"mount": "rw_mount"}
_IDENTITIES = {"managed": "managed_identity", "amltoken": "aml_token"}
_OLD_SCHEMA = re.compile(r"/2021-(?:06|11)/(?=\w+\.schema\.json$)")
_SUFFIX = re.compile(r"\.\w*[A-Za-z]\w*")
_TYPES = {"command_job": "command", "sweep_job": "sweep"}
_STEP_TYPES = {"component_job": "command", "component": "command", "command_job": "command"}


@dataclass
class _Upgrading:
    """What the rules know besides the value at hand.

    ``is_file``: whether a local path of the job file is a file, None when nothing is there. ``refuse``: takes the path in
    the old file, why there is no way to say it today, and what to do.
    """

    generation: Generation
    is_file: Callable[[str], bool | None]
    refuse: Callable[[Path_, str, str], None]
    steps: dict[str, str] = field(default_factory=dict)


def upgrade(
    document: Document, kind: Kind, *, base: Path | None = None, reader: FileReader | None = None
) -> dict[str, Any]:
    """The job of ``document`` as a plain mapping in today's words (also for a sweep or a pipeline).

    ``base`` (the file's folder) and ``reader`` tell files from folders where an old file does not say. Raises
    InvalidSpecError for what today's form cannot say.
    """
    body: dict[str, Any] = _copied(document.tree)
    with _refusing(document) as refuse:
        _job(body, kind.type, _Upgrading(kind.generation, _looker(base, reader), refuse))
    return body


@contextmanager
def _refusing(document: Document) -> Iterator[Callable[[Path_, str, str], None]]:
    """Collect what has no way to be said today; raises InvalidSpecError with all of it."""
    faults: list[Diagnostic] = []
    yield lambda path, message, hint: faults.append(document.diagnose(path, "cannot-upgrade", message, hint=hint))
    if faults:
        raise InvalidSpecError(tuple(faults))


def upgraded_environment(tree: Mapping[str, Any]) -> dict[str, Any]:
    """An environment (a file's mapping) in today's words."""
    environment: dict[str, Any] = _copied(tree)
    _environment(environment)
    return environment


def upgraded_data(document: Document, base: Path, reader: FileReader) -> dict[str, Any]:
    """A data asset's file in today's words: ``type`` and ``path`` are there. Raises InvalidSpecError for several paths."""
    body: dict[str, Any] = _copied(document.tree)
    written = body.get("path")
    if isinstance(written, str) and (":" in written or written.startswith("/")):
        body.pop("datastore", None)
    with _refusing(document) as refuse:
        found = _asset(body, (), _Upgrading(Generation.G2, _looker(base, reader), refuse))
    kind, location = found or ("uri_folder", None)
    kept = {key: value for key, value in body.items() if key not in {*_READ_ONLY, "local_path", "paths", "datastore"}}
    return {**kept, "type": str(body.get("type") or kind).lower(), "path": location}


def upgraded_component(document: Document, kind: Kind) -> dict[str, Any]:
    """A component's file in today's words. Raises InvalidSpecError for what they cannot say."""
    body: dict[str, Any] = _copied(document.tree)
    with _refusing(document) as refuse:
        _component(body, (), _Upgrading(kind.generation, _looker(None, None), refuse))
    return body


def in_datastore(datastore: str, location: str) -> str:
    """The address of a path in a datastore that the file names beside it."""
    return f"azureml://datastores/{datastore.removeprefix('azureml:')}/paths/{location.lstrip('/')}"


def upgrade_text(text: str, file: str, base: Path, reader: FileReader) -> str:
    """The file rewritten in today's words, comments, order and quoting kept; a file that is in them already, as it is.

    Raises InvalidSpecError when the file is not a job or holds something that today's form cannot say.
    """
    from io import StringIO

    from ruamel.yaml import YAML

    from mlcli.spec.generation import recognise
    from mlcli.spec.load import load
    from mlcli.spec.validate import validate

    document = load(text, file)
    kind = recognise(document.tree)
    errors = tuple(found for found in validate(document, kind) if found.severity is Severity.ERROR)
    if errors:
        raise InvalidSpecError(errors)
    if (
        upgrade(document, kind, base=base, reader=reader) == document.tree
    ):  # raises for what cannot be said, with places
        return text
    yaml = YAML(typ="rt", pure=True)
    yaml.preserve_quotes = True
    yaml.width = 10_000
    yaml.indent(**_indents(document.text))
    tree = yaml.load(document.text)
    _job(tree, kind.type, _Upgrading(kind.generation, _looker(base, reader), lambda *_: None))
    out = StringIO()
    yaml.dump(tree, out)
    return out.getvalue().replace("\n", "\r\n") if "\r\n" in text else out.getvalue()


def _indents(text: str) -> dict[str, int]:
    """How far the file indents maps, and lists below their key, by its first of each."""
    nested = re.search(r"^[\w$.-]+:[^\n]*\n(?:[ ]*(?:#[^\n]*)?\n)*([ ]+)[\w$.-]+:", text, re.MULTILINE)
    listed = re.search(r"^([ ]*)[\w$.-]+:[^\n]*\n(?:[ ]*(?:#[^\n]*)?\n)*([ ]*)- ", text, re.MULTILINE)
    offset = len(listed[2]) - len(listed[1]) if listed else 2
    return {"mapping": len(nested[1]) if nested else 2, "sequence": offset + 2, "offset": offset}


def _looker(base: Path | None, reader: FileReader | None) -> Callable[[str], bool | None]:
    def is_file(path: str) -> bool | None:
        if base is None or reader is None or "\0" in path:
            return None
        if reader.is_file(base / path):
            return True
        return False if reader.is_dir(base / path) else None

    return is_file


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value


# --- jobs -------------------------------------------------------------------------------------------------------------


def _job(body: Body, kind: str, state: _Upgrading) -> None:
    for key in _READ_ONLY:
        remove(body, key)
    _schema(body)
    replace_word(body, "type", _TYPES)
    if kind == "command":
        _command_job(body, (), state)
    elif kind == "sweep":
        _sweep_job(body, state)
    elif kind == "pipeline":
        _pipeline_job(body, state)


def _schema(body: Body) -> None:
    """Our schemas of 2021 lie in folders of their own beside today's; az's have one address for all generations."""
    schema = body.get("$schema")
    if isinstance(schema, str) and _OLD_SCHEMA.search(schema):
        replace(body, "$schema", _OLD_SCHEMA.sub("/", schema))


def _command_job(body: Body, path: Path_, state: _Upgrading) -> None:
    """A command job, a sweep's trial, a pipeline's command step, or a command component."""
    _code(body)
    _compute(body)
    _distribution(body, path, state)
    _environment(body.get("environment"))
    _inputs(body, path, state)
    _outputs(body, state)
    replace_word(body.get("identity"), "type", _IDENTITIES)
    if "interaction_endpoints" in body:
        rename(body, "interaction_endpoints", "services")
    for service in _maps_in(body.get("services")):
        if "job_service_type" in service:
            rename(service, "job_service_type", "type")
    if "timeout" in body:
        rename(body, "timeout", "limits", {"timeout": body["timeout"]})
    _command(body, _declared(body), state)


def _sweep_job(body: Body, state: _Upgrading) -> None:
    trial = body.get("trial")
    if isinstance(trial, MutableMapping):
        _compute(trial)
        for key in ("compute", "inputs", "outputs"):
            if key in trial and key not in body:
                move_after(trial, key, body, "trial")
        trial_path: Path_ = ("trial",)
        declared = _declared(body)
        _inputs(body, trial_path if state.generation is Generation.G1 else (), state)
        _outputs(body, state)
        _code(trial)
        _distribution(trial, trial_path, state)
        _environment(trial.get("environment"))
        _command(trial, declared, state)
    if "algorithm" in body:
        rename(body, "algorithm", "sampling_algorithm")
    replace_word(body.get("identity"), "type", _IDENTITIES)
    policy = body.get("early_termination")
    if isinstance(policy, MutableMapping) and "policy_type" in policy:
        rename(policy, "policy_type", "type")
    _sweep_limits(body)


def _sweep_limits(body: Body) -> None:
    old = {"max_total_trials": 1, "max_concurrent_trials": 1, "timeout_minutes": 60}
    found = [key for key in old if key in body]
    if not found:
        return
    limits = {}
    for key in found:
        value = body[key]
        if key == "timeout_minutes":
            number = _integer(value)
            limits["timeout"] = value if number is None else number * old[key]
        else:
            limits[key] = value
    rename(body, found[0], "limits", limits)
    for key in found[1:]:
        remove(body, key)


# --- one rule for each key --------------------------------------------------------------------------------------------


def _code(body: Body) -> None:
    code = body.get("code")
    if isinstance(code, MutableMapping):
        code = next((code[key] for key in ("local_path", "code_uri", "path") if key in code), None)
        if code is not None:
            replace(body, "code", code)
    if isinstance(code, str) and code.startswith("file:"):
        replace(body, "code", code.removeprefix("file:"))


def _compute(body: Body) -> None:
    """``{target, instance_count, ...}`` -> the name, and ``resources`` for the rest."""
    compute = body.get("compute")
    if not isinstance(compute, MutableMapping):
        return
    resources = {key: compute[key] for key in ("instance_count", "instance_type", "properties") if key in compute}
    if "location" in compute:
        resources["locations"] = [compute["location"]]
    if resources:
        put_after(body, "compute", "resources", {**(body.get("resources") or {}), **resources})
    if "target" in compute:
        replace(body, "compute", compute["target"])
    else:
        remove(body, "compute")


def _distribution(body: Body, path: Path_, state: _Upgrading) -> None:
    distribution = body.get("distribution")
    if not isinstance(distribution, MutableMapping) or "process_count" not in distribution:
        return
    total = _integer(distribution["process_count"])
    nodes = _integer((body.get("resources") or {}).get("instance_count", 1))
    if not total or not nodes or total % nodes:
        message = f"process_count is the total over all nodes, and {total} does not divide by {nodes} nodes"
        state.refuse((*path, "distribution", "process_count"), message, "give process_count_per_instance instead")
        return
    rename(distribution, "process_count", "process_count_per_instance", total // nodes)


def _environment(environment: Any) -> None:
    if not isinstance(environment, MutableMapping):
        return
    for key in _READ_ONLY:
        remove(environment, key)
    docker = environment.get("docker")
    if isinstance(docker, MutableMapping):
        _docker(environment, docker)
    conda = environment.get("conda_file")
    if isinstance(conda, str) and conda.startswith("file:"):
        environment["conda_file"] = conda.removeprefix("file:")
    build = environment.get("build")
    if isinstance(build, MutableMapping):
        for old in ("local_path", "context_uri"):
            if old in build:
                rename(build, old, "path")


def _docker(environment: Body, docker: Body) -> None:
    build = docker.get("build")
    dockerfile = build.get("dockerfile") if isinstance(build, MutableMapping) else None
    if isinstance(dockerfile, str):
        rename(environment, "docker", "build", _build(dockerfile))
    elif "image" in docker:
        rename(environment, "docker", "image", docker["image"])


def _build(dockerfile: str) -> dict[str, str]:
    """A build of ``file:F``; a Dockerfile written into the job stays with it, under this project's own ``dockerfile``."""
    if not dockerfile.startswith("file:"):
        return {"dockerfile": dockerfile}
    file = PurePosixPath(dockerfile.removeprefix("file:"))
    return {"path": str(file.parent), "dockerfile_path": file.name}


def _inputs(body: Body, path: Path_, state: _Upgrading) -> None:
    inputs = body.get("inputs")
    if not isinstance(inputs, MutableMapping):
        return
    for name in list(inputs):
        if isinstance(inputs[name], MutableMapping):
            inputs[name] = _input(inputs[name], (*path, "inputs", name), state)


def _input(given: Body, path: Path_, state: _Upgrading) -> Any:
    if set(given) - {"$schema"} == {"value"}:
        return given["value"]
    source = next((key for key in ("file", "folder", "dataset", "data") if key in given), None)
    if source is None:
        replace_word(given, "mode", _MODES)
        return given
    asset = _asset(given[source], (*path, source), state)
    if asset is None:
        return given
    kind = {"file": "uri_file", "folder": "uri_folder"}.get(source, asset[0])
    rename(given, source, "type", kind)
    put_after(given, "type", "path", asset[1])
    replace_word(given, "mode", _MODES)
    remove(given, "$schema")
    return given


def _asset(data: Any, path: Path_, state: _Upgrading) -> tuple[str, str] | None:
    """The type and path of a 2021 data asset: a path, a reference, or an inline definition."""
    if isinstance(data, str):
        if data.startswith("file:"):
            message = "a data asset in a file of its own cannot be named by a job today"
            state.refuse(path, message, "write its path into the job: {path: ...}")
            return None
        return _type_of(data, state), data
    if not isinstance(data, MutableMapping):
        return None
    if "paths" in data:
        return _single_path(data["paths"], path, state)
    location = data.get("local_path", data.get("path"))
    if not isinstance(location, str):
        return None
    datastore = data.get("datastore")
    if isinstance(datastore, str) and "local_path" not in data:
        location = in_datastore(datastore, location)
    return _type_of(location, state), location


def _single_path(paths: Any, path: Path_, state: _Upgrading) -> tuple[str, str] | None:
    if isinstance(paths, list) and len(paths) == 1 and isinstance(paths[0], MutableMapping):
        for key in ("file", "folder"):
            if isinstance(paths[0].get(key), str):
                return f"uri_{key}", paths[0][key]
    state.refuse((*path, "paths"), "one input is one file or one folder today", "give each path an input of its own")
    return None


def _type_of(path: str, state: _Upgrading) -> str:
    if re.match(r"azureml:(?!//)", path):
        return "uri_folder"
    remote = "://" in path
    there = None if remote else state.is_file(path.removeprefix("file:"))
    if there is not None:
        return "uri_file" if there else "uri_folder"
    last = (_url_path(path) if remote else path).rpartition("/")[2]
    return "uri_file" if _SUFFIX.fullmatch(PurePosixPath(last).suffix) else "uri_folder"


def _url_path(url: str) -> str:
    try:
        return urlsplit(url).path
    except ValueError:
        return url


def _outputs(body: Body, state: _Upgrading) -> None:
    for output in _maps_in(body.get("outputs")):
        data = output.get("data")
        if isinstance(data, MutableMapping):
            asset = _asset(data, (), state)
            rename(output, "data", "type", asset[0] if asset else "uri_folder")
            if asset:
                put_after(output, "type", "path", asset[1])
        for key in ("file", "folder"):
            if key in output:
                location = output[key]
                rename(output, key, "type", f"uri_{key}")
                put_after(output, "type", "path", location)
        replace_word(output, "mode", _OUTPUT_MODES)
    _default_output(body)


def _default_output(body: Body) -> None:
    """2021's ``output: {datastore_id, path}`` is where the default output goes: today, ``outputs.default``."""
    output = body.get("output")
    if not isinstance(output, MutableMapping):
        return
    entry = {"type": "uri_folder"}
    if "datastore_id" in output:
        entry["path"] = in_datastore(str(output["datastore_id"]), str(output.get("path", "")))
    outputs = body.get("outputs")
    if isinstance(outputs, MutableMapping):
        outputs.setdefault("default", entry)
        remove(body, "output")
    else:
        rename(body, "output", "outputs", {"default": entry})


def _declared(body: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(
        f"{group}.{name}" for group in ("inputs", "outputs", "search_space") for name in body.get(group) or ()
    )


def _command(body: Body, declared: frozenset[str], state: _Upgrading) -> None:
    command = body.get("command")
    if not isinstance(command, str):
        return
    trimmed = command.rstrip("\n")
    escapes = len(trimmed) - len(trimmed.rstrip("\\"))
    if escapes % 2:
        trimmed += "\n"  # a line that goes on: without its line break the backslash would be an argument
    text = rewrite(trimmed, state.generation, declared)
    if text != command:
        body["command"] = _in_style(command, trimmed, text, lambda part: rewrite(part, state.generation, declared))


def _in_style(old: str, trimmed: str, new: str, rewritten: Callable[[str], str]) -> str:
    """``new`` in the YAML style that ``old`` was written in (folded, literal, quoted), folded at the same words."""
    if type(old) is str:
        return new
    styled: Any = type(old)(new)
    if folds := getattr(old, "fold_pos", None):
        bounds = [0, *(position for position in folds if position < len(trimmed)), len(trimmed)]
        parts = [rewritten(trimmed[start:end]) for start, end in pairwise(bounds)]
        if "".join(parts) == new:
            lengths = [sum(map(len, parts[:count])) for count in range(1, len(parts))]
            styled.fold_pos = lengths
    return styled  # type: ignore[no-any-return]


# --- pipelines --------------------------------------------------------------------------------------------------------


def _pipeline_job(body: Body, state: _Upgrading) -> None:
    _inputs(body, (), state)
    _outputs(body, state)
    shared = _settings(body)
    jobs = body.get("jobs")
    if not isinstance(jobs, MutableMapping):
        return
    if state.generation is not Generation.G3:
        state.steps = {name: re.sub(r"\W", "_", name) for name in jobs if not str(name).isidentifier()}
    for name in list(jobs):
        if isinstance(jobs[name], MutableMapping):
            _step(jobs[name], ("jobs", name), shared, state)
        if name in state.steps and state.steps[name] not in jobs:
            rename(jobs, name, state.steps[name])


def _settings(body: Body) -> Any:
    """Bring a pipeline's settings to today's words; answers the environment that its steps shared, which is theirs now."""
    settings = body.get("settings")
    shared = None
    if isinstance(settings, MutableMapping):
        shared = settings.get("environment")
        for old, new in (("datastore", "default_datastore"), ("compute", "default_compute")):
            if old in settings and new not in settings:
                rename(settings, old, new)
        for key in ("environment", "code"):
            remove(settings, key)
        if "compute" in body:
            settings.setdefault("default_compute", body["compute"])
            remove(body, "compute")
        if not settings:
            remove(body, "settings")
    elif "compute" in body:
        rename(body, "compute", "settings", {"default_compute": body["compute"]})
    return shared


def _step(step: Body, path: Path_, shared: Any, state: _Upgrading) -> None:
    replace_word(step, "type", _STEP_TYPES)
    if "command" in step and "environment" not in step and shared is not None:
        put_after(step, "command", "environment", _copied(shared))
    overrides = step.get("overrides")
    if isinstance(overrides, MutableMapping):
        for key in list(overrides):
            move_after(overrides, key, step, "overrides")
        remove(step, "overrides")
    _command_job(step, path, state)
    component = step.get("component")
    if isinstance(component, MutableMapping):
        _component(component, (*path, "component"), state)
    for group in ("inputs", "outputs"):
        bindings = step.get(group)
        if not isinstance(bindings, MutableMapping):
            continue
        for name in list(bindings):
            if isinstance(bindings[name], str):
                bindings[name] = _binding(bindings[name], state)


def _component(component: Body, path: Path_, state: _Upgrading) -> None:
    for group in ("inputs", "outputs"):
        for port in _maps_in(component.get(group)):
            replace_word(port, "type", {"path": "uri_folder"})
    for key in _READ_ONLY:
        remove(component, key)
    _code(component)
    _environment(component.get("environment"))
    _distribution(component, path, state)
    _command(component, _declared(component), state)


def _binding(text: str, state: _Upgrading) -> str:
    """What a step's input or output is bound to; today the pipeline is ``parent``."""
    if state.generation is Generation.G3:
        return text
    bound = re.compile(r"\$\{\{\s*(inputs|outputs|jobs)\.([\w-]+)((?:\.[\w-]+)*)\s*\}\}")

    def renamed(match: re.Match[str]) -> str:
        kind, name, rest = match.groups()
        name = state.steps.get(name, name) if kind == "jobs" else name
        return f"${{{{parent.{kind}.{name}{rest}}}}}"

    return bound.sub(renamed, text)


# --- values ---------------------------------------------------------------------------------------------------------------


def _maps_in(value: Any) -> list[Body]:
    return (
        [item for item in value.values() if isinstance(item, MutableMapping)]
        if isinstance(value, MutableMapping)
        else []
    )


def _integer(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    try:
        return int(float(value)) if float(value).is_integer() else None
    except (TypeError, ValueError, OverflowError):
        return None
