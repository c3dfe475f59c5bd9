"""The Docker backend: a job in a container of its own, on any engine that DOCKER_HOST can name, or that a machine over SSH has.

The agent is the container's main process and writes the run folder, as it does on a host; the engine is asked only about
runs that have not written their end. A container's name is made of the run's, so that there can be but one.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib.util import cache_from_source
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlcli import agent, docker_engine, registry
from mlcli.backends import _container, _launcher, _remote
from mlcli.backends._checks import check_one_process
from mlcli.backends._engine import Engine
from mlcli.backends._folder import FolderBackend, below, launch_record
from mlcli.backends._run_container import (
    RECORD,
    Place,
    forget_secrets,
    has,
    held,
    is_begun,
    is_locked,
    known_place,
    read_record,
    remove_launcher,
    whole,
)
from mlcli.docker_engine import EngineRefusedError
from mlcli.domain.errors import MlcliError, TransportError
from mlcli.domain.job import CommandJob
from mlcli.domain.observation import LOST_GRACE_S, Observation, Sight, told_by_agent
from mlcli.domain.redaction import masked
from mlcli.domain.settings import Settings
from mlcli.ports.backends import Capabilities, Prepared, Rejected, RunHandle, Submission, Submitted, Unknown
from mlcli.ports.stores import SnapshotStore

if TYPE_CHECKING:
    from docker import DockerClient

_OVER = frozenset({"exited", "dead"})


class DockerBackend(FolderBackend):
    """Runs jobs in containers."""

    name = "docker"

    def __init__(
        self, settings: Settings, *, name: str = "docker", client: Callable[[], DockerClient] | None = None
    ) -> None:
        """``client``: the way to the one engine of another machine, whose name ``name`` is; without it DOCKER_HOST says
        which engine.
        """
        super().__init__(registry.load("transports", "local")(), settings)
        self.name = name
        self.may_be_away = client is not None
        self.notices: list[str] = []
        self._client = client
        self._silent: set[Place] = set()  # far containers in which no command could be run last: they may have ended

    def connect(self) -> None:
        """The engine answers."""
        self._engine(self._url()).connect()

    def _url(self) -> str:
        """The engine for a new run."""
        return self.name if self._client is not None else docker_engine.base_url() or ""

    def _engine(self, url: str) -> Engine:
        return Engine(url, self._client)

    def _place(self, run: str, folder: Path) -> Place:
        """Where the run's container is, or is to be."""
        return known_place(folder) or Place(docker_engine.container_name(run, str(folder)), self._url())

    def _place_of(self, run: RunHandle) -> Place:
        """Where the run was submitted to, whatever DOCKER_HOST says today."""
        name, at, url = (run.native_id or "").partition("@")
        return Place(name, url) if at else self._place(run.name, Path(run.run_folder))

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
            place = self._place(prepared.plan.run, folder)
            self._transport.make_folder(str(folder))
            with held(folder):
                if is_begun(folder):
                    forget_secrets(folder)
                else:
                    self._start(prepared, snapshots, place)
            return Submitted(str(place))
        except TransportError as failed:
            if failed.transient and self.may_be_away:
                raise
            return Unknown(failed.message) if failed.transient else Rejected(_sentence(failed))
        except MlcliError as refused:
            return Rejected(_sentence(refused))

    def _start(self, prepared: Prepared, snapshots: SnapshotStore | None, place: Place) -> None:
        plan = prepared.plan
        folder = Path(plan.run_folder)
        engine = self._engine(place.url)
        if known_place(folder) is None:
            try:
                engine.connect()
            except TransportError as nobody:  # nothing was sent: nothing can be there
                if nobody.transient and self.may_be_away:
                    raise
                raise MlcliError(nobody.message, hint=nobody.hint) from nobody
        given = _container.arguments(plan.resources)
        user = _container.invoker(is_root_here=os.getuid() != 0 and engine.is_rootless())
        record = launch_record(prepared, self._settings.kill_grace_s)
        _container.adapt(record, given, user, os.environ)
        self._lay_out(prepared, snapshots)
        keep = plan.container is not None and plan.container.keep
        life = (read_record(folder / RECORD) or {}).get("life") or os.urandom(8).hex()
        outputs = _remote.outputs_elsewhere(plan)
        noted = {"name": place.name, "engine": place.url, "keep": keep, "outputs": outputs, "life": life}
        self._transport.write(str(folder / RECORD), agent.encode(noted).encode())
        body = _container.body(prepared, given, user, owner=_owner(), life=life, mounted=engine.is_local)
        try:
            if not _made(engine, place.name, body, given.platform):
                return  # it runs already, or has run
            self._place_launcher(folder, record, alone="PidMode" not in given.host)
            if not engine.is_local:
                _remote.copy_in(engine, place.name, plan, body["User"])
                forget_secrets(folder)
            if has(folder, agent.CANCEL):
                self._end(engine, place, folder)
                return
            engine.start(place.name)
            _sweep(engine)
        except EngineRefusedError as refused:
            _give_up(engine, place, folder)
            raise _container.explained(refused, prepared) from refused
        except TransportError as failed:
            if not failed.transient:  # else whether it has started is not known
                _give_up(engine, place, folder)
            raise

    def _place_launcher(self, folder: Path, record: dict[str, Any], *, alone: bool) -> None:
        """What the container starts, and what it is to start; secrets only in files that are read and removed at once."""
        home = Path(agent.__file__).parent
        compiled = f"__pycache__/{Path(cache_from_source(agent.__file__)).name}"
        bytecode = [compiled] if (home / compiled).is_file() else []  # taken where the image's Python is as ours
        for name in (*agent.FILES, *bytecode):
            self._transport.put(home / name, str(folder / _launcher.FOLDER / name))
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
                asked[self._place_of(run).url].append(run)
            else:
                seen[run.name] = told
        for url, group in asked.items():
            seen.update(self._ask(self._engine(url), group))
        return seen

    def _ended(self, run: RunHandle) -> Observation | None:
        """The end that the run folder tells, None when it tells none; the container is then not needed any more."""
        folder = Path(run.run_folder)
        record = self._transport.read(str(folder / agent.EXIT))
        if record is None:
            return None
        try:
            told = told_by_agent({"sight": Sight.EXITED, "exit": whole(agent.decode(record), folder)})
        except (KeyError, TypeError, ValueError):
            return Observation(Sight.NO_ANSWER, evidence=f"{folder / agent.EXIT} is damaged")
        known = known_place(folder)
        if known is not None:
            with suppress(MlcliError):  # else the next look at this engine removes it
                _clean(self._engine(known.url), known.name, folder)
        return told

    def _ask(self, engine: Engine, runs: Sequence[RunHandle]) -> Mapping[str, Observation]:
        try:
            found = {_name(entry): entry for entry in engine.list(docker_engine.RUN)}
            seen = {run.name: self._seen(engine, run, found.get(self._place_of(run).name)) for run in runs}
        except TransportError as failed:
            if self.may_be_away:
                self.notices = [f"{failed.message}: its jobs are shown as they were seen last"]
            return {run.name: Observation(Sight.NO_ANSWER, evidence=failed.message) for run in runs}
        _remove_leftovers(engine, found.values())
        return seen

    def _seen(self, engine: Engine, run: RunHandle, entry: Mapping[str, Any] | None) -> Observation:
        folder = Path(run.run_folder)
        begun = read_record(folder / agent.AGENT)
        started_at = begun["started_at"] if begun else None
        if entry is None:
            return self._ended(run) or _without_container(folder, begun)
        if entry["State"] == "created":
            return _created(engine, folder, entry)
        if entry["State"] in _OVER:
            return self._ended(run) or self._end_of(engine, run, begun)
        if not engine.is_local and (told := engine.inspect(self._place_of(run).name)) is not None:
            started_at = _container.seconds(told["State"]["StartedAt"])
        evidence = "" if entry["State"] == "running" else f"the container is {entry['State']}"
        return Observation(Sight.RUNNING if started_at else Sight.STARTING, started_at=started_at, evidence=evidence)

    def _end_of(self, engine: Engine, run: RunHandle, begun: Mapping[str, Any] | None) -> Observation:
        """Bring the end of a container home; write it down when its agent could not."""
        folder, name = Path(run.run_folder), self._place_of(run).name
        told = engine.inspect(name)
        if told is None:
            return _without_container(folder, begun)
        if not engine.is_local:
            with held(folder):
                if not has(folder, agent.EXIT):
                    outputs = (read_record(folder / RECORD) or {}).get("outputs", [])
                    _remote.copy_home(engine, name, folder, outputs)
            begun = read_record(folder / agent.AGENT)
            if home := self._ended(run):
                return home
        words = masked(engine.last_words(name))
        cancelled = has(folder, agent.CANCEL)
        record = _container.exit_record(told, begun=begun, cancelled=cancelled, words=words)
        self._transport.write(str(folder / agent.EXIT), agent.encode(record).encode() + b"\n")
        return self._ended(run) or Observation(Sight.NO_ANSWER)

    # Files: those of a run on a far engine are there until it ends

    def read(self, run: RunHandle, path: str, offset: int = 0, limit: int | None = None) -> bytes | None:
        """Bytes of a file below the run folder."""
        far = self._far(run)
        if far is None or (path == agent.EXIT and far not in self._silent):
            return super().read(run, path, offset, limit)
        engine, place = self._engine(far.url), below(run, path)
        if path != agent.EXIT:
            told = _remote.read_in_it(engine, far.name, place, offset, limit)
            if told is not None:
                self._silent.discard(far)
                return told[0]
            self._silent.add(far)
        return _remote.read(engine, far.name, place, offset, limit)

    def list_files(self, run: RunHandle, folder: str = ".") -> Mapping[str, int]:
        """Files below a folder of the run folder."""
        with self._near(run, folder) as near:
            return super().list_files(near, folder)

    def fetch(
        self, run: RunHandle, path: str, target: Path, progress: Callable[[str, int], None] | None = None
    ) -> None:
        """Copy a file to ``target``, or a folder's files below it."""
        with self._near(run, path) as near:
            super().fetch(near, path, target, progress)

    def _far(self, run: RunHandle) -> Place | None:
        """The container that has the run's files, None when they are here."""
        known = known_place(Path(run.run_folder))
        if known is None or docker_engine.is_local(known.url) or has(Path(run.run_folder), agent.EXIT):
            return None
        return known

    @contextmanager
    def _near(self, run: RunHandle, path: str) -> Iterator[RunHandle]:
        """The run with that path of its folder on this machine, copied for the moment if need be."""
        import tempfile

        source, far = below(run, path), self._far(run)
        if far is None:
            yield run
            return
        with tempfile.TemporaryDirectory(prefix="mlcli-") as copied:
            target = Path(copied) / path
            target.parent.mkdir(parents=True, exist_ok=True)
            _remote.peek(self._engine(far.url), far.name, source, target)
            yield replace(run, run_folder=copied)

    # Cancel, forget

    def cancel(self, run: RunHandle) -> None:
        """Tell the agent in the container; a run that has not started never will."""
        folder = Path(run.run_folder)
        self._transport.make_folder(str(folder))
        with held(folder):
            if has(folder, agent.EXIT):
                return
            known = known_place(folder)
            if known is None:
                if not has(folder, agent.AGENT):
                    self._never_starts(folder)
                return
            self._end(self._engine(known.url), known, folder)

    def _end(self, engine: Engine, place: Place, folder: Path) -> None:
        found = engine.inspect(place.name)
        state = found["State"]["Status"] if found else None
        if state == "created" or (state is None and not has(folder, agent.AGENT)):
            engine.remove(place.name)
            self._never_starts(folder)
            remove_launcher(folder)
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
        known = known_place(Path(run.run_folder))
        if known is not None:
            _remove_all(self._engine(known.url), known.name, Path(run.run_folder))


