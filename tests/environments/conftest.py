"""What the tests of containers' environments share: the session's engine, which they leave as they found it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.engines.docker import DockerEngine


@pytest.fixture
def engine(docker_engine: DockerEngine, monkeypatch: pytest.MonkeyPatch) -> Iterator[DockerEngine]:
    """The session's engine as the one that mlcli uses; no container of a build may be left on it."""
    monkeypatch.setenv("DOCKER_HOST", docker_engine.base_url)
    yield docker_engine
    left = docker_engine.client().api.containers(all=True, filters={"label": "mlcli.environment"})
    assert [container["Image"] for container in left if container["State"] == "exited"] == []
