"""Environments: what a script needs to be installed, in the words of Azure ML's first SDK."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlcli.api.names import InWorkspace
from mlcli.operations.folder_files import IMAGE


class CondaDependencies:
    """The packages of an environment, as conda knows them: the Python that runs this unless another is named, and what is added."""

    def __init__(self) -> None:
        self._python = python_itself()
        self._conda: list[str] = []
        self._pip: list[str] = []

    @classmethod
    def create(
        cls,
        *,
        conda_packages: Sequence[str] = (),
        pip_packages: Sequence[str] = (),
        python_version: str | None = None,
    ) -> CondaDependencies:
        """Those packages, each as conda or pip writes it (``scikit-learn``, ``numpy=1.26``, ``cntk==2.5.1``)."""
        made = cls()
        made._conda, made._pip = [*conda_packages], [*pip_packages]
        if python_version is not None:
            made._python = f"python={python_version}"
        return made

    def add_conda_package(self, conda_package: str) -> None:
        """One more that conda installs."""
        self._conda.append(conda_package)

    def add_pip_package(self, pip_package: str) -> None:
        """One more that pip installs."""
        self._pip.append(pip_package)

    def __repr__(self) -> str:
        return f"CondaDependencies({self.words()['dependencies']})"

    def words(self) -> dict[str, Any]:
        """The same as a conda file has it."""
        return {"dependencies": [self._python, *self._conda, *(["pip", {"pip": self._pip}] if self._pip else [])]}


@dataclass(slots=True)
class PythonSection:
    """Which Python. ``user_managed_dependencies``: one that is there (``interpreter_path``, default the one on PATH); else an
    environment is made of ``conda_dependencies`` (or a conda file's map) or ``conda_dependencies_file``, or of Python alone.
    """

    user_managed_dependencies: bool = False
    interpreter_path: str = "python"
    conda_dependencies: CondaDependencies | Mapping[str, Any] | None = None
    conda_dependencies_file: str | Path | None = None


@dataclass(slots=True)
class DockerSection:
    """The container, when ``enabled``: of ``base_image``, or of ``base_dockerfile`` (a Dockerfile's text), else of an image of
    Python.
    """

    enabled: bool = False
    base_image: str | None = None
    base_dockerfile: str | None = None
    shm_size: str | None = None
    arguments: Sequence[str] = ()


@dataclass(slots=True)
class Environment:
    """What a script runs in. ``registered``: only the name counts; :meth:`get` makes such a one."""

    name: str
    version: str | None = None
    python: PythonSection = field(default_factory=PythonSection)
    docker: DockerSection = field(default_factory=DockerSection)
    environment_variables: Mapping[str, str] = field(default_factory=dict)
    registered: bool = False

    @classmethod
    def get(cls, workspace: InWorkspace, name: str, version: str | int | None = None) -> Environment:
        """The registered environment of that name (default: its latest version), or a curated one that mlcli knows. Raises
        NotFoundError with the nearest names.
        """
        from mlcli.domain.job import EnvironmentSpec
        from mlcli.operations.environments import resolve

        made = cls(name, None if version is None else str(version), registered=True)
        resolve(workspace.services, EnvironmentSpec(reference=made.reference))
        return made

    @classmethod
    def from_conda_specification(cls, name: str, file_path: str | Path) -> Environment:
        """One made of a conda file."""
        return cls(name, python=PythonSection(conda_dependencies_file=Path(file_path).absolute()))

    @property
    def reference(self) -> str:
        """How job files name it: ``azureml:NAME:VERSION``."""
        return f"azureml:{self.name}:{self.version}" if self.version else f"azureml:{self.name}@latest"

    def words(self) -> dict[str, Any]:
        """The same in a run configuration's words."""
        if self.registered:
            return {"name": self.name, "version": self.version}
        python, docker = self.python, self.docker
        conda, file = python.conda_dependencies, python.conda_dependencies_file
        if conda is None and file is None and not python.user_managed_dependencies:
            conda = CondaDependencies()
        return {
            "name": self.name,
            "version": self.version,
            "environmentVariables": dict(self.environment_variables),
            "python": {
                "userManagedDependencies": python.user_managed_dependencies,
                "interpreterPath": python.interpreter_path,
                "condaDependencies": conda.words() if isinstance(conda, CondaDependencies) else conda and dict(conda),
                "condaDependenciesFile": None if file is None else str(Path(file).absolute()),
            },
            "docker": {
                "enabled": docker.enabled,
                "baseImage": docker.base_image or (IMAGE if docker.enabled and not docker.base_dockerfile else None),
                "baseDockerfile": docker.base_dockerfile,
                "shmSize": docker.shm_size,
                "arguments": list(docker.arguments),
            },
        }


def python_itself() -> str:
    """The Python that runs this, as conda names it: ``python=3.12``."""
    return f"python={sys.version_info.major}.{sys.version_info.minor}"
