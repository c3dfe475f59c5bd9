"""Environments by name: what a reference means, and what may be done to a registered one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlcli.domain.errors import MlcliError, NameTakenError, NotFoundError, UsageError
from mlcli.domain.job import BuildContext, EnvironmentSpec
from mlcli.operations import assets
from mlcli.operations.times import iso_time
from mlcli.ports.services import Services
from mlcli.ports.stores import Asset
from mlcli.spec import references
from mlcli.spec.references import AssetReference

if TYPE_CHECKING:
    from mlcli.spec.environments import WrittenEnvironment

KIND = "environment"
Ignore = Callable[[str, list[str]], set[str]]
_AZURE_REGISTRY = "azureml"


def parse_reference(text: str) -> AssetReference:
    """``name``, ``name:version``, ``name@label``, each with or without ``azureml:``; a registry's or a workspace's address.

    Pure. Raises UsageError for what is none of these.
    """
    hint = "write azureml:NAME:VERSION, azureml:NAME@latest or azureml://registries/REGISTRY/environments/NAME"
    refusal = UsageError(f"{text!r} does not name an environment", hint=hint)
    try:
        found = references.parse_reference(text)
    except UsageError:
        raise refusal from None
    if not isinstance(found, AssetReference) or found.noun not in {None, KIND}:
        raise refusal
    return replace(found, noun=None)


def resolve(services: Services, spec: EnvironmentSpec) -> tuple[EnvironmentSpec, tuple[str, ...]]:
    """What a reference stands for, and what the person should know of it; any other environment as it is.

    A registered environment wins over what a curated name is mapped to. Raises NotFoundError, UnsupportedError, UsageError.
    """
    if spec.reference is None:
        return spec, ()
    reference = parse_reference(spec.reference)
    found, notices = look_up(services, reference)
    variables = {**found.environment_variables, **spec.environment_variables}
    return replace(found, environment_variables=variables), notices


def look_up(services: Services, reference: AssetReference) -> tuple[EnvironmentSpec, tuple[str, ...]]:
    """The environment of that name, and notices; errors as :func:`resolve`."""
    try:
        asset = services.assets.find(KIND, reference.name, version=reference.version, label=reference.label)
    except NotFoundError as missing:
        if reference.name in services.assets.names(KIND):
            raise
        return _not_registered(reference, missing)
    return spec_of(asset), ()


def _not_registered(reference: AssetReference, missing: NotFoundError) -> tuple[EnvironmentSpec, tuple[str, ...]]:
    from mlcli.spec import curated

    foreign = reference.registry is not None and reference.registry.lower() != _AZURE_REGISTRY
    if reference.registry is None and not curated.is_curated(reference.name):
        raise _with_way_out(missing, reference)
    if foreign:
        raise NotFoundError(
            f"the environment {reference} is in the registry {reference.registry!r}, which mlcli cannot ask",
            hint=f"register it here under its name: mlcli environment create --name {reference.name} --image IMAGE",
        )
    family = curated.family(reference.name)
    notice = f"the curated environment {reference} is Azure's; mlcli takes its own for {family.name}: {', '.join(family.pip)}"
    return EnvironmentSpec(conda=family.conda, name=reference.name, version=reference.version), (notice,)


def _with_way_out(missing: NotFoundError, reference: AssetReference) -> NotFoundError:
    create = f"mlcli environment create --name {reference.name} --conda-file FILE (or --image IMAGE)"
    near = f"{missing.hint} " if missing.hint and missing.hint.startswith("did you mean") else ""
    return NotFoundError(missing.message, hint=f"{near}register it: {create}")


def spec_of(asset: Asset) -> EnvironmentSpec:
    """A registered environment, to build from."""
    from mlcli.spec.environments import environment_spec

    return replace(environment_spec(asset.document, asset.folder), name=asset.name, version=asset.version)


# --- what may be done to a registered one -----------------------------------------------------------------------------


def create(services: Services, written: WrittenEnvironment) -> tuple[Asset, tuple[str, ...]]:
    """Register it, the folder of its Docker build with it. The very definition that is there already under that version is
    answered as it is. Raises NameTakenError for another one, MlcliError for what cannot be kept.
    """
    spec = written.spec
    if spec.registry is not None and spec.registry.password:
        raise MlcliError(
            "the password of the environment's registry would be kept in the workspace",
            hint="name the variable that holds it instead, or log in with `docker login`",
        )
    context, ignore = None, None
    if spec.build and spec.build.path:
        context = Path(spec.build.path)
        _check_context(spec.build, context)
        ignore = _docker_ignore(spec.build, context)
    try:
        made = services.assets.create(
            KIND,
            written.name,
            _without_folder(written.document) if context else written.document,
            version=written.version,
            description=written.description,
            tags=written.tags,
            files=context,
            ignore=ignore,
        )
    except NameTakenError as taken:
        existing = services.assets.find(KIND, written.name, version=written.version)
        if not _is_same(existing, written, context, ignore):
            raise NameTakenError(f"{taken.message}, with another definition", hint=taken.hint) from taken
        return existing, (f"environment {existing.name}:{existing.version} is there already, just so",)
    return made, (written.left_out,) if written.left_out else ()


def _check_context(build: BuildContext, context: Path) -> None:
    if not context.is_dir():
        raise NotFoundError(f"there is no folder {context} to build the image from")
    if not build.dockerfile_text and not (context / build.dockerfile_path).is_file():
        hint = "name another with --dockerfile-path, from the build folder"
        raise NotFoundError(f"there is no {build.dockerfile_path} in {context}", hint=hint)


def _without_folder(document: Mapping[str, Any]) -> dict[str, Any]:
    """Where the folder once stood means nothing: what counts is the copy."""
    return {**document, "build": {key: value for key, value in document["build"].items() if key != "path"}}


def _docker_ignore(build: BuildContext, context: Path) -> Ignore | None:
    """What the folder's .dockerignore leaves out of a build is not kept either."""
    file = context / ".dockerignore"
    if not file.is_file():
        return None
    from docker.utils.build import exclude_paths

    lines = (line.strip() for line in file.read_text(encoding="utf-8").splitlines())
    patterns = [line for line in lines if line and not line.startswith("#")]
    kept = {*exclude_paths(str(context), patterns, dockerfile=build.dockerfile_path), file.name}

    def ignored(folder: str, names: list[str]) -> set[str]:
        inner = Path(folder).relative_to(context)
        return {name for name in names if str(inner / name) not in kept}

    return ignored


