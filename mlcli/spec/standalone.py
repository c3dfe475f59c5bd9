"""A job as a file that may stand in any folder: every path in it absolute, every file that it names and we read put in."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from mlcli.domain.job import CommandJob, DataInput, EnvironmentSpec
from mlcli.domain.sweep import SweepJob

_FILE = "file:"


def standalone(job: CommandJob) -> dict[str, Any]:
    """The job's document (today's words) with the paths that the job itself has. Pure."""
    document = copy.deepcopy(dict(job.document))
    if job.code is not None:
        document["code"] = job.code
    for name, given in job.inputs.items():
        if isinstance(given, DataInput):
            document["inputs"][name]["path"] = given.path
    for name, wanted in job.outputs.items():
        if wanted.path is not None:
            document["outputs"][name]["path"] = wanted.path
    if "environment" in document:
        document["environment"] = _environment(document["environment"], job.environment)
    return document


def standalone_sweep(sweep: SweepJob) -> dict[str, Any]:
    """The same of a sweep."""
    trial = standalone(sweep.trial)
    document = copy.deepcopy(dict(sweep.document))
    document["trial"] = {key: trial.get(key, value) for key, value in document["trial"].items()}
    return {key: trial[key] if key in {"inputs", "outputs"} else value for key, value in document.items()}


def _environment(written: Any, spec: EnvironmentSpec) -> Any:
    if isinstance(written, str) and not written.startswith(_FILE):
        return written
    made = dict(written) if isinstance(written, Mapping) else _from_file(spec)
    if spec.interpreter is not None:
        made["interpreter"] = spec.interpreter
    if spec.build is not None and spec.build.path is not None:
        made["build"] = {**made.get("build", {}), "path": spec.build.path}
    if spec.conda is not None:
        made["conda_file"] = dict(spec.conda)
    if spec.lock is not None:
        made["lock"] = spec.lock
        if spec.conda is None:
            made.pop("conda_file", None)
    return made


def _from_file(spec: EnvironmentSpec) -> dict[str, Any]:
    """What an environment in a file of its own says, without its paths."""
    facts = {
        "name": spec.name,
        "version": spec.version,
        "image": spec.image,
        "environment_variables": dict(spec.environment_variables),
    }
    made: dict[str, Any] = {key: value for key, value in facts.items() if value}
    if spec.build is not None:
        made["build"] = {"dockerfile_path": spec.build.dockerfile_path}
    return made
