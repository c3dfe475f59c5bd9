"""A run configuration of the first Azure ML SDK and command line (``.azureml/NAME``, YAML or JSON) -> the job that it describes.

It is brought to today's words, so that one set of rules builds, plans and runs it. Its paths start at the project's folder,
the one that holds ``.azureml``. What it says that means nothing here is a warning, each value with its place.
"""

from __future__ import annotations

import os.path
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlcli.domain.errors import Diagnostic, InvalidSpecError, UnsupportedError
from mlcli.domain.job import Generation
from mlcli.spec.command_checks import integer
from mlcli.spec.generation import Kind
from mlcli.spec.runconfig_data import Data, data_of
from mlcli.spec.runconfig_environment import is_true, runconfig_environment
from mlcli.spec.runconfig_idle import idle_keys

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlcli.domain.job import CommandJob
    from mlcli.ports.files import FileReader
    from mlcli.spec.load import Document

__all__ = ["KIND", "Changes", "MadeCompute", "Runconfig", "job_of_runconfig", "read_runconfig"]

KIND = Kind(Generation.RUNCONFIG, "runconfig", "v1/runConfiguration", "runconfig")

_MPI = frozenset({"mpi", "openmpi", "intelmpi"})
_FRAMEWORK_COMMUNICATORS = {
    "pythonmpi": "mpi",
    "pythonintelmpi": "mpi",
    "tensorflowparameterserver": "parameterserver",
}
_MADE_FOR_THE_RUN = "amlcompute"
_COUNTS = (
    ("nodeCount",),
    ("maxRunDurationSeconds",),
    ("mpi", "processCountPerNode"),
    ("pytorch", "processCount"),
    ("tensorflow", "workerCount"),
    ("tensorflow", "parameterServerCount"),
    ("amlCompute", "clusterMaxNodeCount"),
    ("amlcompute", "clusterMaxNodeCount"),
)


@dataclass(frozen=True)
class Changes:
    """What a command line says in the file's place; paths absolute. ``arguments`` None: the file's."""

    script: str | None = None
    arguments: tuple[str, ...] | None = None
    target: str | None = None
    conda_file: Path | None = None
    source: Path | None = None
    experiment_name: str | None = None


@dataclass(frozen=True)
class MadeCompute:
    """A compute that is made for one run, and removed after it unless it is to stay (``keep``). ``name`` None: the run's."""

    name: str | None
    size: str | None
    max_instances: int
    tier: str
    keep: bool


@dataclass(frozen=True)
class Runconfig:
    """The job of a run configuration, what to warn of, and the compute that it wants made."""

    job: CommandJob
    warnings: tuple[Diagnostic, ...] = ()
    made_compute: MadeCompute | None = None


def read_runconfig(
    text: str | bytes,
    file: str,
    base: Path,
    reader: FileReader,
    *,
    changes: Changes = Changes(),
    overrides: Sequence[str] = (),
) -> Runconfig:
    """The job of a run configuration. ``file``: the name that errors show; ``base``: the absolute folder of the project;
    ``overrides``: ``a.b=value``. Raises InvalidSpecError with everything that is wrong, in file order.
    """
    from mlcli.spec.load import load
    from mlcli.spec.overrides import apply
    from mlcli.spec.validate import validate

    document = load(text, file)
    if overrides:
        document = apply(document, overrides)
    faults = validate(document, KIND)
    if faults:
        raise InvalidSpecError(faults)
    return job_of_runconfig(document, base, reader, changes)


def job_of_runconfig(
    document: Document,
    base: Path,
    reader: FileReader,
    changes: Changes = Changes(),
    *,
    script_later: bool = False,
) -> Runconfig:
    """The same of a document that its schema allows. ``script_later``: it may lack a script, the job is for checking only."""
    from mlcli.spec.build import build

    reading = _Reading(document, base, reader, changes)
    found = list(reading.faults(script_later=script_later))
    if found:
        raise InvalidSpecError(tuple(sorted(found, key=lambda one: one.place)))
    job = build(document.with_tree({}, document.marks), reading.normal(), KIND, base, reader)
    return Runconfig(job, tuple(idle_keys(document, reading.distribution_type)), reading.made_compute())


