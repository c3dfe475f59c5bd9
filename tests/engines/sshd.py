"""SSH hosts: real sshd, reached by the ``ssh`` command and by paramiko without a word about keys on a command line.

``ssh_host``        One on a port of the loopback, as the user who runs the tests (no root needed).
``make_ssh_host``   Makes hosts that are odd in some way: other options of sshd, users with other shells, small disks.
``ssh_hosts``       ``h1``, ``h2``, ``h3``: each in its own network namespace with its own address; can be cut off, mended and made odd.
``docker_over_ssh`` The session's Docker Engine as ``ssh://USER@127.0.0.1:PORT``.

A command finds host names, keys and known hosts through ``environment``: put it into the command's environment. Its PATH has an
``ssh`` first that reads our configuration (OpenSSH looks into the password file for the home folder, not at HOME); its HOME has the
same configuration as ``.ssh/config``, for paramiko and whoever else expands ``~``.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shlex
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from tests.engines import Unavailable, engine_or_skip
from tests.engines.disposable import disposable_folder, end, processes_in, processes_naming
from tests.engines.docker import DockerEngine
from tests.engines.network import Network, network
from tests.engines.packages import must, needed, program, root_is_needed

READY_WITHIN_S = 20.0
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class SshHost:
    """One sshd. ``name`` is what a person types: ``ssh h1``. ``namespace`` is None on the loopback.

    ``options``: lines of sshd_config that go before ours. ``prepare``: a script of sh that is run before sshd starts, in a mount
    namespace of their own, so that what it mounts nobody else sees.
    """

    name: str
    address: str
    port: int
    folder: Path
    namespace: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    options: Sequence[str] = ()
    prepare: str = ""

    @property
    def user(self) -> str:
        return getpass.getuser()

    @property
    def url(self) -> str:
        return f"ssh://{self.user}@{self.address}:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """What a command needs in its environment to reach this host and its neighbours by name."""
        return {"PATH": f"{self.folder}/bin:{os.environ['PATH']}", "HOME": f"{self.folder}/home"}

    def run(self, *argv: str, timeout_s: float = 30.0) -> subprocess.CompletedProcess[str]:
        """A command on this host, through ssh. 255 when there is no way to it."""
        return subprocess.run(
            ["ssh", self.name, shlex.join(argv)],
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def start(self) -> None:
        """Start its sshd, and wait until it greets. Raises Unavailable with the end of its log."""
        enter = [program("ip"), "netns", "exec", self.namespace] if self.namespace else []
        argv = [program("sshd"), "-D", "-f", str(self._configuration), "-E", str(self._log)]
        if self.prepare:
            script = f"set -e\nmount --make-rprivate /\n{self.prepare}\nexec {shlex.join(argv)}"
            argv = [program("unshare"), "--mount", "/bin/sh", "-c", script]
        argv = [*enter, *argv]
        silence = [(os.POSIX_SPAWN_OPEN, stream, os.devnull, os.O_RDWR, 0) for stream in range(3)]
        pid = os.posix_spawn(argv[0], argv, os.environ, file_actions=silence, setsid=True)
        deadline = time.monotonic() + READY_WITHIN_S
        while not self._greets():
            gone, _ = os.waitpid(pid, os.WNOHANG)
            if gone or time.monotonic() > deadline:
                lines = self._log.read_text("utf-8", "replace").splitlines() if self._log.exists() else []
                raise Unavailable(f"sshd does not start: {' | '.join(lines[-5:])}")
            time.sleep(0.02)

    def stop(self) -> None:
        """End its sshd, and what runs through it: every connection breaks."""
        end(processes_in(self.namespace) if self.namespace else processes_naming(self._configuration))

    def write_configuration(self) -> None:
        self._configuration.write_text(
            "\n".join(
                [
                    *self.options,
                    f"ListenAddress {self.address}:{self.port}",
                    f"HostKey {self.folder}/host_key",
                    f"AuthorizedKeysFile {self.folder}/user_key.pub",
                    f"PidFile {self.folder}/{self.name}.pid",
                    "StrictModes no",  # the keys are below /tmp
                    "UsePAM no",
                    "PasswordAuthentication no",
                    "PermitRootLogin prohibit-password",
                    "MaxStartups 200",
                    "MaxSessions 200",
                    "Subsystem sftp internal-sftp",
                    # One directive only: sshd takes the first and passes over the others.
                    *(
                        ["SetEnv " + " ".join(f'"{k}={v}"' for k, v in self.variables.items())]
                        if self.variables
                        else []
                    ),
                    "",
                ]
            ),
            "utf-8",
        )

    @property
    def _configuration(self) -> Path:
        return self.folder / f"{self.name}.sshd_config"

    @property
    def _log(self) -> Path:
        return self.folder / f"{self.name}.log"

    def _greets(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection((self.address, self.port), timeout=2) as connection:
            return connection.recv(4) == b"SSH-"
        return False


@dataclass(frozen=True)
class SshHosts:
    """Several hosts in one network: ``hosts["h1"]``. ``wires.address`` is this machine's address in it."""

    hosts: Mapping[str, SshHost]
    wires: Network

    def __getitem__(self, name: str) -> SshHost:
        return self.hosts[name]

    def __iter__(self) -> Iterator[SshHost]:
        return iter(self.hosts.values())

    @property
    def environment(self) -> dict[str, str]:
        return next(iter(self)).environment

    def cut(self, name: str) -> None:
        """Pull its cable: nothing arrives, nobody is told."""
        self.wires.cut(name)

    def mend(self, name: str) -> None:
        self.wires.mend(name)

    def start(self, name: str) -> None:
        self[name].start()

    def stop(self, name: str) -> None:
        """End its sshd and every process on it, as a power cut does (its disk is this machine's)."""
        self[name].stop()

    def change(
        self,
        name: str,
        variables: Mapping[str, str] | None = None,
        *,
        options: Sequence[str] = (),
        accounts: Sequence[Account] = (),
        prepare: str = "",
    ) -> SshHost:
        """Start a host anew as another kind of machine, as :func:`one_ssh_host` has them; without arguments, as it was."""
        self.stop(name)
        host = _odd(self[name], variables or {}, options, accounts, prepare)
        host.write_configuration()
        host.start()
        return host


