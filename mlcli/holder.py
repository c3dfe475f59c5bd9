"""Waits for the turn of one queued run, then becomes its supervisor: ``python -I -S holder.py RUN_FOLDER PROGRAM [ARGUMENT...]``.

It is started by the command that submits the run and keeps what a job takes over from there, the environment variables with the
``PATH`` that finds its interpreter: in memory, not on the disk. Standard library only, and little of it: there is one of these
for each run that waits.
"""

import os
import sys
import time

_POLL_S = 0.05


def main(run_folder: str, argv: list[str]) -> None:
    """Become ``argv`` when the run has a node; end when it has ended, or is gone."""
    while not os.path.exists(f"{run_folder}/allocation.json"):  # noqa: PTH110
        if not os.path.isdir(run_folder) or os.path.exists(f"{run_folder}/exit.json"):  # noqa: PTH110, PTH112
            return
        time.sleep(_POLL_S)
    os.execv(argv[0], argv)  # noqa: S606


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
