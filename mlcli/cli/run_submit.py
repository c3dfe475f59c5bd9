"""``run submit-script`` and ``run submit-hyperdrive``: from a run configuration to a run."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mlcli.cli import jobfile, run_metadata, submitting
from mlcli.domain.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from mlcli.cli.command import Session
    from mlcli.cli.run_wish import Wish
    from mlcli.domain.run import Run
    from mlcli.spec.runconfig import Runconfig

_NOT_SEARCHED = frozenset({".git", "__pycache__", "node_modules", "outputs", "logs"})


def script(session: Session, wish: Wish) -> None:
    """Submit the script of a run configuration, and follow it."""
    from mlcli.operations import names, registry_password
    from mlcli.operations.made_computes import made_for, name_of
    from mlcli.operations.plan import plan as make_plan

    found = _runconfig(session, wish)
    job = registry_password.set_apart(jobfile.in_experiment(session, found.job))
    job = replace(job, name=names.generate())
    made = found.made_compute
    if made is not None and wish.dry_run:
        stays = "" if made.keep else ", and removed after it"
        session.console.notice(f"the compute {name_of(made, job)} would be made for the run{stays}")
    with made_for(session.services, None if wish.dry_run else made, job, session.console.notice) as job:
        plan = make_plan(session.services, job, in_container=wish.in_container)
        registry_password.forget_on_host(plan)
        if wish.dry_run:
            submitting.show_plan(session, plan)
            return
        _after_begun(session, submitting.submit(session, job, plan), wish)


def hyperdrive(session: Session, wish: Wish, configuration: str) -> None:
    """Submit a sweep over the arguments of a run configuration's script, and follow it."""
    from mlcli.cli import sweep_actions
    from mlcli.operations.files import DiskFiles
    from mlcli.spec.hyperdrive_sweep import read_hyperdrive_sweep

    found = _runconfig(session, wish)
    if found.made_compute is not None:
        raise UsageError("a compute is made for single runs only", hint="make one, and give its name: --target NAME")
    file = _hyperdrive_file(configuration, _folders(session, wish))
    sweep, warnings = read_hyperdrive_sweep(
        file.read_bytes(), _shown(file), file.parent, DiskFiles(), jobfile.in_experiment(session, found.job)
    )
    jobfile.show_diagnostics(session, warnings)
    run = sweep_actions.create(
        session, sweep, given=str(file), save_as=None, in_container=wish.in_container, dry_run=wish.dry_run
    )
    if run is not None:
        _after_begun(session, run, wish)


def _after_begun(session: Session, run: Run, wish: Wish) -> None:
    """As v1 does: follow it, unless it is asynchronous."""
    run_metadata.keep(session, run.name, wish.output_metadata_file)
    if wish.asynchronous:
        submitting.show_created(session, run)
        return
    try:
        submitting.stream_to_end(session, run, hand_on_code=False)
    finally:
        run_metadata.keep(session, run.name, wish.output_metadata_file)


def _runconfig(session: Session, wish: Wish) -> Runconfig:
    """The run configuration with what was typed, its warnings shown."""
    from mlcli.operations.files import DiskFiles
    from mlcli.operations.folder import configuration
    from mlcli.spec.runconfig import Changes, read_runconfig

    folders = _folders(session, wish)
    source = _source(session, wish)
    attached = session.services.attached
    if attached is not None and attached.azure is not None:
        session.console.notice(f"{attached.of_azure}: this run belongs to the workspace {session.services.name!r}")
    if wish.configuration is None:
        if not wish.words:
            raise UsageError(
                "which script? give it after the flags", hint="mlcli run submit-script train.py --rate 0.1"
            )
        text, shown, base = _system_managed(folders), "the run configuration of a run without one", folders[0]
    else:
        file, base = configuration(folders, wish.configuration)
        text, shown = file.read_bytes(), _shown(file)
    changes = Changes(
        script=wish.words[0] if wish.words else None,
        arguments=tuple(wish.words[1:]) or None,
        target=wish.target,
        conda_file=_conda_file(wish, folders),
        source=source,
        experiment_name=wish.experiment,
    )
    _check_script(changes.script, source)
    found = read_runconfig(text, shown, base, DiskFiles(), changes=changes)
    jobfile.show_diagnostics(session, found.warnings)
    return found


