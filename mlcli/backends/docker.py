"""The Docker backend: a job in a container of its own, on any engine that DOCKER_HOST can name.

The agent is the container's main process and writes the run folder, as it does on a host; the engine is asked only about
runs that have not written their end. A container's name is made of the run's, so that there can be but one.
"""

from __future__ import annotations

import os
import shutil
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlcli import agent, docker_engine, registry
from mlcli.backends import _container, _launcher
from mlcli.backends._checks import check_one_process
from mlcli.backends._engine import Engine
from mlcli.backends._folder import FolderBackend, launch_record
from mlcli.docker_engine import EngineRefusedError
from mlcli.domain.errors import MlcliError, TransportError
from mlcli.domain.job import CommandJob
from mlcli.domain.observation import LOST_GRACE_S, Observation, Sight, told_by_agent
from mlcli.domain.redaction import masked
from mlcli.domain.settings import Settings
from mlcli.ports.backends import Capabilities, Prepared, Rejected, RunHandle, Submission, Submitted, Unknown
from mlcli.ports.stores import SnapshotStore

_RECORD = f"{_launcher.FOLDER}/container.json"
_OVER = frozenset({"exited", "dead"})


@dataclass(frozen=True)
class _Place:
    """A container that may be there: its name, and the address of its engine."""

    name: str
    url: str

    def __str__(self) -> str:
        return f"{self.name}@{self.url}"


