"""The one place where an error becomes text on standard error and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

from mlcli.cli.formats import printable
from mlcli.cli.render import heading, say
from mlcli.domain.errors import InvalidSpecError, MlcliError, StoreError

INTERRUPTED = 130
READER_GONE = 141  # what a shell shows for a program that SIGPIPE ended

REPORT_TO = "the project's issue tracker"


class Interrupted(MlcliError):  # noqa: N818  (nothing went wrong)
    """The person pressed Ctrl-C; ``message`` says what goes on all the same."""

    exit_code = INTERRUPTED


class ReaderGone(Exception):  # noqa: N818  (no error of anybody's: ``mlcli job list | head``)
    """Whoever read our standard output has closed it."""


class Failed(MlcliError):  # noqa: N818  (the job did)
    """The command did what it was asked, and the job it was asked about failed: ``cause`` is told, ``code`` handed on."""

    def __init__(self, cause: MlcliError, code: int) -> None:
        super().__init__(cause.message, hint=cause.hint, place=cause.place, details=cause.details)
        self.exit_code = code


def report(error: BaseException, arguments: list[str]) -> int:
    """Tell the person what went wrong, and answer the exit code. A traceback is shown only with ``--debug``."""
    try:
        code = _report(error, arguments)
    except (BrokenPipeError, ReaderGone):
        code = READER_GONE
    if code == READER_GONE:
        _close_output()
    return code


def _report(error: BaseException, arguments: list[str]) -> int:
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    if isinstance(error, (BrokenPipeError, ReaderGone)):
        return READER_GONE
    if isinstance(error, KeyboardInterrupt):
        error = Interrupted("by Ctrl-C")
    if "--debug" in arguments:
        _show_traceback(error)
    if isinstance(error, InvalidSpecError):
        from mlcli.spec.report import format_diagnostics

        say(printable(format_diagnostics(error.diagnostics)))
        return error.exit_code
    known = _known(error)
    if known is None:
        _internal(error)
    else:
        say("\n".join(_lines(known)))
    return 1 if known is None else known.exit_code


def _lines(error: MlcliError) -> Iterator[str]:
    label = heading("interrupted" if isinstance(error, Interrupted) else "error")
    place = f"{error.place}: " if error.place else ""
    yield f"{label}: {place}{printable(error.message)}"
    yield from (f"  {printable(line)}" for line in error.details)
    if error.hint:
        yield ""
        yield f"{heading('hint')}: {printable(error.hint)}"


def _known(error: BaseException) -> MlcliError | None:
    """The same as an error of ours, where a person (or the machine) and not a defect is its cause."""
    if isinstance(error, MlcliError):
        return error
    if isinstance(error, OSError):
        return StoreError(_os_message(error), hint="--debug shows where")
    return None


def _os_message(error: OSError) -> str:
    reason = error.strerror or str(error)
    return f"{error.filename}: {reason}" if error.filename else reason


def _internal(error: BaseException) -> None:
    say(f"{heading('error')}: internal error: {type(error).__name__}: {printable(str(error))}")
    say("")
    say(
        f"{heading('hint')}: this is a defect of mlcli: run the command again with --debug and report what it prints to {REPORT_TO}"
    )


def _show_traceback(error: BaseException) -> None:
    import traceback

    say("".join(traceback.format_exception(type(error), error, error.__traceback__)).rstrip())


def _close_output() -> None:
    """Nobody reads any more: let the interpreter's last flush go nowhere instead of complaining."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
