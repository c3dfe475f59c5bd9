"""``environment scaffold|register|download``: an environment as a folder of files, as the first Azure ML command line has it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from mlcli.cli import environment_about as about
from mlcli.cli.command import Noun, Session
from mlcli.cli.options import flag
from mlcli.domain.errors import MlcliError, UsageError

if TYPE_CHECKING:
    from mlcli.domain.job import EnvironmentSpec

DEFINITION = "azureml_environment.json"
_CONDA = "conda_dependencies.yml"

Directory = Annotated[
    Path | None, flag("--directory", "-d", metavar="FOLDER", parse=Path, help="The folder with its files.")
]
Overwrite = Annotated[bool, flag("--overwrite", help="Replace files that are there.")]


def add(noun: Noun) -> None:
    """Add the commands to ``mlcli environment``."""
    noun.command("scaffold", "mlcli environment scaffold -n train -d envs/train")(scaffold)
    noun.command("register", "mlcli environment register -d envs/train")(register)
    noun.command("download", "mlcli environment download -n train -d envs/train")(download)


def scaffold(session: Session, *, name: about.Name, directory: Directory = None) -> None:
    """Write the files of an environment for editing; `mlcli environment register` registers it."""
    from mlcli.operations.folder_files import conda_dependencies
    from mlcli.spec.environments import checked_name

    python = {"userManagedDependencies": False, "condaDependenciesFile": _CONDA}
    docker = {"enabled": False, "baseImage": None, "baseDockerfile": None}
    words = {
        "name": checked_name(name),
        "version": None,
        "environmentVariables": {},
        "python": python,
        "docker": docker,
    }
    _write(session, _given(directory), {DEFINITION: _json(words), _CONDA: conda_dependencies()}, overwrite=None)


def register(session: Session, *, directory: Directory = None) -> None:
    """Register the environment whose files lie in a folder.

    A version is never changed: another definition is another version.
    """
    from mlcli.cli import environment_file
    from mlcli.cli import environment_views as views
    from mlcli.operations import environments

    written = environment_file.read(str(_given(directory) / DEFINITION), [], {})
    asset, notices = environments.create(session.services, written)
    about.tell(session, notices)
    session.console.emit(environments.record(asset, session.services), view=views.environment, columns=views.row)


def download(
    session: Session,
    *,
    name: about.Name,
    version: about.Version = None,
    label: about.Label = None,
    directory: Directory = None,
    overwrite: Overwrite,
) -> None:
    """Write the files of a registered environment into a folder."""
    folder = _given(directory)
    _, spec = about.found(session, about.reference(name, version, label))
    words, conda = _in_words(spec)
    files = {DEFINITION: _json(words)}
    if conda is not None:
        files[_CONDA] = conda
    _write(session, folder, files, overwrite=overwrite)


def _in_words(spec: EnvironmentSpec) -> tuple[dict[str, Any], str | None]:
    """An environment in v1's words, and the text of its conda file. Raises MlcliError for what they cannot say."""
    from mlcli.cli.formats import as_yaml

    if spec.lock is not None or (spec.build is not None and spec.build.dockerfile_text is None):
        what = "a lock" if spec.lock is not None else "a Docker build of a folder"
        raise MlcliError(
            f"the environment {spec.name} is made of {what}, which these files cannot say",
            hint=f"mlcli environment export -n {spec.name} --file environment.yml",
        )
    python: dict[str, Any] = {"userManagedDependencies": spec.conda is None, "interpreterPath": "python"}
    if spec.interpreter not in {None, "current"}:
        python["interpreterPath"] = spec.interpreter
    if spec.conda is not None:
        python["condaDependenciesFile"] = _CONDA
    docker = {
        "enabled": spec.wants_image,
        "baseImage": spec.image,
        "baseDockerfile": spec.build.dockerfile_text if spec.build else None,
    }
    words = {
        "name": spec.name,
        "version": spec.version,
        "environmentVariables": dict(spec.environment_variables),
        "python": python,
        "docker": docker,
    }
    return words, None if spec.conda is None else as_yaml(dict(spec.conda))


def _given(directory: Path | None) -> Path:
    if directory is None:
        raise UsageError("which folder? give --directory FOLDER")
    return directory


def _json(words: dict[str, Any]) -> str:
    return json.dumps(words, indent=4) + "\n"


def _write(session: Session, folder: Path, files: dict[str, str], *, overwrite: bool | None) -> None:
    """``overwrite`` None: the command has no such flag."""
    from mlcli.cli import views

    there = [str(folder / name) for name in files if (folder / name).exists()]
    if there and not overwrite:
        hint = "choose another folder, or " + ("remove them" if overwrite is None else "replace them: --overwrite")
        raise MlcliError(f"there already: {', '.join(there)}", hint=hint)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise MlcliError(f"{error.filename or folder} cannot be written: {error.strerror}") from error
    session.console.emit({"written": [str(folder / name) for name in files]}, view=views.downloaded)
