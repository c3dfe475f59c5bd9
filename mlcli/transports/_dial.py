"""A TCP connection to a host, and what is to be said when there is none."""

from __future__ import annotations

import socket

from mlcli.domain.errors import TransportError
from mlcli.transports._ssh_config import Hop


def dialled(hop: Hop) -> socket.socket:
    """A socket to the host. Raises TransportError: transient where nobody answered."""
    try:
        stream = socket.create_connection((hop.address, hop.port), timeout=hop.dial_s)
    except socket.gaierror as unknown:
        again = unknown.errno == socket.EAI_AGAIN
        raise TransportError(
            f"{hop}: the name {hop.address} does not resolve: {unknown.strerror}",
            transient=again,
            hint="check its spelling"
            + (" and this machine's network" if again else "; HostName in ~/.ssh/config may say where it is"),
        ) from None
    except UnicodeError:
        raise TransportError(f"{hop}: {hop.address!r} is no host name", transient=False) from None
    except TimeoutError:
        raise TransportError(
            f"{hop}: no answer from {hop.address} port {hop.port} within {hop.dial_s:g} seconds",
            transient=True,
            hint="is the machine on, the address right, and no firewall in between?",
        ) from None
    except ConnectionRefusedError:
        raise TransportError(
            f"{hop}: connection refused: nothing listens on {hop.address} port {hop.port}",
            transient=True,
            hint="is sshd running there, and on this port?",
        ) from None
    except OSError as failed:
        raise TransportError(f"{hop}: cannot be reached: {failed.strerror or failed}", transient=True) from None
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return stream
