"""The one composition root: a Workspace holds the stores and builds computes, environments and backends by name.

On disk, below ``MLCLI_HOME`` (default ``~/.mlcli``)::

    settings.yml              settings, all optional
    current-workspace.json    the workspace that ``workspace use`` has chosen
    environments/ downloads/  caches that every workspace shares
    engines/KEY/              what is known of the images of other machines
    workspaces/NAME/          index.sqlite, runs/, snapshots/, assets/, computes/
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import Field, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlcli import agent, registry
from mlcli.domain.errors import MlcliError, NotFoundError, UnsupportedError, UsageError
from mlcli.domain.job import EnvironmentSpec
from mlcli.domain.settings import Settings
from mlcli.operations import layout
from mlcli.ports.backends import Backend
from mlcli.ports.environments import EnvironmentBuilder
from mlcli.ports.stores import AssetStore, ComputeStore, DownloadCache, RunStore, SnapshotStore

if TYPE_CHECKING:
    from mlcli.backends.far_engine import FarEngine
    from mlcli.operations.attached import Attached
    from mlcli.transports.ssh import SshTransport

SUPERVISOR_PATIENCE_S = 600.0
_SSH, _DOCKER = "ssh.", "docker."
"""Before the key of an SSH host: the names of its backends, for jobs on the host and in containers."""


class Workspace:
    """Stores, and implementations by name (``ports.services.Services``). Nothing is opened before it is used."""

    def __init__(self, home: Path, name: str, settings: Settings) -> None:
        self.home = home
        self.name = name
        self.root = home / "workspaces" / name
        self.settings = settings
        self._backends: dict[str, Backend] = {}
        self._transports: dict[str, SshTransport] = {}
        self._engines: dict[str, FarEngine] = {}
        self._builders: dict[tuple[str, str], EnvironmentBuilder] = {}
        self._supervisors: list[object] = []
        self.starts_many = False  # whether this process is to start many runs
        self.forks = False  # whether it may be copied to drive a sweep: a command that ends soon
        self.attached: Attached | None = None
        self.patience_s = 60.0  # how long a connection that dropped is tried to be made again

    @cached_property
    def runs(self) -> RunStore:
        """The runs of this workspace."""
        from mlcli.stores.runs import FolderRunStore

        return FolderRunStore(self.root)

    @cached_property
    def snapshots(self) -> SnapshotStore:
        """The code snapshots of this workspace."""
        from mlcli.stores.snapshots import ContentStore

        return ContentStore(self.root, self.settings)

    @cached_property
    def assets(self) -> AssetStore:
        """The named assets of this workspace: environments and the like."""
        from mlcli.stores.assets import FolderAssets

        return FolderAssets(self.root)

    @cached_property
    def computes(self) -> ComputeStore:
        """The named computes of this workspace."""
        from mlcli.stores.computes import FileComputes

        return FileComputes(self.root)

    def others(self) -> Iterator[Workspace]:
        """The other workspaces of this home, with which it shares its environments."""
        for folder in sorted(self.root.parent.glob("[!.]*/")):
            if folder.name != self.name:
                yield Workspace(self.home, folder.name, self.settings)

    def notices(self) -> list[str]:
        """What the stores that were opened had to mend, as sentences for the person."""
        opened = [vars(self)[name] for name in ("runs", "snapshots", "assets", "computes") if name in vars(self)]
        heard = [getattr(backend, "notices", ()) for backend in self._backends.values()]
        return [sentence for notices in (*(store.notices for store in opened), *heard) for sentence in notices]

    @cached_property
    def downloads(self) -> DownloadCache:
        """Files from the web, shared by every workspace of this home."""
        from mlcli.stores.downloads import WebDownloads

        return WebDownloads(self.home)

    def backend(self, name: str) -> Backend:
        """The backend of that registered name, or of an SSH host (``ssh.KEY``, ``docker.KEY``), built once."""
        if name not in self._backends:
            self._backends[name] = self._build_backend(name)
        return self._backends[name]

    def _build_backend(self, name: str) -> Backend:
        if name.startswith(_SSH):
            return self._build_ssh_backend(name)
        if name.startswith(_DOCKER):
            there: Backend = registry.load("backends", "docker")(
                self.settings, name=name, client=self._engine(name.removeprefix(_DOCKER)).client
            )
            return there
        backend = registry.load("backends", name)
        if name != "local":
            built: Backend = backend(self.settings)
            return built
        transport = registry.load("transports", "local")(starts_many=self.starts_many)
        scheduler = registry.load("schedulers", "process")()
        local: Backend = backend(transport, scheduler, self.settings)
        return local

    def _build_ssh_backend(self, name: str) -> Backend:
        transport = self._ssh(name.removeprefix(_SSH))
        scheduler = registry.load("schedulers", "process")()
        folder, workspace = transport.folder(), self._id()
        backend = registry.load("backends", "ssh")
        built: Backend = backend(transport, scheduler, self.settings, name=name, folder=folder, workspace=workspace)
        return built

    def _ssh(self, key: str) -> SshTransport:
        """The one connection of this process to the host of that key."""
        if key not in self._transports:
            from mlcli.ssh_secrets import secrets_for

            host = self.computes.host(key)
            transport = registry.load("transports", "ssh")
            self._transports[key] = transport(host, secrets_for(host), patience_s=self.patience_s)
        return self._transports[key]

    def _engine(self, key: str) -> FarEngine:
        """The Docker Engine of that host, through the same connection."""
        if key not in self._engines:
            from mlcli.backends.far_engine import FarEngine

            transport = self._ssh(key)
            self._engines[key] = FarEngine(transport, str(transport.host))
        return self._engines[key]

    def _id(self) -> str:
        """What tells this workspace from all others, on machines that several use."""
        file = self.root / "id"
        if not file.exists():
            self.root.mkdir(parents=True, exist_ok=True)
            fresh = file.with_name(f".id.{os.getpid()}")
            fresh.write_text(os.urandom(6).hex())
            with suppress(FileExistsError):
                os.link(fresh, file)
            fresh.unlink()
        return file.read_text()

    def backend_of_compute(self, compute: str, *, container: bool = False) -> str:
        """The backend that serves a compute. Raises NotFoundError, UnsupportedError."""
        if compute == "local":
            return "docker" if container else "local"
        try:
            found = self.computes.get(compute)
        except NotFoundError as missing:
            elsewhere = "to run on this machine add: --set compute=local (run submit-script: --target local)"
            raise NotFoundError(missing.message, hint=f"{missing.hint}; {elsewhere}") from None
        backend = registry.compute_backend(found.type)
        if found.ssh is not None and backend == "ssh":
            return f"{_DOCKER if container else _SSH}{found.ssh.key}"
        return "docker" if container and backend == "local" else backend

    def environment_builders(self) -> Iterator[EnvironmentBuilder]:
        """Every registered builder, made when it is come to."""
        for name in registry.names("environments"):
            yield self.environment_builder_named(name)

    def environment_builder_named(self, name: str, backend: str = "local") -> EnvironmentBuilder:
        """The builder of that registered name, made once for each machine."""
        where = backend if backend.startswith((_SSH, _DOCKER)) else "local"
        if (where, name) not in self._builders:
            self._builders[where, name] = self._build_builder(name, where)
        return self._builders[where, name]

    def _build_builder(self, name: str, where: str) -> EnvironmentBuilder:
        if where.startswith(_DOCKER):
            key = where.removeprefix(_DOCKER)
            there: EnvironmentBuilder = registry.load("environments", name)(
                self.home / "engines" / key, self.settings, self._engine(key).client
            )
            return there
        if where != "local":
            from mlcli.environments.far import FarBuilder

            transport = self._ssh(where.removeprefix(_SSH))
            return FarBuilder(name, transport, self.settings, transport.folder())
        near: EnvironmentBuilder = registry.load("environments", name)(self.home, self.settings)
        return near

    def environment_builder(
        self, spec: EnvironmentSpec, *, container: bool = False, backend: str = "local"
    ) -> EnvironmentBuilder:
        """The first builder that accepts this environment. Raises UnsupportedError when none does."""
        for name in registry.names("environments"):
            builder = self.environment_builder_named(name)
            if builder.container is container and builder.accepts(spec):
                return self.environment_builder_named(name, backend)
        raise UnsupportedError(
            "no environment builder here can make this environment",
            hint="use your own interpreter with: --set environment=current",
        )

    def supervise(self, run: str) -> None:
        """Start the detached supervisor of a run, in a session of its own; its output goes to the run's system logs."""
        log = self.runs.folder(run) / layout.SUPERVISOR_LOG
        pid = self._forked(run, log) or self._detach(self._supervisor("run", run), log)
        with suppress(ProcessLookupError):  # so quick that it has ended
            self.runs.write_document(run, layout.SUPERVISOR_DOCUMENT, agent.identity(pid))

    def _forked(self, sweep: str, log: Path) -> int | None:
        """The pid of a copy of this process that drives the sweep, where there may be one. It takes no connection with it; and
        what a job started is known by the variables that it was started with, which a copy has too.
        """
        from mlcli.operations.forked import can_fork, forked

        if not self.forks or self._transports or agent.COOKIE in os.environ or not can_fork():
            return None
        for opened in ("runs", "snapshots"):
            if opened in vars(self):
                vars(self)[opened].close()
        return forked(lambda: self._drive(sweep), log=log, folder=self.root)

    def _drive(self, sweep: str) -> None:
        """What the supervisor of a sweep does, in a process of its own."""
        from mlcli.operations.sweep import drive

        os.environ["MLCLI_HOME"] = str(self.home)
        own = Workspace(self.home, self.name, self.settings)
        own.patience_s, own.starts_many = SUPERVISOR_PATIENCE_S, True
        try:
            drive(own, sweep)
        finally:
            vars(own)["runs"].close()

    def hold(self, run: str) -> None:
        """Start the process that waits for the turn of a queued run, and is its supervisor then."""
        pid = self._detach(self.holder(run), self.runs.folder(run) / layout.SUPERVISOR_LOG)
        self.runs.write_document(run, layout.SUPERVISOR_DOCUMENT, agent.identity(pid))

    def holder(self, run: str) -> list[str]:
        """The command line of that process."""
        from mlcli import holder

        folder = str(self.runs.folder(run))
        return [sys.executable, "-I", "-S", holder.__file__, folder, *self._supervisor("run", run)]

    def watch_queue(self, compute: str) -> None:
        """Start the process that gives out the nodes of a compute; what it has to say goes to a log beside the computes."""
        log = self.root / "computes" / f".{compute}.watcher.log"
        self._detach(self._supervisor("queue", compute), log)

    def _supervisor(self, what: str, name: str) -> list[str]:
        return [sys.executable, "-m", "mlcli.supervisor", self.name, what, name]

    def _detach(self, argv: list[str], log: Path) -> int:
        import subprocess

        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output, self._typed_secrets() as (variables, descriptors):
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                # Not the person's folder: `-m` would import a random.py that lies there.
                cwd=self.root,
                env={**self._supervisor_environment(), **variables},
                pass_fds=descriptors,
            )
        self._supervisors.append(process)  # kept: a Popen that is forgotten while its process runs warns
        return process.pid

    def _typed_secrets(self) -> AbstractContextManager[tuple[dict[str, str], tuple[int, ...]]]:
        """What a person has typed for an SSH host goes on to a supervisor, through a pipe."""
        if not self._transports:
            return nullcontext(({}, ()))
        from mlcli.ssh_secrets import to_child

        return to_child()

    def _supervisor_environment(self) -> dict[str, str]:
        """Ours, with the home that we use, and without the mark of a job that we may be running in: what that job has
        left running is ended with it.
        """
        kept = {name: value for name, value in os.environ.items() if name != agent.COOKIE}
        return {**kept, "MLCLI_HOME": str(self.home)}


