"""``mlcli compute``: the named places where jobs run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

from mlcli.cli import compute_actions
from mlcli.cli.command import Noun, Session
from mlcli.cli.compute_actions import Flags, as_tags, as_tier
from mlcli.cli.options import Flag, Sets, Yes, count, count_or_none, flag, flags, name_of_job
from mlcli.cli.tree import NOUNS
from mlcli.domain.errors import UsageError

NOUN = Noun(
    NOUNS["compute"],
    ignored={
        "no_wait": flag("--no-wait", help="Accepted and ignored: nothing here takes long."),
        "max_results": flag("--max-results", "--max-pages", "-r", metavar="N", help="Accepted and ignored."),
    },
)


def complete_compute(typed: str, workspace: str | None) -> list[str]:
    """Names of computes that start so. Completion never fails."""
    from mlcli.domain.errors import MlcliError
    from mlcli.workspace import open_workspace

    try:
        return [one.name for one in open_workspace(workspace).computes.list() if one.name.startswith(typed)]
    except MlcliError:
        return []


def port(text: str) -> int:
    """The number of a port."""
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise UsageError(f"{text!r} is not a port", hint="a number from 1 to 65535")
    return int(text)


Name = Annotated[
    str,
    Flag(
        ("--name", "-n"),
        "Name of the compute.",
        "NAME",
        named="compute",
        parse=name_of_job,
        complete=complete_compute,
    ),
]
NewName = Annotated[
    str | None,
    Flag(("--name", "-n"), "Its name; replaces the file's.", "NAME", named="compute", required=False),
]
File = Annotated[
    str | None,
    flag("--file", "-f", metavar="FILE", help="The compute's YAML, of any generation; - reads standard input."),
]
Type = Annotated[
    str | None, flag("--type", "-t", metavar="TYPE", help="amlcompute, virtualmachine, computeinstance, local, ...")
]
Description = Annotated[str | None, flag("--description", metavar="TEXT", help="What it is for.")]
Tags = Annotated[list[str], flags("--tags", "--tag", metavar="KEY=VALUE", help="Tags; several may follow.")]
MinInstances = Annotated[
    int | None, flag("--min-instances", metavar="N", parse=count_or_none, help="Nodes that are always there.")
]
MaxInstances = Annotated[
    int | None, flag("--max-instances", metavar="N", parse=count, help="How many jobs run at once; the others wait.")
]
IdleTime = Annotated[
    int | None,
    flag(
        "--idle-time-before-scale-down",
        "-d",
        "-s",
        metavar="SECONDS",
        parse=count_or_none,
        help="Until an idle node is given back.",
    ),
]
Location = Annotated[str | None, flag("--location", "-l", metavar="NAME", help="Kept; this machine is where it is.")]
AdminUsername = Annotated[str | None, flag("--admin-username", metavar="USER", help="Whom to log in as.")]
AdminPassword = Annotated[
    str | None,
    flag(
        "--admin-password",
        metavar="PASSWORD",
        help="For the system's keyring. Others may see it here: rather use a key.",
    ),
]
SshPort = Annotated[int | None, flag("--ssh-port", metavar="PORT", parse=port, help="Default: 22.")]
SshPrivateKeyFile = Annotated[
    str | None, flag("--ssh-private-key-file", metavar="FILE", help="The private key to log in with.")
]
AcceptHostKey = Annotated[
    str | None,
    flag("--accept-host-key", metavar="SHA256:...", help="The machine's host key, when known_hosts has it not."),
]
SshKeyValue = Annotated[str | None, flag("--ssh-key-value", metavar="KEY", help="A public key. Kept.")]
IdentityType = Annotated[str | None, flag("--identity-type", metavar="TYPE", help="Kept, without meaning here.")]
Identities = Annotated[
    list[str], flags("--user-assigned-identities", "-i", metavar="ID", help="Kept, without meaning here.")
]
Force = Annotated[bool, flag("--force", help="Though jobs are live on it: cancel them.")]


@NOUN.command(
    "create",
    "mlcli compute create --name cpu-cluster --type amlcompute --min-instances 0 --max-instances 4",
    "mlcli compute create -n small --type amlcompute --size local.1x2 --max-instances 2",
    "mlcli compute create -f cluster.yml --set max_instances=8",
)
def create(
    session: Session,
    *,
    name: NewName = None,
    file: File = None,
    type_: Type = None,
    size: Annotated[
        str | None, flag("--size", metavar="SIZE", help="What a node is: a size of Azure's, or local.<cores>x<gb>.")
    ] = None,
    min_instances: MinInstances = None,
    max_instances: MaxInstances = None,
    idle_time: IdleTime = None,
    tier: Annotated[
        str | None, flag("--tier", "--priority", metavar="TIER", help="dedicated, or low_priority: its jobs yield.")
    ] = None,
    description: Description = None,
    tags: Tags,
    location: Location = None,
    admin_username: AdminUsername = None,
    admin_password: AdminPassword = None,
    ssh_key_value: SshKeyValue = None,
    ssh_public_access_enabled: Annotated[
        str | None, flag("--ssh-public-access-enabled", "-p", metavar="BOOL", help="Kept, without meaning here.")
    ] = None,
    vnet_name: Annotated[str | None, flag("--vnet-name", metavar="NAME", help="Kept, without meaning here.")] = None,
    subnet: Annotated[str | None, flag("--subnet", metavar="NAME", help="Kept, without meaning here.")] = None,
    enable_node_public_ip: Annotated[
        str | None,
        flag("--enable-node-public-ip", "--public-ip", metavar="BOOL", help="Kept, without meaning here."),
    ] = None,
    identity_type: IdentityType = None,
    user_assigned_identities: Identities,
    user_object_id: Annotated[
        str | None, flag("--user-object-id", metavar="ID", help="Kept, without meaning here.")
    ] = None,
    user_tenant_id: Annotated[
        str | None, flag("--user-tenant-id", metavar="ID", help="Kept, without meaning here.")
    ] = None,
    set_: Sets,
) -> None:
    """Make a compute, from a YAML file of any generation or from flags.

    An amlcompute is emulated on this machine: as many jobs as it has nodes run at once, each on its share of the cores and
    of the memory, the others wait in order. No process stays behind, nodes cost nothing.
    """
    given: Flags = {
        "--name": (("name",), name),
        "--type": (("type",), type_),
        "--size": (("size",), size),
        "--min-instances": (("min_instances",), min_instances),
        "--max-instances": (("max_instances",), max_instances),
        "--idle-time-before-scale-down": (("idle_time_before_scale_down",), idle_time),
        "--tier": (("tier",), as_tier(tier)),
        "--description": (("description",), description),
        "--tags": (("tags",), as_tags(tags)),
        "--location": (("location",), location),
        "--admin-username": (("ssh_settings", "admin_username"), admin_username),
        "--admin-password": (("ssh_settings", "admin_password"), admin_password),
        "--ssh-key-value": (("ssh_settings", "ssh_key_value"), ssh_key_value),
        "--ssh-public-access-enabled": (("ssh_public_access_enabled",), ssh_public_access_enabled),
        "--vnet-name": (("network_settings", "vnet_name"), vnet_name),
        "--subnet": (("network_settings", "subnet"), subnet),
        "--enable-node-public-ip": (("enable_node_public_ip",), enable_node_public_ip),
        "--identity-type": (("identity", "type"), identity_type),
        "--user-assigned-identities": (("identity", "user_assigned_identities"), user_assigned_identities or None),
        "--user-object-id": (("create_on_behalf_of", "user_object_id"), user_object_id),
        "--user-tenant-id": (("create_on_behalf_of", "user_tenant_id"), user_tenant_id),
    }
    compute_actions.make(session, file, given, set_)


@NOUN.command(
    "attach",
    "mlcli compute attach --name box --type virtualmachine --address box.example.org --admin-username ann",
    "mlcli compute attach -n box -t virtualmachine -a 10.0.0.7 --ssh-port 2222 --ssh-private-key-file ~/.ssh/id_ed25519",
    "mlcli compute attach -n box -t virtualmachine -a box --accept-host-key SHA256:2AhC...",
    "mlcli compute attach -f machine.yml --set working_directory=/data/mlcli",
)
def attach(
    session: Session,
    *,
    name: NewName = None,
    file: File = None,
    type_: Type = None,
    resource_id: Annotated[
        str | None, flag("--resource-id", metavar="ID", help="Azure's id of it, kept; or its address.")
    ] = None,
    address: Annotated[str | None, flag("--address", "-a", metavar="HOST", help="Its name or address.")] = None,
    admin_username: AdminUsername = None,
    admin_password: AdminPassword = None,
    ssh_port: SshPort = None,
    ssh_private_key_file: SshPrivateKeyFile = None,
    accept_host_key: AcceptHostKey = None,
    ssh_key_value: SshKeyValue = None,
    namespace: Annotated[str | None, flag("--namespace", metavar="NAME", help="Where jobs run on Kubernetes.")] = None,
    identity_type: IdentityType = None,
    user_assigned_identities: Identities,
    description: Description = None,
    tags: Tags,
    set_: Sets,
) -> None:
    """Attach a machine that is there already, over SSH.

    mlcli logs in and says what it found; when that fails, nothing is kept.

    The address is a name, an IP address, or a Host of ~/.ssh/config, whose users, ports, keys and jump hosts count. A
    password or a passphrase comes from MLCLI_SSH_PASSWORD or MLCLI_SSH_PASSPHRASE, the system's keyring, or is asked for, and
    then kept in the keyring.
    """
    machine = type_ is not None and type_.lower() in {"virtualmachine", "vm", "ssh", "remote"}
    if machine and not (file or address or resource_id or set_):
        raise UsageError("which machine? give --address HOST")
    given: Flags = {
        "--name": (("name",), name),
        "--type": (("type",), type_),
        "--resource-id": (("resource_id",), resource_id or address),
        "--address": (("ssh_settings", "host"), address),
        "--admin-username": (("ssh_settings", "admin_username"), admin_username),
        "--admin-password": (("ssh_settings", "admin_password"), admin_password),
        "--ssh-port": (("ssh_settings", "ssh_port"), ssh_port),
        "--ssh-private-key-file": (("ssh_settings", "ssh_private_key_file"), ssh_private_key_file),
        "--ssh-key-value": (("ssh_settings", "ssh_key_value"), ssh_key_value),
        "--namespace": (("namespace",), namespace),
        "--identity-type": (("identity", "type"), identity_type),
        "--user-assigned-identities": (("identity", "user_assigned_identities"), user_assigned_identities or None),
        "--description": (("description",), description),
        "--tags": (("tags",), as_tags(tags)),
    }
    compute_actions.make(session, file, given, set_, accept_host_key=accept_host_key)


@NOUN.command(
    "update",
    "mlcli compute update --name cpu-cluster --max-instances 8",
    "mlcli compute update -n cpu-cluster --set tags.team=vision --remove description",
    "mlcli compute update -n box --ssh-private-key-file ~/.ssh/new --accept-host-key SHA256:2AhC...",
)
def update(
    session: Session,
    *,
    name: Name,
    min_instances: MinInstances = None,
    max_instances: MaxInstances = None,
    idle_time: IdleTime = None,
    tags: Tags,
    admin_username: AdminUsername = None,
    admin_password: AdminPassword = None,
    ssh_port: SshPort = None,
    ssh_private_key_file: SshPrivateKeyFile = None,
    accept_host_key: AcceptHostKey = None,
    identity_type: IdentityType = None,
    user_assigned_identities: Identities,
    set_: Sets,
    add: Annotated[list[str], flags("--add", metavar="KEY=VALUE", help="The same as --set.")],
    remove: Annotated[list[str], flags("--remove", metavar="KEY", help="Take out a key.")],
) -> None:
    """Change a compute; jobs that wait go on by what it then is.

    A machine is logged in to again when it is reached in another way from now on.
    """
    given: Flags = {
        "--admin-username": (("ssh_settings", "admin_username"), admin_username),
        "--admin-password": (("ssh_settings", "admin_password"), admin_password),
        "--ssh-port": (("ssh_settings", "ssh_port"), ssh_port),
        "--ssh-private-key-file": (("ssh_settings", "ssh_private_key_file"), ssh_private_key_file),
        "--min-instances": (("min_instances",), min_instances),
        "--max-instances": (("max_instances",), max_instances),
        "--idle-time-before-scale-down": (("idle_time_before_scale_down",), idle_time),
        "--tags": (("tags",), as_tags(tags)),
        "--identity-type": (("identity", "type"), identity_type),
        "--user-assigned-identities": (("identity", "user_assigned_identities"), user_assigned_identities or None),
    }
    compute_actions.change(session, name, given, [*set_, *add], remove, accept_host_key=accept_host_key)


@NOUN.command("show", "mlcli compute show --name cpu-cluster", "mlcli compute show -n cpu-cluster --query jobs.queued")
def show(session: Session, *, name: Name) -> None:
    """Show a compute: what it is, its nodes, the jobs that run and wait there."""
    compute_actions.show(session, name, [])


@NOUN.command("list", "mlcli compute list -o table", "mlcli compute list --type amlcompute --query '[].name' -o tsv")
def list_(
    session: Session,
    *,
    type_: Annotated[str | None, flag("--type", "-t", metavar="TYPE", help="Only computes of this type.")] = None,
) -> None:
    """List the computes, this machine first."""
    from mlcli.cli import compute_views
    from mlcli.operations import computes

    found = computes.records(session.services, type_.lower() if type_ else None)
    view = compute_views.table(compute_views.row, "no computes")
    session.console.emit(found, view=view, columns=compute_views.row)


@NOUN.command("delete", "mlcli compute delete --name cpu-cluster --yes")
def delete(session: Session, *, name: Name, force: Force, yes: Yes) -> None:
    """Delete a compute; its jobs stay, with all that they made."""
    compute_actions.remove(session, name, force=force, yes=yes, verb="Delete")


@NOUN.command("detach", "mlcli compute detach --name box --yes")
def detach(session: Session, *, name: Name, force: Force, yes: Yes) -> None:
    """Forget a compute that was attached; nothing is done to it."""
    compute_actions.remove(session, name, force=force, yes=yes, verb="Detach")


@NOUN.command("start", "mlcli compute start --name cpu-cluster")
def start(session: Session, *, name: Name) -> None:
    """Start a compute that was stopped: the jobs that wait go on."""
    compute_actions.switch(session, name, started=True)


@NOUN.command("stop", "mlcli compute stop --name cpu-cluster")
def stop(session: Session, *, name: Name) -> None:
    """Stop a compute: no job starts there any more, those that run go on."""
    compute_actions.switch(session, name, started=False)


@NOUN.command("restart", "mlcli compute restart --name cpu-cluster")
def restart(session: Session, *, name: Name) -> None:
    """Start a compute, whether or not it was stopped."""
    compute_actions.switch(session, name, started=True)


@NOUN.command("list-nodes", "mlcli compute list-nodes --name cpu-cluster -o table")
def list_nodes(session: Session, *, name: Name) -> None:
    """List the nodes that a compute has now, and the jobs on them."""
    from mlcli.cli import compute_views
    from mlcli.operations import computes

    computes.record(session.services, name)  # looks at what runs there
    found = computes.nodes(session.services, name)
    view = compute_views.table(compute_views.node_row, "no nodes")
    session.console.emit(found, view=view, columns=compute_views.node_row)


@NOUN.command("list-sizes", "mlcli compute list-sizes -o table")
def list_sizes(
    session: Session,
    *,
    type_: Annotated[str | None, flag("--type", "-t", metavar="TYPE", help="Accepted: all types have them.")] = None,
    location: Annotated[str | None, flag("--location", "-l", metavar="NAME", help="Accepted and ignored.")] = None,
) -> None:
    """List the sizes that a node can have; local.<cores>x<gb> makes one of your own."""
    from mlcli.cli import compute_views
    from mlcli.domain import vm_sizes

    del type_, location
    found = [
        {"name": size.name, "cores": size.cores, "memory_gb": size.memory_gb, "gpus": size.gpus}
        for size in vm_sizes.ALL
    ]
    view: Callable[[Any], Any] = compute_views.table(compute_views.size_row, "no sizes")
    session.console.emit(found, view=view, columns=compute_views.size_row)


@NOUN.command("list-usage", "mlcli compute list-usage -o table")
def list_usage(
    session: Session,
    *,
    location: Annotated[str | None, flag("--location", "-l", metavar="NAME", help="Accepted and ignored.")] = None,
) -> None:
    """List what the jobs on computes use of this machine, and of each compute's nodes."""
    from mlcli.cli import compute_views
    from mlcli.operations import computes

    del location
    found: list[Mapping[str, Any]] = list(computes.usage(session.services))
    view = compute_views.table(compute_views.usage_row, "nothing")
    session.console.emit(found, view=view, columns=compute_views.usage_row)


@NOUN.command(
    "connect-ssh",
    "mlcli compute connect-ssh --name box",
    "mlcli compute connect-ssh --name box --command nvidia-smi",
)
def connect_ssh(
    session: Session,
    *,
    name: Name,
    private_key_file_path: Annotated[
        str | None, flag("--private-key-file-path", "-f", metavar="FILE", help="The private key to log in with.")
    ] = None,
    command: Annotated[
        str | None, flag("--command", "-c", metavar="COMMAND", help="Run this there, and no shell to type in.")
    ] = None,
    ssh_args: Annotated[
        str | None, flag("--ssh-args", metavar="ARGUMENTS", help="More for the program ssh: '-L 8888:localhost:8888'.")
    ] = None,
) -> None:
    """Open a shell on a compute that is reached by SSH, with the program ssh."""
    from mlcli.operations import connecting

    connecting.connect(session.services, name, private_key_file_path, command, ssh_args)
