"""The nodes of a compute on this machine: how big one is, and which waiting run gets which. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlcli.domain import vm_sizes
from mlcli.domain.compute import Compute

GB = 1 << 30
PRIORITIES = {"high": 1, "medium": 0, "low": -1}
TIERS = {"premium": 4, "standard": 0, "basic": 0, "spot": -4}
NICENESS = {"dedicated": 0, "low_priority": 10}


@dataclass(frozen=True)
class Machine:
    """What this machine has for jobs: the numbers of its cores, and bytes of memory."""

    cpus: tuple[int, ...]
    memory_bytes: int


@dataclass(frozen=True)
class NodePlan:
    """What a job gets of this machine: how many cores, how many bytes of memory, and how it yields to others (``nice``).

    ``size``: the size that was asked for, ``scaled`` whether the node is smaller than that. No cores and no memory: as much
    as there is.
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
    """A node, given to one run until that has ended, and what it has of this machine.

    ``node`` counts from 0. ``cpus``: the cores set apart for it; none: all of them. ``memory_bytes``: None for no limit.
    """

    node: int
    cpus: tuple[int, ...] = ()
    memory_bytes: int | None = None
    nice: int = 0


@dataclass(frozen=True)
class Ticket:
    """A run that waits. The greatest ``priority`` goes first; of equals the one that was created first."""

    run: str
    created_at: float
    priority: int = 0


def priority_of(queue_settings: Mapping[str, Any]) -> int:
    """The priority that a job's ``queue_settings`` mean: its tier first, its priority among those of a tier."""
    tier = str(queue_settings.get("job_tier", "")).lower()
    word = str(queue_settings.get("priority", "")).lower()
    return TIERS.get(tier, 0) + PRIORITIES.get(word, 0)


def node_of(compute: Compute, machine: Machine) -> NodePlan:
    """One node of the compute: of its size, or so much smaller that all of them fit on the machine side by side."""
    size = vm_sizes.find(compute.size) if compute.size else None
    if size is None or compute.max_instances is None:
        return NodePlan(nice=NICENESS[compute.tier])
    cores = min(size.cores, max(1, len(machine.cpus) // compute.max_instances))
    wanted = int(size.memory_gb * GB)
    memory = min(wanted, machine.memory_bytes // compute.max_instances)
    scaled = cores < size.cores or memory < wanted
    return NodePlan(size.name, cores, memory, NICENESS[compute.tier], scaled=scaled)


def in_order(waiting: Iterable[Ticket]) -> list[Ticket]:
    """Whose turn it is first, second, ..."""
    return sorted(waiting, key=lambda ticket: (-ticket.priority, ticket.created_at, ticket.run))


def grants(
    waiting: Iterable[Ticket], taken: Sequence[Allocation], nodes: int, node: NodePlan, machine: Machine
) -> list[tuple[str, Allocation]]:
    """Which of the waiting runs get one of ``nodes`` nodes now, in the order of their turn, and what they get.

    ``taken``: what the runs have that have one. Of the cores those are chosen that the fewest others have.
    """
    busy = list(taken)
    given = []
    for ticket in in_order(waiting)[: max(0, nodes - len(busy))]:
        numbers = {one.node for one in busy}
        free = next(number for number in range(nodes) if number not in numbers)
        cpus = () if node.cores is None else _least_used(busy, node.cores, machine)
        allocation = Allocation(free, cpus, node.memory_bytes, node.nice)
        busy.append(allocation)
        given.append((ticket.run, allocation))
    return given


def _least_used(busy: Iterable[Allocation], cores: int, machine: Machine) -> tuple[int, ...]:
    users = dict.fromkeys(machine.cpus, 0)
    for one in busy:
        for cpu in users.keys() & set(one.cpus):
            users[cpu] += 1
    return tuple(sorted(sorted(machine.cpus, key=lambda cpu: (users[cpu], cpu))[:cores]))
