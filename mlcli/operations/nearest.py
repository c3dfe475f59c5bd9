"""Whether a folder, or one above it, is attached: a walk of stats that every command makes, so it imports next to nothing."""

from __future__ import annotations

import os
from pathlib import Path

SETTINGS = (".azureml", "aml_config")
FILES = ("config.json", "project.json")


def nearest_file(start: Path) -> Path | None:
    """The settings of the nearest attached folder at or above ``start``, whatever they say."""
    folder = str(start)
    while True:
        for settings in SETTINGS:
            place = f"{folder}/{settings}"
            if os.path.isdir(place):  # noqa: PTH112  (asked of every folder up to the root, by every command)
                for name in FILES:
                    if os.path.isfile(f"{place}/{name}"):  # noqa: PTH113
                        return Path(place, name)
        above = os.path.dirname(folder)  # noqa: PTH120
        if above == folder:
            return None
        folder = above
