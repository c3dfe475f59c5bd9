"""How to reach a host: what ``ssh`` itself makes of its configuration (``ssh -G``), with Include, Match and all."""

from __future__ import annotations

import getpass
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlcli.domain.compute import SshHost
from mlcli.domain.errors import TransportError, UsageError

CONNECT_TIMEOUT_S = 15.0
DIAL_S = 8.0
KEEP_ALIVE_S = 30.0
_FORBIDDEN = re.compile(r"[\s'\"`$\\;&<>|(){}\x00-\x1f\x7f]|^-|^$")
_SEVERAL = {"identityfile", "certificatefile"}


@dataclass(frozen=True)
class Hop:
    """One host on the way. ``names``: what known_hosts may call it. Times in seconds. ``explicit_keys``: no other key may
    be offered. ``agent``: the ssh-agent's socket, None for none. ``jumps``: the hosts before it, first one first.
    """

    name: str
    address: str
    port: int
    user: str
    names: tuple[str, ...]
    key_files: tuple[str, ...] = ()
    explicit_keys: bool = False
    agent: str | None = None
    known_hosts: tuple[str, ...] = ()
    connect_timeout_s: float = CONNECT_TIMEOUT_S
    keep_alive_s: float = KEEP_ALIVE_S
    compression: bool = False
    proxy_command: str | None = None
    jumps: tuple[str, ...] = ()

    @property
    def dial_s(self) -> float:
        """For the first answer of all: less by default, as whoever lists jobs waits for a machine that is off."""
        return DIAL_S if self.connect_timeout_s == CONNECT_TIMEOUT_S else self.connect_timeout_s

    def __str__(self) -> str:
        port = f":{self.port}" if self.port != 22 else ""
        there = self.address + port
        return self.name if self.name in (self.address, there) else f"{self.name} ({there})"


class Question:
    """``ssh -G`` under way for one host: asked when it is made, answered when the answer is needed."""

    def __init__(self, host: SshHost) -> None:
        _check(host)
        self._host = host
        program = shutil.which("ssh")
        self._process = None if program is None else self._ask(program)

    def _ask(self, program: str) -> subprocess.Popen[str]:
        host = self._host
        options = [("-p", host.port), ("-l", host.user), ("-i", host.key_file), ("-J", host.jump)]
        argv = [program, "-G", *(str(word) for option in options if option[1] is not None for word in option)]
        argv += ["-o", f'UserKnownHostsFile="{host.known_hosts_file}"'] if host.known_hosts_file is not None else []
        return subprocess.Popen(
            [*argv, "--", host.address],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="surrogateescape",
        )

    def hop(self) -> Hop:
        """The answer. Raises TransportError with ssh's own words (a mistake in the configuration)."""
        if self._process is None:
            return hop_of(self._host, _without_ssh(self._host))
        output, problems = self._process.communicate()
        if self._process.returncode != 0:
            lines = problems.strip().splitlines() or ["ssh -G said nothing"]
            raise TransportError(
                f"{self._host}: ssh cannot read its configuration: {lines[-1]}",
                transient=False,
                hint="correct that file; `ssh -G " + self._host.address + "` shows the same",
            )
        return hop_of(self._host, parse(output))


def parse(text: str) -> dict[str, list[str]]:
    """What ``ssh -G`` prints: keyword in small letters -> its values in order."""
    settings: dict[str, list[str]] = {}
    for line in text.splitlines():
        word, _, value = line.partition(" ")
        settings.setdefault(word.lower(), []).append(value)
    return settings


