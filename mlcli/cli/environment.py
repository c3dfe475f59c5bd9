"""``mlcli environment``: what jobs run in, registered under a name, built once, found for ever."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from mlcli.cli import actions, environment_v1
from mlcli.cli import environment_about as about
from mlcli.cli.command import Noun, Session
from mlcli.cli.options import ATTACHED_FOLDER, METADATA_OUT, Sets, Yes, count, flag, flags, name_of_job
from mlcli.cli.tree import NOUNS
from mlcli.domain.errors import UsageError

if TYPE_CHECKING:
    from mlcli.ports.stores import Asset

NOUN = Noun(
    NOUNS["environment"],
    ignored={
        "datastore": flag("--datastore", metavar="NAME", help="Accepted and ignored: the workspace keeps the files."),
        "attached_folder": ATTACHED_FOLDER,
        "output_metadata_file": METADATA_OUT,
    },
)


@NOUN.command(
    "create",
    "mlcli environment create -f environment.yml",
    "mlcli environment create --name train --conda-file conda.yml --image python:3.12-slim",
    "mlcli environment create --name train --build-context docker/ --tags team=vision",
)
def create(
    session: Session,
    *,
    file: Annotated[str | None, about.FILE] = None,
    name: Annotated[str | None, flag("--name", "-n", metavar="NAME", help="Its name; replaces the file's.")] = None,
    version: Annotated[
        str | None, flag("--version", "-v", metavar="VERSION", help="Its version (default: the next number).")
    ] = None,
    image: Annotated[str | None, flag("--image", "-i", metavar="IMAGE", help="The Docker image.")] = None,
    conda_file: Annotated[
        str | None,
        flag(
            "--conda-file",
            "-c",
            metavar="FILE",
            parse=about.existing_file,
            help="A conda file; alone, or beside an image.",
        ),
    ] = None,
    build_context: Annotated[
        str | None,
        flag(
            "--build-context", "-b", metavar="FOLDER", parse=about.existing_folder, help="The folder of a Docker build."
        ),
    ] = None,
    dockerfile_path: Annotated[
        str | None, flag("--dockerfile-path", "-d", metavar="FILE", help="The Dockerfile, from that folder.")
    ] = None,
    description: Annotated[str | None, flag("--description", metavar="TEXT", help="What it is for.")] = None,
    tags: Annotated[list[str], flags("--tags", metavar="KEY=VALUE", help="Tags; several may follow.")],
    os_type: Annotated[str | None, flag("--os-type", metavar="linux", help="The image's operating system.")] = None,
    set_: Sets,
) -> None:
    """Register an environment, from a YAML file or from flags.

    A version is never changed: another definition is another version. The folder of a Docker build is kept with it, so that
    a later change of the folder changes nothing.
    """
    from mlcli.cli import environment_file
    from mlcli.cli import environment_views as views
    from mlcli.operations import environments

    given = {
        "name": name,
        "version": version,
        "image": image,
        "conda_file": conda_file,
        "build": environment_file.given_only({"path": build_context, "dockerfile_path": dockerfile_path}),
        "description": description,
        "tags": {key: value for key, _, value in (text.partition("=") for text in tags)} or None,
        "os_type": os_type,
    }
    written = environment_file.read(file, set_, environment_file.given_only(given) or {})
    asset, notices = environments.create(session.services, written)
    about.tell(session, notices)
    session.console.emit(environments.record(asset, session.services), view=views.environment, columns=views.row)


@NOUN.command(
    "list", "mlcli environment list", "mlcli environment list --name train", "mlcli environment list --cached"
)
def list_(
    session: Session,
    *,
    name: Annotated[str | None, flag("--name", "-n", metavar="NAME", help="The versions of this environment.")] = None,
    include_archived: Annotated[bool, flag("--include-archived", help="Archived ones too.")],
    archived_only: Annotated[bool, flag("--archived-only", help="Archived ones only.")],
    max_results: Annotated[
        int | None, flag("--max-results", "-r", metavar="N", parse=count, help="At most so many.")
    ] = None,
    cached: Annotated[bool, flag("--cached", help="What is built on this machine, by size and last use.")],
) -> None:
    """List environments: registered ones, the versions of one, or what is built here."""
    from mlcli.cli import environment_views as views
    from mlcli.operations import assets, environment_cache, environments

    if cached:
        built, notices = environment_cache.cached(session.services)
        about.tell(session, notices)
        rows = [environment_cache.cached_record(one) for one in built[:max_results]]
        session.console.emit(rows, view=views.built_environments, columns=views.cached_row)
        return
    found = assets.listing(
        session.services,
        environments.KIND,
        name,
        include_archived=include_archived or archived_only,
        archived_only=archived_only,
        version_record=environments.record,
    )
    session.console.emit(found[:max_results], view=views.environments, columns=views.row if name else views.name_row)


@NOUN.command(
    "show",
    "mlcli environment show train:3",
    "mlcli environment show -n train --dockerfile",
    "mlcli environment show AzureML-sklearn-1.5",
)
def show(
    session: Session,
    *,
    name: about.Name,
    version: about.Version = None,
    label: about.Label = None,
    docker: about.Docker,
    no_docker: about.NoDocker,
    dockerfile: Annotated[bool, flag("--dockerfile", help="Print the Dockerfile that its image is made with.")],
    log: Annotated[bool, flag("--log", help="Print the log of its last build.")],
) -> None:
    """Show an environment: its definition, and how it stands on this machine."""
    from mlcli.cli import environment_views as views
    from mlcli.domain.errors import MlcliError
    from mlcli.operations import environment_cache

    reference = about.reference(name, version, label)
    asset, spec = about.found(session, reference)
    asked = about.asked(docker, no_docker)
    if dockerfile:
        about.print_dockerfile(session, spec, asked)
        return
    if log:
        about.print_log(session, environment_cache.standing(session.services, spec, in_container=asked))
        return
    shown = about.record(session, reference, asset, spec)
    try:
        shown["on_this_machine"] = environment_cache.record(
            environment_cache.standing(session.services, spec, in_container=asked)
        )
    except MlcliError as refused:
        shown["on_this_machine"] = {"problem": refused.message, "hint": refused.hint}
    session.console.emit(shown, view=views.environment, columns=views.row)


@NOUN.command(
    "build",
    "mlcli environment build train:3",
    "mlcli environment build -n train --docker",
    "mlcli environment build -f environment.yml",
)
def build(
    session: Session,
    *,
    name: about.OptionalName = None,
    version: about.Version = None,
    label: about.Label = None,
    file: Annotated[str | None, about.FILE] = None,
    docker: about.Docker,
    no_docker: about.NoDocker,
) -> None:
    """Build an environment on this machine now; a job that needs it starts at once then.

    One that is built already is left as it is; one whose build failed is tried again.
    """
    from mlcli.cli import environment_file
    from mlcli.cli import environment_views as views
    from mlcli.operations import environment_cache

    if (name is None) == (file is None):
        raise UsageError("which environment? give its --name, or a --file")
    if file is not None:
        spec = environment_file.read_unnamed(file).spec
    else:
        spec = about.found(session, about.reference(str(name), version, label))[1]
    found = environment_cache.standing(session.services, spec, in_container=about.asked(docker, no_docker))
    if found.notice:
        session.console.notice(found.notice)
    made = environment_cache.build(session.services, found, session.console.notice)
    session.console.emit({**made, "was_cached": found.plan.cached}, view=views.built)


@NOUN.command(
    "build-log", "mlcli environment build-log -n train", "mlcli environment build-log --job-name calm_harbor_7k2m9xq4"
)
def build_log(
    session: Session,
    *,
    name: about.OptionalName = None,
    version: about.Version = None,
    label: about.Label = None,
    job_name: Annotated[
        str | None,
        flag("--job-name", metavar="JOB", parse=name_of_job, help="The environment that this job waited for."),
    ] = None,
    fingerprint: Annotated[
        str | None, flag("--fingerprint", metavar="HEX", help="The environment by fingerprint; its first letters do.")
    ] = None,
    docker: about.Docker,
    no_docker: about.NoDocker,
) -> None:
    """Print the log of an environment's last build here, whether it went well or not."""
    from mlcli.operations import environment_cache

    if sum(given is not None for given in (name, job_name, fingerprint)) != 1:
        raise UsageError("whose build log? give --name, --job-name or --fingerprint")
    if job_name is not None:
        about.print_file(session, environment_cache.log_of_run(session.services, job_name))
    elif fingerprint is not None:
        about.print_file(session, environment_cache.log_of(session.services, fingerprint))
    else:
        spec = about.found(session, about.reference(str(name), version, label))[1]
        about.print_log(
            session, environment_cache.standing(session.services, spec, in_container=about.asked(docker, no_docker))
        )


