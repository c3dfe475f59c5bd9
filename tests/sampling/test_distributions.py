"""Ten thousand draws of each distribution against its definition, tested by SciPy's own implementations of them."""

from __future__ import annotations

import math
from collections import Counter
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mlcli.domain.distributions import Choice, Normal, Randint, SearchSpace, Uniform, Values, flat, is_finite
from mlcli.domain.sweep import Goal, Sampling, Trial
from mlcli.sampling.random import RandomSampler

DRAWS = 10_000
LEAST_P = 0.001
E = math.e
CONTINUOUS = {
    "uniform": (Uniform(-2, 5), stats.uniform(-2, 7)),
    "loguniform": (Uniform(-5, -1, E), stats.loguniform(math.exp(-5), math.exp(-1))),
    "loguniform, base 10": (Uniform(-5, -1, 10), stats.loguniform(1e-5, 1e-1)),
    "normal": (Normal(3, 2), stats.norm(3, 2)),
    "lognormal": (Normal(1, 0.5, E), stats.lognorm(s=0.5, scale=E)),
}
QUANTISED = {
    "quniform": (Uniform(1, 10, q=2), stats.uniform(1, 9), 2),
    "quniform, part of a step": (Uniform(0.05, 0.95, q=0.1), stats.uniform(0.05, 0.9), 0.1),
    "qloguniform": (Uniform(0, 4, E, q=5), stats.loguniform(1, math.exp(4)), 5),
    "qnormal": (Normal(3, 2, q=1), stats.norm(3, 2), 1),
    "qlognormal": (Normal(1, 0.5, E, q=1), stats.lognorm(s=0.5, scale=E), 1),
}


def draws(distribution, seed: int = 11, rule: str = "random") -> list[Any]:
    sampler = RandomSampler(Sampling(rule=rule, seed=seed), Goal.MINIMIZE)
    space = SearchSpace({"x": distribution})
    return [sampler.ask(space, [Trial(number - 1, {})] if number else [])["x"] for number in range(DRAWS)]


def chi_square(counted: Counter[Any], expected: dict[Any, float]) -> float:
    """The p-value; what is expected too rarely is put together."""
    assert set(counted) <= set(expected), "a value that cannot be drawn"
    rare = [value for value, count in expected.items() if count < 10]
    observed = [counted[value] for value in expected if value not in rare] + [sum(counted[value] for value in rare)]
    wanted = [count for value, count in expected.items() if value not in rare]
    wanted.append(DRAWS - sum(wanted))
    if wanted[-1] < 1e-6:
        assert observed[-1] == 0
        observed, wanted = observed[:-1], wanted[:-1]
    return float(stats.chisquare(observed, wanted).pvalue)


@pytest.mark.parametrize(("distribution", "defined"), CONTINUOUS.values(), ids=CONTINUOUS)
def test_continuous_ones(distribution, defined):
    assert stats.kstest(draws(distribution), defined.cdf).pvalue > LEAST_P


@pytest.mark.parametrize(("distribution", "defined", "q"), QUANTISED.values(), ids=QUANTISED)
def test_quantised_ones_are_rounded_to_the_nearest_step(distribution, defined, q):
    least, most = (round(defined.ppf(unit) / q) for unit in (1e-12, 1 - 1e-12))
    expected = {
        float(Decimal(str(q)) * step): DRAWS * (defined.cdf((step + 0.5) * q) - defined.cdf((step - 0.5) * q))
        for step in range(least - 1, most + 2)
    }
    assert chi_square(Counter(draws(distribution)), expected) > LEAST_P


def test_a_choice_and_a_random_integer_are_even():
    assert chi_square(Counter(draws(Choice(("a", "b", "c")))), dict.fromkeys("abc", DRAWS / 3)) > LEAST_P
    assert chi_square(Counter(draws(Randint(7))), dict.fromkeys(range(7), DRAWS / 7)) > LEAST_P


@pytest.mark.parametrize("distribution", [CONTINUOUS["normal"], CONTINUOUS["loguniform"]])
def test_a_sobol_sequence_has_the_same_distribution(distribution):
    one, defined = distribution
    assert stats.kstest(draws(one, rule="sobol"), defined.cdf).statistic < 0.005


def test_parameters_do_not_depend_on_each_other_nor_on_the_trial_before():
    sampler = RandomSampler(Sampling(seed=5), Goal.MINIMIZE)
    space = SearchSpace({"x": Uniform(0, 1), "y": Uniform(0, 1)})
    found = [sampler.ask(space, [Trial(number, {})]) for number in range(DRAWS)]
    x, y = [one["x"] for one in found], [one["y"] for one in found]
    assert abs(stats.pearsonr(x, y).statistic) < 0.04
    assert abs(stats.pearsonr(x[1:], x[:-1]).statistic) < 0.04


def test_neighbouring_seeds_have_nothing_in_common():
    assert abs(stats.pearsonr(draws(Uniform(0, 1), seed=1), draws(Uniform(0, 1), seed=2)).statistic) < 0.04


