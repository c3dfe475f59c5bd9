"""Where a machine's Docker Engine listens, as the script finds it that is run there."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from mlcli.backends import _docker_socket
from tests.engines.disposable import disposable_folder


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder with a path short enough for sockets; also the home of who asks."""
    with disposable_folder() as folder:
        yield folder


def found(place: Path, **variables: str) -> Mapping[str, Any]:
    """What it answers, sent as it is sent there."""
    done = subprocess.run(
        [sys.executable, "-I", "-"],
        input=Path(_docker_socket.__file__).read_bytes(),
        env={"HOME": str(place), "PATH": os.environ["PATH"], **variables},
        capture_output=True,
        check=True,
    )
    told: Mapping[str, Any] = json.loads(done.stdout)
    return told


def listening(path: Path) -> socket.socket:
    path.parent.mkdir(parents=True, exist_ok=True)
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()
    return server


def test_a_rootless_engine_is_where_its_context_says(place: Path) -> None:
    """As ``docker context use rootless`` leaves it."""
    path = place / "run" / "docker.sock"
    meta = place / ".docker" / "contexts" / "meta" / hashlib.sha256(b"rootless").hexdigest() / "meta.json"
    meta.parent.mkdir(parents=True)
    meta.write_text(json.dumps({"Endpoints": {"docker": {"Host": f"unix://{path}"}}}))
    (place / ".docker" / "config.json").write_text(json.dumps({"currentContext": "rootless"}))
    with listening(path):
        assert found(place) == {"path": str(path)}
        assert found(place, DOCKER_HOST="unix:///nowhere") == {"problem": "there is no Docker Engine"}


def test_damaged_settings_of_docker_are_none(place: Path) -> None:
    (place / ".docker").mkdir()
    (place / ".docker" / "config.json").write_text("{")
    assert set(found(place)) <= {"path", "problem"}


@pytest.mark.parametrize("address", ["tcp://10.0.0.1:2375", "ssh://there"])
def test_an_engine_of_yet_another_machine_is_no_engine_of_this_one(place: Path, address: str) -> None:
    assert f"its Docker Engine is at {address}" in found(place, DOCKER_HOST=address)["problem"]


def test_an_engine_that_has_ended_says_which_socket_it_was(place: Path) -> None:
    listening(place / "s").close()
    told = found(place, DOCKER_HOST=f"unix://{place}/s")
    assert told == {"problem": f"the Docker Engine at {place}/s cannot be used: Connection refused"}
