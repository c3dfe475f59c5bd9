"""Docker Engines: one that the whole session shares, and ones that a test may kill or fill up.

``docker_engine``        The session's engine: DOCKER_HOST, the Docker context or the default socket if it answers, else one that
                         is started here. Its images are kept, so that they are made once a machine.
``own_docker_engine``    A second engine, for this test alone: ``kill()``, ``start()``, ``stop()``. It has no way to the internet.
``tcp_docker_engine``    The same on a "machine" of its own, reached as ``tcp://ADDRESS:2375``: ``cut()`` and ``mend()`` its cable.
``small_docker_engine``  ``small_docker_engine(megabytes)``: the same on a disk of that size, for builds that fill it.
``containers_gone``      Fails the test if a container of one of its runs is still on the session's engine at the end.

An engine's images are ``base_image`` (Debian with Python and bash), ``tiny_image`` (a shell, no Python) and ``empty_image`` (no
shell), each put there when it is first asked for. They stay on an engine that was there before, as a cache: ``docker image ls
'mlcli-test/*'`` lists them. MLCLI_TEST_DOCKER=own starts an engine even where one answers.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from mlcli import docker_engine as product
from mlcli.agent import identity, is_alive
from mlcli.domain.errors import MlcliError
from tests.engines import cache_folder, cache_path, engine_or_skip, images
from tests.engines.disposable import PREFIX, clean, disposable_folder
from tests.engines.dockerd import Dockerd
from tests.engines.network import Network, lonely_namespace, make_bridge, network, remove_bridge
from tests.engines.packages import must, root_is_needed

if TYPE_CHECKING:
    from docker import DockerClient

SESSION = "MLCLI_TEST_SESSION"
GONE_WITHIN_S = 10.0


class DockerEngine:
    """An engine that answers at ``base_url``."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url

    @property
    def environment(self) -> dict[str, str]:
        """What a command needs in its environment to use this engine."""
        return {"DOCKER_HOST": self.base_url}

    @cached_property
    def _client(self) -> DockerClient:
        import docker

        return docker.from_env(environment={**os.environ, **self.environment}, timeout=120)

    def client(self) -> DockerClient:
        """The SDK's client, one for each engine object."""
        return self._client

    def close(self) -> None:
        if "_client" in self.__dict__:
            self._client.close()

    @cached_property
    def base_image(self) -> str:
        return self._with(images.base_image)

    @cached_property
    def tiny_image(self) -> str:
        return self._with(images.tiny_image)

    @cached_property
    def empty_image(self) -> str:
        return self._with(images.empty_image)

    def load(self, tag: str, source: DockerEngine) -> None:
        """Copy an image from another engine: ``docker save | docker load``."""
        chunks: Any = source.client().images.get(tag).save(named=True)  # the SDK streams what can be iterated over
        self.client().images.load(chunks)

    def containers(self, *, below: Path | None = None) -> list[str]:
        """Names of mlcli's containers, running or not; only those of run folders below ``below`` if given."""
        listed = self.client().api.containers(all=True, filters={"label": "mlcli.run"})
        return sorted(
            container["Names"][0].lstrip("/")
            for container in listed
            if below is None or Path(container["Labels"].get("mlcli.run_folder", "/")).is_relative_to(below)
        )

    def _with(self, make: Callable[[], images.Image]) -> str:
        with engine_or_skip("image for tests"):
            return make().put_into(self.client())


class OwnDockerEngine(DockerEngine):
    """An engine that its test may kill and start again."""

    def __init__(self, daemon: Dockerd) -> None:
        super().__init__(daemon.url)
        self.daemon = daemon

    def kill(self) -> None:
        """As in a crash: SIGKILL, the containers go on without it."""
        self.daemon.kill()

    def start(self) -> None:
        """Start it again, and wait until it answers."""
        self.daemon.start()

    def stop(self) -> None:
        """As ``systemctl stop docker``: the containers are stopped too."""
        self.daemon.stop()


class FarDockerEngine(OwnDockerEngine):
    """An engine on another machine of a network."""

    PORT = 2375

    def __init__(self, daemon: Dockerd, wires: Network, address: str) -> None:
        super().__init__(daemon)
        self.base_url = f"tcp://{address}:{self.PORT}"
        self._wires = wires

    def cut(self) -> None:
        """Pull the cable: no answer, no end of a connection."""
        self._wires.cut("engine")

    def mend(self) -> None:
        self._wires.mend("engine")


@pytest.fixture(scope="session")
def docker_engine() -> Iterator[DockerEngine]:
    """The session's engine; see the module."""
    with engine_or_skip("Docker Engine"):
        engine = DockerEngine(_there_already() or start_shared_daemon().url)
    yield engine
    engine.close()


