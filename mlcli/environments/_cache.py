"""Environments by fingerprint, each made once on this machine, whoever asks and however many at a time.

On disk, below ``<home>/environments``: ``<fingerprint>/`` the environment at its final place (most cannot be moved), or
what belongs to an image; complete when, and only when, it holds ``environment.json``; ``<fingerprint>.log`` its last
build's log; ``<fingerprint>.lock`` held while one process builds; ``<fingerprint>.failed.json`` how the last build failed.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from mlcli.domain.errors import EnvironmentBuildError, StoreError
from mlcli.json_files import read_record, stamp, write_record
from mlcli.ports.environments import BuiltEnvironment, EnvironmentBuilder

Record = Mapping[str, Any]
Log = Callable[[str], None]
_RECORD = "environment.json"
_FINGERPRINT = r"[0-9a-f]{6,64}"
_BESIDE = ("log", "failed.json", "lock")
_OF_A_BUILD = re.compile(rf"([0-9a-f]{{64}})(?:\.(?:{'|'.join(map(re.escape, _BESIDE))}))?")


class BuildCache:
    """What one builder, ``builder``, has made below ``home``.

    ``admit``: from an environment's folder and record to the record that still holds (it may be a mended one, which is
    kept), or None when the environment cannot be used any more.
    """

    def __init__(self, home: Path, builder: str, admit: Callable[[Path, Record], Record | None]) -> None:
        self._folder = home / "environments"
        self._builder = builder
        self._admit = admit

    def place(self, key: str) -> Path:
        """The folder of that fingerprint, whether it is there or not."""
        return self._folder / key

    def find(self, key: str) -> Record | None:
        """The record of a complete environment that can be used, else None. A few stats and one small file."""
        record = read_record(self.place(key) / _RECORD)
        if record is None:
            return None
        admitted = self._admit(self.place(key), record)
        if admitted is not None and admitted != record:
            with suppress(OSError):
                write_record(self.place(key) / _RECORD, admitted)
        return admitted

    def obtain(self, key: str, log: Log, make: Callable[[Path, Log, int], Record]) -> Record:
        """The record, of what is there or of what ``make`` makes now; other processes that ask meanwhile wait, and hear
        the same lines.

        ``make`` is given the folder (not there yet), where lines go, and a file descriptor that its child processes are
        to inherit: it keeps the lock while they live. Its record needs ``description``. Raises EnvironmentBuildError.
        """
        record = self.find(key) or self._made(key, log, make)
        with suppress(OSError):
            os.utime(self.place(key) / _RECORD)
        return record

    def listing(self) -> list[BuiltEnvironment]:
        """Every complete environment of this builder, the one used last first."""
        return sorted(self._complete(), key=lambda built: built.used_at, reverse=True)

    def unfinished(self) -> dict[str, float]:
        """Fingerprints of which there is something and no complete environment, with the time when it was last written."""
        found: dict[str, float] = {}
        for path in self._folder.iterdir() if self._folder.is_dir() else ():
            of = _OF_A_BUILD.fullmatch(path.name)
            if of is not None and not (self.place(of[1]) / _RECORD).exists():
                with suppress(FileNotFoundError):
                    found[of[1]] = max(found.get(of[1], 0.0), path.stat().st_mtime)
        return found

    def remove(self, key: str, away: Callable[[Record], int | None] = lambda _record: 0) -> int:
        """Delete one with its log, or what a build of it has left, unless somebody builds it now; bytes freed.

        ``away`` takes away what is elsewhere and answers its bytes, or None: it must stay, and so does the rest.
        """
        import shutil

        from mlcli.environments._lock import exclusive

        place = self.place(key)
        beside = [self._folder / f"{key}.{suffix}" for suffix in _BESIDE]
        if not any(path.exists() for path in (place, *beside)):
            return 0
        with suppress(_BeingBuiltError), exclusive(self._folder / f"{key}.lock", _give_up):
            record = read_record(place / _RECORD)
            elsewhere = 0 if record is None else away(record)
            if elsewhere is None:
                return 0
            freed = _size(place) + (elsewhere if record else sum(_bytes(file) for file in beside))
            (place / _RECORD).unlink(missing_ok=True)  # first: what is half deleted must not look built
            shutil.rmtree(place, ignore_errors=True)
            for file in beside:
                file.unlink(missing_ok=True)
            return freed
        return 0

    def build_log(self, key: str) -> Path | None:
        """The log of the last build, None when there is none. The first letters of a fingerprint do, where they tell it."""
        if re.fullmatch(_FINGERPRINT, key) is None:
            return None
        found = list(self._folder.glob(f"{key}*.log"))
        return found[0] if len(found) == 1 else None

    def last_failure(self, key: str) -> EnvironmentBuildError | None:
        """How the last build failed, None when it did not."""
        failed = read_record(self._folder / f"{key}.failed.json")
        return None if failed is None or self.place(key).is_dir() else _failure(failed)

    def _complete(self) -> Iterator[BuiltEnvironment]:
        for file in self._folder.glob(f"*/{_RECORD}"):
            record = read_record(file)
            if record is None or record.get("builder") != self._builder:
                continue
            yield BuiltEnvironment(
                builder=self._builder,
                fingerprint=file.parent.name,
                description=record["description"],
                place=record.get("place") or str(file.parent),
                size=_size(file.parent) + record.get("image_size", 0),
                built_at=record["built_at"],
                used_at=file.stat().st_mtime,
                resolved=tuple(record.get("resolved", ())),
            )

    def _made(self, key: str, log: Log, make: Callable[[Path, Log, int], Record]) -> Record:
        from mlcli.environments._lock import exclusive

        self._make_folder()
        failed = self._folder / f"{key}.failed.json"
        before = stamp(failed)
        follower = _Follower(self._folder / f"{key}.log", log)
        with exclusive(self._folder / f"{key}.lock", follower.follow) as lock:
            if record := self.find(key):
                follower.finish()
                return record
            if stamp(failed) not in {None, before}:  # it failed while we waited: once is enough
                follower.finish()
                raise _failure(read_record(failed) or {})
            return self._make(key, log, make, lock)

    def _make_folder(self) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as refused:
            raise StoreError(
                f"cannot make {self._folder}: {refused.strerror}",
                hint="the workspace must be on a disk that can be written",
            ) from refused

    def _make(self, key: str, log: Log, make: Callable[[Path, Log, int], Record], lock: int) -> Record:
        place, log_file, failed = (self._folder / name for name in (key, f"{key}.log", f"{key}.failed.json"))
        started = time.time()
        try:
            _wipe(place)
            failed.unlink(missing_ok=True)
            log_file.unlink(missing_ok=True)
            made = _logged(log_file, log, lambda line: make(place, line, lock))
            record = {
                **made,
                "builder": self._builder,
                "built_at": time.time(),
                "build_s": round(time.time() - started, 3),
            }
            place.mkdir(exist_ok=True, mode=0o700)
            write_record(place / _RECORD, record)
        except EnvironmentBuildError as error:
            located = EnvironmentBuildError(
                error.message, hint=f"{error.hint}; build log: {log_file}", details=error.details
            )
            located.transient = error.transient
            with suppress(OSError):
                write_record(
                    failed, {"message": located.message, "hint": located.hint, "details": list(located.details)}
                )
                _wipe(place)
            raise located from error
        except OSError as refused:
            raise EnvironmentBuildError(
                f"the environment could not be written: {refused}",
                hint="free some space, or put the workspace elsewhere",
            ) from refused
        return record


class CachedBuilder(EnvironmentBuilder):
    """A builder whose environments are in a BuildCache: what may be asked of it and done to it, whatever is built."""

    _cache: BuildCache

    def listing(self) -> Sequence[BuiltEnvironment]:
        """Every complete environment, the one used last first."""
        return self._cache.listing()

    def unfinished(self) -> Mapping[str, float]:
        """What builds that failed or were killed have left."""
        return self._cache.unfinished()

    def remove(self, fingerprint: str) -> int:
        """Delete one that nobody builds now; bytes freed."""
        return self._cache.remove(fingerprint, lambda record: self._away(fingerprint, record))

    def build_log(self, fingerprint: str) -> Path | None:
        """The log of its last build."""
        return self._cache.build_log(fingerprint)

    def last_failure(self, fingerprint: str) -> EnvironmentBuildError | None:
        """How its last build failed."""
        return self._cache.last_failure(fingerprint)

    def _away(self, fingerprint: str, record: Record) -> int | None:
        """Take away what is not in the cache's folder; bytes freed, None when it must stay."""
        del fingerprint, record
        return 0