@NOUN.command(
    "update",
    "mlcli environment update -n train --set description='Vision team' tags.stage=final",
    "mlcli environment update train:3 --add-label prod",
)
def update(
    session: Session,
    *,
    name: about.Name,
    version: about.Version = None,
    label: about.Label = None,
    set_: Sets,
    add: Annotated[list[str], flags("--add", metavar="KEY=VALUE", help="Add a tag; the same as --set.")],
    remove: Annotated[list[str], flags("--remove", metavar="KEY", help="Take out a tag, or empty the description.")],
    add_label: Annotated[
        list[str], flags("--add-label", metavar="LABEL", help="Put this label here; the version that had it loses it.")
    ],
    remove_label: Annotated[list[str], flags("--remove-label", metavar="LABEL", help="Take this label away.")],
) -> None:
    """Change an environment's description, tags and labels.

    Its definition stays: another one is another version.
    """
    from mlcli.cli import environment_views as views
    from mlcli.cli.edits import Changeable, edited
    from mlcli.operations import environments
    from mlcli.ports.stores import AssetChanges
    from mlcli.spec.references import checked_label

    if not (set_ or add or remove or add_label or remove_label):
        raise UsageError("nothing to change", hint="--set tags.stage=final, --set description='...', --add-label prod")
    changeable = Changeable("environment", ("description",), ("tags",))
    labels = tuple(checked_label(text) for text in add_label)

    def change(current: Asset) -> AssetChanges:
        about.check_labels(current, remove_label)
        texts, maps = edited(changeable, current, [*set_, *add], remove)
        return AssetChanges(
            texts.get("description"), maps.get("tags"), add_labels=labels, remove_labels=tuple(remove_label)
        )

    asset = environments.registered(session.services, about.reference(name, version, label))
    changed = session.services.assets.edit(environments.KIND, asset.name, asset.version, change)
    session.console.emit(environments.record(changed, session.services), view=views.environment, columns=views.row)


