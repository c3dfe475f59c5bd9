"""The detached process that carries one submitted run through its preparation: ``python -m mlcli.supervisor WS RUN``.

It leads a session of its own, so that a closed terminal does not end it and a cancel can end it with all that it
started. It may be killed at any time: the next command that looks at the run starts another.
"""

from __future__ import annotations

import sys

from mlcli.domain.errors import MlcliError
from mlcli.operations.carry import carry
from mlcli.workspace import open_workspace


def main(workspace_name: str, run: str) -> None:
    """Carry the run; its failures are written to the run, and only what cannot be written there is told here."""
    try:
        carry(open_workspace(workspace_name), run, detached=True)
    except MlcliError as failed:
        sys.exit(failed.message)


if __name__ == "__main__":
    main(*sys.argv[1:])
