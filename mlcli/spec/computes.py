"""A compute's file in any generation's words, or the flags of a command line in its place: in; a :class:`Compute`: out. Pure.

Flags build the same mapping as a file does, so that there is one set of checks. Passwords never get any further.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mlcli.domain import vm_sizes
from mlcli.domain.compute import Compute, SshHost
from mlcli.domain.errors import Diagnostic, InvalidSpecError, UnsupportedError, UsageError
from mlcli.spec.compose import Mark
from mlcli.spec.generation import compute_kind, recognise
from mlcli.spec.load import Document, Path_, load
from mlcli.spec.overrides import apply, with_flags
from mlcli.spec.validate import nearest, validate

BUILT_IN = "local"
TYPES = (
    "amlcompute",
    "computeinstance",
    "local",
    "virtualmachine",
    "ssh",
    "slurm",
    "docker",
    "ray",
    "kubernetes",
    "synapsespark",
)
_OLD_TYPES = {"aks": "kubernetes", "remote": "ssh", "vm": "virtualmachine", "ci": "computeinstance"}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_NAME_RULE = "1 to 63 letters, digits, '-', '_' and '.', a letter or a digit first"
_READ_ONLY = (
    "$schema",
    "id",
    "created_on",
    "provisioning_state",
    "provisioning_errors",
    "state",
    "last_operation",
    "applications",
    "private_ip_address",
    "public_ip_address",
    "ssl_configuration",
)
_OLD_WORDS: Mapping[str, Path_] = {
    "priority": ("tier",),
    "admin_username": ("ssh_settings", "admin_username"),
    "admin_password": ("ssh_settings", "admin_password"),
    "ssh_key_value": ("ssh_settings", "ssh_key_value"),
    "vnet_name": ("network_settings", "vnet_name"),
    "subnet": ("network_settings", "subnet"),
    "identity_type": ("identity", "type"),
    "user_assigned_identities": ("identity", "user_assigned_identities"),
    "ssh_public_access": ("ssh_public_access_enabled",),
    "enable_public_ip": ("enable_node_public_ip",),
    "user_object_id": ("create_on_behalf_of", "user_object_id"),
    "user_tenant_id": ("create_on_behalf_of", "user_tenant_id"),
}
_OF_ALL = frozenset({"name", "type", "description", "tags", "properties"})
_NODES = frozenset({"size", "min_instances", "max_instances", "idle_time_before_scale_down", "tier"})
_HOST = frozenset({"host", "resource_id", "ssh_settings", "python", "working_directory", "max_concurrent_jobs"})
_MEANT: Mapping[str, frozenset[str]] = {
    "amlcompute": _NODES,
    "computeinstance": frozenset({"size"}),
    "local": frozenset({"max_concurrent_jobs"}),
    "virtualmachine": _HOST,
    "ssh": _HOST,
}
DEFAULT_NODES = 4
DEFAULT_IDLE_S = 120
MOST_NODES = 1000


@dataclass(frozen=True)
class WrittenCompute:
    """A compute as it was written, and what a person may want to know of it. ``password``: the one that was written; it is in
    nothing else.
    """

    compute: Compute
    notices: tuple[str, ...] = ()
    password: str | None = field(default=None, repr=False)


def read_compute(
    text: str | bytes | None,
    file: str,
    created_at: float,
    *,
    flags: Mapping[str, tuple[Path_, Any]] | None = None,
    overrides: Sequence[str] = (),
) -> WrittenCompute:
    """The compute of a file (None: of the flags alone). ``file``: the name that errors show; ``flags``: flag -> path in the
    file, and value; ``overrides``: ``a.b=value``. The flags replace what the file says, and the overrides both.

    Raises InvalidSpecError with everything that is wrong, UnsupportedError for a file that is no compute.
    """
    document = load("{}" if text is None else text, file)
    if text is not None:
        _check_is_compute(document, file)
    document = with_flags(document, flags or {})
    return checked_compute(document, created_at, overrides=overrides)


def checked_compute(document: Document, created_at: float, *, overrides: Sequence[str] = ()) -> WrittenCompute:
    """The compute of a document in any generation's words."""
    if overrides:
        document = apply(document, overrides)
    faults = validate(document, compute_kind(document.tree))
    if faults:
        raise InvalidSpecError(faults)
    normal = upgraded_compute(document.tree)
    checks = [
        *_check_name(document, normal),
        *_check_type(document, normal),
        *_check_size(document, normal),
        *_check_counts(document, normal),
    ]
    if checks:
        raise InvalidSpecError(tuple(checks))
    password = _without_password(normal)
    compute = build_compute(normal, created_at)
    unused = password is not None and compute.ssh is None
    return WrittenCompute(compute, tuple(_notices(normal, unused_password=unused)), password)


