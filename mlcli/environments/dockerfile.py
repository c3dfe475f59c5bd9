"""An image built for the job: from a Dockerfile, or from what a conda file asks for on top of an image, or both."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from mlcli import docker_engine
from mlcli.domain.errors import EnvironmentBuildError, TransportError, UnsupportedError
from mlcli.domain.job import BuildContext, EnvironmentSpec, RegistryLogin
from mlcli.domain.plan import EnvironmentPlan
from mlcli.domain.settings import Settings
from mlcli.environments import _generated
from mlcli.environments._build import Build, BuildFailedError, build
from mlcli.environments._cache import BuildCache, CachedBuilder
from mlcli.environments._contents import LABEL, contents, forget
from mlcli.environments._context import context
from mlcli.environments._dockerfile_text import bases, without_comments
from mlcli.environments._engine import Connect, Image, full_name, inspect, pull, registry_digest, remove
from mlcli.environments._published import PublishedImage, names
from mlcli.environments._shared import SharedCache
from mlcli.ports.environments import Activation, BuiltEnvironment

if TYPE_CHECKING:
    from docker import DockerClient

_REPOSITORY = "mlcli-env"
Log = Callable[[str], None]


@dataclass(frozen=True)
class _Recipe:
    """One image to make. ``bases``: images from elsewhere that it needs; ``below``: one that is made first."""

    key: str
    description: str
    wanted: Build
    bases: tuple[str, ...]
    pack: Callable[[], IO[bytes]]
    added: _generated.Addition | None = None
    below: _Recipe | None = None

    @property
    def variables(self) -> Mapping[str, str]:
        return self.added.definition.variables if self.added else {}


class DockerfileBuilder(CachedBuilder):
    """Images of the engine, tagged ``mlcli-env:<fingerprint>``, with a record of each below ``home``/environments."""

    name = "dockerfile"
    container = True

    def __init__(self, home: Path, settings: Settings, connect: Connect = docker_engine.connect) -> None:
        """``connect``: the way to the engine, whose images are listed below ``home`` and nobody else's."""
        self._home = home
        self._connect = connect
        self._settings = settings
        self._shared = SharedCache(settings.environments_shared)
        self._cache = BuildCache(home, self.name, self._admitted)

    def accepts(self, spec: EnvironmentSpec) -> bool:
        """A Docker build, or a conda file: on top of an image, of a build, or of the base image of the settings."""
        if spec.reference is not None or spec.interpreter is not None:
            return False
        return spec.build is not None or spec.conda is not None or spec.lock is not None

    def plan(self, spec: EnvironmentSpec) -> EnvironmentPlan:
        """Read the definition, ask the engine for its base images and for the result.

        Raises UnsupportedError for a context or a conda file that cannot be followed, TransportError without an engine.
        """
        recipe = self._recipe(self._connect(), spec)
        return EnvironmentPlan(
            self.name,
            spec,
            recipe.key,
            cached=self._cache.find(recipe.key) is not None,
            description=recipe.description,
        )

    def build(self, plan: EnvironmentPlan, log: Log) -> Activation:
        """Build it once per fingerprint: found on this machine, else in the shared cache, else made.

        Processes that come while it is made wait, and hear the same lines.
        """
        client = self._connect()
        recipe = self._recipe(client, plan.spec)  # again: the files of the context may be others by now
        record = self._obtained(client, recipe, plan.spec.registry, log)
        found = contents(client, record["image"], self._home)
        return Activation(
            environment_variables=recipe.variables,
            image=record["image"],
            digest=record["digest"],
            python=found.python,
            resolved=found.resolved,
            packages=found.packages,
        )

    def listing(self) -> list[BuiltEnvironment]:
        """The images that are on the engine, the one used last first; all that were built while no engine answers."""
        built = self._cache.listing()
        with suppress(TransportError, UnsupportedError):
            client = self._connect()
            return [one for one in built if inspect(client, one.place)]
        return built

    def dockerfile(self, spec: EnvironmentSpec) -> str | None:
        """The person's own, the generated one, or one after the other. Needs no engine."""
        own = context(spec.build).text if spec.build is not None else None
        if own is not None and spec.conda is None and spec.lock is None:
            return own
        added = _generated.addition(spec.conda, spec.lock)
        if own is not None:
            return f"{own.rstrip()}\n\n{_generated.dockerfile('the-image-above', added)}"
        return _generated.dockerfile(self._base(spec), added)

    def _base(self, spec: EnvironmentSpec) -> str:
        return full_name(spec.image, spec.registry) if spec.image else self._settings.environments_base_image

    def _obtained(
        self, client: DockerClient, recipe: _Recipe, login: RegistryLogin | None, log: Log
    ) -> Mapping[str, Any]:
        return self._cache.obtain(
            recipe.key, log, lambda place, line, _lock: self._made(client, recipe, login, place, line)
        )

    def _made(
        self, client: DockerClient, recipe: _Recipe, login: RegistryLogin | None, place: Path, line: Log
    ) -> Mapping[str, Any]:
        line(f"building {recipe.description}")
        tag = recipe.wanted.tag
        place.mkdir(mode=0o700)
        image = inspect(client, tag)
        if image is None or (image.labels or {}).get(LABEL) != recipe.key:
            published = PublishedImage(client, self._shared, recipe.key, tag, place)
            image = published.fetch(line)
            if image is None:
                image = self._built(client, recipe, login, line)
                published.store(line)
        found = contents(client, image.id, self._home)
        image = inspect(client, image.id) or image  # with the digest that a registry gave it
        return {
            "description": recipe.description,
            "place": tag,
            "image": image.id,
            "digest": image.digest(tag),
            "image_size": _own_size(client, recipe, image),
            "resolved": list(found.resolved),
        }

    def _built(self, client: DockerClient, recipe: _Recipe, login: RegistryLogin | None, line: Log) -> Image:
        for base in recipe.bases:
            if inspect(client, base) is None:
                pull(client, base, login, line)
        if recipe.below is not None:
            self._obtained(client, recipe.below, login, line)
        try:
            return _sent(client, recipe, recipe.pack(), line)
        except BuildFailedError as failed:
            image = _with_own_python(client, recipe, failed, line)
            if image is None:
                raise _explained(client, recipe, failed, self._home) from failed
            return image
        finally:
            if recipe.added is not None:
                _throw_stages_away(client, recipe.key)

    def _recipe(self, client: DockerClient, spec: EnvironmentSpec) -> _Recipe:
        """The last image to make, and through ``below`` the one before."""
        own = self._of_dockerfile(client, spec.build, spec.registry) if spec.build is not None else None
        if own is not None and spec.conda is None and spec.lock is None:
            return own
        return self._of_conda(client, spec, self._base(spec), own)

    def _of_dockerfile(self, client: DockerClient, asked: BuildContext, login: RegistryLogin | None) -> _Recipe:
        sent = context(asked)
        images = bases(sent.text, asked.args)
        key = _key(
            client,
            bases={name: _identity(client, name, login) for name in images},
            dockerfile=without_comments(sent.text),
            arguments=dict(asked.args),
            context=sent.digest(),
        )
        wanted = Build(sent.text, sent.shown, sent.dockerfile, _tag(key), key, asked.args)
        return _Recipe(key, f"image from {sent.shown}", wanted, images, sent.pack)

    def _of_conda(self, client: DockerClient, spec: EnvironmentSpec, image: str, below: _Recipe | None) -> _Recipe:
        from mlcli.environments._definition import parts
        from mlcli.environments._pip_lines import what_counts
        from mlcli.environments._staged import packed

        added = _generated.addition(spec.conda, spec.lock)
        base = below.wanted.tag if below else image
        key = _key(
            client,
            base=below.key if below else _identity(client, image, spec.registry),
            dockerfile=_generated.dockerfile("base", added),
            lines=what_counts(parts(spec.conda or {}).lines, copied=True),
            conda=added.conda,
            channels=added.channels,
            lock=added.lock,
        )
        text = _generated.dockerfile(base, added)
        wanted = Build(text, "the generated Dockerfile", "Dockerfile", _tag(key), key, {"STAGE": key[:24]})
        on = below.description if below else f"image {image}"
        return _Recipe(
            key,
            f"{on} with its conda file",
            wanted,
            () if below else (image,),
            lambda: packed(text, added),
            added,
            below,
        )

    def _admitted(self, place: Path, record: Mapping[str, Any]) -> Mapping[str, Any] | None:
        image = inspect(self._connect(), record["place"])
        whole = image is not None and image.id == record["image"] and (image.labels or {}).get(LABEL) == place.name
        return record if whole else None

    def _away(self, fingerprint: str, record: Mapping[str, Any]) -> int | None:
        freed = remove(self._connect(), names(self._shared, fingerprint, record["place"]))
        if freed is None:
            return None
        forget(record["image"], self._home)
        return int(record["image_size"])


