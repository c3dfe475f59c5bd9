"""``mlcli data``: files for jobs to read, under a name and a version."""

from __future__ import annotations

from typing import Annotated

from mlcli.cli import assets
from mlcli.cli.command import Noun, Session
from mlcli.cli.options import Sets, flag
from mlcli.cli.tree import NOUNS
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