class _BeingBuiltError(Exception):
    """Somebody else holds the lock."""


def _give_up() -> None:
    raise _BeingBuiltError


class _Follower:
    """Hands on the lines of a log that another process writes."""

    def __init__(self, file: Path, log: Log) -> None:
        self._file = file
        self._log = log
        self._waited = False
        self._inode = 0
        self._offset = 0
        self._rest = b""

    def follow(self) -> None:
        """The lines that came since the last call."""
        if not self._waited:
            self._waited = True
            self._log("another process builds the same environment: waiting for it")
        try:
            handle = self._file.open("rb")
        except FileNotFoundError:
            return
        with handle:
            inode = os.fstat(handle.fileno()).st_ino
            if inode != self._inode:  # the log of another attempt
                self._inode, self._offset, self._rest = inode, 0, b""
            handle.seek(self._offset)
            new = handle.read()
        self._offset += len(new)
        *lines, self._rest = (self._rest + new).split(b"\n")
        for line in lines:
            self._log(line.decode("utf-8", "replace"))

    def finish(self) -> None:
        """What is left when the other process is done."""
        if self._waited:
            self.follow()


def _logged(log_file: Path, log: Log, make: Callable[[Log], Record]) -> Record:
    log_file.touch(mode=0o600)
    with log_file.open("w", encoding="utf-8") as kept:

        def line(text: str) -> None:
            kept.write(f"{text}\n")
            kept.flush()
            log(text)

        return make(line)


def _failure(record: Record) -> EnvironmentBuildError:
    return EnvironmentBuildError(
        record.get("message", "the environment could not be built"),
        hint=record.get("hint"),
        details=tuple(record.get("details", ())),
    )


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())


def _bytes(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _wipe(place: Path) -> None:
    import shutil

    if place.exists() or place.is_symlink():
        with suppress(FileNotFoundError):
            (place / _RECORD).unlink()
        shutil.rmtree(place)