def _sent(client: DockerClient, recipe: _Recipe, packed: IO[bytes], line: Log) -> Image:
    with packed:
        line(f"sending the build context: {os.fstat(packed.fileno()).st_size / 1e6:.1f} MB")
        return build(client, recipe.wanted, packed, line)


def _with_own_python(client: DockerClient, recipe: _Recipe, failed: BuildFailedError, line: Log) -> Image | None:
    """The same with a Python of this machine, when the one asked for could be had nowhere else; None when that will not
    do either.
    """
    from mlcli.environments._host_python import host_python
    from mlcli.environments._staged import lacks_python, packed

    if recipe.added is None or recipe.added.python is None or not lacks_python(failed):
        return None
    python = host_python(recipe.added.python, _platform(client)[1])
    if python is None:
        return None
    line(f"no Python {recipe.added.python} in the image, and none to download: taking along {python.prefix}")
    try:
        return _sent(client, recipe, packed(recipe.wanted.text, recipe.added, python), line)
    except BuildFailedError:
        return None


def _key(client: DockerClient, **parts: Any) -> str:
    """sha256 of everything that decides what is in the image."""
    whole = {**parts, "platform": _platform(client)}
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode("utf-8", "surrogateescape")).hexdigest()


@lru_cache(maxsize=8)
def _platform(client: DockerClient) -> tuple[str, str]:
    with docker_engine.errors("the Docker Engine"):
        engine = client.version()
    return str(engine["Os"]), str(engine["Arch"])


