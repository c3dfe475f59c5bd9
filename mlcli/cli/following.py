"""Following a job to its end: a command's log, byte for byte, or the trials of a sweep."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlcli.cli import actions

if TYPE_CHECKING:
    from mlcli.cli.command import Session
    from mlcli.domain.run import Run


def follow(session: Session, name: str) -> Run:
    """Print what there is to follow, from its beginning, and answer the ended run. Ctrl-C stops the following, not the job."""
    from mlcli.operations.stream import stream

    try:
        if session.services.runs.get(name).job_type == "sweep":
            from mlcli.cli import sweep_actions

            return sweep_actions.follow(session, name)
        return stream(session.services, name, session.console.log, session.console.notice)
    except KeyboardInterrupt:
        raise actions.goes_on(name) from None
    finally:
        session.console.end_log()
