"""What is built of environments on this machine: how one stands, building it now, what the disk holds, what may go."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mlcli.domain.errors import MlcliError, NotFoundError, UnsupportedError
from mlcli.domain.job import EnvironmentSpec
from mlcli.domain.plan import EnvironmentPlan
from mlcli.domain.run import RunFilter
from mlcli.operations import layout, observe
from mlcli.operations.carry import environment_record
from mlcli.operations.containers import choose
from mlcli.operations.environment_pins import pinned_environment
from mlcli.operations.times import iso_time
from mlcli.ports.environments import BuiltEnvironment, EnvironmentBuilder
from mlcli.ports.services import Services


@dataclass(frozen=True)
class Standing:
    """How an environment stands on this machine. ``container``: it is made as an image; ``notice``: why, where that was
    chosen; ``log``, ``failure``: of its last build.
    """

    plan: EnvironmentPlan
    container: bool
    notice: str = ""
    log: Path | None = None
    failure: MlcliError | None = None


def standing(services: Services, spec: EnvironmentSpec, *, in_container: bool | None = None) -> Standing:
    """Look it up; builds nothing. ``in_container`` as in :func:`mlcli.operations.plan.plan`. Raises as a builder's plan."""
    choice = choose(services.settings, spec, asked=in_container)
    builder = services.environment_builder(spec, container=choice.container)
    plan = builder.plan(spec)
    key = plan.fingerprint
    if key is None:
        return Standing(plan, choice.container, choice.notice)
    failure = None if plan.cached else builder.last_failure(key)
    return Standing(plan, choice.container, choice.notice, builder.build_log(key), failure)


def build(services: Services, found: Standing, log: Callable[[str], None]) -> dict[str, Any]:
    """Build it now, or do nothing when it is there; what it is then, as a run's ``environment.json`` tells it.

    Raises EnvironmentBuildError, with the lines before the failure.
    """
    builder = services.environment_builder_named(found.plan.builder)
    activation = builder.build(found.plan, log)
    return environment_record(found.plan, activation, container=found.container)


def pinned(services: Services, spec: EnvironmentSpec, *, in_container: bool | None = None) -> EnvironmentSpec:
    """The same environment with every version as it is built here, for any machine. Raises UnsupportedError when it is not
    built, or is an image that no registry has.
    """
    found = standing(services, spec, in_container=in_container)
    if not found.plan.cached:
        raise UnsupportedError(
            "the environment is not built on this machine, so nobody knows its versions yet",
            hint="build it first: mlcli environment build",
        )
    made = build(services, found, lambda _line: None)
    exact = _remade(made, spec) if found.container else pinned_environment(made, spec)
    if exact is None:
        raise UnsupportedError(
            f"the image {made['image'][:19]} is on this machine alone: no other could be told to use just it",
            hint="push it to a registry and name it by its digest, or export without --pinned",
        )
    return replace(exact, name=spec.name, version=spec.version)


@dataclass(frozen=True)
class Again:
    """What a run ran in, to run in once more. ``notice``: why it may not be just the same."""

    spec: EnvironmentSpec
    container: bool
    notice: str = ""


def again(services: Services, run: str) -> Again:
    """What is still on this machine just so, else the same versions. Raises NotFoundError, UnsupportedError."""
    from mlcli.operations.carry import load_plan

    services.runs.get(run)
    record = services.runs.document(run, layout.ENVIRONMENT_DOCUMENT)
    if record is None:
        raise NotFoundError(
            f"run {run} has no record of its environment: it did not come so far",
            hint=f"see: mlcli job show -n {run}",
        )
    asked = load_plan(services.runs, run)[0].environment.spec
    if record["container"]:
        return _again_in_container(services, asked, record)
    nothing_to_pin = record.get("fingerprint") is None  # an interpreter of this machine
    if nothing_to_pin or _is_here(services, asked, record):
        return Again(_on_host(asked), container=False)
    return Again(_named(pinned_environment(record, asked), asked), container=False)


