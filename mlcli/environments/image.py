"""A container from an image as it is. Nothing is built; an image that the engine does not have is pulled, once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlcli import docker_engine
from mlcli.domain.errors import TransportError, UnsupportedError
from mlcli.domain.job import EnvironmentSpec
from mlcli.domain.plan import EnvironmentPlan
from mlcli.domain.settings import Settings
from mlcli.environments._cache import BuildCache, CachedBuilder
from mlcli.environments._contents import contents, forget
from mlcli.environments._engine import Connect, Image, full_name, inspect, pull, remove
from mlcli.ports.environments import Activation

if TYPE_CHECKING:
    from docker import DockerClient


class ImageBuilder(CachedBuilder):
    """Images of the engine. Its cache below ``home``/environments lists those that were pulled for a job.

    The fingerprint is of the image's name: which content it had is the activation's ``image`` and ``digest``.
    """

    name = "image"
    container = True

    def __init__(self, home: Path, settings: Settings, connect: Connect = docker_engine.connect) -> None:
        """``connect``: the way to the engine, whose images are listed below ``home`` and nobody else's."""
        self._home = home
        self._connect = connect
        self._base = settings.environments_base_image
        self._cache = BuildCache(home, self.name, self._admitted)

    def accepts(self, spec: EnvironmentSpec) -> bool:
        """An image alone; and, for a container, what names none: then it is the setting ``environments.base_image``."""
        return spec.reference is None and spec.build is None and spec.conda is None and spec.lock is None

    def plan(self, spec: EnvironmentSpec) -> EnvironmentPlan:
        """Ask the engine whether the image is there. Raises TransportError when no engine answers."""
        name = self._image(spec)
        here = inspect(self._connect(), name) is not None
        named = "" if spec.image else " (the setting environments.base_image)"
        return EnvironmentPlan(self.name, spec, _key(name), cached=here, description=f"image {name}{named}")

    def build(self, plan: EnvironmentPlan, log: Callable[[str], None]) -> Activation:
        """Pull it if it is not there. Processes that come while it is pulled wait, and hear the same lines."""
        client = self._connect()
        name = self._image(plan.spec)
        key = _key(name)
        image = inspect(client, name)
        if image is None or self._cache.find(key):
            record = self._cache.obtain(key, log, lambda _place, line, _lock: _pulled(client, plan.spec, name, line))
            image = inspect(client, name) or inspect(client, record["image"])
        if image is None:
            raise TransportError(
                f"the image {name!r} was taken away while it was needed", transient=True, hint="submit again"
            )
        return self._activation(client, name, image, plan.spec)

    def _image(self, spec: EnvironmentSpec) -> str:
        if spec.image is None and spec.interpreter not in {None, "current"}:
            raise UnsupportedError(
                f"the environment is the interpreter {spec.interpreter} of this machine, which a container does not have",
                hint="name an image, or run on the host: --no-docker",
            )
        return full_name(spec.image or self._base, spec.registry if spec.image else None)

    def _activation(self, client: DockerClient, name: str, image: Image, spec: EnvironmentSpec) -> Activation:
        found = contents(client, image.id, self._home)
        inside = spec.interpreter if spec.interpreter and spec.interpreter.startswith("/") else None
        return Activation(
            prepend_path=(str(Path(inside).parent),) if inside else (),
            image=image.id,
            digest=image.digest(name),
            python=found.python,
            resolved=found.resolved,
            packages=found.packages,
        )

    def _admitted(self, place: Path, record: Mapping[str, Any]) -> Mapping[str, Any] | None:
        del place
        return record if inspect(self._connect(), record["place"]) else None

    def _away(self, fingerprint: str, record: Mapping[str, Any]) -> int | None:
        del fingerprint
        freed = remove(self._connect(), [record["place"]])
        if freed is not None:
            forget(record["image"], self._home)
        return freed


def _pulled(client: DockerClient, spec: EnvironmentSpec, name: str, line: Callable[[str], None]) -> Mapping[str, Any]:
    image = pull(client, name, spec.registry if spec.image else None, line)
    return {"description": f"image {name}", "place": name, "image": image.id, "image_size": image.size}


def _key(name: str) -> str:
    import hashlib

    return hashlib.sha256(f"image {name}".encode()).hexdigest()
