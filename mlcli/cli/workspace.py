"""``mlcli workspace``: the place where runs and snapshots are kept."""

from __future__ import annotations

from typing import Annotated

from mlcli.cli.command import Noun, Session
from mlcli.cli.options import Flag
from mlcli.cli.tree import NOUNS

NOUN = Noun(NOUNS["workspace"])

WorkspaceName = Annotated[
    str | None, Flag(("--name", "-n"), "Name of the workspace.", "NAME", named="workspace", required=False)
]


def _chosen(session: Session, name: str | None) -> None:
    if name is not None:
        session.workspace_name = name


@NOUN.command("show", "mlcli workspace show", "mlcli workspace show -n research -o yaml")
def show(session: Session, *, name: WorkspaceName = None) -> None:
    """Show a workspace: its folder, its settings, how many jobs it holds."""
    from dataclasses import asdict

    from mlcli.cli import views
    from mlcli.domain.run import RunFilter
    from mlcli.operations import observe

    _chosen(session, name)
    services = session.services
    runs = observe.list_runs(services, RunFilter(include_archived=True))
    record = {
        "name": services.name,
        "folder": str(services.root),
        "jobs": len(runs),
        "live_jobs": sum(not run.state.is_end for run in runs),
        "archived_jobs": sum(run.archived for run in runs),
        "settings": asdict(services.settings),
    }
    session.console.emit(record, view=views.workspace)


@NOUN.command("reindex", "mlcli workspace reindex")
def reindex(session: Session, *, name: WorkspaceName = None) -> None:
    """Rebuild the index from the run folders, which are the truth."""
    from mlcli.cli import views

    _chosen(session, name)
    runs = session.services.runs
    found = runs.reindex()
    problems = list(runs.reindex_problems)
    session.console.emit({"name": session.services.name, "jobs": found, "problems": problems}, view=views.facts)
