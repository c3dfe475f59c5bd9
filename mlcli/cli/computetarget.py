"""``mlcli computetarget``: the older names of ``mlcli compute``, with their own flags."""

from __future__ import annotations

from typing import Annotated

from mlcli.cli import compute, compute_actions
from mlcli.cli.command import Noun, Session
from mlcli.cli.compute import AcceptHostKey, Description, Force, Name, Tags
from mlcli.cli.compute_actions import Flags
from mlcli.cli.options import ATTACHED_FOLDER, Flag, count, count_or_none, flag
from mlcli.cli.tree import NOUNS
from mlcli.domain.errors import UsageError

NOUN = Noun(
    NOUNS["computetarget"],
    ignored={
        "no_wait": flag("--no-wait", help="Accepted and ignored: nothing here takes long."),
        "attached_folder": ATTACHED_FOLDER,
        "v": flag("--v", "-v", help="Accepted and ignored."),
        "subnet_name": flag("--subnet-name", metavar="NAME", help="Accepted and ignored."),
        "vnet_name": flag("--vnet-name", metavar="NAME", help="Accepted and ignored."),
        "vnet_resourcegroup_name": flag("--vnet-resourcegroup-name", metavar="NAME", help="Accepted and ignored."),
        "admin_username": flag("--admin-username", metavar="USER", help="Accepted and ignored."),
        "admin_user_password": flag("--admin-user-password", metavar="PASSWORD", help="Accepted and ignored."),
        "admin_user_ssh_key": flag(
            "--admin-user-ssh-key", "--admin-user-ssh-public-key", metavar="KEY", help="Accepted and ignored."
        ),
        "ssh_public_access": flag(
            "--remote-login-port-public-access", "--ssh-public-access", metavar="STATE", help="Accepted and ignored."
        ),
        "assign_identity": flag("--assign-identity", metavar="ID", help="Accepted and ignored."),
        "user_object_id": flag("--user-object-id", metavar="ID", help="Accepted and ignored."),
        "user_tenant_id": flag("--user-tenant-id", metavar="ID", help="Accepted and ignored."),
        "location": flag("--location", "-l", metavar="PLACE", help="Accepted and ignored."),
    },
    absent={
        "amlcompute": "jobs have the rights of whoever submits them: there are no identities here",
        "computeinstance": "mlcli compute start -n NAME, mlcli compute stop -n NAME",
    },
)
NewName = Annotated[str, flag("--name", "-n", metavar="NAME", help="Its name.")]
MinNodes = Annotated[int | None, flag("--min-nodes", metavar="N", parse=count_or_none, help="Nodes always there.")]
MaxNodes = Annotated[
    int | None, flag("--max-nodes", metavar="N", parse=count, help="How many jobs run at once; the others wait.")
]
IdleSeconds = Annotated[
    int | None,
    flag(
        "--idle-seconds-before-scaledown",
        metavar="SECONDS",
        parse=count_or_none,
        help="Until an idle node is given back.",
    ),
]


@NOUN.command("create", "mlcli computetarget create amlcompute -n cpu-cluster --max-nodes 4 --vm-size Standard_DS2_v2")
def create(
    session: Session,
    *,
    kind: Annotated[str, Flag(("--type",), "amlcompute or computeinstance.", "TYPE", named="type of compute")],
    name: Annotated[str | None, flag("--name", "-n", metavar="NAME", help="Its name.")] = None,
    vm_size: Annotated[str | None, flag("--vm-size", "-s", metavar="SIZE", help="What a node is.")] = None,
    max_nodes: MaxNodes = None,
    min_nodes: MinNodes = None,
    idle_seconds: IdleSeconds = None,
    vm_priority: Annotated[
        str | None, flag("--vm-priority", "-p", metavar="TIER", help="dedicated, or lowpriority: its jobs yield.")
    ] = None,
    description: Description = None,
    tag: Tags,
) -> None:
    """Make a compute target."""
    given: Flags = {
        "--name": (("name",), name),
        "--type": (("type",), kind),
        "--vm-size": (("size",), vm_size),
        "--max-nodes": (("max_instances",), max_nodes),
        "--min-nodes": (("min_instances",), min_nodes),
        "--idle-seconds-before-scaledown": (("idle_time_before_scale_down",), idle_seconds),
        "--vm-priority": (("tier",), compute_actions.as_tier(vm_priority)),
        "--description": (("description",), description),
        "--tag": (("tags",), compute_actions.as_tags(tag)),
    }
    compute_actions.make(session, None, given, [])


