"""``mlcli data``: files for jobs to read, under a name and a version."""

from __future__ import annotations

from typing import Annotated

from mlcli.cli import assets
from mlcli.cli.command import Noun, Session
from mlcli.cli.options import Sets, flag
from mlcli.cli.tree import NOUNS
from mlcli.domain.errors import UnsupportedError
from mlcli.operations.assets import DATA

NOUN = Noun(NOUNS["data"], ignored=assets.IGNORED)


@NOUN.command(
    "create",
    "mlcli data create -f iris.yml",
    "mlcli data create --name iris --path data/iris.csv",
    "mlcli data create -n iris -v 3 --path data/ --type uri_folder --copy",
    "mlcli data create -n titanic --path https://example.com/titanic.csv",
)
def create(
    session: Session,
    *,
    file: Annotated[str | None, assets.file_flag("data asset")] = None,
    name: Annotated[str | None, assets.new_name("data asset")] = None,
    version: assets.NewVersion = None,
    path: Annotated[
        str | None,
        flag("--path", "-p", metavar="PATH", parse=assets.location, help="A file, a folder, an address, azureml://..."),
    ] = None,
    type_: Annotated[
        str | None, flag("--type", "-t", metavar="TYPE", help="uri_file, uri_folder or mltable (default: what it is).")
    ] = None,
    description: Annotated[str | None, flag("--description", "-d", metavar="TEXT", help="What it is.")] = None,
    tags: assets.Tags,
    copy: assets.Copy,
    set_: Sets,
) -> None:
    """Register a file, a folder or an address, so that jobs can name it.

    In a job file: path: azureml:NAME:VERSION.
    Local files stay where they are, and a job that uses them is told when they have changed since; with --copy the
    workspace keeps a copy. A version is never changed.
    """
    given = assets.given(
        name=("--name", name),
        version=("--version", version),
        path=("--path", path),
        type=("--type", type_),
        description=("--description", description),
        tags=("--tags", assets.tags(tags)),
    )
    assets.create(session, assets.read(DATA, file, given, set_), copy=copy)


assets.Common(NOUN, DATA, "data assets", "iris").add()


@NOUN.command("import", "mlcli data import -f import.yml")
def import_(
    session: Session,
    *,
    file: Annotated[str | None, assets.file_flag("data asset")] = None,
    name: Annotated[str | None, assets.new_name("data asset")] = None,
    version: assets.NewVersion = None,
    path: Annotated[str | None, flag("--path", "-p", metavar="PATH", help="Where to.")] = None,
    type_: Annotated[str | None, flag("--type", "-t", metavar="TYPE", help="What it is.")] = None,
    description: Annotated[str | None, flag("--description", "-d", metavar="TEXT", help="What it is.")] = None,
    set_: Sets,
) -> None:
    """Not here: databases are read by a service of Azure's; a job of your own can do it."""
    del session, file, name, version, path, type_, description, set_
    raise UnsupportedError(
        "data import fetches from databases and drives by a service of Azure's, which mlcli has not",
        hint="fetch the data in a job, and give its output a 'name': it is registered when the job has completed",
    )


@NOUN.command("mount", "mlcli data mount --path azureml:iris:1")
def mount(
    session: Session,
    *,
    path: Annotated[str | None, flag("--path", metavar="PATH", help="What.")] = None,
    mode: Annotated[str | None, flag("--mode", metavar="MODE", help="How.")] = None,
    mount_point: Annotated[str | None, flag("--mount-point", metavar="FOLDER", help="Where.")] = None,
    persistent: Annotated[bool, flag("--persistent", help="For good.")],
) -> None:
    """Not here: data on this machine needs no mounting; `data show` says where it is."""
    del session, mode, mount_point, persistent
    raise UnsupportedError(
        "data mount is for storage of Azure's, which mlcli does not reach",
        hint=f"where {path or 'data'} is on this machine: mlcli data show --name NAME",
    )


@NOUN.command("share", "mlcli data share --name iris --version 1 --registry-name r")
def share(
    session: Session,
    *,
    name: Annotated[str | None, assets.new_name("data asset")] = None,
    version: assets.Version = None,
    registry_name: Annotated[str | None, flag("--registry-name", metavar="NAME", help="Which registry.")] = None,
    share_with_name: Annotated[str | None, flag("--share-with-name", metavar="NAME", help="Its name there.")] = None,
    share_with_version: Annotated[
        str | None, flag("--share-with-version", metavar="VERSION", help="Its version there.")
    ] = None,
) -> None:
    """Not here: there are no registries; another workspace can register the same path."""
    del session, version, registry_name, share_with_name, share_with_version
    raise UnsupportedError(
        "data share puts data into a registry of Azure's, and mlcli has no registries",
        hint=f"register the same path in the other workspace: mlcli data create -w OTHER --name {name or 'NAME'} --path PATH",
    )
