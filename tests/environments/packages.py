"""Tiny packages made on the spot, so that environments can be built without a network."""

from __future__ import annotations

import tarfile
import zipfile
from io import BytesIO
from pathlib import Path


def wheel(folder: Path, name: str, version: str = "1.0", size: int = 0) -> Path:
    """A wheel whose module says its version; ``size`` bytes of ballast that do not compress."""
    import random

    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"version = {version!r}\n".encode(),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    if size:
        files[f"{name}_data.bin"] = random.Random(0).randbytes(size)
    files[f"{info}/RECORD"] = "".join(f"{file},,\n" for file in [*files, f"{info}/RECORD"]).encode()
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file, content in files.items():
            archive.writestr(file, content)
    return path


BACKEND = """
import pathlib, sys, time
sys.path.insert(0, {helper!r})
from packages import wheel

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    gates = pathlib.Path({gates!r})
    with (gates / "started").open("a") as started:
        started.write("x")
    deadline = time.monotonic() + 120
    while not (gates / "go").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    if (gates / "fail").exists():
        sys.exit("error: the compiler is missing")
    return wheel(pathlib.Path(wheel_directory), {name!r}).name
"""


def gated_source(folder: Path, name: str, gates: Path) -> Path:
    """A source package whose build writes ``started`` below ``gates``, waits for ``go``, and fails if ``fail`` is there."""
    folder.mkdir(parents=True, exist_ok=True)
    gates.mkdir(parents=True, exist_ok=True)
    top = f"{name}-1.0"
    helper = str(Path(__file__).parent)
    files = {
        "pyproject.toml": f'[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        f'[project]\nname = "{name}"\nversion = "1.0"\n',
        "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        "backend.py": BACKEND.format(helper=helper, gates=str(gates), name=name),
    }
    path = folder / f"{top}.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for file, content in files.items():
            entry = tarfile.TarInfo(f"{top}/{file}")
            entry.size = len(content)
            archive.addfile(entry, BytesIO(content.encode()))
    return path