def home() -> Path:
    """``MLCLI_HOME``, else ``~/.mlcli``. Raises UsageError when there is neither."""
    given = os.environ.get("MLCLI_HOME")
    if given:
        return Path(given).expanduser().absolute()
    try:
        return Path.home() / ".mlcli"
    except RuntimeError as nowhere:
        raise UsageError("there is no home folder for mlcli's files", hint="set MLCLI_HOME to a folder") from nowhere


def open_workspace(name: str | None = None, folder: Path | None = None) -> Workspace:
    """The workspace of that name; without one, the one that ``MLCLI_WORKSPACE`` names, or that ``folder`` (default: the current
    one) or one above it is attached to, or that ``workspace use`` has chosen, else ``default``. Makes nothing on disk yet.
    Raises NotFoundError: only ``default`` is there without being made; MlcliError for a folder whose settings are damaged.
    """
    from mlcli.stores import workspaces

    where = home()
    named = name or os.environ.get("MLCLI_WORKSPACE")
    found = _attached(folder, needed=not named)
    if not named and found is not None and found.workspace is not None:
        workspaces.check_exists(where, found.workspace, str(found.file))
        name = found.workspace
    chosen = workspaces.chosen(where, name)
    opened = Workspace(where, chosen, read_settings(where / "settings.yml"))
    opened.attached = found if found is not None and found.workspace in {None, chosen} else None
    return opened