class DockerBackend(FolderBackend):
    """Runs jobs in containers."""

    name = "docker"

    def __init__(self, settings: Settings) -> None:
        super().__init__(registry.load("transports", "local")(), settings)

    def capabilities(self) -> Capabilities:
        """One process in one container."""
        return Capabilities(containers=True)

    def check(self, job: CommandJob) -> tuple[str, ...]:
        """Refuse more than one process, flags that no job has, and folders that would hide the image's own."""
        _container.check_container(job)
        return tuple(check_one_process(job, self.name))

    # Submit

    def submit(self, prepared: Prepared, snapshots: SnapshotStore | None) -> Submission:
        """Lay out the run folder, create the container, start it. Each step is safe to do again after a kill at any
        point; a container that has been started is not touched again.
        """
        folder = Path(prepared.plan.run_folder)
        try:
            place = _known(folder) or _place_of(prepared.plan.run, folder)
            self._transport.make_folder(str(folder))
            with _held(folder):
                if _is_begun(folder):
                    _forget_secrets(folder)
                else:
                    self._start(prepared, snapshots, place)
            return Submitted(str(place))
        except TransportError as failed:
            return Unknown(failed.message) if failed.transient else Rejected(_sentence(failed))
        except MlcliError as refused:
            return Rejected(_sentence(refused))

    def _start(self, prepared: Prepared, snapshots: SnapshotStore | None, place: _Place) -> None:
        plan = prepared.plan
        folder = Path(plan.run_folder)
        engine = Engine(place.url)
        given = _container.arguments(plan.resources)
        user = _container.invoker(is_root_here=os.getuid() != 0 and engine.is_rootless())
        self._lay_out(prepared, snapshots)
        keep = plan.container is not None and plan.container.keep
        noted = {"name": place.name, "engine": place.url, "keep": keep}
        self._transport.write(str(folder / _RECORD), agent.encode(noted).encode())
        body = _container.body(prepared, given, user, owner=_owner(), mounted=True)
        try:
            if not engine.create(place.name, body, given.platform) and not _waits(engine, place):
                return  # it runs already, or has run
            record = launch_record(prepared, self._settings.kill_grace_s)
            _container.adapt(record, given, user, os.environ)
            self._place_launcher(folder, record, alone="PidMode" not in given.host)
            engine.start(place.name)
        except EngineRefusedError as refused:
            with suppress(TransportError):
                engine.remove(place.name)
                _remove_launcher(folder)
            raise _container.explained(refused, prepared) from refused

    def _place_launcher(self, folder: Path, record: dict[str, Any], *, alone: bool) -> None:
        """What the container starts, and what it is to start; secrets only in files that are read and removed at once."""
        self._transport.put(Path(agent.__file__), str(folder / _launcher.FOLDER / "agent.py"))
        self._transport.write(str(folder / _launcher.SCRIPT), _launcher.TEXT.encode())
        plain = _launcher.plain_launch(record, alone=alone)
        self._transport.write(str(folder / _launcher.PLAIN), plain.encode(errors="surrogateescape"))
        self._write_launch(str(folder), record)

    # Observe

    def observe(self, runs: Sequence[RunHandle]) -> Mapping[str, Observation]:
        """What the run folders themselves tell, and one question for each engine about all the others."""
        seen = {}
        asked: dict[str, list[RunHandle]] = defaultdict(list)
        for run in runs:
            told = self._ended(run)
            if told is None:
                asked[_place(run).url].append(run)
            else:
                seen[run.name] = told
        for url, group in asked.items():
            seen.update(self._ask(Engine(url), group))
        return seen

    def _ended(self, run: RunHandle) -> Observation | None:
        """The end that the run folder tells, None when it tells none; the container is then not needed any more."""
        folder = Path(run.run_folder)
        record = self._transport.read(str(folder / agent.EXIT))
        if record is None:
            return None
        try:
            told = told_by_agent({"sight": Sight.EXITED, "exit": _whole(agent.decode(record), folder)})
        except (KeyError, TypeError, ValueError):
            return Observation(Sight.NO_ANSWER, evidence=f"{folder / agent.EXIT} is damaged")
        known = _known(folder)
        if known is not None:
            with suppress(MlcliError):  # else the next look at this engine removes it
                _clean(Engine(known.url), known.name, folder)
        return told

    def _ask(self, engine: Engine, runs: Sequence[RunHandle]) -> Mapping[str, Observation]:
        try:
            found = {entry["Names"][0].lstrip("/"): entry for entry in engine.list(_container.RUN)}
            seen = {run.name: self._seen(engine, run, found.get(_place(run).name)) for run in runs}
        except TransportError as failed:
            return {run.name: Observation(Sight.NO_ANSWER, evidence=failed.message) for run in runs}
        with suppress(TransportError):
            _sweep(engine, found.values())
        return seen

    def _seen(self, engine: Engine, run: RunHandle, entry: Mapping[str, Any] | None) -> Observation:
        folder = Path(run.run_folder)
        begun = _record(folder / agent.AGENT)
        started_at = begun["started_at"] if begun else None
        if entry is None:
            return self._ended(run) or _without_container(folder, begun)
        if entry["State"] == "created":
            return _created(engine, folder, entry)
        if entry["State"] in _OVER:
            return self._ended(run) or self._end_of(engine, run, begun)
        evidence = "" if entry["State"] == "running" else f"the container is {entry['State']}"
        return Observation(Sight.RUNNING if begun else Sight.STARTING, started_at=started_at, evidence=evidence)

    def _end_of(self, engine: Engine, run: RunHandle, begun: Mapping[str, Any] | None) -> Observation:
        """Write down the end of a container whose agent could not."""
        folder, name = Path(run.run_folder), _place(run).name
        told = engine.inspect(name)
        if told is None:
            return _without_container(folder, begun)
        words = masked(engine.last_words(name))
        cancelled = _exists(folder, agent.CANCEL)
        record = _container.exit_record(told, begun=begun, cancelled=cancelled, words=words)
        self._transport.write(str(folder / agent.EXIT), agent.encode(record).encode() + b"\n")
        return self._ended(run) or Observation(Sight.NO_ANSWER)

    # Cancel, forget

    def cancel(self, run: RunHandle) -> None:
        """Tell the agent in the container; a run that has not started never will."""
        folder = Path(run.run_folder)
        self._transport.make_folder(str(folder))
        with _held(folder):
            if _exists(folder, agent.EXIT):
                return
            known = _known(folder)
            if known is None:
                if not _exists(folder, agent.AGENT):
                    self._never_starts(folder)
                return
            self._end(Engine(known.url), known, folder)

    def _end(self, engine: Engine, place: _Place, folder: Path) -> None:
        found = engine.inspect(place.name)
        state = found["State"]["Status"] if found else None
        if state == "created" or (state is None and not _exists(folder, agent.AGENT)):
            engine.remove(place.name)
            self._never_starts(folder)
            _remove_launcher(folder)
            return
        if state == "paused":
            engine.unpause(place.name)
        if state in {"paused", "running", "restarting"}:
            agent.mark_cancelled(str(folder))
            told = engine.execute(place.name, ["/bin/sh", "-c", _launcher.CANCEL, "sh", str(folder)])
            if told is None or told[0] != 0:  # an entrypoint that has not come to the job yet
                engine.kill(place.name, "SIGTERM")

    def _never_starts(self, folder: Path) -> None:
        self._transport.write(str(folder / agent.EXIT), agent.encode(agent.canceled_before_start()).encode() + b"\n")

    def forget(self, run: RunHandle) -> None:
        """Remove the container of a run that has ended, if it was kept or could not be removed then."""
        known = _known(Path(run.run_folder))
        if known is not None:
            _remove_all(Engine(known.url), known.name, Path(run.run_folder))


