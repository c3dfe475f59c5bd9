"""Ports and sockets of this machine that lead to those of a far one."""

from __future__ import annotations

import contextlib
import shutil
import socket
import tempfile
import threading
import weakref
from collections.abc import Callable
from typing import Any

from mlcli.domain.errors import TransportError
from mlcli.transports._paramiko import paramiko

_LOOPBACK = "127.0.0.1"
_PROHIBITED = 1
_OPEN_S = 15.0
_TO_SOCKET = "direct-streamlocal@openssh.com"  # OpenSSH's PROTOCOL, 2.4


class _Relay:
    """Listens until it is closed. ``open_channel`` makes a channel for each caller, on the connection that is up then."""

    def __init__(self, listener: socket.socket, open_channel: Callable[[Any], Any]) -> None:
        self._listener = listener
        self._open_channel = open_channel
        threading.Thread(target=self._serve, daemon=True, name=f"forward {listener.getsockname()}").start()

    def close(self) -> None:
        """Stop listening; what is connected stays so until the connection ends."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                near, caller = self._listener.accept()
            except OSError:  # closed
                return
            threading.Thread(target=self._connect, args=(near, caller), daemon=True).start()

    def _connect(self, near: socket.socket, caller: Any) -> None:
        try:
            far = self._open_channel(caller)
        except (paramiko().SSHException, TransportError, EOFError, OSError):
            near.close()  # as when nobody listens
            return
        back = threading.Thread(target=_pump, args=(far, near), daemon=True)
        back.start()
        _pump(near, far)
        back.join()
        near.close()
        with contextlib.suppress(paramiko().SSHException, EOFError, OSError):  # its connection has ended meanwhile
            far.close()


class Forward:
    """``port``: one of this machine's loopback that leads to ``far_port`` of the other's, by way of ``transport()``."""

    def __init__(self, where: str, far_port: int, transport: Callable[[], Any]) -> None:
        self._transport = transport
        self._try(where, far_port)
        listener = socket.create_server((_LOOPBACK, 0))
        self.port: int = listener.getsockname()[1]
        self._relay = _Relay(listener, lambda caller: self._channel(far_port, caller))

    def close(self) -> None:
        """Stop listening."""
        self._relay.close()

    def _try(self, where: str, far_port: int) -> None:
        """Ask once, so that a host that forbids it is an error here. That nobody listens there yet is none.

        Port 0 is asked for first: nobody is disturbed there, and only a host that allows some ports alone forbids it.
        """
        if self._is_forbidden(0) and self._is_forbidden(far_port):
            raise TransportError(
                f"{where}: it does not allow ports to be forwarded",
                transient=False,
                hint="AllowTcpForwarding in its sshd_config must be yes or local",
            )

    def _is_forbidden(self, port: int) -> bool:
        try:
            self._channel(port, (_LOOPBACK, 0)).close()
        except paramiko().ChannelException as refused:
            return bool(refused.code == _PROHIBITED)
        except (paramiko().SSHException, EOFError) as failed:
            raise TransportError(f"port {port} there: {failed}", transient=True) from None
        return False

    def _channel(self, port: int, caller: tuple[str, int]) -> Any:
        return self._transport().open_channel("direct-tcpip", (_LOOPBACK, port), caller, timeout=_OPEN_S)


class SocketForward:
    """``path``: a Unix socket in a folder that nobody else can enter, which leads to the socket ``far_path`` of the other
    machine. It takes none of the sessions that the host allows.
    """

    def __init__(self, where: str, far_path: str, transport: Callable[[], Any]) -> None:
        self._try(where, far_path, transport())
        folder = tempfile.mkdtemp(prefix="mlcli-")
        self._remove = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self.path = f"{folder}/socket"
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self.path)
        listener.listen()
        self._relay = _Relay(listener, lambda _caller: _socket_channel(transport(), far_path))

    def close(self) -> None:
        """Stop listening."""
        self._relay.close()
        self._remove()

    def _try(self, where: str, far_path: str, transport: Any) -> None:
        """Ask once, so that a host that does not do it is an error here. OpenSSH does not tell that from a socket at which
        nobody listens.
        """
        try:
            _socket_channel(transport, far_path).close()
        except paramiko().ChannelException:
            raise TransportError(
                f"{where}: the socket {far_path} there cannot be reached over SSH",
                transient=False,
                hint="AllowStreamLocalForwarding in its sshd_config must be yes or local, and somebody listen at the socket",
            ) from None
        except (paramiko().SSHException, EOFError) as failed:
            raise TransportError(f"{where}: the socket {far_path}: {failed}", transient=True) from None


def _socket_channel(transport: Any, path: str) -> Any:
    channel = paramiko().Transport.open_channel(_WithPath(transport, path), _TO_SOCKET, timeout=_OPEN_S)
    channel.transport = transport
    return channel


class _WithPath:
    """A paramiko transport whose next message, which opens a channel of a kind that paramiko does not know, gets a path."""

    def __init__(self, transport: Any, path: str) -> None:
        self._transport = transport
        self._path: str | None = path

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def _send_user_message(self, message: Any) -> None:
        if self._path is not None:
            message.add_string(self._path)
            message.add_string("")  # reserved
            message.add_int(0)  # reserved
            self._path = None
        self._transport._send_user_message(message)  # noqa: SLF001  (paramiko has no other way to send one of its own)


def _pump(source: Any, target: Any) -> None:
    """Everything from one to the other, then the end of it."""
    with contextlib.suppress(OSError, EOFError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    with contextlib.suppress(OSError, EOFError):
        target.shutdown(socket.SHUT_WR)