def _again_in_container(services: Services, asked: EnvironmentSpec, record: Mapping[str, Any]) -> Again:
    if _is_here(services, asked, record):
        return Again(asked, container=True)
    by_id = EnvironmentSpec(image=record["image"], environment_variables=asked.environment_variables)
    if standing(services, by_id, in_container=True).plan.cached:
        return Again(_named(by_id, asked), container=True)
    exact = _remade(record, asked)
    same = record["digest"] is not None or _is_defined_so(services, asked, record)
    if exact is not None:
        notice = (
            "" if same else "the image is made again with the same versions; what it starts from may be another now"
        )
        return Again(_named(exact, asked), container=True, notice=notice)
    gone = f"the image {record['image'][:19]} is gone, and no registry has it"
    if asked.build is None:
        raise UnsupportedError(
            f"{gone}; {asked.image} is another image now, or none",
            hint="put it back (docker load), or submit without --environment-of",
        )
    if not same:
        raise UnsupportedError(
            f"{gone}; and what it was made from (its Dockerfile, its context or its base image) is another now",
            hint="put that back as it was, or submit without --environment-of",
        )
    return Again(asked, container=True, notice=f"{gone}: it is made again from its definition")


def _is_defined_so(services: Services, asked: EnvironmentSpec, record: Mapping[str, Any]) -> bool:
    """Whether the definition, with all that it names, is still the one of the record."""
    try:
        return bool(standing(services, asked, in_container=True).plan.fingerprint == record["fingerprint"])
    except MlcliError:
        return False


def _remade(record: Mapping[str, Any], asked: EnvironmentSpec) -> EnvironmentSpec | None:
    """What makes the content of an image again on any machine: its digest, or the same versions on the same base."""
    if record["digest"] is not None:
        return pinned_environment(record, asked)
    if asked.conda is None and asked.lock is None:
        return None
    exact = pinned_environment({**record, "image": None}, asked)
    return replace(exact, image=asked.image, build=asked.build)


def _named(exact: EnvironmentSpec, asked: EnvironmentSpec) -> EnvironmentSpec:
    return replace(exact, name=asked.name, version=asked.version)


def _is_here(services: Services, asked: EnvironmentSpec, record: Mapping[str, Any]) -> bool:
    """Whether the very environment is on this machine still, not another one of the same definition."""
    builder = services.environment_builder_named(record["builder"])
    try:
        plan = builder.plan(asked)
    except MlcliError:
        return False
    if plan.fingerprint != record["fingerprint"] or not plan.cached:
        return False
    now = environment_record(plan, builder.build(plan, lambda _line: None), container=record["container"])
    return all(now[key] == record[key] for key in ("image", "python", "resolved", "packages"))


def _on_host(asked: EnvironmentSpec) -> EnvironmentSpec:
    """Without the image that was not used there."""
    kept = replace(asked, image=None, build=None)
    leads = kept.interpreter or kept.conda or kept.lock
    return kept if leads else replace(kept, interpreter="current")


def record(found: Standing) -> dict[str, Any]:
    """How an environment stands, as ``show`` prints it."""
    return {
        "description": found.plan.description,
        "builder": found.plan.builder,
        "container": found.container,
        "fingerprint": found.plan.fingerprint,
        "cached": found.plan.cached,
        "build_log": str(found.log) if found.log else None,
        "last_failure": found.failure.message if found.failure else None,
    }


# --- what the disk holds ----------------------------------------------------------------------------------------------


def cached(services: Services) -> tuple[list[BuiltEnvironment], list[str]]:
    """Everything that is built, the one used last first; and a sentence for each builder that cannot say now."""
    found: list[BuiltEnvironment] = []
    notices = []
    for builder in _builders(services):
        try:
            found += builder.listing()
        except MlcliError as silent:
            notices.append(f"environments of the kind {builder.name!r} are left out: {silent.message}")
    return sorted(found, key=lambda built: built.used_at, reverse=True), notices


def _builders(services: Services) -> Iterator[EnvironmentBuilder]:
    try:
        yield from services.environment_builders()
    except UnsupportedError:
        return  # its packages are not installed: it has built nothing


