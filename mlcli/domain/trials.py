"""What a sweep does next: a pure function from what is known of its trials to what is to be done."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from mlcli.domain.state import Reason, State
from mlcli.domain.sweep import Objective, SweepLimits, Trial

ATTEMPTS = 3
"""How often a trial is begun at most: again when it was lost to its machine, never when it failed by itself."""

LOST = frozenset({Reason.LOST, Reason.UNREACHABLE})
_MOST_NAMES = 10


@dataclass(frozen=True)
class Attempt:
    """A trial, and the run that it is made in now. ``attempt``: 0 for the first. ``reason``, ``message``: of the run's state.

    ``stopping``: it has been asked to end. ``names``: every metric that it has logged. Times as in a run, once it has ended.
    ``reused``: the run is one of an earlier trial with the same values, which was not made again.
    """

    trial: Trial
    run: str
    attempt: int = 0
    reason: Reason = Reason.SUBMITTED
    message: str = ""
    stopping: bool = False
    names: frozenset[str] = frozenset()
    started_at: float | None = None
    ended_at: float | None = None
    reused: bool = False

    @property
    def is_live(self) -> bool:
        """Whether it has not ended."""
        return not self.trial.state.is_end

    @property
    def may_be_repeated(self) -> bool:
        """Whether its machine has lost it, and not too often; or its sweep had ended before it, and goes on now."""
        was_lost = self.reason in LOST and not self.stopping and self.attempt + 1 < ATTEMPTS
        return was_lost or self.reason is Reason.SWEEP_ENDED

    @property
    def has_failed(self) -> bool:
        """Whether it failed by itself."""
        return self.trial.state is State.FAILED and self.reason not in LOST


@dataclass(frozen=True)
class Situation:
    """Everything that counts. ``attempts``: in the order of the trials' numbers, each trial's latest.

    ``elapsed_s``: how long the sweep runs, without its pauses. ``canceled``: the person asked for its end. ``exhausted``: the
    sampler has nothing left to try. ``failures``: it gives up when so many trials have failed before one completed; 0: never.
    ``spared``: that the first so many have failed no longer counts. ``paused``: nothing is to be begun.
    """

    attempts: Sequence[Attempt]
    limits: SweepLimits
    elapsed_s: float = 0.0
    canceled: bool = False
    exhausted: bool = False
    failures: int = 0
    spared: int = 0
    paused: bool = False

    @property
    def repeatable(self) -> list[int]:
        """The numbers of the trials that are to be begun again."""
        return [one.trial.number for one in self.attempts if not one.is_live and one.may_be_repeated]


@dataclass(frozen=True)
class Ask:
    """Ask the sampler for so many trials more, and begin them."""

    count: int


@dataclass(frozen=True)
class Repeat:
    """Begin this trial once more."""

    number: int


@dataclass(frozen=True)
class Stop:
    """End this trial, for that reason."""

    number: int
    reason: Reason
    message: str


@dataclass(frozen=True)
class End:
    """The sweep is over."""

    reason: Reason
    message: str = ""


Action: TypeAlias = Ask | Repeat | Stop | End


def decide(now: Situation) -> list[Action]:
    """What is to be done now; nothing while there is only to wait."""
    verdict = _verdict(now)
    live = [one for one in now.attempts if one.is_live]
    if verdict is not None:
        if not live:
            return [verdict]
        asked = Reason.SWEEP_ENDING
        return [Stop(one.trial.number, asked, _STOPPED[verdict.reason]) for one in live if not one.stopping]
    again = now.repeatable
    left = 0 if now.exhausted else now.limits.max_total_trials - len(now.attempts)
    if not live and not again and left <= 0:
        return [_outcome(now.attempts)]
    if now.paused:
        return []
    free = now.limits.concurrency - len(live)
    repeats: list[Action] = [Repeat(number) for number in again[: max(free, 0)]]
    fresh = min(free - len(repeats), left)
    return [*repeats, Ask(fresh)] if fresh > 0 else repeats


_STOPPED = {
    Reason.CANCELED_BY_USER: "the sweep was cancelled",
    Reason.TIME_LIMIT: "the time limit of the sweep was reached",
    Reason.TRIALS_FAILED: "the sweep gave up: too many trials failed",
}


def _verdict(now: Situation) -> End | None:
    """Why the sweep is to end before its trials are used up."""
    if now.canceled:
        return End(Reason.CANCELED_BY_USER, f"cancelled; {tally(now.attempts)}")
    failed = [one for one in now.attempts[now.spared :] if one.has_failed]
    if now.failures and len(failed) >= now.failures and not _any_completed(now.attempts):
        last = failed[-1]
        return End(
            Reason.TRIALS_FAILED,
            f"{len(failed)} trials failed before any completed; the last one, {last.run}: {last.message}",
        )
    has_more = not now.exhausted and len(now.attempts) < now.limits.max_total_trials
    if now.elapsed_s >= now.limits.timeout_s and (has_more or now.repeatable or not _all_ended(now.attempts)):
        return End(
            Reason.TIME_LIMIT, f"the time limit of {now.limits.timeout_s:g} s was reached; {tally(now.attempts)}"
        )
    return None


def _any_completed(attempts: Iterable[Attempt]) -> bool:
    return any(one.trial.state is State.COMPLETED for one in attempts)


def _all_ended(attempts: Iterable[Attempt]) -> bool:
    return not any(one.is_live for one in attempts)


def _outcome(attempts: Sequence[Attempt]) -> End:
    """The end of a sweep whose trials are used up: it has failed only when all of them have."""
    failed = [one for one in attempts if one.trial.state is State.FAILED]
    if attempts and len(failed) == len(attempts):
        return End(Reason.TRIALS_FAILED, f"every trial failed; the last one, {failed[-1].run}: {failed[-1].message}")
    return End(Reason.COMPLETED, tally(attempts))


def tally(attempts: Sequence[Attempt]) -> str:
    """How many trials ended how: ``8 trials: 6 completed, 1 failed, 1 stopped early``."""
    counts: dict[str, int] = {}
    for one in attempts:
        word = "stopped early" if one.reason is Reason.EARLY_TERMINATION else _WORDS.get(one.trial.state, "not ended")
        word = "reused" if one.reused else word
        counts[word] = counts.get(word, 0) + 1
    shown = ", ".join(f"{count} {word}" for word, count in counts.items())
    return f"{len(attempts)} trials: {shown}" if attempts else "no trials"


_WORDS = {
    State.COMPLETED: "completed",
    State.FAILED: "failed",
    State.CANCELED: "cancelled",
    State.NOT_RESPONDING: "not responding",
}


def unseen(attempts: Sequence[Attempt], objective: Objective) -> str | None:
    """That trials completed and none has a value of the metric that the sweep is about, and what they have logged."""
    if not _any_completed(attempts) or objective.best(one.trial for one in attempts) is not None:
        return None
    names = frozenset[str]().union(*(one.names for one in attempts))
    if objective.primary_metric in names:
        return f"no trial logged a finite number as {objective.primary_metric!r}, the primary metric"
    return f"no trial logged {objective.primary_metric!r}, the primary metric; {_seen(names, 'they')}"


def lacking(one: Attempt, objective: Objective) -> str:
    """What a trial that completed without a value of the metric has logged instead; nothing for others."""
    if one.trial.state is not State.COMPLETED or objective.best([one.trial]) is not None:
        return ""
    if objective.primary_metric in one.names:
        return f"it logged no finite number as {objective.primary_metric!r}"
    return f"it did not log {objective.primary_metric!r}; {_seen(one.names, 'it')}"


def _seen(names: frozenset[str], who: str) -> str:
    shown = sorted(names)
    more = f" and {len(shown) - _MOST_NAMES} more" if len(shown) > _MOST_NAMES else ""
    return f"{who} logged: {', '.join(shown[:_MOST_NAMES])}{more}" if shown else f"{who} logged no metrics"


def run_name(sweep: str, number: int, attempt: int = 0) -> str:
    """What the run of a trial is called."""
    return f"{sweep}_{number}_{attempt}" if attempt else f"{sweep}_{number}"
