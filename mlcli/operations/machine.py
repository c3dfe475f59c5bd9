"""What this machine has for jobs."""

from __future__ import annotations

import os

from mlcli.domain.nodes import Machine


def this_machine() -> Machine:
    """The cores that this process may use, and the memory that the system has."""
    if hasattr(os, "sched_getaffinity"):
        cpus = tuple(sorted(os.sched_getaffinity(0)))
    else:
        cpus = tuple(range(os.cpu_count() or 1))
    return Machine(cpus, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