def test_values_are_what_a_person_would_write():
    assert {type(one) for one in draws(Uniform(16, 512, q=16))} == {int}
    assert {str(one) for one in draws(Uniform(0, 1, q=0.1))} == {f"{step / 10:.1f}" for step in range(11)}


def test_rounding_may_leave_the_bounds_as_azure_mls_does():
    assert set(draws(Uniform(2, 9, q=5))) == {0, 5, 10}


UNITS = st.floats(0, 1, exclude_max=True)
BOUNDS = st.tuples(st.floats(-20, 20), st.floats(0.1, 20))
STEPS = st.one_of(st.none(), st.sampled_from([1, 2, 5, 0.1, 0.25, 1.0]))
NUMBERS = st.one_of(
    st.builds(Randint, st.integers(1, 10**9)),
    st.builds(
        lambda at, base, q: Uniform(at[0], at[0] + at[1], base, q), BOUNDS, st.sampled_from([None, E, 2, 10]), STEPS
    ),
    st.builds(
        lambda at, base, q: Normal(at[0] / 10, at[1] / 10, base, q), BOUNDS, st.sampled_from([None, E, 2]), STEPS
    ),
)
SCALARS = st.one_of(st.text(max_size=4), st.integers(-5, 5), st.booleans(), st.floats(-1, 1))
NAMES = st.text("abc-.", min_size=1, max_size=3)


def choices(options: Any) -> Any:
    return st.builds(lambda found: Choice(tuple(found)), st.lists(options, min_size=1, max_size=4))


def spaces(leaves: Any) -> Any:
    return st.builds(SearchSpace, st.dictionaries(NAMES, leaves, max_size=4))


INNER = st.one_of(NUMBERS, SCALARS, choices(SCALARS))
SPACES = spaces(st.one_of(NUMBERS, choices(st.one_of(SCALARS, spaces(INNER)))))


@given(NUMBERS, UNITS)
def test_every_value_has_its_place(distribution, unit):
    value = distribution.draw(iter((unit,)))
    place = distribution.position(value)
    assert place is not None
    assert 0 <= place <= 1
    again = distribution.draw(iter((place,)))
    if isinstance(distribution, Randint):
        assert again == value
    elif distribution.q:
        # What was rounded comes back to the same step, or, at the edge of two, to the next one.
        assert abs(again - value) <= 1.0001 * distribution.q or math.isclose(again, value, rel_tol=1e-6)
    else:
        assert math.isclose(again, value, rel_tol=1e-6, abs_tol=1e-6)


@given(NUMBERS, st.one_of(st.text(), st.booleans(), st.dictionaries(st.text(), st.integers())))
def test_what_is_no_number_has_no_place(distribution, value):
    assert distribution.position(value) is None


@given(SPACES, st.data())
def test_a_space_takes_as_many_numbers_as_it_says_and_knows_its_own(space, data):
    values = space.at(tuple(data.draw(UNITS) for _ in range(space.dimensions)))
    assert space.holds(values)
    assert list(values) == list(space.parameters)


def test_a_value_from_elsewhere_is_not_of_the_space():
    space = SearchSpace({"a": Uniform(0, 1), "b": Choice((1, "x", SearchSpace({"c": Randint(3)})))})
    assert space.holds({"a": 0.5, "b": {"c": 2}})
    assert space.holds({"a": 1, "b": 1})
    others: tuple[Values, ...] = (
        {"a": 2, "b": 1},
        {"a": 0.5, "b": True},
        {"a": 0.5, "b": {"c": 3}},
        {"a": 0.5},
        {"a": "x", "b": 1},
        {"a": 0.5, "b": {"c": 1.5}},
    )
    for other in others:
        assert not space.holds(other)


def test_which_of_two_options_with_equal_keys_a_map_came_from():
    choice = Choice((SearchSpace({"kind": "a", "n": Randint(3)}), SearchSpace({"kind": "b", "n": Uniform(5, 6)})))
    assert [choice.index_of({"kind": "a", "n": 2}), choice.index_of({"kind": "b", "n": 5.5})] == [0, 1]
    assert choice.index_of({"kind": "b", "n": 2}) is None


def test_scalars_by_their_dotted_names():
    assert flat({"a": 1, "m": {"k": "x", "in": {"deep": 2.5}}}) == {"a": 1, "m.k": "x", "m.in.deep": 2.5}


@pytest.mark.parametrize(
    ("distribution", "finite"),
    [
        (Uniform(-5, 700, E), True),
        (Uniform(-5, 1000, E), False),
        (Uniform(-5, 400, 10), False),
        (Normal(0, 10, E), True),
        (Normal(0, 100, E), False),
        (Uniform(0, 1e299, q=1e-20), False),
    ],
)
def test_spaces_that_no_number_can_hold_are_known(distribution, finite):
    assert is_finite(distribution) is finite
