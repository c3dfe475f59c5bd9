"""EnvironmentBuilder: from a job's environment to something that a command can run in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mlcli.domain.errors import EnvironmentBuildError
from mlcli.domain.job import EnvironmentSpec
from mlcli.domain.plan import EnvironmentPlan


@dataclass(frozen=True)
class Activation:
    """How to run inside the environment: an argv prefix, folders to put first on PATH, variables, or an image.

    ``append_path``: folders to put last on PATH (a ``python`` for machines that only have ``python3``).
    ``image``: the engine's id of the image (``sha256:...``) to start the container from; ``digest``: the registry's
    (``name@sha256:...``), where the image has one. ``python``: its version (``3.11.7``), None when unknown or none.
    ``resolved``: what pip has installed (``name==version`` lines); ``packages``: what conda has, each the address of
    the package file. Both are kept with the run and are enough to make the same environment again; empty when unknown.
    """

    argv_prefix: tuple[str, ...] = ()
    prepend_path: tuple[str, ...] = ()
    append_path: tuple[str, ...] = ()
    environment_variables: Mapping[str, str] = field(default_factory=dict)
    unset: tuple[str, ...] = ()
    image: str | None = None
    digest: str | None = None
    python: str | None = None
    resolved: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()


@dataclass(frozen=True)
class BuiltEnvironment:
    """One environment of a builder's cache. ``size``: bytes on the disk; times: seconds since the epoch, UTC.

    ``place``: the folder, or the image's tag. ``resolved`` as in :class:`Activation`.
    """

    builder: str
    fingerprint: str
    description: str
    place: str
    size: int
    built_at: float
    used_at: float
    resolved: tuple[str, ...] = ()


class EnvironmentBuilder(ABC):
    """Builds one kind of environment on one machine, once per fingerprint. Made with ``(home, settings)``.

    ``name``: its name in the registry. ``container``: whether what it makes is an image; a job that runs in a container
    is served by those builders alone, one that runs on the host by the others.
    """

    name: str
    container: bool = False

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

    def listing(self) -> Sequence[BuiltEnvironment]:
        """Everything of its cache that is whole, the one used last first. A builder that caches nothing has none."""
        return ()

    def unfinished(self) -> Mapping[str, float]:
        """What builds that failed or were killed have left in its cache: fingerprints, and when each last wrote (seconds
        since the epoch). One that is being built now may be among them.
        """
        return {}

    def remove(self, fingerprint: str) -> int:
        """Take one, or what is left of its build, out of the cache, unless somebody builds it now; the bytes freed (0: it
        was not there, or stays).
        """
        del fingerprint
        return 0

    def build_log(self, fingerprint: str) -> Path | None:
        """The log of the last build of that fingerprint, whether it went well or not; None when there is none."""
        del fingerprint
        return None

    def last_failure(self, fingerprint: str) -> EnvironmentBuildError | None:
        """How its last build failed, None when it went well or there was none."""
        del fingerprint
        return None

    def dockerfile(self, spec: EnvironmentSpec) -> str | None:
        """The Dockerfile that the image is made with, the person's own or a generated one; None when none is used.

        Raises MlcliError when it cannot be read.
        """
        del spec
        return None
