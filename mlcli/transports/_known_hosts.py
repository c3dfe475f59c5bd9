"""Which host keys are known: OpenSSH's known_hosts files, read as OpenSSH reads them, and what is to be said of a key.

paramiko's own reader knows neither revoked keys nor patterns, and makes a key object of every line.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from mlcli.domain.compute import fingerprint
from mlcli.domain.errors import HostKeyError

STANDARD_PORT = 22


@dataclass(frozen=True)
class HostKey:
    """A public key: its kind (``ssh-ed25519``) and its bytes in base64."""

    kind: str
    data: str

    def __str__(self) -> str:
        return f"{self.kind} {self.data}"

    @property
    def fingerprint(self) -> str:
        """``SHA256:...``, as ``ssh-keygen -l`` prints it; empty for what is no base64."""
        return fingerprint(str(self))


@dataclass(frozen=True)
class Known:
    """What is known of a host. ``place``: file and line of each key, for the person who must correct one."""

    keys: tuple[HostKey, ...] = ()
    revoked: tuple[HostKey, ...] = ()
    places: tuple[str, ...] = ()

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of key that it may be asked for."""
        return tuple(dict.fromkeys(key.kind for key in self.keys))


def parse_pin(text: str) -> HostKey:
    """A pinned key from ``ssh-ed25519 AAAA... comment``; from a bare fingerprint one of no kind. Raises ValueError."""
    words = text.split()
    if len(words) == 1 and words[0].startswith("SHA256:"):
        return HostKey("", words[0])
    if len(words) < 2:
        raise ValueError(text)
    return HostKey(words[0], words[1])


def look_up(names: Sequence[str], files: Iterable[str]) -> Known:
    """What the files know of a host under the first of ``names`` (``[h1]:2222``, ``h1``) that has keys there."""
    lines = [(place, line) for file in files for place, line in _lines(Path(file))]
    known = Known()
    for name in names:
        known = known_in(name, lines)
        if known.keys or known.revoked:
            break
    return known


def known_in(name: str, lines: Iterable[tuple[str, str]]) -> Known:
    """What lines, each with its place, know of a host name. Lines that mean nothing are passed over, as OpenSSH does."""
    keys, revoked, places = [], [], []
    for place, line in lines:
        words = line.split()
        marker = words.pop(0) if words and words[0].startswith("@") else ""
        if len(words) < 3 or words[0].startswith("#") or not _matches(name, words[0]):
            continue
        key = HostKey(words[1], words[2])
        if marker == "@revoked":
            revoked.append(key)
        elif not marker:
            keys.append(key)
            places.append(place)
    return Known(tuple(keys), tuple(revoked), tuple(places))


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    try:
        text = path.read_text("utf-8", "replace")
    except OSError:
        return
    for number, line in enumerate(text.splitlines(), start=1):
        yield f"{path}:{number}", line


def _matches(name: str, patterns: str) -> bool:
    if patterns.startswith("|1|"):
        return _is_hash_of(name, patterns)
    found = False
    for pattern in patterns.lower().split(","):
        if pattern.startswith("!"):
            if _fits(name, pattern[1:]):
                return False
        elif _fits(name, pattern):
            found = True
    return found


def _fits(name: str, pattern: str) -> bool:
    return fnmatchcase(name, pattern.replace("[", "[[]"))  # only * and ? mean something


def _is_hash_of(name: str, text: str) -> bool:
    try:
        _, _, salt, digest = text.split("|")
        expected = base64.b64decode(digest, validate=True)
        made = hmac.new(base64.b64decode(salt, validate=True), name.encode(), "sha1").digest()
    except (ValueError, binascii.Error):
        return False
    return hmac.compare_digest(made, expected)


def check(where: str, shown: HostKey, known: Known, pin: HostKey | None) -> None:
    """Accept the key that a host shows, or raise HostKeyError. ``where``: the host as a person knows it."""
    print_, text = shown.fingerprint, str(shown)
    if shown in known.revoked:
        raise HostKeyError(
            f"{where}: its host key is revoked in known_hosts ({shown.kind} {print_})",
            key=text,
            changed=True,
            hint="somebody may be listening: do not log in before its administrator has explained it",
        )
    if pin is not None:
        if shown == pin or pin.data == print_:
            return
        expected = pin.data if not pin.kind else f"{pin.kind} {pin.fingerprint}"
        raise _changed(where, shown, expected, "was accepted for it", f"--accept-host-key {print_}")
    if shown in known.keys:
        return
    if known.keys:
        key, place = known.keys[0], known.places[0]
        mend = f"delete {place} and pass --accept-host-key {print_}"
        raise _changed(where, shown, f"{key.kind} {key.fingerprint}", f"is known for it ({place})", mend)
    raise HostKeyError(
        f"{where}: its host key is not known: {shown.kind} {print_}",
        key=text,
        changed=False,
        hint=f"compare it with what the machine itself prints (ssh-keygen -lf /etc/ssh/ssh_host_{_short(shown.kind)}_key.pub), "
        f"then accept it: --accept-host-key {print_}",
    )


def _changed(where: str, shown: HostKey, expected: str, how: str, mend: str) -> HostKeyError:
    return HostKeyError(
        f"{where}: THE HOST KEY HAS CHANGED. It shows {shown.kind} {shown.fingerprint}, but {expected} {how}. "
        "Somebody may be listening, or the machine was installed anew; nothing was sent",
        key=str(shown),
        changed=True,
        hint=f"ask its administrator; only if the machine was installed anew, {mend}",
    )


def _short(kind: str) -> str:
    return "ed25519" if "ed25519" in kind else "ecdsa" if "ecdsa" in kind else "rsa"
