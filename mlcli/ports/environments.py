"""EnvironmentBuilder: from a job's environment to something that a command can run in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from mlcli.domain.job import EnvironmentSpec
from mlcli.domain.plan import EnvironmentPlan


@dataclass(frozen=True)
class Activation:
    """How to run inside the environment: an argv prefix, folders to put first on PATH, variables, or an image.

    ``append_path``: folders to put last on PATH (a ``python`` for machines that only have ``python3``).
    ``resolved``: the pinned result (``name==version`` lines), kept with the run; empty when unknown.
    """

    argv_prefix: tuple[str, ...] = ()
    prepend_path: tuple[str, ...] = ()
    append_path: tuple[str, ...] = ()
    environment_variables: Mapping[str, str] = field(default_factory=dict)
    unset: tuple[str, ...] = ()
    image: str | None = None
    resolved: tuple[str, ...] = ()


class EnvironmentBuilder(ABC):
    """Builds one kind of environment on one machine, once per fingerprint."""

    name: str

    @abstractmethod
    def accepts(self, spec: EnvironmentSpec) -> bool:
        """Whether this builder can make it. Pure."""

    @abstractmethod
    def plan(self, spec: EnvironmentSpec) -> EnvironmentPlan:
        """The fingerprint (cache key of the definition, not of its name), and whether it is built. Builds nothing.

        Raises UnsupportedError for a definition it recognises but cannot honour, saying what to do.
        """

    @abstractmethod
    def build(self, plan: EnvironmentPlan, log: Callable[[str], None]) -> Activation:
        """Make it, or do nothing when it exists; ``log`` takes each line of the build as it comes.

        Safe to call from many processes at once (a lock builds it once; the others wait and follow the log). An
        interrupted build leaves nothing that looks built. Raises EnvironmentBuildError with the last lines of the log.
        """
