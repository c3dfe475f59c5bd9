"""Carry: take one submitted run through its preparation to its backend.

The same function runs inside ``job create`` (nothing slow to do) and in the detached supervisor (a build, a download).
It may be killed at any point: each step is safe to do again, and the next command that looks at the run starts another
supervisor.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

from mlcli import agent
from mlcli.domain.errors import EnvironmentBuildError, LeaseLostError, MlcliError, StoreError, TransportError
from mlcli.domain.job import BuildContext, EnvironmentSpec, RegistryLogin, Resources
from mlcli.domain.nodes import Allocation, NodePlan
from mlcli.domain.observation import attributed
from mlcli.domain.plan import CodePlan, ContainerPlan, EnvironmentPlan, InputPlan, OutputPlan, Plan
from mlcli.domain.run import Event, Lease
from mlcli.domain.state import Reason, State
from mlcli.operations import layout
from mlcli.ports.backends import Prepared, Rejected, Submission, Submitted, Unknown
from mlcli.ports.environments import Activation
from mlcli.ports.services import Services
from mlcli.ports.stores import RunStore

_RENEW_EVERY_S = 15.0
_MACHINE_AWAY_S = 3600.0
_TRY_AGAIN_S = 5.0


_Done = TypeVar("_Done")


class _Away(Exception):  # noqa: N818
    """The machine of the job does not answer."""


class _Canceled(Exception):  # noqa: N818  (a turn of events, not an error)
    """The person cancelled the run while it was prepared."""


def carry(services: Services, name: str, *, detached: bool = False) -> None:
    """Prepare and submit the run, if nobody else does; one that needs a node of its compute and has none is Queued then.
    Failures become the run's end, with their message.

    Raises StoreError when not even that can be written down: then the run was not submitted.
    ``detached``: this process leads a session of its own, which a cancel may end whole; its identity is written down.
    """
    lease = services.runs.claim(name)
    if lease is None:
        return
    try:
        if detached:
            services.runs.write_document(name, layout.SUPERVISOR_DOCUMENT, agent.identity())
        if services.runs.document(name, layout.SUBMISSION_DOCUMENT) is None:
            _carry(services, name, lease, patient=detached)
    except LeaseLostError:
        return  # this process was stopped for so long that another carries the run on
    finally:
        with suppress(StoreError):  # it ends with this process all the same
            services.runs.release(lease)


def _carry(services: Services, name: str, lease: Lease, *, patient: bool) -> None:
    runs = services.runs
    with failures_told(services, name, lease):
        plan, snapshot = load_plan(runs, name)
        with preparation(services, plan, lease, patient=patient) as (log, keeper, again):
            prepared = again(lambda: prepare(services, plan, snapshot, log, keeper))
            keeper.check()
            if plan.node is not None:
                allocation = load_allocation(runs, name)
                if allocation is None:
                    waits = f"waits for a free node of compute {plan.compute}"
                    runs.append(name, Event(Reason.QUEUED, time.time(), waits), lease)
                    return
                prepared = replace(prepared, allocation=allocation)
            snapshots = services.snapshots if snapshot else None
            answer = again(lambda: services.backend(plan.backend).submit(prepared, snapshots))
        submitted(services, name, answer, lease)


@contextmanager
def failures_told(services: Services, name: str, lease: Lease) -> Iterator[None]:
    """What goes wrong inside becomes the end of the run, with its message."""
    runs = services.runs
    try:
        yield
    except _Away:
        return  # nothing is lost: the next command that looks at the run has it carried on
    except _Canceled:
        end = Event(Reason.CANCELED_BY_USER, time.time(), "cancelled while it was prepared")
        runs.append(name, attributed(runs.get(name), end), lease)
    except MlcliError as failed:
        runs.append(name, Event(Reason.PREPARATION_FAILED, time.time(), _one_line(failed)), lease)
    except OSError as failed:
        runs.append(name, Event(Reason.PREPARATION_FAILED, time.time(), str(failed)), lease)
    except Exception as defect:  # a defect of ours must not leave the run live for ever
        runs.append(name, Event(Reason.PREPARATION_FAILED, time.time(), f"internal error: {defect!r}"), lease)
        raise


@contextmanager
def preparation(
    services: Services, plan: Plan, lease: Lease, *, patient: bool
) -> Iterator[tuple[Callable[[str], None], LeaseKeeper, Again]]:
    """The run is Preparing: its log, what keeps the lease meanwhile, and what calls a machine that may be away."""
    keeper = LeaseKeeper(services, lease)
    services.runs.append(plan.run, Event(Reason.PREPARING, time.time(), plan.environment.description), lease)
    with _preparation_log(services.runs.folder(plan.run) / layout.PREPARATION_LOG) as log:
        yield log, keeper, Again(keeper, log, _patience_s(services, plan, patient=patient))


def _patience_s(services: Services, plan: Plan, *, patient: bool) -> float | None:
    """How long a machine that does not answer is waited for, once; None where there is none to wait for."""
    if not services.backend(plan.backend).may_be_away:
        return None
    return _MACHINE_AWAY_S if patient else 0.0


class Again:
    """Calls what may be done again until the job's machine answers. Raises _Away when it has been away for too long."""

    def __init__(self, keeper: LeaseKeeper, log: Callable[[str], None], patience_s: float | None) -> None:
        self._keeper = keeper
        self._log = log
        self._patience_s = patience_s

    def __call__(self, act: Callable[[], _Done]) -> _Done:
        """What it answers."""
        since = None
        while True:
            try:
                return act()
            except (TransportError, EnvironmentBuildError) as failed:
                if self._patience_s is None or not failed.transient:
                    raise
                since = since or time.monotonic()
                self._log(f"{failed.message}; it is tried again")
                if time.monotonic() - since >= self._patience_s:
                    raise _Away from failed
            self._keeper.check()
            time.sleep(_TRY_AGAIN_S)