@dataclass(frozen=True)
class Account:
    """A user of one host alone: root by another name. Without a password it has none. ``rc``: its home's dot files."""

    name: str
    shell: str = "/bin/sh"
    home: str = "home"
    password: str = ""
    rc: Mapping[str, str] = field(default_factory=dict)


@contextlib.contextmanager
def one_ssh_host(
    variables: Mapping[str, str] | None = None,
    *,
    options: Sequence[str] = (),
    accounts: Sequence[Account] = (),
    prepare: str = "",
) -> Iterator[SshHost]:
    """An sshd on the loopback. ``variables`` are set for every command that runs through it. Raises Unavailable.

    ``accounts``: users of this host alone (needs root), their homes below ``host.folder``. ``prepare``: as for
    :class:`SshHost`; it is run in ``host.folder``.
    """
    with disposable_folder() as folder:
        _make_keys(folder)
        host = _odd(SshHost("host", LOOPBACK, _free_port(), folder), variables or {}, options, accounts, prepare)
        _write_client_configuration(folder, [host])
        host.write_configuration()
        host.start()
        yield host


@contextlib.contextmanager
def network_of_ssh_hosts(count: int) -> Iterator[SshHosts]:
    """Hosts ``h1``, ``h2``, ... with an sshd each. Raises Unavailable."""
    with disposable_folder() as folder, network(folder) as wires:
        _make_keys(folder)
        hosts = [
            SshHost(name, address, 22, folder, namespace) for name, (namespace, address) in _machines(wires, count)
        ]
        _write_client_configuration(folder, hosts)
        for host in hosts:
            host.write_configuration()
            host.start()
        yield SshHosts({host.name: host for host in hosts}, wires)


def _odd(
    host: SshHost, variables: Mapping[str, str], options: Sequence[str], accounts: Sequence[Account], prepare: str
) -> SshHost:
    script = "\n".join([f"cd {host.folder}", *_make_accounts(host.folder, accounts), prepare])
    return replace(
        host,
        variables=variables,
        options=(*options, *(["PermitRootLogin yes"] if accounts else [])),
        prepare=script if accounts or prepare else "",
    )


def _machines(wires: Network, count: int) -> Iterator[tuple[str, tuple[str, str]]]:
    for number in range(1, count + 1):
        yield f"h{number}", wires.plug_in(f"h{number}", number)


@pytest.fixture(scope="session")
def ssh_host() -> Iterator[SshHost]:
    """One sshd on the loopback, as the user who runs the tests."""
    with contextlib.ExitStack() as stack:
        with engine_or_skip("sshd"):
            host = stack.enter_context(one_ssh_host())
        yield host


