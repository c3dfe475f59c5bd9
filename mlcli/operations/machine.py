"""What this machine has for jobs."""

from __future__ import annotations

import os

from mlcli import agent
from mlcli.domain.nodes import Machine


def this_machine() -> Machine:
    """The cores that this process may use, and the memory that the system has."""
    if hasattr(os, "sched_getaffinity"):
        cpus = tuple(sorted(os.sched_getaffinity(0)))
    else:
        cpus = tuple(range(os.cpu_count() or 1))
    return Machine(cpus, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def enforced() -> tuple[str, ...]:
    """Which limits of a node a job on this machine cannot exceed: ``cores``, ``memory``. The second takes control groups, in
    which this user may make one.
    """
    found = ("cores",) if hasattr(os, "sched_setaffinity") else ()
    return (*found, "memory") if agent.can_limit_memory() else found
