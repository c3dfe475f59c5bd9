"""Queueing: runs that wait for a node of their compute, and who gives them one.

There is no server and no table of tickets. A run that waits is Queued and has no ``allocation.json``; one that has a node has
that document until it has ended, whoever notices. So the queue is what the run store says, and whoever wants to move it on
takes the compute's lock, gives out the free nodes in order. ``job create`` does that for itself; a process that watches does it
while anybody waits, and is replaced by the next command that looks when it was killed. Each run that waits is held by a small
process that ``job create`` has left, so that it starts with that command's environment variables; where that was killed, whoever
gives out the node submits the run as well.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass

from mlcli import agent
from mlcli.domain.errors import MlcliError, NotFoundError, StoreError
from mlcli.domain.nodes import Allocation, Ticket, grants, in_order, node_of
from mlcli.domain.run import Event, Run, RunFilter
from mlcli.domain.state import Reason, State
from mlcli.operations import layout, observe
from mlcli.operations.cancel import stop_supervisor
from mlcli.operations.carry import carry, load_allocation, load_plan
from mlcli.operations.machine import this_machine
from mlcli.ports.services import Services

PRIORITY = "mlcli.queue_priority"
POLL_S = 0.05
LOOK_EVERY_S = 2.0


def bring(services: Services, name: str, *, detached: bool = False) -> bool:
    """Prepare and submit a run; one that needs a node of its compute gets it, or waits for it. Whether it waits: a detached
    process then becomes the run's holder, any other has started one. Raises as ``carry``.
    """
    if not _needs_node(services, name):
        carry(services, name, detached=detached)
        return False
    if detached:
        carry(services, name, detached=True)
    compute = services.runs.get(name).compute
    _refresh_users(services, compute)
    with services.computes.allocating(compute):
        if not detached:  # nobody else may give it a node before somebody holds it
            carry(services, name)
        queue = _allocate(services, compute, mine=name)
        waits = observe.is_waiting(services, services.runs.get(name)) and name not in queue.to_carry
        if waits and not detached:
            services.hold(name)
    _carry(services, queue.to_carry)
    if queue.waiting:
        observe.attend_queue(services, compute)
    return waits


def _needs_node(services: Services, name: str) -> bool:
    try:
        plan, _ = load_plan(services.runs, name)
    except StoreError:  # told by carry, as the run's end
        return False
    return plan.node is not None


def advance(services: Services, compute: str) -> None:
    """Give the free nodes to those whose turn it is, and see that somebody watches while others wait."""
    _refresh_users(services, compute)
    with services.computes.allocating(compute):
        queue = _allocate(services, compute)
    _carry(services, queue.to_carry)
    if queue.waiting:
        observe.attend_queue(services, compute)


def watch(services: Services, compute: str) -> None:
    """Move the queue on as nodes become free, until nobody waits; at once when another process does it."""
    me = agent.identity()
    with services.computes.allocating(compute):
        if observe.is_watched(services, compute):
            return
        services.computes.set_watcher(compute, me)
    while True:
        _refresh_users(services, compute)
        with services.computes.allocating(compute):
            if services.computes.watcher(compute) != me:
                return  # the compute was deleted, or another process took over
            queue = _allocate(services, compute)
            if not queue.waiting and not queue.to_carry:
                services.computes.set_watcher(compute, None)
                return
        _carry(services, queue.to_carry)
        if not queue.to_carry:
            _sleep_until_one_ends(services, queue.users)


@dataclass(frozen=True)
class _Queue:
    """Names of runs: those that have a node; those of them that nobody submits; those that wait for one and can get one."""

    users: tuple[str, ...]
    to_carry: tuple[str, ...]
    waiting: tuple[str, ...]


def _allocate(services: Services, name: str, *, mine: str | None = None) -> _Queue:
    """Write down who gets which node. Only while holding the compute's lock. ``mine``: the run that this process carries."""
    live = _live(services, name)
    given = {run.name: load_allocation(services.runs, run.name) for run in live}
    unsubmitted = [run for run in live if observe.is_waiting(services, run)]
    waiting = [run for run in unsubmitted if given[run.name] is None]
    granted = _give(services, name, waiting, [one for one in given.values() if one is not None])
    placed = [run.name for run in unsubmitted if given[run.name] is not None] + granted
    return _Queue(
        users=(*(run.name for run in live if given[run.name] is not None), *granted),
        to_carry=tuple(run for run in placed if run == mine or not observe.is_supervised(services, run)),
        waiting=tuple(run.name for run in waiting if run.name not in granted) if _is_started(services, name) else (),
    )


def _is_started(services: Services, name: str) -> bool:
    with suppress(NotFoundError):
        return services.computes.get(name).started
    return False


def _give(services: Services, name: str, waiting: Sequence[Run], taken: Sequence[Allocation]) -> list[str]:
    """The names of those that get a node now."""
    if not waiting:
        return []
    try:
        compute = services.computes.get(name)
    except NotFoundError as gone:
        _fail(services, waiting, gone.message)
        return []
    if not compute.started:
        return []
    machine = this_machine()
    nodes = compute.max_instances or len(taken) + len(waiting)
    granted = grants(map(_ticket, waiting), taken, nodes, node_of(compute, machine), machine)
    for run, allocation in granted:
        document = {**asdict(allocation), "compute": name, "time": time.time()}
        services.runs.write_document(run, layout.ALLOCATION_DOCUMENT, document)
    return [run for run, _ in granted]


def _fail(services: Services, runs: Sequence[Run], why: str) -> None:
    for run in runs:
        services.runs.append(run.name, Event(Reason.SUBMIT_FAILED, time.time(), why))
        stop_supervisor(services, run.name)


def _carry(services: Services, runs: Sequence[str]) -> None:
    """Submit those that have a node. What goes wrong is told by the run; what cannot be told is tried again later."""
    for run in runs:
        with suppress(MlcliError, OSError):
            carry(services, run)


def _refresh_users(services: Services, compute: str) -> None:
    """Look at those that have a node: whoever has ended gives it back."""
    users = [run for run in _live(services, compute) if load_allocation(services.runs, run.name) is not None]
    observe.refresh(services, users)


def _sleep_until_one_ends(services: Services, users: Sequence[str]) -> None:
    records = [services.runs.folder(run) / layout.EXIT_RECORD for run in users]
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
