"""The images that tests run in. None is pulled: each is a root file system, packed once and imported where it is needed.

An image's tag is a digest of its recipe, so that a changed recipe is another image and an unchanged one is made once a machine.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import platform
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.engines import Unavailable, cache_folder
from tests.engines.packages import must, needed, program

if TYPE_CHECKING:
    from docker import DockerClient

CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
BASE_PACKAGES = ("python3", "ca-certificates", "libgomp1")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Image:
    """An image that can be imported into any engine. ``pack(file)`` writes its root file system as a tar archive."""

    name: str
    recipe: str
    pack: Callable[[Path], None]
    changes: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        return hashlib.sha256("\n".join([self.recipe, *self.changes]).encode()).hexdigest()[:12]

    @property
    def tag(self) -> str:
        return f"mlcli-test/{self.name}:{self.digest}"

    def put_into(self, client: DockerClient) -> str:
        """Import it unless the engine has it. Returns the tag."""
        from docker.errors import ImageNotFound

        with self._one_at_a_time():
            try:
                client.images.get(self.tag)
            except ImageNotFound:
                repository, tag = self.tag.split(":")
                client.api.import_image_from_file(
                    str(self._archive()), repository=repository, tag=tag, changes=list(self.changes)
                )
        return self.tag

    @contextmanager
    def _one_at_a_time(self) -> Iterator[None]:
        with (cache_folder() / f"{self.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _archive(self) -> Path:
        archive = cache_folder() / f"{self.name}-{self.digest}.tar"
        if not archive.exists():
            partial = archive.with_suffix(".partial")
            self.pack(partial)
            partial.replace(archive)
        return archive


def base_image() -> Image:
    """This machine's Debian or Ubuntu at its smallest, with Python, bash and the certificates that this machine trusts."""
    needed("debootstrap", "tar")
    certificates = hashlib.sha256(CERTIFICATES.read_bytes()).hexdigest() if CERTIFICATES.exists() else "none"
    suite = platform.freedesktop_os_release()["VERSION_CODENAME"]
    return Image(
        "base",
        f"2 {suite} {platform.machine()} {BASE_PACKAGES} {certificates}",
        lambda archive: _debootstrap(suite, archive),
        (f"ENV PATH={PATH}", f"ENV SSL_CERT_FILE={CERTIFICATES}", 'CMD ["bash"]'),
    )


def tiny_image() -> Image:
    """``/bin/sh`` and the usual small tools, all of them busybox; no Python, no bash."""
    applets = _busybox("--list").decode().split()
    return Image(
        "tiny",
        f"2 {_busybox_digest()} {applets}",
        lambda archive: _pack_busybox(archive, "bin/busybox", applets=applets),
        (f"ENV PATH={PATH}", 'CMD ["sh"]'),
    )


def empty_image() -> Image:
    """Nothing but ``/bin/echo``: no shell."""
    return Image("empty", f"2 {_busybox_digest()}", lambda archive: _pack_busybox(archive, "bin/echo"))


def _debootstrap(suite: str, archive: Path) -> None:
    root = archive.parent / f"{archive.stem}.root"
    shutil.rmtree(root, ignore_errors=True)
    try:
        must(["debootstrap", "--variant=minbase", f"--include={','.join(BASE_PACKAGES)}", suite, str(root), *_mirror()])
        if CERTIFICATES.exists():
            shutil.copyfile(CERTIFICATES, root / CERTIFICATES.relative_to("/"))
        must(["tar", "-C", str(root), "--exclude=./var/cache/apt/archives/*.deb", "-cf", str(archive), "."])
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _mirror() -> list[str]:
    """Where this machine's own packages come from."""
    done = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages"],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.split()[:1]


def _pack_busybox(archive: Path, place: str, *, applets: list[str] | None = None) -> None:
    """``/tmp``, busybox at ``place``, and a link to it for each applet."""
    with tarfile.open(archive, "w") as tar:
        _add(tar, "bin", type=tarfile.DIRTYPE, mode=0o755)
        _add(tar, "tmp", type=tarfile.DIRTYPE, mode=0o1777)
        _add(tar, place, Path(program("busybox")).read_bytes(), mode=0o755)
        for applet in set(applets or []) - {"busybox"}:
            _add(tar, f"bin/{applet}", type=tarfile.SYMTYPE, linkname="busybox")


def _add(tar: tarfile.TarFile, name: str, content: bytes = b"", **header: Any) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    for key, value in header.items():
        setattr(entry, key, value)
    tar.addfile(entry, io.BytesIO(content))


def _busybox(*arguments: str) -> bytes:
    return subprocess.run([program("busybox"), *arguments], capture_output=True, check=True).stdout


def _busybox_digest() -> str:
    content = Path(program("busybox")).read_bytes()
    if b"/ld-linux" in content or b"/ld-musl" in content:
        raise Unavailable("busybox is not a static program here: the package busybox-static is needed")
    return hashlib.sha256(content).hexdigest()
