"""What commands do with sweeps: create them, follow them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlcli.cli import actions, sweep_views

if TYPE_CHECKING:
    from mlcli.cli.command import Session
    from mlcli.domain.run import Run
    from mlcli.domain.sweep import SweepJob
    from mlcli.operations.sweep_report import Report
    from mlcli.operations.sweep_submit import SweepPlan


def create(
    session: Session,
    sweep: SweepJob,
    *,
    given: str,
    save_as: Path | None,
    in_container: bool | None,
    dry_run: bool,
    reuse: bool = False,
    earlier: Sequence[str] = (),
) -> Run | None:
    """Plan and submit a sweep; None after a dry run."""
    from mlcli.cli.jobfile import base, write
    from mlcli.operations import registry_password
    from mlcli.operations.sweep_submit import plan_sweep, submit_sweep
    from mlcli.spec.standalone import standalone_sweep

    sweep = registry_password.set_apart_in_sweep(sweep)
    plan = plan_sweep(session.services, sweep, in_container=in_container, reuse=reuse, earlier=earlier)
    registry_password.forget_on_host(plan.trials)
    if save_as is not None:
        beside = save_as.absolute().parent == base(given)
        write({**(sweep.document if beside else standalone_sweep(sweep)), "name": plan.run}, save_as)
    if dry_run:
        _show_plan(session, plan)
        return None
    session.services.forks = True
    with actions.beginning(session, plan.run, plan.notices):
        return submit_sweep(session.services, sweep, plan)


def _show_plan(session: Session, plan: SweepPlan) -> None:
    from mlcli.operations.records import plan_record

    record = {
        "run": plan.run,
        "type": "sweep",
        **plan.search,
        "reuse": plan.reuse,
        "warm_start": list(plan.warm.runs) if plan.warm else [],
        "first_trial": plan_record(plan.first) if plan.first else None,
        "notices": list(plan.notices),
        "refusals": list(plan.refusals),
    }
    session.console.emit(record, view=sweep_views.plan)
    for refusal in plan.refusals:
        session.console.notice(f"cannot be submitted as it is: {refusal}")


def resume(session: Session, name: str, sets: Sequence[str]) -> Run:
    """Go on with a sweep, its limits changed as ``sets`` say."""
    from mlcli.cli.jobfile import show_diagnostics
    from mlcli.operations import sweep_growth
    from mlcli.operations.files import DiskFiles
    from mlcli.spec.sweep_limits import changed_limits

    def change(limits: Mapping[str, Any]) -> Mapping[str, int]:
        changed, told = changed_limits(limits, sets, DiskFiles())
        show_diagnostics(session, told)
        return changed

    return sweep_growth.resume(session.services, name, change if sets else None)


def follow(session: Session, name: str) -> Run:
    """A table that changes, on a terminal; elsewhere a line for each trial that has ended. Answers the ended sweep."""
    from mlcli.operations import sweep_report

    with ExitStack() as stack:
        draws = session.console.draws
        shown = sweep_views.Live(stack) if draws else _Lines(session)
        return sweep_report.follow(session.services, name, shown, session.console.notice, news=draws)


class _Lines:
    """A line for each trial, as it ends."""

    def __init__(self, session: Session) -> None:
        self._console = session.console
        self._told: set[int] = set()

    def __call__(self, report: Report) -> None:
        best = report.best
        for row in report.rows:
            if row.state.is_end and row.number not in self._told:
                self._told.add(row.number)
                record: dict[str, Any] = row.as_record(best)
                self._console.log((sweep_views.line(record, report) + "\n").encode(errors="replace"))
