"""A connection to an SSH host, logged in: name, socket, jump hosts, host key, authentication."""

from __future__ import annotations

import contextlib
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mlcli.domain.compute import SshHost
from mlcli.domain.errors import HostKeyError, TransportError
from mlcli.transports._dial import dialled
from mlcli.transports._known_hosts import HostKey, check, look_up, parse_pin
from mlcli.transports._paramiko import paramiko
from mlcli.transports._ssh_config import Hop, Question, host_of_jump

Secrets = Callable[[str, str], "str | None"]
"""``secrets(kind, subject)``: the ``passphrase`` of a key file, the ``password`` of ``user@address:port``, or the ``answer`` to a
question of the host's; None when nobody knows it.
"""

AUTHENTICATION_S = 60.0
_FAST_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")


class HungUpError(TransportError):
    """A host ended the connection before there was anything to do on it: it has too many of them, most likely."""


class Connection:
    """The way to a host, through others where there are some. ``host_key``: the key that it showed; ``address``: where it was
    reached (``10.0.0.7:22``); ``login``: what let us in (``the key ~/.ssh/id_ed25519 (SHA256:...)``).
    """

    def __init__(self) -> None:
        self._transports: list[Any] = []
        self._sockets: list[Any] = []
        self._processes: list[subprocess.Popen[Any]] = []
        self.host_key = ""
        self.address = ""
        self.login = ""

    @property
    def transport(self) -> Any:
        """The last hop's."""
        return self._transports[-1]

    def add(self, hop: Hop, pin: HostKey | None, secrets: Secrets) -> None:
        """One host further. Raises TransportError."""
        stream = self._stream(hop)
        self._sockets.append(stream)
        transport = _negotiate(hop, stream, pin)
        self._transports.append(transport)
        self.host_key = str(_shown(transport))
        self.address = f"{hop.address}:{hop.port}"
        self.login = _Login(hop, transport, secrets).do()
        transport.set_keepalive(int(hop.keep_alive_s))

    def _stream(self, hop: Hop) -> Any:
        if self._transports:
            return self._through(hop)
        if hop.proxy_command is not None:
            near, far = socket.socketpair()
            with far:
                self._processes.append(
                    subprocess.Popen(
                        ["/bin/sh", "-c", f"exec {hop.proxy_command}"], stdin=far.fileno(), stdout=far.fileno()
                    )
                )
            return near
        return dialled(hop)

    def _through(self, hop: Hop) -> Any:
        before = self._transports[-1]
        try:
            return before.open_channel(
                "direct-tcpip", (hop.address, hop.port), ("127.0.0.1", 0), timeout=hop.connect_timeout_s
            )
        except paramiko().SSHException as refused:
            raise TransportError(
                f"{hop}: the jump host before it cannot reach it: {refused.args[-1]}",
                transient=True,
                hint="check the address; the jump host must allow forwarding (AllowTcpForwarding in its sshd_config)",
            ) from None

    def close(self, *, abrupt: bool = False) -> None:
        """``abrupt``: what was not sent yet never will be, so that nothing old arrives after a new connection is up."""
        for stream in self._sockets[:1]:
            with contextlib.suppress(OSError):
                if abrupt:
                    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                stream.shutdown(socket.SHUT_RD)  # wakes paramiko's thread, which looks only ten times a second
        for link in (*self._transports, *self._sockets):
            with contextlib.suppress(paramiko().SSHException, EOFError, OSError):  # it says goodbye on a dead line
                link.close()
        for process in self._processes:
            process.terminate()
            process.wait()
        self._transports, self._sockets, self._processes = [], [], []


def connect(host: SshHost, secrets: Secrets) -> Connection:
    """Reach the host and log in. Raises TransportError: transient when nobody answered, not when somebody said no."""
    question = Question(host)  # ssh reads its configuration while Python imports paramiko
    paramiko()
    hop = question.hop()
    connection = Connection()
    try:
        for before in _hops_before(hop):
            _jump(connection, before, secrets)
        connection.add(hop, _pin(host), secrets)
    except BaseException:
        connection.close(abrupt=True)
        raise
    return connection


def _jump(connection: Connection, hop: Hop, secrets: Secrets) -> None:
    """Through a host on the way. Its key is for known_hosts to say: what is accepted is the last host's."""
    try:
        connection.add(hop, None, secrets)
    except HostKeyError as unknown:
        raise HostKeyError(
            f"on the way: {unknown.message}",
            key=unknown.key,
            changed=unknown.changed,
            hint=f"a jump host's key must stand in known_hosts: `ssh {hop.name}` shows it, and asks whether to accept it",
        ) from None


def _hops_before(hop: Hop) -> Iterator[Hop]:
    """The jump hosts, and those that the first of them needs by its own configuration."""
    for number, text in enumerate(hop.jumps):
        before = Question(host_of_jump(text)).hop()
        if number == 0:
            yield from _hops_before(before)
        yield before


