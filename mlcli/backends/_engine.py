"""One Docker Engine, asked for containers by name. Every method raises as :func:`mlcli.docker_engine.errors` does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from mlcli import docker_engine
from mlcli.docker_engine import EngineRefusedError, errors

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.api import APIClient

NOT_FOUND, CONFLICT = 404, 409
_REMOVAL_S = 10
_TOLD_S = 0.001
_GONE = frozenset({NOT_FOUND, CONFLICT})  # a conflict: it is not in a state for that
_ENDING = "is not running"  # what a command in it is answered, with 500, when it ends just then


class Engine:
    """``url`` as in DOCKER_HOST, or any name where ``client`` says how it is reached. Nothing is connected before it is used."""

    def __init__(self, url: str, client: Callable[[], DockerClient] | None = None) -> None:
        self.url = url
        self._client = client or (lambda: docker_engine.connect(url or None))

    @property
    def is_local(self) -> bool:
        """Whether it can mount this machine's folders."""
        return docker_engine.is_local(self.url)

    @property
    def _api(self) -> APIClient:
        return self._client().api

    def connect(self) -> None:
        """Make sure that it answers."""
        self._client()

    def is_rootless(self) -> bool:
        """Whether its root is the person who runs it."""
        with errors("the Docker Engine"):
            options: list[str] = self._api.info().get("SecurityOptions") or []
        return any("rootless" in option for option in options)

    def create(self, name: str, body: Mapping[str, Any], platform: str | None) -> bool:
        """Create a container; False when one of that name is there."""
        try:
            with errors("the container could not be created"):
                self._api.create_container_from_config(body, name, platform)  # type: ignore[no-untyped-call]
        except EngineRefusedError as refused:
            if refused.status != CONFLICT:
                raise
            return False
        return True

    def start(self, name: str) -> None:
        """Start it; nothing happens when it runs."""
        with errors("the container could not be started"):
            self._api.start(name)

    def inspect(self, name: str) -> Mapping[str, Any] | None:
        """Everything that the engine knows of it; None when there is no such container."""
        found: Mapping[str, Any] | None = self._found(lambda: self._api.inspect_container(name))
        return found

    def list(self, label: str) -> Sequence[Mapping[str, Any]]:
        """Every container with that label, whatever its state: ``Names``, ``State``, ``Labels``, ``Created``, ..."""
        with errors("the Docker Engine"):
            found: list[Mapping[str, Any]] = self._api.containers(all=True, filters={"label": [label]})
        return found

    def execute(self, name: str, argv: Sequence[str]) -> tuple[int, bytes] | None:
        """Run a short command in a running container: exit code and standard output. None when it cannot be run."""

        def run() -> tuple[int, bytes]:
            execution = self._api.exec_create(name, list(argv), stderr=False)["Id"]
            output: bytes = self._api.exec_start(execution)
            return int(self._api.exec_inspect(execution)["ExitCode"] or 0), output

        done: tuple[int, bytes] | None = self._found(run)
        return done

    def unpause(self, name: str) -> None:
        """Let a paused container go on."""
        self._found(lambda: self._api.unpause(name))

    def kill(self, name: str, signal: str) -> None:
        """Send a signal to its main process; nothing happens when it does not run."""
        self._found(lambda: self._api.kill(name, signal))

    def remove(self, name: str) -> None:
        """Remove it, running or not; nothing happens when it is not there. Somebody else who removes it is waited for."""
        try:
            with errors("the Docker Engine"):
                self._api.remove_container(name, v=True, force=True)
        except EngineRefusedError as refused:
            if refused.status == CONFLICT:
                self._found(lambda: self._api.wait(name, timeout=_REMOVAL_S, condition="removed"))
            elif refused.status != NOT_FOUND:
                raise

    def let_go(self, name: str) -> None:
        """The same, without waiting for it: an engine on this machine has been told, and goes on when we are gone."""
        if not self.is_local:
            self.remove(name)
            return
        from requests.exceptions import ReadTimeout

        api: Any = self._api
        with errors("the Docker Engine"), suppress(ReadTimeout):
            address = f"{api.base_url}/v{api.api_version}/containers/{name}"
            api.delete(address, params={"v": True, "force": True}, timeout=_TOLD_S)

    def put_archive(self, name: str, path: str, archive: Iterator[bytes]) -> None:
        """Unpack a tar stream in the container."""
        with errors("the job's files could not be copied to the engine"):
            self._api.put_archive(name, path, archive)

    def get_archive(self, name: str, path: str) -> Iterator[bytes]:
        """A tar stream of a file or folder of the container."""
        with errors(f"{path} could not be copied from the engine"):
            yield from self._api.get_archive(name, path)[0]

    def find_archive(self, name: str, path: str) -> Iterator[bytes] | None:
        """The same; None when it is not there."""
        found: tuple[Iterator[bytes], object] | None = self._found(lambda: self._api.get_archive(name, path))
        return found[0] if found else None

    def last_words(self, name: str) -> str:
        """The last line that its main process has printed; nothing when the engine keeps no logs."""
        try:
            with errors("the container's log"):
                said: bytes = self._api.logs(name, tail=5)
        except EngineRefusedError:
            return ""
        lines = said.decode("utf-8", "replace").strip().splitlines()
        return lines[-1][:300] if lines else ""

    def _found(self, ask: Callable[[], Any]) -> Any:
        """The answer; None when the engine says that there is no such container, or none in the right state."""
        try:
            with errors("the Docker Engine"):
                return ask()
        except EngineRefusedError as refused:
            if refused.status not in _GONE and _ENDING not in refused.message:
                raise
            return None
