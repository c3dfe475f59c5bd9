"""``mlcli experiment``: the names under which jobs are grouped."""

from __future__ import annotations

from typing import Annotated, Any

from mlcli.cli.command import Noun, Session
from mlcli.cli.options import ATTACHED_FOLDER, METADATA_OUT, Flag, flag, flags
from mlcli.cli.tree import NOUNS
from mlcli.domain.errors import MlcliError

NOUN = Noun(
    NOUNS["experiment"],
    ignored={
        "attached_folder": ATTACHED_FOLDER,
        "output_metadata_file": METADATA_OUT,
    },
)


def complete_experiment(typed: str, workspace: str | None) -> list[str]:
    """Names of experiments that start so. Completion never fails."""
    from mlcli.operations import experiments
    from mlcli.workspace import open_workspace

    try:
        found = experiments.list_all(open_workspace(workspace), archived=None)
    except MlcliError:
        return []
    return [record["name"] for record in found if record["name"].startswith(typed)]


Name = Annotated[
    str,
    Flag(
        ("--name", "-n", "--experiment-name", "-e"),
        "Name of the experiment.",
        "NAME",
        named="experiment",
        complete=complete_experiment,
    ),
]


@NOUN.command("create", "mlcli experiment create iris --description 'Which learning rate' --tags team=vision")
def create(
    session: Session,
    *,
    name: Name,
    description: Annotated[str | None, flag("--description", metavar="TEXT", help="What it is for.")] = None,
    tags: Annotated[list[str], flags("--tags", "-t", metavar="KEY=VALUE", help="Tags; several may follow.")],
) -> None:
    """Describe an experiment, before or after it has jobs.

    A job makes the experiment that it names (experiment_name) by itself.
    """
    from mlcli.operations import experiments

    pairs = {key: value for key, _, value in (text.partition("=") for text in tags)}
    _show(session, experiments.create(session.services, name, description, pairs))


@NOUN.command("list", "mlcli experiment list", "mlcli experiment list --include-archived -o table")
def list_(
    session: Session,
    *,
    include_archived: Annotated[bool, flag("--include-archived", help="Archived ones too.")],
    archived_only: Annotated[bool, flag("--archived-only", help="Archived ones only.")],
) -> None:
    """List experiments, the one with the newest job first."""
    from mlcli.cli import metric_views
    from mlcli.operations import experiments

    archived = True if archived_only else (None if include_archived else False)
    found = experiments.list_all(session.services, archived=archived)
    session.console.emit(found, view=metric_views.experiments, columns=_row)


@NOUN.command("show", "mlcli experiment show iris")
def show(session: Session, *, name: Name) -> None:
    """Show an experiment, and how many jobs of each status it has."""
    from mlcli.operations import experiments

    _show(session, experiments.show(session.services, name))


@NOUN.command("archive", "mlcli experiment archive iris")
def archive(session: Session, *, name: Name) -> None:
    """Hide an experiment from the list; its jobs stay as they are."""
    from mlcli.operations import experiments

    experiments.archive(session.services, name, archived=True)


@NOUN.command("restore", "mlcli experiment restore iris")
def restore(session: Session, *, name: Name) -> None:
    """Show an archived experiment in the list again."""
    from mlcli.operations import experiments

    experiments.archive(session.services, name, archived=False)


def _show(session: Session, record: dict[str, Any]) -> None:
    from mlcli.cli import views

    def view(shown: dict[str, Any]) -> Any:
        return views.facts({**shown, "tags": views.pairs(shown["tags"]), "status": views.pairs(shown["status"])})

    session.console.emit(record, view=view, columns=_row)


def _row(record: Any) -> dict[str, Any]:
    return {
        "Name": record["name"],
        "Jobs": record["runs"],
        "Last job": record["last_run"],
        "Description": record["description"],
        "Archived": record["archived"],
    }
