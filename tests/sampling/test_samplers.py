"""Samplers: the conformance suite over each, and what each promises of its own."""

from __future__ import annotations

import itertools
import json
import math
import os
import statistics
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import pytest
from hypothesis import given, settings
from scipy.stats import mannwhitneyu, qmc

from mlcli import registry
from mlcli.domain.distributions import Choice, Normal, Randint, SearchSpace, Uniform, Values
from mlcli.domain.errors import UnsupportedError
from mlcli.domain.state import State
from mlcli.domain.sweep import Goal, Sampling, Trial
from mlcli.ports.sampling import EXHAUSTED
from mlcli.sampling.grid import size
from mlcli.testing.sampling import SPACE, SamplerSuite, history
from tests.sampling.test_distributions import SPACES

KINDS = [
    Sampling("random", seed=1),
    Sampling("random", "sobol", seed=1),
    Sampling("grid", seed=1),
    Sampling("bayesian", seed=1),
    *([Sampling("bayesian", "gp", seed=1)] if find_spec("torch") else []),
]
WIDE = SearchSpace(
    {
        "rate": Uniform(-7, 0, math.e),
        "size": Uniform(16, 256, q=16),
        "drop": Normal(0.3, 0.1),
        "layers": Randint(5),
        "kind": Choice(("a", SearchSpace({"depth": Randint(4), "rate": Uniform(0, 1)}))),
    }
)


def sampler(sampling: Sampling, goal: Goal = Goal.MINIMIZE) -> Any:
    return registry.load("sampling", sampling.algorithm)(sampling, goal)


class TestSuite(SamplerSuite):
    @pytest.fixture(params=KINDS, ids=lambda kind: f"{kind.algorithm} {kind.rule or ''}".strip())
    def make(self, request):
        return lambda: sampler(request.param)


class TestSuiteOverDistributions(TestSuite):
    @pytest.fixture(params=[kind for kind in KINDS if kind.algorithm != "grid"], ids=lambda kind: str(kind.rule))
    def make(self, request):
        return lambda: sampler(request.param)

    @pytest.fixture
    def space(self):
        return WIDE


def test_a_sampler_without_a_seed_is_a_mistake():
    with pytest.raises(ValueError, match="seed"):
        sampler(Sampling("random"))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.algorithm} {kind.rule or ''}".strip())
