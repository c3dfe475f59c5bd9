"""Where jobs run: the values that describe a compute."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class SshHost:
    """A machine with an SSH port. No secret is in it; what is None is as ``~/.ssh/config`` says, else as ``ssh`` has it.

    ``address``: a name, an address, or a ``Host`` of ``~/.ssh/config``. ``key_file``: the private key, and then no other
    one is offered. ``jump``: hosts on the way, as ``ssh -J`` takes them. ``host_key``: the only key that the host may
    have, as text (``ssh-ed25519 AAAA...``) or as a fingerprint (``SHA256:...``); None: known_hosts tells
    (``known_hosts_file``, else the person's own). ``folder``: where mlcli keeps its own things there (default ``~/.mlcli``;
    an absolute path once it was attached). ``python``: the interpreter there (default: looked for).
    """

    address: str
    port: int | None = None
    user: str | None = None
    key_file: str | None = None
    jump: str | None = None
    host_key: str | None = None
    folder: str | None = None
    python: str | None = None
    known_hosts_file: str | None = None

    @property
    def key(self) -> str:
        """What makes it this host and not another, in 12 hex digits: how one logs in there may change."""
        import hashlib

        words = [self.address, str(self.port or ""), self.user or "", self.folder or ""]
        return hashlib.sha256("\0".join(words).encode("utf-8", "surrogateescape")).hexdigest()[:12]

    def __str__(self) -> str:
        user = f"{self.user}@" if self.user else ""
        port = f":{self.port}" if self.port else ""
        return f"{user}{self.address}{port}"


def fingerprint(key: str) -> str:
    """``SHA256:...`` of a public key (``ssh-ed25519 AAAA...``), as ``ssh-keygen -l`` prints it; empty for what is none."""
    import base64
    import binascii
    import hashlib

    try:
        raw = base64.b64decode(key.split()[1], validate=True)
    except (binascii.Error, ValueError, IndexError):
        return ""
    return "SHA256:" + base64.b64encode(hashlib.sha256(raw).digest()).decode().rstrip("=")


@dataclass(frozen=True)
class Compute:
    """A named place where the jobs of a workspace run.

    ``type``: ``amlcompute``, ``computeinstance``, ``local``, ``virtualmachine``, ... ``document``: its definition in today's
    words, no secret in it; the other fields are what mlcli reads from it. ``max_instances``: how many jobs run at once, None
    where nobody counts. ``size``: what one of its nodes is. ``idle_time_s``: seconds until an idle node is given back.
    ``tier``: ``dedicated`` or ``low_priority``. ``created_at``: seconds since the epoch, UTC. ``started``: a compute that is
    stopped starts no job; what runs goes on. ``machine``: what was found there when it was attached.
    """

    name: str
    type: str
    created_at: float
    description: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    size: str | None = None
    min_instances: int = 0
    max_instances: int | None = None
    idle_time_s: float = 120.0
    tier: str = "dedicated"
    ssh: SshHost | None = None
    started: bool = True
    machine: Mapping[str, Any] = field(default_factory=dict)
    document: Mapping[str, Any] = field(default_factory=dict)

    @property
    def has_queue(self) -> bool:
        """Whether its jobs wait for a free node."""
        return self.max_instances is not None
