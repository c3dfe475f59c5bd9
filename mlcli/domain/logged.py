"""A run with all that it has logged, as it travels from one place to another. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mlcli.domain.metrics import Series

MLCLI_RUN = "mlcli.run"
"""The tag by which a run of mlcli is known elsewhere."""
PARENT = "mlflow.parentRunId"
RUN_NAME = "mlflow.runName"
USER = "mlflow.user"


@dataclass(frozen=True)
class LoggedRun:
    """``run_id`` as MLflow's clients call it; ``parent``: that of the run in which this one is nested. ``status`` in MLflow's
    words; times in milliseconds since the epoch. ``artifacts``: path there -> file here; ``artifacts_at``: the folder where
    they stay, if nothing of them is to be copied.
    """

    run_id: str
    name: str
    experiment: str
    status: str = "FINISHED"
    start_ms: int | None = None
    end_ms: int | None = None
    parent: str | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, Series] = field(default_factory=dict)
    artifacts: Mapping[str, Path] = field(default_factory=dict)
    artifacts_at: Path | None = None

    @property
    def all_tags(self) -> dict[str, str]:
        """With those that say what MLflow keeps as tags."""
        nested = {PARENT: self.parent} if self.parent else {}
        return {USER: "unknown", **self.tags, RUN_NAME: self.name, **nested}