@pytest.fixture
def own_docker_engine() -> Iterator[OwnDockerEngine]:
    """An engine for this test alone."""
    with _own_engine() as engine:
        yield engine


@pytest.fixture
def small_docker_engine() -> Iterator[Callable[[int], OwnDockerEngine]]:
    """``small_docker_engine(megabytes)``: an engine whose disk is that small."""
    with ExitStack() as stack:
        yield lambda megabytes: stack.enter_context(_own_engine(megabytes=megabytes))


@pytest.fixture
def tcp_docker_engine() -> Iterator[FarDockerEngine]:
    """An engine for this test alone, on another machine of a network."""
    with ExitStack() as stack:
        with engine_or_skip("Docker Engine"):
            folder = stack.enter_context(disposable_folder())
            wires = stack.enter_context(network(folder))
            namespace, address = wires.plug_in("engine", 1)
            listen = f"--host=tcp://{address}:{FarDockerEngine.PORT}", "--tls=false"
            daemon = Dockerd(folder, folder / "data", namespace, listen)
            daemon.start()
        with _running(FarDockerEngine(daemon, wires, address)) as engine:
            yield engine


@pytest.fixture
def containers_gone(docker_engine: DockerEngine, tmp_path: Path) -> Iterator[None]:
    """Asserts, when the test is over, that no container of a run below its ``tmp_path`` is left (the engine may have been
    told only just now); removes those that are.
    """
    yield
    deadline = time.monotonic() + GONE_WITHIN_S
    while (left := docker_engine.containers(below=tmp_path)) and time.monotonic() < deadline:
        time.sleep(0.1)
    for name in left:
        docker_engine.client().api.remove_container(name, force=True)
    assert left == []


@contextlib.contextmanager
def _own_engine(*, megabytes: int | None = None) -> Iterator[OwnDockerEngine]:
    with disposable_folder() as folder:
        with engine_or_skip("Docker Engine"):
            daemon = Dockerd(folder, folder / "data", lonely_namespace(folder.name, "engine"))
            if megabytes is not None:
                daemon.data.mkdir()
                must(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(daemon.data)])
            daemon.start()
        with _running(OwnDockerEngine(daemon)) as engine:
            yield engine


_Engine = TypeVar("_Engine", bound=OwnDockerEngine)


@contextlib.contextmanager
def _running(engine: _Engine) -> Iterator[_Engine]:
    try:
        yield engine
    finally:
        engine.close()
        engine.stop()


def _there_already() -> str | None:
    """The URL of an engine that answers now."""
    if os.environ.get("MLCLI_TEST_DOCKER") == "own":
        return None
    with contextlib.suppress(MlcliError):
        if url := product.base_url():
            product.connect(url)
            return url
    return None


def _shared_daemon(*flags: str) -> Dockerd:
    """The engine that the tests start; whether it runs is another question."""
    name = f"{PREFIX}docker-{hashlib.sha256(bytes(cache_folder())).hexdigest()[:8]}"
    folder = Path(tempfile.gettempdir()) / name  # short: sockets live there
    folder.mkdir(exist_ok=True)
    folder.chmod(0o711)  # whoever is in the socket's group finds it
    return Dockerd(folder, cache_folder() / "docker", flags=flags)


def start_shared_daemon() -> Dockerd:
    """Start it unless it runs: once for all workers and all sessions of this machine, for as long as one uses it."""
    with _shared_lock() as users:
        session = int(os.environ[SESSION])
        (users / str(session)).write_text(json.dumps(identity(session)), "utf-8")
        daemon = _shared_daemon()
        if not daemon.answers():
            root_is_needed("starting a Docker Engine")
            bridge = make_bridge()
            (daemon.folder / "bridge").write_text(bridge)
            _shared_daemon(f"--bridge={bridge}").start()
    return daemon


def release_shared_daemon() -> None:
    """At the end of a session: stop it, if no other session uses it."""
    if not (cache_path() / "docker-users").is_dir():
        return
    with _shared_lock() as users:
        before = list(users.iterdir())
        left = [user for user in before if user.name != os.environ[SESSION] and is_alive(json.loads(user.read_text()))]
        for user in set(before) - set(left):
            user.unlink()
        if before and not left:
            daemon = _shared_daemon()
            daemon.stop()
            with contextlib.suppress(FileNotFoundError):
                remove_bridge((daemon.folder / "bridge").read_text())
            clean(daemon.folder)


@contextlib.contextmanager
def _shared_lock() -> Iterator[Path]:
    """The folder with a file for each session that uses the engine that tests start; one at a time."""
    users = cache_folder() / "docker-users"
    users.mkdir(exist_ok=True)
    with (cache_folder() / "docker.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield users
