"""Conda channels made on the spot: folders of small real packages, and a server that can be told to hold back."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
import tarfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path

VERSION = ".".join(map(str, sys.version_info[:3]))
MINOR = ".".join(map(str, sys.version_info[:2]))
_LEFT_OUT = {
    "site-packages",
    "test",
    "tests",
    "idlelib",
    "tkinter",
    "turtledemo",
    "lib2to3",
    "ensurepip",
    "__pycache__",
}


def subdir() -> str:
    """This machine's, as conda calls it."""
    from rattler import Subdir

    return str(Subdir.current())


def package(
    channel: Path,
    name: str,
    version: str = "1.0",
    *,
    files: Mapping[str, str | bytes] | None = None,
    depends: Sequence[str] = (),
    noarch: str | None = "generic",
    links: Mapping[str, str] | None = None,
) -> Path:
    """Put a package into the channel; what is below ``bin`` can be executed. :func:`index` makes it known."""
    where = "noarch" if noarch else subdir()
    facts = {"name": name, "version": version, "build": "0", "build_number": 0, "subdir": where, "depends": [*depends]}
    content = {path: text.encode() if isinstance(text, str) else text for path, text in (files or {}).items()}
    listed = [
        {"_path": path, "path_type": "hardlink", "sha256": hashlib.sha256(data).hexdigest(), "size_in_bytes": len(data)}
        for path, data in content.items()
    ] + [{"_path": path, "path_type": "softlink"} for path in links or ()]
    info = {
        "info/index.json": json.dumps({**facts, "noarch": noarch} if noarch else facts).encode(),
        "info/paths.json": json.dumps({"paths_version": 1, "paths": listed}).encode(),
    }
    folder = channel / where
    folder.mkdir(parents=True, exist_ok=True)
    archive = folder / f"{name}-{version}-0.tar.bz2"
    with tarfile.open(archive, "w:bz2", compresslevel=1) as tar:
        for path, data in {**info, **content}.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(data)
            entry.mode = 0o755 if path.startswith("bin/") else 0o644
            tar.addfile(entry, BytesIO(data))
        for path, target in (links or {}).items():
            entry = tarfile.TarInfo(path)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            tar.addfile(entry)
    return archive


def index(channel: Path) -> Path:
    """Write the channel's ``repodata.json`` files; answers the channel."""
    from rattler.index.index import index_fs

    (channel / "noarch").mkdir(parents=True, exist_ok=True)
    (channel / subdir()).mkdir(parents=True, exist_ok=True)
    asyncio.run(index_fs(channel, write_zst=False, write_shards=False))
    return channel


def python(channel: Path) -> None:
    """The Python that runs the tests as a conda package: its executable and its library, without what no job needs."""
    base = Path(sys.base_prefix)
    library = f"lib/python{MINOR}"
    files: dict[str, str | bytes] = {f"bin/python{MINOR}": Path(os.path.realpath(sys.executable)).read_bytes()}
    for here, folders, names in os.walk(base / library):
        folders[:] = [name for name in folders if name not in _LEFT_OUT and not name.startswith("config-")]
        for name in names:
            file = Path(here, name)
            files[str(file.relative_to(base))] = file.read_bytes()
    files[f"{library}/site-packages/README.txt"] = "packages stand here\n"
    package(channel, "python", VERSION, files=files, noarch=None, links={"bin/python": f"python{MINOR}"})


def python_package(channel: Path, name: str, version: str = "1.0") -> None:
    """A package of one module, as conda installs them for any Python."""
    info = f"site-packages/{name}-{version}.dist-info"
    files = {
        f"site-packages/{name}.py": f"version = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/INSTALLER": "conda\n",
        f"{info}/RECORD": "",
    }
    package(channel, name, version, files=files, depends=["python"], noarch="python")


class Gate:
    """Something that is reached, and goes on when it is let."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.open = threading.Event()


class ChannelServer:
    """A channel over HTTP. ``requests``: every path asked for; ``gates``: by the end of a path, who waits there."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.requests: list[str] = []
        self.gates: dict[str, Gate] = {}

    def gate(self, end: str) -> Gate:
        """From now on every request whose path ends so waits."""
        self.gates[end] = Gate()
        return self.gates[end]

    def asked(self, path: str) -> None:
        self.requests.append(path)
        for end, gate in self.gates.items():
            if path.endswith(end):
                gate.reached.set()
                gate.open.wait(120)


class _Handler(SimpleHTTPRequestHandler):
    def __init__(self, channel: list[ChannelServer], *arguments: object, **named: object) -> None:
        self.channel = channel
        super().__init__(*arguments, **named)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        self.channel[0].asked(self.path)
        try:
            super().do_GET()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # whoever asked was killed

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        del format, arguments


@contextmanager
def served(channel: Path) -> Iterator[ChannelServer]:
    """The channel on a port of this machine."""
    made: list[ChannelServer] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, made, directory=str(channel)))
    server.daemon_threads = True
    made.append(ChannelServer(f"http://127.0.0.1:{server.server_port}"))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield made[0]
    finally:
        for gate in made[0].gates.values():
            gate.open.set()
        server.shutdown()
        server.server_close()
        thread.join()
