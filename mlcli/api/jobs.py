"""What can be submitted: a script with its configuration, an estimator, a job file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlcli.api.data import DataReference
from mlcli.api.environments import CondaDependencies, DockerSection, Environment, PythonSection
from mlcli.api.names import Named
from mlcli.domain.errors import UsageError

if TYPE_CHECKING:
    from mlcli.domain.job import CommandJob
    from mlcli.domain.sweep import SweepJob
    from mlcli.spec.runconfig import MadeCompute, Runconfig

_COMMUNICATORS = {None: None, "mpi": "Mpi", "ps": "ParameterServer", "nccl": "Nccl", "gloo": "Gloo"}


@dataclass(frozen=True, kw_only=True)
class MpiConfiguration:
    """Processes that Open MPI starts. ``process_count_per_node``: at least 1."""

    process_count_per_node: int = 1
    node_count: int = 1

    def words(self) -> dict[str, Any]:
        """The same in a run configuration's words."""
        return {
            "communicator": "Mpi",
            "nodeCount": self.node_count,
            "mpi": {"processCountPerNode": self.process_count_per_node},
        }


@dataclass(frozen=True, kw_only=True)
class TensorflowConfiguration:
    """TensorFlow's workers and parameter servers, a node for each."""

    worker_count: int = 1
    parameter_server_count: int = 1

    def words(self) -> dict[str, Any]:
        """The same in a run configuration's words."""
        return {
            "communicator": "ParameterServer",
            "nodeCount": self.worker_count + self.parameter_server_count,
            "tensorflow": {"workerCount": self.worker_count, "parameterServerCount": self.parameter_server_count},
        }


@dataclass(frozen=True, kw_only=True)
class PyTorchConfiguration:
    """PyTorch's processes. ``process_count``: over all nodes; None for one on each. ``communication_backend``: ``nccl`` or
    ``gloo``.
    """

    process_count: int | None = None
    communication_backend: str = "nccl"
    node_count: int = 1

    def words(self) -> dict[str, Any]:
        """The same in a run configuration's words."""
        return {
            "communicator": self.communication_backend.capitalize(),
            "nodeCount": self.node_count,
            "pytorch": {"processCount": self.process_count or self.node_count},
        }


Distributed = MpiConfiguration | TensorflowConfiguration | PyTorchConfiguration


@dataclass(slots=True)
class AmlComputeSection:
    """The compute that is made for a run whose target is ``amlcompute``, and removed after it unless ``retain_cluster``."""

    name: str | None = None
    vm_size: str | None = None
    vm_priority: str | None = None
    retain_cluster: bool = False
    cluster_max_node_count: int | None = None

    def words(self) -> dict[str, Any]:
        """The same in a run configuration's words."""
        return {
            "name": self.name,
            "vmSize": self.vm_size,
            "vmPriority": self.vm_priority,
            "retainCluster": self.retain_cluster,
            "clusterMaxNodeCount": self.cluster_max_node_count,
        }


