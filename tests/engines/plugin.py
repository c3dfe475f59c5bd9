"""What pytest does for engines at the start and the end of a session; see the package's docstring."""

from __future__ import annotations

import os

import pytest

from tests.engines import mode
from tests.engines.disposable import sweep
from tests.engines.docker import SESSION, release_shared_daemon

MARKERS = {
    "docker": {"docker_engine", "own_docker_engine", "tcp_docker_engine", "small_docker_engine"},
    "ssh": {"ssh_host", "ssh_hosts", "make_ssh_host", "docker_over_ssh"},
    "mlflow": {"mlflow_python"},
}
FIRST_START_S = 900


def pytest_configure(config: pytest.Config) -> None:
    """Workers learn from their controller which session they belong to."""
    mode()
    if _is_controller(config):
        os.environ[SESSION] = str(os.getpid())
        sweep()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that use an engine; the first of them may have to install it."""
    for item in items:
        used = set(getattr(item, "fixturenames", ()))
        for marker, fixtures in MARKERS.items():
            if used & fixtures:
                item.add_marker(marker)
                if item.get_closest_marker("timeout") is None:
                    item.add_marker(pytest.mark.timeout(FIRST_START_S))


def pytest_unconfigure(config: pytest.Config) -> None:
    if _is_controller(config):
        release_shared_daemon()


def _is_controller(config: pytest.Config) -> bool:
    return not hasattr(config, "workerinput")
