"""Passwords and passphrases for SSH: asked for where a person keeps them, never written to a file of ours.

In this order: what a command line gave, the variables ``MLCLI_SSH_PASSWORD`` and ``MLCLI_SSH_PASSPHRASE``, the system's keyring, a
question at the terminal. What was typed serves the whole process, and the supervisors that it starts: they inherit a pipe.
"""

from __future__ import annotations

import json
import os
import stat
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Any

from mlcli.domain.compute import SshHost

SERVICE = "mlcli-ssh"
VARIABLES = {"password": "MLCLI_SSH_PASSWORD", "passphrase": "MLCLI_SSH_PASSPHRASE"}
_PIPE = "_MLCLI_SSH_SECRETS"
_PROMPTS = {"password": "Password of {}: ", "passphrase": "Passphrase of the key {}: "}

_typed: dict[tuple[str, str], str] = {}
_one_at_a_time = threading.RLock()


class Secrets:
    """Answers ``secrets(kind, subject)``: the ``password`` of ``user@address:port``, the ``passphrase`` of a key file, or the
    ``answer`` to a question of the host's; None when nobody knows it.

    ``given``: kind -> secret, from a command line or a file. ``ask``: whether a person at the terminal may be asked.
    """

    def __init__(self, host: SshHost, *, given: Mapping[str, str] | None = None, ask: bool = True) -> None:
        self._host = host
        self._given = dict(given or {})
        self._ask = ask
        self._fresh: dict[tuple[str, str], str] = {}

    def __call__(self, kind: str, subject: str) -> str | None:
        """The secret, None when nobody knows it."""
        with _one_at_a_time:
            if kind == "answer":  # a one-time code: good for once
                return self._asked(subject)
            return self._known(kind, subject) or self._typed_now(kind, subject)

    def keep(self) -> dict[tuple[str, str], bool]:
        """Put what was given or typed, and was needed, into the keyring: (kind, subject) -> whether it is there now."""
        return {key: remember(*key, secret) for key, secret in self._fresh.items()}

    def _known(self, kind: str, subject: str) -> str | None:
        if kind in self._given:
            self._fresh[kind, subject] = self._given[kind]
            return self._given[kind]
        _take_over()
        return os.environ.get(VARIABLES[kind]) or _typed.get((kind, subject)) or _recalled(kind, subject)

    def _typed_now(self, kind: str, subject: str) -> str | None:
        way = "" if kind == "passphrase" or self._host.address in subject else f" (for {self._host})"
        told = self._asked(_PROMPTS[kind].format(subject + way))
        if told is not None:
            _typed[kind, subject] = self._fresh[kind, subject] = told
        return told

    def _asked(self, prompt: str) -> str | None:
        if not self._ask or not sys.stdin.isatty():
            return None
        from getpass import getpass

        try:
            return getpass(prompt) or None
        except EOFError:
            return None


def secrets_for(host: SshHost, *, given: Mapping[str, str] | None = None, ask: bool = True) -> Secrets:
    """Where a transport to ``host`` gets its secrets from; see :class:`Secrets`."""
    return Secrets(host, given=given, ask=ask)


def remember(kind: str, subject: str, secret: str) -> bool:
    """Put a secret into the system's keyring; False when there is none, or it refuses."""
    keyring = _keyring()
    if keyring is None:
        return False
    try:
        keyring.set_password(SERVICE, _entry(kind, subject), secret)
    except Exception:  # noqa: BLE001  (each backend raises its own)
        return False
    return True


def _recalled(kind: str, subject: str) -> str | None:
    keyring = _keyring()
    if keyring is None:
        return None
    try:
        found: str | None = keyring.get_password(SERVICE, _entry(kind, subject))
    except Exception:  # noqa: BLE001  (locked, gone: then it is asked for)
        return None
    return found


def _entry(kind: str, subject: str) -> str:
    """The name under which the keyring has it: ``ann@box:22``, or the key's file."""
    return os.path.abspath(subject) if kind == "passphrase" else subject  # noqa: PTH100


def _keyring() -> Any:
    """The keyring's backend, None where there is none."""
    try:
        import keyring
        from keyring.backends import fail, null

        backend = keyring.get_keyring()
    except Exception:  # noqa: BLE001  (not installed, or its configuration names what is not there)
        return None
    return None if isinstance(backend, (fail.Keyring, null.Keyring)) else backend


@contextmanager
def to_child() -> Iterator[tuple[dict[str, str], tuple[int, ...]]]:
    """What a process that we start needs to know what was typed here: variables for its environment, and descriptors that
    it inherits. Close to nothing when nothing was typed.
    """
    _take_over()
    if not _typed:
        yield {}, ()
        return
    reader = _pipe_with(json.dumps([[*key, secret] for key, secret in _typed.items()]).encode())
    try:
        yield {_PIPE: _named(reader)}, (reader,)
    finally:
        os.close(reader)


@lru_cache(maxsize=1)
def _take_over() -> None:
    """What was typed at our parent. It stays in the pipe, for the program that this process may become."""
    number, _, _ = os.environ.get(_PIPE, "").partition(":")
    if not number.isdecimal() or _named(int(number)) != os.environ[_PIPE]:
        os.environ.pop(_PIPE, None)  # of our parent's life, not of ours
        return
    reader = int(number)
    with os.fdopen(reader, "rb", closefd=False) as pipe:
        data = pipe.read()
    again = _pipe_with(data)
    os.dup2(again, reader, inheritable=True)
    os.close(again)
    os.environ[_PIPE] = _named(reader)
    for kind, subject, secret in json.loads(data):
        _typed.setdefault((kind, subject), secret)


def _pipe_with(data: bytes) -> int:
    reader, writer = os.pipe()
    with os.fdopen(writer, "wb") as pipe:
        pipe.write(data)
    return reader


def _named(reader: int) -> str:
    """``number:inode`` of a pipe, so that no other file that has the number is taken for it."""
    with suppress(OSError):
        facts = os.fstat(reader)
        if stat.S_ISFIFO(facts.st_mode):
            return f"{reader}:{facts.st_ino}"
    return ""
