"""From a job's normal form, today's words in a plain mapping, to the frozen :class:`~mlcli.domain.job.CommandJob`.

Relative paths become absolute from the job file's folder; a conda file and an environment in a file of its own
(``environment: file:env.yml``) are read in. The values have passed the schema; what is left to refuse is what only
reading those files shows.
"""

from __future__ import annotations

import os.path
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlcli.domain.errors import InvalidSpecError
from mlcli.domain.job import (
    BuildContext,
    CommandJob,
    DataInput,
    Distribution,
    EnvironmentSpec,
    LiteralInput,
    Output,
    RegistryLogin,
    Resources,
)
from mlcli.spec.interpolate import literal_text

if TYPE_CHECKING:
    from mlcli.domain.job import Input
    from mlcli.ports.files import FileReader
    from mlcli.spec.conda import CondaFile
    from mlcli.spec.generation import Kind
    from mlcli.spec.load import Document, Path_

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
_CODE_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:|git@")
_LONGEST_S = 1e15
_PROJECT_SETTINGS = frozenset({".azureml", "aml_config"})
_COUNTS = frozenset({"process_count_per_instance", "worker_count", "parameter_server_count"})


@dataclass(frozen=True)
class _Source:
    """Where values come from: the file as written (``document``), its absolute folder, and how to read other files."""

    document: Document
    base: Path
    reader: FileReader

    def texts(self, values: Any, path: Path_) -> dict[str, str]:
        """A map of scalars as texts, numbers as the file wrote them."""
        return {
            str(name): literal_text(value, self.document.written((*path, name)))
            for name, value in _mapping(values).items()
        }

    def absolute(self, text: str) -> str:
        """A path of the file as an absolute one."""
        for prefix in ("file://", "file:"):
            text = text.removeprefix(prefix)
        return os.path.normpath(self.base / text)

    def integer(self, values: Mapping[str, Any], section: str, key: str) -> int | None:
        """A whole number, which the schema lets stand as a text (``"2"``, ``"2.0"``) too, and in a pipeline's step as a
        reference. Here a number it must be.
        """
        value = values.get(key)
        if value is None:
            return None
        try:
            return int(str(value).strip().partition(".")[0]) if isinstance(value, str) else int(value)
        except (ValueError, OverflowError) as error:
            raise self._not_a_number(section, key) from error

    def number(self, values: Mapping[str, Any], section: str, key: str) -> float | None:
        """A number, under the same rules."""
        value = values.get(key)
        try:
            return None if value is None else float(value)
        except ValueError as error:
            raise self._not_a_number(section, key) from error

    def _not_a_number(self, section: str, key: str) -> InvalidSpecError:
        message = f"'{key}' must be a number in a command job"
        return _fault(self, (section, key), "wrong-type", message, "write the number itself")


def build(document: Document, normal: Mapping[str, Any], kind: Kind, base: Path, reader: FileReader) -> CommandJob:
    """The job that ``normal`` (of :func:`mlcli.spec.upgrade.upgrade`) describes. ``document``: the file as written, for
    places; ``base``: its absolute folder.

    Raises InvalidSpecError when a file that the job is made of cannot be read or is wrong, with the place in that file.
    """
    source = _Source(document, base, reader)
    environment, lent = _job_environment(normal["environment"], source, ("environment",))
    return CommandJob(
        command=str(normal["command"]),
        environment=environment,
        generation=kind.generation,
        name=_text(normal.get("name")),
        display_name=_text(normal.get("display_name")),
        experiment_name=_text(normal.get("experiment_name")),
        description=_text(normal.get("description")),
        compute=_compute(normal.get("compute")),
        code=_code(normal.get("code"), source),
        inputs=_inputs(normal.get("inputs"), source),
        outputs={name: _output(value, source) for name, value in _mapping(normal.get("outputs")).items()},
        environment_variables=source.texts(normal.get("environment_variables"), ("environment_variables",)),
        resources=_resources({**lent, **_mapping(normal.get("resources"))}, source),
        distribution=_distribution(normal.get("distribution"), source),
        timeout_s=_seconds(_mapping(normal.get("limits")), source),
        tags=source.texts(normal.get("tags"), ("tags",)),
        properties=source.texts(normal.get("properties"), ("properties",)),
        document=normal,
    )


def build_environment(document: Document, normal: Mapping[str, Any], base: Path, reader: FileReader) -> EnvironmentSpec:
    """The environment that ``normal`` (of :func:`mlcli.spec.upgrade.upgraded_environment`) describes; the rest as in
    :func:`build`.
    """
    return _environment(normal, _Source(document, base, reader), ())


def _compute(value: Any) -> str | None:
    return str(value).removeprefix("azureml:") if value else None


def _code(value: Any, source: _Source) -> str | None:
    if value is None:
        return None
    text = str(value)
    return text if _CODE_ADDRESS.match(text) and not text.startswith("file:") else source.absolute(text)


def _inputs(values: Any, source: _Source) -> dict[str, Input]:
    """An input left empty has no value: it counts as absent."""
    return {
        name: _input(value, source.document.written(("inputs", name)), source)
        for name, value in _mapping(values).items()
        if value is not None
    }