@NOUN.command("archive", "mlcli environment archive -n train", "mlcli environment archive train:3")
def archive(session: Session, *, name: about.Name, version: about.Version = None, label: about.Label = None) -> None:
    """Hide an environment from lists and from @latest: one version, or all of them.

    It can still be used by its version.
    """
    from mlcli.operations import assets, environments

    assets.archive(session.services, environments.KIND, about.reference(name, version, label), archived=True)


@NOUN.command("restore", "mlcli environment restore -n train")
def restore(session: Session, *, name: about.Name, version: about.Version = None, label: about.Label = None) -> None:
    """Show an archived environment again: one version, or all of them."""
    from mlcli.operations import assets, environments

    assets.archive(session.services, environments.KIND, about.reference(name, version, label), archived=False)


@NOUN.command("delete", "mlcli environment delete train:3", "mlcli environment delete -n train --yes")
def delete(
    session: Session, *, name: about.Name, version: about.Version = None, label: about.Label = None, yes: Yes
) -> None:
    """Delete an environment for good: one version, or all of them.

    Jobs that ran in it keep their records, and what is built stays until `mlcli environment prune`.
    """
    from mlcli.operations import environments

    reference = about.reference(name, version, label)
    chosen = environments.registered(session.services, reference).version if reference.label else reference.version
    what = f"{f'version {chosen}' if chosen else 'every version'} of the environment {reference.name}"
    actions.ask(session, f"Delete {what}?", yes=yes)
    session.services.assets.delete(environments.KIND, reference.name, chosen)
    session.console.notice(f"deleted {what}")


@NOUN.command(
    "export", "mlcli environment export -n train --file environment.yml", "mlcli environment export -n train --pinned"
)
def export(
    session: Session,
    *,
    name: about.Name,
    version: about.Version = None,
    label: about.Label = None,
    file: Annotated[
        Path | None, flag("--file", "-f", metavar="FILE", parse=Path, help="Write it there (default: print it).")
    ] = None,
    pinned: Annotated[bool, flag("--pinned", help="With every version as it is built on this machine.")],
    docker: about.Docker,
    no_docker: about.NoDocker,
) -> None:
    """Write an environment as a YAML file in today's words, its conda file put in.

    The folder of a Docker build is written beside the file.
    """
    from mlcli.cli.environment_export import write
    from mlcli.operations import environment_cache

    reference = about.reference(name, version, label)
    asset, spec = about.found(session, reference)
    if pinned:
        spec = environment_cache.pinned(session.services, spec, in_container=about.asked(docker, no_docker))
    write(session, asset, spec, file)


@NOUN.command(
    "prune",
    "mlcli environment prune --older-than 30d",
    "mlcli environment prune --unused --dry-run",
    "mlcli environment prune --all --yes",
)
def prune(
    session: Session,
    *,
    older_than: Annotated[
        str | None, flag("--older-than", metavar="DAYS", help="What was last used longer ago: 30, 30d, 12h.")
    ] = None,
    unused: Annotated[bool, flag("--unused", help="What no kept job of any workspace was made for.")],
    all_: Annotated[bool, flag("--all", help="Everything that no live job uses.")],
    dry_run: Annotated[bool, flag("--dry-run", help="Only show what.")],
    yes: Yes,
) -> None:
    """Take built environments off the disk; a job that needs one builds it again.

    Registered names stay.
    One goes when all that is given applies to it; with nothing given, the unused go. What a live job uses stays.
    What failed builds have left, their logs too, goes in the same way.
    """
    from functools import partial

    from mlcli.cli import environment_views as views
    from mlcli.cli import values
    from mlcli.operations import environment_cache

    if all_ and (unused or older_than):
        raise UsageError("--all takes everything: --unused and --older-than choose", hint="give --all, or the others")
    span = f"{older_than}d" if older_than and older_than.isdecimal() else older_than
    remove = partial(
        environment_cache.prune,
        session.services,
        older_than_s=values.span(span, "--older-than") if span else None,
        unused=unused,
        everything=all_,
    )
    found = remove(dry_run=True)
    if not dry_run and (found.environments or found.failed):
        failed = f", and what {len(found.failed)} failed builds have left," if found.failed else ""
        actions.ask(session, f"Take {len(found.environments)} built environments{failed} off the disk?", yes=yes)
        found = remove()
        about.tell(session, found.problems)
    record = {
        "environments": [environment_cache.cached_record(one) for one in found.environments],
        "failed_builds": list(found.failed),
        "freed": found.freed,
        "dry_run": dry_run,
    }
    session.console.emit(record, view=views.pruned_environments)


environment_v1.add(NOUN)
