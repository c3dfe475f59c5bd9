"""What every sampler and every termination policy must do. Subclass a suite, give its fixture, and run it with pytest."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from mlcli.domain.distributions import Choice, SearchSpace
from mlcli.domain.state import State
from mlcli.domain.sweep import Goal, Trial
from mlcli.ports.sampling import EXHAUSTED

if TYPE_CHECKING:
    from mlcli.ports.sampling import Sampler, TerminationPolicy

SPACE = SearchSpace(
    {
        "size": Choice((1, 2, 3, 4)),
        "kind": Choice(("plain", SearchSpace({"depth": Choice((1, 2)), "wide": True, "name": Choice(("a b", "c"))}))),
    }
)


class SamplerSuite:
    """The contract of ``ports.sampling.Sampler``."""

    @pytest.fixture
    def make(self) -> Callable[[], Sampler]:
        """Makes a sampler, always the same one."""
        raise NotImplementedError

    @pytest.fixture
    def space(self) -> SearchSpace:
        """A space that it can go over: with choices, conditional ones too, of 20 combinations."""
        return SPACE

    def test_what_it_picks_is_of_the_space_and_survives_storing(
        self, make: Callable[[], Sampler], space: SearchSpace
    ) -> None:
        for trial in history(make(), space, 15):
            assert space.holds(trial.values)
            stored = json.loads(json.dumps(trial.values))
            assert stored == trial.values
            assert space.holds(stored)

    def test_whoever_asks_gets_the_same_answer(self, make: Callable[[], Sampler], space: SearchSpace) -> None:
        asked = make()
        trials = history(asked, space, 16)
        for count in (0, 1, 9, 14, 16):
            fresh = make().ask(space, trials[:count])
            assert fresh == asked.ask(space, trials[:count]) == make().ask(space, list(trials[:count]))
            if count < 16:
                assert fresh == trials[count].values

    def test_trials_side_by_side_have_numbers_of_their_own(
        self, make: Callable[[], Sampler], space: SearchSpace
    ) -> None:
        sampler, trials = make(), list[Trial]()
        for number in range(12):
            values = sampler.ask(space, trials)
            assert values is not EXHAUSTED
            trials.append(Trial(number, values, state=State.RUNNING))
        assert len({json.dumps(trial.values) for trial in trials}) > 4

    def test_it_changes_nothing_that_it_is_given(self, make: Callable[[], Sampler], space: SearchSpace) -> None:
        sampler = make()
        trials = history(sampler, space, 12)
        before = json.dumps([trial.values for trial in trials])
        sampler.ask(space, trials)
        assert json.dumps([trial.values for trial in trials]) == before

    def test_trials_that_failed_or_logged_nothing_are_no_obstacle(
        self, make: Callable[[], Sampler], space: SearchSpace
    ) -> None:
        sampler = make()
        broken = [
            replace(trial, metrics=(float("nan"), float("inf"))[: trial.number % 3], state=State.FAILED)
            for trial in history(sampler, space, 14)
        ]
        assert sampler.ask(space, broken) is not EXHAUSTED


class TerminationPolicySuite:
    """The contract of ``ports.sampling.TerminationPolicy``."""

    @pytest.fixture(params=list(Goal))
    def goal(self, request: pytest.FixtureRequest) -> Goal:
        """Both goals."""
        found: Goal = request.param
        return found

    @pytest.fixture
    def policy(self, goal: Goal) -> TerminationPolicy:
        """A policy for ``goal``."""
        raise NotImplementedError

    def test_the_best_goes_on(self, policy: TerminationPolicy, goal: Goal) -> None:
        for seed in range(20):
            trials = logged(seed, 8)
            best = max(trials, key=lambda trial: trial.score(goal))
            assert policy.should_stop(best, trials) is None

    def test_what_has_logged_nothing_goes_on(self, policy: TerminationPolicy) -> None:
        assert policy.should_stop(Trial(99, {}, state=State.RUNNING), logged(1, 8)) is None

    def test_one_alone_goes_on(self, policy: TerminationPolicy) -> None:
        for length in range(1, 20):
            (only,) = logged(2, length, count=1)
            assert policy.should_stop(only, (only,)) is None
            assert policy.should_stop(only, ()) is None

    def test_the_worst_of_many_is_stopped_and_told_why(self, policy: TerminationPolicy, goal: Goal) -> None:
        good = 10.0 if goal is Goal.MAXIMIZE else 1.0
        trials = [Trial(number, {}, (good,) * 64, State.COMPLETED) for number in range(400)]
        worst = Trial(400, {}, (5.0,) * 64, State.RUNNING)
        stopped = policy.first_stop(worst, [*trials, worst], 0)
        assert stopped is not None
        assert policy.settings.type in stopped[1]
        at_once = replace(worst, metrics=worst.metrics[: stopped[0]])
        assert policy.should_stop(at_once, [*trials, worst]) == stopped[1]

    def test_no_other_order_no_other_answer(self, policy: TerminationPolicy) -> None:
        for seed in range(20):
            trials = logged(seed, 12)
            mixed = random.Random(seed).sample(trials, len(trials))  # noqa: S311
            for trial in trials:
                assert policy.should_stop(trial, trials) == policy.should_stop(trial, mixed)

    def test_what_the_others_say_of_it_does_not_count(self, policy: TerminationPolicy) -> None:
        for seed in range(20):
            trials = logged(seed, 12)
            for trial in trials:
                later = [replace(one, metrics=(*one.metrics, 0.0)) if one is trial else one for one in trials]
                assert policy.should_stop(trial, trials) == policy.should_stop(trial, later)


def history(sampler: Sampler, space: SearchSpace, count: int) -> list[Trial]:
    """Trials of a sampler, each ended with a metric that its values say."""
    trials: list[Trial] = []
    for number in range(count):
        values = sampler.ask(space, trials)
        assert values is not EXHAUSTED
        metric = random.Random(json.dumps(values)).random()  # noqa: S311
        trials.append(Trial(number, values, (metric,), State.COMPLETED))
    return trials


def logged(seed: int, length: int, count: int = 9) -> list[Trial]:
    """Trials with random metrics."""
    source = random.Random(seed)  # noqa: S311
    return [
        Trial(number, {}, tuple(source.uniform(1, 2) for _ in range(length)), State.RUNNING) for number in range(count)
    ]
