"""A compute that is made for one run: made when it is submitted, removed when it has ended (:mod:`compute_removal`)."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

from mlcli.domain.errors import MlcliError, NotFoundError
from mlcli.domain.job import CommandJob
from mlcli.operations import computes, names
from mlcli.operations.compute_removal import TAG
from mlcli.ports.services import Services
from mlcli.spec.computes import read_compute
from mlcli.spec.runconfig import MadeCompute


@contextmanager
def made_for(
    services: Services, made: MadeCompute | None, job: CommandJob, tell: Callable[[str], None]
) -> Iterator[CommandJob]:
    """The job, with a name and on the compute that is made for it. Who leaves when its run has ended, or there is none, takes
    the compute along. One that is to stay, and is there already, is used as it is.
    """
    job = job if job.name else replace(job, name=names.generate())
    if made is None:
        yield job
        return
    compute = name_of(made, job)
    if not (made.keep and _is_there(services, compute)):
        _make(services, made, compute, str(job.name), tell)
    try:
        yield replace(job, compute=compute)
    finally:
        if not made.keep and _is_over(services, str(job.name)):
            with suppress(MlcliError):
                computes.delete(services, compute)


def name_of(made: MadeCompute, job: CommandJob) -> str:
    """What the compute is called: as the configuration says, else like the run."""
    return made.name or str(job.name).replace("_", "-")


def _is_over(services: Services, run: str) -> bool:
    with suppress(NotFoundError):
        return services.runs.get(run).state.is_end
    return True


def _is_there(services: Services, name: str) -> bool:
    with suppress(NotFoundError):
        services.computes.get(name)
        return True
    return False


def _make(services: Services, made: MadeCompute, name: str, run: str, tell: Callable[[str], None]) -> None:
    words = {"name": name, "type": "amlcompute", "max_instances": made.max_instances, "tier": made.tier}
    words |= {"size": made.size} if made.size else {}
    words |= {} if made.keep else {"tags": {TAG: run}}
    written = read_compute(json.dumps(words), "amlCompute", time.time())
    for notice in [*written.notices, *computes.create(services, written.compute)]:
        tell(notice)
