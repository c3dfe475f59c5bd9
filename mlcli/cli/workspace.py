"""``mlcli workspace``: the places where jobs, snapshots, environments and computes are kept."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from mlcli.cli import actions
from mlcli.cli.command import Noun, Session
from mlcli.cli.options import ATTACHED_FOLDER, METADATA_OUT, Flag, Sets, Yes, flag, flags
from mlcli.cli.tree import NOUNS
from mlcli.domain.errors import MlcliError, NameTakenError, UsageError


def _idle(*names: str, metavar: str | None = "VALUE") -> Flag:
    return flag(*names, metavar=metavar, help="Accepted and ignored.")


NOUN = Noun(
    NOUNS["workspace"],
    ignored={
        "no_wait": _idle("--no-wait", metavar=None),
        "location": _idle("--location", "-l"),
        "storage_account": _idle("--storage-account", "-s"),
        "key_vault": _idle("--key-vault", "--keyvault", "-k"),
        "container_registry": _idle("--container-registry", "-c"),
        "application_insights": _idle("--application-insights", "-a"),
        "image_build_compute": _idle("--image-build-compute", "-i"),
        "managed_network": _idle("--managed-network", "-m"),
        "public_network_access": _idle("--public-network-access"),
        "sku": _idle("--sku"),
        "update_dependent_resources": _idle("--update-dependent-resources", "-u", metavar=None),
        "hbi_workspace": _idle("--hbi-workspace", metavar=None),
        "all_resources": _idle("--all-resources", metavar=None),
        "permanently_delete": _idle("--permanently-delete", "-p", metavar=None),
        "max_results": _idle("--max-results", "--max-pages", "-r"),
        "attached_folder": ATTACHED_FOLDER,
        "output_metadata_file": METADATA_OUT,
    },
)
_KEPT = ("display_name", "description", "tags")


def complete_workspace(typed: str, _workspace: str | None) -> list[str]:
    """Names of workspaces that start so. Completion never fails."""
    from mlcli.stores import workspaces
    from mlcli.workspace import home

    try:
        return [name for name in workspaces.names(home()) if name.startswith(typed)]
    except MlcliError:
        return []


Name = Annotated[
    str | None,
    Flag(
        ("--name", "-n"),
        "Name of the workspace.",
        "NAME",
        named="workspace",
        required=False,
        complete=complete_workspace,
    ),
]


def _chosen(session: Session, name: str | None) -> None:
    if name is not None:
        session.workspace_name = name


def _named(session: Session, name: str | None) -> str:
    """The workspace that the command is about: 2021 named it by -w."""
    found = name or session.workspace_name
    if found is None:
        raise UsageError("which workspace? give --name NAME")
    return found


@NOUN.command(
    "create",
    "mlcli workspace create research",
    "mlcli workspace create --name research --description 'Trials of the spring' --tags team=vision",
)
def create(
    session: Session,
    *,
    name: Name = None,
    file: Annotated[
        str | None, flag("--file", "-f", metavar="FILE", help="A workspace's YAML; - reads standard input.")
    ] = None,
    display_name: Annotated[
        str | None, flag("--display-name", "--friendly-name", metavar="TEXT", help="A name to show.")
    ] = None,
    description: Annotated[str | None, flag("--description", metavar="TEXT", help="What it is for.")] = None,
    tags: Annotated[list[str], flags("--tags", "-t", metavar="KEY=VALUE", help="Tags; several may follow.")],
    exist_ok: Annotated[bool, flag("--exist-ok", help="It may be there already.")],
    set_: Sets,
    yes: Yes,
) -> None:
    """Make a workspace. The one named default is there without."""
    from mlcli.stores import workspaces
    from mlcli.workspace import home

    del yes
    facts = _facts(session, file, set_)
    given = {"display_name": display_name, "description": description}
    facts.update({key: value for key, value in given.items() if value is not None})
    if tags:
        facts["tags"] = {key: value for key, _, value in (text.partition("=") for text in tags)}
    chosen = _named(session, name or facts.get("name"))
    try:
        workspaces.create(home(), chosen, {key: facts[key] for key in _KEPT if key in facts})
    except NameTakenError:
        if not exist_ok:
            raise
    session.workspace_name = chosen
    _show(session)


def _facts(session: Session, file: str | None, overrides: list[str]) -> dict[str, Any]:
    """What a workspace's file says, with what is set."""
    from mlcli.cli import jobfile
    from mlcli.spec.load import load
    from mlcli.spec.overrides import apply

    source = jobfile.source(file) if file is not None else None
    document = load(source.text if source else "{}", source.name if source else "workspace")
    facts = dict(apply(document, overrides).tree)
    if not isinstance(facts.get("tags", {}), Mapping) or not isinstance(facts.get("name", ""), str):
        raise UsageError("the name of a workspace is a text, its tags are a map")
    idle = sorted(set(facts) - {*_KEPT, "name", "$schema"})
    if idle:
        session.console.notice(f"without meaning here, and not kept: {', '.join(idle)}")
    return facts


