from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.endpoint.helpers import Endpoint


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[Endpoint]:
    """The endpoint of one run, started."""
    server = Endpoint(tmp_path / "run")
    server.start()
    yield server
    server.close()


@pytest.fixture(scope="module")
def shared_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """One for all the tests of a file that leave nothing behind."""
    server = Endpoint(tmp_path_factory.mktemp("shared") / "run")
    server.start()
    yield server
    server.close()