# Run folders


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """The right to start the run, or to see to it that it never starts."""
    from fcntl import LOCK_EX, flock

    lock = os.open(folder / agent.LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        with suppress(OSError):  # a file system without locks: the container's name still keeps the job single
            flock(lock, LOCK_EX)
        yield
    finally:
        os.close(lock)


def _exists(folder: Path, name: str) -> bool:
    return (folder / name).exists()


def _is_begun(folder: Path) -> bool:
    return _exists(folder, agent.AGENT) or _exists(folder, agent.EXIT)


def _record(file: Path) -> dict[str, Any] | None:
    try:
        value = agent.decode(file.read_bytes())
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def _whole(record: Any, folder: Path) -> Any:
    """A shell without ``date`` leaves the time out: the record's own file has it."""
    if isinstance(record, dict) and record.get("ended_at") is None:
        return {**record, "ended_at": (folder / agent.EXIT).stat().st_mtime}
    return record


def _known(folder: Path) -> _Place | None:
    """The container that was, or was about to be, created for the run, unless it is removed."""
    record = _record(folder / _RECORD)
    return _Place(record["name"], record["engine"]) if record else None


def _place_of(run: str, folder: Path) -> _Place:
    return _Place(docker_engine.container_name(run, str(folder)), docker_engine.base_url() or "")


def _place(run: RunHandle) -> _Place:
    """Where the run was submitted to, whatever DOCKER_HOST says today."""
    name, at, url = (run.native_id or "").partition("@")
    folder = Path(run.run_folder)
    return _Place(name, url) if at else _known(folder) or _place_of(run.name, folder)


def _forget_secrets(folder: Path) -> None:
    for name in (agent.LAUNCH, _launcher.PLAIN):
        (folder / name).unlink(missing_ok=True)


def _remove_launcher(folder: Path) -> None:
    _forget_secrets(folder)
    shutil.rmtree(folder / _launcher.FOLDER, ignore_errors=True)


# Containers


def _owner() -> str:
    """Whose containers they are: this machine's, this person's."""
    return f"{agent.boot_id().partition('@')[2]}:{os.getuid()}"


def _waits(engine: Engine, place: _Place) -> bool:
    """Whether the container was created and not started: by somebody who was killed then."""
    found = engine.inspect(place.name)
    return found is not None and found["State"]["Status"] == "created"


def _created(engine: Engine, folder: Path, entry: Mapping[str, Any]) -> Observation:
    """Somebody is about to start it, or was killed, or got no answer when it was to start."""
    if _is_locked(folder):
        return Observation(Sight.STARTING)
    if time.time() - entry["Created"] > LOST_GRACE_S:
        _remove_all(engine, entry["Names"][0].lstrip("/"), folder)
    return Observation(Sight.ABSENT, evidence="its container was created and never started")


def _is_locked(folder: Path) -> bool:
    from fcntl import LOCK_NB, LOCK_SH, flock

    with suppress(FileNotFoundError), (folder / agent.LOCK).open("rb") as lock:
        try:
            flock(lock, LOCK_SH | LOCK_NB)
        except OSError:
            return True
    return False


def _without_container(folder: Path, begun: Mapping[str, Any] | None) -> Observation:
    if begun is None:
        return Observation(Sight.ABSENT, evidence="there is no container of it")
    _remove_launcher(folder)
    evidence = "its container is gone: it was removed by hand, or its engine has lost it"
    return Observation(Sight.GONE, started_at=begun["started_at"], evidence=evidence)


def _clean(engine: Engine, name: str, folder: Path) -> None:
    """Take away what an ended run does not need, unless the person wants its container."""
    if not (_record(folder / _RECORD) or {}).get("keep"):
        _remove_all(engine, name, folder)


def _remove_all(engine: Engine, name: str, folder: Path) -> None:
    engine.remove(name)
    _remove_launcher(folder)


def _sweep(engine: Engine, entries: Iterable[Mapping[str, Any]]) -> None:
    """Remove containers of ours that nobody will ask for: their run folder is gone, or tells their end already."""
    for entry in entries:
        labels = entry["Labels"]
        folder = Path(labels.get(_container.FOLDER, ""))
        if labels.get(_container.OWNER) != _owner() or not folder.parent.is_dir():
            continue
        ended = entry["State"] in _OVER and _exists(folder, agent.EXIT) and _container.KEEP not in labels
        if ended or not folder.exists():
            engine.remove(entry["Id"])


def _sentence(error: MlcliError) -> str:
    return f"{error.message} ({error.hint})" if error.hint else error.message
