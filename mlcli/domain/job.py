"""The normal form of a job: what every generation of job file becomes. From here on nobody knows which one it was.

The words are those of today's Azure ML YAML (generation G3), because that is the form the others are upgraded to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

Scalar = str | int | float | bool


class Generation(str, Enum):
    """Which grammar a job file was written in; recognised from its shape, never asked for."""

    G1 = "2021-06"
    G2 = "2021-11"
    G3 = "2022-04"
    RUNCONFIG = "v1-runconfig"


@dataclass(frozen=True)
class LiteralInput:
    """A number, a boolean or a text written into the job file itself. ``written``: an unquoted one as it stands there."""

    value: Scalar
    written: str | None = None


@dataclass(frozen=True)
class DataInput:
    """Files for the job to read.

    ``type``: ``uri_file``, ``uri_folder``, ``mltable``, ``mlflow_model``, ``custom_model``, ``triton_model``.
    ``path``: an absolute local path, ``http(s)://...`` or an ``azureml:...`` reference.
    ``mode``: ``ro_mount``, ``rw_mount``, ``download``, ``direct``, ``eval_mount``, ``eval_download``.
    """

    path: str
    type: str = "uri_folder"
    mode: str = "ro_mount"


Input = LiteralInput | DataInput


@dataclass(frozen=True)
class Output:
    """A named folder or file that the job writes; ``path`` None means: kept with the run."""

    type: str = "uri_folder"
    path: str | None = None
    mode: str = "rw_mount"
    name: str | None = None
    version: str | None = None


@dataclass(frozen=True)
class BuildContext:
    """A Docker build: ``path`` is the absolute context folder; ``dockerfile_text`` replaces the file (G1's inline form)."""

    path: str | None = None
    dockerfile_path: str = "Dockerfile"
    dockerfile_text: str | None = None
    args: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RegistryLogin:
    """Who may pull from a container registry (runconfig's ``baseImageRegistry``). ``password`` is a secret;
    ``password_env`` names the variable that holds it where the file does not.
    """

    address: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    password_env: str | None = None

    def secret(self, environment: Mapping[str, str]) -> str | None:
        """The password, looked up in ``environment`` (variables of the process) when only its name is known."""
        return self.password or (environment.get(self.password_env) if self.password_env else None)


@dataclass(frozen=True)
class EnvironmentSpec:
    """What the job runs in. Exactly one of ``interpreter``, ``reference``, ``image``, ``build`` and ``conda`` leads;
    ``conda`` may stand beside ``image`` or ``build``.

    ``interpreter``: ``current`` (the interpreter that the person's own shell would run) or the path of one.
    ``reference``: ``azureml:name:version`` or ``azureml:name@latest``.
    ``conda``: the parsed conda file (``{"name", "channels", "dependencies": [...]}``), read in from ``conda_file``.
    ``lock``: the text of a lock file that pins what ``conda`` asks for, or stands in its place.
    """

    interpreter: str | None = None
    reference: str | None = None
    image: str | None = None
    build: BuildContext | None = None
    conda: Mapping[str, Any] | None = None
    lock: str | None = None
    registry: RegistryLogin | None = None
    name: str | None = None
    version: str | None = None
    environment_variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def wants_image(self) -> bool:
        """Whether the job asks to run in a container."""
        return self.image is not None or self.build is not None


@dataclass(frozen=True)
class Distribution:
    """How many processes, and who tells them about each other.

    ``type``: ``pytorch``, ``tensorflow``, ``mpi`` or ``ray``; counts as in today's YAML (per instance).
    """

    type: str
    process_count_per_instance: int | None = None
    worker_count: int | None = None
    parameter_server_count: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Resources:
    """What the job asks of its compute. ``shm_size`` and ``memory`` as Docker writes them (``2g``). ``cpus``: how many,
    1.5 too. ``gpus``: a count or ``all``.
    """

    instance_count: int = 1
    instance_type: str | None = None
    shm_size: str | None = None
    docker_args: str | None = None
    properties: Mapping[str, Any] = field(default_factory=dict)
    locations: tuple[str, ...] = ()
    max_instance_count: int | None = None
    memory: str | None = None
    cpus: float | None = None
    gpus: str | None = None


@dataclass(frozen=True)
class CommandJob:
    """One command, with its code, environment, data and target. Paths are absolute.

    ``compute``: the compute's name without ``azureml:``; None means the default compute.
    ``code``: an absolute folder, or an ``azureml:`` / ``git+https:`` reference, or None for an empty working folder.
    ``timeout_s``: seconds the command may run, or None.
    ``document``: the same job as a plain G3 mapping (what ``job show`` and ``--save-as`` print), names and paths as the
    person wrote them.
    """

    command: str
    environment: EnvironmentSpec
    generation: Generation = Generation.G3
    name: str | None = None
    display_name: str | None = None
    experiment_name: str | None = None
    description: str | None = None
    compute: str | None = None
    code: str | None = None
    inputs: Mapping[str, Input] = field(default_factory=dict)
    outputs: Mapping[str, Output] = field(default_factory=dict)
    environment_variables: Mapping[str, str] = field(default_factory=dict)
    resources: Resources = field(default_factory=Resources)
    distribution: Distribution | None = None
    timeout_s: float | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    properties: Mapping[str, str] = field(default_factory=dict)
    document: Mapping[str, Any] = field(default_factory=dict)
    type: str = "command"
