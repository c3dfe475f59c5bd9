"""Starts many agents from one process: ``python -I -S _starts.py AGENT_FOLDER``.

Of each line of its standard input, a run folder, it prints what the agent's ``start`` answers. A new interpreter for each run
takes longer than many a trial of a sweep. Standard library only.
"""

import os
import sys
from contextlib import suppress
from importlib import import_module

_NEEDED = ("_json", "_socket", "fcntl")  # by every agent: imported here once, before they are forked


def main(agent_folder: str) -> None:
    """Until the input ends."""
    sys.path.append(agent_folder)
    import agent  # type: ignore[import-not-found]

    for module in _NEEDED:
        with suppress(ImportError):
            import_module(module)
    agent.boot_id()  # every agent asks for it
    pending = b""
    while data := os.read(0, 65536):
        *folders, pending = (pending + data).split(b"\n")
        for folder in folders:
            answer = agent.encode(agent.start(os.fsdecode(folder)))
            os.write(1, answer.encode() + b"\n")
        _reap()


def _reap() -> None:
    """Agents are children of this process; those that have ended are let go."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


if __name__ == "__main__":
    main(sys.argv[1])