def upgraded_compute(tree: Mapping[str, Any]) -> dict[str, Any]:
    """The same in today's words; what the service writes into its answers is left out."""
    normal: dict[str, Any] = {}
    for key, value in tree.items():
        if key in _READ_ONLY or value is None:
            continue
        *above, last = _OLD_WORDS.get(key, (key,))
        body: MutableMapping[Any, Any] = normal
        for step in above:
            body = body.setdefault(step, {})
        body[last] = dict(value) if isinstance(value, dict) and not above else value
    normal["type"] = _type(normal.get("type"))
    if "tier" in normal:
        normal["tier"] = _tier(normal["tier"])
    for key in ("min_instances", "max_instances", "idle_time_before_scale_down", "max_concurrent_jobs"):
        if isinstance(normal.get(key), str):
            normal[key] = int(str(normal[key]).partition(".")[0])
    return normal


def build_compute(normal: Mapping[str, Any], created_at: float) -> Compute:
    """The compute of a checked definition in today's words."""
    kind = normal["type"]
    return Compute(
        name=str(normal["name"]),
        type=kind,
        created_at=created_at,
        description=normal.get("description"),
        tags={str(key): str(value) for key, value in (normal.get("tags") or {}).items()},
        size=normal.get("size") or (vm_sizes.DEFAULT if kind in {"amlcompute", "computeinstance"} else None),
        min_instances=1 if kind == "computeinstance" else int(normal.get("min_instances", 0)),
        max_instances=_nodes(normal),
        idle_time_s=float(normal.get("idle_time_before_scale_down", DEFAULT_IDLE_S)),
        tier=normal.get("tier", "dedicated"),
        ssh=_ssh(normal) if kind in {"ssh", "virtualmachine"} else None,
        document=dict(normal),
    )


def _nodes(normal: Mapping[str, Any]) -> int | None:
    if normal["type"] == "amlcompute":
        return int(normal.get("max_instances", DEFAULT_NODES))
    if normal["type"] == "computeinstance":
        return 1
    most = normal.get("max_concurrent_jobs")
    return None if most is None else int(most)


def _ssh(normal: Mapping[str, Any]) -> SshHost:
    settings: Mapping[str, Any] = normal.get("ssh_settings") or {}
    port = settings.get("ssh_port")
    return SshHost(
        address=address_of(normal) or "",
        port=None if port is None else int(port),
        user=settings.get("admin_username"),
        key_file=settings.get("ssh_private_key_file"),
        jump=settings.get("proxy_jump"),
        host_key=settings.get("host_key"),
        known_hosts_file=settings.get("known_hosts_file"),
        folder=normal.get("working_directory"),
        python=normal.get("python"),
    )


def address_of(normal: Mapping[str, Any]) -> str | None:
    """Where a machine is reached. An Azure resource id is no address."""
    settings: Mapping[str, Any] = normal.get("ssh_settings") or {}
    resource = str(normal.get("resource_id") or "")
    return normal.get("host") or settings.get("host") or (None if resource.startswith("/") else resource or None)


def _type(written: Any) -> str:
    word = str(written).strip().lower()
    return _OLD_TYPES.get(word, word)


def _tier(written: Any) -> str:
    return "low_priority" if "low" in str(written).lower() else "dedicated"


def checked_name(name: str) -> str:
    """The same, when it can be a compute's. Raises UsageError."""
    if _NAME.fullmatch(name) is None:
        raise UsageError(f"{name!r} cannot be the name of a compute", hint=_NAME_RULE)
    if name.lower() == BUILT_IN:
        raise UsageError(f"the compute {BUILT_IN!r} is this machine, and there always", hint="choose another name")
    return name


def _check_is_compute(document: Document, file: str) -> None:
    kind = recognise(document.tree)
    if kind.noun == "compute" or {"command", "jobs", "trial", "image", "conda_file"}.isdisjoint(document.tree):
        return
    article = "an" if kind.noun[0] in "aeiou" else "a"
    raise UnsupportedError(
        f"{file} describes {article} {kind.noun}, not a compute", hint="a compute has a 'name' and a 'type'"
    )


def _check_name(document: Document, normal: Mapping[str, Any]) -> Iterator[Any]:
    try:
        checked_name(str(normal["name"]))
    except UsageError as refused:
        yield document.diagnose(("name",), "bad-name", refused.message, hint=refused.hint)