def _input(value: Any, written: str | None, source: _Source) -> Input:
    if not isinstance(value, Mapping):
        return LiteralInput(value, written)
    if "path" not in value and "value" in value:
        return LiteralInput(value["value"])
    kind = str(value.get("type") or "uri_folder").lower()
    return DataInput(_location(str(value.get("path", "")), source), kind, _mode(value.get("mode"), "ro_mount"))


def _output(value: Any, source: _Source) -> Output:
    entry = _mapping(value)
    path = entry.get("path")
    return Output(
        type=str(entry.get("type") or "uri_folder").lower(),
        path=None if path is None else _location(str(path), source),
        mode=_mode(entry.get("mode"), "rw_mount"),
        name=_text(entry.get("name")),
        version=_text(entry.get("version")),
    )


def _location(path: str, source: _Source) -> str:
    is_address = _ADDRESS.match(path) and not path.startswith("file:")
    return path if is_address or path.startswith("${{") else source.absolute(path)


def _mode(value: Any, default: str) -> str:
    if value is None:
        return default
    mode = re.sub(r"^(ro|rw|eval)_?(?=mount|download)", r"\1_", str(value).lower())
    return default if mode == "mount" else mode


def _seconds(limits: Mapping[str, Any], source: _Source) -> float | None:
    """A time limit; one of more seconds than a number holds is none."""
    seconds = source.integer(limits, "limits", "timeout")
    return None if seconds is None or seconds > _LONGEST_S else float(seconds)


def _resources(value: Mapping[str, Any], source: _Source) -> Resources:
    arguments = value.get("docker_args")
    return Resources(
        instance_count=source.integer(value, "resources", "instance_count") or 1,
        instance_type=_text(value.get("instance_type")),
        shm_size=_text(value.get("shm_size")),
        docker_args=shlex.join(map(str, arguments)) if isinstance(arguments, list) else _text(arguments),
        properties=_mapping(value.get("properties")),
        locations=tuple(str(location) for location in value.get("locations") or ()),
        max_instance_count=source.integer(value, "resources", "max_instance_count"),
        memory=_text(value.get("memory")),
        cpus=source.number(value, "resources", "cpus"),
        gpus=_text(value.get("gpus")),
    )


def _distribution(value: Any, source: _Source) -> Distribution | None:
    if not isinstance(value, Mapping):
        return None
    counts = {key: source.integer(value, "distribution", key) for key in _COUNTS}
    settings = {key: item for key, item in value.items() if key not in _COUNTS | {"type"}}
    return Distribution(type=str(value.get("type", "")).lower(), settings=settings, **counts)


# --- environments -----------------------------------------------------------------------------------------------------


def _job_environment(value: Any, source: _Source, path: Path_) -> tuple[EnvironmentSpec, Mapping[str, str]]:
    """A job's environment, and what the file that it stands in says of the job's ``resources``."""
    if not isinstance(value, str):
        return _environment(value, source, path), {}
    if value.startswith("file:"):
        return _environment_file(value, source, path)
    return EnvironmentSpec(interpreter=value) if value == "current" else EnvironmentSpec(reference=value), {}


def _environment(value: Any, source: _Source, path: Path_) -> EnvironmentSpec:
    entry = _mapping(value)
    if str(entry.get("os_type")).lower() == "windows":
        hint = "mlcli runs jobs on Linux and in Linux containers; name an image for Linux, and leave os_type out"
        raise _fault(source, (*path, "os_type"), "bad-value", "an environment for Windows cannot be made", hint)
    interpreter = _text(entry.get("interpreter"))
    if interpreter not in {None, "current"}:
        interpreter = _interpreter(str(interpreter), source)
    conda = _conda_file(entry.get("conda_file"), source, (*path, "conda_file"))
    return EnvironmentSpec(
        interpreter=interpreter,
        reference=_text(entry.get("id")),
        image=_image(entry.get("image"), source, (*path, "image")),
        build=_build(entry.get("build"), source, path),
        conda=conda.conda,
        lock=_lock(entry.get("lock"), source, (*path, "lock")) or conda.lock,
        registry=_registry(entry.get("registry")),
        name=_text(entry.get("name")),
        version=_text(entry.get("version")),
        environment_variables=source.texts(entry.get("environment_variables"), (*path, "environment_variables")),
    )


def _interpreter(text: str, source: _Source) -> str:
    """A name such as ``python3.11`` is looked up on the PATH later; a path is taken from the job file's folder. Symbolic
    links stay: an interpreter finds its virtual environment by the path that it is called by.
    """
    return text if "/" not in text or text.startswith("~") else os.path.normpath(source.base / text)


def _image(value: Any, source: _Source, path: Path_) -> str | None:
    from mlcli.spec.image_names import is_image_name

    text = _text(value)
    if text is not None and not is_image_name(text):
        hint = "write it like python:3.12-slim, in lower case"
        raise _fault(source, path, "bad-name", f"{text!r} is not a name that an image can have", hint)
    return text


