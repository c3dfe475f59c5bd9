"""The container of a job, as the Engine API's own JSON; and the exit record of one that left none. Pure but for whose
process this is.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from mlcli import docker_engine
from mlcli.backends import _launcher
from mlcli.backends._docker_args import DockerArgs, gpus, parse, size
from mlcli.backends._folder import folder_of
from mlcli.docker_engine import EngineRefusedError
from mlcli.domain.errors import MlcliError, UnsupportedError
from mlcli.domain.job import CommandJob, DataInput, Resources
from mlcli.domain.plan import Plan
from mlcli.ports.backends import Prepared

FOLDER, OWNER = "mlcli.run_folder", "mlcli.owner"
KEEP = "mlcli.keep"
LIFE = "mlcli.life"  # tells a run's container from that of a deleted run of the same name
_SYSTEM = ("/bin", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/run", "/sbin", "/sys", "/var/run")
_PROGRAMS = ("/usr/bin", "/usr/lib", "/usr/lib64", "/usr/local/bin", "/usr/local/lib", "/usr/sbin", "/usr/libexec")
_NO_SHELL = "the image has no /bin/sh, so that no command can be run in it: take an image with a shell, or add one in a Dockerfile"
_ENV_FILE = "name a text file on this machine, with a NAME=VALUE on each line"
_COPIED = frozenset({"download", "eval_download"})


@dataclass(frozen=True)
class User:
    """Whose files the job's are to be: ``uid:gid``, further groups, and the name that goes with them (None: root)."""

    ids: str
    groups: tuple[str, ...] = ()
    name: str | None = None


def check_container(job: CommandJob) -> None:
    """Refuse what a container cannot be given. Raises UnsupportedError."""
    parse(job.resources.docker_args)
    _limits(job.resources)
    for name, given in job.inputs.items():
        if isinstance(given, DataInput) and given.path.startswith("/") and given.mode not in _COPIED:
            _check_place(f"input {name!r}", given.path, f"copy it: --set inputs.{name}.mode=download")
    for name, output in job.outputs.items():
        if output.path is not None and output.path.startswith("/"):
            _check_place(f"output {name!r}", output.path, "leave its path out: it is then kept with the run")


def _check_place(what: str, path: str, hint: str) -> None:
    place = posixpath.normpath(path)
    hides = place == "/" or any(is_below(folder, place) for folder in (*_SYSTEM, *_PROGRAMS))
    inside = any(is_below(place, folder) for folder in (*_SYSTEM, *_PROGRAMS))
    if hides or (inside and not is_below(place, "/dev/shm")):  # noqa: S108  (memory that is shared on purpose)
        raise UnsupportedError(f"{what}: {place} would hide the container's own {place}", hint=hint)


_YIELDING_SHARES = 102  # a tenth of what a container has of the cores when all want them


def _limits(resources: Resources) -> dict[str, Any]:
    limits: dict[str, Any] = {}
    for key, text in (("ShmSize", resources.shm_size), ("Memory", resources.memory)):
        if text is not None:
            limits[key] = _size(key, text)
    if resources.memory is not None:
        limits["MemorySwap"] = limits["Memory"]  # else as much swap again: the limit would not be one
    if resources.cpus is not None:
        limits["NanoCpus"] = int(resources.cpus * 1e9)
    if resources.gpus not in {None, "0"}:
        limits["DeviceRequests"] = gpus(str(resources.gpus))
    return limits


def _size(key: str, text: str) -> int:
    name = "shm_size" if key == "ShmSize" else "memory"
    try:
        return size(text)
    except ValueError as odd:
        raise UnsupportedError(f"resources.{name}: {odd}", hint=f"write: --set resources.{name}=2g") from odd


def arguments(resources: Resources) -> DockerArgs:
    """``docker_args`` over the limits that ``resources`` itself names."""
    given = parse(resources.docker_args)
    limits = _limits(resources)
    if "Memory" in given.host:
        limits.pop("MemorySwap", None)  # it belongs to the other limit
    return replace(given, host={**limits, **given.host})