def cached_record(built: BuiltEnvironment) -> dict[str, Any]:
    """One of the cache, as ``list --cached`` prints it."""
    return {
        **asdict(built),
        "resolved": list(built.resolved),
        "built_at": iso_time(built.built_at),
        "used_at": iso_time(built.used_at),
    }


@dataclass(frozen=True)
class Pruned:
    """What a prune removed, or would, and the bytes that it freed. ``failed``: fingerprints of builds that came to nothing,
    whose logs and remains go too; ``problems``: a sentence for each that could not go.
    """

    environments: tuple[BuiltEnvironment, ...]
    freed: int
    failed: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def prune(
    services: Services,
    *,
    older_than_s: float | None = None,
    unused: bool = False,
    everything: bool = False,
    dry_run: bool = False,
) -> Pruned:
    """Take built environments off the disk: those that were last used longer ago, and (``unused``) those that no run of any
    workspace of this home was made for. Both where both are given; with nothing given, the unused.

    One that a live run uses stays in any case, and so does one that is being built.
    """
    all_used, live = _used(services)
    unused = unused or (older_than_s is None and not everything)
    spared = live | all_used if unused else live
    before = time.time() - (older_than_s or 0.0)
    doomed = [built for built in cached(services)[0] if built.fingerprint not in spared and built.used_at <= before]
    remains = _remains(services, spared, before)
    if dry_run:
        return Pruned(tuple(doomed), 0, tuple(remains))
    removed, problems = [], []
    freed = sum(builder.remove(key) for key, builder in remains.items())
    failed = tuple(remains.keys() - _remains(services, spared, before).keys())
    for built in doomed:
        try:
            size = services.environment_builder_named(built.builder).remove(built.fingerprint)
        except MlcliError as refused:
            problems.append(f"{built.description} stays: {refused.message}")
            continue
        if size:
            removed.append(built)
            freed += size
    return Pruned(tuple(removed), freed, failed, tuple(problems))


def _remains(services: Services, spared: set[str], before: float) -> dict[str, EnvironmentBuilder]:
    """Fingerprints of builds that came to nothing, each with a builder that can clear away what they have left."""
    return {
        key: builder
        for builder in _builders(services)
        for key, written_at in builder.unfinished().items()
        if key not in spared and written_at <= before
    }


def _used(services: Services) -> tuple[set[str], set[str]]:
    """Fingerprints that any kept run was made for, and those of live runs."""
    kept: set[str] = set()
    live: set[str] = set()
    for workspace in (services, *services.others()):
        for run in observe.list_runs(workspace, RunFilter(include_archived=True)):
            fingerprint = _fingerprint(workspace, run.name)
            if fingerprint is not None:
                kept.add(fingerprint)
                if not run.state.is_end:
                    live.add(fingerprint)
    return kept, live


def _fingerprint(services: Services, run: str) -> str | None:
    document: Mapping[str, Any] = services.runs.document(run, layout.PLAN_DOCUMENT) or {}
    environment: Mapping[str, Any] = (document.get("plan") or {}).get("environment") or {}
    return environment.get("fingerprint")


# --- logs -------------------------------------------------------------------------------------------------------------


def log_of_run(services: Services, run: str) -> Path:
    """The log of the build that a run waited for. Raises NotFoundError."""
    services.runs.get(run)
    fingerprint = _fingerprint(services, run)
    if fingerprint is None:
        raise NotFoundError(f"the environment of run {run} is not built by mlcli: there is no log")
    return log_of(services, fingerprint)


def log_of(services: Services, fingerprint: str) -> Path:
    """The log of the last build of a fingerprint. Raises NotFoundError."""
    for builder in _builders(services):
        log = builder.build_log(fingerprint)
        if log is not None:
            return log
    raise NotFoundError(
        f"there is no build log of the environment {fingerprint[:12]} on this machine",
        hint="it was never built here, or was pruned; build it: mlcli environment build",
    )
