"""What the commands about computes do: ``compute``, and ``computetarget`` with its older flags."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlcli.cli import actions
from mlcli.cli.command import Session
from mlcli.domain.errors import UsageError

if TYPE_CHECKING:
    from mlcli.domain.compute import Compute
    from mlcli.spec.computes import WrittenCompute

Flags = dict[str, tuple[tuple[str | int, ...], Any]]


def make(
    session: Session,
    file: str | None,
    given: Flags,
    overrides: list[str],
    *,
    passphrase: str | None = None,
    accept_host_key: str | None = None,
) -> None:
    """Make the compute that a file and flags (those that are not None) describe, and print it."""
    from mlcli.cli import jobfile
    from mlcli.operations import attaching, computes

    written = _written(file, given, overrides)
    tell_visible(session, given, overrides, passphrase)
    base = Path.cwd() if file is None else jobfile.base(file)
    compute = attaching.with_absolute_files(written.compute, base)
    login = attaching.Login(written.password, passphrase, accept_host_key)
    notices = [*written.notices, *computes.create(session.services, compute, login)]
    show(session, compute.name, notices, ask=False)


def tell_visible(session: Session, given: Flags, overrides: list[str], passphrase: str | None = None) -> None:
    """Warn of a secret on the command line."""
    flags_given = [name for name, (path, value) in given.items() if path[-1] == "admin_password" and value is not None]
    typed = [text.partition("=")[0].strip() for text in overrides]
    flags_given += [f"--set {path}" for path in typed if path.rpartition(".")[2] == "admin_password"]
    flags_given += ["--private-key-passphrase"] if passphrase is not None else []
    for name in flags_given:
        session.console.notice(
            f"{name}: other users of this machine can see it in the list of processes, and the shell's history has it; better: "
            "the variable MLCLI_SSH_PASSWORD or MLCLI_SSH_PASSPHRASE, or no flag, and you are asked"
        )


def _written(file: str | None, given: Flags, overrides: list[str]) -> WrittenCompute:
    from mlcli.cli import jobfile
    from mlcli.spec.computes import read_compute

    typed = {name: entry for name, entry in given.items() if entry[1] is not None}
    if file is None:
        missing = next((name for name in ("--name", "--type") if name not in typed), None)
        if missing:
            raise UsageError(f"a compute has a name and a type: {missing} is missing", hint="or name a file: --file")
        return read_compute(None, "compute", time.time(), flags=typed, overrides=overrides)
    source = jobfile.source(file)
    return read_compute(source.text, source.name, time.time(), flags=typed, overrides=overrides)


def as_tier(text: str | None) -> str | None:
    """2020 and 2021 wrote ``lowpriority`` and ``LowPriority``."""
    return "low_priority" if text is not None and text.lower().replace("_", "") == "lowpriority" else text


def as_tags(given: list[str]) -> dict[str, str] | None:
    """``key=value`` texts as a map, None when there are none."""
    return {key: value for key, _, value in (text.partition("=") for text in given)} or None


def show(session: Session, name: str, notices: list[str], *, ask: bool = True) -> None:
    """Print a compute, after notices. ``ask``: whether a machine answers."""
    from mlcli.cli import compute_views
    from mlcli.operations import computes

    for notice in notices:
        session.console.notice(notice)
    record = computes.record(session.services, name, ask=ask)
    session.console.emit(record, view=compute_views.compute, columns=compute_views.row)


def change(
    session: Session,
    name: str,
    given: Flags,
    overrides: list[str],
    removes: list[str],
    *,
    accept_host_key: str | None = None,
) -> None:
    """Change a compute by flags (those that are not None), and print it."""
    from mlcli.operations import attaching, computes
    from mlcli.spec.computes import changed_compute

    typed = {flag_name: entry for flag_name, entry in given.items() if entry[1] is not None}
    if not (typed or overrides or removes or accept_host_key):
        raise UsageError("nothing to change", hint="--max-instances 8, --set tags.team=vision, --remove description")

    def changed(compute: Compute) -> WrittenCompute:
        written = changed_compute(compute, typed, overrides, removes)
        return replace(written, compute=attaching.with_absolute_files(written.compute, Path.cwd()))

    tell_visible(session, given, overrides)
    login = attaching.Login(accept_host_key=accept_host_key)
    _, notices = computes.update(session.services, name, changed, login)
    show(session, name, notices)


def remove(session: Session, name: str, *, force: bool, yes: bool, verb: str) -> None:
    """Forget a compute, after asking."""
    from mlcli.operations import computes

    computes.get(session.services, name)
    actions.ask(session, f"{verb} compute {name}?", yes=yes)
    for notice in computes.delete(session.services, name, force=force):
        session.console.notice(notice)
    session.console.notice(f"{verb.lower()}{'d' if verb == 'Delete' else 'ed'} compute {name}")


def login(compute: Compute) -> dict[str, Any]:
    """How a person logs in to a machine. Raises UsageError for a compute that is none."""
    import shlex

    host = compute.ssh
    if host is None:
        raise UsageError(f"compute {compute.name} is on this machine: there is nothing to log in to")
    options = {"-p": host.port and str(host.port), "-i": host.key_file, "-J": host.jump, "-l": host.user}
    given = [word for option, value in options.items() if value for word in (option, value)]
    return {
        "name": compute.name,
        "address": host.address,
        "port": host.port,
        "username": host.user,
        "private_key_file": host.key_file,
        "command": shlex.join(["ssh", *given, host.address]),
    }


def switch(session: Session, name: str, *, started: bool) -> None:
    """Start or stop a compute, and print it."""
    from mlcli.operations import computes

    computes.switch(session.services, name, started=started)
    show(session, name, [])
