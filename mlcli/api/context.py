"""The run that a script is, asked for by the script itself: what it logs goes to its log, where metrics are read from."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from typing import SupportsFloat


class RunContext:
    """What a script knows of its run. Outside of a run it prints the same, and nobody keeps it."""

    @property
    def id(self) -> str:
        """The run's name; ``offline`` outside of a run."""
        return os.environ.get("AZUREML_RUN_ID", "offline")

    def log(self, name: str, value: SupportsFloat, *, step: int | None = None) -> None:
        """One value of a metric. ``step``: default the next one of that name."""
        told: dict[str, object] = {"metric": name, "value": float(value)}
        sys.stdout.write(json.dumps(told if step is None else {**told, "step": step}) + "\n")
        sys.stdout.flush()

    def log_list(self, name: str, value: Iterable[SupportsFloat]) -> None:
        """Values, each a step more; those of another list of that name follow."""
        for one in value:
            self.log(name, one)

    def log_row(self, name: str, **columns: SupportsFloat) -> None:
        """A row of a table: each column is a metric of its own, ``NAME.COLUMN``."""
        for column, value in columns.items():
            self.log(f"{name}.{column}", value)