def _pin(host: SshHost) -> HostKey | None:
    if host.host_key is None:
        return None
    try:
        return parse_pin(host.host_key)
    except ValueError:
        raise TransportError(
            f"{host}: {host.host_key!r} is not a host key",
            transient=False,
            hint="give a fingerprint (SHA256:...) or a public key (ssh-ed25519 AAAA...)",
        ) from None


def _negotiate(hop: Hop, stream: Any, pin: HostKey | None) -> Any:
    """Agree on ciphers, and check the host key before a word of ours is said."""
    known = look_up(hop.names, hop.known_hosts)
    # Not its ServiceRequestingTransport, which sleeps 0.1 s, and misses an answer that comes fast.
    transport = paramiko().Transport(stream)
    transport.banner_timeout = transport.handshake_timeout = hop.connect_timeout_s
    transport.auth_timeout = AUTHENTICATION_S
    options = transport.get_security_options()
    options.ciphers = _first(_FAST_CIPHERS, options.ciphers)
    options.key_types = _first(_algorithms(known.kinds if pin is None else (pin.kind,)), options.key_types)
    if hop.compression:
        transport.use_compression()
    try:
        transport.start_client(timeout=hop.connect_timeout_s)
        shown = _shown(transport)
    except (paramiko().SSHException, EOFError, OSError) as failed:
        transport.close()
        raise _no_greeting(hop, failed) from None
    try:
        check(str(hop), shown, known, pin)
    except HostKeyError:
        transport.close()
        raise
    return transport


def _no_greeting(hop: Hop, failed: Exception) -> TransportError:
    if isinstance(failed, paramiko().IncompatiblePeer):
        return TransportError(
            f"{hop}: no algorithm in common with its sshd: {failed}", transient=False, hint="its OpenSSH is too old"
        )
    if "banner" in str(failed) and "timed out" not in str(failed) and not isinstance(failed, EOFError):
        why = "it hung up before it greeted (too many at once, a proxy that failed), or what listens there is no sshd"
    else:
        why = f"it ended the connection before the login ({str(failed) or 'no reason given'})"
    return HungUpError(f"{hop}: {why}", transient=True, hint="try again; `ssh -v` tells more")


def _first(wanted: Sequence[str], all_of_them: Sequence[str]) -> tuple[str, ...]:
    return (*(one for one in wanted if one in all_of_them), *(one for one in all_of_them if one not in wanted))


def _algorithms(kinds: Sequence[str]) -> list[str]:
    """Signature algorithms for kinds of key; an RSA key signs with SHA-2."""
    return [one for kind in kinds for one in (("rsa-sha2-512", "rsa-sha2-256") if kind == "ssh-rsa" else (kind,))]


def _shown(transport: Any) -> HostKey:
    key = transport.get_remote_server_key()
    return HostKey(key.get_name(), key.get_base64())


