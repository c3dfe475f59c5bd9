"""``job upgrade``: an older file in today's words, and what changed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mlcli.cli import jobfile
from mlcli.cli.render import coloured, write_text
from mlcli.domain.errors import MlcliError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mlcli.cli.command import Session

_COLOURS = {"+": "32", "-": "31", "@": "36"}


def upgrade(
    session: Session, file: str, *, in_place: bool, target: Path | None, only_diff: bool, overrides: Sequence[str] = ()
) -> None:
    """Print the upgraded file, or write it and print what changed. Raises UsageError, InvalidSpecError, MlcliError."""
    if in_place and (target is not None or file == jobfile.STANDARD_INPUT):
        raise UsageError("--in-place writes the file that is read: it goes neither with --to nor with standard input")
    from mlcli.operations.files import DiskFiles
    from mlcli.spec.generation import recognise
    from mlcli.spec.load import load
    from mlcli.spec.upgrade import upgrade_text

    taken = jobfile.source(file)
    document = load(taken.text, taken.name)
    if recognise(document.tree).noun == "runconfig":
        if in_place or only_diff:
            raise UsageError("a run configuration becomes a file of another kind", hint="write it with: --to job.yml")
        _from_runconfig(session, taken, target, overrides)
        return
    if overrides:
        raise UsageError("--set is for run configurations", hint="upgrade the file, then edit it")
    old = document.text
    new = upgrade_text(old, taken.name, taken.base, DiskFiles())
    written = None if only_diff else Path(file) if in_place else target
    if written is None and not only_diff:
        write_text(new)
        return
    if written is not None and (target is not None or new != old):
        _write(written, new, newline="\r\n" if "\r\n" in old else "\n")
    _show_difference(old, new, taken.name)
    if new == old:
        session.console.notice(f"{taken.name} is in today's words already")
    elif written is not None:
        session.console.notice(f"written: {written}")


def _from_runconfig(session: Session, taken: jobfile.Source, target: Path | None, overrides: Sequence[str]) -> None:
    """A run configuration as a job file: beside the folder that its paths start from they stay as they are, elsewhere they
    become absolute.
    """
    from mlcli.cli.formats import as_yaml
    from mlcli.operations import registry_password
    from mlcli.operations.files import DiskFiles
    from mlcli.spec.build import project_folder
    from mlcli.spec.runconfig import read_runconfig
    from mlcli.spec.standalone import standalone

    project = project_folder(taken.base)
    found = read_runconfig(taken.text, taken.name, project, DiskFiles(), overrides=overrides)
    jobfile.show_diagnostics(session, found.warnings)
    if found.made_compute is not None:
        hint = "mlcli compute create --type amlcompute, and name it under 'compute'"
        session.console.notice(f"a job file has no word for a compute that is made for the run: {hint}")
    job = registry_password.set_apart(found.job)
    if job is not found.job:
        session.console.notice(f"the password of the registry is not written: have it in {registry_password.VARIABLE}")
    place = Path.cwd() if target is None else target.absolute().parent
    text = as_yaml(job.document if place == project else standalone(job))
    if target is None:
        write_text(text)
        return
    _write(target, text, newline="\n")
    session.console.notice(f"written: {target}")


def _write(path: Path, text: str, *, newline: str) -> None:
    try:
        with path.open("w", encoding="utf-8", newline=newline) as stream:
            stream.write(text.replace("\r\n", "\n"))
    except OSError as error:
        raise MlcliError(f"{path} cannot be written: {error.strerror}") from error


def _show_difference(old: str, new: str, name: str) -> None:
    lines = list(_difference(old, new, name))
    if coloured(sys.stdout):
        lines = [f"\x1b[{_COLOURS[line[0]]}m{line}\x1b[0m" if line[0] in _COLOURS else line for line in lines]
    write_text("".join(f"{line}\n" for line in lines))


def _difference(old: str, new: str, name: str) -> Iterator[str]:
    import difflib

    return difflib.unified_diff(old.splitlines(), new.splitlines(), name, f"{name} (upgraded)", lineterm="")
