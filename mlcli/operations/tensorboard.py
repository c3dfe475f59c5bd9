"""TensorBoard's event files of a run, where TensorBoard can read them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mlcli.domain.run import Run
from mlcli.operations import layout
from mlcli.operations.run_files import RunFilesOf
from mlcli.ports.services import Services

_MARK = "tfevents"


@dataclass(frozen=True)
class Place:
    """A folder of this machine, and the event files below it: relative path -> bytes."""

    folder: Path
    files: Mapping[str, int]


def bring(services: Services, run: Run, folder: Path | None) -> Place:
    """Where the run's event files are. With ``folder``, below that: copies, brought up to date. Raises TransportError."""
    files = RunFilesOf(services, run)
    sizes = {path: size for path, size in files.below(layout.LOGS).items() if _MARK in Path(path).name}
    near = services.runs.folder(run.name)
    place = near / layout.LOGS
    for path in sizes:
        local = files.local(f"{layout.LOGS}/{path}")
        if local is not None and folder is not None:
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists() or target.stat().st_size != local.stat().st_size:
                shutil.copy2(local, target)
        elif local is not None and not local.is_relative_to(place):
            place = near / layout.TRACKED / layout.LOGS
    if services.backend(run.backend).is_far:
        place = near / layout.TRACKED / layout.LOGS
    return Place(folder or place, sizes)
