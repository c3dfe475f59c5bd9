"""The entry point of ``mlcli``. Nothing is imported before it is known to be needed: start-up time is a feature."""

from __future__ import annotations

import gc
import sys

from mlcli import __version__

_ALLOCATIONS = 50_000


def main(arguments: list[str] | None = None) -> int:
    """Run one command line (``sys.argv`` unless given) and answer its exit code.

    0 done, 1 failed, 2 wrong usage, 3 not found, 130 interrupted by the person, 141 the reader of our output went away.
    """
    if arguments is not None:
        return _carried_out(arguments)
    code = _carried_out(sys.argv[1:])
    _end(code)
    return code


def _carried_out(given: list[str]) -> int:
    gc.set_threshold(_ALLOCATIONS)  # imports make much and no garbage: looking for it took 7% of a command's time
    if None in (sys.stdin, sys.stdout, sys.stderr):
        _open_closed_streams()
    try:
        if given in (["--version"], ["-V"]):
            print(f"mlcli {__version__}", flush=True)  # noqa: T201  (render costs more than all else together)
            return 0
        if given in (["--help"], ["-h"]):
            from mlcli.cli.tree import root_help

            print(root_help(), end="", flush=True)  # noqa: T201
            return 0
        from mlcli.cli.app import run

        return run(given)
    except BaseException as error:  # noqa: BLE001  (the one place where every error ends)
        from mlcli.cli.failures import report

        return report(error, given)


def _end(code: int) -> None:
    """End the program at once: to take apart all that was imported takes as long as many a command. Returns where something
    is left to wait for, or to be told.
    """
    import atexit
    import os

    threading = sys.modules.get("threading")
    if threading is not None and any(
        one is not threading.main_thread() and not one.daemon for one in threading.enumerate()
    ):
        return
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):
        return
    atexit._run_exitfuncs()  # noqa: SLF001  (stores close their files there)
    os._exit(code)


def _open_closed_streams() -> None:
    """Whoever started us closed some standard streams (``>&-``): give each the null device, so that nobody has to ask and
    no file of ours takes its number.
    """
    import os

    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            setattr(sys, name, open(number, "w" if number else "r", encoding="utf-8", closefd=False))  # noqa: SIM115
