"""Files of this machine, as every transport needs them: replaced whole, folders made for their owner, errors in words."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mlcli.domain.errors import TransportError

TEMPORARY = ".mlcli-"
_TRANSIENT = frozenset({errno.EAGAIN, errno.EBUSY, errno.EINTR, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE})
_HINTS = {
    errno.ENOSPC: "free some space on that disk",
    errno.EDQUOT: "your disk quota is used up: delete what is not needed",
    errno.EROFS: "that file system is read-only",
}


def make_folder(path: str | Path) -> None:
    """Make a folder and its parents; the new ones are 0700."""
    try:
        os.mkdir(path, 0o700)  # noqa: PTH102
    except FileExistsError:
        if not os.path.isdir(path):  # noqa: PTH112
            raise
    except FileNotFoundError:
        make_folder(os.path.dirname(path))  # noqa: PTH120
        make_folder(path)


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A name to write to, in the same folder, that takes the target's place when all went well."""
    temporary = target.with_name(f"{TEMPORARY}{os.getpid()}-{os.urandom(4).hex()}")
    try:
        yield temporary
        temporary.replace(target)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


@contextmanager
def errors(path: str) -> Iterator[None]:
    """What the system refuses, as a TransportError that names the file (``path`` where the system does not say)."""
    try:
        yield
    except OSError as refused:
        raise error_of(refused, path) from None


def error_of(refused: OSError, path: str, where: str = "") -> TransportError:
    """The refusal in words. ``where``: what stands before it, the machine's name."""
    number = refused.errno or 0
    what = refused.strerror or str(refused)
    return TransportError(
        f"{where}{_refuser(refused) or path}: {what}", transient=number in _TRANSIENT, hint=_HINTS.get(number)
    )


def _refuser(refused: OSError) -> Path | None:
    """The file or folder that it is about, which of two may be the one copied to; None when it does not say."""
    if not isinstance(refused.filename, (str, bytes)):
        return None
    named = Path(os.fsdecode(refused.filename))
    return named.parent if named.name.startswith(TEMPORARY) else named
