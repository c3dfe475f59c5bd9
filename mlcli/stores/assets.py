"""Named, versioned assets as files: one JSON document a version, replaced by rename, written by one process at a time.

On disk, below ``<workspace>/assets/<kind>``: ``<name>/<version>.json``; ``<name>/files-*/`` what is kept with a version,
named in its document; ``.lock`` held while one process writes. Names that a file system might not take are escaped.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mlcli.domain.errors import NameTakenError, NotFoundError, StoreError
from mlcli.ports.stores import Asset, AssetChanges, AssetStore
from mlcli.stores._files import free_name, read_json, remove_tree, replace_json, sweep

LATEST = "latest"
_LONGEST = 120
_SUFFIX = ".json"
_FILES = "files-"
_ABANDONED_S = 86400.0
_TICK_S = 1e-6


class FolderAssets(AssetStore):
    """The assets of the workspace whose folder is ``root``."""

    def __init__(self, root: Path) -> None:
        self._root = root / "assets"
        self.notices: list[str] = []

    def create(
        self,
        kind: str,
        name: str,
        document: Mapping[str, Any],
        *,
        version: str | None = None,
        description: str | None = None,
        tags: Mapping[str, str] | None = None,
        files: Path | None = None,
        ignore: Callable[[str, list[str]], set[str]] | None = None,
        unless: Callable[[Asset], bool] | None = None,
    ) -> Asset:
        """Register a version; the copy of ``files`` is made before anybody has to wait."""
        copy = self._copied(files, kind, ignore) if files is not None else None
        try:
            with self._writing(kind):
                existing = self._existing(kind, name)
                there = next(filter(unless, existing), None) if unless else None
                if there is not None:
                    return there
                chosen = version or _next_version(existing)
                _check_free(kind, name, chosen, existing)
                self._tidy(kind, name, existing)
                created = max([time.time(), *(one.created_at + _TICK_S for one in existing)])
                kept = self._moved_in(copy, kind, name) if copy is not None else None
                asset = Asset(kind, name, chosen, dict(document), created, description, dict(tags or {}), folder=kept)
                self._write(asset)
                return asset
        finally:
            if copy is not None and copy.exists():
                remove_tree(copy)

    def find(self, kind: str, name: str, *, version: str | None = None, label: str | None = None) -> Asset:
        """A version by its number or label, else the newest that is not archived."""
        if version is not None:
            with suppress(NotADirectoryError):
                found = self._read(self._file(kind, name, version), kind)
                if found is not None:
                    return found
            raise self._no_version(kind, name, f"version {version!r}", self.versions(kind, name))
        existing = self.versions(kind, name)
        if label not in {None, LATEST}:
            labelled = [one for one in existing if label in one.labels]
            if not labelled:
                raise self._no_version(kind, name, f"version with the label {label!r}", existing)
            return labelled[0]
        current = [one for one in existing if not one.archived]
        if not current:
            hint = f"restore one: mlcli {kind} restore --name {name} --version {existing[0].version}"
            raise NotFoundError(f"every version of the {kind} {name!r} is archived", hint=hint)
        return current[0]

    def versions(self, kind: str, name: str) -> Sequence[Asset]:
        """Every version, newest first."""
        existing = self._existing(kind, name)
        if not existing:
            raise self._no_name(kind, name)
        return existing

    def names(self, kind: str) -> Sequence[str]:
        """Every name that has a version which can be read; a name with damaged ones alone is told in ``notices``."""
        found = set()
        for folder in _entries(self._root / kind):
            for file in _documents(folder):
                try:
                    asset = self._read(file, kind)
                except StoreError as damaged:
                    self.notices.append(f"{damaged.message}: it is left out")
                    continue
                if asset is not None:
                    found.add(asset.name)
                    break
        return sorted(found)

    def edit(self, kind: str, name: str, version: str, change: Callable[[Asset], AssetChanges]) -> Asset:
        """Change description, tags, labels or whether it is archived."""
        with self._writing(kind):
            asset = self.find(kind, name, version=version)
            changes = change(asset)
            edited = _edited(asset, changes)
            for other in self._existing(kind, name) if changes.add_labels else ():
                if other.version != version and set(other.labels) & set(changes.add_labels):
                    labels = tuple(label for label in other.labels if label not in changes.add_labels)
                    self._write(replace(other, labels=labels))
            self._write(edited)
            return edited

    def delete(self, kind: str, name: str, version: str | None = None) -> int:
        """Remove a version or all of them, damaged ones too."""
        folder = self._root / kind / _safe(name)
        with self._writing(kind):
            if version is not None:
                doomed = [self._file(kind, name, version)]
                if not doomed[0].is_file():
                    raise self._no_version(kind, name, f"version {version!r}", self.versions(kind, name))
            else:
                doomed = _documents(folder)
                if not doomed:
                    raise self._no_name(kind, name)
            freed = 0
            with _told(folder):
                for file in doomed:
                    kept = self._folder_of(file)
                    freed += remove_tree(file)  # first: what is half deleted must not be found
                    freed += remove_tree(kept) if kept is not None else 0
                with suppress(OSError):
                    folder.rmdir()
            return freed

    # --- files --------------------------------------------------------------------------------------------------------

    def _file(self, kind: str, name: str, version: str) -> Path:
        return self._root / kind / _safe(name) / f"{_safe(version)}{_SUFFIX}"

    def _existing(self, kind: str, name: str) -> list[Asset]:
        found = (self._read(file, kind) for file in _documents(self._root / kind / _safe(name)))
        return sorted((one for one in found if one is not None), key=lambda one: one.created_at, reverse=True)

    def _read(self, file: Path, kind: str) -> Asset | None:
        """The asset of a file, None when there is no such file. Raises StoreError when it is damaged."""
        try:
            value = read_json(file)
            return None if value is None else _asset(value, kind, file)
        except (ValueError, TypeError, KeyError) as error:
            hint = "put it back from a backup, or delete it and create the version again"
            raise StoreError(f"{file} is damaged", hint=hint) from error
        except OSError as error:
            raise StoreError(f"{file} cannot be read: {error.strerror}") from error

    def _folder_of(self, file: Path) -> Path | None:
        with suppress(StoreError):
            asset = self._read(file, file.parent.parent.name)
            return asset.folder if asset else None
        return None

    def _copied(self, source: Path, kind: str, ignore: Callable[[str, list[str]], set[str]] | None) -> Path:
        """A copy that nobody sees yet; one file comes into a folder. Raises StoreError, and leaves nothing then."""
        import shutil

        working = self._root / kind / ".new"
        copy = working / free_name()
        try:
            working.mkdir(parents=True, exist_ok=True, mode=0o700)
            sweep(working, _ABANDONED_S)
            if source.is_file():
                copy.mkdir(mode=0o700)
                shutil.copy2(source, copy / source.name)
            else:
                shutil.copytree(source, copy, symlinks=True, ignore=ignore)
        except (OSError, shutil.Error) as error:
            with suppress(OSError):
                remove_tree(copy)
            raise StoreError(f"{source} could not be copied into the workspace: {_first(error)}") from error
        return copy

    def _moved_in(self, copy: Path, kind: str, name: str) -> Path:
        """The copy under its lasting name."""
        kept = self._root / kind / _safe(name) / f"{_FILES}{copy.name}"
        with _told(kept):
            kept.parent.mkdir(exist_ok=True, mode=0o700)
            copy.rename(kept)
        return kept

    def _tidy(self, kind: str, name: str, existing: Sequence[Asset]) -> None:
        """Remove what killed processes have left of versions that never came to be. Only while nobody else writes."""
        folder = self._root / kind / _safe(name)
        wanted = {one.folder for one in existing}
        with _told(folder), suppress(FileNotFoundError):
            for entry in list(folder.iterdir()):
                if entry not in wanted and entry.name.startswith((_FILES, ".")):
                    remove_tree(entry)

    def _write(self, asset: Asset) -> None:
        file = self._file(asset.kind, asset.name, asset.version)
        record = {
            "name": asset.name,
            "version": asset.version,
            "description": asset.description,
            "tags": dict(asset.tags),
            "labels": list(asset.labels),
            "archived": asset.archived,
            "created_at": asset.created_at,
            "files": asset.folder.name if asset.folder else None,
            "document": dict(asset.document),
        }
        with _told(file):
            file.parent.mkdir(exist_ok=True, mode=0o700)
            replace_json(file, record)

    @contextmanager
    def _writing(self, kind: str) -> Iterator[None]:
        """Be the one process that writes assets of that kind; the lock goes with the process."""
        folder = self._root / kind
        with _told(folder):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    # --- what is not there --------------------------------------------------------------------------------------------

    def _no_name(self, kind: str, name: str) -> NotFoundError:
        import difflib

        names = self.names(kind)
        near = difflib.get_close_matches(name, names, n=3)
        if near:
            hint = f"did you mean {' or '.join(map(repr, near))}?"
        else:
            shown = f"there are: {', '.join(names[:8])}" if names else "there is none yet"
            hint = f"{shown}; make one with: mlcli {kind} create"
        return NotFoundError(f"there is no {kind} named {name!r} in workspace {self._root.parent.name!r}", hint=hint)

    def _no_version(self, kind: str, name: str, what: str, existing: Sequence[Asset]) -> NotFoundError:
        known = ", ".join(_told_version(one) for one in existing[:10])
        return NotFoundError(f"the {kind} {name!r} has no {what}", hint=f"it has: {known}")


def _told_version(asset: Asset) -> str:
    notes = [*(f"@{label}" for label in asset.labels), *(["archived"] if asset.archived else [])]
    return f"{asset.version} ({', '.join(notes)})" if notes else asset.version


def _edited(asset: Asset, changes: AssetChanges) -> Asset:
    kept = [label for label in asset.labels if label not in changes.remove_labels]
    return replace(
        asset,
        description=asset.description if changes.description is None else changes.description or None,
        tags=asset.tags if changes.tags is None else dict(changes.tags),
        archived=asset.archived if changes.archived is None else changes.archived,
        labels=tuple(dict.fromkeys((*kept, *changes.add_labels))),
    )


def _asset(record: Mapping[str, Any], kind: str, file: Path) -> Asset:
    files = record["files"]
    return Asset(
        kind=kind,
        name=str(record["name"]),
        version=str(record["version"]),
        document=dict(record["document"]),
        created_at=float(record["created_at"]),
        description=record["description"],
        tags=dict(record["tags"]),
        labels=tuple(record["labels"]),
        archived=bool(record["archived"]),
        folder=file.parent / str(files) if files else None,
    )


def _safe(name: str) -> str:
    """The name as one file name: letters, digits, ``-``, ``_`` and ``.`` stand for themselves, others are escaped; a long
    one is cut, and told from others by its digest.
    """
    escaped = quote(name, safe="", errors="surrogatepass")
    if escaped.startswith((".", "~")):
        escaped = f"%{ord(escaped[0]):02X}{escaped[1:]}"
    if len(escaped) <= _LONGEST:
        return escaped
    return f"{escaped[:_LONGEST]}~{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:24]}"


def _next_version(existing: Sequence[Asset]) -> str:
    """The whole number after the greatest; versions that are none (``2021.10``, ``prod``) do not count."""
    return str(1 + max((int(one.version) for one in existing if _is_number(one.version)), default=0))


def _is_number(version: str) -> bool:
    return version.isascii() and version.isdigit() and len(version) < 18


def _check_free(kind: str, name: str, version: str, existing: Sequence[Asset]) -> None:
    if any(one.version == version for one in existing):
        hint = f"without a version the next one is made, {_next_version(existing)}"
        raise NameTakenError(f"the {kind} {name!r} has a version {version!r} already", hint=hint)


def _documents(folder: Path) -> list[Path]:
    return [entry for entry in _entries(folder) if entry.name.endswith(_SUFFIX)]


def _entries(folder: Path) -> list[Path]:
    """What lies in a folder, in order, without what is hidden."""
    try:
        names = os.listdir(folder)  # noqa: PTH208
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise StoreError(f"{folder} cannot be read: {error.strerror}") from error
    return [folder / name for name in sorted(names) if not name.startswith(".")]


def _first(error: Exception) -> str:
    """What went wrong first: shutil collects (from, to, why) of everything."""
    collected = error.args[0] if error.args else error
    if isinstance(collected, list) and collected:
        path, _, why = collected[0]
        return f"{path}: {why}"
    return getattr(error, "strerror", None) or str(error)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        hint = "free some space, or put the workspace elsewhere (MLCLI_HOME)"
        raise StoreError(f"{path} cannot be written: {error.strerror}", hint=hint) from error
