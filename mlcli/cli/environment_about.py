"""What a command of ``mlcli environment`` is about: its flags, and from what was typed to the environment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from mlcli.cli import actions
from mlcli.cli.command import Session
from mlcli.cli.options import Flag, flag, name_of_job
from mlcli.domain.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from mlcli.domain.job import EnvironmentSpec
    from mlcli.operations.environment_cache import Standing
    from mlcli.ports.stores import Asset
    from mlcli.spec.references import AssetReference


def existing_file(text: str) -> str:
    """Its absolute path. Raises UsageError."""
    if not Path(text).is_file():
        raise UsageError(f"there is no file {text}")
    return str(Path(text).absolute())


def existing_folder(text: str) -> str:
    """Its absolute path. Raises UsageError."""
    if not Path(text).is_dir():
        raise UsageError(f"there is no folder {text}")
    return str(Path(text).absolute())


def complete_environment(typed: str, workspace: str | None) -> list[str]:
    """Names of registered environments that start so. Completion never fails."""
    from mlcli.domain.errors import MlcliError
    from mlcli.workspace import open_workspace

    try:
        return [name for name in open_workspace(workspace).assets.names("environment") if name.startswith(typed)]
    except MlcliError:
        return []


NAMED = Flag(
    ("--name", "-n"),
    "Name of the environment; NAME:VERSION and NAME@LABEL do too.",
    "NAME",
    named="environment",
    parse=name_of_job,
    complete=complete_environment,
)
Name = Annotated[str, NAMED]
OptionalName = Annotated[
    str | None,
    Flag(NAMED.names, NAMED.help, "NAME", named="environment", required=False, complete=complete_environment),
]
Version = Annotated[str | None, flag("--version", "-v", metavar="VERSION", help="Its version (default: the latest).")]
Label = Annotated[
    str | None, flag("--label", "-l", metavar="LABEL", help="The version with this label, such as latest.")
]
Docker = Annotated[bool, flag("--docker", help="As an image, whatever the setting local.container says.")]
NoDocker = Annotated[bool, flag("--no-docker", help="On the host, though an image is named.")]
FILE = flag("--file", "-f", metavar="FILE", help="The environment's YAML, of any generation; - reads standard input.")


def reference(name: str, version: str | None, label: str | None) -> AssetReference:
    """What was typed as the name, with the flags. Raises UsageError where they say two things."""
    from dataclasses import replace

    from mlcli.operations.environments import parse_reference

    reference = parse_reference(name)
    if version is None and label is None:
        return reference
    if reference.version or reference.label or (version and label):
        raise UsageError(f"which version of {reference.name!r}? give one of NAME:VERSION, --version and --label")
    return replace(reference, version=version, label=label)


def found(session: Session, reference: AssetReference) -> tuple[Asset | None, EnvironmentSpec]:
    """The registered environment, None where the name is a curated one; and what to build from, its notices told."""
    from mlcli.operations import environments

    try:
        asset = environments.registered(session.services, reference)
    except NotFoundError:
        spec, notices = environments.look_up(session.services, reference)
        tell(session, notices)
        return None, spec
    return asset, environments.spec_of(asset)


def record(session: Session, reference: AssetReference, asset: Asset | None, spec: EnvironmentSpec) -> dict[str, Any]:
    """The environment as ``show`` prints it; ``asset`` None: a curated name."""
    from mlcli.operations import environments
    from mlcli.spec.environments import environment_document

    if asset is not None:
        return environments.record(asset, session.services)
    return {
        "name": reference.name,
        "version": reference.version,
        "description": "a curated name of Azure ML, with mlcli's own definition",
        "archived": False,
        **environment_document(spec),
    }


def check_labels(asset: Asset, removed: list[str]) -> None:
    """Raises UsageError for a label to be taken away that the version has not."""
    missing = [label for label in removed if label not in asset.labels]
    if missing:
        hint = f"it has: {', '.join(asset.labels)}" if asset.labels else "it has none"
        raise UsageError(f"--remove-label {missing[0]}: {asset.name}:{asset.version} has no such label", hint=hint)


def asked(docker: bool, no_docker: bool) -> bool | None:
    """What ``--docker`` and ``--no-docker`` say; None when neither is given. Raises UsageError for both."""
    return actions.asked_container(docker=docker, no_docker=no_docker)


def tell(session: Session, notices: Any) -> None:
    """What the person should know, as notices."""
    for notice in notices:
        session.console.notice(notice)


def print_dockerfile(session: Session, spec: EnvironmentSpec, asked: bool | None) -> None:
    """The Dockerfile that its image is made with. Raises NotFoundError when there is none."""
    from mlcli.cli.render import write_text

    in_container = True if asked is None else asked
    text = session.services.environment_builder(spec, container=in_container).dockerfile(spec)
    if text is None:
        raise NotFoundError("this environment is made without a Dockerfile: its image is used as it is")
    write_text(text if text.endswith("\n") else f"{text}\n")


def print_log(session: Session, found: Standing) -> None:
    """The log of its last build. Raises NotFoundError when there is none."""
    if found.log is None:
        raise NotFoundError(
            "this environment has no build log on this machine", hint="build it: mlcli environment build"
        )
    print_file(session, found.log)


def print_file(session: Session, file: Path) -> None:
    """A file to standard output, as it is."""
    session.console.log(file.read_bytes())
    session.console.end_log()
