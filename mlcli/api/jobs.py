"""What can be submitted: a script with its configuration, an estimator, a job file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlcli.api.environments import DockerSection, Environment, PythonSection, python_itself
from mlcli.api.names import Named
from mlcli.domain.errors import UsageError

if TYPE_CHECKING:
    from mlcli.domain.job import CommandJob
    from mlcli.domain.sweep import SweepJob

_COMMUNICATORS = {None: None, "mpi": "Mpi", "ps": "ParameterServer", "nccl": "Nccl", "gloo": "Gloo"}


@dataclass
class RunConfiguration:
    """How a script is run. ``target``: a compute or its name, None for this machine. ``max_run_duration_seconds``: None for
    ever. ``distributed_backend``: ``mpi``, ``ps``, ``nccl`` or ``gloo``; None for one process.
    """

    target: Named | str | None = None
    environment: Environment | None = None
    node_count: int = 1
    max_run_duration_seconds: int | None = None
    environment_variables: Mapping[str, str] = field(default_factory=dict)
    distributed_backend: str | None = None
    process_count_per_node: int = 1

    def words(self) -> dict[str, Any]:
        """The same as a run configuration file has it. Raises UsageError for a backend that nobody knows."""
        if self.distributed_backend not in _COMMUNICATORS:
            known = ", ".join(filter(None, _COMMUNICATORS))
            raise UsageError(f"{self.distributed_backend!r} is no distributed backend", hint=f"one of {known}, or None")
        return {
            "target": self.target
            if isinstance(self.target, str)
            else "local"
            if self.target is None
            else self.target.name,
            "environment": (self.environment or Environment("default-environment")).words(),
            "nodeCount": self.node_count,
            "maxRunDurationSeconds": self.max_run_duration_seconds,
            "environmentVariables": dict(self.environment_variables),
            "communicator": _COMMUNICATORS[self.distributed_backend],
            "mpi": {"processCountPerNode": self.process_count_per_node},
            "pytorch": {"processCount": self.process_count_per_node * self.node_count},
        }


class ScriptRunConfig:
    """A script of ``source_directory``, its arguments, and how it is run (``run_config``, whose values the other parameters set).

    ``arguments``: words; numbers and paths are written as text. ``command``: a command line, in place of the script.
    """

    def __init__(
        self,
        source_directory: str | Path,
        script: str | None = None,
        arguments: Sequence[Any] | None = None,
        *,
        run_config: RunConfiguration | None = None,
        compute_target: Named | str | None = None,
        environment: Environment | None = None,
        max_run_duration_seconds: int | None = None,
        command: str | Sequence[Any] | None = None,
    ) -> None:
        self.source_directory = Path(source_directory).absolute()
        self.script = script
        self.arguments = list(arguments or ())
        self.command = command
        self.run_config = run_config or RunConfiguration()
        if compute_target is not None:
            self.run_config.target = compute_target
        if environment is not None:
            self.run_config.environment = environment
        if max_run_duration_seconds is not None:
            self.run_config.max_run_duration_seconds = max_run_duration_seconds

    def job(self) -> CommandJob:
        """The job that it describes. Raises InvalidSpecError with everything that is wrong."""
        from mlcli.operations.files import DiskFiles
        from mlcli.spec.runconfig import read_runconfig

        command = (
            self.command if self.command is None or isinstance(self.command, str) else list(map(str, self.command))
        )
        words = {
            **self.run_config.words(),
            "script": self.script,
            "arguments": list(map(str, self.arguments)),
            "command": command,
        }
        text = json.dumps(words, ensure_ascii=False, indent=1)
        return read_runconfig(text, "ScriptRunConfig", self.source_directory, DiskFiles()).job


class Estimator(ScriptRunConfig):
    """A training script with the packages that it needs.

    ``script_params``: the script's arguments, flag -> value (an empty text: a flag without a value). ``custom_docker_base_image``:
    run in a container of that image. ``distributed_backend``: as in :class:`RunConfiguration`.
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
        node_count: int = 1,
        process_count_per_node: int = 1,
        distributed_backend: str | None = None,
        custom_docker_base_image: str | None = None,
        environment_variables: Mapping[str, str] | None = None,
        max_run_duration_seconds: int | None = None,
    ) -> None:
        dependencies: list[Any] = [python_itself(), *conda_packages]
        if pip_packages:
            dependencies += ["pip", {"pip": list(pip_packages)}]
        python = PythonSection(conda_dependencies={"dependencies": dependencies})
        docker = DockerSection(enabled=custom_docker_base_image is not None, base_image=custom_docker_base_image)
        given = script_params or {}
        super().__init__(
            source_directory,
            script=entry_script,
            arguments=[word for flag, value in given.items() for word in (flag, value) if str(word)],
            run_config=RunConfiguration(
                target=compute_target,
                environment=Environment("estimator", python=python, docker=docker),
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