def _is_same(existing: Asset, written: WrittenEnvironment, context: Path | None, ignore: Ignore | None) -> bool:
    if context is None or existing.folder is None:
        return existing.folder is context is None and dict(existing.document) == dict(written.document)
    same_document = dict(existing.document) == _without_folder(written.document)
    return same_document and _content(existing.folder, None) == _content(context, ignore)


def _content(folder: Path, ignore: Ignore | None) -> dict[str, tuple[int, bytes]]:
    import hashlib
    import os

    found = {}
    for parent, folders, files in os.walk(folder):
        left_out = ignore(parent, [*folders, *files]) if ignore else set()
        folders[:] = [name for name in folders if name not in left_out]
        for path in (Path(parent) / name for name in files if name not in left_out):
            data = os.fsencode(path.readlink()) if path.is_symlink() else path.read_bytes()
            found[str(path.relative_to(folder))] = (path.lstat().st_mode, hashlib.sha256(data).digest())
    return found


def registered(services: Services, reference: AssetReference) -> Asset:
    """The registered environment of that name. Raises NotFoundError."""
    return assets.find(services, KIND, reference)


def record(asset: Asset, services: Services) -> dict[str, Any]:
    """A registered environment as ``show`` prints it, under az's keys."""
    from mlcli.domain.redaction import masked_record

    shown: dict[str, Any] = masked_record(dict(asset.document))
    if asset.folder is not None and "build" in shown:
        shown["build"] = {"path": str(asset.folder), **shown["build"]}
    return {
        **assets.standing(asset),
        **shown,
        "workspace": services.name,
        "creation_context": {"created_at": iso_time(asset.created_at)},
    }