def _build(value: Any, source: _Source, path: Path_) -> BuildContext | None:
    if not isinstance(value, Mapping):
        return None
    context = _text(value.get("path"))
    return BuildContext(
        path=None if context is None else _location(context, source),
        dockerfile_path=str(value.get("dockerfile_path") or "Dockerfile"),
        dockerfile_text=_text(value.get("dockerfile")),
        args=source.texts(value.get("args"), (*path, "build", "args")),
    )


def _conda_file(value: Any, source: _Source, path: Path_) -> CondaFile:
    """A conda file by its path, as a map, or (a text of many lines) as it is."""
    from mlcli.spec.conda import CondaFile, conda_text, read_conda, with_absolute_paths

    if value is None:
        return CondaFile()
    if isinstance(value, Mapping):
        return CondaFile(with_absolute_paths(value, source.base))
    text = str(value)
    if "\n" in text:
        return conda_text(text, source.document.file, source.base)
    file = _local_file(text, source, path, "a conda file")
    try:
        return read_conda(file, _shown(source, text), source.reader)
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise _unreadable(source, path, file, error) from error


def _lock(value: Any, source: _Source, path: Path_) -> str | None:
    """A lock file by its path, or (a text of many lines) as it is."""
    from mlcli.spec.conda import is_lock

    if value is None or "\n" in str(value):
        return _text(value)
    file = _local_file(str(value), source, path, "a lock file")
    try:
        text = source.reader.read_text(file)
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise _unreadable(source, path, file, error) from error
    if not is_lock(text):
        hint = "make one with: conda list --explicit --md5, conda-lock or pixi"
        raise _fault(source, path, "wrong-type", f"'{file.name}' is not a lock file of conda packages", hint)
    return text


def _local_file(text: str, source: _Source, path: Path_, what: str) -> Path:
    if _ADDRESS.match(text) and not text.startswith("file:"):
        raise _fault(source, path, "unreadable-file", f"{what} must be a local file", "save it beside the job file")
    return Path(source.absolute(text))


def _registry(value: Any) -> RegistryLogin | None:
    entry = _mapping(value)
    if not entry.get("address"):
        return None
    keys = ("username", "password", "password_env")
    return RegistryLogin(str(entry["address"]), **{key: _text(entry.get(key)) for key in keys})


def _environment_file(value: str, source: _Source, path: Path_) -> tuple[EnvironmentSpec, Mapping[str, str]]:
    """An environment in a YAML file of its own, in any generation's words; its paths start at its own folder. That of a v1
    run configuration too, whose paths start at the project's folder.
    """
    from mlcli.spec.generation import environment_kind
    from mlcli.spec.load import load
    from mlcli.spec.runconfig_environment import of_runconfig
    from mlcli.spec.upgrade import upgraded_environment
    from mlcli.spec.validate import validate

    file = Path(source.absolute(value))
    try:
        text = source.reader.read_text(file)
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise _unreadable(source, path, file, error) from error
    document = load(text, _shown(source, value.removeprefix("file:")))
    inner = _Source(document, file.parent, source.reader)
    found = of_runconfig(document.tree)
    if found is not None:
        project = _Source(document, project_folder(file.parent), source.reader)
        return _environment(found.environment, project, ("environment",)), found.resources
    if not {"image", "build", "docker", "conda_file", "lock", "interpreter"} & set(document.tree):
        message = "this file is named as an environment, and has neither 'image' nor 'build' nor 'conda_file'"
        raise _fault(inner, (), "empty-environment", message, f"it is named in {source.document.place(path)}")
    named = document.with_tree({"name": "a registered one has it", **document.tree}, document.marks)
    faults = validate(named, environment_kind(document.tree))
    if faults:
        raise InvalidSpecError(faults)
    return _environment(upgraded_environment(document.tree), inner, ()), {}


def project_folder(folder: Path) -> Path:
    """Where the paths of a v1 run configuration start that lies in ``folder``."""
    return folder.parent if folder.name in _PROJECT_SETTINGS else folder


def _shown(source: _Source, path: str) -> str:
    """A file that the job names, as errors call it: beside the job file's own name."""
    return os.path.join(os.path.dirname(source.document.file), path.removeprefix("file:"))  # noqa: PTH118, PTH120


def _unreadable(source: _Source, path: Path_, file: Path, error: Exception) -> InvalidSpecError:
    if isinstance(error, UnicodeDecodeError):
        return _fault(source, path, "unreadable-file", f"{file} is not UTF-8 text", "save it as UTF-8")
    if isinstance(error, FileNotFoundError):
        hint = f"looked for {file}; paths that {source.document.file} names start at {source.base}"
        return _fault(source, path, "missing-file", f"there is no file '{file.name}'", hint)
    why = getattr(error, "strerror", None) or "no file system takes this path"
    return _fault(
        source, path, "unreadable-file", f"{file} cannot be read: {why}", "check the path and its permissions"
    )


def _fault(source: _Source, path: Path_, code: str, message: str, hint: str) -> InvalidSpecError:
    return InvalidSpecError((source.document.diagnose(path, code, message, hint=hint),))


# --- values -----------------------------------------------------------------------------------------------------------


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
