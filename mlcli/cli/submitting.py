"""What the commands that submit have in common: the plan shown, the run begun, followed, shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlcli.cli import actions
from mlcli.cli.following import follow

if TYPE_CHECKING:
    from mlcli.cli.command import Session
    from mlcli.domain.job import CommandJob
    from mlcli.domain.plan import Plan
    from mlcli.domain.run import Run


def submit(session: Session, job: CommandJob, plan: Plan) -> Run:
    """Tell what there is to tell of a plan, and have it carried out."""
    from mlcli.operations.submit import submit as begin

    with actions.beginning(session, plan.run, plan.notices):
        return begin(session.services, job, plan)


def show_plan(session: Session, plan: Plan) -> None:
    """The plan, and on standard error whatever would keep it from being submitted."""
    from mlcli.cli import views
    from mlcli.operations.records import plan_record

    session.console.emit(plan_record(plan), view=views.plan)
    for refusal in plan.refusals:
        session.console.notice(f"cannot be submitted as it is: {refusal}")


def stream_to_end(session: Session, run: Run, *, hand_on_code: bool) -> None:
    """Follow a run, show how it ended, and raise why when it did not end well."""
    session.console.notice(f"job {run.name}")
    ended = follow(session, run.name)
    actions.show_ended(session, ended)
    actions.check_success(session, ended, hand_on_code=hand_on_code)


def show_created(session: Session, run: Run) -> None:
    """The record of a run that has just begun."""
    from mlcli.cli import views
    from mlcli.operations.records import record

    session.console.emit(record(session.services, run), view=views.created, columns=actions.job_row)
