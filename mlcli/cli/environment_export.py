"""``environment export``: an environment as a file that another workspace, or ``az ml``, can create it from."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlcli.domain.errors import MlcliError, UsageError

if TYPE_CHECKING:
    from mlcli.cli.command import Session
    from mlcli.domain.job import EnvironmentSpec
    from mlcli.ports.stores import Asset


def write(session: Session, asset: Asset | None, spec: EnvironmentSpec, file: Path | None) -> None:
    """Print the YAML, or write it to ``file`` with the folder of its Docker build beside it. Raises MlcliError."""
    from mlcli.cli import views
    from mlcli.cli.formats import as_yaml
    from mlcli.cli.render import write_text

    document = _document(asset, spec)
    if file is None:
        write_text(as_yaml(document))
        return
    try:
        if spec.build is not None and spec.build.path is not None:
            folder = _copied(Path(spec.build.path), file)
            document["build"] = {**document["build"], "path": f"./{folder.name}"}
        file.write_text(as_yaml(document), encoding="utf-8")
    except OSError as error:
        raise MlcliError(f"{error.filename or file} cannot be written: {error.strerror}") from error
    session.console.emit({"name": spec.name, "version": spec.version, "written": str(file)}, view=views.facts)


def _document(asset: Asset | None, spec: EnvironmentSpec) -> dict[str, Any]:
    from mlcli.domain.redaction import masked_record
    from mlcli.spec.environments import environment_document

    named = {
        "name": spec.name,
        "version": spec.version,
        "description": asset.description if asset else None,
        "tags": dict(asset.tags) if asset else {},
    }
    made: dict[str, Any] = masked_record(environment_document(spec))
    return {**{key: value for key, value in named.items() if value}, **made}


def _copied(context: Path, file: Path) -> Path:
    folder = file.with_name(f"{file.stem}-context")
    if folder.exists():
        raise UsageError(f"{folder} is there already", hint="remove it, or write the file elsewhere")
    shutil.copytree(context, folder, symlinks=True)
    return folder
