"""What the nouns ``data``, ``model``, ``component`` and ``datastore`` share: how they are read, and the same commands for each.

The commands are made in closures, so this module evaluates its annotations: it has no ``from __future__ import annotations``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from mlcli.cli import actions
from mlcli.cli.command import Noun, Session
from mlcli.cli.options import Completer, Flag, Sets, Yes, count, flag, flags, name_of_job
from mlcli.domain.errors import InvalidSpecError, UsageError

if TYPE_CHECKING:
    from mlcli.ports.stores import Asset
    from mlcli.spec.assets import WrittenAsset
    from mlcli.spec.references import AssetReference

_FLAGS = "the flags"
Given = dict[str, tuple[tuple[str | int, ...], Any]]
Row = Callable[[Any], dict[str, Any]]

Version = Annotated[str | None, flag("--version", "-v", metavar="VERSION", help="Its version (default: the latest).")]
Label = Annotated[
    str | None, flag("--label", "-l", metavar="LABEL", help="The version with this label, such as latest.")
]
NewVersion = Annotated[
    str | None, flag("--version", "-v", metavar="VERSION", help="Its version (default: the next number).")
]
Tags = Annotated[list[str], flags("--tags", metavar="KEY=VALUE", help="Tags; several may follow.")]
Copy = Annotated[bool, flag("--copy", help="Keep a copy in the workspace (default: a reference to where it is).")]
IncludeArchived = Annotated[bool, flag("--include-archived", help="Archived ones too.")]
ArchivedOnly = Annotated[bool, flag("--archived-only", help="Archived ones only.")]
MaxResults = Annotated[
    int | None, flag("--max-results", "--max-pages", "-r", metavar="N", parse=count, help="At most so many.")
]
Add = Annotated[list[str], flags("--add", metavar="KEY=VALUE", help="The same as --set.")]
Remove = Annotated[list[str], flags("--remove", metavar="KEY", help="Take out a tag, or empty the description.")]
IGNORED = {
    "datastore": flag("--datastore", "--datastore-name", "-z", metavar="NAME", help="Accepted and ignored."),
    "no_wait": flag("--no-wait", help="Accepted and ignored."),
    "skip_validation": flag("--skip-validation", help="Accepted and ignored."),
    "force_string": flag("--force-string", help="Accepted and ignored: values of tags are texts."),
}


def completer(noun: str) -> Completer:
    """Completes registered names of a noun. Completion never fails."""

    def complete(typed: str, workspace: str | None) -> list[str]:
        from mlcli.domain.errors import MlcliError
        from mlcli.workspace import open_workspace

        try:
            return [name for name in open_workspace(workspace).assets.names(noun) if name.startswith(typed)]
        except MlcliError:
            return []

    return complete


def named(noun: str, help_: str | None = None) -> Flag:
    """The name that a command is about."""
    told = help_ or f"Name of the {noun}; NAME:VERSION and NAME@LABEL do too."
    return Flag(("--name", "-n"), told, "NAME", named=noun, parse=name_of_job, complete=completer(noun))


def new_name(noun: str) -> Flag:
    """The name of what is made."""
    return Flag(("--name", "-n"), "Its name; replaces the file's.", "NAME", named=noun, required=False)


def file_flag(noun: str) -> Flag:
    """The file of what is made."""
    return flag("--file", "-f", metavar="FILE", help=f"The {noun}'s YAML, of any generation; - reads standard input.")


def location(text: str) -> str:
    """A path as a flag gives it, from the current folder; an address as it is."""
    from mlcli.spec.references import is_reference

    return text if is_reference(text) or "://" in text else str(Path(text).absolute())


def tags(given: list[str]) -> dict[str, str] | None:
    """``key=value`` texts as a map, None when there are none."""
    return {key: value for key, _, value in (text.partition("=") for text in given)} or None


def read(noun: str, file: str | None, given: Given, overrides: list[str]) -> "WrittenAsset":
    """What a file and flags (those that are not None) describe. Flags have no lines: what is wrong with them is a
    UsageError.
    """
    from mlcli.cli import jobfile
    from mlcli.operations.files import DiskFiles
    from mlcli.spec.assets import read_asset
    from mlcli.spec.references import WORDS

    typed = {name: entry for name, entry in given.items() if entry[1] is not None}
    if file is not None:
        taken = jobfile.source(file)
        return read_asset(noun, taken.text, taken.name, taken.base, DiskFiles(), flags=typed, overrides=overrides)
    if "--name" not in typed:
        raise UsageError(f"which {WORDS.get(noun, noun)}? give --file FILE, or --name NAME with what it is")
    try:
        return read_asset(noun, None, _FLAGS, Path.cwd(), DiskFiles(), flags=typed, overrides=overrides)
    except InvalidSpecError as wrong:
        found = wrong.diagnostics[0]
        place = found.place.file
        prefix = f"{place}: " if place.startswith("--") else ""
        raise UsageError(f"{prefix}{found.message}", hint=found.hint) from wrong


def create(session: Session, written: "WrittenAsset", *, copy: bool = False) -> None:
    """Register it, and print it."""
    from mlcli.operations import assets

    asset, notices = assets.create(session.services, written, copy=copy)
    tell(session, notices)
    emit(session, asset)


def emit(session: Session, asset: "Asset") -> None:
    """Print a registered version."""
    from mlcli.cli import asset_views
    from mlcli.operations import assets

    session.console.emit(assets.record(asset, session.services), view=asset_views.version, columns=asset_views.row)


def tell(session: Session, notices: Any) -> None:
    """What the person should know."""
    for notice in notices:
        session.console.notice(notice)


def reference(noun: str, name: str, version: str | None, label: str | None) -> "AssetReference":
    """What was typed as the name, with the flags. Raises UsageError where they say two things."""
    from mlcli.spec.references import AssetReference, parse_reference

    found = parse_reference(name)
    if not isinstance(found, AssetReference) or found.noun not in {None, noun} or found.registry:
        raise UsageError(f"{name!r} does not name a {noun}", hint="NAME, NAME:VERSION or NAME@LABEL")
    if version is None and label is None:
        return found
    if found.version or found.label or (version and label):
        raise UsageError(f"which version of {found.name!r}? give one of NAME:VERSION, --version and --label")
    return replace(found, version=version, label=label)


@dataclass(frozen=True)
class Common:
    """The commands that every versioned noun has; ``word``: as a sentence calls it; ``example``: a name for the help."""

    noun: Noun
    kind: str
    word: str
    example: str

    def add(self) -> None:
        """All of them, in the order of the help."""
        for make in (_list, _show, _update, _archive, _restore, _delete):
            make(self)

    def command(self, verb: str, text: str, *examples: str) -> Callable[[Callable[..., None]], None]:
        """Add a function as a command, with that help."""

        def put(function: Callable[..., None]) -> None:
            function.__doc__ = text
            typed = (f"mlcli {self.kind} {verb}{' ' if example else ''}{example}" for example in examples)
            self.noun.command(verb, *typed)(function)

        return put

    @property
    def name(self) -> Flag:
        """The name that a command is about."""
        return named(self.kind)


def _list(common: Common) -> None:
    text = f"List {common.word}: names with their latest versions, or the versions of one."

    @common.command("list", text, "", f"--name {common.example} -o table")
    def list_(
        session: Session,
        *,
        name: Annotated[str | None, flag("--name", "-n", metavar="NAME", help="The versions of this one.")] = None,
        include_archived: IncludeArchived,
        archived_only: ArchivedOnly,
        max_results: MaxResults = None,
    ) -> None:
        from mlcli.cli import asset_views
        from mlcli.operations import assets

        found = assets.listing(
            session.services,
            common.kind,
            name,
            include_archived=include_archived or archived_only,
            archived_only=archived_only,
        )
        columns = asset_views.row if name else asset_views.name_row
        session.console.emit(found[:max_results], view=asset_views.listing(common.word), columns=columns)


def _show(common: Common) -> None:
    @common.command("show", f"Show one of the {common.word}.", f"{common.example}:1", f"-n {common.example}")
    def show(
        session: Session,
        *,
        name: Annotated[str, common.name],
        version: Version = None,
        label: Label = None,
    ) -> None:
        from mlcli.operations import assets

        emit(session, assets.find(session.services, common.kind, reference(common.kind, name, version, label)))


def _update(common: Common) -> None:
    text = "Change description, tags and labels.\n\nThe definition of a version stays: another one is another version."
    example = common.example

    @common.command("update", text, f"-n {example} --set tags.stage=final", f"{example}:1 --add-label prod")
    def update(
        session: Session,
        *,
        name: Annotated[str, common.name],
        version: Version = None,
        label: Label = None,
        set_: Sets,
        add: Add,
        remove: Remove,
        add_label: Annotated[
            list[str], flags("--add-label", metavar="LABEL", help="Put this label here; another version loses it.")
        ],
        remove_label: Annotated[list[str], flags("--remove-label", metavar="LABEL", help="Take this label away.")],
    ) -> None:
        from mlcli.operations import assets

        asset = assets.find(session.services, common.kind, reference(common.kind, name, version, label))
        change = changes(common.kind, [*set_, *add], remove, add_label, remove_label)
        emit(session, session.services.assets.edit(common.kind, asset.name, asset.version, change))


def changes(
    kind: str, sets: list[str], removes: list[str], add_label: list[str], remove_label: list[str]
) -> Callable[["Asset"], Any]:
    """What the flags of ``update`` make of a version. Raises UsageError when they say nothing."""
    from mlcli.cli.edits import Changeable, edited
    from mlcli.ports.stores import AssetChanges
    from mlcli.spec.references import checked_label

    if not (sets or removes or add_label or remove_label):
        raise UsageError("nothing to change", hint="--set tags.stage=final, --set description='...', --add-label prod")
    changeable = Changeable(kind, ("description",), ("tags",))
    labels = tuple(checked_label(text) for text in add_label)

    def change(current: "Asset") -> AssetChanges:
        texts, maps = edited(changeable, current, sets, removes)
        return AssetChanges(
            texts.get("description"), maps.get("tags"), add_labels=labels, remove_labels=tuple(remove_label)
        )

    return change


def _archive(common: Common) -> None:
    text = "Hide it from lists and from @latest: one version, or all of them.\n\nIt can still be used by its version."
    _hiding(common, "archive", text, archived=True)


def _restore(common: Common) -> None:
    _hiding(common, "restore", "Show what was archived again: one version, or all of them.", archived=False)


def _hiding(common: Common, verb: str, text: str, *, archived: bool) -> None:
    @common.command(verb, text, f"-n {common.example}", f"{common.example}:1")
    def hide(
        session: Session,
        *,
        name: Annotated[str, common.name],
        version: Version = None,
        label: Label = None,
    ) -> None:
        from mlcli.operations import assets

        about = reference(common.kind, name, version, label)
        assets.archive(session.services, common.kind, about, archived=archived)


def _delete(common: Common) -> None:
    text = (
        "Delete it for good: one version, or all of them.\n\n"
        "A copy that the workspace keeps goes with it; files that it only refers to stay where they are."
    )

    @common.command("delete", text, f"{common.example}:1", f"-n {common.example} --yes")
    def delete(
        session: Session,
        *,
        name: Annotated[str, common.name],
        version: Version = None,
        label: Label = None,
        yes: Yes,
    ) -> None:
        from mlcli.operations import assets

        about = reference(common.kind, name, version, label)
        chosen = assets.find(session.services, common.kind, about).version if about.label else about.version
        which = f"version {chosen}" if chosen else "every version"
        what = f"{which} of the {common.kind} {about.name}"
        actions.ask(session, f"Delete {what}?", yes=yes)
        session.services.assets.delete(common.kind, about.name, chosen)
        session.console.notice(f"deleted {what}")


def given(**flags_: tuple[str, Any]) -> Given:
    """Flags as :func:`read` takes them, by the key in the file that each stands for."""
    return {flag_: ((key,), value) for key, (flag_, value) in flags_.items()}


def without(mapping: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """The same but for these keys."""
    return {key: value for key, value in mapping.items() if key not in keys}
