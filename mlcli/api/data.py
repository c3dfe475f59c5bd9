"""Data of a datastore as an argument of a script: a place that the script gets the path of."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from mlcli.api.names import InWorkspace


@dataclass(frozen=True)
class DataReference:
    """A folder of a datastore. As an argument of a script it stands for its path. ``mode``: ``mount`` (where it is),
    ``download`` (a copy) or ``upload`` (what the script writes there goes to the datastore).
    """

    datastore: Datastore
    path_on_datastore: str = ""
    mode: str = "mount"
    name: str | None = None

    @property
    def data_reference_name(self) -> str:
        """What it is called in the run: letters, digits and ``_``."""
        return re.sub(r"\W", "_", self.name or f"{self.datastore.name} {self.path_on_datastore}".strip(" /"))

    def __str__(self) -> str:
        return f"$AZUREML_DATAREFERENCE_{self.data_reference_name}"

    def path(self, path: str, data_reference_name: str | None = None) -> DataReference:
        """A folder or a file below it."""
        return replace(self, path_on_datastore=f"{self.path_on_datastore}/{path}".strip("/"), name=data_reference_name)

    def as_mount(self) -> DataReference:
        """The script reads it where it is."""
        return replace(self, mode="mount")

    def as_download(self) -> DataReference:
        """The script reads a copy of its own."""
        return replace(self, mode="download")

    def as_upload(self) -> DataReference:
        """The script writes into it."""
        return replace(self, mode="upload")

    def words(self) -> dict[str, Any]:
        """The same as a run configuration has it, under ``dataReferences``."""
        return {"dataStoreName": self.datastore.name, "pathOnDataStore": self.path_on_datastore, "mode": self.mode}


class Datastore:
    """A datastore of a workspace. Raises NotFoundError with the nearest names."""

    def __init__(self, workspace: InWorkspace, name: str | None = None) -> None:
        from mlcli.operations import datastores

        self.name = name or datastores.DEFAULT
        datastores.get(workspace.services, self.name)
        datastores.make_folder(workspace.services, self.name)

    @classmethod
    def get(cls, workspace: InWorkspace, datastore_name: str) -> Datastore:
        """The one of that name. Raises NotFoundError."""
        return cls(workspace, datastore_name)

    def __repr__(self) -> str:
        return f"Datastore({self.name!r})"

    def path(self, path: str = "", data_reference_name: str | None = None) -> DataReference:
        """A folder or a file in it."""
        return DataReference(self, path.strip("/"), name=data_reference_name)

    def as_mount(self) -> DataReference:
        """All of it, for reading where it is."""
        return self.path().as_mount()

    def as_download(self) -> DataReference:
        """All of it, as a copy."""
        return self.path().as_download()

    def as_upload(self) -> DataReference:
        """All of it, for writing into."""
        return self.path().as_upload()
