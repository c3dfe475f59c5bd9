"""Sweep jobs of every generation become one form, and what no schema can say about them is told."""

from __future__ import annotations

import math
from typing import Any

import pytest

from mlcli.domain.distributions import Choice, Normal, Randint, SearchSpace, Uniform, Values
from mlcli.domain.errors import InvalidSpecError
from mlcli.domain.job import BuildContext, DataInput, LiteralInput
from mlcli.domain.sweep import EarlyTermination, Goal, Objective, Sampling, SweepJob, SweepLimits
from mlcli.spec.interpolate import interpolate
from mlcli.spec.jobs import check_file
from mlcli.spec.sweep import texts
from tests.spec.disk import DiskReader
from tests.spec.files import BASE, CORPUS, Files
from tests.spec.reading import read_sweep

FILES = Files({"/job/src/main.py": "", "/job/conda.yml": "dependencies: [python=3.11]\n", "/job/Dockerfile": "FROM x"})
G1 = """
type: sweep_job
algorithm: random
trial:
  code: {local_path: src}
  command: >
    python main.py --data {inputs.iris}
    --rate {search_space.rate}
  inputs:
    iris: {data: {path: https://example.org/iris.csv}, mode: mount}
  environment:
    docker: {build: {dockerfile: file:Dockerfile}}
  compute: {target: azureml:cpu-cluster, instance_count: 2}
search_space:
  rate: {type: uniform, min_value: 0.01, max_value: 0.9}
objective: {primary_metric: loss, goal: minimize}
max_total_trials: 20
max_concurrent_trials: 10
timeout_minutes: 120
early_termination: {policy_type: median_stopping, delay_evaluation: 5}
experiment_name: trees
"""
G2 = """
type: sweep
trial:
  code: {local_path: src}
  command: python main.py --a ${{inputs.a}} --rate ${{search_space.rate}}
  environment: {image: "python:3.8"}
  environment_variables: {SIZE: 0.10}
inputs: {a: 1e-3}
compute: azureml:cpu-cluster
sampling_algorithm: bayesian
search_space:
  rate: {type: quniform, min_value: 1, max_value: 9, q: 2}
objective: {goal: Maximize, primary_metric: auc}
limits: {max_total_trials: 4, max_concurrent_trials: 2, timeout: 3600, trial_timeout: 90}
"""
G3 = """
type: sweep
name: wide
trial:
  code: src
  command: python main.py --rate ${{search_space.rate}}
  environment: current
  resources: {instance_count: 2}
inputs:
  iris: {type: uri_file, path: https://example.org/iris.csv}
outputs:
  model: {type: uri_folder}
resources: {shm_size: 1g}
search_space:
  rate: {type: loguniform, min_value: -5, max_value: -1}
objective: {goal: minimize, primary_metric: loss}
sampling_algorithm: {type: random, rule: sobol, seed: 7, logbase: 10}
early_termination: {type: truncation_selection, truncation_percentage: 25, exclude_finished_jobs: yes, evaluation_interval: 3}
tags: {team: a}
"""


def sweep(text: str, **given: Any) -> SweepJob:
    return read_sweep(text, "sweep.yml", BASE, FILES, **given).sweep


def space(text: str, sampling: str = "random") -> SearchSpace:
    head = "type: sweep\ntrial: {command: x, environment: current}\nobjective: {goal: minimize, primary_metric: m}\n"
    return sweep(f"{head}sampling_algorithm: {sampling}\nsearch_space: {text}\n").search.space


def found(text: str, command: str = "x ${{search_space.a}}", more: str = "") -> list[str]:
    head = f"type: sweep\ntrial: {{command: '{command}', environment: current}}\n{more}"
    head += "objective: {goal: minimize, primary_metric: m}\n"
    _, diagnostics = check_file(f"{head}search_space: {text}\n", "sweep.yml", BASE, FILES)
    return [f"{one.code}: {one.message}" for one in diagnostics]


def test_mid_2021():
    job = sweep(G1)
    assert job.search.space == SearchSpace({"rate": Uniform(0.01, 0.9)})
    assert job.search.objective == Objective("loss", Goal.MINIMIZE)
    assert job.search.sampling == Sampling("random")
    assert job.search.limits == SweepLimits(20, 10, 7200.0)
    assert job.search.early_termination == EarlyTermination("median_stopping", 1, 5)
    trial = job.trial
    assert trial.command == "python main.py --data ${{inputs.iris}} --rate ${{search_space.rate}}"
    assert trial.inputs == {"iris": DataInput("https://example.org/iris.csv", "uri_file")}
    assert (trial.compute, trial.code, trial.experiment_name) == ("cpu-cluster", "/job/src", "trees")
    assert trial.environment.build == BuildContext("/job", "Dockerfile")
    assert trial.resources.instance_count == 2