def _tag(key: str) -> str:
    return f"{_REPOSITORY}:{key[:24]}"


def _identity(client: DockerClient, name: str, login: RegistryLogin | None) -> str:
    """What a base image's content is called, the same before and after it is pulled; its name when nobody can tell."""
    image = inspect(client, name)
    digest = (image.digest_of(name) if image else registry_digest(client, name, login)) or ""
    return digest.rpartition("@")[2] or (image.id if image else name)


def _own_size(client: DockerClient, recipe: _Recipe, image: Image) -> int:
    """Bytes on top of the image that it starts from."""
    below: Sequence[str] = (recipe.below.wanted.tag,) if recipe.below else recipe.bases[-1:]
    for name in below:
        base = inspect(client, name)
        if base is not None and image.layers[: len(base.layers)] == base.layers:
            return image.size - base.size
    return image.size


def _throw_stages_away(client: DockerClient, key: str) -> None:
    """First stages hold what the image must not; also those of builds that were killed, long enough ago to be no one's."""
    from docker.errors import APIError

    api: Any = client.api
    with suppress(APIError, TransportError), docker_engine.errors("the Docker Engine"):
        for stage in client.api.images(filters={"dangling": True, "label": f"{_generated.STAGE_LABEL}={key[:24]}"}):
            with suppress(APIError):
                client.api.remove_image(stage["Id"])
        api.prune_images(filters={"dangling": True, "label": [_generated.STAGE_LABEL], "until": "24h"})


def _explained(client: DockerClient, recipe: _Recipe, failed: BuildFailedError, home: Path) -> EnvironmentBuildError:
    """A generated Dockerfile's failure in the words of the conda file, which is what the person wrote."""
    from mlcli.environments._staged import explain

    if recipe.added is None:
        return failed
    base = recipe.below.wanted.tag if recipe.below else recipe.bases[-1]
    name = "the image of the Dockerfile" if recipe.below else f"the image {base}"
    image = inspect(client, base)
    inside = contents(client, image.id, home).python if image else None
    message, hint = explain(failed, recipe.added, name, inside)
    return EnvironmentBuildError(message, hint=hint, details=failed.details)
