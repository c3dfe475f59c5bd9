"""Records: a run as the mapping that ``show`` and ``list`` print, under the keys that ``az ml`` uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from mlcli.domain.plan import Plan
from mlcli.domain.redaction import masked, masked_record
from mlcli.domain.run import Run
from mlcli.domain.state import State
from mlcli.operations import layout, observe
from mlcli.operations.times import iso_time
from mlcli.ports.services import Services


def summaries(services: Services, runs: Sequence[Run]) -> list[dict[str, Any]]:
    """The rows of a list."""
    places = _places(services, runs)
    return [_summary(run, places.get(run.name)) for run in runs]


def _places(services: Services, runs: Sequence[Run]) -> dict[str, int]:
    """Of those that wait for a node: the place in the queue of their compute, counted from 1."""
    queued = {run.compute for run in runs if run.state is State.QUEUED}
    if not queued:
        return {}
    from mlcli.operations.queueing import positions

    return {name: place for compute in queued for name, place in positions(services, compute).items()}


def _summary(run: Run, place: int | None) -> dict[str, Any]:
    return {
        "name": run.name,
        "display_name": run.display_name,
        "experiment_name": run.experiment_name,
        "status": str(run.state),
        "type": run.job_type,
        "compute": run.compute,
        "queue_position": place,
        "tags": dict(run.tags),
        "creation_context": {"created_at": iso_time(run.created_at)},
        "start_time": iso_time(run.started_at),
        "end_time": iso_time(run.ended_at),
        "duration_s": _duration(run),
        "exit_code": run.exit_code,
        "parent_job_name": run.parent,
        "archived": run.archived,
    }


def record(services: Services, run: Run) -> dict[str, Any]:
    """Everything about one run: the job as written, then what became of it."""
    job: Mapping[str, Any] = services.runs.document(run.name, layout.JOB_DOCUMENT) or {}
    planned: Mapping[str, Any] = services.runs.document(run.name, layout.PLAN_DOCUMENT) or {}
    plan: Mapping[str, Any] = planned.get("plan") or {}
    environment: Mapping[str, Any] = services.runs.document(run.name, layout.ENVIRONMENT_DOCUMENT) or {}
    folder = services.runs.folder(run.name)
    return {
        **masked_record(job),
        **summaries(services, [run])[0],
        "description": run.description,
        "properties": dict(run.properties),
        "status_reason": run.reason.value,
        "status_message": run.message,
        "workspace": services.name,
        "resolved": {
            "command": masked(plan.get("command") or ""),
            **_environment(plan, environment),
            "inputs": {entry["name"]: masked(entry["value"]) for entry in plan.get("inputs", [])},
            "outputs": {entry["name"]: entry.get("home") or entry["value"] for entry in plan.get("outputs", [])},
            "registered": services.runs.document(run.name, layout.REGISTERED_DOCUMENT) or {},
            "snapshot": planned.get("snapshot"),
            "node": _node(run, services.runs.document(run.name, layout.ALLOCATION_DOCUMENT)),
        },
        "notices": list(run.notices),
        "folder": str(folder),
        **_sweep(services, run),
        "services": {"Log": {"type": "file", "endpoint": f"{plan.get('run_folder') or folder}/{layout.USER_LOG}"}},
    }


def _sweep(services: Services, run: Run) -> dict[str, Any]:
    """Of a sweep: how it stands, and its best trial."""
    if run.job_type != observe.SWEEP:
        return {}
    from mlcli.operations.sweep_report import report

    return {"sweep": report(services, run).as_record()}


def _node(run: Run, allocation: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The node of its compute that the run has, or had."""
    if allocation is None:
        return None
    shown = {key: allocation.get(key) for key in ("cpus", "memory_bytes")}
    return {"node_id": f"{run.compute}-{allocation.get('node')}", **shown}


def _environment(plan: Mapping[str, Any], made: Mapping[str, Any]) -> dict[str, Any]:
    """What the run runs in: as planned, and, once it is made, pinned."""
    planned: Mapping[str, Any] = plan.get("environment") or {}
    spec: Mapping[str, Any] = planned.get("spec") or {}
    container: Mapping[str, Any] | None = plan.get("container")
    named = ":".join(filter(None, (spec.get("name"), spec.get("version"))))
    return {
        "environment": planned.get("description"),
        "environment_name": named or None,
        "environment_fingerprint": made.get("fingerprint") or planned.get("fingerprint"),
        "runs_in": "container" if container else "host",
        "container_reason": container.get("reason") if container else None,
        "image": made.get("image"),
        "image_digest": made.get("digest"),
        "python": made.get("python"),
        "packages": made.get("resolved", []),
        "conda_packages": made.get("packages", []),
    }


def plan_record(plan: Plan) -> dict[str, Any]:
    """A plan as ``--dry-run`` prints it: nothing left out, secrets masked."""
    shown: dict[str, Any] = masked_record(asdict(plan))
    return shown


def _duration(run: Run) -> float | None:
    if run.started_at is None or run.ended_at is None:
        return None
    return round(max(0.0, run.ended_at - run.started_at), 3)
