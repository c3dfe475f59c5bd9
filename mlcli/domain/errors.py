"""Errors that a person can cause, and what each tells: what happened, where, why, and what to do.

Every error that leaves a room on purpose is an :class:`MlcliError`. ``cli.main`` alone turns one into text on standard
error and an exit code; anything else that arrives there is a defect of ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, order=True)
class Place:
    """Where in a file: line and column count from 1, as editors do."""

    file: str
    line: int = 1
    column: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class Severity(str, Enum):
    """How bad a diagnostic is: errors stop the job, warnings do not (``--strict`` makes them)."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True)
class Diagnostic:
    """One thing wrong with a file.

    ``code`` is stable and documented (``unknown-key``); ``path`` is the JSON path of the value (``$.inputs.iris.mode``);
    ``source`` is the offending line as it stands in the file.
    """

    place: Place
    code: str
    message: str
    path: str = "$"
    hint: str | None = None
    source: str | None = None
    severity: Severity = Severity.ERROR


class MlcliError(Exception):
    """What happened (``message``), what to do (``hint``) and the evidence (``details``, one line each).

    ``exit_code``: 1 failed, 2 wrong usage, 3 not found.
    """

    exit_code = 1

    def __init__(
        self, message: str, *, hint: str | None = None, place: Place | None = None, details: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.place = place
        self.details = details


class UsageError(MlcliError):
    """The command line itself is wrong."""

    exit_code = 2


class NotFoundError(MlcliError):
    """A named thing does not exist."""

    exit_code = 3


class InvalidSpecError(MlcliError):
    """A YAML file is wrong; carries every diagnostic found, in file order."""

    def __init__(self, diagnostics: tuple[Diagnostic, ...]) -> None:
        errors = [found for found in diagnostics if found.severity is Severity.ERROR]
        first = errors[0] if errors else diagnostics[0]
        count = f"{len(errors)} errors" if len(errors) > 1 else "1 error"
        super().__init__(f"{first.place.file}: {count}", place=first.place)
        self.diagnostics = diagnostics

    def __str__(self) -> str:
        """Everything that is wrong: it may end in the traceback of a person's own program."""
        told = (f"{one.place}: {one.message}" + (f" ({one.hint})" if one.hint else "") for one in self.diagnostics)
        return "\n".join([self.message, *told])


class NameTakenError(MlcliError):
    """A run of that name exists already."""


class EnvironmentBuildError(MlcliError):
    """An environment could not be made; ``details`` holds the build log's last lines. ``transient``: the engine that made it
    was lost in the middle, and may well make it the next time.
    """

    transient = False


class SnapshotError(MlcliError):
    """The code folder cannot be snapshot as it is."""


class TransportError(MlcliError):
    """The machine could not be reached or a file on it not read or written.

    ``transient`` is true when the same call may succeed later (a dropped connection), false when it never will
    (permission denied).
    """

    def __init__(self, message: str, *, transient: bool, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.transient = transient


class HostKeyError(TransportError):
    """A machine's host key is not accepted. ``key``: the one that it showed, as text (``ssh-ed25519 AAAA...``);
    ``changed``: another one was expected, so that it may be another machine.
    """

    def __init__(self, message: str, *, key: str, changed: bool, hint: str) -> None:
        super().__init__(message, transient=False, hint=hint)
        self.key = key
        self.changed = changed


class StoreError(MlcliError):
    """The workspace's own files cannot be read or written (disk full, read-only, locked)."""


class LeaseLostError(StoreError):
    """Another process has the right to write to a run by now."""


class UnsupportedError(MlcliError):
    """The job asks for something that its target, or this version, cannot honour; refused before anything is sent."""