def test_late_2021():
    job = sweep(G2)
    assert job.search.space == SearchSpace({"rate": Uniform(1, 9, q=2)})
    assert job.search.objective == Objective("auc", Goal.MAXIMIZE)
    assert job.search.sampling == Sampling("bayesian")
    assert job.search.limits == SweepLimits(4, 2, 3600.0, 90.0)
    assert job.search.early_termination is None
    assert job.trial.inputs == {"a": LiteralInput(0.001, "1e-3")}
    assert job.trial.environment_variables == {"SIZE": "0.10"}
    assert job.trial.timeout_s == 90


def test_today():
    job = sweep(G3)
    assert job.search.space == SearchSpace({"rate": Uniform(-5, -1, base=10)})
    assert job.search.sampling == Sampling("random", "sobol", 7)
    assert job.search.limits == SweepLimits(1000, None, 5_184_000.0, None)
    assert job.search.limits.concurrency == 1000
    settings = {"truncation_percentage": 25, "exclude_finished_jobs": 1}
    assert job.search.early_termination == EarlyTermination("truncation_selection", 3, 0, settings)
    assert (job.name, job.trial.tags, list(job.trial.outputs)) == ("wide", {"team": "a"}, ["model"])
    assert (job.trial.resources.instance_count, job.trial.resources.shm_size) == (2, "1g")
    assert job.trial.document["type"] == "command"
    assert job.document["type"] == "sweep"
    assert sweep(G3, name="other").name == "other"


def test_every_distribution():
    text = """
      c: {type: choice, values: [1, 1.5, x, true]}
      r: {type: randint, upper: "7"}
      u: {type: uniform, min_value: 0, max_value: "1"}
      qu: {type: quniform, min_value: 0, max_value: 1, q: 0.1}
      lu: {type: loguniform, min_value: -5, max_value: -1}
      ql: {type: QLogUniform, min_value: 0, max_value: 4, q: 2}
      n: {type: normal, mu: 1, sigma: 2}
      qn: {type: qnormal, mu: 1, sigma: 2, q: 1}
      ln: {type: lognormal, mu: 1, sigma: 0.5}
      qln: {type: qlognormal, mu: 1, sigma: 0.5, q: 1}"""
    assert space(text) == SearchSpace(
        {
            "c": Choice((1, 1.5, "x", True)),
            "r": Randint(7),
            "u": Uniform(0, 1),
            "qu": Uniform(0, 1, q=0.1),
            "lu": Uniform(-5, -1, math.e),
            "ql": Uniform(0, 4, math.e, 2),
            "n": Normal(1, 2),
            "qn": Normal(1, 2, q=1),
            "ln": Normal(1, 0.5, math.e),
            "qln": Normal(1, 0.5, math.e, 1),
        }
    )


CONDITIONAL = "{a: {type: choice, values: [plain, {kind: deep, depth: {type: randint, upper: 9}, wide: true}]}}"


def test_a_choice_of_maps_is_a_space_of_its_own():
    inner = SearchSpace({"kind": "deep", "depth": Randint(9), "wide": True})
    assert space(CONDITIONAL) == SearchSpace({"a": Choice(("plain", inner))})


def test_what_a_trial_gets():
    values: Values = {"rate": 0.1, "flag": True, "a": {"kind": "two words", "depth": 3}}
    assert texts(values) == {
        "rate": "0.1",
        "flag": "True",
        "a": '{"kind": "two words", "depth": 3}',
        "a.kind": "two words",
        "a.depth": "3",
    }


def test_a_parameter_that_only_some_trials_have_is_an_optional_fragment():
    command = "x ${{search_space.a}} $[[--depth ${{search_space.a.depth}}]]"
    assert found(CONDITIONAL, command) == []
    for values, expected in (({"a": "plain"}, "x plain "), ({"a": {"depth": 3}}, "x '{\"depth\": 3}' --depth 3")):
        given = {f"search_space.{name}": text for name, text in texts(values).items()}
        assert interpolate(command, given) == expected


