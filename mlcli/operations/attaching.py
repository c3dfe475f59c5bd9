"""What a machine with an SSH port is, found out by logging in: before it is kept as a compute, and when it is shown."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mlcli import registry
from mlcli.domain.compute import Compute, SshHost, fingerprint
from mlcli.domain.errors import HostKeyError, MlcliError, TransportError
from mlcli.domain.nodes import GB
from mlcli.operations import _probe
from mlcli.spec.computes import build_compute
from mlcli.ssh_secrets import SERVICE, VARIABLES, Secrets, secrets_for

PATIENCE_S = 5.0
_LOOK_S = 30.0
_LITTLE_BYTES = GB
_CLOCK_S = 60.0
_FILES = ("ssh_private_key_file", "known_hosts_file")


@dataclass(frozen=True)
class Login:
    """What a command line, or a file, gave to log in with, and is kept nowhere. ``accept_host_key``: the fingerprint, or the
    key, that the person has compared.
    """

    password: str | None = None
    passphrase: str | None = None
    accept_host_key: str | None = None

    @property
    def secrets(self) -> dict[str, str]:
        """Kind -> secret."""
        given = {"password": self.password, "passphrase": self.passphrase}
        return {kind: secret for kind, secret in given.items() if secret}


@dataclass(frozen=True)
class Checked:
    """A machine that will do: ``compute`` with what was found, ``secrets`` that let us in, ``notices`` for the person."""

    compute: Compute
    secrets: Secrets
    notices: tuple[str, ...] = ()

    def keep_secrets(self, login: Login) -> list[str]:
        """Put what was given or typed into the keyring, once the compute is kept; what to tell of it."""
        kept = self.secrets.keep()
        unused = [kind for kind in login.secrets if kind not in {of for of, _ in kept}]
        return [
            *(_kept(kind, subject) if there else _lost(kind, subject) for (kind, subject), there in kept.items()),
            *(f"the {kind} was not needed, and is not kept" for kind in unused),
        ]


def _kept(kind: str, subject: str) -> str:
    return f"the {kind} of {subject} is in the system's keyring now, under {SERVICE}"


def _lost(kind: str, subject: str) -> str:
    return (
        f"the {kind} of {subject} is kept nowhere, as there is no system keyring here: "
        f"commands that log in there need it in the variable {VARIABLES[kind]}, or ask for it at a terminal"
    )


def check(compute: Compute, host: SshHost, login: Login) -> Checked:
    """Log in and look: where mlcli's folder is there, an absolute path from now on, and what the machine has.

    Raises TransportError for what cannot be reached or used, HostKeyError, MlcliError for a folder that cannot be written.
    """
    secrets = secrets_for(host, given=login.secrets)
    accepted = login.accept_host_key or host.host_key
    transport = registry.load("transports", "ssh")(replace(host, host_key=accepted), secrets, patience_s=PATIENCE_S)
    try:
        folder, facts = transport.folder(), _look(host, transport)
        key = transport.host_key()
        machine = {
            "address": transport.address(),
            "host_key": fingerprint(key),
            "host_key_state": "accepted" if accepted else "known",
            "login": transport.login(),
            "python": transport.python(),
            "python_version": facts["python_version"],
            "docker": facts["docker"],
            "system": facts["system"],
            "cores": facts["cores"],
            "memory_gb": round(facts["memory_bytes"] / GB, 1),
            "gpus": facts["gpus"],
            "folder": folder,
            "free_gb": round(facts["free_bytes"] / GB, 1) if facts["free_bytes"] is not None else None,
            "clock_ahead_s": facts["clock_ahead_s"],
        }
    except HostKeyError as shown:
        raise _other_key(host, shown, login.accept_host_key) from None
    finally:
        transport.close()
    found = replace(host, folder=folder, host_key=key if accepted else None)
    return Checked(replace(compute, ssh=found, machine=machine), secrets, tuple(_warnings(facts, folder)))


def check_again(before: Compute, after: Compute, login: Login) -> Checked:
    """A changed definition of a machine that was checked as ``before``: looked at anew only when the way there is another, or
    something was given to log in with.
    """
    old, new = before.ssh, after.ssh
    if old is None or new is None:
        raise AssertionError
    if login == Login() and build_compute(before.document, 0.0).ssh == new:
        kept = replace(after, ssh=old, machine=before.machine, started=before.started)
        return Checked(kept, secrets_for(old))
    pin = old.host_key if (old.address, old.port) == (new.address, new.port) else None
    checked = check(after, replace(new, host_key=new.host_key or pin), login)
    return replace(checked, compute=replace(checked.compute, started=before.started))


def _look(host: SshHost, transport: Any) -> Mapping[str, Any]:
    """The probe's answer. Raises MlcliError when jobs cannot be kept there."""
    source = Path(_probe.__file__).read_bytes()
    argv = [transport.python(), "-I", "-", transport.folder()]
    asked = time.time()
    done = transport.run(argv, stdin=source, timeout_s=_LOOK_S, repeatable=True)
    answered = time.time()
    if done.code != 0:
        said = (done.stderr.decode("utf-8", "replace").strip().splitlines() or ["it says nothing"])[-1]
        raise TransportError(
            f"{host}: its Python, {transport.python()}, does not work: {said}",
            transient=False,
            hint="repair it, or name another in the compute's definition: --set python=/opt/python/bin/python3",
        )
    facts: Mapping[str, Any] = json.loads(done.stdout)
    facts = {**facts, "clock_ahead_s": _ahead(facts["time"], asked, answered)}
    if facts["problem"]:
        raise MlcliError(
            f"{host}: nothing can be written in {facts['place']}: {facts['problem']}",
            hint=f"mlcli keeps its jobs in {transport.folder()} there; another folder: --set working_directory=/data/mlcli",
        )
    return facts