def _one_line(error: MlcliError) -> str:
    return f"{error.message} ({error.hint})" if error.hint else error.message


def prepare(
    services: Services, plan: Plan, snapshot: str | None, log: Callable[[str], None], keeper: LeaseKeeper
) -> Prepared:
    """Build the environment and bring the inputs; what is there already is not made again."""
    builder = services.environment_builder_named(plan.environment.builder, plan.backend)
    activation = builder.build(plan.environment, keeper.watching(log))
    services.runs.write_document(
        plan.run,
        layout.ENVIRONMENT_DOCUMENT,
        environment_record(plan.environment, activation, container=plan.container is not None),
    )
    for entry in plan.inputs:
        keeper.check()
        _place_input(services, plan.backend, entry, keeper.watching(log))
    return Prepared(plan, activation, snapshot)


def environment_record(plan: EnvironmentPlan, activation: Activation, *, container: bool) -> dict[str, Any]:
    """What a run ran in, pinned: enough to run another job in exactly that (``--environment-of``)."""
    return {
        "builder": plan.builder,
        "fingerprint": plan.fingerprint,
        "description": plan.description,
        "container": container,
        "image": activation.image,
        "digest": activation.digest,
        "python": activation.python,
        "resolved": list(activation.resolved),
        "packages": list(activation.packages),
    }


def _place_input(services: Services, backend: str, entry: InputPlan, log: Callable[[str], None]) -> None:
    if entry.action == "upload":
        source = _downloaded(services, entry.source, log) if entry.kind == "http" else Path(entry.source)
        copied = entry.mode in {"download", "eval_download", "rw_mount"}
        services.backend(backend).deliver(source, entry.value, log, copy=copied)
    elif entry.action == "fetch":
        cached = services.downloads.fetch(entry.source, log)
        if entry.mode in {"download", "eval_download"}:
            _copy(cached, Path(entry.value))
            Path(entry.value).chmod(0o644)
        else:
            _link(cached, Path(entry.value))
    elif entry.action == "copy":
        log(f"copying input {entry.name} from {entry.source}")
        _copy(Path(entry.source), Path(entry.value))


def _downloaded(services: Services, url: str, log: Callable[[str], None]) -> Path:
    """A copy of this machine. That the web does not answer is not that the job's machine does not."""
    try:
        return services.downloads.fetch(url, log)
    except TransportError as failed:
        raise MlcliError(failed.message, hint=failed.hint) from failed


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = _partial(target)
    partial.symlink_to(source)
    partial.replace(target)


def _copy(source: Path, target: Path) -> None:
    """Copy whole or not at all: the final name appears when everything is there, and then the work is done."""
    import shutil

    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = _partial(target)
    try:
        if source.is_dir():
            shutil.copytree(source, partial)
        else:
            shutil.copy2(source, partial)
        partial.replace(target)
    except OSError:
        _remove(partial)  # it may be what fills the disk, and the failure must find room to be told
        if not target.exists():  # else another process that carries the run was quicker
            raise


def _remove(path: Path) -> None:
    import shutil

    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _partial(target: Path) -> Path:
    """A name beside the target that no other process uses, even one that believes the same run to be its own."""
    return target.with_name(f".{target.name}.{os.getpid()}.{time.monotonic_ns()}.partial")


