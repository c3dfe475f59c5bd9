"""The second place where built environments are looked for and put: a folder that many machines see, or a registry.

In the folder each environment is one file, ``<key>.<first half of its sha256><suffix>``: one rename puts it there whole,
its name tells whether it still is, and machines that put the same key at once do not disturb each other.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mlcli.domain.errors import StoreError

_BLOCK = 1 << 20
_REGISTRY = "docker://"


class SharedCache:
    """What the setting ``environments.shared`` names. Exactly one of ``folder`` and ``repository`` is given, or neither.

    ``folder``: where the files are; it is made when something is put there. ``repository``: an image repository
    (``registry.example.org/team/environments``) whose tags are the keys; the builders of images alone use it.
    """

    def __init__(self, where: str) -> None:
        self.repository = where.removeprefix(_REGISTRY).strip("/") if where.startswith(_REGISTRY) else None
        self.folder = Path(where).expanduser() if where and self.repository is None else None

    def fetch(self, key: str, suffix: str, target: Path) -> bool:
        """Copy what is kept under ``key`` to the file ``target``; False when there is nothing, or nothing whole.

        Raises StoreError when the folder cannot be read or the target not be written.
        """
        if self.folder is None:
            return False
        with _explained(f"the shared environments in {self.folder} cannot be read"):
            for kept in sorted(self.folder.glob(f"{key}.*{suffix}")):
                partial = _partial(target)
                try:
                    if _copied(kept, partial) == _digest(kept, key, suffix):
                        partial.replace(target)
                        return True
                finally:
                    partial.unlink(missing_ok=True)
        return False

    def store(self, key: str, suffix: str, source: Path) -> None:
        """Put the file ``source`` there under ``key``, whole or not at all; nothing without a folder.

        Raises StoreError: what was built is not lost by it, so callers tell it and go on.
        """
        if self.folder is None:
            return
        with _explained(f"the environment could not be put into {self.folder}"):
            self.folder.mkdir(parents=True, exist_ok=True)
            partial = _partial(self.folder / f"{key}{suffix}")
            try:
                digest = _copied(source, partial)
                partial.replace(self.folder / f"{key}.{digest}{suffix}")
            finally:
                with suppress(OSError):
                    partial.unlink(missing_ok=True)


def _copied(source: Path, target: Path) -> str:
    """Copy the content, to the disk; the digest that belongs into the file's name."""
    digest = hashlib.sha256()
    with source.open("rb") as reading, target.open("wb") as writing:
        while block := reading.read(_BLOCK):
            digest.update(block)
            writing.write(block)
        writing.flush()
        os.fsync(writing.fileno())
    return digest.hexdigest()[:32]


def _digest(kept: Path, key: str, suffix: str) -> str:
    return kept.name[len(key) + 1 : len(kept.name) - len(suffix)]


def _partial(target: Path) -> Path:
    """A name beside the target that no other process on any machine uses, and that no search finds."""
    return target.with_name(f".{target.name}.{os.uname().nodename}.{os.getpid()}.partial")


@contextmanager
def _explained(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as failed:
        raise StoreError(
            f"{what}: {failed.strerror or failed}",
            hint="check the setting environments.shared, and the space and permissions there",
        ) from failed