@dataclass(slots=True)
class RunConfiguration:
    """How a script is run. ``target``: a compute or its name, None for this machine. ``max_run_duration_seconds``: None for
    ever. ``distributed_backend``: ``mpi``, ``ps``, ``nccl`` or ``gloo``; None for one process. ``prepare_environment``: an
    environment that is not there is made, whatever it says.
    """

    framework: str = "Python"
    target: Named | str | None = None
    environment: Environment = field(default_factory=lambda: Environment("default-environment"))
    node_count: int = 1
    max_run_duration_seconds: int | None = None
    environment_variables: Mapping[str, str] = field(default_factory=dict)
    distributed_backend: str | None = None
    process_count_per_node: int = 1
    data_references: Mapping[str, DataReference] = field(default_factory=dict)
    amlcompute: AmlComputeSection = field(default_factory=AmlComputeSection)
    prepare_environment: bool = True
    auto_prepare_environment: bool = True

    def words(self) -> dict[str, Any]:
        """The same as a run configuration file has it. Raises UsageError for a backend that nobody knows."""
        if self.distributed_backend not in _COMMUNICATORS:
            known = ", ".join(filter(None, _COMMUNICATORS))
            raise UsageError(f"{self.distributed_backend!r} is no distributed backend", hint=f"one of {known}, or None")
        if self.distributed_backend is None and self.process_count_per_node > 1:
            raise UsageError(
                f"{self.process_count_per_node} processes on a node need somebody who starts them",
                hint="distributed_backend='mpi', or process_count_per_node=1",
            )
        target = self.target or "local"
        return {
            "framework": self.framework,
            "target": target if isinstance(target, str) else target.name,
            "environment": self.environment.words(),
            "nodeCount": self.node_count,
            "maxRunDurationSeconds": self.max_run_duration_seconds,
            "environmentVariables": dict(self.environment_variables),
            "communicator": _COMMUNICATORS[self.distributed_backend],
            "mpi": {"processCountPerNode": self.process_count_per_node},
            "pytorch": {"processCount": self.process_count_per_node * self.node_count},
            "dataReferences": {name: reference.words() for name, reference in self.data_references.items()},
            "amlcompute": self.amlcompute.words(),
        }


class ScriptRunConfig:
    """A script of ``source_directory``, its arguments, and how it is run (``run_config``, whose values the other parameters set).

    ``arguments``: words; numbers and paths are written as text, data of a datastore (``ds.as_mount()``) is its path.
    ``command``: a command line, in place of the script. ``distributed_job_config``: how its processes are started.
    """

    def __init__(
        self,
        source_directory: str | Path,
        script: str | None = None,
        arguments: Sequence[Any] | None = None,
        run_config: RunConfiguration | None = None,
        *,
        compute_target: Named | str | None = None,
        environment: Environment | None = None,
        distributed_job_config: Distributed | None = None,
        max_run_duration_seconds: int | None = None,
        command: str | Sequence[Any] | None = None,
    ) -> None:
        self.source_directory = Path(source_directory).absolute()
        self.script = script
        self.arguments = list(arguments or ())
        self.command = command
        self.distributed_job_config = distributed_job_config
        self.run_config = run_config or RunConfiguration()
        if compute_target is not None:
            self.run_config.target = compute_target
        if environment is not None:
            self.run_config.environment = environment
        if max_run_duration_seconds is not None:
            self.run_config.max_run_duration_seconds = max_run_duration_seconds

    def job(self) -> CommandJob:
        """The job that it describes. Raises InvalidSpecError with everything that is wrong."""
        return self._read().job

    @property
    def made_compute(self) -> MadeCompute | None:
        """The compute that is to be made for it."""
        return self._read().made_compute

    def _read(self) -> Runconfig:
        from mlcli.operations.files import DiskFiles
        from mlcli.spec.runconfig import read_runconfig

        command: Any = self.command
        if command is not None and not isinstance(command, str):
            command = [str(word) for word in command]
        words = self.run_config.words()
        if self.distributed_job_config is not None:
            distributed = self.distributed_job_config.words()
            words |= {**distributed, "nodeCount": max(words["nodeCount"], distributed["nodeCount"])}
        given = {word.data_reference_name: word.words() for word in self.arguments if isinstance(word, DataReference)}
        words |= {
            "script": self.script,
            "arguments": list(map(str, self.arguments)),
            "command": command,
            "dataReferences": {**words["dataReferences"], **given},
        }
        text = json.dumps(words, ensure_ascii=False, indent=1)
        return read_runconfig(text, type(self).__name__, self.source_directory, DiskFiles())