def test_another_process_picks_the_same(kind):
    """Not even the order of sets, which Python changes from process to process, is in the way."""
    trials = history(sampler(kind), SPACE, 14)
    program = (
        "import json, sys\n"
        "from mlcli import registry\n"
        "from mlcli.domain.state import State\n"
        "from mlcli.domain.sweep import Goal, Sampling, Trial\n"
        "from mlcli.testing.sampling import SPACE\n"
        "kind, trials = json.load(sys.stdin)\n"
        "made = registry.load('sampling', kind[0])(Sampling(*kind), Goal.MINIMIZE)\n"
        "trials = [Trial(n, v, tuple(m), State.COMPLETED) for n, v, m in trials]\n"
        "print(json.dumps(made.ask(SPACE, trials)))\n"
    )
    stored = [[kind.algorithm, kind.rule, kind.seed], [[one.number, one.values, one.metrics] for one in trials]]
    answers = {
        subprocess.run(
            [sys.executable, "-c", program],
            input=json.dumps(stored),
            text=True,
            stdout=subprocess.PIPE,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert answers == {json.dumps(sampler(kind).ask(SPACE, trials)) + "\n"}


@given(SPACES)
@settings(max_examples=40, deadline=None)
def test_any_space_can_be_gone_over(space):
    for kind in KINDS:
        if kind.algorithm != "grid":
            trials = history(sampler(kind), space, 12 if kind.algorithm == "bayesian" else 3)
            assert all(space.holds(json.loads(json.dumps(trial.values))) for trial in trials)


def test_seeds_differ():
    for kind in KINDS:
        if kind.algorithm != "grid":
            found = {json.dumps(sampler(replace(kind, seed=seed)).ask(WIDE, [])) for seed in range(5)}
            assert len(found) == 5


# --- grid -------------------------------------------------------------------------------------------------------------


def exhausted(space: SearchSpace) -> list[Values]:
    made, trials = sampler(Sampling("grid", seed=1)), list[Trial]()
    while (values := made.ask(space, trials)) is not EXHAUSTED:
        trials.append(Trial(len(trials), values, state=State.RUNNING))
    return [trial.values for trial in trials]


def test_a_grid_is_exactly_the_product_in_order():
    space = SearchSpace({"a": Choice((3, 1, 2)), "b": Choice(("x", "y")), "c": Choice((True, False))})
    expected = [dict(zip("abc", one, strict=True)) for one in itertools.product((3, 1, 2), "xy", (True, False))]
    assert exhausted(space) == expected
    assert [list(one) for one in exhausted(space)] == [list("abc")] * 12


def test_a_grid_goes_into_what_an_option_brings_with_it():
    inner = SearchSpace({"k": 7, "n": Choice((1, 2)), "m": Choice((8, 9))})
    assert exhausted(SearchSpace({"a": Choice(("x", inner)), "b": Choice((0, 1))})) == [
        {"a": option, "b": b}
        for option in ("x", *({"k": 7, "n": n, "m": m} for n in (1, 2) for m in (8, 9)))
        for b in (0, 1)
    ]


def test_a_grid_of_nothing_is_one_trial():
    assert exhausted(SearchSpace()) == [{}]


def test_a_grid_refuses_what_is_no_choice():
    for one in (Uniform(0, 1), Randint(3), Normal(0, 1), Choice((SearchSpace({"x": Uniform(0, 1, q=1)}),))):
        with pytest.raises(UnsupportedError, match=r"'choice' only, not over (uniform|randint|normal)"):
            sampler(Sampling("grid", seed=1)).ask(SearchSpace({"a": one}), [])


def test_a_huge_grid_is_never_listed():
    space = SearchSpace({f"p{number}": Choice(tuple(range(10))) for number in range(18)})
    assert size(space) == 10**18
    values = sampler(Sampling("grid", seed=1)).ask(space, [Trial(123_456_788, {})])
    assert "".join(map(str, values.values())) == "000000000123456789"


# --- random -----------------------------------------------------------------------------------------------------------


def test_trials_of_an_earlier_sweep_do_not_move_the_random_ones():
    made = sampler(Sampling("random", seed=3))
    earlier = [Trial(-2, {}, (1.0,), State.COMPLETED), Trial(-1, {}, (2.0,), State.COMPLETED)]
    assert made.ask(WIDE, earlier) == made.ask(WIDE, [])
    assert made.ask(WIDE, [*earlier, Trial(0, {})]) == made.ask(WIDE, [Trial(0, {})])


def test_sobol_fills_the_space_more_evenly():
    space = SearchSpace({name: Uniform(0, 1) for name in "abc"})

    def discrepancy(rule: str, seed: int) -> float:
        made = sampler(Sampling("random", rule, seed))
        points = [made.ask(space, [Trial(number - 1, {})] if number else []) for number in range(128)]
        return float(qmc.discrepancy([list(point.values()) for point in points]))

    for seed in range(10):
        assert discrepancy("sobol", seed) < 0.5 * discrepancy("random", seed)


def test_sobol_goes_on_where_another_process_stopped_and_back():
    first, space = sampler(Sampling("random", "sobol", 7)), SearchSpace({"a": Uniform(0, 1), "b": Randint(9)})
    asked = {number: first.ask(space, [Trial(number, {})]) for number in range(40)}
    for number in (39, 3, 3, 17):
        assert sampler(Sampling("random", "sobol", 7)).ask(space, [Trial(number, {})]) == asked[number]
        assert first.ask(space, [Trial(number, {})]) == asked[number]


def test_a_sequence_of_too_many_dimensions_is_refused():
    space = SearchSpace({f"p{number}": Randint(2) for number in range(30_000)})
    with pytest.raises(UnsupportedError, match="at most 21,201 dimensions"):
        sampler(Sampling("random", "sobol", 7)).ask(space, [])


# --- bayesian ---------------------------------------------------------------------------------------------------------


def test_its_first_trials_are_the_random_ones():
    made, plain = sampler(Sampling("bayesian", seed=4)), sampler(Sampling("random", seed=4))
    assert [trial.values for trial in history(made, WIDE, 10)] == [trial.values for trial in history(plain, WIDE, 10)]
    assert made.ask(WIDE, history(made, WIDE, 10)) != plain.ask(WIDE, history(made, WIDE, 10))


def error(values: Any) -> float:
    return abs(float(values["x"]) - 0.7)


def parabola(number: int, values) -> Trial:
    return Trial(number, values, (error(values) ** 2,), State.COMPLETED)


LINE = SearchSpace({"x": Uniform(0, 1)})


def test_it_looks_where_it_was_good():
    made, trials = sampler(Sampling("bayesian", seed=4)), list[Trial]()
    for number in range(40):
        trials.append(parabola(number, made.ask(LINE, trials)))
    late = [error(trial.values) for trial in trials[20:]]
    assert statistics.median(late) < 0.1


def test_the_goal_turns_it_round():
    made, trials = sampler(Sampling("bayesian", seed=4), Goal.MAXIMIZE), list[Trial]()
    for number in range(40):
        trials.append(parabola(number, made.ask(LINE, trials)))
    assert statistics.median(error(trial.values) for trial in trials[20:]) > 0.5


def test_trials_that_still_run_push_the_next_ones_away():
    base = [parabola(number, {"x": number / 20}) for number in range(21)]
    made = sampler(Sampling("bayesian", seed=4))
    crowd = [Trial(21 + number, {"x": 0.7}, (), State.RUNNING) for number in range(15)]

    def spread(trials) -> float:
        found = [made.ask(LINE, [*trials, Trial(100 + number, {"x": 0.7}, (), State.FAILED)]) for number in range(30)]
        return statistics.fmean(error(one) for one in found)

    assert spread([*base, *crowd]) > 1.3 * spread(base)


def test_the_order_in_which_trials_end_is_of_no_matter():
    """What it kept of a history must not show: asked at each step or at the end alone, it says the same."""
    asked, values = sampler(Sampling("bayesian", seed=9)), {}
    trials: list[Trial] = []
    for number in range(30):
        values[number] = asked.ask(WIDE, trials)
        trials.append(Trial(number, values[number], (), State.RUNNING))
        for place in (number - 3, number - 1):  # ended out of turn, some without a metric
            if place >= 0 and place % 2 == (place == number - 1) and not trials[place].state.is_end:
                metric = (math.nan,) if place % 7 == 0 else (place % 5 + 0.5,)
                trials[place] = replace(trials[place], metrics=metric, state=State.COMPLETED)
        assert sampler(Sampling("bayesian", seed=9)).ask(WIDE, trials) == asked.ask(WIDE, trials)


def test_a_corrected_history_is_believed():
    made = sampler(Sampling("bayesian", seed=9))
    trials = history(made, WIDE, 20)
    made.ask(WIDE, trials)
    other = [replace(trial, metrics=(1 - trial.metrics[0],)) for trial in trials]
    assert made.ask(WIDE, other) == sampler(Sampling("bayesian", seed=9)).ask(WIDE, other)
    narrow = SearchSpace({**WIDE.parameters, "layers": Randint(3)})
    assert made.ask(narrow, other) == sampler(Sampling("bayesian", seed=9)).ask(narrow, other)


def test_trials_of_an_earlier_sweep_teach_it_and_those_of_another_space_do_not():
    earlier = [parabola(number - 30, {"x": number / 30}) for number in range(30)]
    made = sampler(Sampling("bayesian", seed=2))
    found = [made.ask(LINE, [*earlier, Trial(number, {"x": 0.1}, (), State.FAILED)]) for number in range(30)]
    assert statistics.median(map(error, found)) < 0.15
    foreign = [replace(trial, values={"x": 5.0}) for trial in earlier]
    assert made.ask(LINE, foreign) == made.ask(LINE, [])


@pytest.mark.parametrize(("rule", "package"), [("gp", "torch"), ("sobol", "scipy")])
def test_an_extra_that_is_not_there_is_named_before_the_first_trial(rule, package, monkeypatch):
    algorithm = registry.load("sampling", "bayesian" if rule == "gp" else "random")
    monkeypatch.setattr(f"{algorithm.__module__}.find_spec", {package: None}.__getitem__)
    with pytest.raises(UnsupportedError, match=f"'rule: {rule}' needs the package '{package}'") as refused:
        algorithm(Sampling(rule=rule, seed=1), Goal.MINIMIZE)
    assert "pip install 'mlcli[sweep" in (refused.value.hint or "")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.algorithm == "bayesian"], ids=lambda kind: kind.rule)
