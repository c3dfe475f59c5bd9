"""Fetching: the files of a registered version, wherever they are, into a folder."""

from __future__ import annotations

import shutil
from pathlib import Path

from mlcli.domain.errors import MlcliError, StoreError
from mlcli.operations import assets
from mlcli.operations.locations import locate
from mlcli.ports.services import Services
from mlcli.spec.references import AssetReference


def fetch(services: Services, noun: str, reference: AssetReference, target: Path) -> Path:
    """Copy the files of a version to ``target/NAME`` (a file into that folder), and answer it. What is there already of the
    same name is overwritten. Raises NotFoundError, TransportError, StoreError.
    """
    asset = assets.find(services, noun, reference)
    found = locate(
        services, f"azureml://{noun}{'s' if noun == assets.MODEL else ''}/{asset.name}/versions/{asset.version}", ""
    )
    if found.path.startswith(("http://", "https://")):
        source = services.downloads.fetch(found.path, lambda _line: None)
        name = found.path.partition("?")[0].rstrip("/").rpartition("/")[2]
    elif Path(found.path).is_absolute():
        source, name = Path(found.path), Path(found.path).name
    else:
        raise MlcliError(f"the {noun} {asset.name}:{asset.version} is {found.path}, which mlcli cannot reach")
    folder = target.absolute() / asset.name
    copy_into(source, folder, name)
    return folder


def copy_into(source: Path, folder: Path, name: str | None = None) -> None:
    """Copy what is in a folder, or one file (under ``name``, or its own), into a folder. Raises StoreError."""
    try:
        if source.is_dir():
            shutil.copytree(source, folder, dirs_exist_ok=True)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, folder / (name or source.name))
    except (OSError, shutil.Error) as error:
        raise StoreError(f"{source} cannot be copied to {folder}: {error}") from error
