"""A child process that builds something: what it prints, line by line as it comes, and how it ended."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path


def run_child(
    argv: Sequence[str],
    line: Callable[[str], None],
    *,
    folder: Path,
    keep: int,
    environment: Mapping[str, str] | None = None,
    given: str = "",
) -> int:
    """Run it in ``folder`` to its end; its exit code, or minus the signal's number. It does not outlive an exception.

    ``line`` takes each line of its standard output and error, without the line break; ``keep`` is a file descriptor that it
    inherits; ``environment``: ours unless given; ``given``: its standard input.
    """
    process = subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        cwd=folder,
        env=environment,
        pass_fds=(keep,),
    )
    with process:
        try:
            process.stdin.write(given)  # type: ignore[union-attr]
            process.stdin.close()  # type: ignore[union-attr]
            for raw in process.stdout or ():
                line(raw.rstrip())
            return process.wait()
        except BaseException:
            process.kill()
            raise