# Containers


def _owner() -> str:
    """Whose containers they are: this machine's, this person's."""
    return f"{agent.boot_id().partition('@')[2]}:{os.getuid()}"


def _made(engine: Engine, name: str, body: Mapping[str, Any], platform: str | None) -> bool:
    """Create the container; whether it is ours to start, also when somebody created it and was killed then."""
    if engine.create(name, body, platform):
        return True
    found = engine.inspect(name)
    if found is not None and found["Config"]["Labels"].get(_container.LIFE) == body["Labels"][_container.LIFE]:
        return bool(found["State"]["Status"] == "created")
    engine.remove(name)  # that of a deleted run of this name, which is about to go, or could not when the run did
    return engine.create(name, body, platform)


def _name(entry: Mapping[str, Any]) -> str:
    """One that is being removed may have lost its name."""
    return str((entry["Names"] or [""])[0]).lstrip("/")


def _created(engine: Engine, folder: Path, entry: Mapping[str, Any]) -> Observation:
    """Somebody is about to start it, or was killed, or got no answer when it was to start."""
    if is_locked(folder):
        return Observation(Sight.STARTING)
    if time.time() - entry["Created"] > LOST_GRACE_S:
        _remove_all(engine, _name(entry), folder)
    return Observation(Sight.ABSENT, evidence="its container was created and never started")


