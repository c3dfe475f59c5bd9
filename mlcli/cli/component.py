"""``mlcli component``: steps for pipelines, under a name and a version."""

from __future__ import annotations

from typing import Annotated

from mlcli.cli import assets
from mlcli.cli.command import Noun, Session
from mlcli.cli.options import Sets
from mlcli.cli.tree import NOUNS
from mlcli.operations.assets import COMPONENT

NOUN = Noun(NOUNS["component"], ignored=assets.IGNORED)


@NOUN.command(
    "create", "mlcli component create -f train.yml", "mlcli component create -f train.yml --name train --version 3"
)
def create(
    session: Session,
    *,
    file: Annotated[str | None, assets.file_flag("component")] = None,
    name: Annotated[str | None, assets.new_name("component")] = None,
    version: assets.NewVersion = None,
    set_: Sets,
) -> None:
    """Register a component, with a copy of its code folder.

    A version is never changed.
    """
    given = assets.given(name=("--name", name), version=("--version", version))
    assets.create(session, assets.read(COMPONENT, file, given, set_))


assets.Common(NOUN, COMPONENT, "components", "train").add()