def _ahead(there: float, asked: float, answered: float) -> int:
    """Seconds by which the clock there goes before ours, or behind it: 0 when it told a time between question and answer."""
    return round(max(0.0, there - answered) or min(0.0, there - asked))


def _warnings(facts: Mapping[str, Any], folder: str) -> list[str]:
    warnings = []
    free, ahead = facts["free_bytes"], facts["clock_ahead_s"]
    if free is not None and free < _LITTLE_BYTES:
        warnings.append(
            f"only {free / GB:.1f} GB are free there for {folder}; another folder: --set working_directory=/data/mlcli"
        )
    if abs(ahead) > _CLOCK_S:
        side = "ahead of" if ahead > 0 else "behind"
        warnings.append(
            f"its clock is {abs(ahead) / 60:.0f} minutes {side} this machine's: "
            "when its jobs begin and end is told as that clock has it"
        )
    return warnings


def _other_key(host: SshHost, shown: HostKeyError, accepted: str | None) -> HostKeyError:
    """A key that does not fit the one that was just named is a slip, most likely, and no sign of an attack."""
    if accepted is None or not shown.changed:
        return shown
    return HostKeyError(
        f"{host}: it shows the host key {fingerprint(shown.key)}, and not {accepted}; nothing was sent",
        key=shown.key,
        changed=True,
        hint="compare what the machine itself prints (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub) with both; "
        "a jump host on the way has a key of its own, which must stand in known_hosts",
    )


def problems(hosts: Mapping[str, SshHost], patience_s: float) -> dict[str, str | None]:
    """Which machines answer, all asked at the same time: name -> why not, None for one that does. Asks nobody for secrets."""
    told: dict[str, str | None] = dict.fromkeys(hosts, f"no answer within {patience_s:g} seconds")

    def ask(name: str, host: SshHost) -> None:
        try:
            transport = registry.load("transports", "ssh")(host, secrets_for(host, ask=False), patience_s=0.0)
            transport.python()
            answer = None
        except MlcliError as failed:
            answer = failed.message
        else:
            transport.close()
        told[name] = answer

    threads = [threading.Thread(target=ask, args=one, daemon=True) for one in hosts.items()]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + patience_s
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return dict(told)


def with_absolute_files(compute: Compute, base: Path) -> Compute:
    """The files on this machine that it names as absolute paths: what is relative starts from ``base``, ``~`` is home."""
    settings = compute.document.get("ssh_settings")
    if compute.ssh is None or not isinstance(settings, Mapping):
        return compute
    named = {key: Path(settings[key]).expanduser() for key in _FILES if isinstance(settings.get(key), str)}
    files = {key: os.path.normpath(base / path) for key, path in named.items()}
    key_file = files.get("ssh_private_key_file", compute.ssh.key_file)
    host = replace(compute.ssh, key_file=key_file, known_hosts_file=files.get("known_hosts_file"))
    return replace(compute, ssh=host, document={**compute.document, "ssh_settings": {**settings, **files}})
