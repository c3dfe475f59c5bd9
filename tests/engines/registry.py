"""A registry of images on this machine: to push to, to pull from, to take away, with and without a login.

``image_registry``   An empty registry for this test alone: ``address``, ``stop()``, ``start()``. It lets everybody in.
``private_registry`` The same, which lets in ``USER`` with ``PASSWORD`` alone.
"""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines import Unavailable, engine_or_skip
from tests.engines.disposable import disposable_folder
from tests.engines.packages import PACKAGE_OF, program

PACKAGE_OF["docker-registry"] = "docker-registry"
USER, PASSWORD = "ali", "open sesame"
_HTPASSWD = f"{USER}:$2y$05$abcdefghijklmnopqrstuupx2xBUC4954936wVIjyyPHmUBFu0wCW\n"
_READY_WITHIN_S = 30.0


class ImageRegistry:
    """A registry at ``address`` (``127.0.0.1:PORT``, which engines trust without TLS), its files below ``folder``."""

    def __init__(self, folder: Path, *, private: bool) -> None:
        self._folder = folder
        self._port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.address = f"127.0.0.1:{self._port}"
        (folder / "htpasswd").write_text(_HTPASSWD, "utf-8")
        auth = {"auth": {"htpasswd": {"realm": "tests", "path": str(folder / "htpasswd")}}} if private else {}
        storage = {"filesystem": {"rootdirectory": str(folder / "data")}}
        configuration = {"version": "0.1", "storage": storage, "http": {"addr": self.address}, **auth}
        (folder / "config.yml").write_text(json.dumps(configuration), "utf-8")

    def start(self) -> None:
        """Start it and wait until it answers. Raises Unavailable."""
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [program("docker-registry"), "serve", str(self._folder / "config.yml")], stdout=log, stderr=log
            )
        deadline = time.monotonic() + _READY_WITHIN_S
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port), 1):
                return
            time.sleep(0.05)
        raise Unavailable("the registry did not start: " + (self._folder / "log").read_text("utf-8")[-500:])

    def stop(self) -> None:
        """End it; what was pushed stays."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@pytest.fixture
def image_registry() -> Iterator[ImageRegistry]:
    with _running(private=False) as registry:
        yield registry


@pytest.fixture
def private_registry() -> Iterator[ImageRegistry]:
    with _running(private=True) as registry:
        yield registry


@contextlib.contextmanager
def _running(*, private: bool) -> Iterator[ImageRegistry]:
    with disposable_folder() as folder:
        registry = ImageRegistry(folder, private=private)
        with engine_or_skip("image registry"):
            registry.start()
        try:
            yield registry
        finally:
            registry.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
