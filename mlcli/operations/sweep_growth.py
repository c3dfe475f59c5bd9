"""What a person may do to a sweep that is there already: pause it, go on with it, and let it grow beyond its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from mlcli.domain.errors import MlcliError, StoreError, UsageError
from mlcli.domain.run import Event, Run
from mlcli.domain.state import Reason, State
from mlcli.domain.sweep import Search
from mlcli.domain.trials import Attempt, Situation, tally
from mlcli.json_files import stamp
from mlcli.operations import layout, observe
from mlcli.operations.locking import locked
from mlcli.operations.sweep_submit import sampler_of
from mlcli.operations.trials import SweepRecord, load_attempts, load_record
from mlcli.ports.sampling import EXHAUSTED
from mlcli.ports.services import Services

_LOCK = ".limits.lock"
_TAKEN_UP_S = 5.0
_POLL_S = 0.02


def running_s(events: Sequence[Event], now: float) -> float:
    """For how long a run with these events has been Running, in seconds: its pauses and the time after an end do not count."""
    total, since = 0.0, None
    for event in events:
        if since is not None:
            total, since = total + event.time - since, None
        if event.state is State.RUNNING:
            since = event.time
    return total if since is None else total + now - since


class Changes:
    """Whether a file has been replaced since it was asked for the last time, or since the beginning."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._seen = stamp(file)

    def any(self) -> bool:
        """One look at the file's entry; it is not read."""
        before, self._seen = self._seen, stamp(self._file)
        return before != self._seen


def pause(services: Services, name: str) -> Run:
    """Begin no more trials; those that run go on to their end. Raises NotFoundError, UsageError for a job that is no sweep,
    MlcliError for a sweep that has ended or is ending.
    """
    run = _sweep(services, name, "paused")
    if run.state.is_end:
        raise MlcliError(f"sweep {name} has ended, there is nothing to pause: {run.message}")
    if run.state is State.CANCEL_REQUESTED:
        raise MlcliError(f"sweep {name} is being cancelled, there is nothing to pause")
    message = f"no trial is begun until: mlcli job resume -n {name}"
    return services.runs.append(name, Event(Reason.PAUSED, time.time(), message))


def resume(
    services: Services, name: str, change: Callable[[Mapping[str, Any]], Mapping[str, int]] | None = None
) -> Run:
    """Go on with a sweep that is paused, has ended with something left to do, or has lost its supervisor; ``change``: from its
    limits, in today's words, to those that it has from now on. Of one that runs only the limits change.

    Raises NotFoundError, UsageError for a job that is no sweep, MlcliError where there is nothing to go on with.
    """
    _sweep(services, name, "resumed")
    with alone(services, name):
        run, record = services.runs.get(name), load_record(services.runs, name)
        attempts = load_attempts(services.runs, name)
        grown = record if change is None else _with_limits(record, change(record.search.get("limits") or {}))
        if run.state is State.CANCEL_REQUESTED:
            raise MlcliError(
                f"sweep {name} is being cancelled", hint=f"resume it when it has ended: mlcli job wait -n {name}"
            )
        _check(services, run, grown.parsed(), attempts)
        if run.state.is_end:
            grown = replace(grown, spared=len(attempts))
        if grown != record:
            _keep(services, grown)
        if run.state.is_end or run.state is State.PAUSED:
            message = f"goes on with {tally(attempts)}"
            services.runs.append(name, Event(Reason.RESUMED, time.time(), message))
    _have_driven(services, name)
    return services.runs.get(name)


def _sweep(services: Services, name: str, what: str) -> Run:
    run = observe.get(services, name)
    if run.job_type != observe.SWEEP:
        hint = (
            f"it can be cancelled: mlcli job cancel -n {name}" if not run.state.is_end else f"mlcli job show -n {name}"
        )
        raise UsageError(f"job {name} is a {run.job_type} job: only a sweep can be {what}", hint=hint)
    return run


@contextmanager
def alone(services: Services, name: str) -> Iterator[None]:
    """Of two who change a sweep at once, or end it, the second one sees what the first has made of it. Raises StoreError."""
    try:
        with locked(services.runs.folder(name) / _LOCK):
            yield
    except OSError as refused:
        raise StoreError(f"sweep {name} cannot be changed: {refused.strerror or refused}") from refused


def _with_limits(record: SweepRecord, limits: Mapping[str, int]) -> SweepRecord:
    """The time limit of a trial stands in its plan too, and in its job."""
    timeout = limits.get("trial_timeout")
    plan = {**record.template["plan"], "timeout_s": None if timeout is None else float(timeout)}
    job = {key: value for key, value in record.job.items() if key != "limits"}
    others = {key: value for key, value in (record.job.get("limits") or {}).items() if key != "timeout"}
    own = {**others, **({} if timeout is None else {"timeout": timeout})}
    return replace(
        record,
        search={**record.search, "limits": dict(limits)},
        template={**record.template, "plan": plan},
        job={**job, "limits": own} if own else job,
    )


def _check(services: Services, run: Run, search: Search, attempts: Sequence[Attempt]) -> None:
    """Raise MlcliError where the limits leave nothing to do, or less than was done."""
    limits, begun = search.limits, len(attempts)
    more = f"add trials: mlcli job resume -n {run.name} --set limits.max_total_trials=N"
    if limits.max_total_trials < begun:
        raise MlcliError(
            f"sweep {run.name} has begun {begun} trials: limits.max_total_trials cannot be less", hint=more
        )
    if not run.state.is_end:
        return
    told = f"sweep {run.name} has ended: {run.message}"
    again = Situation(attempts, limits).repeatable
    if limits.max_total_trials == begun and not again:
        raise MlcliError(told, hint=f"{more}, more than {begun}")
    spent = running_s(services.runs.events(run.name), time.time())
    if spent >= limits.timeout_s:
        hint = f"mlcli job resume -n {run.name} --set limits.timeout=SECONDS, more than {spent:.0f}"
        raise MlcliError(f"{told}; of its {limits.timeout_s:g} s nothing is left", hint=hint)
    trials = [one.trial for one in attempts]
    if not again and sampler_of(search).ask(search.space, trials) is EXHAUSTED:
        hint = "create a sweep with more values, or with 'sampling_algorithm: random'"
        raise MlcliError(f"{told}; all {begun} combinations of its search space have been tried", hint=hint)


def _keep(services: Services, record: SweepRecord) -> None:
    services.runs.write_document(record.sweep, layout.SWEEP_DOCUMENT, record.document)
    job = services.runs.document(record.sweep, layout.JOB_DOCUMENT) or {}
    services.runs.write_document(record.sweep, layout.JOB_DOCUMENT, {**job, "limits": record.search.get("limits")})


def _have_driven(services: Services, name: str) -> None:
    """See that it is driven. A supervisor that was about to end may not have seen that it goes on: one that has not taken it up is
    waited for, until it is gone.
    """
    deadline = time.monotonic() + _TAKEN_UP_S
    while (
        services.runs.get(name).reason is Reason.RESUMED
        and observe.is_supervised(services, name)
        and time.monotonic() < deadline
    ):
        time.sleep(_POLL_S)
    observe.attend_sweep(services, name)
