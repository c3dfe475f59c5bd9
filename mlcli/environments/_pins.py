"""Versions that were resolved once, shared by machines: what nobody pinned stays as it was first built.

A virtual or conda environment cannot be moved to another folder; what was chosen for it can. The first machine to build
one puts its versions into the folder of the setting ``environments.shared``, and the others install exactly those.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mlcli.domain.errors import EnvironmentBuildError, StoreError
from mlcli.environments._shared import SharedCache

_SUFFIX = ".pins.json"
_EXACT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==[^\s;@]+")


@dataclass(frozen=True)
class Pins:
    """``resolved``: pip's ``name==version`` lines; ``packages``: conda's, each an address with its checksum."""

    resolved: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()

    @property
    def constraints(self) -> tuple[str, ...]:
        """The lines that pip takes as constraints: packages from an address or a folder pin themselves."""
        return tuple(line for line in self.resolved if _EXACT.fullmatch(line))

    @property
    def lock(self) -> str | None:
        """Conda's packages as an explicit lock, None when there are none."""
        return "\n".join(["@EXPLICIT", *self.packages, ""]) if self.packages else None


def made_with_pins(
    shared: SharedCache, place: Path, line: Callable[[str], None], make: Callable[[Pins], Mapping[str, Any]]
) -> Mapping[str, Any]:
    """What ``make`` makes at ``place``, whose name is the fingerprint: of the shared pins where there are any, else freely,
    and its ``resolved`` and ``packages`` are shared from then on. Pins that cannot be had here are no failure.
    """
    pins = _fetched(shared, place, line)
    if pins is not None:
        line("installing the versions that are shared")
        try:
            return make(pins)
        except EnvironmentBuildError as failed:
            line(f"they cannot be had here: {failed.message}; choosing versions anew")
            _wipe(place)
    record = make(Pins())
    if pins is None:
        _store(shared, place, line, Pins(tuple(record["resolved"]), tuple(record.get("packages", ()))))
    return record


def _fetched(shared: SharedCache, place: Path, line: Callable[[str], None]) -> Pins | None:
    scratch = place.with_name(f"{place.name}{_SUFFIX}")
    try:
        if not shared.fetch(place.name, _SUFFIX, scratch):
            return None
        found = json.loads(scratch.read_bytes())
        return Pins(tuple(map(str, found["resolved"])), tuple(map(str, found["packages"])))
    except StoreError as failed:
        line(failed.message)
    except (ValueError, TypeError, KeyError):
        line("the shared versions cannot be read; choosing versions anew")
    finally:
        scratch.unlink(missing_ok=True)
    return None


def _store(shared: SharedCache, place: Path, line: Callable[[str], None], pins: Pins) -> None:
    if shared.folder is None:
        return
    scratch = place.with_name(f"{place.name}{_SUFFIX}")
    try:
        scratch.write_text(json.dumps(asdict(pins)), encoding="utf-8")
        shared.store(place.name, _SUFFIX, scratch)
    except StoreError as failed:
        line(failed.message)
    finally:
        scratch.unlink(missing_ok=True)


def _wipe(place: Path) -> None:
    import shutil

    shutil.rmtree(place, ignore_errors=True)