def _without_container(folder: Path, begun: Mapping[str, Any] | None) -> Observation:
    if begun is None:
        return Observation(Sight.ABSENT, evidence="there is no container of it")
    remove_launcher(folder)
    evidence = "its container is gone: it was removed by hand, or its engine has lost it"
    return Observation(Sight.GONE, started_at=begun["started_at"], evidence=evidence)


def _clean(engine: Engine, name: str, folder: Path) -> None:
    """Take away what an ended run does not need, unless the person wants its container. Nobody is to wait for that."""
    if not (read_record(folder / RECORD) or {}).get("keep"):
        engine.let_go(name)
        remove_launcher(folder)


def _remove_all(engine: Engine, name: str, folder: Path) -> None:
    engine.remove(name)
    remove_launcher(folder)


def _give_up(engine: Engine, place: Place, folder: Path) -> None:
    """Remove what was made for a run that will not start."""
    with suppress(TransportError):
        _remove_all(engine, place.name, folder)


def _sweep(engine: Engine) -> None:
    """Remove what could not be removed when it had ended, because its engine was down then."""
    with suppress(TransportError):
        _remove_leftovers(engine, engine.list(docker_engine.RUN))


def _remove_leftovers(engine: Engine, entries: Iterable[Mapping[str, Any]]) -> None:
    """Remove containers of ours that nobody will ask for."""
    for entry in filter(_is_left_over, entries):
        with suppress(TransportError):
            engine.let_go(entry["Id"])


def _is_left_over(entry: Mapping[str, Any]) -> bool:
    """Its run folder is gone, or tells its end already; or it was to look into an image and was never started."""
    labels = entry["Labels"]
    if not labels[docker_engine.RUN]:
        return bool(entry["State"] == "created" and time.time() - entry["Created"] > LOST_GRACE_S)
    folder = Path(labels.get(_container.FOLDER, ""))
    if labels.get(_container.OWNER) != _owner() or not folder.parent.is_dir():
        return False
    ended = entry["State"] in _OVER and has(folder, agent.EXIT) and _container.KEEP not in labels
    return ended or not folder.exists()


def _sentence(error: MlcliError) -> str:
    return f"{error.message} ({error.hint})" if error.hint else error.message
