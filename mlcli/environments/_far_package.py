"""mlcli itself, as far as builders need it, on another machine: sent there once a version, and run there.

There it is unpacked below ``<folder>/package``, in a folder named for its content, so that versions do not meet.
"""

from __future__ import annotations

import hashlib
import io
import json
import posixpath
import zipfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from mlcli.domain.errors import TransportError, UnsupportedError
from mlcli.environments._wire import error_of
from mlcli.ports.transports import Completed, Transport

OLDEST = (3, 10)
_ROOT = Path(__file__).parents[1]
_TAKEN = (
    "__init__.py",
    "json_files.py",
    "domain/*.py",
    "ports/*.py",
    "spec/__init__.py",
    "spec/requirements.py",
    "environments/*.py",
)
_ANSWER_S = 120.0

_BEGIN = f"""import os, sys
package = sys.argv[1]
if sys.version_info < {OLDEST}:
    print('{{"old": "%d.%d.%d"}}' % sys.version_info[:3])
elif not os.path.isdir(package):
    print('{{"missing": true}}')
else:
    sys.path.insert(0, package)
    from mlcli.environments._far_side import main
    main()
"""

_UNPACK = """import io, os, shutil, sys, zipfile
target = sys.argv[1]
partial = "%s.%d.partial" % (target, os.getpid())
try:
    os.makedirs(partial, 0o700)
    zipfile.ZipFile(io.BytesIO(sys.stdin.buffer.read())).extractall(partial)
    try:
        os.rename(partial, target)
    except OSError:
        if not os.path.isdir(target):
            raise
finally:
    shutil.rmtree(partial, ignore_errors=True)
"""


class FarPackage:
    """Our package where ``transport`` leads. ``folder``: mlcli's own there."""

    def __init__(self, transport: Transport, folder: str) -> None:
        self._transport = transport
        self._place = posixpath.join(folder, "package", _digest())

    def ask(self, question: Mapping[str, Any]) -> Mapping[str, Any]:
        """Put a question to :mod:`mlcli.environments._far_side` there. What it refuses is raised as it was there; raises
        TransportError, and UnsupportedError where Python is too old.
        """
        told = self._told(question)
        if "missing" in told:
            self._send()
            told = self._told(question)
        if "old" in told:
            needed = ".".join(map(str, OLDEST))
            raise UnsupportedError(
                f"environments are built with Python {needed} or newer, and the Python there is {told['old']} "
                f"({self._transport.python()})",
                hint=f"set the compute's 'python' to one that is Python {needed} or newer, or take what is there with: "
                "--set environment=current",
            )
        if "error" in told:
            raise error_of(told["error"])
        return told

    def argv(self, *arguments: str) -> list[str]:
        """The command line that runs it there."""
        return [self._transport.python(), "-I", "-X", "utf8", "-c", _BEGIN, self._place, *arguments]

    def _told(self, question: Mapping[str, Any]) -> Mapping[str, Any]:
        answer = self._transport.run(
            self.argv(), stdin=json.dumps(question).encode(), timeout_s=_ANSWER_S, repeatable=True
        )
        check(answer, "mlcli's own part there")
        told: Mapping[str, Any] = json.loads(answer.stdout)
        return told

    def _send(self) -> None:
        argv = [self._transport.python(), "-I", "-S", "-c", _UNPACK, self._place]
        check(self._transport.run(argv, stdin=_packed(), timeout_s=_ANSWER_S, repeatable=True), "unpacking mlcli there")


def check(answer: Completed, what: str) -> None:
    """Raise TransportError, with the last line that it said, for a command that did not end well."""
    if answer.code != 0:
        said = answer.stderr.decode("utf-8", "replace").strip().splitlines()
        raise TransportError(f"{what} failed: {said[-1] if said else f'code {answer.code}'}", transient=False)


def _files() -> list[Path]:
    return sorted(file for pattern in _TAKEN for file in _ROOT.glob(pattern))


@lru_cache(maxsize=1)
def _digest() -> str:
    whole = hashlib.sha256()
    for file in _files():
        content = file.read_bytes()
        whole.update(f"{file.relative_to(_ROOT)}\0{len(content)}\0".encode() + content)
    return whole.hexdigest()[:16]


def _packed() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in _files():
            archive.write(file, f"mlcli/{file.relative_to(_ROOT)}")
    return buffer.getvalue()
