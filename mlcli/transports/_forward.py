"""A port of this machine's loopback that leads to one of a far machine's."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Any

from mlcli.domain.errors import TransportError
from mlcli.transports._paramiko import paramiko

_LOOPBACK = "127.0.0.1"
_PROHIBITED = 1
_OPEN_S = 15.0


class Forward:
    """Listens until it is closed. Each caller gets a channel of the connection that is up then (``transport()``)."""

    def __init__(self, where: str, port: int, transport: Callable[[], Any]) -> None:
        self._far_port = port
        self._transport = transport
        self._try(where)
        self._listener = socket.create_server((_LOOPBACK, 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True, name=f"forward {self.port}").start()

    def close(self) -> None:
        """Stop listening; what is connected stays so until the connection ends."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _try(self, where: str) -> None:
        """Ask once, so that a host that forbids it is an error here. That nobody listens there yet is none.

        Port 0 is asked for first: nobody is disturbed there, and only a host that allows some ports alone forbids it.
        """
        if self._is_forbidden(0) and self._is_forbidden(self._far_port):
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
        except paramiko().SSHException as failed:
            raise TransportError(f"port {port} there: {failed}", transient=True) from None
        return False

    def _channel(self, port: int, caller: tuple[str, int]) -> Any:
        return self._transport().open_channel("direct-tcpip", (_LOOPBACK, port), caller, timeout=_OPEN_S)

    def _serve(self) -> None:
        while True:
            try:
                near, caller = self._listener.accept()
            except OSError:  # closed
                return
            threading.Thread(target=self._connect, args=(near, caller), daemon=True).start()

    def _connect(self, near: socket.socket, caller: tuple[str, int]) -> None:
        try:
            far = self._channel(self._far_port, caller)
        except (paramiko().SSHException, TransportError, EOFError, OSError):
            near.close()  # as when nobody listens
            return
        back = threading.Thread(target=_pump, args=(far, near), daemon=True)
        back.start()
        _pump(near, far)
        back.join()
        near.close()
        far.close()


def _pump(source: Any, target: Any) -> None:
    """Everything from one to the other, then the end of it."""
    with contextlib.suppress(OSError, EOFError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    with contextlib.suppress(OSError, EOFError):
        target.shutdown(socket.SHUT_WR)