def test_metrics_at_the_ends_of_what_numbers_are_stop_nobody(kind):
    for metrics in ((1e308, 1e308, 1.0), (5e-324, 1e308, 0.0), (7.0, 7.0, 7.0)):
        trials = [
            Trial(number, {"x": number / 20}, (metric,), State.COMPLETED) for number, metric in enumerate(metrics * 4)
        ]
        assert LINE.holds(sampler(kind).ask(LINE, trials))


def test_the_gaussian_process_is_as_true_to_its_seed_and_better_than_chance():
    pytest.importorskip("torch")
    made, trials = sampler(Sampling("bayesian", "gp", 4)), list[Trial]()
    for number in range(20):
        trials.append(parabola(number, made.ask(LINE, trials)))
    assert made.ask(LINE, trials) == sampler(Sampling("bayesian", "gp", 4)).ask(LINE, trials)
    assert min(error(trial.values) for trial in trials[10:]) < 0.02
    values = history(made, SPACE, 40)[-1].values  # so many that ten came to the option that brings parameters with it
    assert SPACE.holds(values)


def branin(x: float, y: float) -> float:
    """The usual test function on [-5, 10] x [0, 15]; its least value is 0.3979."""
    bowl = (y - 5.1 / (4 * math.pi**2) * x**2 + 5 / math.pi * x - 6) ** 2
    return bowl + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10


@pytest.mark.slow
def test_tpe_beats_random_on_branin():
    space = SearchSpace({"x": Uniform(-5, 10), "y": Uniform(0, 15)})

    def best(algorithm: str, seed: int) -> float:
        made, trials = sampler(Sampling(algorithm, seed=seed)), list[Trial]()
        for number in range(60):
            values = made.ask(space, trials)
            trials.append(Trial(number, values, (branin(**values),), State.COMPLETED))
        return min(trial.metrics[0] for trial in trials)

    tpe, plain = ([best(algorithm, seed) for seed in range(20)] for algorithm in ("bayesian", "random"))
    assert statistics.median(tpe) < 0.7 * statistics.median(plain)
    assert statistics.fmean(tpe) < 0.7 * statistics.fmean(plain)
    assert mannwhitneyu(tpe, plain, alternative="less").pvalue < 0.01
