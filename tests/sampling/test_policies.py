"""Termination policies: the conformance suite, the worked examples of Azure ML's pages, and independent replays."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcli import registry
from mlcli.domain.state import State
from mlcli.domain.sweep import EarlyTermination, Goal, Trial
from mlcli.testing.sampling import TerminationPolicySuite

MAX, MIN = Goal.MAXIMIZE, Goal.MINIMIZE
NAN = math.nan


def policy(kind: str, goal: Goal, interval: int = 1, delay: int = 0, **settings: Any) -> Any:
    return registry.load("early_termination", kind)(EarlyTermination(kind, interval, delay, settings), goal)


KINDS: dict[str, dict[str, Any]] = {
    "bandit": {"slack_factor": 0.2},
    "median_stopping": {},
    "truncation_selection": {"truncation_percentage": 20},
    "asha": {},
    "hyperband": {"max_resource": 27},
}


class TestSuite(TerminationPolicySuite):
    @pytest.fixture(params=KINDS)
    def policy(self, request, goal):
        return policy(request.param, goal, **KINDS[request.param])


def running(*metrics: float, number: int = 99) -> Trial:
    return Trial(number, {}, metrics, State.RUNNING)


def peers(*histories: tuple[float, ...], state: State = State.RUNNING) -> list[Trial]:
    return [Trial(number, {}, metrics, state) for number, metrics in enumerate(histories)]


# --- the pages' examples ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("slack", "metric", "stopped"),
    [
        ({"slack_factor": 0.2}, 0.66, True),
        ({"slack_factor": 0.2}, 0.67, False),
        ({"slack_factor": 0.2}, 0.8 / 1.2, False),
        ({"slack_amount": 0.2}, 0.59, True),
        ({"slack_amount": 0.2}, 0.61, False),
        ({"slack_amount": 0.0}, 0.79, True),
        ({"slack_amount": 0.0}, 0.8, False),
    ],
)
def test_bandit_with_a_best_of_08_and_a_slack_of_02(slack, metric, stopped):
    """Best metric 0.8 at interval 10, more is better: below 0.66 (factor) or 0.6 (amount) a trial ends."""
    best = (0.1,) * 9 + (0.8,)
    why = policy("bandit", MAX, **slack).should_stop(running(*[0.1] * 9, metric), peers(best))
    assert (why is not None) is stopped


def test_bandit_minimising_has_its_bar_above_the_best():
    for made in (policy("bandit", MIN, slack_factor=0.2), policy("bandit", MIN, slack_amount=0.1)):
        assert made.should_stop(running(0.599), peers((0.5,))) is None
        assert made.should_stop(running(0.601), peers((0.5,))) is not None


@pytest.mark.parametrize(("goal", "best", "good", "bad"), [(MAX, -1.0, -1.19, -1.21), (MIN, -1.2, -1.01, -0.99)])
def test_bandit_with_negative_metrics_never_stops_the_best(goal, best, good, bad):
    made = policy("bandit", goal, slack_factor=0.2)
    assert made.should_stop(running(best), peers((best,))) is None
    assert made.should_stop(running(good), peers((best,))) is None
    assert made.should_stop(running(bad), peers((best,))) is not None


def test_bandit_says_what_it_compared():
    why = policy("bandit", MIN, slack_factor=0.2).should_stop(running(3.0, 2.0), peers((0.5, 0.7)))
    assert why == "bandit: its best within 2 intervals is 2, the best trial's 0.5, the limit 0.6"


@pytest.mark.parametrize("kind", ["bandit", "median_stopping", "truncation_selection"])
@pytest.mark.parametrize(
    ("interval", "delay", "applied"),
    [(1, 5, [5, 6, 7, 8, 9, 10]), (2, 5, [6, 8, 10]), (5, 0, [5, 10]), (3, 3, [3, 6, 9]), (0, 0, [*range(1, 11)])],
)
def test_a_policy_is_applied_at_each_multiple_of_the_interval_from_the_delay_on(kind, interval, delay, applied):
    made = policy(kind, MAX, interval, delay, **KINDS[kind])
    others = peers(*[(1.0,) * 10] * 9)
    assert [n for n in range(1, 11) if made.should_stop(running(*[0.0] * n), others)] == applied


def test_median_stopping_at_interval_5():
    """Ended when the best within 5 intervals is worse than the median of the averages over intervals 1 to 5."""
    made = policy("median_stopping", MAX, delay=5)
    others = peers((0.2, 0.4, 0.6, 0.8, 1.0, 9.0), (0.5,) * 5, (0.1,) * 8)
    # averages up to interval 5: 0.6, 0.5, 0.1, and the trial's own
    assert (
        made.should_stop(running(0.0, 0.1, 0.2, 0.29, 0.1), others) is not None
    )  # 0.29 < median(0.1, 0.138, 0.5, 0.6)
    assert made.should_stop(running(0.0, 0.1, 0.2, 0.49, 0.1), others) is None
    assert made.should_stop(running(0.0, 0.0, 0.0, 0.0), others) is None  # not yet


def test_truncation_of_a_fifth_at_interval_5():
    made = policy("truncation_selection", MAX, delay=5, truncation_percentage=20)
    others = peers(*[(0.1 * place,) * 7 for place in range(1, 10)])
    assert made.should_stop(running(*[0.15] * 5), others) is not None  # the second worst of ten
    assert made.should_stop(running(*[0.25] * 5), others) is None
    assert made.should_stop(running(*[0.0] * 4), others) is None  # not yet


def test_truncation_compares_the_old_as_they_were_when_they_were_young():
    made = policy("truncation_selection", MAX, truncation_percentage=50)
    others = peers(*[(0.1, 0.9)] * 3)
    assert made.should_stop(running(0.2), others) is None
    assert made.should_stop(running(0.2, 0.3), others) is not None


def test_truncation_leaves_finished_trials_out_when_asked():
    done, young = peers(*[(0.9,)] * 8, state=State.COMPLETED), [Trial(50, {}, (0.1,)), Trial(51, {}, (0.1,))]
    given = {"truncation_percentage": 40}
    assert policy("truncation_selection", MAX, **given).should_stop(running(0.5), [*done, *young]) is not None
    excluding = policy("truncation_selection", MAX, **given, exclude_finished_jobs=1)
    assert excluding.should_stop(running(0.5), [*done, *young]) is None


def test_ties_are_no_reason_to_stop():
    for kind, settings in KINDS.items():
        for goal in Goal:
            assert (
                policy(kind, goal, **settings).first_stop(running(*[0.5] * 30), peers(*[(0.5,) * 30] * 40), 0) is None
            )


def test_a_trial_without_any_number_is_the_worst_of_all():
    for kind, settings in KINDS.items():
        made = policy(kind, MIN, **settings)
        assert made.first_stop(running(*[NAN] * 30), peers(*[(5.0,) * 30] * 40), 0) is not None, kind


def test_metrics_that_came_together_are_looked_at_one_by_one():
    made = policy("bandit", MAX, interval=2, slack_amount=0.1)
    trial = running(0.5, 0.5, 0.5, 0.1, 0.1, 0.1)
    others = peers((0.5, 0.5, 0.5, 0.9, 0.9, 0.9))
    assert made.first_stop(trial, others, 0) == (4, made.should_stop(replace(trial, metrics=trial.metrics[:4]), others))
    assert made.first_stop(trial, others, 4) is not None
    assert made.first_stop(trial, others, 6) is None


# --- replays ----------------------------------------------------------------------------------------------------------

Rule = Callable[[list[list[float]], list[bool], int], bool]
"""(what each trial has logged, which have ended, which one has just logged) -> whether it is to be stopped"""


@dataclass
class Sweep:
    """Trials that run a few at a time, each with metrics that are written down beforehand."""

    planned: list[list[float]]
    order: random.Random
    side_by_side: int = 4

    def stops(self, rule: Rule) -> dict[int, int]:
        """Trial -> the interval at which ``rule`` stops it."""
        logged: list[list[float]] = []
        ended: list[bool] = []
        stopped = {}
        while not all(ended) or len(logged) < len(self.planned):
            while len(logged) < len(self.planned) and ended.count(False) < self.side_by_side:
                logged.append([])
                ended.append(not self.planned[len(logged) - 1])
            alive = [number for number, done in enumerate(ended) if not done]
            if not alive:
                continue
            number = self.order.choice(alive)
            logged[number].append(self.planned[number][len(logged[number])])
            if rule(logged, ended, number):
                stopped[number] = len(logged[number])
                ended[number] = True
            elif len(logged[number]) == len(self.planned[number]):
                ended[number] = True
        return stopped


def ours(made: Any) -> Rule:
    def rule(logged: list[list[float]], ended: list[bool], number: int) -> bool:
        trials = [
            Trial(place, {}, tuple(metrics), State.COMPLETED if ended[place] else State.RUNNING)
            for place, metrics in enumerate(logged)
        ]
        return made.should_stop(trials[number], trials) is not None

    return rule


@dataclass
class ByTheWords:
    """The policies once more, straight from their description, in metrics and not in scores."""

    kind: str
    goal: Goal
    interval: int
    delay: int
    settings: dict[str, float]

    def __call__(self, logged: list[list[float]], ended: list[bool], number: int) -> bool:
        n = len(logged[number])
        if n < self.delay or n % max(self.interval, 1):
            return False
        if self.kind == "bandit":
            return self.bandit(logged, number, n)
        if self.kind == "median_stopping":
            return self.median(logged, number, n)
        return self.truncation(logged, ended, number, n)

    def worse(self, one: float, other: float) -> bool:
        return one < other if self.goal is MAX else one > other

    def best(self, metrics: list[float]) -> float:
        best_of, worst = (max, -math.inf) if self.goal is MAX else (min, math.inf)
        return best_of([value for value in metrics if math.isfinite(value)], default=worst)

    def bandit(self, logged: list[list[float]], number: int, n: int) -> bool:
        top = self.best([self.best(metrics[:n]) for metrics in logged])
        if not math.isfinite(top):
            return False
        if "slack_amount" in self.settings:
            amount = self.settings["slack_amount"]
            limit = top - amount if self.goal is MAX else top + amount
        else:
            both = top / (1 + self.settings["slack_factor"]), top * (1 + self.settings["slack_factor"])
            limit = min(both) if self.goal is MAX else max(both)
        return self.worse(self.best(logged[number]), limit)

    def median(self, logged: list[list[float]], number: int, n: int) -> bool:
        finite = [[value for value in metrics[:n] if math.isfinite(value)] for metrics in logged]
        averages = [statistics.fmean(metrics) for metrics in finite if metrics]
        return bool(averages) and self.worse(self.best(logged[number]), statistics.median(averages))

    def truncation(self, logged: list[list[float]], ended: list[bool], number: int, n: int) -> bool:
        skip = self.settings.get("exclude_finished_jobs", 0)
        there = [
            place
            for place, metrics in enumerate(logged)
            if place == number or (len(metrics) >= n and not (skip and ended[place]))
        ]
        own = self.best(logged[number])
        as_good_or_worse = sum(not self.worse(own, self.best(logged[place][:n])) for place in there)
        return as_good_or_worse <= math.floor(len(there) * self.settings["truncation_percentage"] / 100)


def planned(source: random.Random, count: int, *, coarse: bool, holes: bool) -> list[list[float]]:
    """Metrics that get better with time, of different length; ``coarse``: many are equal."""
    found = []
    for _ in range(count):
        level, length = source.uniform(-1, 1), source.randrange(0, 15)
        metrics = [level + source.gauss(0, 0.3) + 0.05 * step for step in range(length)]
        if coarse:
            metrics = [round(value, 1) for value in metrics]
        if holes:
            metrics = [NAN if source.random() < 0.2 else value for value in metrics]
        found.append(metrics)
    return found


REPLAYED: list[tuple[str, dict[str, float]]] = [
    ("bandit", {"slack_factor": 0.2}),
    ("bandit", {"slack_amount": 0.3}),
    ("median_stopping", {}),
    ("truncation_selection", {"truncation_percentage": 30}),
    ("truncation_selection", {"truncation_percentage": 55, "exclude_finished_jobs": 1}),
]


@pytest.mark.parametrize("goal", list(Goal))
@pytest.mark.parametrize(("kind", "settings"), REPLAYED)
@pytest.mark.parametrize(("coarse", "holes"), [(False, False), (True, False), (True, True)])
def test_an_independent_replay_stops_the_same_trials_at_the_same_time(goal, kind, settings, coarse, holes):
    stopped = 0
    for seed in range(25):
        source = random.Random(seed)
        metrics = planned(source, 24, coarse=coarse, holes=holes)
        interval, delay = source.choice([(0, 0), (1, 0), (1, 5), (2, 3), (3, 0)])
        made = policy(kind, goal, interval, delay, **settings)
        one = Sweep(metrics, random.Random(seed)).stops(ours(made))
        other = Sweep(metrics, random.Random(seed)).stops(ByTheWords(kind, goal, interval, delay, settings))
        assert one == other
        stopped += len(one)
    assert stopped > 20


# --- our own: Optuna's pruners are the measure ------------------------------------------------------------------------


def by_optuna(pruner: Any, goal: Goal) -> Rule:
    """What Optuna decides when each trial reports its best so far."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name="s", direction=goal.value, pruner=pruner, sampler=optuna.samplers.RandomSampler(0)
    )
    trials: list[optuna.Trial] = []

    def rule(logged: list[list[float]], ended: list[bool], number: int) -> bool:
        while len(trials) <= number:
            trials.append(study.ask())
        best = max(logged[number]) if goal is MAX else min(logged[number])
        trials[number].report(best, len(logged[number]))
        return trials[number].should_prune()

    return rule


