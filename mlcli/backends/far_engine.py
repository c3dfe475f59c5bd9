"""The Docker Engine of another machine, through the connection that mlcli has to it anyway: the same login, the same checks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from mlcli import docker_engine
from mlcli.backends import _docker_socket
from mlcli.backends._folder import last_line
from mlcli.domain.errors import TransportError
from mlcli.ports.transports import Transport

if TYPE_CHECKING:
    from docker import DockerClient

_LOOK_S = 30.0


class FarEngine:
    """The engine that a login there would use. ``where``: the machine, for a sentence. Nothing is asked before it is used."""

    def __init__(self, transport: Transport, where: str) -> None:
        self._transport = transport
        self._where = where
        self._path: str | None = None

    def client(self) -> DockerClient:
        """Its client, over a connection that has just been heard of. Raises TransportError."""
        if self._path is None:
            self._path = self._found()
        url = f"unix://{self._transport.forward_socket(self._path)}"
        try:
            return docker_engine.connect(url)
        except TransportError as silent:
            raise TransportError(
                f"{self._where}: the Docker Engine at {self._path} there does not answer",
                transient=silent.transient,
                hint="is Docker running there?",
            ) from silent

    def _found(self) -> str:
        """Its socket there."""
        argv = [self._transport.python(), "-I", "-"]
        source = Path(_docker_socket.__file__).read_bytes()
        done = self._transport.run(argv, stdin=source, timeout_s=_LOOK_S, repeatable=True)
        if done.code != 0:
            raise TransportError(f"{self._where}: {last_line(done.stderr)}", transient=False)
        told = json.loads(done.stdout)
        if "problem" in told:
            raise TransportError(
                f"{self._where}: {told['problem']}",
                transient=False,
                hint="install Docker there, start it, and see that this login may use it (the group docker): docker info",
            )
        return str(told["path"])
