"""Settings of a workspace, with their defaults. ``workspace.py`` reads them from the file and the environment."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Settings:
    """Each stands in ``settings.yml`` under the name of its metadata (``local.container``), or below it, nested
    (``local: {container: never}``), and in the environment as ``MLCLI_LOCAL_CONTAINER``.

    ``snapshot_max_mb`` and ``snapshot_max_files``: a code snapshot over either is refused (Azure ML v1: 300 MB and
    2,000 files). ``kill_grace_s``: seconds between TERM and KILL when a job is cancelled or out of time.
    ``local_container``: whether a job on this machine that names an image runs in a container: ``auto`` (when a Docker
    Engine answers), ``always`` or ``never``. ``environments_shared``: a second place where built environments are looked
    for and put: a folder, or an image repository (``docker://registry/name``). ``environments_base_image``: what a job
    runs in that wants a container and names no image. ``sweep_failures``: a sweep gives up when so many of its trials have
    failed before one completed; 0 means never.
    """

    snapshot_max_mb: float = field(default=300.0, metadata={"name": "snapshot_max_mb"})
    snapshot_max_files: int = field(default=100_000, metadata={"name": "snapshot_max_files"})
    kill_grace_s: float = field(default=10.0, metadata={"name": "kill_grace_s"})
    local_container: str = field(
        default="auto", metadata={"name": "local.container", "choices": ("auto", "always", "never")}
    )
    environments_shared: str = field(default="", metadata={"name": "environments.shared"})
    environments_base_image: str = field(default="python:3.12-slim", metadata={"name": "environments.base_image"})
    sweep_failures: int = field(default=10, metadata={"name": "sweep.failures"})