def submitted(services: Services, name: str, answer: Submission, lease: Lease | None) -> None:
    """Write down what the backend has answered."""
    if isinstance(answer, Rejected):
        services.runs.append(name, Event(Reason.SUBMIT_FAILED, time.time(), answer.message), lease)
        return
    native_id = answer.native_id if isinstance(answer, Submitted) else None
    message = answer.message if isinstance(answer, Unknown) else ""
    with suppress(StoreError):  # the job is there: what cannot be noted now, the next look finds out
        services.runs.write_document(name, layout.SUBMISSION_DOCUMENT, {"native_id": native_id, "time": time.time()})
        services.runs.append(name, Event(Reason.STARTING, time.time(), message), lease)


class LeaseKeeper:
    """Renews the lease while slow work goes on, and notices a cancellation between its lines."""

    def __init__(self, services: Services, lease: Lease) -> None:
        self._services = services
        self._lease = lease
        self._renewed_at = time.monotonic()

    def renew(self) -> None:
        """Keep the lease. Raises LeaseLostError."""
        if time.monotonic() - self._renewed_at > _RENEW_EVERY_S:
            self._lease = self._services.runs.renew(self._lease)
            self._renewed_at = time.monotonic()

    def check(self) -> None:
        """Raise when the person has cancelled the run; keep the lease."""
        self.renew()
        if self._services.runs.get(self._lease.run).state is State.CANCEL_REQUESTED:
            raise _Canceled

    def watching(self, log: Callable[[str], None]) -> Callable[[str], None]:
        """The same log, checking at every line that comes."""

        def write(line: str) -> None:
            log(line)
            if time.monotonic() - self._renewed_at > _RENEW_EVERY_S:
                self.check()

        return write


@contextmanager
def _preparation_log(path: Path) -> Iterator[Callable[[str], None]]:
    """A line writer that makes its file with the first line: a job with nothing to prepare has no such file."""
    descriptor: int | None = None

    def write(line: str) -> None:
        nonlocal descriptor
        if descriptor is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(descriptor, (line.rstrip("\n") + "\n").encode(errors="replace"))

    try:
        yield write
    finally:
        if descriptor is not None:
            os.close(descriptor)


def load_plan(runs: RunStore, name: str) -> tuple[Plan, str | None]:
    """The plan and the snapshot's digest, read back from ``plan.json``. Raises StoreError when that is gone or damaged."""
    try:
        return plan_of(runs.document(name, layout.PLAN_DOCUMENT))
    except (TypeError, KeyError, ValueError) as error:
        file = runs.folder(name) / layout.PLAN_DOCUMENT
        raise StoreError(f"{file} is gone or damaged", hint="submit the job once more") from error


def plan_of(document: Mapping[str, Any]) -> tuple[Plan, str | None]:
    """The plan and the snapshot's digest of such a document. Raises TypeError, KeyError or ValueError when it is none."""
    plan = dict(document["plan"])
    environment = dict(plan["environment"])
    spec = dict(environment["spec"])
    if spec["build"] is not None:
        spec["build"] = BuildContext(**spec["build"])
    if spec["registry"] is not None:
        spec["registry"] = RegistryLogin(**spec["registry"])
    environment["spec"] = EnvironmentSpec(**spec)
    plan["environment"] = EnvironmentPlan(**environment)
    plan["container"] = ContainerPlan(**plan["container"]) if plan["container"] else None
    plan["code"] = CodePlan(**plan["code"]) if plan["code"] else None
    plan["inputs"] = tuple(InputPlan(**entry) for entry in plan["inputs"])
    plan["outputs"] = tuple(OutputPlan(**entry) for entry in plan["outputs"])
    resources = dict(plan["resources"])
    resources["locations"] = tuple(resources["locations"])
    plan["resources"] = Resources(**resources)
    plan["node"] = NodePlan(**plan["node"]) if plan.get("node") else None
    plan["notices"] = tuple(plan["notices"])
    plan["refusals"] = tuple(plan["refusals"])
    return Plan(**plan), document["snapshot"]


def load_allocation(runs: RunStore, name: str) -> Allocation | None:
    """The node that a run has, or had; None when it never got one. Raises StoreError for a damaged document."""
    document: Mapping[str, Any] | None = runs.document(name, layout.ALLOCATION_DOCUMENT)
    if document is None:
        return None
    try:
        return Allocation(document["node"], tuple(document["cpus"]), document["memory_bytes"], document["nice"])
    except (TypeError, KeyError) as error:
        file = runs.folder(name) / layout.ALLOCATION_DOCUMENT
        raise StoreError(f"{file} is damaged", hint=f"cancel the job: mlcli job cancel -n {name}") from error


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C back until the few milliseconds inside are over: a run must not be half submitted by it.

    A Python handler, not a blocked or ignored signal: those would be handed on to the job.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pressed: list[int] = []

    def remember(number: int, frame: FrameType | None) -> None:
        del frame
        pressed.append(number)

    before = signal.signal(signal.SIGINT, remember)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed:
        raise KeyboardInterrupt
