"""Submit: from a plan to a run that somebody carries."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from mlcli.domain.errors import MlcliError, StoreError, UnsupportedError
from mlcli.domain.job import CommandJob
from mlcli.domain.plan import Plan
from mlcli.domain.run import Run
from mlcli.operations import layout
from mlcli.operations.carry import uninterrupted
from mlcli.operations.git import git_facts
from mlcli.operations.queueing import PRIORITY, bring
from mlcli.ports.services import Services


def submit(services: Services, job: CommandJob, plan: Plan) -> Run:
    """Store the code, write the run folder and the index row, then have exactly this plan carried out.

    A plan with nothing slow before its command is carried here and now (a few milliseconds); any other is handed to a
    detached supervisor, and this returns at once. Raises UnsupportedError for a plan that has refusals, NameTakenError,
    TransportError when the machine does not answer, and StoreError or OSError when the run could not be begun; there is no such run then. Ctrl-C waits until the run is
    on its way, or comes before there is one.
    """
    if plan.refusals:
        first, *others = plan.refusals
        raise UnsupportedError(first, details=tuple(others))
    services.backend(plan.backend).connect()
    snapshot = services.snapshots.put(Path(plan.code.folder)).digest if plan.code else None
    facts = git_facts(Path(plan.code.folder) if plan.code else Path.cwd())
    run = Run(
        name=plan.run,
        experiment_name=plan.experiment_name,
        compute=plan.compute,
        backend=plan.backend,
        created_at=time.time(),
        job_type=job.type,
        display_name=job.display_name,
        description=job.description,
        tags=dict(job.tags),
        properties={**job.properties, **facts.as_properties(), **_priority(plan)},
        notices=plan.notices,
    )
    documents = {
        layout.JOB_DOCUMENT: job.document,
        layout.PLAN_DOCUMENT: {"plan": asdict(plan), "snapshot": snapshot},
    }
    with uninterrupted():
        services.runs.create(run, documents)
        begun_or_gone(services, plan.run, lambda: _have_carried(services, plan))
    return services.runs.get(run.name)


def _priority(plan: Plan) -> dict[str, str]:
    return {PRIORITY: str(plan.priority)} if plan.priority else {}


def _have_carried(services: Services, plan: Plan) -> None:
    if plan.needs_preparation:
        services.supervise(plan.run)
    else:
        bring(services, plan.run)


def begun_or_gone(services: Services, name: str, begin: Callable[[], object]) -> None:
    """Begin a run. One that cannot be begun (a full disk, no process to be had) is removed: no half run stays."""
    try:
        begin()
    except (StoreError, OSError):
        with suppress(MlcliError):
            services.runs.delete(name)
        raise
