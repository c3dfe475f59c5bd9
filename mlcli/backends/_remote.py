"""A container on an engine that cannot mount our folders: they are copied in before it starts, and home when it ended."""

from __future__ import annotations

import posixpath
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

from mlcli import agent
from mlcli.backends import _launcher
from mlcli.backends._archive import one_file, pack, unpack
from mlcli.backends._container import inputs_elsewhere, is_below
from mlcli.backends._engine import Engine
from mlcli.backends._folder import folder_of
from mlcli.domain.errors import TransportError
from mlcli.domain.plan import Plan

_GOES = ("wd", "user_logs", "named-outputs", "inputs", _launcher.FOLDER, agent.LAUNCH)
_STAYS_THERE = frozenset({"inputs", _launcher.FOLDER, agent.LAUNCH, agent.LOCK, agent.RESERVED})
_COMES = frozenset({"wd", "user_logs", "named-outputs", agent.AGENT, agent.CANCEL, agent.EXIT})
_STAGING = f"{_launcher.FOLDER}/home"
# The first byte says whether there is such a file; an engine whose container is just ending says something else.
_READ = '[ -f "$1" ] || { printf %s -; exit; }; printf %s +; tail -c "+$2" "$1" | if [ "$3" ]; then head -c "$3"; else cat; fi'


def copy_in(engine: Engine, name: str, plan: Plan, user: str) -> None:
    """Put the run folder, and inputs and outputs that lie elsewhere, at their own paths into a created container."""
    uid, _, gid = user.partition(":")
    ids = (int(uid), int(gid or uid)) if uid.isdigit() and (gid or uid).isdigit() else (0, 0)
    engine.put_archive(name, "/", _packed(plan, *ids))


def _packed(plan: Plan, uid: int, gid: int) -> Iterator[bytes]:
    """What cannot be read here is no fault of the engine."""
    try:
        yield from pack(_entries(plan), uid, gid)
    except OSError as failed:
        what = f"{failed.filename}: {failed.strerror}" if failed.filename else str(failed)
        raise TransportError(f"the job's files could not be copied to the engine: {what}", transient=False) from failed


def _entries(plan: Plan) -> Iterator[tuple[Path, str]]:
    folder = Path(plan.run_folder)
    empty = folder / _launcher.FOLDER / "empty"
    empty.mkdir(mode=0o700, exist_ok=True)
    yield empty, plan.run_folder
    for name in _GOES:
        if (folder / name).exists():
            yield folder / name, posixpath.join(plan.run_folder, name)
    for path, _ in inputs_elsewhere(plan):
        yield Path(path), path
    for place in outputs_elsewhere(plan):
        yield empty, place


def outputs_elsewhere(plan: Plan) -> list[str]:
    """The folders of outputs that do not lie in the run folder."""
    folders = {posixpath.normpath(folder_of(output)) for output in plan.outputs}
    return sorted(folder for folder in folders if not is_below(folder, plan.run_folder))


def copy_home(engine: Engine, name: str, folder: Path, outputs: list[str]) -> None:
    """Bring the run folder home, whole and then at once; its exit record last. Safe to do again after a kill.

    Raises TransportError.
    """
    staging = folder / _STAGING
    shutil.rmtree(staging, ignore_errors=True)
    try:
        staging.mkdir(mode=0o700, parents=True)
        unpack(engine.get_archive(name, str(folder)), staging, lambda path: _comes(folder, path))
        for output in outputs:
            unpack(engine.get_archive(name, output), Path(output))
        _move(staging, folder)
    except (OSError, tarfile.TarError) as failed:
        shutil.rmtree(staging, ignore_errors=True)
        raise TransportError(f"the results of {name} could not be brought home: {failed}", transient=True) from failed


def _comes(folder: Path, path: str) -> bool:
    """What the job has made: not what was only lent to it, and not what this machine has written since."""
    top = path.partition("/")[0]
    return top in _COMES or (top not in _STAYS_THERE and (not path or not (folder / top).exists()))


def _move(staging: Path, folder: Path) -> None:
    before = staging.with_name("before")
    for entry in sorted(staging.iterdir(), key=lambda entry: entry.name == agent.EXIT):
        target = folder / entry.name
        if target.is_dir():
            shutil.rmtree(before, ignore_errors=True)
            target.rename(before)
        entry.rename(target)
    shutil.rmtree(before, ignore_errors=True)


def read_in_it(engine: Engine, name: str, path: str, offset: int, limit: int | None) -> tuple[bytes | None] | None:
    """Bytes of a file in a container, by a command in it; (None,) when there is no such file, None when no command can be run:
    it has ended, is about to, or has not begun.
    """
    argv = ["/bin/sh", "-c", _READ, "sh", path, str(offset + 1), "" if limit is None else str(limit)]
    answer = engine.execute(name, argv)
    if answer is None or answer[1][:1] not in {b"+", b"-"}:
        return None
    return (answer[1][1:] if answer[1][:1] == b"+" else None,)


def read(engine: Engine, name: str, path: str, offset: int, limit: int | None) -> bytes | None:
    """The same, whether it runs or not; None when there is no such file."""
    chunks = engine.find_archive(name, path)
    return None if chunks is None else one_file(chunks, offset, limit)


def peek(engine: Engine, name: str, path: str, target: Path) -> None:
    """Copy a file or folder of a container that may still run to ``target``; nothing when it is not there."""
    chunks = engine.find_archive(name, path)
    if chunks is not None:
        try:
            unpack(chunks, target)
        except (OSError, tarfile.TarError) as failed:
            raise TransportError(f"{path} could not be copied from {name}: {failed}", transient=True) from failed
