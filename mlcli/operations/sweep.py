"""Drive a sweep: ask for trials, begin them, watch them, stop the bad ones, until there is nothing left to do.

One process does it, under the lease of the sweep's run. It may be killed at any point: a trial is in the journal before its run
is created, so the next one that drives finds every trial there is, goes on with what was begun, and begins none twice.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from mlcli import agent
from mlcli.domain.errors import LeaseLostError, MlcliError, NameTakenError, NotFoundError, StoreError, TransportError
from mlcli.domain.run import Event, Lease, Run
from mlcli.domain.state import Reason, State
from mlcli.domain.sweep import Trial, next_number
from mlcli.domain.trials import Action, Ask, Attempt, End, Repeat, Situation, Stop, decide, run_name, unseen
from mlcli.operations import layout, observe
from mlcli.operations.cancel import cancel
from mlcli.operations.carry import (
    LeaseKeeper,
    carry,
    environment_record,
    failures_told,
    load_plan,
    plan_of,
    preparation,
    prepare,
    submitted,
)
from mlcli.operations.queueing import bring
from mlcli.operations.sweep_growth import Changes, alone, running_s
from mlcli.operations.sweep_reuse import Reuse, note_beginning, note_end
from mlcli.operations.sweep_submit import policy_of, sampler_of
from mlcli.operations.trial_watch import Logged, Watch
from mlcli.operations.trials import Journal, SweepRecord, load_attempts, load_record
from mlcli.operations.warm_start import earlier_trials
from mlcli.ports.backends import Prepared, Submission, Submitted
from mlcli.ports.sampling import EXHAUSTED
from mlcli.ports.services import Services
from mlcli.ports.transports import Later

_LOOK_AT_SWEEP_S = 0.1
_AT_ONCE_S = 0.05
_CARRY_AGAIN_S = 5.0
_METRICS_AWAY_S = 600.0
_WITHOUT_PREPARATION = frozenset({"value", "path", "link", "none"})


def drive(services: Services, name: str) -> None:
    """Take a sweep to its end, if nobody else does. What goes wrong becomes its end, with its message.

    Raises StoreError or OSError when nothing can be written (a full disk): the trials go on, and so does the sweep when the
    next command looks at it.
    """
    lease = services.runs.claim(name)
    if lease is None:
        return
    try:
        services.runs.write_document(name, layout.SUPERVISOR_DOCUMENT, agent.identity())
        is_resumed = True
        while is_resumed and not services.runs.get(name).state.is_end:
            drivers = []
            with failures_told(services, name, lease):
                drivers.append(_Driver(services, name, lease))
            is_resumed = any(driver.run() for driver in drivers)
            if not drivers and services.runs.get(name).state.is_end:  # it cannot go on; its trials may run all the same
                _end_live(services, load_attempts(services.runs, name), "the sweep has ended")
    except LeaseLostError:
        return  # this process was stopped for so long that another drives the sweep
    finally:
        with suppress(StoreError):
            services.runs.release(lease)


def _end_live(services: Services, attempts: Sequence[Attempt], why: str) -> None:
    for attempt in attempts:
        if attempt.is_live:
            with suppress(MlcliError, OSError):
                cancel(services, attempt.run, Reason.SWEEP_ENDING, why)


class _Driver:
    """What one process knows of the sweep that it drives."""

    def __init__(self, services: Services, name: str, lease: Lease) -> None:
        self._services = services
        self._runs = services.runs
        self._name = name
        self._lease = lease
        self._changes = Changes(services.runs.folder(name) / layout.SWEEP_DOCUMENT)
        self._read_record()
        self._sampler = sampler_of(self._search)
        self._policy = policy_of(self._search)
        self._journal = Journal(services.runs.folder(name))
        self._sweep = services.runs.get(name)
        may_be_away = services.backend(self._sweep.backend).may_be_away
        self._is_near = not may_be_away and self._record.template["plan"]["node"] is None
        self._watch = Watch(services, is_far=may_be_away)
        self._begun: dict[str, tuple[float, Submission]] = {}
        self._logged: dict[int, Logged] = {}
        self._judged: dict[int, int] = {}
        self._silent_since: dict[int, float] = {}
        self._exhausted = False
        self._looked_at = time.monotonic()
        self._prepared: Prepared | None = None
        self._reuse: Reuse | None = None
        self._earlier = earlier_trials(services.runs, name)
        self._keeper = LeaseKeeper(services, lease)
        if self._sweep.state not in {State.CANCEL_REQUESTED, State.PAUSED}:
            self._prepared = self._prepare()
            self._sweep = self._runs.append(name, Event(Reason.RUNNING, time.time()), lease)
        self._began = time.time() - running_s(self._runs.events(name), time.time())

    def _read_record(self) -> None:
        """Its limits may change while it runs; all else stays."""
        self._record: SweepRecord = load_record(self._runs, self._name)
        self._search = self._record.parsed()
        self._planned = self._record.planner()

    def _prepare(self) -> Prepared:
        """The environment and the inputs, once for all trials; nothing where it is done already."""
        plan, snapshot = load_plan(self._runs, self._name)
        with preparation(self._services, plan, self._lease, patient=True) as (log, keeper, again):
            prepared = again(lambda: prepare(self._services, plan, snapshot, log, keeper))
            keeper.check()
            note_beginning(self._services, self._name)
            if self._record.reuse:
                self._reuse = Reuse(self._services, self._record, log)
            return prepared

    def run(self) -> bool:
        """Until it has ended, or is paused and none of its trials runs; whether it was resumed, and is to be taken up anew."""
        try:
            for attempt in [one for one in self._journal.attempts.values() if one.is_live]:
                self._go_on_with(attempt)
            while not self._sweep.state.is_end and self._sweep.reason is not Reason.RESUMED:
                self._look()
                actions = decide(self._situation())
                for action in actions:
                    self._do(action)
                if not actions and self._is_paused and self._watch.is_idle:
                    break
                if not actions:
                    self._note_begun()
                    self._watch.wait(self._patience_s())
        except (StoreError, OSError):
            raise
        except Exception as failed:
            why = failed.message if isinstance(failed, MlcliError) else f"internal error: {failed!r}"
            self._give_up(why)
            if not isinstance(failed, MlcliError):
                raise
        finally:
            self._watch.close()
            self._services.backend(self._sweep.backend).close()
        return self._sweep.reason is Reason.RESUMED

    # What is known

    def _situation(self) -> Situation:
        return Situation(
            attempts=self._attempts(),
            limits=self._search.limits,
            elapsed_s=0.0 if self._is_paused else time.time() - self._began,
            canceled=self._sweep.state is State.CANCEL_REQUESTED,
            exhausted=self._exhausted,
            failures=self._services.settings.sweep_failures,
            spared=self._record.spared,
            paused=self._is_paused,
        )

    @property
    def _is_paused(self) -> bool:
        return self._sweep.state is State.PAUSED

    def _attempts(self) -> list[Attempt]:
        return list(self._journal.attempts.values())

    def _trials(self) -> list[Trial]:
        return [one.trial for one in self._journal.attempts.values()]

    def _patience_s(self) -> float:
        left = max(0.0, self._began + self._search.limits.timeout_s - time.time())
        return _AT_ONCE_S if self._is_paused else min(left, _AT_ONCE_S)

    # Looking

    def _look(self) -> None:
        """See what has become of the sweep and of its live trials."""
        self._begun.update((run, (time.monotonic(), answer)) for run, answer in self._watch.started())
        names = self._watch.due()
        live = {one.run: one for one in self._journal.attempts.values() if one.is_live}
        for run in self._seen([name for name in names if name in live]):
            if run.state.is_end:
                self._ended(live[run.name], run)
            elif (
                run.state in observe.UNSUBMITTED
                and run.name not in self._begun
                and self._watch.is_time_to_carry(run.name, _CARRY_AGAIN_S)
            ):
                carry(self._services, run.name)  # its machine did not answer
        if (
            time.monotonic() - self._looked_at >= _LOOK_AT_SWEEP_S
        ):  # last, as a machine that is away may have taken long
            self._looked_at = time.monotonic()
            self._sweep = self._runs.get(self._name)
            if self._changes.any():
                self._read_record()
            self._keeper.renew()
        if self._policy is not None:
            self._judge()

    def _seen(self, names: list[str]) -> list[Run]:
        known = []
        for name in names:
            try:
                known.append(self._runs.get(name))
            except NotFoundError:  # somebody has deleted it
                gone = next(one for one in self._attempts() if one.run == name)
                self._finish(gone, Reason.CANCELED_BY_USER, "its run was deleted", None)
        look = observe.look if self._is_near else observe.refresh
        return look(self._services, known) if known else []

    def _ended(self, attempt: Attempt, run: Run) -> None:
        """Take down what it has logged and how it ended."""
        number = attempt.trial.number
        try:
            self._read(attempt, run)
        except TransportError:
            since = self._silent_since.setdefault(number, time.monotonic())
            if time.monotonic() - since < _METRICS_AWAY_S:
                return
        self._finish(self._journal.attempts[number], run.reason, run.message, run)

    def _finish(self, attempt: Attempt, reason: Reason, message: str, run: Run | None) -> None:
        trial = replace(attempt.trial, state=reason.state)
        times = (run.started_at, run.ended_at) if run else (None, None)
        ended = replace(attempt, trial=trial, reason=reason, message=message, started_at=times[0], ended_at=times[1])
        self._journal.ended(ended)
        self._watch.forget(attempt.run)
        self._begun.pop(attempt.run, None)
        self._logged.pop(attempt.trial.number, None)

    def _read(self, attempt: Attempt, run: Run) -> None:
        """What the trial has logged since the last time."""
        number = attempt.trial.number
        logged = self._logged.get(number)
        if logged is None:
            logged = self._logged[number] = Logged(self._search.objective.primary_metric)
        if logged.read_on(self._services, run):
            trial = replace(attempt.trial, metrics=tuple(logged.values))
            self._journal.attempts[number] = replace(attempt, trial=trial, names=frozenset(logged.names))

    def _judge(self) -> None:
        """Ask the policy about every live trial that has logged something new."""
        if self._policy is None or not self._watch.is_time_to_read():
            return
        for attempt in [one for one in self._attempts() if one.is_live and not one.stopping]:
            with suppress(TransportError, NotFoundError):
                self._read(attempt, self._runs.get(attempt.run))
        trials = self._trials()
        for trial in [one.trial for one in self._attempts() if one.is_live and not one.stopping]:
            seen = self._judged.get(trial.number, 0)
            if len(trial.metrics) > seen:
                self._judged[trial.number] = len(trial.metrics)
                verdict = self._policy.first_stop(trial, trials, seen)
                if verdict is not None:
                    self._do(Stop(trial.number, Reason.STOP_REQUESTED, verdict[1]))

    # Doing

    def _do(self, action: Action) -> None:
        if isinstance(action, Ask):
            self._ask(action.count)
        elif isinstance(action, Repeat):
            before = self._journal.attempts[action.number]
            attempt = before.attempt + 1
            name = run_name(self._name, action.number, attempt)
            self._begin_all([Attempt(Trial(action.number, before.trial.values), name, attempt)])
        elif isinstance(action, Stop):
            self._stop(action)
        else:
            self._end(action)

    def _ask(self, count: int) -> None:
        """Ask for so many trials; they are written down together, then begun."""
        trials = [*self._earlier, *self._trials()]
        fresh: list[Attempt] = []
        for _ in range(count):
            values = self._sampler.ask(self._search.space, trials)
            if values is EXHAUSTED:
                self._exhausted = True
                break
            trial = Trial(next_number(trials), values)
            made = self._reuse.find(trial, self._journal.attempts) if self._reuse else None
            trials.append(trial if made is None else made.trial)
            if made is None:
                fresh.append(Attempt(trial, run_name(self._name, trial.number)))
                continue
            self._begin_all(fresh)  # they stand in the journal in order
            fresh = []
            self._journal.reused(made, time.time())
        self._begin_all(fresh)

    def _begin_all(self, attempts: list[Attempt]) -> None:
        if not attempts:
            return
        self._judged.update((one.trial.number, 0) for one in attempts)
        self._journal.asked(attempts, time.time())
        for one in attempts:
            self._begin(one)

    def _begin(self, attempt: Attempt) -> None:
        """Create the trial's run, and have it started."""
        document = self._planned(attempt.run, attempt.trial.values)
        plan, snapshot = plan_of(document)
        if self._prepared is None:
            raise AssertionError("nothing is begun for a sweep that is cancelled")
        activation = self._prepared.activation
        run = Run(
            name=attempt.run,
            experiment_name=plan.experiment_name,
            compute=plan.compute,
            backend=plan.backend,
            created_at=time.time(),
            display_name=self._sweep.display_name,
            tags=self._sweep.tags,
            properties=self._sweep.properties,
            parent=self._name,
        )
        environment = environment_record(plan.environment, activation, container=plan.container is not None)
        documents = {
            layout.JOB_DOCUMENT: {**self._record.job, "name": attempt.run},
            layout.PLAN_DOCUMENT: document,
            layout.ENVIRONMENT_DOCUMENT: environment,
        }
        try:
            self._runs.create(run, documents)
        except NameTakenError as taken:
            if self._runs.get(attempt.run).parent != self._name:
                raise MlcliError(
                    f"a trial cannot have the name {attempt.run}: another job has it",
                    hint="give the sweep another name",
                ) from taken
        if self._is_near and all(entry.action in _WITHOUT_PREPARATION for entry in plan.inputs):
            prepared = Prepared(plan, activation, snapshot)
            backend = self._services.backend(plan.backend)
            answer = backend.begin(prepared, self._services.snapshots if snapshot else None)
            if isinstance(answer, Later):
                self._watch.starting(attempt.run, answer)
                return
            self._begun[attempt.run] = time.monotonic(), answer
        else:
            bring(self._services, attempt.run)
        self._watch.add(attempt.run)

    def _note_begun(self) -> None:
        """Write down that trials have been begun, of those that have not ended at once."""
        soon = time.monotonic() - _AT_ONCE_S
        for run, (begun_at, answer) in list(self._begun.items()):
            if begun_at <= soon or not isinstance(answer, Submitted):
                del self._begun[run]
                submitted(self._services, run, answer, None)

    def _go_on_with(self, attempt: Attempt) -> None:
        """What another process had begun."""
        try:
            run = self._runs.get(attempt.run)
        except NotFoundError:
            if self._is_paused:
                pass  # it is begun when the sweep goes on
            elif self._prepared is None:
                self._finish(attempt, Reason.SWEEP_ENDED, "the sweep was cancelled", None)
            else:
                self._begin(attempt)
            return
        if run.state in observe.UNSUBMITTED:
            bring(self._services, attempt.run)
        elif run.state is State.CANCEL_REQUESTED:
            self._journal.attempts[attempt.trial.number] = replace(attempt, stopping=True)
        self._watch.add(attempt.run)

    def _stop(self, action: Stop) -> None:
        attempt = self._journal.attempts[action.number]
        self._journal.attempts[action.number] = replace(attempt, stopping=True)
        with suppress(TransportError, NotFoundError):  # asked again with the next looks
            cancel(self._services, attempt.run, action.reason, action.message)

    def _end(self, action: End) -> None:
        note_end(self._services, self._name)
        missed = unseen(self._attempts(), self._search.objective)
        message = "; ".join(filter(None, (action.message, missed)))
        with alone(self._services, self._name):
            if self._changes.any():  # somebody has let it grow just now
                self._read_record()
                return
            self._sweep = self._runs.append(self._name, Event(action.reason, time.time(), message), self._lease)

    def _give_up(self, why: str) -> None:
        """End what runs, then the sweep."""
        _end_live(self._services, self._attempts(), why)
        self._runs.append(self._name, Event(Reason.TRIALS_FAILED, time.time(), why), self._lease)
