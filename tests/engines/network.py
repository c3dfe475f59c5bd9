"""Networks of the tests' own: machines that are network namespaces, on a switch that is one too.

No firewall rule, bridge or route of this machine is in the way, and nothing of it is changed but for one link into the switch.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.engines import Unavailable
from tests.engines.packages import must, program, root_is_needed


@dataclass(frozen=True)
class Network:
    """Machines below ``prefix`` (``10.77.7``), where the machine that runs the tests is 254."""

    name: str
    prefix: str

    @property
    def address(self) -> str:
        """This machine's address in it."""
        return f"{self.prefix}.254"

    def plug_in(self, machine: str, number: int) -> tuple[str, str]:
        """Make a machine. Returns its namespace and its address."""
        namespace, address = lonely_namespace(self.name, machine), f"{self.prefix}.{number}"
        ip("-n", namespace, "link", "add", "eth0", "type", "veth", "peer", "name", machine, "netns", self._switch)
        ip("-n", namespace, "address", "add", f"{address}/24", "dev", "eth0")
        ip("-n", namespace, "link", "set", "eth0", "up")
        ip("-n", self._switch, "link", "set", machine, "master", "switch", "up")
        return namespace, address

    def cut(self, machine: str) -> None:
        """Pull its cable: nothing arrives, nobody is told."""
        ip("-n", self._switch, "link", "set", machine, "down")

    def mend(self, machine: str) -> None:
        ip("-n", self._switch, "link", "set", machine, "up")

    @property
    def _switch(self) -> str:
        return f"{self.name}-switch"


@contextlib.contextmanager
def network(folder: Path) -> Iterator[Network]:
    """A network of namespaces that bear the name of a disposable folder, which removes them. Raises Unavailable."""
    switch = lonely_namespace(folder.name, "switch")
    ip("-n", switch, "link", "add", "switch", "type", "bridge")
    ip("-n", switch, "link", "set", "switch", "up")
    link, prefix = _uplink(switch)
    try:
        yield Network(folder.name, prefix)
    finally:
        _made("link", "delete", link)


def lonely_namespace(name: str, machine: str) -> str:
    """A namespace with a loopback only. Returns its name."""
    root_is_needed("making network namespaces")
    namespace = f"{name}-{machine}"
    ip("netns", "add", namespace)
    ip("-n", namespace, "link", "set", "lo", "up")
    return namespace


def make_bridge() -> str:
    """A bridge on this machine that has addresses of its own. Returns its name."""
    for number in range(1, 255):
        name = f"mlcli-test{number}"
        if _made("link", "add", name, "type", "bridge"):
            ip("address", "add", f"10.78.{number}.1/24", "dev", name)
            ip("link", "set", name, "up")
            return name
    raise Unavailable("no bridge can be made: ip link add mlcli-test1 type bridge fails")


def remove_bridge(name: str) -> None:
    """Remove a bridge, and the firewall's rules for it, which an engine leaves behind."""
    _made("link", "delete", name)
    iptables = program("iptables")
    for table in ("nat", "filter"):
        listed = subprocess.run([iptables, "-w", "-t", table, "-S"], capture_output=True, text=True, check=False)
        for rule in map(str.split, listed.stdout.splitlines()):
            if name in rule:
                subprocess.run([iptables, "-w", "-t", table, "-D", *rule[1:]], capture_output=True, check=False)


def ip(*arguments: str) -> None:
    """The ``ip`` command. Raises Unavailable with what it says."""
    must([program("ip"), *arguments])


def _uplink(switch: str) -> tuple[str, str]:
    """Plug this machine into a switch, with the first network that no other test uses."""
    for number in range(1, 255):
        link = f"mlcli-up{number}"
        if _made("link", "add", link, "type", "veth", "peer", "name", "uplink", "netns", switch):
            ip("address", "add", f"10.77.{number}.254/24", "dev", link)
            ip("link", "set", link, "up")
            ip("-n", switch, "link", "set", "uplink", "master", "switch", "up")
            return link, f"10.77.{number}"
    raise Unavailable("no pair of network links can be made")


def _made(*arguments: str) -> bool:
    return subprocess.run([program("ip"), *arguments], capture_output=True, check=False).returncode == 0