@NOUN.command(
    "attach",
    "mlcli computetarget attach remote -n box --address box.example.org --username ann --private-key-file ~/.ssh/id",
)
def attach(
    session: Session,
    *,
    kind: Annotated[str, Flag(("--type",), "remote, aks or kubernetes.", "TYPE", named="type of compute")],
    name: Annotated[str | None, flag("--name", "-n", metavar="NAME", help="Its name.")] = None,
    address: Annotated[str | None, flag("--address", "-a", metavar="HOST", help="Its name or address.")] = None,
    username: Annotated[str | None, flag("--username", "-u", metavar="USER", help="Whom to log in as.")] = None,
    ssh_port: Annotated[int | None, flag("--ssh-port", metavar="PORT", parse=compute.port, help="Default: 22.")] = None,
    password: Annotated[
        str | None, flag("--password", "-p", metavar="PASSWORD", help="For the system's keyring; rather use a key.")
    ] = None,
    private_key_file: Annotated[
        str | None, flag("--private-key-file", metavar="FILE", help="The private key to log in with.")
    ] = None,
    private_key_passphrase: Annotated[
        str | None,
        flag("--private-key-passphrase", metavar="TEXT", help="For the system's keyring; rather use an agent."),
    ] = None,
    accept_host_key: AcceptHostKey = None,
    compute_resource_id: Annotated[
        str | None, flag("--compute-resource-id", "-i", metavar="ID", help="Azure's id of a cluster.")
    ] = None,
) -> None:
    """Attach a machine that is there already, over SSH.

    mlcli logs in and says what it found; when that fails, nothing is kept.
    """
    is_machine = kind.lower() == "remote"
    given: Flags = {
        "--name": (("name",), name),
        "--type": (("type",), "ssh" if is_machine else "kubernetes" if kind.lower() == "aks" else kind),
        "--address": (("host",), address),
        "--compute-resource-id": (("resource_id",), compute_resource_id),
        "--username": (("ssh_settings", "admin_username"), username),
        "--ssh-port": (("ssh_settings", "ssh_port"), ssh_port),
        "--password": (("ssh_settings", "admin_password"), password),
        "--private-key-file": (("ssh_settings", "ssh_private_key_file"), private_key_file),
    }
    if is_machine and address is None:
        raise UsageError("which machine? give --address HOST")
    compute_actions.make(session, None, given, [], passphrase=private_key_passphrase, accept_host_key=accept_host_key)


@NOUN.command("update", "mlcli computetarget update amlcompute -n cpu-cluster --max-nodes 8")
def update(
    session: Session,
    *,
    kind: Annotated[str, Flag(("--type",), "amlcompute.", "TYPE", named="type of compute")],
    name: NewName,
    max_nodes: MaxNodes = None,
    min_nodes: MinNodes = None,
    idle_seconds: IdleSeconds = None,
) -> None:
    """Change a compute target."""
    del kind
    given: Flags = {
        "--max-nodes": (("max_instances",), max_nodes),
        "--min-nodes": (("min_instances",), min_nodes),
        "--idle-seconds-before-scaledown": (("idle_time_before_scale_down",), idle_seconds),
    }
    compute_actions.change(session, name, given, [], [])


@NOUN.command("show", "mlcli computetarget show -n cpu-cluster")
def show(session: Session, *, name: Name) -> None:
    """Show a compute target."""
    compute.show(session, name=name)


@NOUN.command("get-credentials", "mlcli computetarget get-credentials -n box")
def get_credentials(session: Session, *, name: Name) -> None:
    """Show how to log in to a machine that was attached; never a password."""
    from mlcli.cli import views
    from mlcli.operations import computes

    found = computes.get(session.services, name)
    session.console.emit(compute_actions.login(found), view=views.facts)


@NOUN.command("list", "mlcli computetarget list -o table")
def list_(session: Session) -> None:
    """List the compute targets, this machine first."""
    compute.list_(session)


@NOUN.command("delete", "mlcli computetarget delete -n cpu-cluster")
def delete(session: Session, *, name: Name, force: Force) -> None:
    """Delete a compute target; its jobs stay, with all that they made."""
    compute_actions.remove(session, name, force=force, yes=True, verb="Delete")


@NOUN.command("detach", "mlcli computetarget detach -n box")
def detach(session: Session, *, name: Name, force: Force) -> None:
    """Forget a compute target that was attached; nothing is done to it."""
    compute_actions.remove(session, name, force=force, yes=True, verb="Detach")
