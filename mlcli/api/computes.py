"""Computes: looked up, made on this machine, or attached over SSH, as the commands ``mlcli compute create`` and ``attach`` do."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from mlcli.api.names import InWorkspace
from mlcli.domain.errors import InvalidSpecError, MlcliError

_TIERS = {"dedicated": "dedicated", "lowpriority": "low_priority"}


class ComputeTargetError(MlcliError):
    """There is no such compute, or it cannot be made or attached; ``message`` says why."""


ComputeTargetException = ComputeTargetError
"""As the first SDK calls it."""


@dataclass(frozen=True)
class Configuration:
    """What a compute is to be: made by ``provisioning_configuration`` and ``attach_configuration``. ``words``: as a compute's
    file has them, without its name; the secrets are kept in the system's keyring at most.
    """

    words: Mapping[str, Any]
    password: str | None = field(default=None, repr=False)
    passphrase: str | None = field(default=None, repr=False)


class ComputeTarget:
    """A compute of a workspace; ``local`` is this machine. Raises ComputeTargetError with the nearest names."""

    def __init__(self, workspace: InWorkspace, name: str) -> None:
        from mlcli.operations import computes

        with _told():
            self.type = computes.get(workspace.services, name).type
        self.name = name
        self.workspace = workspace

    @classmethod
    def create(cls, workspace: InWorkspace, name: str, provisioning_configuration: Configuration) -> ComputeTarget:
        """Make a compute, of ``AmlCompute.provisioning_configuration``. Raises ComputeTargetError."""
        return _made(workspace, name, provisioning_configuration)

    @classmethod
    def attach(cls, workspace: InWorkspace, name: str, attach_configuration: Configuration) -> ComputeTarget:
        """Log in to a machine and keep it as a compute, of ``RemoteCompute.attach_configuration``. Raises
        ComputeTargetError; nothing is kept then.
        """
        return _made(workspace, name, attach_configuration)

    def __repr__(self) -> str:
        return f"ComputeTarget({self.name!r}, {self.type!r})"

    def wait_for_completion(self, show_output: bool = False) -> None:
        """It is there already: nothing here takes long to make. ``show_output``: say so."""
        if show_output:
            sys.stdout.write(f"{self.name}: {self.provisioning_state}\n")

    @property
    def provisioning_state(self) -> str:
        """``Succeeded``: one that cannot be made or reached is not kept."""
        return str(self.get_status()["provisioning_state"])

    def get_status(self) -> dict[str, Any]:
        """The record of ``mlcli compute show``."""
        from mlcli.operations import computes

        return computes.record(self.workspace.services, self.name)

    def delete(self) -> None:
        """Forget the compute. Raises ComputeTargetError while jobs are live on it."""
        from mlcli.operations import computes

        with _told():
            computes.delete(self.workspace.services, self.name)

    def detach(self) -> None:
        """The same: nothing is done to a machine that was attached."""
        self.delete()


class AmlCompute(ComputeTarget):
    """A queue for jobs on this machine."""

    @staticmethod
    def provisioning_configuration(
        vm_size: str = "",
        vm_priority: str = "dedicated",
        max_nodes: int | None = None,
        min_nodes: int = 0,
        idle_seconds_before_scaledown: int | None = None,
        *,
        description: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Configuration:
        """``vm_size``: what one node is, as Azure names it (``STANDARD_D2_V2``); ``max_nodes``: how many jobs run at once, the
        others wait; ``vm_priority``: ``dedicated`` or ``lowpriority``.
        """
        words = {
            "type": "amlcompute",
            "size": vm_size or None,
            "tier": _TIERS.get(vm_priority.lower().replace("_", ""), vm_priority),
            "max_instances": max_nodes,
            "min_instances": min_nodes,
            "idle_time_before_scale_down": idle_seconds_before_scaledown,
            "description": description,
            "tags": dict(tags) if tags else None,
        }
        return Configuration({key: value for key, value in words.items() if value is not None})


class RemoteCompute(ComputeTarget):
    """A machine that is reached over SSH."""

    @staticmethod
    def attach_configuration(
        *,
        username: str | None = None,
        address: str | None = None,
        resource_id: str | None = None,
        ssh_port: int | None = None,
        password: str | None = None,
        private_key_file: str | None = None,
        private_key_passphrase: str | None = None,
    ) -> Configuration:
        """``address``: the machine's name or address, or a Host of ``~/.ssh/config``, which also tells what is not given here;
        ``resource_id`` only Azure could look up.
        Raises ComputeTargetError without an address.
        """
        if address is None:
            given = "a resource id says it only to Azure" if resource_id else "nothing says where the machine is"
            raise ComputeTargetError(given, hint="give its name or address: attach_configuration(address='HOST', ...)")
        login = {
            "admin_username": username,
            "ssh_port": ssh_port,
            "ssh_private_key_file": private_key_file,
        }
        words = {
            "type": "ssh",
            "host": address,
            "ssh_settings": {key: value for key, value in login.items() if value},
        }
        return Configuration(words, password or None, private_key_passphrase or None)


@contextmanager
def _told() -> Iterator[None]:
    """Whatever is wrong, as the one exception that callers of the first SDK wait for."""
    try:
        yield
    except ComputeTargetError:
        raise
    except InvalidSpecError as error:
        first = error.diagnostics[0]
        raise ComputeTargetError("; ".join(one.message for one in error.diagnostics), hint=first.hint) from error
    except MlcliError as error:
        raise ComputeTargetError(error.message, hint=error.hint, details=error.details) from error


def _made(workspace: InWorkspace, name: str, wanted: Configuration) -> ComputeTarget:
    import json
    from pathlib import Path

    from mlcli.operations import attaching, computes
    from mlcli.spec.computes import read_compute

    with _told():
        written = read_compute(json.dumps({"name": name, **wanted.words}), name, time.time())
        compute = attaching.with_absolute_files(written.compute, Path.cwd())
        login = attaching.Login(wanted.password, wanted.passphrase)
        for notice in [*written.notices, *computes.create(workspace.services, compute, login)]:
            sys.stderr.write(f"{notice}\n")
    return ComputeTarget(workspace, name)
