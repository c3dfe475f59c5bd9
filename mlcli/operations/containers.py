"""Whether a job runs in a container: what the person said, then the setting, then what there is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mlcli import docker_engine
from mlcli.domain.errors import MlcliError
from mlcli.domain.job import EnvironmentSpec
from mlcli.domain.settings import Settings


@dataclass(frozen=True)
class Choice:
    """``container``: the answer; ``reason``: why, a sentence; ``notice``: what the person should see of it, or nothing."""

    container: bool
    reason: str = ""
    notice: str = ""


def choose(
    settings: Settings,
    environment: EnvironmentSpec,
    *,
    asked: bool | None,
    connect: Callable[[], object] = docker_engine.connect,
    host: str = "this machine's host",
) -> Choice:
    """``asked`` (``--docker``, ``--no-docker``) wins over ``local.container``; ``auto`` takes a container for a job that
    names an image when an engine answers. Asks for an engine (``connect``) only where that decides. ``host``: where the
    job runs otherwise.
    """
    if asked is not None:
        return _told(environment, host, container=asked, by="--docker" if asked else "--no-docker")
    if settings.local_container != "auto":
        by = f"the setting local.container: {settings.local_container}"
        return _told(environment, host, container=settings.local_container == "always", by=by)
    if not environment.wants_image:
        return Choice(container=False)
    try:
        connect()  # it asks the engine for its version
    except MlcliError as none:
        what = f"{image_of(environment)} is not used: {none.message}"
        return Choice(container=False, notice=f"{what}; the job runs on {host}, without a container")
    return Choice(container=True, reason=f"the job names {image_of(environment)}, and a Docker Engine answers")


def _told(environment: EnvironmentSpec, host: str, *, container: bool, by: str) -> Choice:
    if container:
        return Choice(container=True, reason=by)
    if not environment.wants_image:
        return Choice(container=False)
    what = f"{image_of(environment)} is not used ({by})"
    return Choice(container=False, notice=f"{what}: the job runs on {host}, without a container")


def image_of(environment: EnvironmentSpec) -> str:
    """What the job names, for a sentence."""
    return f"the image {environment.image}" if environment.image else "an image that is built from a Dockerfile"