def _conda_file(wish: Wish, folders: list[Path]) -> Path | None:
    if wish.conda_file is None:
        return None
    for place in (wish.conda_file.absolute(), *(folder / wish.conda_file for folder in folders)):
        if place.is_file():
            return place
    raise NotFoundError(f"--conda-dependencies: there is no file {wish.conda_file}")


def _system_managed(folders: list[Path]) -> bytes:
    """Without a run configuration: this machine, in an environment made of the folder's conda file, else of Python alone."""
    from mlcli.operations.attached import SETTINGS
    from mlcli.operations.folder_files import CONDA_FILE, PYTHON_ALONE

    files = (folder / settings / CONDA_FILE for folder in folders for settings in SETTINGS)
    file = next((file for file in files if file.is_file()), None)
    python = {"condaDependencies": PYTHON_ALONE} if file is None else {"condaDependenciesFile": str(file)}
    return json.dumps({"target": "local", "environment": {"python": python}}).encode()


def _check_script(script: str | None, source: Path) -> None:
    if script is None:
        return
    if not Path(os.path.normpath(source / script)).is_relative_to(source):
        raise NotFoundError(
            f"the script {script!r} is outside the source directory {source}, of which the run has a copy",
            hint="give a folder that holds it: --source-directory FOLDER",
        )
    if not (source / script).is_file():
        beside = f"; there is one at {Path(script).absolute()}" if Path(script).is_file() else ""
        raise NotFoundError(
            f"there is no script {script!r} in the source directory {source}{beside}",
            hint="its path starts at the source directory: --source-directory FOLDER",
        )


def _folders(session: Session, wish: Wish) -> list[Path]:
    """Where run configurations are looked for: the folder that is worked in, the source directory, the attached folder."""
    attached = session.services.attached
    found = [_folder(session), _source(session, wish), *([attached.folder] if attached else [])]
    return list(dict.fromkeys(found))


def _folder(session: Session) -> Path:
    folder = session.folder or Path.cwd()
    if not folder.is_dir():
        raise NotFoundError(f"--path: there is no folder {folder}")
    return folder


def _source(session: Session, wish: Wish) -> Path:
    """The folder of the code: as it was typed, also from the folder that is worked in."""
    folder = _folder(session)
    if wish.source is None:
        return folder
    for place in (folder / wish.source, wish.source.absolute()):
        if place.is_dir():
            return Path(os.path.normpath(place))
    raise NotFoundError(f"--source-directory: there is no folder {folder / wish.source}")


def _shown(file: Path) -> str:
    return str(file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file)


def _hyperdrive_file(name: str, folders: list[Path]) -> Path:
    """The file of that path, else the one below the folders whose name ends so, with or without its suffix. Raises
    NotFoundError, UsageError.
    """
    for place in (Path(name).absolute(), *(folder / name for folder in folders)):
        if place.is_file():
            return place
    found = list(dict.fromkeys(file for folder in folders for file in _ending(folder, name)))
    if not found:
        raise NotFoundError(f"there is no HyperDrive configuration {name!r} in {folders[0]} or below it")
    if len(found) > 1:
        names = ", ".join(map(str, found[:5]))
        raise UsageError(f"several files end with {name!r}: {names}", hint="give the path of the one that you mean")
    return found[0]


def _ending(folder: Path, name: str) -> Iterator[Path]:
    for place, below, files in os.walk(folder):
        below[:] = sorted(set(below) - _NOT_SEARCHED)
        yield from (Path(place, file) for file in sorted(files) if file.endswith((name, f"{name}.yml", f"{name}.yaml")))