@pytest.mark.parametrize("goal", list(Goal))
@pytest.mark.parametrize(("first", "eta"), [(1, 2), (1, 4), (2, 3), (3, 2)])
def test_asha_decides_as_optunas_successive_halving_does(goal, first, eta):
    stopped = 0
    for seed in range(12):
        metrics = planned(random.Random(seed), 30, coarse=bool(seed % 2), holes=False)
        made = policy("asha", goal, min_resource=first, reduction_factor=eta)
        pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=first, reduction_factor=eta)
        one = Sweep(metrics, random.Random(seed)).stops(ours(made))
        assert one == Sweep(metrics, random.Random(seed)).stops(by_optuna(pruner, goal))
        stopped += len(one)
    assert stopped > 20


@pytest.mark.parametrize(("first", "last", "eta"), [(1, 27, 3), (1, 30, 3), (2, 16, 2), (1, 1, 3), (5, 81, 4)])
def test_hyperband_has_optunas_brackets_and_shares(first, last, eta):
    made = policy("hyperband", MAX, min_resource=first, max_resource=last, reduction_factor=eta)
    pruner = optuna.pruners.HyperbandPruner(first, last, eta)
    study = optuna.create_study(pruner=pruner, sampler=optuna.samplers.RandomSampler(0))
    trial = study.ask()
    trial.report(0.5, 1)
    trial.should_prune()  # makes its brackets
    assert made._shares == pruner._trial_allocation_budgets
    found = [made.bracket(number) for number in range(5000)]
    for bracket, share in enumerate(made._shares):
        assert found.count(bracket) / 5000 == pytest.approx(share / sum(made._shares), abs=0.03)


def test_hyperband_is_asha_within_each_bracket():
    made = policy("hyperband", MAX, max_resource=9)
    metrics = planned(random.Random(3), 40, coarse=False, holes=False)
    trials = [Trial(number, {}, tuple(found)) for number, found in enumerate(metrics)]
    assert {made.bracket(trial.number) for trial in trials} == {0, 1, 2}
    for trial in trials:
        bracket = made.bracket(trial.number)
        alone = policy("asha", MAX, min_resource=3**bracket, reduction_factor=3)
        same = [one for one in trials if made.bracket(one.number) == bracket]
        for interval in range(1, len(trial.metrics) + 1):
            young = replace(trial, metrics=trial.metrics[:interval])
            assert bool(made.should_stop(young, trials)) == bool(alone.should_stop(young, same))


METRICS = st.lists(st.floats(), max_size=12).map(tuple)


@given(st.lists(METRICS, max_size=8), METRICS, st.sampled_from(list(Goal)), st.sampled_from(list(KINDS)))
def test_no_history_makes_a_policy_fail(histories, own, goal, kind):
    why = policy(kind, goal, **KINDS[kind]).should_stop(running(*own), peers(*histories))
    assert why is None or (why.startswith(kind) and "nan" not in why)