@NOUN.command("list", "mlcli workspace list -o table")
def list_(session: Session) -> None:
    """List the workspaces."""
    from mlcli.cli import compute_views
    from mlcli.stores import workspaces
    from mlcli.workspace import home

    where = home()
    current = _in_use(session, where)
    found = [_record(where, name, current) for name in workspaces.names(where)]
    session.console.emit(found, view=compute_views.table(_row, "no workspaces"), columns=_row)


def _in_use(session: Session, where: Path) -> str:
    """The workspace that commands typed here work in: as a variable or the attached folder says, else as it was chosen."""
    from mlcli.stores import workspaces
    from mlcli.workspace import open_workspace

    try:
        return open_workspace(None, session.folder and session.folder.absolute()).name
    except MlcliError:  # the folder's settings are damaged, or name one that is gone
        return workspaces.in_use(where)


def _record(where: Any, name: str, current: str) -> dict[str, Any]:
    from mlcli.operations.times import iso_time
    from mlcli.stores import workspaces

    facts = workspaces.facts(where, name)
    return {
        "name": name,
        "display_name": facts.get("display_name"),
        "description": facts.get("description"),
        "tags": facts.get("tags") or {},
        "created_at": iso_time(facts.get("created_at")),
        "in_use": name == current,
        "folder": str(workspaces.folder(where, name)),
    }


def _row(record: Any) -> dict[str, Any]:
    return {
        "Name": record["name"],
        "In use": "yes" if record["in_use"] else "",
        "Description": record["description"],
        "Folder": record["folder"],
    }


@NOUN.command("show", "mlcli workspace show", "mlcli workspace show -n research -o yaml")
def show(session: Session, *, name: Name = None) -> None:
    """Show a workspace: its folder, its settings, how many jobs it holds."""
    _chosen(session, name)
    _show(session)


def _show(session: Session) -> None:
    from dataclasses import asdict

    from mlcli.cli import views
    from mlcli.domain.run import RunFilter
    from mlcli.operations import observe
    from mlcli.workspace import home

    services = session.services
    runs = observe.list_runs(services, RunFilter(include_archived=True))
    where = home()
    record = {
        **_record(where, services.name, _in_use(session, where)),
        "jobs": len(runs),
        "live_jobs": sum(not run.state.is_end for run in runs),
        "archived_jobs": sum(run.archived for run in runs),
        "settings": asdict(services.settings),
    }
    session.console.emit(record, view=views.workspace, columns=_row)


@NOUN.command("use", "mlcli workspace use research", "mlcli workspace use default")
def use(session: Session, *, name: Name = None) -> None:
    """Work in a workspace from now on, where no other is named by -w or MLCLI_WORKSPACE."""
    from mlcli.operations import attached
    from mlcli.stores import workspaces
    from mlcli.workspace import home

    chosen = _named(session, name)
    workspaces.use(home(), chosen)
    session.console.notice(f"workspace {chosen} is in use from now on")
    named = os.environ.get("MLCLI_WORKSPACE")
    if named and named != chosen:
        session.console.warn(f"MLCLI_WORKSPACE names {named!r}, and comes first")
    found = attached.find(Path.cwd())
    if found is not None and found.workspace not in {None, chosen}:
        session.console.warn(f"in {found.folder} and below it {found.file} names {found.workspace!r}, and comes first")


@NOUN.command("delete", "mlcli workspace delete research", "mlcli workspace delete --name research --yes")
def delete(
    session: Session,
    *,
    name: Name = None,
    force: Annotated[bool, flag("--force", help="Though jobs are live in it: cancel them.")],
    yes: Yes,
) -> None:
    """Delete a workspace for good, with its jobs and all else that is in it."""
    from mlcli.cli.sizes import size
    from mlcli.domain.run import RunFilter
    from mlcli.operations import manage, observe
    from mlcli.stores import workspaces
    from mlcli.workspace import home

    session.workspace_name = chosen = _named(session, name)
    services = session.services
    runs = observe.list_runs(services, RunFilter(include_archived=True)) if services.root.is_dir() else []
    live = [run.name for run in runs if not run.state.is_end]
    if live and not force:
        shown = ", ".join(live[:5]) + (", ..." if len(live) > 5 else "")
        raise MlcliError(
            f"jobs are live in workspace {chosen}: {shown}", hint="wait for them, or end them with: --force"
        )
    actions.ask(session, f"Delete workspace {chosen} with {len(runs)} jobs and all that they made?", yes=yes)
    manage.end_all(services, live)
    freed = workspaces.delete(home(), chosen)
    session.console.notice(f"deleted workspace {chosen}: {size(freed)} freed")


@NOUN.command("reindex", "mlcli workspace reindex")
def reindex(session: Session, *, name: Name = None) -> None:
    """Rebuild the index from the run folders, which are the truth."""
    from mlcli.cli import views

    _chosen(session, name)
    runs = session.services.runs
    found = runs.reindex()
    problems = list(runs.reindex_problems)
    session.console.emit({"name": session.services.name, "jobs": found, "problems": problems}, view=views.facts)
