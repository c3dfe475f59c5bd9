"""The detached process that carries one submitted run through its preparation, or drives a sweep from its first trial to its
last, ``python -m mlcli.supervisor WS run RUN``; or gives out the nodes of a compute while runs wait for them,
``python -m mlcli.supervisor WS queue COMPUTE``.

It leads a session of its own, so that a closed terminal does not end it and a cancel can end it with all that it
started. It may be killed at any time: the next command that looks at the run starts another.
"""

from __future__ import annotations

import os
import sys

from mlcli.domain.errors import MlcliError
from mlcli.operations.observe import SWEEP
from mlcli.operations.queueing import bring, watch
from mlcli.workspace import SUPERVISOR_PATIENCE_S, open_workspace


def main(workspace_name: str, what: str, name: str) -> None:
    """Do it; the failures of a run are written to the run, and only what cannot be written there is told here."""
    try:
        services = open_workspace(workspace_name)
        services.patience_s = SUPERVISOR_PATIENCE_S
        if what == "queue":
            watch(services, name)
        elif services.runs.get(name).job_type == SWEEP:
            from mlcli.operations.sweep import drive

            services.starts_many = True
            drive(services, name)
        elif bring(services, name, detached=True):
            holder = services.holder(name)
            os.execv(holder[0], holder)  # noqa: S606  (waiting takes a small program)
    except MlcliError as failed:
        sys.exit(failed.message)


if __name__ == "__main__":
    main(*sys.argv[1:])
