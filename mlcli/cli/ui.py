"""``mlcli ui``."""

from __future__ import annotations

from typing import Annotated

from mlcli.cli.command import Command, Session
from mlcli.cli.options import count, flag


def ui(
    session: Session,
    *,
    port: Annotated[int, flag("--port", metavar="PORT", parse=count, help="Its port (default: 5000).")] = 5000,
) -> int:
    """Start MLflow's own UI over the runs of the workspace.

    Needs MLflow: pip install 'mlcli[ui]'. Runs that go on are brought up to date every few seconds. Ctrl-C ends it.
    """
    from mlcli.cli import exchange

    return exchange.ui(session, port)


NOUN = Command(ui, ("mlcli ui", "mlcli ui --port 5001"))