def test_one_that_is_needed_always_must_be_there_always():
    assert found(CONDITIONAL, "x ${{search_space.a.depth}}") == [
        "unknown-reference: 'a.depth' is there with some of the values of 'a' only, and the command needs it always"
    ]
    assert found(CONDITIONAL, "x ${{search_space.a.dept}}") == [
        "unknown-reference: the search parameter 'a' has no 'dept'"
    ]
    always = "{a: {type: choice, values: [{n: 1}, {n: {type: randint, upper: 3}}]}}"
    assert found(always, "x ${{search_space.a.n}}") == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{a: {type: loguniform, min_value: 1, max_value: 1000}}", "'a' can come out larger than any number"),
        ("{a: {type: lognormal, mu: 0, sigma: 200}}", "'a' can come out larger than any number"),
        ("{a: {type: choice, values: [{b: {type: lognormal, mu: 0, sigma: 200}}]}}", "'b' can come out larger"),
        ("{a: {type: randint, upper: 0}}", "'upper' must be more than 0"),
        ("{a: {type: quniform, min_value: 0, max_value: 1, q: 0}}", "'q' must be more than 0"),
        ("{a: {type: normal, mu: 0, sigma: -1}}", "'sigma' must be at least 0"),
    ],
)
def test_numbers_that_make_no_distribution(text, message):
    (one,) = found(text)
    assert one.startswith("out-of-range: ")
    assert message in one


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("sampling_algorithm: {type: grid, rule: sobol}\n", "bad-value: 'sobol' is not a rule of 'grid'"),
        ("sampling_algorithm: {type: random, rule: tpe}\n", "bad-value: 'tpe' is not a rule of 'random'"),
        ("sampling_algorithm: {type: bayesian, rule: sobol}\n", "bad-value: 'sobol' is not a rule of 'bayesian'"),
        ("sampling_algorithm: {type: random, logbase: 1}\n", "out-of-range: 'logbase' must be 'e' or a number above 0"),
        ("sampling_algorithm: {type: random, logbase: x}\n", "out-of-range: 'logbase' must be 'e' or a number above 0"),
        ("early_termination: {type: asha, reduction_factor: 1}\n", "out-of-range: 'reduction_factor' must be at least 2"),
        ("early_termination: {type: asha, min_resource: 0}\n", "out-of-range: 'min_resource' must be at least 1"),
        ("early_termination: {type: hyperband}\n", "missing-key: the key 'max_resource' is missing"),
        ("early_termination: {type: asha, max_resource: 3}\n", "unknown-key: unknown key 'max_resource'"),
        (
            "early_termination: {type: hyperband, min_resource: 9, max_resource: 3}\n",
            "out-of-range: 'max_resource' must not be less than 'min_resource'",
        ),
    ],
)  # fmt: skip
def test_settings_that_do_not_fit(more, message):
    (one,) = found("{a: {type: choice, values: [1]}}", more=more)
    assert one.startswith(message)


@pytest.mark.parametrize(
    "more",
    [
        "sampling_algorithm: {type: random, rule: sobol, logbase: e, seed: 3}\n",
        "sampling_algorithm: {type: Bayesian, rule: TPE}\nearly_termination: {type: ASHA}\n",
        "sampling_algorithm: {type: bayesian, rule: gp}\nearly_termination: {type: hyperband, max_resource: 81}\n",
        "early_termination: {type: asha, min_resource: 2, reduction_factor: 3}\n",
    ],
)
def test_settings_that_fit(more):
    assert found("{a: {type: choice, values: [1]}}", more=more) == []


def test_our_own_policies_are_read():
    more = "early_termination: {type: Hyperband, max_resource: 81, reduction_factor: 3}\n"
    head = "type: sweep\ntrial: {command: x, environment: current}\nobjective: {goal: minimize, primary_metric: m}\n"
    settings = {"max_resource": 81, "reduction_factor": 3}
    assert sweep(head + more).search.early_termination == EarlyTermination("hyperband", 1, 0, settings)


def test_words_of_the_sdk_for_the_policies():
    head = "type: sweep\ntrial: {command: x, environment: current}\nobjective: {goal: minimize, primary_metric: m}\n"
    for written, meant in (("MedianStopping", "median_stopping"), ("median_stopping", "median_stopping")):
        policy = sweep(f"{head}early_termination: {{type: {written}}}\n").search.early_termination
        assert policy is not None
        assert policy.type == meant


def test_a_file_that_its_trial_names_is_told_with_its_place():
    text = G3.replace("environment: current", "environment: {image: x, conda_file: gone.yml}")
    with pytest.raises(InvalidSpecError) as caught:
        sweep(text, check=False)
    (one,) = caught.value.diagnostics
    assert (one.code, one.place.line) == ("missing-file", 7)


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus of real job files is not here")
def test_every_sweep_that_people_wrote_is_read():
    files = sorted(CORPUS.rglob("*sweep*.yml"))
    assert len(files) >= 10
    for file in files:
        job = read_sweep(file.read_bytes(), file.name, file.parent, DiskReader(), submitting=False).sweep
        assert job.search.space.dimensions >= 2
        assert job.search.limits.max_total_trials in {4, 20}