def body(prepared: Prepared, given: DockerArgs, user: User, *, owner: str, life: str, mounted: bool) -> dict[str, Any]:
    """What ``/containers/create`` takes. No variable of the job is in it: anybody who may ask the engine can read it.

    ``life``: the value of the label LIFE. ``mounted``: the engine is on this machine, and the job's folders are its own.
    """
    plan = prepared.plan
    ours = {docker_engine.RUN: plan.run, FOLDER: plan.run_folder, OWNER: owner, LIFE: life}
    labels = {**given.config.get("Labels", {}), **ours}
    if plan.container is not None and plan.container.keep:
        labels[KEEP] = "1"
    mounts = [*(_mounts(plan) if mounted else ()), *given.host.get("Mounts", ())]
    groups = [*user.groups, *given.host.get("GroupAdd", ())]
    return {
        "Image": prepared.activation.image,
        "Cmd": ["/bin/sh", posixpath.join(plan.run_folder, _launcher.SCRIPT), plan.run_folder],
        "User": user.ids,
        "Healthcheck": {"Test": ["NONE"]},
        **given.config,
        "Labels": labels,
        "HostConfig": {"Init": True, **given.host, **_node(prepared, given), "Mounts": mounts, "GroupAdd": groups},
    }


def _node(prepared: Prepared, given: DockerArgs) -> dict[str, Any]:
    """The limits of the node that the run has; the job may ask for less memory than that, not for more."""
    node = prepared.allocation
    limits: dict[str, Any] = {}
    if node is not None and node.cpus:
        limits["CpusetCpus"] = ",".join(str(cpu) for cpu in node.cpus)
    if node is not None and node.memory_bytes is not None:
        memory = min(node.memory_bytes, given.host.get("Memory") or node.memory_bytes)
        limits.update(Memory=memory, MemorySwap=memory)
    if node is not None and node.nice:
        limits["CpuShares"] = _YIELDING_SHARES
    return limits


def _mounts(plan: Plan) -> list[dict[str, Any]]:
    """The run folder, inputs and outputs, each at its own path; what is written to by one is writable for all."""
    writable = dict[str, bool]()
    for path, may_write in _places(plan):
        writable[path] = writable.get(path, False) or may_write
    return [
        {"Type": "bind", "Source": path, "Target": path, "ReadOnly": not may_write}
        for path, may_write in sorted(writable.items())
    ]


def _places(plan: Plan) -> Iterator[tuple[str, bool]]:
    yield plan.run_folder, True
    for output in plan.outputs:
        folder = posixpath.normpath(folder_of(output))
        if not is_below(folder, plan.run_folder):
            yield folder, True
    yield from inputs_elsewhere(plan)


def inputs_elsewhere(plan: Plan) -> Iterator[tuple[str, bool]]:
    """Where inputs lie outside the run folder, and whether the job may write there."""
    for entry in plan.inputs:
        if entry.action == "path":
            yield posixpath.normpath(entry.value), entry.mode == "rw_mount"
        elif entry.action in {"link", "fetch"} and Path(entry.value).is_symlink():
            yield str(Path(entry.value).readlink()), False


def is_below(path: str, folder: str) -> bool:
    """Whether it is the folder or lies in it."""
    return path == folder or path.startswith(f"{folder}/")


def invoker(*, is_root_here: bool) -> User:
    """Who runs mlcli. ``is_root_here``: the engine's root is that person already (a rootless engine)."""
    if is_root_here or os.getuid() == 0:
        return User("0:0")
    others = sorted({*os.getgroups()} - {os.getgid()})
    return User(f"{os.getuid()}:{os.getgid()}", tuple(map(str, others)), os.environ.get("USER") or str(os.getuid()))


