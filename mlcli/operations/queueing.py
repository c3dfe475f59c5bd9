"""Queueing: runs that wait for a node of their compute, and who gives them one.

There is no server and no table of tickets. A run that waits is Queued and has no ``allocation.json``; one that has a node has
that document until it has ended, whoever notices. So the queue is what the run store says, and whoever wants to move it on
takes the compute's lock, gives out the free nodes in order, and carries those runs. ``job create`` does that for itself; a
process that watches does it while anybody waits, and is replaced by the next command that looks when it was killed.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass

from mlcli import agent
from mlcli.domain.errors import MlcliError, NotFoundError
from mlcli.domain.nodes import Ticket, grants, in_order, node_of
from mlcli.domain.run import Event, Run, RunFilter
from mlcli.domain.state import Reason, State
from mlcli.operations import layout, observe
from mlcli.operations.carry import carry, load_allocation
from mlcli.operations.machine import this_machine
from mlcli.ports.services import Services

PRIORITY = "mlcli.queue_priority"
POLL_S = 0.05
LOOK_EVERY_S = 2.0


def bring(services: Services, name: str, *, detached: bool = False) -> None:
    """Prepare and submit a run; one that needs a node of its compute gets it, or waits for it. Raises as ``carry``."""
    carry(services, name, detached=detached)
    run = services.runs.get(name)
    if observe.is_waiting(services, run):
        advance(services, run.compute)


def advance(services: Services, compute: str) -> None:
    """Give the free nodes to those whose turn it is, and see that somebody watches while others wait."""
    _refresh_holders(services, compute)
    with services.computes.allocating(compute):
        state = _allocate(services, compute)
    _carry(services, state.to_carry)
    if state.waiting:
        observe.attend_queue(services, compute)


def watch(services: Services, compute: str) -> None:
    """Move the queue on as nodes become free, until nobody waits; at once when another process does it."""
    me = agent.identity()
    with services.computes.allocating(compute):
        if observe.is_watched(services, compute):
            return
        services.computes.set_watcher(compute, me)
    while True:
        holders = _refresh_holders(services, compute)
        with services.computes.allocating(compute):
            if services.computes.watcher(compute) != me:
                return  # the compute was deleted, or another process took over
            state = _allocate(services, compute)
            if not state.waiting and not state.to_carry:
                services.computes.set_watcher(compute, None)
                return
        _carry(services, state.to_carry)
        if not state.to_carry:
            _sleep_until_one_ends(services, holders)


@dataclass(frozen=True)
class _Queue:
    """Names of runs: those that have a node and nobody who has submitted them, and those that wait."""

    to_carry: tuple[str, ...]
    waiting: tuple[str, ...]


def _allocate(services: Services, name: str) -> _Queue:
    """Write down who gets which node. Only while holding the compute's lock."""
    live = _live(services, name)
    given = {run.name: load_allocation(services.runs, run.name) for run in live}
    waiting = [run for run in live if given[run.name] is None and observe.is_waiting(services, run)]
    orphans = [run.name for run in live if given[run.name] is not None and observe.is_waiting(services, run)]
    if not waiting:
        return _Queue(tuple(orphans), ())
    try:
        compute = services.computes.get(name)
    except NotFoundError as gone:
        _fail(services, waiting, gone.message)
        return _Queue(tuple(orphans), ())
    if not compute.started:
        return _Queue(tuple(orphans), ())
    machine = this_machine()
    taken = [one for one in given.values() if one is not None]
    nodes = compute.max_instances or len(taken) + len(waiting)
    granted = grants(map(_ticket, waiting), taken, nodes, node_of(compute, machine), machine)
    for run, one in granted:
        document = {**asdict(one), "compute": name, "time": time.time()}
        services.runs.write_document(run, layout.ALLOCATION_DOCUMENT, document)
    served = {run for run, _ in granted}
    return _Queue(
        (*orphans, *(run for run, _ in granted)), tuple(run.name for run in waiting if run.name not in served)
    )


def _fail(services: Services, runs: Sequence[Run], why: str) -> None:
    for run in runs:
        services.runs.append(run.name, Event(Reason.SUBMIT_FAILED, time.time(), why))


def _carry(services: Services, runs: Sequence[str]) -> None:
    """Submit those that have a node. What goes wrong is told by the run; what cannot be told is tried again later."""
    for run in runs:
        with suppress(MlcliError, OSError):
            carry(services, run)


def _refresh_holders(services: Services, compute: str) -> list[Run]:
    """Look at those that have a node: whoever has ended gives it back. Those that have not."""
    holders = [run for run in _live(services, compute) if load_allocation(services.runs, run.name) is not None]
    return [run for run in observe.refresh(services, holders) if not run.state.is_end]


def _sleep_until_one_ends(services: Services, holders: Sequence[Run]) -> None:
    records = [services.runs.folder(run.name) / layout.EXIT_RECORD for run in holders]
    deadline = time.monotonic() + LOOK_EVERY_S
    while time.monotonic() < deadline and not any(record.exists() for record in records):
        time.sleep(POLL_S)


def _live(services: Services, compute: str) -> Sequence[Run]:
    return services.runs.list(RunFilter(compute=compute, states=observe.LIVE, include_archived=True))


def _ticket(run: Run) -> Ticket:
    return Ticket(run.name, run.created_at, int(run.properties.get(PRIORITY, "0")))


def positions(services: Services, compute: str) -> dict[str, int]:
    """Of each run that waits for a node of the compute: its place, counted from 1."""
    runs = services.runs.list(RunFilter(compute=compute, states=frozenset({State.QUEUED}), include_archived=True))
    waiting = [
        run for run in runs if load_allocation(services.runs, run.name) is None and observe.is_waiting(services, run)
    ]
    ordered = in_order(_ticket(run) for run in waiting)
    return {ticket.run: place for place, ticket in enumerate(ordered, 1)}
