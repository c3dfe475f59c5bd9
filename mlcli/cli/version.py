"""``mlcli version``."""

from __future__ import annotations

from mlcli import __version__
from mlcli.cli.command import Command, Session


def version(session: Session) -> None:
    """Show which mlcli this is, and which Python runs it."""
    import platform
    import sys

    from mlcli.cli import views

    record = {"mlcli": __version__, "python": platform.python_version(), "interpreter": sys.executable}
    session.console.emit(record, view=views.facts)


NOUN = Command(version, ("mlcli version", "mlcli version --query mlcli -o tsv"))
