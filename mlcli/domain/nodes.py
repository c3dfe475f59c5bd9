"""The nodes of a compute on this machine: how big one is, and which waiting run gets which. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mlcli.domain.vm_sizes import VmSize

GB = 1 << 30
PRIORITIES = {"high": 1, "medium": 0, "low": -1}
TIERS = {"premium": 2, "standard": 0, "basic": 0, "spot": -2}
NICENESS = {"dedicated": 0, "low_priority": 10}


@dataclass(frozen=True)
class Machine:
    """What this machine has for jobs: the numbers of its cores, and bytes of memory."""

    cpus: tuple[int, ...]
    memory_bytes: int


@dataclass(frozen=True)
class NodePlan:
    """What a job gets of this machine: how many cores, how many bytes of memory, and how it yields to others (``nice``).

    ``size``: the size that was asked for, ``scaled`` whether the node is smaller than that. None: as much as there is.
    """

    size: str | None = None
    cores: int | None = None
    memory_bytes: int | None = None
    nice: int = 0
    scaled: bool = False

    def __str__(self) -> str:
        if self.cores is None or self.memory_bytes is None:
            return "this machine"
        cores = f"{self.cores} core{'' if self.cores == 1 else 's'}"
        return f"{cores}, {self.memory_bytes / GB:.1f} GB"


@dataclass(frozen=True)
class Allocation:
    """A node and its cores: given to one run until that has ended. ``node`` counts from 0; no cores: none are set apart."""

    node: int
    cpus: tuple[int, ...] = ()


@dataclass(frozen=True)
class Ticket:
    """A run that waits. The greatest ``priority`` goes first; of equals the one that was created first."""

    run: str
    created_at: float
    priority: int = 0


def node_of(size: VmSize, nodes: int, tier: str, machine: Machine) -> NodePlan:
    """One of ``nodes`` nodes of that size, scaled down so that all of them fit on the machine side by side."""
    cores = min(size.cores, max(1, len(machine.cpus) // nodes))
    wanted = int(size.memory_gb * GB)
    memory = min(wanted, machine.memory_bytes // nodes)
    return NodePlan(size.name, cores, memory, NICENESS[tier], scaled=cores < size.cores or memory < wanted)


def in_order(waiting: Iterable[Ticket]) -> list[Ticket]:
    """Whose turn it is first, second, ..."""
    return sorted(waiting, key=lambda ticket: (-ticket.priority, ticket.created_at, ticket.run))


def grants(
    waiting: Iterable[Ticket],
    taken: Sequence[Allocation],
    nodes: int,
    cores: int | None,
    machine: Machine,
) -> list[tuple[str, Allocation]]:
    """Which of the waiting runs get a node now, in the order of their turn, and which node.

    ``taken``: what the runs have that have one. ``cores``: how many a node has, None when none are set apart; those are
    chosen that the fewest others have.
    """
    busy = list(taken)
    given = []
    for ticket in in_order(waiting):
        if len(busy) >= nodes:
            break
        numbers = {one.node for one in busy}
        node = next(number for number in range(nodes) if number not in numbers)
        allocation = Allocation(node, _least_used(busy, cores, machine) if cores is not None else ())
        busy.append(allocation)
        given.append((ticket.run, allocation))
    return given


def _least_used(busy: Iterable[Allocation], cores: int, machine: Machine) -> tuple[int, ...]:
    users = dict.fromkeys(machine.cpus, 0)
    for one in busy:
        for cpu in users.keys() & set(one.cpus):
            users[cpu] += 1
    return tuple(sorted(sorted(machine.cpus, key=lambda cpu: (users[cpu], cpu))[:cores]))
