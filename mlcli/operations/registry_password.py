"""The password of an image's registry that stands in a job file itself: it is used, and no file of the run holds it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mlcli.domain.job import CommandJob
from mlcli.domain.plan import Plan
from mlcli.domain.sweep import SweepJob

VARIABLE = "MLCLI_REGISTRY_PASSWORD"


def set_apart(job: CommandJob) -> CommandJob:
    """The job with a variable's name in the password's place; the variable is set in this process, from which the
    supervisor has it. Who carries the run on after that one was killed has not, and says so.
    """
    login = job.environment.registry
    if login is None or login.password is None:
        return job
    os.environ[VARIABLE] = login.password
    apart = replace(login, password=None, password_env=VARIABLE)
    return replace(job, environment=replace(job.environment, registry=apart), document=_without(job.document))


def set_apart_in_sweep(sweep: SweepJob) -> SweepJob:
    """The same of the job that a sweep's trials run."""
    trial = set_apart(sweep.trial)
    if trial is sweep.trial:
        return sweep
    return replace(sweep, trial=trial, document={**sweep.document, "trial": _without(sweep.document["trial"])})


def forget_on_host(plan: Plan) -> None:
    """A job on the host has the variables of this process, and pulls nothing."""
    if plan.container is None:
        os.environ.pop(VARIABLE, None)


def _without(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """The job as it is kept and shown. One that names a file of its own for the environment has no password in it."""
    environment = document.get("environment")
    if not isinstance(environment, Mapping) or not isinstance(environment.get("registry"), Mapping):
        return document
    registry = {key: value for key, value in environment["registry"].items() if key != "password"}
    return {**document, "environment": {**environment, "registry": {**registry, "password_env": VARIABLE}}}
