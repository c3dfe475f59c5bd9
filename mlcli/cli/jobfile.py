"""Job files on the command line: from what was typed (a path, a folder, ``-``) to texts, and from texts to jobs."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlcli.domain.errors import MlcliError, NotFoundError

if TYPE_CHECKING:
    from mlcli.cli.command import Session
    from mlcli.domain.errors import Diagnostic
    from mlcli.domain.job import CommandJob
    from mlcli.domain.sweep import SweepJob

STANDARD_INPUT = "-"
_SUFFIXES = {".yml", ".yaml"}


@dataclass(frozen=True)
class Source:
    """A job file's bytes, the name that errors call it by, and the folder that its relative paths start from."""

    text: bytes
    name: str
    base: Path


def source(given: str) -> Source:
    """What was typed after ``-f``. Raises NotFoundError, or MlcliError for what cannot be read."""
    if given == STANDARD_INPUT:
        return Source(sys.stdin.buffer.read(), "<stdin>", base(given))
    path = Path(given)
    try:
        return Source(path.read_bytes(), given, base(given))
    except FileNotFoundError:
        raise NotFoundError(f"there is no file {given}", hint=_nearest(path)) from None
    except IsADirectoryError:
        raise MlcliError(f"{given} is a folder, not a job file", hint=_in_folder(path)) from None
    except OSError as error:
        raise MlcliError(f"{given} cannot be read: {error.strerror}") from error


def base(given: str) -> Path:
    """The absolute folder that the relative paths of a job file start from."""
    return Path.cwd() if given == STANDARD_INPUT else Path(given).absolute().parent


def files(given: Iterable[str]) -> list[str]:
    """Each file that was typed, and of each folder every YAML file below it that is not hidden. Raises NotFoundError for
    a folder without any.
    """
    found: list[str] = []
    for text in given:
        if text == STANDARD_INPUT or not Path(text).is_dir():
            found.append(text)
            continue
        below = [str(path) for path in sorted(Path(text).rglob("*")) if _is_visible_yaml(path, Path(text))]
        if not below:
            raise NotFoundError(f"there is no YAML file below {text}")
        found += below
    return found


def _is_visible_yaml(path: Path, top: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(top).parts)
    return path.suffix in _SUFFIXES and not hidden and path.is_file()


def _nearest(path: Path) -> str | None:
    import difflib

    try:
        names = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return f"there is no folder {path.parent} either"
    near = difflib.get_close_matches(path.name, names, n=1)
    return f"did you mean {path.parent / near[0]}?" if near else None


def _in_folder(path: Path) -> str | None:
    inside = sorted(entry.name for entry in path.iterdir() if entry.suffix in _SUFFIXES)
    return f"it holds {', '.join(inside[:5])}" if inside else None


def read(
    session: Session, given: str, *, overrides: Sequence[str], name: str | None, check: bool, submitting: bool
) -> CommandJob | SweepJob:
    """The job of a file, its warnings shown. Raises InvalidSpecError with everything that is wrong with it."""
    from mlcli.operations.files import DiskFiles
    from mlcli.spec.jobs import LoadedJob, read

    taken = source(given)
    loaded = read(
        taken.text,
        taken.name,
        taken.base,
        DiskFiles(),
        overrides=overrides,
        name=name,
        check=check,
        submitting=submitting,
    )
    show_diagnostics(session, loaded.warnings)
    if isinstance(loaded, LoadedJob):
        return in_experiment(session, loaded.job)
    return replace(loaded.sweep, trial=in_experiment(session, loaded.sweep.trial))


def in_experiment(session: Session, job: CommandJob) -> CommandJob:
    """The job, in the experiment of the attached folder where it names none itself."""
    attached = session.services.attached
    if job.experiment_name or attached is None or attached.experiment is None:
        return job
    return replace(job, experiment_name=attached.experiment)


def show_diagnostics(session: Session, found: Sequence[Diagnostic]) -> None:
    """Warnings as notices."""
    if found:
        from mlcli.spec.report import format_diagnostics

        session.console.notice(format_diagnostics(found))


def save(job: CommandJob, given: str, name: str, target: Path) -> None:
    """Write the job of the file ``given`` in its normal form, with the name it got. In another folder than that file's its
    paths are absolute. Raises MlcliError when the file cannot be written.
    """
    from mlcli.spec.standalone import standalone

    beside = target.absolute().parent == base(given)
    write({**(job.document if beside else standalone(job)), "name": name}, target)


def write(document: Mapping[str, Any], target: Path) -> None:
    """Write a job's normal form. Raises MlcliError when the file cannot be written."""
    from mlcli.cli.formats import as_yaml

    try:
        target.write_text(as_yaml(document), encoding="utf-8")
    except OSError as error:
        raise MlcliError(f"--save-as: {target} cannot be written: {error.strerror}") from error
