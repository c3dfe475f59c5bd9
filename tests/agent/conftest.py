from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.agent.helpers import RunFolder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunFolder]:
    """A run folder whose processes do not outlive the test."""
    folder = RunFolder(tmp_path / "run")
    yield folder
    folder.clean_up()
