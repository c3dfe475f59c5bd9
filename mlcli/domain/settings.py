"""Settings of a workspace, with their defaults. ``workspace.py`` reads them from the file and the environment."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """``snapshot_max_mb`` and ``snapshot_max_files``: a code snapshot over either is refused (Azure ML v1: 300 MB and
    2,000 files). ``kill_grace_s``: seconds between TERM and KILL when a job is cancelled or out of time.
    """

    snapshot_max_mb: float = 300.0
    snapshot_max_files: int = 100_000
    kill_grace_s: float = 10.0
