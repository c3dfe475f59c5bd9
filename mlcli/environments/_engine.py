"""What the builders of images ask of a Docker Engine: look at an image, pull it, take it away. Every error is ours."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlcli import docker_engine
from mlcli.domain.errors import EnvironmentBuildError, MlcliError, UnsupportedError
from mlcli.domain.job import RegistryLogin
from mlcli.domain.redaction import masked

if TYPE_CHECKING:
    from docker import DockerClient

Log = Callable[[str], None]
Connect = Callable[[], "DockerClient"]
_DOCKER_HUB = "docker.io"
_TELL_EVERY_S = 5.0
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_OF_CONTAINERS = re.compile(r" ---> (?:Running in )?[0-9a-f]{12}$|Removing intermediate container [0-9a-f]{12}$")
_MOVING = {"Downloading", "Pushing"}
_NOISE = {
    "Waiting",
    "Verifying Checksum",
    "Pulling fs layer",
    "Preparing",
    "Extracting",
    "Download complete",
    "Already exists",
    "Layer already exists",
}
# what the engine says -> what to do; the first that fits
_ADVICE: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(r"no space left|disk quota", re.IGNORECASE),
        "free some space for the engine, e.g. docker system prune",
    ),
    (
        re.compile(r"unauthorized|authentication required|no basic auth|incorrect username|denied", re.IGNORECASE),
        "check the image's name; if it is private, log in with docker login",
    ),
    (
        re.compile(r"manifest unknown|not found|does not exist", re.IGNORECASE),
        "check the spelling of the image's name and tag",
    ),
    (
        re.compile(r"no matching manifest", re.IGNORECASE),
        "the image is not made for this kind of machine: choose another",
    ),
    (
        re.compile(r"dial tcp|timeout|timed out|no such host|lookup |connection refused|TLS handshake", re.IGNORECASE),
        "check the network and the engine's proxy, then submit again; or put the image there with docker load",
    ),
)


@dataclass(frozen=True)
class Image:
    """An image on the engine. ``id`` is ``sha256:...``; ``digests`` are ``name@sha256:...``; ``size`` in bytes."""

    id: str
    tags: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()
    size: int = 0
    layers: tuple[str, ...] = ()
    labels: Mapping[str, str] | None = None

    def digest(self, name: str) -> str | None:
        """A registry's name of the content: that of ``name``'s repository before any other."""
        return self.digest_of(name) or next(iter(self.digests), None)

    def digest_of(self, name: str) -> str | None:
        """What ``name``'s own repository calls the content. It does not change when the image is pushed elsewhere."""
        repository = repository_of(name)
        return next((digest for digest in self.digests if repository_of(digest) == repository), None)


class RefusedError(Exception):
    """The engine's words for why it stopped, in the middle of a stream of lines."""


def inspect(client: DockerClient, name: str) -> Image | None:
    """The image of that name, tag, digest or id; None when the engine has none.

    Raises UnsupportedError for what cannot be a name, TransportError when no engine answers.
    """
    from docker.errors import APIError

    api: Any = client.api
    with docker_engine.errors("the Docker Engine"):
        try:
            found = api.inspect_image(name)
        except APIError as refused:
            if refused.status_code == 404:
                return None
            if refused.status_code == 400:
                raise _no_such_name(name) from refused
            raise
    return Image(
        id=found["Id"],
        tags=tuple(found.get("RepoTags") or ()),
        digests=tuple(found.get("RepoDigests") or ()),
        size=found.get("Size", 0),
        layers=tuple(found.get("RootFS", {}).get("Layers") or ()),
        labels=(found.get("Config") or {}).get("Labels") or {},
    )


def pull(client: DockerClient, name: str, login: RegistryLogin | None, log: Log) -> Image:
    """Bring the image to the engine, telling ``log`` how far it is.

    ``login``: who pulls; None: whom the docker configuration names. Raises EnvironmentBuildError in the registry's words.
    """
    from docker.errors import APIError

    log(f"pulling the image {name}")
    repository, tag = _parted(name)
    auth = credentials(repository, login)
    with streaming(f"the image {name!r} could not be pulled"):
        try:
            for line in lines(client.api.pull(repository, tag, stream=True, decode=True, auth_config=auth)):
                log(line)
        except APIError as refused:
            raise _not_pulled(client, name, docker_engine.explanation(refused)) from refused
        except RefusedError as refused:
            raise _not_pulled(client, name, str(refused)) from refused
    image = inspect(client, name)
    if image is None:
        raise EnvironmentBuildError(
            f"the image {name!r} could not be pulled: the engine stopped in the middle", hint="submit again"
        )
    return image


def registry_digest(client: DockerClient, name: str, login: RegistryLogin | None) -> str | None:
    """``sha256:...`` of an image in its registry, without pulling it; None when the registry does not tell."""
    from requests.exceptions import RequestException

    api: Any = client.api
    try:
        found = api.inspect_distribution(name, auth_config=credentials(name, login))
        return str(found["Descriptor"]["digest"])
    except (RequestException, EnvironmentBuildError, KeyError):  # pulling it will tell why
        return None


def credentials(image: str, login: RegistryLogin | None) -> dict[str, str | None] | None:
    """What the engine is to log in with; None: what the docker configuration has for that registry."""
    if login is None or not login.username or not _is_at(image, login.address):
        return None
    password = login.secret(os.environ)
    if password is None and login.password_env:
        raise EnvironmentBuildError(
            f"the variable {login.password_env}, which holds the password for {login.address}, is not set",
            hint=f"export {login.password_env} before you submit, or log in with `docker login`",
        )
    return {"username": login.username, "password": password}


