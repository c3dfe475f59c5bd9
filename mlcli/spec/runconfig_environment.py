"""The environment of an Azure ML v1 run configuration (``.runconfig``), in today's words. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlcli.domain.errors import UnsupportedError

_OWN_KEYS = frozenset({"python", "spark", "environmentVariables", "databricks", "inferencingStackVersion"})
_TODAYS_KEYS = frozenset({"image", "build", "conda_file"})
_DOCKERS_OWN_KEYS = frozenset(
    {
        "enabled",
        "baseImage",
        "baseDockerfile",
        "buildContext",
        "baseImageRegistry",
        "sharedVolumes",
        "shmSize",
        "arguments",
        "gpuSupport",
        "platform",
    }
)
_DEFAULT_INTERPRETER = "python"


@dataclass(frozen=True)
class RunconfigEnvironment:
    """``environment``: a mapping as a job's ``environment`` is today; ``resources``: what its Docker section says that
    belongs to a job's ``resources`` now (``shm_size``, ``docker_args``).
    """

    environment: Mapping[str, Any]
    resources: Mapping[str, str] = field(default_factory=dict)


def is_runconfig_environment(section: Any) -> bool:
    """Whether it is an environment in a run configuration's words, rather than in those of a job file."""
    if not isinstance(section, Mapping) or _TODAYS_KEYS & set(section):
        return False
    docker = section.get("docker")
    return bool(_OWN_KEYS & set(section)) or (isinstance(docker, Mapping) and bool(_DOCKERS_OWN_KEYS & set(docker)))


def of_runconfig(tree: Mapping[str, Any]) -> RunconfigEnvironment | None:
    """The environment of a run configuration, or one that v1 saved by itself; None when the file is neither. Raises as
    :func:`runconfig_environment`.
    """
    if is_runconfig_environment(tree.get("environment")):
        return runconfig_environment(tree["environment"], run_docker=_map(tree, "docker"))
    return runconfig_environment(tree) if is_runconfig_environment(tree) else None


def runconfig_environment(
    section: Mapping[str, Any], *, run_docker: Mapping[str, Any] | None = None
) -> RunconfigEnvironment:
    """What the ``environment`` section of a run configuration asks for.

    ``run_docker``: the run configuration's own ``docker`` section, which counts when it says ``useDocker: true``. ``false``
    says nothing: v1 writes it into every file, also into the one that it makes for Docker. Paths stay as written: they
    start at the project's folder. Raises UnsupportedError for what is no such section.
    """
    python = _map(section, "python")
    docker = _map(section, "docker")
    if run_docker and is_true(run_docker.get("useDocker")):
        docker = {**docker, "enabled": True, **{key: value for key, value in run_docker.items() if value}}
    in_docker = is_true(docker.get("enabled"))
    made: dict[str, Any] = {key: str(section[key]) for key in ("name", "version") if section.get(key) is not None}
    if in_docker:
        made |= _image(docker)
    managed_by_user = is_true(python.get("userManagedDependencies"))
    conda = None if managed_by_user else python.get("condaDependencies") or python.get("condaDependenciesFile")
    if conda is not None:
        made["conda_file"] = conda
    elif not {"image", "build"} & set(made):
        made["interpreter"] = _interpreter(python if managed_by_user else {})
    variables = _map(section, "environmentVariables")
    if variables:
        made["environment_variables"] = {str(name): str(value) for name, value in variables.items()}
    return RunconfigEnvironment(made, _resources(docker) if in_docker else {})


def is_true(value: Any) -> bool:
    """Whether a boolean, or a word that YAML 1.1 takes for one, says yes."""
    return str(value).lower() in {"true", "yes", "on", "y", "1"}


def _interpreter(python: Mapping[str, Any]) -> str:
    """``python`` is v1's way to say: the one on PATH."""
    path = str(python.get("interpreterPath") or _DEFAULT_INTERPRETER)
    return "current" if path == _DEFAULT_INTERPRETER else path


def _image(docker: Mapping[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    context = _map(docker, "buildContext")
    if docker.get("baseDockerfile"):
        made["build"] = {"dockerfile": str(docker["baseDockerfile"])}
    elif context.get("location"):
        made["build"] = {
            "path": str(context["location"]),
            "dockerfile_path": str(context.get("dockerfilePath") or "Dockerfile"),
        }
    elif docker.get("baseImage"):
        made["image"] = str(docker["baseImage"])
    else:
        raise UnsupportedError(
            "the run configuration wants Docker and names no image",
            hint="give environment.docker.baseImage, or set environment.docker.enabled to false",
        )
    registry = _map(docker, "baseImageRegistry")
    login = {key: str(registry[key]) for key in ("address", "username", "password") if registry.get(key)}
    return {**made, "registry": login} if "address" in login else made


def _resources(docker: Mapping[str, Any]) -> dict[str, str]:
    arguments = docker.get("arguments") or []
    if not isinstance(arguments, list):
        raise _unusual("docker.arguments", "a list of arguments")
    found = {"shm_size": docker.get("shmSize"), "docker_args": shlex.join(map(str, arguments))}
    return {key: str(value) for key, value in found.items() if value}


def _map(section: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = section.get(key)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise _unusual(key, "a map")
    return value


def _unusual(key: str, wanted: str) -> UnsupportedError:
    return UnsupportedError(
        f"the run configuration's environment.{key} is not {wanted}",
        hint="compare it with a file that `az ml folder attach` wrote",
    )
