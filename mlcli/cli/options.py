"""What can be typed after a command: flags and names, declared once, and the ones that several commands share."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from mlcli.cli.formats import FORMATS
from mlcli.domain.errors import MlcliError, UsageError

Completer = Callable[[str, "str | None"], "list[str]"]
"""From what is typed so far, and the workspace that was named before it, to what it may become."""


@dataclass(frozen=True)
class Flag:
    """A flag of a command. ``names``: its long name first.

    ``metavar`` None makes it a switch. ``many``: may be given several times, also as az does (``--set a=1 b=2``).
    ``parse`` turns the text into the value; raises UsageError. ``named``: what a command is about (``job``); then it may
    stand without its flag, and must be given unless ``required`` is false. ``rest``: it is everything from the first word on
    that belongs to no flag, as it is typed, and has no flag itself; ``--`` may stand before it.
    """

    names: tuple[str, ...]
    help: str
    metavar: str | None = None
    many: bool = False
    parse: Callable[[str], Any] = str
    named: str | None = None
    required: bool = True
    complete: Completer | None = None
    rest: bool = False

    @property
    def shown(self) -> str:
        """As the help shows it."""
        return ", ".join(self.names) + (f" {self.metavar}" if self.metavar else "")


def flag(*names: str, metavar: str | None = None, parse: Callable[[str], Any] = str, help: str) -> Flag:  # noqa: A002
    """A flag with one value, or a switch when it has no ``metavar``."""
    return Flag(names, help, metavar, parse=parse)


def flags(*names: str, metavar: str, help: str) -> Flag:  # noqa: A002
    """A flag that takes several values."""
    return Flag(names, help, metavar, many=True)


def complete_job(typed: str, workspace: str | None) -> list[str]:
    """Names of jobs that start so, newest first. Completion never fails: a workspace that cannot be read has none."""
    from mlcli.workspace import open_workspace

    try:
        return list(open_workspace(workspace).runs.complete(typed))
    except MlcliError:
        return []


def complete_format(typed: str, _workspace: str | None) -> list[str]:
    """Output formats that start so."""
    return [name for name in FORMATS if name.startswith(typed)]


def count(text: str) -> int:
    """A whole number, at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"{text!r} is not a whole number above zero")
    return int(text)


def count_or_none(text: str) -> int:
    """A whole number, at least 0."""
    if not text.isdecimal():
        raise UsageError(f"{text!r} is not a whole number")
    return int(text)


def name_of_job(text: str) -> str:
    """A name to look for; what is no text at all (bytes that are not of this locale) cannot be one."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError(
            "the name is not text in this locale", hint="names have letters, digits, '-', '_' and '.'"
        ) from None
    return text


JobName = Annotated[
    str, Flag(("--name", "-n"), "Name of the job.", "NAME", named="job", parse=name_of_job, complete=complete_job)
]
JobNames = Annotated[
    list[str],
    Flag(("--name", "-n"), "Names of jobs.", "NAME", many=True, named="job", parse=name_of_job, complete=complete_job),
]
_RUN = Flag(
    ("--run", "-r", "--name", "-n"), "Name of the run.", "RUN", named="run", parse=name_of_job, complete=complete_job
)
_RUNS = replace(_RUN, help="Names of runs.", many=True)
OldRunName = Annotated[str, _RUN]
OldRunNameOrFile = Annotated[str | None, replace(_RUN, required=False)]
OldRunNames = Annotated[list[str], _RUNS]
OldRunNamesOrNone = Annotated[list[str], replace(_RUNS, required=False)]


def folder_here(text: str) -> Path:
    """The absolute folder, without ``..``: what is above it, and its name, are looked at. Pure, but for where we are."""
    return Path(os.path.normpath(Path(text).absolute()))


ATTACHED_FOLDER = flag(
    "--path", metavar="FOLDER", parse=folder_here, help="A folder in or below an attached one (default: here)."
)
METADATA_OUT = flag(
    "--output-metadata-file", "-t", metavar="FILE", parse=Path, help="Write the answer as JSON to this file too."
)
Metadata = Annotated[
    Path | None,
    replace(METADATA_OUT, help="Write the run as JSON to this file; without --run, the run of the file is meant."),
]
Metrics = Annotated[
    list[str], flags("--metric", "-m", metavar="METRIC", help="Only these: by name, or by a pattern (val/*).")
]
Follow = Annotated[bool, flag("--follow", help="Print points as they come, until the job has ended.")]
MostPoints = Annotated[
    int, flag("--max-results", metavar="N", parse=count, help="At most so many points of each (default: 1000).")
]
EveryPoint = Annotated[bool, flag("--all-results", help="Every point.")]
Sort = Annotated[
    str | None,
    flag(
        "--sort",
        metavar="ORDER",
        help="Sort: metrics.accuracy, params.lr DESC, start_time; best first where a metric's name says what is best.",
    ),
]
Descending = Annotated[bool, flag("--desc", help="Sort from high to low.")]
Condition = Annotated[
    str | None,
    flag("--filter", metavar="FILTER", help="Only those for which this holds, in MLflow's filter grammar."),
]
Sets = Annotated[
    list[str], flags("--set", metavar="KEY=VALUE", help="Set a value, by its dotted path; several may follow.")
]
Web = Annotated[bool, flag("--web", "-e", help="Accepted for az's sake: there is no web page here.")]
Yes = Annotated[bool, flag("--yes", "-y", help="Do not ask.")]
HandOnCode = Annotated[bool, flag("--propagate-exit-code", help="End with the exit code of the job's own command.")]
Folder = Annotated[
    Path,
    flag("--download-path", "-p", metavar="FOLDER", parse=Path, help="Where to (default: here); FOLDER/NAME is made."),
]

COMMON: Mapping[str, Flag] = {
    "output": Flag(
        ("--output", "-o"),
        f"{', '.join(FORMATS[:-1])} or none. Default: a readable view on a terminal, else json.",
        "FORMAT",
        complete=complete_format,
    ),
    "query": flag("--query", metavar="JMESPATH", help="Show only what this JMESPath selects."),
    "workspace_name": flag("--workspace-name", "-w", metavar="NAME", help="The workspace to use."),
    "verbose": flag("--verbose", help="Say more about what is done."),
    "only_show_errors": flag("--only-show-errors", help="No notices, no warnings."),
    "debug": flag("--debug", help="Show the traceback of an error."),
}
"""What every command has, and hands to its session."""

IGNORED: Mapping[str, Flag] = {
    "resource_group": flag("--resource-group", "-g", metavar="NAME", help="Accepted and ignored."),
    "subscription": flag("--subscription", metavar="NAME", help="Accepted and ignored."),
}
"""What az's scripts may give to every command, and means nothing here. Not in the help."""
