"""``job create --environment-of JOB``: another job in exactly what that one ran in, in a container if and only if it was."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from mlcli.domain.errors import UsageError

if TYPE_CHECKING:
    from mlcli.cli.command import Session
    from mlcli.domain.job import CommandJob
    from mlcli.domain.plan import Plan


def overrides(sets: Sequence[str]) -> list[str]:
    """The file's own environment is not even read. Raises UsageError for a ``--set`` of it."""
    for assignment in sets:
        if re.match(r"\s*environment\s*[.=]", assignment):
            raise UsageError(f"--environment-of and --set {assignment} both say what the job runs in", hint="give one")
    return ["environment=current", *sets]


def plan(
    session: Session, job: CommandJob, run: str, *, in_container: bool | None, keep_container: bool
) -> tuple[CommandJob, Plan]:
    """The job with that run's environment, and its plan. Raises UsageError when a flag asks for what that run was not."""
    from mlcli.operations.environment_cache import again
    from mlcli.operations.plan import plan as make_plan
    from mlcli.spec.environments import environment_document

    found = again(session.services, run)
    environment, container = found.spec, found.container
    if in_container is not None and in_container is not container:
        was = "in a container" if container else "on the host"
        raise UsageError(f"job {run} ran {was}", hint="leave --docker and --no-docker out: --environment-of decides")
    named = {key: text for key, text in (("name", environment.name), ("version", environment.version)) if text}
    document = {**job.document, "environment": {**named, **environment_document(environment)}}
    job = replace(job, environment=environment, document=document)
    made = make_plan(session.services, job, in_container=container, keep_container=keep_container)
    if found.notice:
        made = replace(made, notices=(found.notice, *made.notices))
    if made.container is not None:
        made = replace(
            made, container=replace(made.container, reason=f"job {run}, whose environment it takes, ran in one")
        )
    return job, made
