"""From a file, flags, or both to the environment that they describe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlcli.cli import jobfile
from mlcli.domain.errors import InvalidSpecError, MlcliError, UsageError

if TYPE_CHECKING:
    from mlcli.spec.environments import WrittenEnvironment

_FLAGS = "the flags"


def read(file: str | None, overrides: Sequence[str], given: Mapping[str, Any]) -> WrittenEnvironment:
    """The environment of a file; ``given``: what flags say, by today's keys, which wins and may stand alone."""
    if file is not None:
        return _read(jobfile.source(file), overrides, given)
    _check_flags(given)
    try:
        return _read(jobfile.Source(b"{}", _FLAGS, Path.cwd()), overrides, given)
    except InvalidSpecError as wrong:
        raise _without_places(wrong) from wrong


def read_unnamed(file: str) -> WrittenEnvironment:
    """The environment of a file that need not say its name."""
    from mlcli.spec.load import load

    taken = jobfile.source(file)
    return _read(taken, (), {} if "name" in load(taken.text, taken.name).tree else {"name": "unnamed"})


def _read(taken: jobfile.Source, overrides: Sequence[str], given: Mapping[str, Any]) -> WrittenEnvironment:
    from mlcli.operations.files import DiskFiles
    from mlcli.spec.environments import read_environment

    return read_environment(taken.text, taken.name, taken.base, DiskFiles(), overrides=overrides, flags=given)


def given_only(flags: Mapping[str, Any]) -> dict[str, Any] | None:
    """The flags that were given; None when none was."""
    return {key: value for key, value in flags.items() if value is not None} or None


def _check_flags(given: Mapping[str, Any]) -> None:
    if "name" not in given:
        raise UsageError("which environment? give --file FILE, or --name NAME with what it is made from")
    if not {"image", "conda_file", "build"} & set(given):
        raise UsageError("what is it made from? give --image, --conda-file or --build-context, or a --file")


def _without_places(wrong: InvalidSpecError) -> MlcliError:
    """Flags have no lines; a conda file that they name has."""
    found = wrong.diagnostics[0]
    return UsageError(found.message, hint=found.hint) if found.place.file == _FLAGS else wrong
