"""``mlcli datastore``: folders for data, under a name."""

from __future__ import annotations

from typing import Annotated, Any

from mlcli.cli import actions, asset_views, assets
from mlcli.cli.command import Noun, Session
from mlcli.cli.options import Sets, Yes, flag
from mlcli.cli.tree import NOUNS
from mlcli.operations.assets import DATASTORE

NOUN = Noun(NOUNS["datastore"], ignored=assets.IGNORED)
Name = Annotated[str, assets.named(DATASTORE, "Name of the datastore.")]
IncludeSecrets = Annotated[
    bool, flag("--include-secrets", "-i", help="Accepted: mlcli keeps no secrets, so there are none to show.")
]
File = Annotated[str | None, assets.file_flag("datastore")]
Path_ = Annotated[str | None, flag("--path", "-p", metavar="FOLDER", parse=assets.location, help="The folder.")]
Description = Annotated[str | None, flag("--description", "-d", metavar="TEXT", help="What it is for.")]


@NOUN.command(
    "create",
    "mlcli datastore create --name lake --type local --path /mnt/lake",
    "mlcli datastore create -f datastore.yml",
    "mlcli datastore create --name workspaceblobstore --type local --path /mnt/data",
)
def create(
    session: Session,
    *,
    file: File = None,
    name: Annotated[str | None, assets.new_name(DATASTORE)] = None,
    type_: Annotated[str | None, flag("--type", "-t", metavar="TYPE", help="local, azure_blob, ...")] = None,
    path: Path_ = None,
    description: Description = None,
    set_: Sets,
) -> None:
    """Make a datastore: a folder that jobs name as azureml://datastores/NAME/paths/PATH.

    One of a type of Azure's is kept, but jobs cannot use it; its secrets are not kept. workspaceblobstore, the default, is a
    folder of the workspace until you make one of that name.
    """
    from mlcli.operations import datastores

    given = assets.given(
        name=("--name", name),
        type=("--type", type_),
        path=("--path", path),
        description=("--description", description),
    )
    record, notices = datastores.make(session.services, assets.read(DATASTORE, file, given, set_))
    assets.tell(session, notices)
    _emit(session, record)


def _emit(session: Session, record: dict[str, Any]) -> None:
    session.console.emit(record, view=asset_views.version, columns=asset_views.datastore_row)


@NOUN.command("list", "mlcli datastore list", "mlcli datastore list -o table")
def list_(session: Session, *, include_secrets: IncludeSecrets, max_results: assets.MaxResults = None) -> None:
    """List datastores.

    workspaceblobstore and workspaceartifactstore are there without being made.
    """
    from mlcli.operations import datastores

    del include_secrets
    found = datastores.listing(session.services)[:max_results]
    session.console.emit(found, view=asset_views.listing("datastores"), columns=asset_views.datastore_row)


@NOUN.command("show", "mlcli datastore show --name workspaceblobstore")
def show(session: Session, *, name: Name, include_secrets: IncludeSecrets) -> None:
    """Show a datastore."""
    from mlcli.operations import datastores

    del include_secrets
    _emit(session, datastores.get(session.services, name))


@NOUN.command(
    "update", "mlcli datastore update -n lake --set path=/mnt/lake2", "mlcli datastore update -n lake -f datastore.yml"
)
def update(
    session: Session,
    *,
    name: Name,
    file: File = None,
    path: Path_ = None,
    description: Description = None,
    set_: Sets,
    add: assets.Add,
    remove: assets.Remove,
) -> None:
    """Define a datastore anew, by a file or by what changes.

    Jobs that run keep the paths that they have.
    """
    from mlcli.operations import datastores

    given = assets.given(name=("--name", name), path=("--path", path), description=("--description", description))
    changed = [*set_, *add]
    written = assets.read(DATASTORE, file, given, changed) if file else _changed(session, name, given, changed, remove)
    record, notices = datastores.replace(session.services, written)
    assets.tell(session, notices)
    _emit(session, record)


def _changed(session: Session, name: str, given: assets.Given, overrides: list[str], removes: list[str]) -> Any:
    """What it is now, with the changes put in."""
    from mlcli.domain.errors import UsageError
    from mlcli.operations import datastores

    if not (overrides or removes or any(value for path, value in given.values() if path != ("name",))):
        raise UsageError("nothing to change", hint="--path FOLDER, --set description='...', or a --file")
    now = datastores.definition(session.services, name)
    for key in removes:
        section, _, entry = key.partition(".")
        if entry and entry in (now.get(section) or {}):
            now[section] = assets.without(now[section], entry)
        elif not entry and key in now:
            del now[key]
        else:
            raise UsageError(f"--remove {key}: the datastore has no such entry", hint=f"it has: {', '.join(now)}")
    before: assets.Given = {f"the {key}": ((key,), value) for key, value in now.items()}
    return assets.read(
        DATASTORE, None, {**before, **{flag_: each for flag_, each in given.items() if each[1]}}, overrides
    )


@NOUN.command("delete", "mlcli datastore delete -n lake --yes")
def delete(session: Session, *, name: Name, yes: Yes) -> None:
    """Forget a datastore; the files in it stay where they are."""
    from mlcli.operations import datastores

    datastores.get(session.services, name)
    actions.ask(session, f"Forget the datastore {name}? Its files stay.", yes=yes)
    datastores.delete(session.services, name)
    session.console.notice(f"deleted the datastore {name}; its files stay where they are")
