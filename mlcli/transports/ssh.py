"""Another machine, over SSH.

One connection a process and host, with one channel on it, where a small process of ours (``_far.py``) answers requests:
a command, a file, a whole tree cost one round trip each, and a host that allows one session (MaxSessions 1) will do. The
process ends with the connection; a job, which the agent has set apart, does not.

A connection that drops is made again. What may be done twice (all but ``run`` without ``repeatable``) is then asked again.
"""

from __future__ import annotations

import hashlib
import posixpath
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from mlcli import agent
from mlcli.domain.compute import SshHost
from mlcli.domain.errors import TransportError
from mlcli.ports.stores import SnapshotStore
from mlcli.ports.transports import Completed, Transport
from mlcli.transports import _copies, _snapshots
from mlcli.transports._files import errors
from mlcli.transports._forward import Forward, SocketForward
from mlcli.transports._login import Secrets
from mlcli.transports._pipe import Pipe
from mlcli.transports._session import Request

PATIENCE_S = 60.0
_PART_BYTES = 4 << 20


def nobody(kind: str, subject: str) -> None:
    """Secrets when there is nobody to ask."""
    del kind, subject


def silent(sentence: str) -> None:
    """Told to nobody."""
    del sentence


class SshTransport(Transport):
    """A machine with an SSH port. ``secrets(kind, subject)`` is asked for the ``passphrase`` of a key file, the ``password``
    of ``user@address:port`` or the ``answer`` to a question of the host's when one is needed, and answers None when it does
    not know. ``patience_s``: seconds that a connection that dropped is tried to be made again; ``tell`` takes a sentence
    about it.
    """

    def __init__(
        self,
        host: SshHost,
        secrets: Secrets = nobody,
        *,
        patience_s: float = PATIENCE_S,
        tell: Callable[[str], None] = silent,
    ) -> None:
        self.host = host
        self._pipe = Pipe(host, secrets, patience_s, tell)
        self._forwards: dict[int, Forward] = {}
        self._sockets: dict[str, SocketForward] = {}
        self._agent_folder: str | None = None
        weakref.finalize(self, self._pipe.abandon)  # before paramiko's own end of the process, which takes 0.1 s

    @property
    def frames(self) -> int:
        """How many requests were sent so far: round trips, but for those of one copy, which overlap."""
        return self._pipe.frames

    def host_key(self) -> str:
        """The key that the host showed, as known_hosts has it: ``ssh-ed25519 AAAA...``."""
        return self._pipe.connection().host_key

    def address(self) -> str:
        """Where it was reached, after ~/.ssh/config: ``10.0.0.7:22``."""
        return self._pipe.connection().address

    def login(self) -> str:
        """What let us in: the key, with its fingerprint, or ``the password``."""
        return self._pipe.connection().login

    def home(self) -> str:
        """The home folder there."""
        return str(self._pipe.session().greeting["home"])

    def folder(self) -> str:
        """The folder there that holds what mlcli needs."""
        given = self.host.folder or "~/.mlcli"
        return given if given.startswith("/") else posixpath.join(self.home(), given.removeprefix("~/"))

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
        timeout_s: float = 60.0,
        repeatable: bool = False,
    ) -> Completed:
        """Run it there. When the connection drops before the answer comes, what is not repeatable is an error (transient)."""
        arguments = {"argv": list(argv), "environment": dict(environment or {}), "timeout_s": timeout_s}
        told = self._pipe.call(Request("run", arguments, stdin), repeatable=repeatable)
        if told.header.get("timeout"):
            raise TransportError(f"{self.host}: {argv[0]} did not answer within {timeout_s:g} seconds", transient=True)
        border = told.header["stdout"]
        return Completed(told.header["code"], told.payload[:border], told.payload[border:])

    def python(self) -> str:
        """The interpreter that was found there."""
        return str(self._pipe.session().greeting["python"])

    def agent_folder(self) -> str:
        """A folder named for the agent's content, so that other versions of mlcli do not meet there."""
        if self._agent_folder is None:
            here = Path(agent.__file__).parent
            sources = {name: (here / name).read_bytes() for name in agent.FILES}
            folder = posixpath.join(self.folder(), "agent", hashlib.sha256(b"".join(sources.values())).hexdigest()[:16])
            first = agent.FILES[0]
            facts = self._pipe.call(Request("facts", {"path": posixpath.join(folder, first)})).header
            if facts.get("size") != len(sources[first]):
                for name in reversed(agent.FILES):  # the first one last: where it is, all are
                    self.write(posixpath.join(folder, name), sources[name])
            self._agent_folder = folder
        return self._agent_folder

    def put(self, source: Path, target: str) -> None:
        """Copy there. Big files go on where an attempt that was cut off stood."""
        _copies.put(self._pipe, source, target)

    def get(self, source: str, target: Path) -> None:
        """Copy here. Big files go on where an attempt that was cut off stood."""
        _copies.get(self._pipe, source, target)

    def get_files(self, files: Iterable[tuple[str, Path, int]]) -> Iterator[bool]:
        """Small ones come many in a round trip."""
        return _copies.get_files(self._pipe, files)

    def read(self, path: str, offset: int = 0, limit: int | None = None) -> bytes | None:
        """Bytes of a file, some megabytes a round trip."""
        parts: list[bytes] = []
        while limit is None or limit > 0 or not parts:
            wanted = _PART_BYTES if limit is None else min(limit, _PART_BYTES)
            told = self._pipe.call(Request("read", {"path": path, "offset": offset, "limit": wanted}))
            if not told.header["found"]:
                return None
            parts.append(told.payload)
            if len(told.payload) < wanted or wanted == 0:
                break
            offset += wanted
            limit = None if limit is None else limit - wanted
        return b"".join(parts)

    def write(self, path: str, data: bytes, *, mode: int = 0o600, sync: bool = True) -> None:  # noqa: ARG002
        """Replace a file atomically; it is synced in any case."""
        self._pipe.call(Request("write", {"path": path, "mode": mode}, data))

    def make_folder(self, *paths: str) -> None:
        """Make folders and their parents."""
        self._pipe.call(Request("make_folders", {"paths": list(paths)}))

    def place(self, target: str, digest: str | None, snapshots: SnapshotStore | None) -> None:
        """Blobs that the machine has, from whatever snapshot, are not sent again."""
        _snapshots.place(self._pipe, posixpath.join(self.folder(), "blobs"), target, digest, snapshots)

    def forward(self, port: int) -> int:
        """A port here that reaches ``port`` there. It is the same one when asked again."""
        if port not in self._forwards:
            with errors("a port of this machine"):
                self._forwards[port] = Forward(str(self.host), port, lambda: self._pipe.connection().transport)
        return self._forwards[port].port

    def forward_socket(self, path: str) -> str:
        """A socket here that reaches the one there, over a connection that has just been heard of. It is the same one when
        asked again.
        """
        self._pipe.check()
        if path not in self._sockets:
            with errors("a socket of this machine"):
                self._sockets[path] = SocketForward(str(self.host), path, lambda: self._pipe.connection().transport)
        return self._sockets[path].path

    def close(self) -> None:
        """Let go of the connection and of forwarded ports and sockets."""
        forwards: list[Forward | SocketForward] = [*self._forwards.values(), *self._sockets.values()]
        for forward in forwards:
            forward.close()
        self._forwards.clear()
        self._sockets.clear()
        self._pipe.close()
