from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import Mlcli
from tests.faults.helpers import Jobs
from tests.faults.servers import SlowServer


@pytest.fixture
def jobs(mlcli: Mlcli) -> Iterator[Jobs]:
    """Jobs of the test's own; none outlives it."""
    all_of_them = Jobs(mlcli)
    yield all_of_them
    all_of_them.clean_up()


@pytest.fixture
def slow_server(request: pytest.FixtureRequest) -> Iterator[SlowServer]:
    """A web server that holds every answer back until it is opened. Its parameter: the status of its answers."""
    server = SlowServer(getattr(request, "param", 200))
    yield server
    server.close()


@pytest.fixture
def small_disk(mlcli: Mlcli) -> Iterator[Callable[[str], Path]]:
    """``small_disk("2m")`` mounts ``MLCLI_HOME`` as a disk of that size; it is gone after the test."""
    if shutil.which("mount") is None or os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    mounted = []

    def mount(size: str) -> Path:
        mlcli.home.mkdir()
        argv = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(mlcli.home)]
        done = subprocess.run(argv, capture_output=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"no small disk here: {done.stderr!r}")
        mounted.append(mlcli.home)
        return mlcli.home

    yield mount
    for home in mounted:
        subprocess.run(["umount", "-l", str(home)], check=True)


@pytest.fixture
def read_only(mlcli: Mlcli) -> list[str]:
    """An argv prefix under which ``MLCLI_HOME`` can be read and not written, for that command alone."""
    inside = 'mount --bind "$MLCLI_HOME" "$MLCLI_HOME" && mount -o remount,ro,bind "$MLCLI_HOME" && exec "$@"'
    flags = "-m" if os.geteuid() == 0 else "-rm"
    prefix = ["unshare", flags, "sh", "-c", inside, "sh"]
    if shutil.which("unshare") is None:
        pytest.skip("no unshare here")
    mlcli.home.mkdir(exist_ok=True)
    tried = subprocess.run([*prefix, "true"], env=mlcli.environment(), capture_output=True, check=False)
    if tried.returncode != 0:
        pytest.skip(f"no mount namespaces here: {tried.stderr!r}")
    return prefix


@pytest.fixture
def unprivileged() -> list[str]:
    """An argv prefix under which permissions count, for root too."""
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("root, and no setpriv: permissions do not count")
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
