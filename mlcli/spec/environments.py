"""An environment as an asset: its file in any generation's words in, a definition that stands by itself out. Pure, but
for the files that it names, which are read in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from mlcli.domain.errors import Diagnostic, InvalidSpecError, UnsupportedError, UsageError
from mlcli.domain.job import BuildContext, EnvironmentSpec, RegistryLogin

if TYPE_CHECKING:
    from pathlib import Path

    from mlcli.ports.files import FileReader
    from mlcli.spec.load import Document

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")
_NAME_RULE = "it has 1 to 255 letters, digits, '-', '_' and '.', and starts with a letter or a digit"
_LEADING = ("image", "build", "conda_file", "lock", "interpreter")
# what the asset keeps beside its definition, or has no meaning when it is read again
_APART = frozenset(
    {"$schema", "name", "version", "description", "tags", *_LEADING, "registry", "environment_variables"}
)


@dataclass(frozen=True)
class WrittenEnvironment:
    """An environment file. ``document``: its definition in today's words, every file that it names read in, paths
    absolute; ``spec`` the same to build from. ``version`` None: the next one. ``left_out``: what the file says that no
    environment holds.
    """

    name: str
    version: str | None
    document: Mapping[str, Any]
    spec: EnvironmentSpec
    description: str | None = None
    tags: Mapping[str, str] | None = None
    left_out: str | None = None


def read_environment(
    text: str | bytes,
    file: str,
    base: Path,
    reader: FileReader,
    *,
    overrides: Sequence[str] = (),
    flags: Mapping[str, Any] | None = None,
) -> WrittenEnvironment:
    """The environment of a file. ``file``: the name that errors show; ``base``: the absolute folder that its paths start
    from; ``overrides``: ``a.b=value``; ``flags``: keys in today's words that replace the file's, paths absolute.

    Raises InvalidSpecError with everything that is wrong, in file order; UsageError for a name that cannot be one;
    UnsupportedError for a file that is no environment.
    """
    from mlcli.spec.build import build_environment, project_folder
    from mlcli.spec.generation import environment_kind
    from mlcli.spec.load import load
    from mlcli.spec.overrides import apply
    from mlcli.spec.runconfig_environment import of_runconfig
    from mlcli.spec.upgrade import upgraded_environment
    from mlcli.spec.validate import validate

    document = load(text, file)
    if overrides:
        document = apply(document, overrides)
    runconfig = of_runconfig(document.tree)
    if runconfig is not None:
        strange = tuple(_unknown_keys(document)) if "environment" not in document.tree else ()
        if strange:
            raise InvalidSpecError(strange)
        document, base = document.with_tree(dict(runconfig.environment), document.marks), project_folder(base)
    _check_is_environment(document, file)
    given = dict(flags or {})
    if "name" in given:
        document = document.with_tree({**document.tree, "name": given["name"]}, document.marks)
    faults = validate(document, environment_kind(document.tree))
    if faults:
        raise InvalidSpecError(faults)
    normal = upgraded_environment(document.tree)
    normal.update({key: value for key, value in given.items() if key != "build"})
    if "build" in given:
        normal["build"] = {**_mapping(normal.get("build")), **given["build"]}
    _check_leads(document, normal)
    spec = build_environment(document, normal, base, reader)
    apart = {key: value for key, value in normal.items() if key not in _APART}
    version = given.get("version")
    if version is None and normal.get("version") is not None:
        version = document.written(("version",)) or normal["version"]
    return WrittenEnvironment(
        name=checked_name(str(normal["name"]), "name"),
        version=None if version is None else checked_name(str(version), "version"),
        document={**environment_document(spec), **apart},
        spec=spec,
        description=normal.get("description"),
        tags={str(key): str(value) for key, value in _mapping(normal.get("tags")).items()},
        left_out=_left_out(runconfig.resources) if runconfig else None,
    )


def _unknown_keys(document: Document) -> Iterator[Diagnostic]:
    """Keys that an environment which v1 saved by itself cannot have; what they say would be lost."""
    from mlcli.spec.schemas import resolved_schema
    from mlcli.spec.validate import did_you_mean

    known = resolved_schema("v1/runConfiguration")["properties"]["environment"]["properties"]
    for path in ((), ("python",), ("docker",)):
        tree, keys = (
            (_mapping(document.tree.get(path[0])), known[path[0]]["properties"]) if path else (document.tree, known)
        )
        for key in tree:
            if key not in keys:
                hint = did_you_mean(str(key), keys, label="keys allowed here")
                yield document.diagnose((*path, key), "unknown-key", f"unknown key '{key}'", hint=hint, key=True)


def checked_name(name: str, what: str = "name") -> str:
    """The same, when references can name it. Raises UsageError."""
    if _NAME.fullmatch(name) is None:
        raise UsageError(f"{name!r} cannot be the {what} of an environment", hint=_NAME_RULE)
    return name


def environment_document(spec: EnvironmentSpec) -> dict[str, Any]:
    """The environment in today's words, name and version left out; :func:`environment_spec` reads it back.

    A password is left out too: nothing that is kept or shown holds one.
    """
    login = {key: value for key, value in asdict(spec.registry).items() if key != "password"} if spec.registry else {}
    found = {
        "interpreter": spec.interpreter,
        "image": spec.image,
        "build": _build_document(spec.build) if spec.build else None,
        "conda_file": dict(spec.conda) if spec.conda is not None else None,
        "lock": spec.lock,
        "registry": {key: value for key, value in login.items() if value is not None},
        "environment_variables": dict(spec.environment_variables),
    }
    return {key: value for key, value in found.items() if value not in (None, {})}


def environment_spec(document: Mapping[str, Any], context: Path | None = None) -> EnvironmentSpec:
    """The environment of a document; ``context``: where the folder of its Docker build is kept."""
    build = document.get("build")
    registry = document.get("registry")
    return EnvironmentSpec(
        interpreter=document.get("interpreter"),
        image=document.get("image"),
        build=_build_context(build, context) if build else None,
        conda=document.get("conda_file"),
        lock=document.get("lock"),
        registry=RegistryLogin(**registry) if registry else None,
        environment_variables=_mapping(document.get("environment_variables")),
    )


def _build_document(build: BuildContext) -> dict[str, Any]:
    found = {
        "path": build.path,
        "dockerfile_path": None if build.dockerfile_text else build.dockerfile_path,
        "dockerfile": build.dockerfile_text,
        "args": dict(build.args),
    }
    return {key: value for key, value in found.items() if value not in (None, {})}


def _build_context(build: Mapping[str, Any], context: Path | None) -> BuildContext:
    return BuildContext(
        path=str(context) if context else build.get("path"),
        dockerfile_path=build.get("dockerfile_path") or "Dockerfile",
        dockerfile_text=build.get("dockerfile"),
        args=_mapping(build.get("args")),
    )


def _left_out(resources: Mapping[str, str]) -> str | None:
    """What a run configuration says of a job, for the person to say it there."""
    told = ", ".join(f"{key}: {value}" for key, value in resources.items())
    return (
        f"not kept, as it is no part of an environment: write it into the job, resources: {{{told}}}" if told else None
    )


def _check_is_environment(document: Document, file: str) -> None:
    from mlcli.spec.generation import recognise

    tree = document.tree
    if set(_LEADING) & set(tree) or "docker" in tree:
        return
    if "dependencies" in tree:
        hint = f"name it: mlcli environment create --name NAME --conda-file {file}"
        raise UnsupportedError(f"{file} is a conda file, not an environment", hint=hint)
    kind = recognise(tree)
    if kind.noun not in {"environment", "job"} or {"command", "jobs", "trial"} & set(tree):
        article = "an" if kind.noun[0] in "aeiou" else "a"
        hint = "an environment has a 'name', and an 'image', a 'build' or a 'conda_file'"
        raise UnsupportedError(f"{file} describes {article} {kind.noun}, not an environment", hint=hint)


def _check_leads(document: Document, normal: Mapping[str, Any]) -> None:
    """Something to build from there must be, and no two things that exclude each other."""
    leading = [key for key in _LEADING if normal.get(key) is not None]
    message, hint = "", "one of: image, build, conda_file (which may stand beside the other two), lock, interpreter"
    if not leading:
        message = "an environment needs something to be made from"
    elif {"image", "build"} <= set(leading):
        message, hint = "an environment has an image or builds one, not both", "write FROM IMAGE in the Dockerfile"
    elif "interpreter" in leading and len(leading) > 1:
        message = f"an interpreter that is there already has no '{leading[0]}'"
    if message:
        at = (leading[-1],) if leading and leading[-1] in document.tree else ()
        raise InvalidSpecError((document.diagnose(at, "empty-environment", message, hint=hint),))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
