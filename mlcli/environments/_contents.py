"""What an image holds: its Python, what pip and conda have installed. Asked once an image, in a short container."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlcli import docker_engine
from mlcli.domain.redaction import masked
from mlcli.json_files import read_record, write_record

if TYPE_CHECKING:
    from docker import DockerClient

LABEL = "mlcli.environment"  # an image's fingerprint; containers of the image have it too
ASKING = "mlcli.asking"
# Python 2.7 and older 3 must be able to read it: the image is not ours
_QUESTION = r"""
import glob, json, os, sys
pip, conda = [], []
try:
    from importlib.metadata import distributions
except ImportError:
    distributions = tuple
for found in distributions():
    name = found.metadata["Name"]
    if name and (found.read_text("INSTALLER") or "").strip() != "conda":
        direct = json.loads(found.read_text("direct_url.json") or "{}")
        pinned = direct.get("url")
        if pinned and "vcs_info" in direct:
            pinned = direct["vcs_info"]["vcs"] + "+" + pinned + "@" + direct["vcs_info"]["commit_id"]
        pip.append(name + " @ " + pinned if pinned else name + "==" + found.version)
for file in sorted(glob.glob(os.path.join(sys.prefix, "conda-meta", "*.json"))):
    with open(file) as opened:
        package = json.load(opened)
    if package.get("url"):
        digest = package.get("sha256") or package.get("md5")
        conda.append(package["url"] + ("#" + digest if digest else ""))
print("\n" + json.dumps({
    "python": "%d.%d.%d" % tuple(sys.version_info[:3]), "resolved": sorted(set(pip)), "packages": conda}))
"""
_BY_SHELL = 'for python in python python3; do command -v $python >/dev/null 2>&1 && exec $python -c "$1"; done'


@dataclass(frozen=True)
class Contents:
    """As in :class:`~mlcli.ports.environments.Activation`; all empty for an image without Python."""

    python: str | None = None
    resolved: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()


def contents(client: DockerClient, image_id: str, home: Path) -> Contents:
    """What the image holds: kept below ``home``, else asked. An image that cannot tell is empty, which is no error."""
    kept = _file(home, image_id)
    with suppress(KeyError, TypeError):
        return _read(read_record(kept) or {})
    found = _asked(client, image_id)
    with suppress(OSError):  # asked again next time
        kept.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_record(kept, asdict(found))
    return found


def forget(image_id: str, home: Path) -> None:
    """For an image that is no more."""
    with suppress(OSError):
        _file(home, image_id).unlink()


def _file(home: Path, image_id: str) -> Path:
    return home / "environments" / "images" / f"{image_id.replace(':', '-')}.json"


def _read(answer: dict[str, Any]) -> Contents:
    return Contents(answer["python"], tuple(answer["resolved"]), tuple(answer["packages"]))


def _asked(client: DockerClient, image_id: str) -> Contents:
    """By the shell, which finds the Python that a job would; directly where there is none."""
    for entrypoint in (["/bin/sh", "-c", _BY_SHELL, "sh", _QUESTION], ["python3", "-c", _QUESTION]):
        printed = _printed(client, image_id, entrypoint)
        if printed is not None:
            last = printed.strip().rpartition("\n")[2]
            with suppress(ValueError, KeyError, TypeError):
                found = _read(json.loads(last))
                return Contents(found.python, tuple(map(masked, found.resolved)), tuple(map(masked, found.packages)))
            return Contents()
    return Contents()


def _printed(client: DockerClient, image_id: str, entrypoint: list[str]) -> str | None:
    """What a command prints in a container that goes away with it, even if we are killed; None: it cannot start.

    If we are killed before it starts, the next container job takes it away.
    """
    from docker.errors import APIError, NotFound

    with docker_engine.errors("the Docker Engine"):
        container = client.api.create_container(
            image_id,
            command=[],
            entrypoint=entrypoint,
            labels={docker_engine.RUN: "", ASKING: ""},
            host_config=client.api.create_host_config(auto_remove=True, network_mode="none"),
        )["Id"]
        try:
            answer = client.api.attach(container, stdout=True, stderr=False, stream=True)
            try:
                client.api.start(container)
            except APIError:  # no such command in the image
                with suppress(NotFound):
                    client.api.remove_container(container, force=True)
                return None
            return b"".join(answer).decode("utf-8", "replace")
        finally:
            with suppress(NotFound):  # it is gone by then, or about to go
                client.api.wait(container, condition="removed")
