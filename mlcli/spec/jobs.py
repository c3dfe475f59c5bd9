"""The facade of the room: a job file's text in, a checked and built job out, whatever generation it was written in."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mlcli.domain.errors import Diagnostic, InvalidSpecError, Severity, UnsupportedError, UsageError
from mlcli.spec.generation import Kind, recognise
from mlcli.spec.load import Document, load
from mlcli.spec.validate import validate

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mlcli.domain.job import CommandJob
    from mlcli.domain.sweep import SweepJob
    from mlcli.ports.files import FileReader

__all__ = ["LoadedJob", "LoadedSweep", "check_file", "read"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,254}")
_CREATED = frozenset({"command", "sweep"})
_NAME_RULE = "a job name has 1 to 255 letters, digits, '_' and '-', and starts with a letter or a digit"


@dataclass(frozen=True)
class LoadedJob:
    """A job, what its file is, and what a person may want to know of it."""

    job: CommandJob
    kind: Kind
    warnings: tuple[Diagnostic, ...]


@dataclass(frozen=True)
class LoadedSweep:
    """As :class:`LoadedJob`, of a sweep."""

    sweep: SweepJob
    kind: Kind
    warnings: tuple[Diagnostic, ...]


def read(
    text: str | bytes,
    file: str,
    base: Path,
    reader: FileReader,
    *,
    overrides: Sequence[str] = (),
    name: str | None = None,
    check: bool = True,
    submitting: bool = True,
) -> LoadedJob | LoadedSweep:
    """The job of a file that can be created: a command or a sweep.

    ``file``: the name that errors show. ``base``: the absolute folder that relative paths start from. ``overrides``:
    ``a.b=value``. ``name``: replaces the file's own. ``check=False`` leaves out what the schema does not say
    (``--skip-validation``). ``submitting``: the job is about to run, so that missing data is an error, no more a warning.
    Raises InvalidSpecError with everything that is wrong, in file order; UsageError for a
    ``name`` that cannot be one; UnsupportedError for a file that is valid and no such job.
    """
    if name is not None and _NAME.fullmatch(name) is None:
        raise UsageError(f"{name!r} cannot be the name of a job", hint=_NAME_RULE)
    document, kind, found = _examined(text, file, base, reader, overrides, check=check)
    if name is not None:
        found = tuple(one for one in found if (one.code, one.path) != ("bad-name", "$.name"))
    if submitting:
        found = tuple(replace(one, severity=Severity.ERROR) if one.code == "missing-data" else one for one in found)
    errors, warnings = _parted(found)
    if errors:
        raise InvalidSpecError(found)
    if kind.noun != "job" or kind.type not in _CREATED:
        raise _unsupported(file, kind)
    normal = _normal(document, kind, base, reader)
    if name is not None:
        normal["name"] = name
    if kind.type == "sweep":
        return LoadedSweep(_built_sweep(document, normal, kind, base, reader), kind, warnings)
    return LoadedJob(_built(document, normal, kind, base, reader), kind, warnings)


def check_file(
    text: str | bytes, file: str, base: Path, reader: FileReader, *, overrides: Sequence[str] = ()
) -> tuple[Kind, tuple[Diagnostic, ...]]:
    """What a file is and everything found in it, errors and warnings in file order; for every type of job and asset.

    Raises InvalidSpecError when it cannot even be read as YAML, or an override cannot be applied.
    """
    document, kind, found = _examined(text, file, base, reader, overrides, check=True)
    if not _parted(found)[0] and kind.noun == "runconfig":
        found = (*found, *_found_in_runconfig(document, base, reader))
    if not _parted(found)[0] and kind.noun == "job":
        try:
            normal = _normal(document, kind, base, reader)
            if kind.type == "command":
                _built(document, normal, kind, base, reader)
            elif kind.type == "sweep":
                _built_sweep(document, normal, kind, base, reader)
        except InvalidSpecError as error:
            found = (*found, *error.diagnostics)
    return kind, found


def _found_in_runconfig(document: Document, base: Path, reader: FileReader) -> tuple[Diagnostic, ...]:
    """What there is to say of a run configuration. Without a script it is half a job, which the command line completes."""
    from mlcli.spec.build import project_folder
    from mlcli.spec.runconfig import job_of_runconfig

    try:
        return job_of_runconfig(document, project_folder(base), reader, script_later=True).warnings
    except InvalidSpecError as error:
        return error.diagnostics


def _examined(
    text: str | bytes, file: str, base: Path, reader: FileReader, overrides: Sequence[str], *, check: bool
) -> tuple[Document, Kind, tuple[Diagnostic, ...]]:
    document = load(text, file, keep_going=True)
    faults: list[Diagnostic] = [*document.faults]
    if overrides:
        from mlcli.spec.overrides import apply, idle_inputs

        document, written = apply(document, overrides), document
        faults += idle_inputs(written, document) if check else ()
    kind = recognise(document.tree)
    found = [*faults, *validate(document, kind), *_name(document, kind)]
    if check:
        from mlcli.spec.checks import check as check_document

        found += check_document(document, kind, reader, base)
    return document, kind, tuple(sorted(dict.fromkeys(found), key=_order))


def _order(found: Diagnostic) -> tuple[bool, Any]:
    return found.place.file.startswith("--set"), found.place


def _name(document: Document, kind: Kind) -> tuple[Diagnostic, ...]:
    name = document.tree.get("name")
    if kind.noun != "job" or not isinstance(name, str) or "${{" in name or _NAME.fullmatch(name):
        return ()
    return (document.diagnose(("name",), "bad-name", "this cannot be the name of a job", hint=_NAME_RULE),)


def _parted(found: Sequence[Diagnostic]) -> tuple[tuple[Diagnostic, ...], tuple[Diagnostic, ...]]:
    errors = tuple(one for one in found if one.severity is Severity.ERROR)
    return errors, tuple(one for one in found if one.severity is not Severity.ERROR)


def _normal(document: Document, kind: Kind, base: Path, reader: FileReader) -> dict[str, Any]:
    from mlcli.spec.upgrade import upgrade

    return upgrade(document, kind, base=base, reader=reader)


def _built(document: Document, normal: dict[str, Any], kind: Kind, base: Path, reader: FileReader) -> CommandJob:
    from mlcli.spec.build import build

    return build(document, normal, kind, base, reader)


def _built_sweep(document: Document, normal: dict[str, Any], kind: Kind, base: Path, reader: FileReader) -> SweepJob:
    from mlcli.spec.sweep import build_sweep

    return build_sweep(document, normal, kind, base, reader)


def _unsupported(file: str, kind: Kind) -> UnsupportedError:
    if kind.noun == "runconfig":
        hint = "submit it with: mlcli run submit-script -c NAME; or make a job file of it: mlcli job upgrade -f FILE"
        return UnsupportedError(f"{file} is a run configuration, not a job file", hint=hint)
    if kind.noun != "job":
        article = "an" if kind.noun == "environment" else "a"
        hint = "a job gives each input a value" if kind.noun == "component" else "a job has a 'command'"
        return UnsupportedError(f"{file} describes {article} {kind.noun}, not a job", hint=hint)
    return UnsupportedError(
        f"{file} is a valid {kind.type} job, and this version of mlcli runs command and sweep jobs only",
        hint="'mlcli job validate' checks it",
    )
