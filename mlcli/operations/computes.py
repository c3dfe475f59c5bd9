"""Computes: make, change, look at and remove the named places where jobs run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mlcli import registry
from mlcli.domain.compute import Compute, SshHost
from mlcli.domain.errors import MlcliError, NotFoundError, TransportError, UnsupportedError, UsageError
from mlcli.domain.nodes import GB, node_of
from mlcli.domain.run import Run, RunFilter
from mlcli.operations import observe, queueing
from mlcli.operations.cancel import cancel
from mlcli.operations.carry import load_allocation
from mlcli.operations.compute_removal import let_go_of_left
from mlcli.operations.machine import enforced, this_machine
from mlcli.operations.times import iso_time
from mlcli.ports.services import Services
from mlcli.spec.computes import BUILT_IN, WrittenCompute

if TYPE_CHECKING:
    from mlcli.operations.attaching import Login

_THIS_MACHINE = Compute(
    BUILT_IN, BUILT_IN, 0.0, description="This machine: jobs start at once, as many as are submitted."
)
_PREPARING = observe.UNSUBMITTED
_PATIENCE_S = 5.0
_PATIENCE_WITH_ONE_S = 20.0


def create(services: Services, compute: Compute, login: Login | None = None) -> list[str]:
    """Keep a new compute; what a person may want to know of it. A machine is logged in to first: when that fails, nothing is
    kept. Raises UnsupportedError for a type that no job can be run on, NameTakenError, TransportError.
    """
    registry.compute_backend(compute.type)
    if compute.ssh is None:
        services.computes.create(compute)
        return node_notices(compute)
    from mlcli.operations import attaching

    login = login or attaching.Login()
    checked = attaching.check(compute, compute.ssh, login)
    services.computes.create(checked.compute)
    return [*checked.notices, *checked.keep_secrets(login)]


def update(
    services: Services, name: str, change: Callable[[Compute], WrittenCompute], login: Login | None = None
) -> tuple[Compute, list[str]]:
    """Replace a compute's definition by what ``change`` makes of it; runs that wait go on by the new one. A machine is logged
    in to again when it is reached in another way from now on.
    """
    _check_not_built_in(name, "changed")
    before = services.computes.get(name)
    if before.ssh is not None:
        return _update_machine(services, before, change, login)
    notices: list[str] = []

    def changed(compute: Compute) -> Compute:
        written = _checked_change(compute, change)
        notices.extend((*written.notices, *node_notices(written.compute)))
        return replace(written.compute, started=compute.started)

    compute = services.computes.edit(name, changed)
    _move_on(services, compute)
    return compute, notices


def _checked_change(compute: Compute, change: Callable[[Compute], WrittenCompute]) -> WrittenCompute:
    written = change(compute)
    if (written.compute.name, written.compute.type) != (compute.name, compute.type):
        raise UsageError("the name and the type of a compute stay", hint="create another one")
    return written


def _update_machine(
    services: Services, before: Compute, change: Callable[[Compute], WrittenCompute], login: Login | None
) -> tuple[Compute, list[str]]:
    from mlcli.operations import attaching

    written = _checked_change(before, change)
    login = replace(login or attaching.Login(), password=written.password)
    checked = attaching.check_again(before, written.compute, login)

    def swapped(compute: Compute) -> Compute:
        if compute != before:
            raise MlcliError(
                f"somebody else has changed compute {before.name} meanwhile", hint="look at it, and try again"
            )
        return checked.compute

    compute = services.computes.edit(before.name, swapped)
    _move_on(services, compute)
    return compute, [*written.notices, *checked.notices, *checked.keep_secrets(login)]


def switch(services: Services, name: str, *, started: bool) -> Compute:
    """Start a compute, or stop it: no job starts on it any more, those that run go on. Raises UnsupportedError for a machine."""
    _check_not_built_in(name, "stopped")
    if services.computes.get(name).ssh is not None:
        raise UnsupportedError(
            f"compute {name} is a machine that mlcli logs in to: it cannot power it on or off",
            hint=f"do that where the machine is managed; so that no job goes there: mlcli compute detach --name {name}",
        )
    compute = services.computes.edit(name, lambda compute: replace(compute, started=started))
    _move_on(services, compute)
    return compute


def _move_on(services: Services, compute: Compute) -> None:
    if compute.has_queue and compute.started:
        queueing.advance(services, compute.name)


def delete(services: Services, name: str, *, force: bool = False) -> list[str]:
    """Forget a compute; what to tell of it. Raises MlcliError while jobs are live on it, unless ``force``: then they are
    cancelled.
    """
    _check_not_built_in(name, "deleted")
    services.computes.get(name)
    live = _live(services).get(name, [])
    if live and not force:
        names = ", ".join(run.name for run in live[:5]) + (", ..." if len(live) > 5 else "")
        count = "1 job is" if len(live) == 1 else f"{len(live)} jobs are"
        raise MlcliError(
            f"{count} live on compute {name}: {names}",
            hint="wait for them, or end them with it: --force",
        )
    services.computes.edit(name, lambda compute: replace(compute, started=False))
    notices = []
    for run in live:
        try:
            cancel(services, run.name)
        except NotFoundError:
            continue
        except TransportError as away:
            notices.append(f"job {run.name} could not be told to end, it may go on: {away.message}")
    services.computes.delete(name)
    return notices


def get(services: Services, name: str) -> Compute:
    """The compute of that name, ``local`` too. Raises NotFoundError."""
    return _THIS_MACHINE if name == BUILT_IN else services.computes.get(name)


def records(services: Services, kind: str | None = None) -> list[dict[str, Any]]:
    """Every compute (of a type), this machine first. Other machines are asked, all at once, whether they answer."""
    live = _live(services)
    let_go_of_left(services)
    found = [one for one in (_THIS_MACHINE, *services.computes.list()) if kind in {None, one.type}]
    problems = _problems(found)
    return [_record(services, one, live.get(one.name, []), problems.get(one.name)) for one in found]


def record(services: Services, name: str, *, ask: bool = True) -> dict[str, Any]:
    """One compute, with what goes on there now. ``ask``: whether another machine answers. Raises NotFoundError."""
    compute = get(services, name)
    problems = _problems([compute], _PATIENCE_WITH_ONE_S) if ask else {}
    return _record(services, compute, _live(services).get(name, []), problems.get(name))


def _problems(computes: Sequence[Compute], patience_s: float = _PATIENCE_S) -> dict[str, str | None]:
    """Name -> why a machine does not answer."""
    hosts = {one.name: one.ssh for one in computes if one.ssh is not None}
    if not hosts:
        return {}
    from mlcli.operations import attaching

    return attaching.problems(hosts, patience_s)


def _record(services: Services, compute: Compute, live: Sequence[Run], problem: str | None) -> dict[str, Any]:
    # a sweep that runs is nowhere: its trials are
    live = [run for run in live if run.job_type != observe.SWEEP or run.state in _PREPARING]
    waiting = [run for run in live if observe.is_waiting(services, run)]
    preparing = [run for run in live if run.state in _PREPARING]
    busy = len(live) - len(waiting) - len(preparing)
    counted = compute.has_queue and compute.ssh is None
    shown = {
        "name": compute.name,
        "type": compute.type,
        "description": compute.description,
        "tags": dict(compute.tags),
        "location": compute.document.get("location"),
        "provisioning_state": "Succeeded",
        "state": "Unreachable" if problem else "Running" if compute.started else "Stopped",
        "created_on": iso_time(compute.created_at) if compute.created_at else None,
        "size": compute.size,
        "tier": compute.tier,
        "min_instances": compute.min_instances,
        "max_instances": compute.max_instances,
        "idle_time_before_scale_down": int(compute.idle_time_s),
        "node": _node_record(compute),
        "nodes": _counts(nodes(services, compute.name)) if counted else None,
        "jobs": {"preparing": len(preparing), "queued": len(waiting), "running": busy},
    }
    if compute.ssh is not None:
        shown |= {"problem": problem, "machine": dict(compute.machine)}
    return {**shown, **{key: value for key, value in compute.document.items() if key not in shown}}


def _node_record(compute: Compute) -> dict[str, Any] | None:
    node = node_of(compute, this_machine())
    if node.cores is None or node.memory_bytes is None:
        return None
    return {
        "cores": node.cores,
        "memory_gb": round(node.memory_bytes / GB, 1),
        "scaled_down": node.scaled,
        "enforced": list(enforced()),
    }


def _counts(shown: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    running = sum(node["node_state"] == "running" for node in shown)
    return {"running": running, "idle": len(shown) - running, "total": len(shown)}


def _live(services: Services) -> dict[str, list[Run]]:
    """Compute -> its live runs, as they are now."""
    found: dict[str, list[Run]] = {}
    for run in observe.refresh(services, services.runs.list(RunFilter(states=observe.LIVE, include_archived=True))):
        if not run.state.is_end:
            found.setdefault(run.compute, []).append(run)
    return found


def nodes(services: Services, name: str) -> list[dict[str, Any]]:
    """The nodes that a compute has now: those that jobs have, those that were in use a moment ago (until the idle time is
    over), and never fewer than ``min_instances``.
    """
    compute = get(services, name)
    if compute.ssh is not None:
        return [_machine_node(services, compute, compute.ssh)]
    users = dict(_users(services, compute, time.time()))
    idle = [number for number in range(compute.min_instances) if number not in users]
    return [_node(compute, number, users.get(number)) for number in sorted({*users, *idle})]


def _users(services: Services, compute: Compute, now: float) -> Iterator[tuple[int, Run | None]]:
    """Node -> the run that has it; None for one that is idle and not given back yet."""
    runs = services.runs.list(RunFilter(compute=compute.name, include_archived=True))
    recent = [run for run in runs if run.ended_at is None or run.ended_at > now - compute.idle_time_s]
    for run in sorted(recent, key=lambda run: not run.state.is_end):  # those that are live come last, and win
        allocation = load_allocation(services.runs, run.name)
        if allocation is not None:
            yield allocation.node, None if run.state.is_end else run


def _node(compute: Compute, number: int, run: Run | None) -> dict[str, Any]:
    return {
        "node_id": f"{compute.name}-{number}",
        "node_state": "running" if run else "idle",
        "current_job_name": run.name if run else None,
        "private_ip_address": "127.0.0.1",
        "public_ip_address": None,
        "port": None,
    }


def _machine_node(services: Services, compute: Compute, host: SshHost) -> dict[str, Any]:
    """A machine is one node, however many jobs are on it."""
    problem = _problems([compute], _PATIENCE_WITH_ONE_S)[compute.name]
    live = _live(services).get(compute.name, [])
    submitted = [run for run in live if run.state not in _PREPARING and not observe.is_waiting(services, run)]
    return {
        "node_id": f"{compute.name}-0",
        "node_state": "unreachable" if problem else "running" if submitted else "idle",
        "current_job_name": ", ".join(run.name for run in submitted) or None,
        "private_ip_address": host.address,
        "public_ip_address": None,
        "port": host.port,
    }


def usage(services: Services) -> list[dict[str, Any]]:
    """What of this machine the computes of the workspace use."""
    machine = this_machine()
    allocations = []
    for run in (run for runs in _live(services).values() for run in runs):
        allocation = load_allocation(services.runs, run.name)
        if allocation is not None:
            allocations.append(allocation)
    cores = len({cpu for one in allocations for cpu in one.cpus})
    memory = sum(one.memory_bytes or 0 for one in allocations)
    rows = [
        _usage("Cores of this machine", cores, len(machine.cpus), "Count"),
        _usage("Memory of this machine", round(memory / GB, 1), round(machine.memory_bytes / GB, 1), "GB"),
    ]
    for compute in services.computes.list():
        if compute.max_instances is not None and compute.ssh is None:
            running = _counts(nodes(services, compute.name))["running"]
            rows.append(_usage(f"Nodes of {compute.name}", running, compute.max_instances, "Count"))
    return rows


def _usage(name: str, value: float, limit: float, unit: str) -> dict[str, Any]:
    return {"name": name, "current_value": value, "limit": limit, "unit": unit}


def node_notices(compute: Compute) -> list[str]:
    """What a node of the compute is on this machine, where that is less than its size promises."""
    node = node_of(compute, this_machine())
    if node.cores is None:
        return []
    loose = [what for what in ("cores", "memory") if what not in enforced()]
    notices = (
        [f"{' and '.join(loose)} of a node are not enforced on this machine, except in containers"] if loose else []
    )
    if not node.scaled:
        return notices
    if compute.max_instances == 1:
        return [f"a node of {compute.name} is {node} here: this machine is smaller than {compute.size}", *notices]
    fit = f"{compute.max_instances} of {compute.size} do not fit on this machine"
    bigger = f"fewer and bigger ones: mlcli compute update --name {compute.name} --max-instances 1"
    return [f"a node of {compute.name} is {node} here, {fit}; {bigger}", *notices]


def _check_not_built_in(name: str, what: str) -> None:
    if name == BUILT_IN:
        raise UsageError(f"the compute {BUILT_IN!r} is this machine: it cannot be {what}")
