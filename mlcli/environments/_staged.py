"""The generated Dockerfile's build context, and its failures in the words of the conda file."""

from __future__ import annotations

import io
import json
import os
import re
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from mlcli.domain.errors import EnvironmentBuildError
from mlcli.environments._generated import BUILD, ENVIRONMENT, Addition, settings
from mlcli.environments._pip_settings import uv_variables

if TYPE_CHECKING:
    from mlcli.environments._build import BuildFailedError
    from mlcli.environments._host_python import HostPython

_MESSAGE = re.compile(r"^error: (.*)\nhint: (.*)$", re.MULTILINE)
_NO_SHELL = re.compile(r'exec: "/bin/sh"')
_NO_TOOL = re.compile(r"No module named pip|python3: not found")


def packed(text: str, added: Addition, python: HostPython | None = None) -> IO[bytes]:
    """The Dockerfile and all that it copies, as a tar archive in a temporary file. Raises EnvironmentBuildError.

    ``python``: one of this machine's to take along.
    """
    told = {**os.environ, **uv_variables(os.environ)}
    certificates = Path(told.get("SSL_CERT_FILE", ""))
    texts = {
        "Dockerfile": text,
        "requirements.txt": added.definition.requirements_file,
        "settings.sh": settings(added, told, certificates=certificates.is_file()),
    }
    files = dict(added.files)
    if certificates.is_file():
        files["certificates.pem"] = certificates
    if sys.platform == "linux":
        files["uv"] = _uv()
    if added.by_conda:
        files["conda_install.py"] = Path(__file__).with_name("_conda_install.py")
        texts["locked.txt"] = ""  # pip lines of a lock file, to be found there
        texts["request.json"] = json.dumps(_request(added))
    try:
        return _archive(texts, files, python)
    except OSError as failed:
        raise EnvironmentBuildError(
            f"the build context could not be packed: {failed}",
            hint="free some space for temporary files, and check the paths in the conda file",
        ) from failed


def explain(failed: BuildFailedError, added: Addition, base: str, python: str | None) -> tuple[str, str]:
    """(what happened, what to do). ``base``: what the image is called; ``python``: the version that it has."""
    from mlcli.environments import _uv

    printed = "\n".join(failed.printed)
    if added.by_conda and (found := _MESSAGE.search(printed)):
        return found[1], found[2]
    if _NO_SHELL.search(printed):
        return f"{base} has no shell, so nothing can be installed into it", "choose an image with a shell"
    if _NO_TOOL.search(printed):
        return f"{base} can run neither uv nor a pip that would get another", "choose an image with Python and pip"
    if lacks_python(failed):
        wanted = f"Python {added.python}" if added.python else "Python"
        has = f"ask for its own, python={python.rpartition('.')[0]}" if python else "choose an image with Python"
        return (
            f"{base} has no {wanted}, and none could be downloaded",
            f"{has}, or an image that has the one you want",
        )
    if re.search(r"^(error:| +\N{MULTIPLICATION SIGN} )", printed, re.MULTILINE):
        return _uv.explain(printed, added.python or "")
    return failed.message, failed.hint or "read the build log"


def _request(added: Addition) -> dict[str, Any]:
    return {
        "prefix": ENVIRONMENT,
        "cache": f"{BUILD}/cache",
        "channels": added.channels,
        "specs": added.conda,
        "lock": added.lock,
        "requirements": f"{BUILD}/locked.txt",
    }


def lacks_python(failed: BuildFailedError) -> bool:
    """Whether it failed because the image has not the Python asked for, and none could be downloaded."""
    from mlcli.environments import _uv

    return _uv.NO_PYTHON.search("\n".join(failed.printed)) is not None


def _archive(texts: dict[str, str], files: dict[str, Path], python: HostPython | None) -> IO[bytes]:
    whole = tempfile.TemporaryFile()  # noqa: SIM115  (the caller closes it)
    with tarfile.open(fileobj=whole, mode="w") as tar:
        for name, text in texts.items():
            entry = tarfile.TarInfo(name)
            content = text.encode()
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
        for name, path in files.items():
            tar.add(path.resolve(), arcname=name, filter=_wanted)
        if python is not None:
            python.add_to(tar)
    whole.seek(0)
    return whole


def _wanted(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Not what version control and earlier builds leave in a project's folder."""
    return None if Path(entry.name).name in {".git", "__pycache__", ".venv"} else entry


def _uv() -> Path:
    from uv import find_uv_bin

    return Path(find_uv_bin())
