"""A run configuration and a HyperDrive configuration -> the sweep that both of them describe."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mlcli.domain.errors import InvalidSpecError
from mlcli.domain.sweep import SweepJob
from mlcli.spec.hyperdrive import read_words
from mlcli.spec.sweep import search

if TYPE_CHECKING:
    from pathlib import Path

    from mlcli.domain.errors import Diagnostic
    from mlcli.domain.job import CommandJob
    from mlcli.ports.files import FileReader
    from mlcli.spec.load import Document

__all__ = ["read_hyperdrive_sweep"]

_OF_THE_TRIAL = ("command", "code", "environment", "environment_variables", "distribution", "resources")


def read_hyperdrive_sweep(
    text: str | bytes, file: str, base: Path, reader: FileReader, job: CommandJob
) -> tuple[SweepJob, tuple[Diagnostic, ...]]:
    """The sweep over the arguments of ``job`` that a HyperDrive configuration describes, and what there is to warn of.

    Each parameter is added to the command (``--penalty``, also of one that is named without dashes), with a parameter of the
    search space for its value. Raises InvalidSpecError; also where the command has an argument that is a parameter.
    """
    today, warnings = read_words(text, file, base, reader)
    space: Mapping[str, Any] = today.tree["search_space"]
    _check_apart(today, space, job.command)
    names = _names(space)
    added = "".join(f" {shlex.quote(_flag(given))} ${{{{search_space.{name}}}}}" for given, name in names.items())
    words = {**today.tree, "search_space": {names[flag]: parameter for flag, parameter in space.items()}}
    if job.timeout_s is not None:
        words["limits"] = {**words["limits"], "trial_timeout": int(job.timeout_s)}
    body = {**job.document, "command": job.command + added}
    trial = replace(job, command=str(body["command"]), document=body)
    document = {
        **{key: value for key, value in body.items() if key not in _OF_THE_TRIAL},
        "type": "sweep",
        "trial": {key: body[key] for key in _OF_THE_TRIAL if key in body},
        **words,
    }
    return SweepJob(trial, search(today, words), document), warnings


def _check_apart(today: Document, space: Iterable[str], command: str) -> None:
    """An argument of the run configuration is the same in each run, a parameter is not: one of them must go."""
    given = {word.partition("=")[0] for word in _words(command)}
    clashing = [flag for flag in space if _flag(flag) in given]
    if clashing:
        message = "each run gets its own value, and the arguments of the run configuration give one too"
        hint = "take it out of one of them"
        raise InvalidSpecError(
            tuple(
                today.diagnose(("search_space", flag), "duplicate-key", f"'{flag}': {message}", hint=hint)
                for flag in clashing
            )
        )


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError:  # a command line of the person's own, which only the shell can read
        return command.split()


def _flag(name: str) -> str:
    """The argument of a parameter: HyperDrive puts the dashes before a name that has none."""
    return name if name.startswith("-") else f"--{name}"


def _names(space: Iterable[str]) -> dict[str, str]:
    """What each argument is called in the search space: ``--learning-rate`` is ``learning_rate``."""
    names: dict[str, str] = {}
    for flag in space:
        name = re.sub(r"\W", "_", flag.lstrip("-")) or "parameter"
        name = name if name[0].isalpha() else f"p_{name}"
        while name in names.values():
            name += "_"
        names[flag] = name
    return names