class _Reading:
    """One document being read."""

    def __init__(self, document: Document, base: Path, reader: FileReader, changes: Changes) -> None:
        self._document = document
        self._tree: Mapping[str, Any] = document.tree
        self._base = base
        self._reader = reader
        self._changes = changes
        self._data: Data = data_of(self._tree)

    # --- what is wrong ---

    def faults(self, *, script_later: bool = False) -> Iterator[Diagnostic]:
        """Everything that keeps it from being a job."""
        if self._script is not None or not script_later:
            yield from self._script_faults()
        written = self._tree.get("arguments")
        if isinstance(written, str) and not _can_be_split(written):
            hint = "close it, or write the arguments as a list"
            yield self._document.diagnose(
                ("arguments",), "bad-value", "a quote in the arguments is not closed", hint=hint
            )
        framework = str(self._tree.get("framework") or "Python")
        if framework.lower() in {"pyspark", "pysparkinteractive", "r"}:
            what = "an installation of R" if framework.lower() == "r" else "a Spark cluster"
            message = f"the framework {framework} hands the script to {what}, which this version of mlcli does not know"
            hint = "set framework to Python to run it as a plain script"
            yield self._document.diagnose(("framework",), "cannot-upgrade", message, hint=hint)
        yield from self._count_faults()
        made = self.made_compute()
        if made is not None:
            from mlcli.spec.computes import check_size

            section = "amlCompute" if self._map("amlCompute") else "amlcompute"
            yield from check_size(self._document, (section, "vmSize"), made.size)
        for path, message, hint in self._data.faults:
            yield self._document.diagnose(path, "bad-value", message, hint=hint)
        try:
            self._environment()
        except UnsupportedError as refused:
            yield self._document.diagnose(("environment",), "bad-value", refused.message, hint=refused.hint)
        processes, nodes = self._count("pytorch", "processCount"), self._nodes
        if self.distribution_type == "pytorch" and processes % nodes:
            message = f"{processes} processes cannot be shared out evenly over {nodes} nodes"
            hint = "make pytorch.processCount a multiple of nodeCount"
            yield self._document.diagnose(("pytorch", "processCount"), "node-count", message, hint=hint)

    def _count_faults(self) -> Iterator[Diagnostic]:
        for *sections, key in _COUNTS:
            value = (self._map(sections[0]) if sections else self._tree).get(key)
            count = integer(value)
            if value not in (None, "") and (count is None or count < 0):
                message = f"'{key}' must be a whole number, at least 1, not {value}"
                yield self._document.diagnose((*sections, key), "out-of-range", message)

    def _script_faults(self) -> Iterator[Diagnostic]:
        script = self._script
        if script is None:
            if not self._tree.get("command"):
                hint = "give it in the file (script: train.py), or after the command's flags"
                yield self._document.diagnose(("script",), "missing-key", "there is no script to run", hint=hint)
            return
        place = os.path.normpath(self._source / script)
        inside = Path(place).is_relative_to(self._source)
        if inside and self._reader.is_file(Path(place)):
            return
        message = (
            f"there is no script '{script}'" if inside else f"the script '{script}' is outside the source directory"
        )
        hint = f"looked in {self._source}; the path starts at the source directory"
        yield self._document.diagnose(("script",), "missing-file", message, hint=hint)

    # --- what it says ---

    def normal(self) -> dict[str, Any]:
        """The job in today's words, paths from the project's folder."""
        environment, lent = self._environment()
        resources: dict[str, Any] = dict(lent)
        variables = self._map("environmentVariables")
        target = self._target
        is_named = target is not None and target.lower() not in {"local", _MADE_FOR_THE_RUN}
        seconds = integer(self._tree.get("maxRunDurationSeconds"))
        made = self.made_compute()
        if made is not None and made.size:
            resources = {**resources, "instance_type": made.size}
        if self._nodes > 1:
            resources = {"instance_count": self._nodes, **resources}
        found: dict[str, Any] = {
            "type": "command",
            "display_name": self._tree.get("jobName"),
            "experiment_name": self._changes.experiment_name,
            "command": self._command(),
            "code": os.path.relpath(self._source, self._base),
            "inputs": self._data.inputs,
            "outputs": self._data.outputs,
            "environment": environment,
            "environment_variables": {name: str(value) for name, value in variables.items()},
            "compute": f"azureml:{target}" if is_named else None if made else "local",
            "resources": resources,
            "distribution": self._distribution(),
            "limits": {"timeout": seconds} if seconds else None,
        }
        return {key: value for key, value in found.items() if value not in (None, {}, "")}

    def made_compute(self) -> MadeCompute | None:
        """What ``amlCompute`` asks for, when it is the target."""
        if (self._target or "").lower() != _MADE_FOR_THE_RUN:
            return None
        section = self._map("amlCompute") or self._map("amlcompute")
        tier = str(section.get("vmPriority") or "dedicated").lower().replace("_", "")
        return MadeCompute(
            name=section.get("name") or None,
            size=section.get("vmSize") or None,
            max_instances=integer(section.get("clusterMaxNodeCount")) or self._nodes,
            tier="low_priority" if tier == "lowpriority" else "dedicated",
            keep=is_true(section.get("retainCluster")),
        )

    @property
    def distribution_type(self) -> str | None:
        """Who tells the processes of the run about each other; None for one process."""
        framework = str(self._tree.get("framework") or "").lower()
        written = str(self._tree.get("communicator") or "none").lower()
        communicator = _FRAMEWORK_COMMUNICATORS.get(framework, written) if written == "none" else written
        if communicator == "parameterserver":
            return "tensorflow"
        return "mpi" if communicator in _MPI else None if communicator == "none" else "pytorch"

    def _distribution(self) -> dict[str, Any] | None:
        kind = self.distribution_type
        if kind is None:
            return None
        if kind == "tensorflow":
            workers, servers = (self._count("tensorflow", key) for key in ("workerCount", "parameterServerCount"))
            return {"type": kind, "worker_count": workers, "parameter_server_count": servers}
        processes = self._count("mpi", "processCountPerNode")
        if kind == "pytorch":
            processes = self._count("pytorch", "processCount") // self._nodes
        return {"type": kind, "process_count_per_instance": max(processes, 1)}

    @property
    def _nodes(self) -> int:
        return integer(self._tree.get("nodeCount")) or 1

    def _count(self, section: str, key: str) -> int:
        return integer(self._map(section).get(key)) or 1

    @property
    def _source(self) -> Path:
        return self._changes.source or self._base

    @property
    def _script(self) -> str | None:
        return self._changes.script or self._tree.get("script") or None

    @property
    def _target(self) -> str | None:
        return self._changes.target or self._tree.get("target") or None

    def _map(self, key: str) -> Mapping[str, Any]:
        return self._tree.get(key) or {}

    def _command(self) -> str:
        command = self._tree.get("command")
        if command and self._changes.script is None:
            return command.strip() if isinstance(command, str) else " ".join(map(self._word, map(_text, command)))
        given = self._changes.arguments
        written = self._tree.get("arguments") or []
        words = given if given is not None else shlex.split(written) if isinstance(written, str) else written
        return " ".join(["python", *(self._word(_text(word)) for word in (self._script_word(), *words))])

    def _script_word(self) -> str:
        """The script as the command names it: from the source directory, of which the run has a copy."""
        script = self._script or ""
        if Path(script).is_absolute() or ".." in Path(script).parts:
            return os.path.relpath(os.path.normpath(self._source / script), self._source)
        return script

    def _word(self, text: str) -> str:
        """One word of the command: quoted for the shell, placeholders of data as today's references."""
        pieces, end = [], 0
        for found in _PLACEHOLDER.finditer(text):
            reference = self._data.references.get(found["name"])
            if reference is None:
                continue
            pieces += [_quoted(text[end : found.start()]), f"${{{{{reference}}}}}"]
            end = found.end()
        return "".join([*pieces, _quoted(text[end:])]) if pieces else shlex.quote(text)

    def _environment(self) -> tuple[Any, dict[str, str]]:
        """The environment in today's words, and what it says of the job's resources."""
        section = dict(self._map("environment"))
        docker = self._map("docker")
        in_docker = is_true(docker.get("useDocker"))
        name, version = section.get("name"), section.get("version")
        if name and not {key for key, value in section.items() if value} - {"name", "version"} and not in_docker:
            return f"azureml:{name}:{version}" if version else f"azureml:{name}@latest", {}
        if self._changes.conda_file is not None:
            python = {**(section.get("python") or {}), "condaDependencies": None, "userManagedDependencies": False}
            section["python"] = {**python, "condaDependenciesFile": str(self._changes.conda_file)}
        found = runconfig_environment(section, run_docker=docker)
        resources = dict(found.resources)
        wants_gpus = is_true((section.get("docker") or {}).get("gpuSupport")) or is_true(docker.get("gpuSupport"))
        if wants_gpus and {"image", "build"} & set(found.environment):
            resources["gpus"] = "all"
        return self._with_dockerfile(found.environment), resources

    def _with_dockerfile(self, environment: Mapping[str, Any]) -> dict[str, Any]:
        """A Dockerfile that the file names, in the place of its text."""
        written = (environment.get("build") or {}).get("dockerfile")
        if not written or "\n" in written or not self._reader.is_file(self._base / written):
            return dict(environment)
        return {**environment, "build": {"dockerfile": self._reader.read_text(self._base / written)}}


_PLACEHOLDER = re.compile(r"(?:\$AZUREML_DATAREFERENCE_|DatasetConsumptionConfig:|DatasetOutputConfig:)(?P<name>\w+)")


def _can_be_split(text: str) -> bool:
    try:
        shlex.split(text)
    except ValueError:
        return False
    return True


def _quoted(text: str) -> str:
    return shlex.quote(text) if text else ""


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