class _Login:
    """Authentication on one host: keys first, then what somebody must be asked for."""

    def __init__(self, hop: Hop, transport: Any, secrets: Secrets) -> None:
        self._hop = hop
        self._transport: Any = transport
        self._secrets = secrets
        self._tried: list[str] = []
        self._problems: list[str] = []
        self._unanswered: list[str] = []
        self._allowed: list[str] = []

    def do(self) -> str:
        """Log in; what let us in. Raises TransportError that lists what was tried."""
        try:
            if not (any(self._offer(*key) for key in self._keys()) or self._ask()):
                raise self._refused()
            return self._tried[-1]
        except (paramiko().SSHException, EOFError, OSError) as failed:
            raise self._broken(failed) from None

    def _try(self, what: str, method: Callable[..., list[str]], *arguments: Any) -> bool:
        """One method; whether it was the last that is wanted."""
        self._tried.append(what)
        try:
            left = method(self._hop.user, *arguments)
        except paramiko().BadAuthenticationType as refused:
            self._allowed = list(refused.allowed_types)
            self._tried.pop()
            return False
        except paramiko().AuthenticationException:
            if not self._transport.is_active():
                raise
            return False
        self._allowed = left
        return not left

    def _offer(self, what: str, load: Callable[[], Any]) -> bool:
        if self._allowed and "publickey" not in self._allowed:
            return False
        key = load()
        return key is not None and self._try(f"{what} ({_fingerprint(key)})", self._transport.auth_publickey, key)

    def _keys(self) -> Iterator[tuple[str, Callable[[], Any]]]:
        """(what it is, how to load it): the agent's first where any may be offered, for they need no passphrase."""
        files = [Path(file) for file in self._hop.key_files]
        wanted = {_public(file) for file in files} - {""}
        for key in self._agent_keys():
            if not self._hop.explicit_keys or key.get_base64() in wanted:
                yield f"the ssh-agent's key {key.comment}".rstrip(), partial(_itself, key)
        for file in files:
            if file.exists() or self._is_demanded():
                yield f"the key {file}", partial(self._load, file)

    def _is_demanded(self) -> bool:
        return self._hop.explicit_keys and len(self._hop.key_files) == 1

    def _agent_keys(self) -> Sequence[Any]:
        if not self._hop.agent:
            return ()
        from paramiko import SSHException
        from paramiko.agent import AgentSSH

        agent: Any = AgentSSH()
        stream = socket.socket(socket.AF_UNIX)
        try:
            stream.connect(self._hop.agent)
            agent._connect(stream)  # noqa: SLF001  (paramiko's own Agent looks at SSH_AUTH_SOCK only)
        except (OSError, SSHException):
            stream.close()
            return ()
        keys: Sequence[Any] = agent.get_keys()
        return keys

    def _load(self, file: Path) -> Any:
        """The private key of a file, None when it cannot be had (then a problem is noted)."""
        try:
            return _read_key(file, None)
        except OSError as unreadable:
            self._problems.append(f"the key {file} cannot be read: {unreadable.strerror}")
        except _LockedKeyError:
            return self._unlock(file)
        except ValueError as odd:
            self._problems.append(f"{file} is not a private key that can be used ({odd})")
        return None

    def _unlock(self, file: Path) -> Any:
        passphrase = self._secrets("passphrase", str(file))
        if passphrase is None:
            self._problems.append(f"the key {file} has a passphrase, and nobody gave it")
            self._unanswered.append("passphrase")
            return None
        try:
            return _read_key(file, passphrase)
        except (ValueError, _LockedKeyError):
            self._problems.append(f"the passphrase of the key {file} is wrong")
            return None

    def _ask(self) -> bool:
        """By password or by questions, when the host takes them."""
        if not self._allowed and self._try("no password at all", self._transport.auth_none):
            return True
        if not {"password", "keyboard-interactive"} & set(self._allowed):
            return False
        password = self._secrets("password", f"{self._hop.user}@{self._hop.address}:{self._hop.port}")
        if password is None:
            self._problems.append("it takes a password, and nobody gave one")
            self._unanswered.append("password")
            return False
        if "password" in self._allowed:
            return self._try("the password", self._transport.auth_password, password, None, False)
        return self._try("the password", self._transport.auth_interactive, self._answers(password))

    def _answers(self, password: str) -> Callable[[str, str, Sequence[tuple[str, bool]]], list[str]]:
        """What to say to a host's questions: the password to the first hidden one; the others are put to the person."""
        left = [password]

        def answer(title: str, instructions: str, questions: Sequence[tuple[str, bool]]) -> list[str]:
            del title, instructions
            return [
                left.pop() if left and not echo else self._secrets("answer", text) or "" for text, echo in questions
            ]

        return answer

    def _refused(self) -> TransportError:
        tried = [one for one in self._tried if one != "no password at all"]
        parts = [
            f"tried: {', '.join(tried)}" if tried else "nothing was there to log in with",
            *([f"it takes: {', '.join(self._allowed)}"] if self._allowed else []),
            *self._problems,
        ]
        return TransportError(
            f"{self._hop}: the login as {self._hop.user} was refused; {'; '.join(parts)}",
            transient=False,
            hint=self._way_in(),
        )

    def _way_in(self) -> str:
        key = "check the user's name and the key (its public part must stand in ~/.ssh/authorized_keys there)"
        if not self._unanswered:
            return f"{key}, or the password"
        what = self._unanswered[0]
        ways = (
            f"the variable MLCLI_SSH_{what.upper()}, the system's keyring (`mlcli compute attach` puts it there), "
            "or a terminal, where you are asked"
        )
        if what == "passphrase":
            return f"give the passphrase in one of three ways: {ways}; an ssh-agent that has the key needs none"
        return f"{key}; or give the password in one of three ways: {ways}"

    def _broken(self, failed: Exception) -> TransportError:
        if len(self._tried) > 4 or "too many" in str(failed).lower():
            return TransportError(
                f"{self._hop}: it hung up after {len(self._tried)} attempts to log in as {self._hop.user}: "
                f"{', '.join(self._tried)}",
                transient=False,
                hint="name the one key that is right (IdentityFile and IdentitiesOnly in ~/.ssh/config)",
            )
        return TransportError(
            f"{self._hop}: the connection ended during the login ({str(failed) or 'no reason given'})", transient=True
        )


def _itself(key: Any) -> Any:
    return key


class _LockedKeyError(Exception):
    """A private key has a passphrase."""


def _read_key(file: Path, passphrase: str | None) -> Any:
    """A private key. Raises OSError, ValueError (not a key, or the wrong passphrase) and _LockedKeyError."""
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        return paramiko().PKey.from_path(str(file), None if passphrase is None else passphrase.encode())
    except (TypeError, paramiko().PasswordRequiredException):
        raise _LockedKeyError from None
    except paramiko().UnknownKeyType:
        raise ValueError("a kind of key that is not known") from None
    except (paramiko().SSHException, UnsupportedAlgorithm) as odd:
        raise ValueError(str(odd)) from None


def _public(file: Path) -> str:
    """The public key beside a private one, in base64; empty when there is none."""
    try:
        return file.with_name(file.name + ".pub").read_text("utf-8").split()[1]
    except (OSError, ValueError, IndexError):
        return ""


def _fingerprint(key: Any) -> str:
    return HostKey(key.get_name(), key.get_base64()).fingerprint
