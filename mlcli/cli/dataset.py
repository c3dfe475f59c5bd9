"""``mlcli dataset``: data assets under the older names of these commands, from the files of 2020."""

from __future__ import annotations

from typing import Annotated

from mlcli.cli import assets
from mlcli.cli.command import Noun, Session
from mlcli.cli.options import ATTACHED_FOLDER, METADATA_OUT, Flag, flag, name_of_job
from mlcli.cli.tree import NOUNS
from mlcli.domain.errors import NameTakenError, NotFoundError, UsageError
from mlcli.operations.assets import DATA

NOUN = Noun(
    NOUNS["dataset"],
    ignored={
        "attached_folder": ATTACHED_FOLDER,
        "output_metadata_file": METADATA_OUT,
    },
)
Name = Annotated[
    str,
    Flag(
        ("--name", "-n", "--id", "-i"),
        "Name of the dataset; NAME:VERSION does too.",
        "NAME",
        named="dataset",
        parse=name_of_job,
        complete=assets.completer(DATA),
    ),
]


@NOUN.command("register", "mlcli dataset register -f dataset.json", "mlcli dataset register --show-template")
def register(
    session: Session,
    *,
    file: Annotated[
        str | None, flag("--file", "-f", metavar="FILE", help="The dataset's JSON; - reads standard input.")
    ] = None,
    show_template: Annotated[bool, flag("--show-template", help="Print what such a file looks like.")],
    skip_validation: Annotated[bool, flag("--skip-validation", help="Accepted and ignored.")],
) -> None:
    """Register data, so that jobs can name it: path: azureml:NAME:VERSION.

    A dataset here is a data asset: a file, a folder, or an address. `mlcli data` shows the same ones.
    """
    from mlcli.cli import jobfile
    from mlcli.operations.files import DiskFiles
    from mlcli.spec.assets import read_asset
    from mlcli.spec.datasets import TEMPLATE, read_dataset

    del skip_validation
    if show_template:
        session.console.emit(dict(TEMPLATE))
        return
    if file is None:
        raise UsageError("which dataset? give --file FILE", hint="--show-template prints what it looks like")
    source = jobfile.source(file)
    dataset = read_dataset(source.text, source.name)
    name = str(dataset.keys["name"])
    if not dataset.new_version and name in session.services.assets.names(DATA):
        raise NameTakenError(
            f"there is a dataset {name!r} already", hint='a further version of it: "createNewVersion": true in the file'
        )
    flags = {f"{source.name}: {key}": ((key,), value) for key, value in dataset.keys.items()}
    written = read_asset(DATA, None, source.name, source.base, DiskFiles(), flags=flags)
    assets.tell(session, dataset.notices)
    assets.create(session, written)


@NOUN.command("list", "mlcli dataset list -o table")
def list_(session: Session) -> None:
    """List the datasets: names with their latest versions."""
    from mlcli.cli import asset_views
    from mlcli.operations import assets as operation

    found = operation.listing(session.services, DATA, None, include_archived=False, archived_only=False)
    session.console.emit(found, view=asset_views.listing("datasets"), columns=asset_views.name_row)


@NOUN.command("show", "mlcli dataset show -n iris", "mlcli dataset show -n iris -v 2")
def show(session: Session, *, name: Name, version: assets.Version = None) -> None:
    """Show a dataset."""
    from mlcli.operations import assets as operation

    wanted = None if version == "latest" else version
    assets.emit(session, operation.find(session.services, DATA, assets.reference(DATA, name, wanted, None)))


@NOUN.command("archive", "mlcli dataset archive -n iris")
def archive(session: Session, *, name: Name) -> None:
    """Hide a dataset from lists; it can still be used by its version."""
    _hide(session, name, archived=True)


@NOUN.command("deprecate", "mlcli dataset deprecate -n iris --deprecate-by-id iris2")
def deprecate(
    session: Session,
    *,
    name: Name,
    by: Annotated[
        str | None, flag("--deprecate-by-id", "-d", metavar="NAME", help="The dataset to use in its place.")
    ] = None,
) -> None:
    """Hide a dataset, and say which one takes its place (the tag deprecated_by)."""
    from mlcli.operations import assets as operation

    if by is None:
        raise UsageError("which dataset takes its place? give --deprecate-by-id NAME")
    successor = operation.find(session.services, DATA, assets.reference(DATA, by, None, None))
    found = operation.find(session.services, DATA, assets.reference(DATA, name, None, None))
    change = assets.changes(DATA, [f"tags.deprecated_by={successor.name}"], [], [], [])
    session.services.assets.edit(DATA, found.name, found.version, change)
    _hide(session, name, archived=True)


@NOUN.command("reactivate", "mlcli dataset reactivate -n iris")
def reactivate(session: Session, *, name: Name) -> None:
    """Show again what was archived or deprecated."""
    _hide(session, name, archived=False)


def _hide(session: Session, name: str, *, archived: bool) -> None:
    from mlcli.operations import assets as operation

    operation.archive(session.services, DATA, assets.reference(DATA, name, None, None), archived=archived)


@NOUN.command("unregister", "mlcli dataset unregister -n iris")
def unregister(session: Session, *, name: Name) -> None:
    """Forget a dataset with all its versions; files that it refers to stay where they are."""
    about = assets.reference(DATA, name, None, None)
    if about.name not in session.services.assets.names(DATA):
        raise NotFoundError(f"there is no dataset {about.name!r}", hint="mlcli dataset list")
    session.services.assets.delete(DATA, about.name, about.version)
    session.console.notice(f"unregistered {about}")