@pytest.fixture
def make_ssh_host() -> Iterator[Callable[..., SshHost]]:
    """``make_ssh_host(options=[...], accounts=[...], prepare="...")``: hosts of this test's own, see :func:`one_ssh_host`."""
    with contextlib.ExitStack() as stack:

        def make(**wanted: Any) -> SshHost:
            with engine_or_skip("sshd"):
                return stack.enter_context(one_ssh_host(**wanted))

        yield make


@pytest.fixture
def ssh_hosts() -> Iterator[SshHosts]:
    """Three hosts of this test's own: h1, h2, h3."""
    with contextlib.ExitStack() as stack:
        with engine_or_skip("network of sshd hosts"):
            hosts = stack.enter_context(network_of_ssh_hosts(3))
        yield hosts


@dataclass(frozen=True)
class DockerOverSsh:
    """``base_url`` (``ssh://...``) and the ``environment`` (PATH, HOME, DOCKER_HOST) in which a command can use it."""

    host: SshHost
    engine: DockerEngine

    @property
    def base_url(self) -> str:
        return self.host.url

    @property
    def environment(self) -> dict[str, str]:
        return {**self.host.environment, "DOCKER_HOST": self.base_url}


@pytest.fixture(scope="session")
def docker_over_ssh(docker_engine: DockerEngine) -> Iterator[DockerOverSsh]:
    """The session's engine behind SSH: the far side's ``docker`` talks to it."""
    with contextlib.ExitStack() as stack:
        with engine_or_skip("sshd"):
            needed("docker")
            host = stack.enter_context(one_ssh_host(docker_engine.environment))
        yield DockerOverSsh(host, docker_engine)


def _make_accounts(folder: Path, accounts: Sequence[Account]) -> list[str]:
    """Their homes, and the commands that make them known where the host looks for users."""
    if not accounts:
        return []
    root_is_needed("making users")
    lines = {"passwd": Path("/etc/passwd").read_text("utf-8"), "shadow": Path("/etc/shadow").read_text("utf-8")}
    for account in accounts:
        home = folder / account.home
        home.mkdir(exist_ok=True)
        for name, text in account.rc.items():
            (home / name).parent.mkdir(parents=True, exist_ok=True)
            (home / name).write_text(text, "utf-8")
        lines["passwd"] += f"{account.name}:x:0:0::{home}:{account.shell}\n"
        lines["shadow"] += f"{account.name}:{_hashed(account.password)}:19000:0:99999:7:::\n"
    for name, text in lines.items():
        (folder / name).write_text(text, "utf-8")
    return [f"mount --bind {folder}/{name} /etc/{name}" for name in lines]


def _hashed(password: str) -> str:
    if not password:
        return "*"
    argv = [program("openssl"), "passwd", "-6", "-stdin"]
    return subprocess.run(argv, input=password, capture_output=True, text=True, check=True).stdout.strip()


def _make_keys(folder: Path) -> None:
    needed("ssh", "ssh-keygen", "sshd")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd of root refuses to start without it
    for name in ("host_key", "user_key"):
        must([program("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)])


def _write_client_configuration(folder: Path, hosts: list[SshHost]) -> None:
    """known_hosts, the configuration, and an ``ssh`` that reads it."""
    host_key = (folder / "host_key.pub").read_text("utf-8").strip()
    names = [f"[{host.address}]:{host.port},{host.address},{host.name}" for host in hosts]
    (folder / "known_hosts").write_text("".join(f"{name} {host_key}\n" for name in names), "utf-8")
    lines = [
        line
        for host in hosts
        for line in (
            f"Host {host.name}",
            f"  HostName {host.address}",
            f"  Port {host.port}",
        )
    ]
    lines += [
        "Host *",
        f"  User {getpass.getuser()}",
        f"  IdentityFile {folder}/user_key",
        "  IdentitiesOnly yes",
        f"  UserKnownHostsFile {folder}/known_hosts",
        "  StrictHostKeyChecking yes",
        "  BatchMode yes",
        "  ConnectTimeout 2",
    ]
    configuration = folder / "home" / ".ssh" / "config"
    configuration.parent.mkdir(parents=True, mode=0o700)
    configuration.write_text("\n".join([*lines, ""]), "utf-8")
    for name in ("ssh", "scp", "sftp"):
        wrapper = folder / "bin" / name
        wrapper.parent.mkdir(exist_ok=True)
        wrapper.write_text(f'#!/bin/sh\nexec {shlex.quote(program(name))} -F {configuration} "$@"\n', "utf-8")
        wrapper.chmod(0o755)


def _free_port() -> int:
    with socket.create_server((LOOPBACK, 0)) as probe:
        return int(probe.getsockname()[1])
