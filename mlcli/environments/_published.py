"""Built images in the shared cache: a file that ``docker save`` wrote, or a tag of a registry. Best effort, and said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlcli import docker_engine
from mlcli.domain.errors import MlcliError
from mlcli.environments._contents import LABEL
from mlcli.environments._engine import Image, RefusedError, inspect, lines, pull, streaming
from mlcli.environments._shared import SharedCache

if TYPE_CHECKING:
    from docker import DockerClient

Log = Callable[[str], None]
_SUFFIX = ".tar"


@dataclass(frozen=True)
class PublishedImage:
    """The image of one key, here under ``tag``, and in the shared cache. ``place``: a folder for what is copied."""

    client: DockerClient
    shared: SharedCache
    key: str
    tag: str
    place: Path

    def fetch(self, log: Log) -> Image | None:
        """Take it out of the shared cache onto the engine; None when it is not to be had."""
        if not self._where:
            return None
        try:
            image = self._pulled(log) if self.shared.repository else self._loaded(log)
        except (MlcliError, OSError, RefusedError) as failed:
            log(f"not taken from the shared environments: {failed}")
            return None
        if image is None or (image.labels or {}).get(LABEL) != self.key:
            return None
        log(f"taken from the shared environments: {self._where}")
        return image

    def store(self, log: Log) -> None:
        """Put it there after it was built. A failure is told and loses nothing."""
        if not self._where:
            return
        try:
            if self.shared.repository:
                self._push(self.shared.repository, log)
            else:
                self._save()
            log(f"put into the shared environments: {self._where}")
        except (MlcliError, OSError, RefusedError) as failed:
            log(f"not put into the shared environments: {failed}")

    @property
    def _where(self) -> str | None:
        return self.shared.repository or (str(self.shared.folder) if self.shared.folder else None)

    @property
    def _file(self) -> Path:
        return self.place / f"image{_SUFFIX}"

    def _pulled(self, log: Log) -> Image:
        image = pull(self.client, f"{self.shared.repository}:{self.key}", None, log)
        repository, _, tag = self.tag.partition(":")
        with docker_engine.errors("the Docker Engine"):
            self.client.api.tag(image.id, repository, tag)
        return image

    def _loaded(self, log: Log) -> Image | None:
        api: Any = self.client.api
        if not self.shared.fetch(self.key, _SUFFIX, self._file):
            return None
        try:
            with self._file.open("rb") as archive, streaming("the shared image could not be loaded"):
                for line in lines(api.load_image(archive, quiet=False)):
                    log(line)
        finally:
            self._file.unlink()
        return inspect(self.client, self.tag)

    def _push(self, repository: str, log: Log) -> None:
        with streaming("the image could not be pushed"):
            self.client.api.tag(self.tag, repository, self.key)
            for line in lines(self.client.api.push(repository, tag=self.key, stream=True, decode=True)):
                log(line)

    def _save(self) -> None:
        """As ``docker save`` does. Not by the SDK's function: a big image's first byte takes longer than that waits."""
        api = self.client.api
        try:
            with (
                streaming("the image could not be saved"),
                api.get(f"{api.base_url}/images/{self.tag}/get", stream=True, timeout=None) as answer,
                self._file.open("wb") as kept,
            ):
                answer.raise_for_status()
                for block in answer.iter_content(1 << 20):
                    kept.write(block)
            self.shared.store(self.key, _SUFFIX, self._file)
        finally:
            self._file.unlink(missing_ok=True)


def names(shared: SharedCache, key: str, tag: str) -> list[str]:
    """Every name that the image of that key may have on the engine."""
    return [tag, *([f"{shared.repository}:{key}"] if shared.repository else [])]
