"""A sweep in Optuna's words: every value within its distribution, every state and metric what the sweep says."""

from __future__ import annotations

import math
import random

import optuna
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from mlcli.domain.distributions import Choice, Normal, Randint, SearchSpace, Uniform, flat
from mlcli.domain.state import Reason, State
from mlcli.domain.sweep import Goal, Objective, Search, Trial
from mlcli.domain.trials import Attempt
from mlcli.sampling.studies import frozen_trials
from tests.sampling.test_distributions import SPACES

BEGAN = 1_700_000_000.0


def search(space: SearchSpace, goal: Goal = Goal.MINIMIZE) -> Search:
    return Search(space, Objective("loss", goal))


def attempt(number: int, values, metrics=(), reason: Reason = Reason.COMPLETED) -> Attempt:
    trial = Trial(number, values, tuple(metrics), reason.state)
    ended = BEGAN + 2 if trial.state.is_end else None
    return Attempt(trial, f"s_{number}", reason=reason, started_at=BEGAN + 1, ended_at=ended)


@given(SPACES, st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_any_value_that_is_drawn_lies_in_its_distribution(space, seed):
    source = random.Random(seed)
    points = [tuple(source.random() for _ in range(space.dimensions)) for _ in range(6)]
    ends = [(end,) * space.dimensions for end in (0.0, 1 - 2**-53)]
    attempts = [attempt(number, space.at(point), [number]) for number, point in enumerate([*points, *ends])]
    study = optuna.create_study()
    study.add_trials(frozen_trials(search(space), attempts, BEGAN))  # which looks at each value
    for trial, one in zip(study.get_trials(deepcopy=False), attempts, strict=True):
        assert {value for value in trial.params.values() if isinstance(value, float)} <= set(
            flat(one.trial.values).values()
        )


def test_each_distribution_as_optuna_has_it():
    space = SearchSpace(
        {
            "uniform": Uniform(0, 2),
            "log": Uniform(-5, -1, 10),
            "steps": Uniform(1, 10, q=2),
            "tenths": Uniform(0.05, 0.95, q=0.1),
            "whole": Randint(5),
            "normal": Normal(3, 2),
            "lognormal": Normal(0, 1, math.e),
            "choice": Choice(("a", 2, True)),
            "twice": Choice((1, True)),
        }
    )
    found = frozen_trials(search(space), [attempt(0, space.at((0.3,) * space.dimensions), [1.0])], BEGAN)[0]
    known = dict(found.distributions)
    normal, lognormal = known.pop("normal"), known.pop("lognormal")
    assert known == {
        "uniform": FloatDistribution(0, 2),
        "log": FloatDistribution(1e-5, 1e-1, log=True),
        "steps": IntDistribution(0, 10, step=2),
        "tenths": FloatDistribution(0, 0.9, step=0.1),
        "whole": IntDistribution(0, 4),
        "choice": CategoricalDistribution(("a", 2, True)),
        "twice": CategoricalDistribution(("0: 1", "1: True")),
    }
    assert isinstance(normal, FloatDistribution)
    assert isinstance(lognormal, FloatDistribution)
    assert normal.low < 3 - 8 * 2 < 3 + 8 * 2 < normal.high
    assert lognormal.log


def test_what_an_option_brings_with_it_has_a_flat_name_of_its_own():
    same, other = Uniform(0, 1), Uniform(5, 6)
    space = SearchSpace(
        {
            "model": Choice(
                (
                    "linear",
                    SearchSpace({"kind": "tree", "depth": Randint(9), "rate": same}),
                    SearchSpace({"kind": "net", "depth": Randint(9), "rate": other}),
                )
            )
        }
    )
    values = [
        {"model": "linear"},
        {"model": {"kind": "tree", "depth": 3, "rate": 0.5}},
        {"model": {"kind": "net", "depth": 4, "rate": 5.5}},
    ]
    found = frozen_trials(search(space), [attempt(n, one, [1.0]) for n, one in enumerate(values)], BEGAN)
    assert [trial.params for trial in found] == [
        {"model": "linear"},
        {"model": "kind=tree, depth, rate", "model.depth": 3, "model[1].rate": 0.5},
        {"model": "kind=net, depth, rate", "model.depth": 4, "model[2].rate": 5.5},
    ]
    study = optuna.create_study()
    study.add_trials(found)


def test_states_values_and_what_was_logged_on_the_way():
    space, at = SearchSpace({"x": Uniform(0, 1)}), {"x": 0.5}
    attempts = [
        attempt(0, at, [0.1, 0.9, 0.5]),
        attempt(1, at, [math.nan]),
        attempt(2, at, [0.7], Reason.EARLY_TERMINATION),
        attempt(3, at, [0.8], Reason.COMMAND_FAILED),
        attempt(4, at, [0.8], Reason.CANCELED_BY_USER),
        attempt(5, at, [0.2, math.inf], Reason.RUNNING),
        attempt(6, {"x": 7.0}, [0.3]),
        Attempt(Trial(7, at, (), State.CANCELED), "s_7", reason=Reason.CANCELED_BY_USER),
    ]
    found = frozen_trials(search(space, Goal.MAXIMIZE), attempts, BEGAN)
    assert [(trial.state, trial.value) for trial in found] == [
        (TrialState.COMPLETE, 0.9),
        (TrialState.FAIL, None),
        (TrialState.PRUNED, 0.7),
        (TrialState.FAIL, None),
        (TrialState.FAIL, None),
        (TrialState.RUNNING, None),
        (TrialState.COMPLETE, 0.3),
        (TrialState.FAIL, None),
    ]
    assert found[0].intermediate_values == {1: 0.1, 2: 0.9, 3: 0.5}
    assert found[5].intermediate_values == {1: 0.2, 2: math.inf}
    assert found[6].params == {}
    assert found[0].user_attrs == {"name": "s_0", "status": "Completed", "status_message": ""}
    assert found[0].duration is not None
    assert found[0].duration.total_seconds() == 1.0
    assert found[7].datetime_start is not None
    assert found[7].datetime_start.timestamp() == BEGAN
    study = optuna.create_study(direction="maximize")
    study.add_trials(found)
