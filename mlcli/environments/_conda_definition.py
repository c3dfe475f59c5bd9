"""What a conda file asks for that only conda can give: channels, packages, a lock, and a pip section on top."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlcli.domain.errors import UnsupportedError
from mlcli.domain.redaction import masked
from mlcli.environments._definition import Definition, parts
from mlcli.environments._pip_lines import what_counts

# conda's own meaning of "defaults", by the names that its public server gives them
DEFAULTS = ("main", "r")
_TOKEN = re.compile(r"(?<=/t/)[^/\s]+(?=/)")
_OF_CHANNEL = re.compile(r"(?P<channel>\S+)::\S+")


@dataclass(frozen=True)
class CondaDefinition:
    """A conda environment as asked for.

    ``channels``: names, addresses and absolute paths, the one that wins first. ``specs``: what is asked of them, as the
    file writes it (``numpy=1.26``). ``lock``: the text of a lock file, which then decides alone what conda installs.
    ``pip``: the pip section and the file's variables; its Python is whatever conda installs.
    """

    channels: tuple[str, ...]
    specs: tuple[str, ...]
    lock: str | None = None
    pip: Definition = field(default_factory=lambda: Definition(""))

    @property
    def variables(self) -> Mapping[str, str]:
        """What is set when the environment is activated."""
        return self.pip.variables


def conda_definition(conda: Mapping[str, Any] | None, lock: str | None) -> CondaDefinition:
    """Read a parsed conda file, or what stands beside a lock. Raises UnsupportedError for what cannot be followed.

    A file without channels means ``defaults``, as it does to conda. A pip section brings Python, as it does there.
    """
    asked = parts(conda or {})
    specs = list(asked.conda)
    channels = _channels((conda or {}).get("channels"))
    channels += [own["channel"] for own in map(_OF_CHANNEL.fullmatch, specs) if own and own["channel"] not in channels]
    if asked.lines and not any(re.match(r"(\S+::)?python\b", spec) for spec in specs):
        specs.append("python")
    return CondaDefinition(
        channels=tuple(channels),
        specs=() if lock else tuple(specs),
        lock=lock,
        pip=Definition("", asked.lines, asked.variables),
    )


def fingerprint(wanted: CondaDefinition) -> str:
    """The cache key: sha256 of everything that decides what is installed, on this kind of machine. Neither names nor
    variables count, nor credentials; what a channel holds does not either, as little as a package index does.
    """
    import hashlib
    import json

    canonical = {
        "kind": "conda",
        "channels": [] if wanted.lock else [without_token(channel) for channel in wanted.channels],
        "specs": wanted.specs,
        "lock": wanted.lock,
        "lines": what_counts(wanted.pip.lines),
        "virtual_packages": {name: value for name, value in os.environ.items() if name.startswith("CONDA_OVERRIDE_")},
        "platform": sys.platform,
        "machine": os.uname().machine,
    }
    return hashlib.sha256(json.dumps(canonical, sort_keys=True).encode()).hexdigest()


def describe(wanted: CondaDefinition) -> str:
    """One line: the first packages, or that a lock decides."""
    names = [*wanted.specs, *(line for line in wanted.pip.lines if not line.startswith("-"))]
    if wanted.lock:
        names.insert(0, "the packages of its lock file")
    shown = ", ".join(without_token(name) for name in names[:4])
    return f"conda environment: {shown}" + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def without_token(text: str) -> str:
    """The text with the credentials of its addresses masked, conda's way of writing them (``/t/TOKEN/``) too."""
    return _TOKEN.sub("***", masked(text))


def _channels(listed: Any) -> list[str]:
    if listed is not None and not isinstance(listed, (list, tuple)):
        raise UnsupportedError("the conda file's 'channels' is not a list", hint="write: channels: [conda-forge]")
    found: list[str] = []
    for entry in listed or ("defaults",):
        if not isinstance(entry, str):
            raise UnsupportedError(
                f"the conda file's channel {entry!r} is not a name", hint="write a channel's name, address or folder"
            )
        channel = os.path.expanduser(entry.strip())  # noqa: PTH111  (text, perhaps an address)
        named = DEFAULTS if channel == "defaults" else () if channel == "nodefaults" else (channel,)
        found += [name for name in named if name not in found]
    return found