class Estimator(ScriptRunConfig):
    """A training script with the packages that it needs.

    ``script_params``: the script's arguments, flag -> value (an empty text: a flag without a value). ``custom_docker_base_image``:
    run in a container of that image. ``environment_definition``: in place of packages and image. ``distributed_backend``: as in
    :class:`RunConfiguration`.
    """

    def __init__(
        self,
        source_directory: str | Path,
        *,
        entry_script: str,
        compute_target: Named | str | None = None,
        script_params: Mapping[str, Any] | None = None,
        conda_packages: Sequence[str] = (),
        pip_packages: Sequence[str] = (),
        conda_dependencies_file: str | Path | None = None,
        pip_requirements_file: str | Path | None = None,
        node_count: int = 1,
        process_count_per_node: int = 1,
        distributed_backend: str | None = None,
        custom_docker_base_image: str | None = None,
        environment_definition: Environment | None = None,
        environment_variables: Mapping[str, str] | None = None,
        max_run_duration_seconds: int | None = None,
    ) -> None:
        pip = [*pip_packages]
        if pip_requirements_file is not None:
            pip.append(f"-r {Path(source_directory, pip_requirements_file).absolute()}")
        if conda_dependencies_file is not None:
            if conda_packages or pip:
                raise UsageError("packages are named, and a file of them too", hint="put the packages into the file")
            python = PythonSection(conda_dependencies_file=Path(source_directory, conda_dependencies_file).absolute())
        else:
            python = PythonSection(
                conda_dependencies=CondaDependencies.create(conda_packages=conda_packages, pip_packages=pip)
            )
        docker = DockerSection(enabled=custom_docker_base_image is not None, base_image=custom_docker_base_image)
        given = script_params or {}
        super().__init__(
            source_directory,
            script=entry_script,
            arguments=[word for flag, value in given.items() for word in (flag, value) if str(word)],
            run_config=RunConfiguration(
                target=compute_target,
                environment=environment_definition or Environment("estimator", python=python, docker=docker),
                node_count=node_count,
                max_run_duration_seconds=max_run_duration_seconds,
                environment_variables=environment_variables or {},
                distributed_backend=distributed_backend,
                process_count_per_node=process_count_per_node,
            ),
        )


@dataclass(frozen=True)
class Job:
    """A job file that was read: a command job, or a sweep."""

    spec: CommandJob | SweepJob

    @property
    def name(self) -> str | None:
        """The name that the file gives it."""
        return self.spec.name

    made_compute = None

    def job(self) -> CommandJob | SweepJob:
        """What is submitted."""
        return self.spec


def load_job(source: str | Path, *, overrides: Mapping[str, Any] | None = None, name: str | None = None) -> Job:
    """The job of a YAML file of any generation. ``overrides``: dotted path -> value, as ``--set`` has them.

    Raises NotFoundError, InvalidSpecError with everything that is wrong.
    """
    from mlcli.domain.errors import NotFoundError
    from mlcli.operations.files import DiskFiles
    from mlcli.spec.jobs import LoadedJob, read

    file = Path(source)
    if not file.is_file():
        raise NotFoundError(f"there is no file {file}")
    sets = [
        f"{path}={value if isinstance(value, str) else json.dumps(value)}" for path, value in (overrides or {}).items()
    ]
    loaded = read(file.read_bytes(), str(source), file.absolute().parent, DiskFiles(), overrides=sets, name=name)
    return Job(loaded.job if isinstance(loaded, LoadedJob) else loaded.sweep)


def in_experiment(spec: CommandJob | SweepJob, experiment: str) -> CommandJob | SweepJob:
    """The same, in that experiment."""
    from mlcli.domain.sweep import SweepJob

    if isinstance(spec, SweepJob):
        return replace(spec, trial=replace(spec.trial, experiment_name=experiment))
    return replace(spec, experiment_name=experiment)


def experiment_of(spec: CommandJob | SweepJob) -> str | None:
    """The experiment that it names itself."""
    from mlcli.domain.sweep import SweepJob

    return spec.trial.experiment_name if isinstance(spec, SweepJob) else spec.experiment_name