def environment_of(given: DockerArgs, environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that ``--env-file`` and ``--env`` name. Raises OSError."""
    lines = [line for file in given.environment_files for line in Path(file).read_text().splitlines()]
    return dict(_variables([line for line in lines if line.strip() and not line.startswith("#")], environment)) | dict(
        _variables(given.environment, environment)
    )


def _variables(lines: Iterable[str], environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        name, equals, value = line.partition("=")
        if equals:
            yield name, value
        elif name in environment:
            yield name, environment[name]


def adapt(record: dict[str, Any], given: DockerArgs, user: User, environment: Mapping[str, str]) -> None:
    """Put into the launch record what else says how the command runs. Raises UnsupportedError."""
    try:
        named = environment_of(given, environment)
    except OSError as unreadable:
        what = f"{unreadable.filename}: {unreadable.strerror}"
        raise UnsupportedError(f"resources.docker_args: --env-file: {what}", hint=_ENV_FILE) from unreadable
    except ValueError as no_text:
        raise UnsupportedError(f"resources.docker_args: --env-file: {no_text}", hint=_ENV_FILE) from no_text
    changes = record["environment"]
    changes["set"] = {**named, **changes["set"]}
    if user.name is not None:  # a user whom the image does not know has no name there, which torch and others need
        changes["defaults"] = {**changes["defaults"], "USER": user.name, "LOGNAME": user.name}
    if given.working_directory is not None:
        record["working_directory"] = given.working_directory


def explained(refused: EngineRefusedError, prepared: Prepared) -> MlcliError:
    """The engine's refusal to create or start the container, with what to do about it."""
    text = refused.message
    image = prepared.plan.environment.spec.image or prepared.activation.image
    if _lacks_shell(text):
        return UnsupportedError(_NO_SHELL)
    if "platform" in text:
        hint = "build or pull the image for it, or take another one: --platform in resources.docker_args"
        return MlcliError(text, hint=hint)
    if refused.status == 404 and "image" in text.lower():
        return MlcliError(f"the image {image} is not on this engine any more", hint="submit the job once more")
    if "device driver" in text:
        return MlcliError(
            "the engine has no GPU for containers: " + text,
            hint="install the NVIDIA container toolkit, or submit without GPUs (resources.gpus, --gpus)",
        )
    return MlcliError(text)


def _lacks_shell(words: str) -> bool:
    return "/bin/sh" in words and ("no such file" in words.lower() or "not found" in words)


def exit_record(
    told: Mapping[str, Any], *, begun: Mapping[str, Any] | None, cancelled: bool, words: str
) -> dict[str, Any]:
    """The end of a container whose agent left no exit record, as the engine tells it.

    ``told``: ``/containers/ID/json``; ``begun``: ``agent.json``; ``words``: the last that the container said.
    """
    state, host = told["State"], told["HostConfig"]
    code = int(state["ExitCode"])
    number = code - 128 if 128 < code <= 192 else None
    started_at = begun["started_at"] if begun else None
    record: dict[str, Any] = {
        "cause": "exit" if begun else "not_started",
        "code": code if begun else None,
        "signal": number if begun else None,
        "started_at": started_at,
        "ended_at": seconds(state["FinishedAt"]),
        "message": "",
    }
    if state.get("OOMKilled"):
        limit = f" (limit {host['Memory'] >> 20}m)" if host.get("Memory") else ""
        return {**record, "message": f"killed: out of memory{limit}"}
    if cancelled:
        return {**record, "cause": "canceled"}
    if begun is None and _lacks_shell(words):
        return {**record, "message": _NO_SHELL}
    why = f": {words}" if words else ""
    if begun is None:
        return {**record, "message": f"the container ended with code {code} before it started the command{why}"}
    how = f"killed by signal {number}" if number else f"ended with code {code}"
    return {
        **record,
        "message": f"the container was {how} from outside the job: stopped by hand, or its engine was restarted{why}",
    }


def seconds(text: str) -> float:
    """Seconds since the epoch of the engine's ``2026-11-21T13:28:46.123456789Z``."""
    whole, _, fraction = text.rstrip("Z").partition(".")
    return datetime.fromisoformat(f"{whole}+00:00").timestamp() + float(f"0.{fraction or 0}")