def _attached(folder: Path | None, *, needed: bool) -> Attached | None:
    """The attached folder that a command is typed in; where it is not ``needed``, damaged settings are none."""
    from mlcli.operations.nearest import nearest_file

    try:
        file = nearest_file(folder if folder is not None else Path.cwd())
        if file is None:
            return None
        from mlcli.operations import attached

        return attached.read(file)
    except FileNotFoundError:  # somebody has removed the current folder
        return None
    except MlcliError:
        if needed:
            raise
        return None


def read_settings(file: Path) -> Settings:
    """The defaults, then the file, then ``MLCLI_<SETTING>`` variables. Raises MlcliError for what is no setting."""
    given: dict[str, Any] = {}
    if file.exists():
        given.update(_settings_file(file))
    for setting in fields(Settings):
        variable = os.environ.get(f"MLCLI_{setting.name.upper()}")
        if variable is not None:
            given[setting.name] = variable
    kinds = {setting.name: setting for setting in fields(Settings)}
    values: dict[str, Any] = {name: _setting(kinds[name], value) for name, value in given.items()}
    return Settings(**values)


def _settings_file(file: Path) -> Mapping[str, Any]:
    """The file's settings by field name; ``local.container`` may be written so, or nested."""
    from mlcli.spec.load import load

    known = {setting.metadata["name"]: setting.name for setting in fields(Settings)}
    document = load(file.read_bytes(), str(file))
    found = {}
    for path, value in _leaves(document.tree):
        name = ".".join(path)
        if name not in known:
            place = document.place(path, key=True)
            raise MlcliError(f"{name!r} is not a setting", place=place, hint=f"settings: {', '.join(known)}")
        found[known[name]] = value
    return found


def _leaves(tree: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*above, name))
        else:
            yield (*above, name), value


def _setting(setting: Field[Any], value: object) -> float | int | str:
    """The value in the type of its default. Raises MlcliError."""
    name, choices = setting.metadata["name"], setting.metadata.get("choices")
    if isinstance(setting.default, str):
        text = "" if value is None else str(value)
        if choices and text not in choices:
            raise MlcliError(f"the setting {name} is {' or '.join(choices)}, not {text!r}")
        return text
    try:
        number = float(str(value))
    except ValueError:
        raise MlcliError(f"the setting {name} must be a number, not {value!r}") from None
    return int(number) if isinstance(setting.default, int) else number
