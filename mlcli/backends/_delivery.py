"""Files of this machine on another one: sent once by what they hold, then linked or copied to where a job wants them."""

from __future__ import annotations

import hashlib
import os
import posixpath
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mlcli.domain.errors import MlcliError, TransportError
from mlcli.ports.transports import Transport

_BLOCK = 1 << 20
_LONG_S = 3600.0

# On the far side, by its Python: each may be run again, and by two at once.
_SETTLE = """
import os, shutil, sys
partial, final = sys.argv[1:]
def protect(path):
    if not os.path.islink(path):
        os.chmod(path, os.stat(path).st_mode & 0o555)
if os.path.isdir(partial):
    for folder, _, names in os.walk(partial):
        for name in names:
            protect(os.path.join(folder, name))
elif os.path.exists(partial):
    protect(partial)
try:
    os.rename(partial, final)
except OSError:
    if not os.path.lexists(final):
        raise
    shutil.rmtree(partial, ignore_errors=True)
"""
_COPY = """
import os, shutil, sys
source, target = sys.argv[1:]
if os.path.lexists(target):
    sys.exit()
os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
partial = "%s.%d.partial" % (target, os.getpid())
def copy(source, target):
    shutil.copy2(source, target)
    os.chmod(target, os.stat(target).st_mode | 0o200)
if os.path.isdir(source):
    shutil.copytree(source, partial, symlinks=True, copy_function=copy)
else:
    copy(source, partial)
try:
    os.rename(partial, target)
except OSError:
    if not os.path.lexists(target):
        raise
"""
_LINK = """
import os, sys
source, target = sys.argv[1:]
os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
try:
    os.symlink(source, target)
except FileExistsError:
    pass
"""


def deliver(
    transport: Transport, folder: str, source: Path, target: str, log: Callable[[str], None], *, copy: bool
) -> None:
    """Send what ``folder`` there does not hold yet, and make it available as ``target``.

    Raises MlcliError for what cannot be sent as it is, OSError when it cannot be read, TransportError.
    """
    top = source.resolve(strict=True)
    tree = _scan(top)
    kept = posixpath.join(folder, tree.digest)
    if transport.run(["test", "-e", kept], repeatable=True).code != 0:
        log(f"sending {source}: {tree.files} {'file' if tree.files == 1 else 'files'}, {tree.size} bytes")
        partial = posixpath.join(folder, f".{tree.digest}.partial")
        transport.put(top, partial)
        if _stats(top) != tree.stats:
            _python(transport, "import shutil, sys; shutil.rmtree(sys.argv[1])", partial)
            raise MlcliError(f"{source} was changed while it was sent", hint="submit the job again when it is complete")
        _python(transport, _SETTLE, partial, kept)
    else:
        log(f"{source} is there already: not sent again")
    _python(transport, _COPY if copy else _LINK, kept, target)


def _python(transport: Transport, script: str, *arguments: str) -> None:
    argv = [transport.python(), "-I", "-S", "-c", script, *arguments]
    done = transport.run(argv, timeout_s=_LONG_S, repeatable=True)
    if done.code != 0:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise TransportError(lines[-1][:500] if lines else f"it ended with code {done.code}", transient=False)


@dataclass(frozen=True)
class _Tree:
    """``digest``: of all that it holds; ``stats``: of what tells a change without reading; ``size``: bytes."""

    digest: str
    stats: str
    files: int
    size: int


def _scan(top: Path) -> _Tree:
    content = hashlib.sha256()
    files = size = 0
    for path in _walk(top):
        facts = path.lstat()
        if stat.S_ISREG(facts.st_mode):
            files, size = files + 1, size + facts.st_size
            said = f"file {facts.st_mode & 0o111 != 0} {_digest_of(path)}"
        elif stat.S_ISLNK(facts.st_mode):
            said = f"link {_inside(top, path)}"
        elif stat.S_ISDIR(facts.st_mode):
            said = "folder"
        else:
            raise MlcliError(f"{path} is no file, folder or link: it cannot be sent", hint="leave it out of the input")
        name = "" if path == top else str(path.relative_to(top))
        content.update(os.fsencode(f"{name}\0{said}\0"))
    return _Tree(content.hexdigest(), _stats(top), files, size)


def _walk(top: Path) -> Iterator[Path]:
    """Everything, each folder before what it holds, in the same order on every machine."""
    yield top
    if not top.is_dir():
        return
    for folder, folders, names in os.walk(top):
        folders.sort()
        yield from (Path(folder) / name for name in sorted((*folders, *names)))


def _inside(top: Path, link: Path) -> str:
    """What a link says. Raises MlcliError for one that would lead elsewhere on another machine."""
    text = os.readlink(link)  # noqa: PTH115  (as it is written)
    leads = Path(os.path.normpath(link.parent / text))
    if Path(text).is_absolute() or not leads.is_relative_to(top):
        raise MlcliError(
            f"{link} is a link to {text}, which is not sent with it",
            hint="put the file itself there, or make the link relative, to something in the same folder",
        )
    return text


def _stats(top: Path) -> str:
    found = hashlib.sha256()
    for path in _walk(top):
        facts = path.lstat()
        words = f"{path}\0{facts.st_mode}\0{facts.st_size}\0{facts.st_mtime_ns}\0"
        found.update(os.fsencode(words))
    return found.hexdigest()


def _digest_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
