"""What SSH costs, as ratios to the tools that everybody has, against an sshd on the loopback.

``python -m benchmarks bench_ssh`` prints them. Each of ours makes its own connection, as each of theirs does.
"""

from __future__ import annotations

import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.bench_snapshot import make_tree
from benchmarks.measure import MLCLI
from mlcli.backends.batch import BatchBackend
from mlcli.domain.compute import SshHost
from mlcli.domain.settings import Settings
from mlcli.ports.transports import Transport
from mlcli.schedulers.process import ProcessScheduler
from mlcli.stores.snapshots import ContentStore
from mlcli.testing.backend import Job
from mlcli.transports.local import LocalTransport
from mlcli.transports.ssh import SshTransport
from tests.engines.packages import needed
from tests.engines.sshd import SshHost as Sshd
from tests.engines.sshd import one_ssh_host

# A disk makes the first ten thousand files in a part of it that is cold ten times slower than the next, whoever makes them.
MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None
ROUNDS = 5
COMMAND_ROUNDS = 11
FIRST_LIMIT, SECOND_LIMIT, COMMAND_LIMIT = 1.5, 2.0, 3.0
CONNECT = """
from mlcli.domain.compute import SshHost
from mlcli.transports.ssh import SshTransport
SshTransport(SshHost("host")).run(["true"])
"""


def run() -> list[tuple[str, float, float]]:
    """(name, ratio, limit) of each measurement."""
    needed("rsync", "tar")
    with tempfile.TemporaryDirectory(dir=MEMORY) as place, one_ssh_host() as sshd:
        os.environ.update(sshd.environment)
        root = Path(place)
        make_tree(root / "code")
        first, second = snapshots(root)
        return [
            ("SSH: first snapshot of 10,000 files / tar | ssh tar", first, FIRST_LIMIT),
            ("SSH: second snapshot, one file changed / rsync -a", second, SECOND_LIMIT),
            ("SSH: a process that connects and runs a command / ssh host true", command(), COMMAND_LIMIT),
            ("SSH: an echo job, warm / (3 ssh host true + the same job here)", job(root, sshd), 1.0),
            ("SSH: job create --stream of an echo / (3 ssh host true + the same here)", end_to_end(root), 1.0),
        ]


def snapshots(root: Path) -> tuple[float, float]:
    """Medians of the ratios of the first snapshot, and of the second."""
    store = ContentStore(root / "store", Settings())
    firsts, seconds = [], []
    for number in range(ROUNDS):
        there = root / f"there_{number}"
        digest = store.put(root / "code").digest
        tar = timed(lambda: shell(f"tar -C {root}/code -cf - . | ssh host {tar_x(there / 'tar')}"))  # noqa: B023
        ours = timed(lambda: place(there, "first", digest, store))  # noqa: B023
        firsts.append(ours / tar)
        shell(f"ssh host cp -a {there}/tar {there}/rsync")
        (root / "code" / "package_7" / "module_7.py").write_bytes(os.urandom(1024))
        digest = store.put(root / "code").digest
        rsync = timed(lambda: shell(f"rsync -a {root}/code/ host:{there}/rsync/"))  # noqa: B023
        ours = timed(lambda: place(there, "second", digest, store))  # noqa: B023
        seconds.append(ours / rsync)
        assert subprocess.run(["diff", "-r", there / "second", root / "code"], check=False).returncode == 0
        shell(f"rm -rf {there}")
    return statistics.median(firsts), statistics.median(seconds)


def tar_x(folder: Path) -> str:
    return shlex.quote(f"mkdir -p {folder}; tar -C {folder} -xf -")


def place(there: Path, name: str, digest: str, store: ContentStore) -> None:
    transport = SshTransport(SshHost("host", folder=f"{there}/mlcli"))
    transport.place(f"{there}/{name}", digest, store)
    transport.close()


def command() -> float:
    """Medians, rounds interleaved."""
    theirs, ours = [], []
    for _ in range(COMMAND_ROUNDS):
        theirs.append(timed(lambda: shell("ssh host true")))
        ours.append(timed(lambda: subprocess.run([sys.executable, "-c", CONNECT], check=True)))
    return statistics.median(ours) / statistics.median(theirs)


def job(root: Path, sshd: Sshd) -> float:
    """From a new connection to the log of a job that has ended, its code there already, the agent too."""
    del sshd
    store = ContentStore(root / "store", Settings())
    (root / "small").mkdir()
    (root / "small" / "train.py").write_text("print('hello')")
    digest = store.put(root / "small").digest
    theirs, ours, here = [], [], []
    for number in range(COMMAND_ROUNDS):
        far = SshTransport(SshHost("host", folder=f"{root}/far"))
        theirs.append(timed(lambda: shell("ssh host true")))
        ours.append(timed(lambda: echo(far, store, digest, f"{root}/far-{number}")))  # noqa: B023
        here.append(timed(lambda: echo(LocalTransport(), store, digest, f"{root}/here-{number}")))  # noqa: B023
    return statistics.median(ours[1:]) / (3 * statistics.median(theirs) + statistics.median(here))


def echo(transport: Transport, store: ContentStore, digest: str, folder: str) -> None:
    backend = BatchBackend(transport, ProcessScheduler(), Settings())
    started = Job(backend, store, folder)
    started.run("echo hello", snapshot=digest)
    assert started.log() == b"hello\n"
    backend.close()


def end_to_end(root: Path) -> float:
    """What a person types, warm: the machine attached, the agent there."""
    home = root / "home"
    environment = {**os.environ, "MLCLI_HOME": str(home), "MLCLI_LOCAL_CONTAINER": "never"}

    def mlcli(*arguments: str) -> None:
        subprocess.run(
            [MLCLI, *arguments], check=True, cwd=root, env=environment, stdin=subprocess.DEVNULL, capture_output=True
        )

    machine = ("--type", "virtualmachine", "--address", "host", "--set", f"working_directory={root}/attached")
    mlcli("compute", "attach", "--name", "box", *machine)
    (root / "echo.yml").write_text("command: echo hello\nenvironment: current\ncompute: local\n")
    create = ("job", "create", "-f", "echo.yml", "--stream")
    theirs, ours, here = [], [], []
    for _ in range(COMMAND_ROUNDS):
        theirs.append(timed(lambda: shell("ssh host true")))
        here.append(timed(lambda: mlcli(*create)))
        ours.append(timed(lambda: mlcli(*create, "--set", "compute=azureml:box")))
    return statistics.median(ours[1:]) / (3 * statistics.median(theirs) + statistics.median(here))


def shell(line: str) -> None:
    subprocess.run(line, shell=True, check=True, stdin=subprocess.DEVNULL)


def timed(act: Callable[[], object]) -> float:
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


if __name__ == "__main__":
    for name, value, limit in run():
        print(f"{value:8.2f}  (limit {limit:g})  {name}")
