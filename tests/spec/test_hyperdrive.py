"""HyperDrive configurations: the documented one is read, and everything that can be wrong has its place."""

from __future__ import annotations

import math

import pytest

from mlcli.domain.distributions import Choice, Distribution, Normal, Randint, SearchSpace, Uniform
from mlcli.domain.errors import InvalidSpecError
from mlcli.domain.sweep import EarlyTermination, Goal, Objective, Sampling, SweepLimits
from mlcli.spec.hyperdrive import read_words
from mlcli.spec.sweep import search as search_of
from tests.spec.files import BASE, Files
from tests.spec.hdconfig import DOCUMENTED

SHORT = """\
sampling: {type: Random, parameter_space: [%s]}
primary_metric_name: loss
primary_metric_goal: minimize
max_total_runs: 8
"""
ONE = "{name: --a, expression: uniform, values: [0, 1]}"


def read(text: str):
    today, _ = read_words(text, "hdconfig.yml", BASE, Files())
    return search_of(today, today.tree)


def faults(text: str) -> list[str]:
    with pytest.raises(InvalidSpecError) as caught:
        read(text)
    return [f"{one.place.line}:{one.place.column} {one.code}: {one.message}" for one in caught.value.diagnostics]


def test_the_documented_one():
    search = read(DOCUMENTED)
    assert search.space == SearchSpace({"--penalty": Choice((0.5, 1, 1.5))})
    assert search.objective == Objective("Accuracy", Goal.MAXIMIZE)
    assert search.sampling == Sampling("random")
    assert search.limits == SweepLimits(8, 2, 6000.0)
    assert search.early_termination == EarlyTermination("bandit", 1, 0, {"slack_factor": 0.2})


def test_every_expression():
    listed: dict[str, tuple[str, Distribution]] = {
        "choice": ("[a, b]", Choice(("a", "b"))),
        "randint": ("[5]", Randint(5)),
        "uniform": ("[0, 1]", Uniform(0, 1)),
        "quniform": ("[0, 9, 3]", Uniform(0, 9, q=3)),
        "LogUniform": ("[-5, -1]", Uniform(-5, -1, math.e)),
        "qloguniform": ("[0, 4, 2]", Uniform(0, 4, math.e, 2)),
        "normal": ("[1, 2]", Normal(1, 2)),
        "qnormal": ("[1, 2, 1]", Normal(1, 2, q=1)),
        "lognormal": ("[1, 0.5]", Normal(1, 0.5, math.e)),
        "qlognormal": ("[1, 0.5, 1]", Normal(1, 0.5, math.e, 1)),
    }
    text = SHORT % ", ".join(f"{{name: --{k}, expression: {k}, values: {v}}}" for k, (v, _) in listed.items())
    assert read(text).space == SearchSpace({f"--{kind}": one for kind, (_, one) in listed.items()})


def test_without_a_policy_and_limits_it_has_their_defaults():
    search = read(SHORT % ONE)
    assert search.early_termination is None
    assert search.limits == SweepLimits(8, None, 604_800.0)
    assert search.limits.concurrency == 8


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("{type: NoTerminationPolicy}", None),
        ("{type: medianStoppingPolicy, delay_evaluation: 5}", EarlyTermination("median_stopping", 1, 5)),
        (
            "{type: TruncationSelectionPolicy, truncation_percentage: 20, exclude_finished_jobs: true}",
            EarlyTermination("truncation_selection", 1, 0, {"truncation_percentage": 20, "exclude_finished_jobs": 1}),
        ),
    ],
)
def test_policies(policy, expected):
    assert read(SHORT % ONE + f"policy: {policy}\n").early_termination == expected


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("values: [0.5", "valus: [0.5", "7:7 unknown-key: unknown key 'valus'"),
        ("choice", "chioce", "6:19 bad-value: "),
        ("choice", "uniform", "7:15 bad-value: 'uniform' takes 2 values, and 3 are given"),
        ("choice", "quniform", "7:16 empty-range: "),
        ("random #", "bayesian #", "8:1 bayesian-termination: "),
        ("slack_factor: 0.2", "delay_evaluation: 1", "8:1 bandit-slack: "),
        (
            "max_total_runs: 8",
            "max_total_runs: 8000",
            "14:17 out-of-range: 'max_total_runs' must be between 1 and 1000",
        ),
        ("minutes: 100", "minutes: 100000", "16:23 out-of-range: 'max_duration_minutes' must be between 1 and 10080"),
        ("Maximize", "Best", "13:22 bad-value: "),
        ("primary_metric_name: Accuracy\n", "", "2:1 missing-key: "),
    ],
)
def test_what_is_wrong_is_told_with_its_place(old, new, fault):
    text = DOCUMENTED.replace("[0.5, 1, 1.5]", "[9, 1, 1.5]") if new == "quniform" else DOCUMENTED
    assert any(one.startswith(fault) for one in faults(text.replace(old, new, 1))), faults(text.replace(old, new, 1))


def test_a_grid_wants_choices():
    (one,) = faults((SHORT % ONE).replace("Random", "Grid"))
    assert one.startswith("1:66 grid-needs-choice: a grid goes over 'choice' only, and '--a' is 'uniform'")


def test_one_name_twice():
    assert "duplicate-key: '--a' is there twice" in faults(SHORT % f"{ONE}, {ONE}")[0]
