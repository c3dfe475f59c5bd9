"""``mlcli folder``: folders that are attached to a workspace and an experiment, as the first Azure ML command line has them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from mlcli.cli.command import Noun, Session
from mlcli.cli.options import METADATA_OUT, flag, folder_here
from mlcli.cli.render import write_record
from mlcli.cli.tree import NOUNS

if TYPE_CHECKING:
    from rich.console import RenderableType

NOUN = Noun(NOUNS["folder"])

Place = Annotated[Path, flag("--path", metavar="FOLDER", parse=folder_here, help="The folder (default: here).")]
Metadata = Annotated[Path | None, METADATA_OUT]


@NOUN.command(
    "attach",
    "mlcli folder attach",
    "mlcli folder attach -w research -e iris",
    "mlcli folder attach --path ./project -e iris",
)
def attach(
    session: Session,
    *,
    path: Place = Path(),
    experiment_name: Annotated[
        str | None, flag("--experiment-name", "-e", metavar="NAME", help="The experiment (default: the folder's name).")
    ] = None,
    output_metadata_file: Metadata = None,
) -> None:
    """Attach a folder to a workspace and an experiment.

    Commands that are typed in it or below it then work in that workspace, and what they submit belongs to that experiment.
    A run configuration for each compute, a conda file and an ignore file are written; what is there already stays as it is.
    """
    from mlcli.operations import folder

    session.folder = path
    _show(session, folder.attach(session.services, path.absolute(), experiment_name), output_metadata_file)


@NOUN.command("show", "mlcli folder show", "mlcli folder show --path ./project -o yaml")
def show(session: Session, *, path: Place = Path(), output_metadata_file: Metadata = None) -> None:
    """Show what the folder, or one above it, is attached to."""
    from mlcli.operations import folder

    found = folder.show(path.absolute())
    if "azure" in found:
        session.console.notice(found["azure"])
    _show(session, found, output_metadata_file)


@NOUN.command("detach", "mlcli folder detach", "mlcli folder detach --path ./project")
def detach(session: Session, *, path: Place = Path()) -> None:
    """Forget what the folder, or one above it, is attached to.

    Run configurations and everything else stay. The settings of a folder of Azure are kept, as config.azure.json.
    """
    from mlcli.operations import folder

    done = folder.detach(path.absolute())
    kept = f"; its settings are kept as {done['kept_as']}" if done["kept_as"] else ""
    session.console.notice(f"{done['folder']} is no longer attached{kept}")


def _show(session: Session, record: dict[str, Any], metadata: Path | None) -> None:
    if metadata is not None:
        write_record(record, metadata)
    session.console.emit(record, view=_view, columns=_row)


def _view(record: Any) -> RenderableType:
    from mlcli.cli import views

    return views.facts({key: ", ".join(value) if isinstance(value, list) else value for key, value in record.items()})


def _row(record: Any) -> dict[str, Any]:
    return {"Folder": record["folder"], "Workspace": record["workspace"], "Experiment": record["experiment_name"]}