def hop_of(host: SshHost, settings: Mapping[str, Sequence[str]]) -> Hop:
    """The hop that settings describe. Environment variables (SSH_AUTH_SOCK) and the home folder are read here."""

    def one(word: str, default: str) -> str:
        values = settings.get(word, ())
        return values[0] if values and values[0] else default

    address, user, port = one("hostname", host.address), one("user", getpass.getuser()), int(one("port", "22"))
    tokens = {"%": "%", "h": address, "p": str(port), "r": user, "n": host.address, "u": getpass.getuser()}
    tokens["d"] = str(Path.home())
    alias = one("hostkeyalias", "")
    known = alias.lower() or address.lower()
    command = one("proxycommand", "none")
    jumps = one("proxyjump", "none")
    explicit = host.key_file is not None
    files = [host.key_file] if host.key_file is not None else settings.get("identityfile", ())
    return Hop(
        name=host.address,
        address=address,
        port=port,
        user=user,
        names=(known,) if alias or port == 22 else (f"[{known}]:{port}", known),
        key_files=tuple(_path(file, tokens) for file in files if file != "none"),
        explicit_keys=explicit or one("identitiesonly", "no") == "yes",
        agent=None if explicit else _agent(one("identityagent", "SSH_AUTH_SOCK"), tokens),
        known_hosts=tuple(
            _path(file, tokens)
            for word in ("userknownhostsfile", "globalknownhostsfile")
            for file in _paths(one(word, "none"))
        ),
        connect_timeout_s=_seconds(one("connecttimeout", "none"), CONNECT_TIMEOUT_S),
        keep_alive_s=_seconds(one("serveraliveinterval", "0"), KEEP_ALIVE_S),
        compression=one("compression", "no") == "yes",
        proxy_command=None if command == "none" else _expanded(command, tokens),
        jumps=() if jumps == "none" else tuple(jumps.split(",")),
    )


def host_of_jump(text: str) -> SshHost:
    """``user@host:port`` or ``ssh://user@host:port``, as ProxyJump takes it."""
    text = text.removeprefix("ssh://")
    user, _, place = text.rpartition("@")
    bracketed = re.fullmatch(r"\[(?P<address>[^]]+)\](:(?P<port>\d+))?|(?P<name>[^:]*)(:(?P<number>\d+))?", place)
    if bracketed is None:  # a bare IPv6 address
        return SshHost(place, user=user or None)
    port = bracketed["port"] or bracketed["number"]
    return SshHost(bracketed["address"] or bracketed["name"], int(port) if port else None, user or None)


def _check(host: SshHost) -> None:
    """Nothing that a shell or ssh's own command line would read as more than a name."""
    for what, text in (("address", host.address), ("user", host.user)):
        if text is not None and _FORBIDDEN.search(text):
            raise UsageError(f"{text!r} is not the {what} of an SSH host", hint="give it as in: ssh USER@ADDRESS")


def _without_ssh(host: SshHost) -> dict[str, list[str]]:
    """The defaults of ssh. Raises TransportError when there is a configuration that only ssh can read."""
    folder = Path.home() / ".ssh"
    if (folder / "config").exists():
        raise TransportError(
            f"{host}: the program ssh, which reads {folder / 'config'}, is not on the PATH",
            transient=False,
            hint="install OpenSSH's client",
        )
    return {
        **{word: [str(value)] for word, value in (("user", host.user), ("port", host.port)) if value is not None},
        "identityfile": [str(folder / name) for name in ("id_ed25519", "id_ecdsa", "id_rsa")],
        "userknownhostsfile": [host.known_hosts_file or str(folder / "known_hosts")],
        "globalknownhostsfile": ["/etc/ssh/ssh_known_hosts"],
        "proxyjump": [host.jump or "none"],
    }


def _paths(text: str) -> list[str]:
    """Several paths as ssh prints them: unquoted, so that only a space before an absolute path is a border."""
    return [] if text == "none" else re.split(r" (?=[/~])", text)


def _path(text: str, tokens: Mapping[str, str]) -> str:
    return os.path.expanduser(_expanded(text, tokens))  # noqa: PTH111  (ssh leaves a name without a home as it is)


def _expanded(text: str, tokens: Mapping[str, str]) -> str:
    return re.sub(r"%(.)", lambda found: tokens.get(found[1], found[0]), text)


def _agent(text: str, tokens: Mapping[str, str]) -> str | None:
    if text == "none":
        return None
    if text == "SSH_AUTH_SOCK":
        return os.environ.get("SSH_AUTH_SOCK")
    return os.environ.get(text[1:]) if text.startswith("$") else _path(text, tokens)


def _seconds(text: str, default: float) -> float:
    return float(text) if text.isdigit() and int(text) > 0 else default
