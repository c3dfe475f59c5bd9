"""A shell on a machine that is a compute: the program ``ssh``, told what mlcli knows of the way."""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path

from mlcli.domain.compute import SshHost
from mlcli.domain.errors import UnsupportedError, UsageError
from mlcli.operations import computes
from mlcli.ports.services import Services


def connect(
    services: Services, name: str, key_file: str | None = None, command: str | None = None, more: str | None = None
) -> None:
    """Become ``ssh``. ``command``: run there instead of a shell; ``more``: further arguments of ssh, as a shell reads them.

    Raises NotFoundError, UsageError for a compute that is this machine, UnsupportedError without the program.
    """
    host = computes.get(services, name).ssh
    if host is None:
        raise UsageError(f"compute {name} is this machine: there is nothing to connect to")
    program = shutil.which("ssh")
    if program is None:
        raise UnsupportedError("the program ssh is not on the PATH", hint="install OpenSSH's client")
    try:
        extra = shlex.split(more or "")
    except ValueError as odd:
        raise UsageError(f"--ssh-args: {more!r} cannot be read: {odd}") from None
    known_hosts = None
    if host.host_key is not None and not host.host_key.startswith("SHA256:"):
        known_hosts = _written(services.root / "computes" / "hosts", host)
    os.execv(program, argv_of(host, known_hosts, key_file=key_file, command=command, extra=extra))  # noqa: S606


def _written(folder: Path, host: SshHost) -> Path:
    """A known_hosts file with the key that was accepted."""
    file = folder / f"{host.key}.known_hosts"
    fresh = file.with_suffix(f".{os.getpid()}")
    fresh.write_text(f"{_alias(host)} {host.host_key}\n", "utf-8")
    return fresh.replace(file)


def argv_of(
    host: SshHost,
    known_hosts: Path | None,
    *,
    key_file: str | None = None,
    command: str | None = None,
    extra: list[str] | None = None,
) -> list[str]:
    """The command line of ssh. ``known_hosts``: a file with the key that was accepted for the host. Pure."""
    options = [("-p", host.port), ("-l", host.user), ("-i", key_file or host.key_file), ("-J", host.jump)]
    argv = ["ssh", *(str(word) for option in options if option[1] is not None for word in option)]
    if known_hosts is not None:
        argv += ["-o", f"HostKeyAlias={_alias(host)}", "-o", f'UserKnownHostsFile="{known_hosts}"']
        argv += ["-o", "StrictHostKeyChecking=yes"]
    elif host.known_hosts_file is not None:
        argv += ["-o", f'UserKnownHostsFile="{host.known_hosts_file}"']
    return [*argv, *(extra or []), "--", host.address, *([command] if command is not None else [])]


def _alias(host: SshHost) -> str:
    return f"mlcli-{host.key}"
