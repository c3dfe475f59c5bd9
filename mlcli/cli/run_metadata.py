"""``--output-metadata-file``: a run as JSON in a file, which the next command of a script reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from mlcli.cli.render import write_record
from mlcli.domain.errors import MlcliError, NotFoundError, UsageError

if TYPE_CHECKING:
    from mlcli.cli.command import Session

_NAMES = ("runId", "run_id", "name")


def named(session: Session, run: str | None, file: Path | None) -> str:
    """The run that is meant: the one that is named, else that of the file. Raises UsageError where there is neither,
    NotFoundError for a run of another workspace.
    """
    if run is not None:
        return run
    if file is None:
        raise UsageError("which run? give --run RUN")
    try:
        found = json.loads(file.read_bytes())
    except FileNotFoundError:
        raise NotFoundError(f"there is no file {file}", hint="which run? give --run RUN") from None
    except (OSError, ValueError) as error:
        raise MlcliError(f"{file} cannot be read: {getattr(error, 'strerror', None) or 'it is not JSON'}") from error
    name = next((found[key] for key in _NAMES if key in found), None) if isinstance(found, dict) else None
    if not isinstance(name, str):
        raise MlcliError(f"{file} names no run", hint="mlcli run submit-script -t FILE writes one that does")
    workspace = found.get("workspace")
    if isinstance(workspace, str) and workspace != session.services.name:
        raise NotFoundError(
            f"{file} names a run of the workspace {workspace!r}, and this is {session.services.name!r}",
            hint=f"add: --workspace-name {workspace}",
        )
    return name


def keep(session: Session, name: str, file: Path | None) -> None:
    """Write the run, as it is now, to the file, if there is one: also to one that it was read from."""
    if file is None:
        return
    from mlcli.operations import observe
    from mlcli.operations.records import record

    run = observe.get(session.services, name)
    shown = record(session.services, run)
    write_record({"runId": run.name, "experimentName": run.experiment_name, "target": run.compute, **shown}, file)
