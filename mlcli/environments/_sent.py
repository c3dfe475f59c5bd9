"""What a conda file's pip lines name on this machine's disk, on another machine: sent there once a content."""

from __future__ import annotations

import hashlib
import json
import posixpath
import secrets
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from mlcli.domain.errors import UnsupportedError
from mlcli.domain.job import EnvironmentSpec
from mlcli.domain.redaction import masked
from mlcli.environments._definition import parts
from mlcli.environments._far_package import check
from mlcli.environments._pip_lines import CONSTRAINT_OPTIONS, flat, lines_of, local_path, option_of, stamp
from mlcli.ports.transports import Transport

_INDEX_OPTIONS = {"-i", "--index-url", "--extra-index-url"}
_LEFT_OUT = (".git", "__pycache__", ".venv")  # as of what goes into images
_THERE = "import json, os, sys; print(json.dumps([os.path.lexists(path) for path in sys.argv[1:]]))"
_PLACE = """import os, shutil, sys
partial, target = sys.argv[1:]
try:
    os.rename(partial, target)
except OSError:
    if not os.path.isdir(target):
        raise
    shutil.rmtree(partial, ignore_errors=True)
"""


@dataclass(frozen=True)
class _Parcel:
    """A file or folder of this machine, or the text of a file; ``digest`` of its content."""

    name: str
    digest: str
    source: Path | str


class SentFiles:
    """Below ``folder``, an absolute path where ``transport`` leads: ``<digest>/<name>``."""

    def __init__(self, transport: Transport, folder: str) -> None:
        self._transport = transport
        self._folder = folder

    def spec(self, spec: EnvironmentSpec) -> EnvironmentSpec:
        """The same environment, its pip lines naming what they name over there; that is sent if it is not there.

        Raises UnsupportedError for what cannot be read, and for a package index that is a folder of this machine.
        """
        asked = parts(spec.conda or {})
        if all(local_path(line) is None and not _is_near_index(line) for line in asked.lines):
            return spec
        parcels: list[_Parcel] = []
        lines = [self._line(line, parcels) for line in flat(asked.lines)]
        self._deliver(parcels)
        conda = {**(spec.conda or {}), "dependencies": [*asked.conda, {"pip": lines}]}
        return replace(spec, conda=conda)

    def _line(self, line: str, parcels: list[_Parcel]) -> str:
        if _is_near_index(line):
            raise UnsupportedError(
                f"the pip line {masked(line)!r} names a package index on this machine's disk, and the job runs elsewhere",
                hint="give the index's address, or send a folder of packages along with: --find-links FOLDER",
            )
        path = local_path(line)
        if path is None:
            return line
        near = Path(path).expanduser()
        parcel = (
            self._constraints(near, parcels)
            if option_of(line)[0] in CONSTRAINT_OPTIONS
            else _Parcel(near.name, stamp(near), near)
        )
        parcels.append(parcel)
        return line.replace(path, self._path(parcel))

    def _constraints(self, file: Path, parcels: list[_Parcel]) -> _Parcel:
        lines = [self._line(line, parcels) for line in flat(lines_of(file), (file,))]
        text = "".join(f"{line}\n" for line in lines)
        return _Parcel(file.name, hashlib.sha256(text.encode()).hexdigest(), text)

    def _path(self, parcel: _Parcel) -> str:
        return posixpath.join(self._folder, parcel.digest, parcel.name)

    def _deliver(self, parcels: Iterable[_Parcel]) -> None:
        wanted = {self._path(parcel): parcel for parcel in parcels}
        answer = self._transport.run([self._transport.python(), "-I", "-S", "-c", _THERE, *wanted], repeatable=True)
        check(answer, "looking for files there")
        there: list[bool] = json.loads(answer.stdout)
        for parcel, found in zip(wanted.values(), there, strict=True):
            if not found:
                self._send(parcel)

    def _send(self, parcel: _Parcel) -> None:
        partial = posixpath.join(self._folder, f".{parcel.digest[:16]}.{secrets.token_hex(4)}")
        target = posixpath.join(partial, parcel.name)
        if isinstance(parcel.source, str):
            self._transport.write(target, parcel.source.encode())
        else:
            self._transport.make_folder(partial)
            with _lean(parcel.source) as source:
                self._transport.put(source, target)
        whole = posixpath.join(self._folder, parcel.digest)
        argv = [self._transport.python(), "-I", "-S", "-c", _PLACE, partial, whole]
        check(self._transport.run(argv, repeatable=True), f"sending {parcel.name}")


@contextmanager
def _lean(path: Path) -> Iterator[Path]:
    """A folder without what version control and earlier builds leave in it; a file as it is."""
    if path.is_file():
        yield path
        return
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / path.name
        shutil.copytree(path, copy, symlinks=True, ignore=shutil.ignore_patterns(*_LEFT_OUT))
        yield copy


def _is_near_index(line: str) -> bool:
    option, value = option_of(line)
    return option in _INDEX_OPTIONS and value.startswith(("/", "./", "../", "~", "file:"))
