"""Programs that engines are made of: there already, or installed where the tests may."""

from __future__ import annotations

import fcntl
import os
import shlex
import shutil
import subprocess

from tests.engines import Unavailable, cache_folder, may_install

# The Debian package of each program; where releases differ, the first that the release has.
PACKAGE_OF = {
    "docker": "docker-cli|docker.io",
    "dockerd": "docker.io",
    "containerd": "docker.io",
    "debootstrap": "debootstrap",
    "busybox": "busybox-static",
    "iptables": "iptables",
    "nsenter": "util-linux",
    "ip": "iproute2",
    "scp": "openssh-client",
    "sftp": "openssh-client",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "sshd": "openssh-server",
    "fish": "fish",
    "openssl": "openssl",
    "rsync": "rsync",
    "tar": "tar",
    "tcsh": "tcsh",
    "unshare": "util-linux",
    "zsh": "zsh",
}
SEARCH = os.environ.get("PATH", os.defpath) + ":/usr/local/sbin:/usr/sbin:/sbin"


def needed(*programs: str) -> None:
    """Make sure that these are on the machine. Raises Unavailable."""
    with (cache_folder() / "packages.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        missing = [program for program in programs if not _found(program)]
        if missing:
            _install(missing)
            still = [program for program in missing if not _found(program)]
            if still:
                raise Unavailable(f"not found after installing: {', '.join(still)}")


def program(name: str) -> str:
    """The path of a program. Raises Unavailable."""
    needed(name)
    return _found(name) or name


def root_is_needed(what: str) -> None:
    """Raises Unavailable unless this is root."""
    if os.geteuid() != 0:
        raise Unavailable(f"{what} needs root")


def must(argv: list[str], *, env: dict[str, str] | None = None) -> None:
    """Run a command that an engine needs. Raises Unavailable with the end of what it printed."""
    done = subprocess.run(
        argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False
    )
    if done.returncode:
        raise Unavailable(f"{shlex.join(argv)} failed: " + " | ".join(done.stdout.splitlines()[-5:]))


def _found(program: str) -> str | None:
    return shutil.which(program, path=SEARCH)


def _install(programs: list[str]) -> None:
    words = f"{', '.join(programs)} not installed"
    if not may_install():
        raise Unavailable(f"{words}; MLCLI_TEST_ENGINES=all installs them")
    root_is_needed(f"{words}: installing them")
    if not _found("apt-get"):
        raise Unavailable(f"{words}, and there is no apt-get")
    # A service that the package would start is left alone: tests start their own.
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1", "NEEDRESTART_MODE": "l"}
    must(["apt-get", "update", "-q"], env=environment)
    packages = sorted({_package_of(program) for program in programs})
    must(["apt-get", "install", "-yq", "--no-install-recommends", *packages], env=environment)


def _package_of(program: str) -> str:
    *newer, last = PACKAGE_OF[program].split("|")
    return next((package for package in newer if _is_known(package)), last)


def _is_known(package: str) -> bool:
    return subprocess.run(["apt-cache", "show", package], capture_output=True, check=False).returncode == 0