def _check_type(document: Document, normal: Mapping[str, Any]) -> Iterator[Any]:
    kind = normal["type"]
    if kind not in TYPES:
        near = nearest(kind, TYPES)
        hint = f"did you mean '{near}'? " if near else ""
        message = f"'{document.tree['type']}' is not a type of compute"
        yield document.diagnose(("type",), "bad-value", message, hint=f"{hint}allowed: {', '.join(TYPES)}")
    elif kind in {"ssh", "virtualmachine"} and address_of(normal) is None:
        message = "mlcli reaches a machine by its address, and a resource id of Azure is none"
        hint = "give its name or address: --address HOST, or ssh_settings: {host: HOST} in the file"
        yield document.diagnose(("resource_id",), "bad-value", message, hint=hint)


def _check_size(document: Document, normal: Mapping[str, Any]) -> Iterator[Any]:
    yield from check_size(document, ("size",), normal.get("size"))


def check_size(document: Document, path: Path_, size: str | None) -> Iterator[Diagnostic]:
    """What is wrong with the size of a node that a file names at ``path``; None is as good as none."""
    if size is None or vm_sizes.find(size) is not None:
        return
    near = nearest(size, [known.name for known in vm_sizes.ALL])
    hint = f"did you mean '{near}'? " if near else ""
    own = f"{hint}'mlcli compute list-sizes' shows them; one of your own is {vm_sizes.LOCAL_FORM}, such as local.2x8"
    yield document.diagnose(path, "bad-value", f"there is no size '{size}'", hint=own)


def _check_counts(document: Document, normal: Mapping[str, Any]) -> Iterator[Any]:
    most = _nodes(normal)
    least = int(normal.get("min_instances", 0))
    key = "max_instances" if "max_instances" in normal else "max_concurrent_jobs"
    if most is not None and not 1 <= most <= MOST_NODES:
        yield document.diagnose((key,), "out-of-range", f"{key} is {most}; it is 1 to {MOST_NODES}")
    if least < 0 or (most is not None and least > max(most, 1)):
        message = f"min_instances is {least}; it is 0 to max_instances, {most}"
        yield document.diagnose(("min_instances",), "out-of-range", message)
    if int(normal.get("idle_time_before_scale_down", 0)) < 0:
        message = "idle_time_before_scale_down is a number of seconds, at least 0"
        yield document.diagnose(("idle_time_before_scale_down",), "out-of-range", message)


def _without_password(normal: dict[str, Any]) -> str | None:
    """Take the password out."""
    settings = normal.get("ssh_settings")
    if not isinstance(settings, dict) or "admin_password" not in settings:
        return None
    normal["ssh_settings"] = {key: value for key, value in settings.items() if key != "admin_password"}
    if not normal["ssh_settings"]:
        del normal["ssh_settings"]
    return str(settings["admin_password"])


def _notices(normal: Mapping[str, Any], *, unused_password: bool) -> Iterator[str]:
    meant = _MEANT.get(normal["type"])
    idle = sorted(set(normal) - _OF_ALL - meant) if meant is not None else []
    if idle:
        yield f"kept with the compute, but without meaning here: {', '.join(idle)}"
    if unused_password:
        yield "the password is not kept: mlcli writes none to the disk"
    size = vm_sizes.find(normal.get("size") or "")
    if size is not None and not size.known:
        guess = f"{size.cores} cores and {size.memory_gb:g} GB, by the number in its name"
        yield f"the size {size.name} is not in mlcli's table: taken as {guess}"
    if size is not None and size.gpus:
        yield f"{size.name} has GPUs: mlcli does not hand them out, a job sees those that this machine has"


def changed_compute(
    compute: Compute,
    flags: Mapping[str, tuple[Path_, Any]],
    overrides: Sequence[str] = (),
    removes: Sequence[str] = (),
) -> WrittenCompute:
    """The compute with some of its definition replaced or taken out. Raises InvalidSpecError, UsageError for a key that is
    not there to be taken out.
    """
    tree = {key: dict(value) if isinstance(value, dict) else value for key, value in compute.document.items()}
    for path in removes:
        _remove(tree, path)
    document = with_flags(Document(compute.name, "", tree, _marks(tree)), flags)
    return checked_compute(document, compute.created_at, overrides=overrides)


def _marks(value: Any) -> Mark:
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return Mark(1, 1, children={key: _marks(item) for key, item in entries})


def _remove(tree: dict[str, Any], path: str) -> None:
    body: Any = tree
    *above, last = path.split(".")
    for step in above:
        body = body.get(step) if isinstance(body, dict) else None
    if not isinstance(body, dict) or last not in body:
        raise UsageError(f"--remove {path}: the compute has no such entry", hint=f"it has: {', '.join(tree)}")
    del body[last]