def remove(client: DockerClient, names: Sequence[str]) -> int | None:
    """Take these names away, and the image with its last one; bytes freed as far as the engine tells.

    None: a container uses the image, and everything stays.
    """
    from docker.errors import APIError

    image = inspect(client, names[0])
    if image is None:
        return 0
    with docker_engine.errors("the Docker Engine"):
        last = set(image.tags) <= set(names)
        if last and client.api.containers(all=True, filters={"ancestor": image.id}):
            return None
        for name in names:
            try:
                client.api.remove_image(name)
            except APIError as refused:
                if refused.status_code == 409:
                    return None
                if refused.status_code != 404:
                    raise
    return 0 if inspect(client, image.id) else image.size


@contextmanager
def streaming(what: str) -> Iterator[None]:
    """Around a long answer of the engine: its refusal, and its going away, end the build and not just a request.

    OSError passes: it is the disk's, where the lines are written.
    """
    from docker.errors import APIError
    from requests.exceptions import RequestException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except APIError as refused:
        words = masked(docker_engine.explanation(refused))
        raise EnvironmentBuildError(f"{what}: {words}", hint=advice(words, "read the build log")) from refused
    except (RequestException, HTTPError) as broken:
        raise lost(what) from broken


def lost(what: str) -> EnvironmentBuildError:
    """The engine is not there any more."""
    failed = EnvironmentBuildError(
        f"{what}: the Docker Engine went away in the middle",
        hint="see that it runs (docker info), then submit again: what was done is kept",
    )
    failed.transient = True
    return failed


def lines(items: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """The lines of a pull, push or build, as the engine streams them: progress of many layers condensed to some lines.

    Raises RefusedError where the engine reports an error.
    """
    moved: dict[str, tuple[int, int]] = {}
    told = time.monotonic()
    text = ""
    for item in items:
        if "error" in item:
            yield from filter(None, [_shown(text)])
            raise RefusedError(" ".join(masked(str(item["error"])).split()))
        *whole, text = (text + item.get("stream", "")).split("\n")
        yield from filter(None, map(_shown, whole))
        status, layer = item.get("status", ""), item.get("id")
        if status in _MOVING:
            detail = item.get("progressDetail") or {}
            moved[str(layer)] = (detail.get("current") or 0, detail.get("total") or 0)
            if time.monotonic() - told > _TELL_EVERY_S:
                told = time.monotonic()
                done, total = (sum(numbers) / 1e6 for numbers in zip(*moved.values(), strict=True))
                yield f"{status.lower()}: {done:.0f} of {max(done, total):.0f} MB"
        elif status and status not in _NOISE:
            yield masked(f"{layer}: {status}" if layer else status)
    yield from filter(None, [_shown(text)])


def _shown(line: str) -> str:
    """Without colours, overwritten progress, secrets, and what the builder says of its own containers."""
    plain = masked(_COLOUR.sub("", line).rstrip().rpartition("\r")[2])
    return "" if _OF_CONTAINERS.match(plain) else plain


def advice(words: str, otherwise: str) -> str:
    """What to do about what the engine said. Pure."""
    return next((hint for pattern, hint in _ADVICE if pattern.search(words)), otherwise)


def full_name(image: str, login: RegistryLogin | None) -> str:
    """The image's name with its registry, which runconfig gives apart, beside the credentials."""
    if login is None or not login.address or _registry(image) != _DOCKER_HUB or _is_at(image, login.address):
        return image
    return f"{_host(login.address)}/{image}"


def repository_of(name: str) -> str:
    """An image's name without tag and digest, as the engine writes it (no ``docker.io/library/``)."""
    repository = _parted(name.partition("@")[0])[0]
    return re.sub(r"^(index\.)?docker\.io/(library/)?", "", repository)


def _parted(name: str) -> tuple[str, str]:
    """Repository, and tag or digest (``latest`` where there is none). A port's colon is not a tag's."""
    if "@" in name:
        repository, _, digest = name.partition("@")
        return re.sub(r":[^:/]*$", "", repository), digest
    repository, colon, tag = name.rpartition(":")
    return (repository, tag) if colon and "/" not in tag else (name, "latest")


def _is_at(image: str, address: str) -> bool:
    """Whether a registry's credentials are for this image: they are never sent to another one."""
    host = _host(address).partition("/")[0]
    return _registry(image) == (_DOCKER_HUB if host.endswith(_DOCKER_HUB) else host)


def _registry(image: str) -> str:
    first, slash, _ = image.partition("/")
    return first if slash and re.search(r"[.:]|^localhost$", first) else _DOCKER_HUB


def _host(address: str) -> str:
    return re.sub(r"^https?://", "", address).removesuffix("/v1/").removesuffix("/v2/").strip("/")


def _no_such_name(name: str) -> UnsupportedError:
    return UnsupportedError(
        f"{name!r} is not a name that an image can have", hint="write it like python:3.12-slim, in lower case"
    )


def _not_pulled(client: DockerClient, name: str, words: str) -> MlcliError:
    if "invalid reference format" in words:
        return _no_such_name(name)
    hint = advice(words, "check the image's name, and that the engine can reach its registry")
    if near := _nearest(client, name):
        hint = f"did you mean {near}, which is on this engine? otherwise: {hint}"
    return EnvironmentBuildError(
        f"the image {name!r} is not on this machine and could not be pulled: {masked(words)}", hint=hint
    )


def _nearest(client: DockerClient, name: str) -> str | None:
    import difflib

    with docker_engine.errors("the Docker Engine"):
        here = [tag for image in client.api.images() for tag in image.get("RepoTags") or () if tag != "<none>:<none>"]
    asked = name if ":" in name.rpartition("/")[2] else f"{name}:latest"
    return next(iter(difflib.get_close_matches(asked, here, n=1, cutoff=0.8)), None)
