"""What the tests of containers' environments share: the session's engine, which they leave as they found it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mlcli.environments._contents import ASKING
from tests.engines.docker import DockerEngine


@pytest.fixture
def engine(
    docker_engine: DockerEngine, monkeypatch: pytest.MonkeyPatch, until: Callable[..., Any]
) -> Iterator[DockerEngine]:
    """The session's engine as the one that mlcli uses; no container that asks an image what it holds may be left on it."""
    monkeypatch.setenv("DOCKER_HOST", docker_engine.base_url)
    yield docker_engine
    until(lambda: not docker_engine.client().api.containers(all=True, filters={"label": ASKING}))
