"""``job validate``: every file looked at, everything wrong shown, one verdict."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlcli.cli import jobfile
from mlcli.cli.render import write_text
from mlcli.domain.errors import Diagnostic, InvalidSpecError, MlcliError, NotFoundError, Severity

if TYPE_CHECKING:
    from mlcli.cli.command import Session

STANDARD_OUTPUT = "-"


def check_files(
    session: Session, given: Sequence[str], *, overrides: Sequence[str], strict: bool, sarif: str | None = None
) -> int:
    """Print a verdict for each file and answer the exit code: 1 when one is not valid.

    ``sarif``: the file that the diagnostics are written to as SARIF; ``-`` is standard output, in place of the verdicts.
    """
    from mlcli.cli import views

    verdicts = []
    everything: list[Diagnostic] = []
    skipped = []
    for name in jobfile.files(given):
        kind, found = _check(name, overrides)
        if name not in given and _is_error(found) and not _may_be_ours(name):
            skipped.append(name)
            continue
        verdicts.append(_verdict(name, kind, found, strict=strict))
        everything += found
        if found:
            _show(session, found)
    if skipped:
        session.console.notice(f"skipped, for they are no job files: {', '.join(skipped)}")
    if not verdicts:
        raise NotFoundError(f"there is no job file below {' '.join(given)}")
    if sarif is not None:
        _write_sarif(everything, sarif, strict=strict)
    if sarif != STANDARD_OUTPUT:
        session.console.emit(verdicts[0] if len(verdicts) == 1 else verdicts, view=views.verdicts, columns=_row)
    return 0 if all(verdict["valid"] for verdict in verdicts) else 1


def _write_sarif(found: Sequence[Diagnostic], target: str, *, strict: bool) -> None:
    """Raises MlcliError when the file cannot be written."""
    from mlcli.cli.formats import as_json
    from mlcli.spec.sarif import sarif

    text = as_json(sarif(found, strict=strict))
    if target == STANDARD_OUTPUT:
        write_text(text)
        return
    try:
        Path(target).write_text(text, encoding="utf-8")
    except OSError as error:
        raise MlcliError(f"--sarif: {target} cannot be written: {error.strerror}") from error


def _check(name: str, overrides: Sequence[str]) -> tuple[Any, tuple[Diagnostic, ...]]:
    from mlcli.operations.files import DiskFiles
    from mlcli.spec.jobs import check_file

    taken = jobfile.source(name)
    try:
        return check_file(taken.text, taken.name, taken.base, DiskFiles(), overrides=overrides)
    except InvalidSpecError as error:
        return None, error.diagnostics


def _may_be_ours(name: str) -> bool:
    """Whether a file of a folder is meant for us; one that is no YAML may be."""
    from mlcli.spec.generation import may_be_ours
    from mlcli.spec.load import load

    try:
        return may_be_ours(load(jobfile.source(name).text, name).tree)
    except InvalidSpecError:
        return True


def _is_error(found: Sequence[Diagnostic]) -> bool:
    return any(one.severity is Severity.ERROR for one in found)


def _show(session: Session, found: Sequence[Diagnostic]) -> None:
    from mlcli.spec.report import format_diagnostics

    if _is_error(found):
        session.console.complain(format_diagnostics(found))
    else:
        session.console.notice(format_diagnostics(found))


def _verdict(name: str, kind: Any, found: Sequence[Diagnostic], *, strict: bool) -> dict[str, Any]:
    errors = [one for one in found if one.severity is Severity.ERROR]
    return {
        "file": name,
        "valid": not (found if strict else errors),
        "noun": kind.noun if kind else None,
        "type": kind.type if kind else None,
        "generation": kind.generation.value if kind else None,
        "errors": [_plain(one) for one in errors],
        "warnings": [_plain(one) for one in found if one.severity is Severity.WARNING],
    }


def _plain(one: Diagnostic) -> dict[str, Any]:
    return {
        "severity": one.severity.value,
        "code": one.code,
        "message": one.message,
        "file": one.place.file,
        "line": one.place.line,
        "column": one.place.column,
        "path": one.path,
        "hint": one.hint,
    }


def _row(verdict: Any) -> dict[str, Any]:
    return {
        "File": verdict["file"],
        "Valid": verdict["valid"],
        "Type": verdict["type"],
        "Generation": verdict["generation"],
        "Errors": len(verdict["errors"]),
        "Warnings": len(verdict["warnings"]),
    }
