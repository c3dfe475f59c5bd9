"""Files of 2021 in today's words: the same job, the same comments."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from mlcli.domain.errors import InvalidSpecError
from mlcli.domain.job import Generation
from mlcli.spec.generation import recognise
from mlcli.spec.load import load
from mlcli.spec.upgrade import upgrade, upgrade_text
from tests.spec.files import BASE, Files
from tests.spec.reading import read_job

FILES = Files(
    {"/job/src/main.py": "", "/job/data/a.csv": "", "/job/v1.2/x": "", "/job/Dockerfile": "FROM x", "/job/one": ""}
)

G1_COMMAND = """\
# train on Iris
$schema: https://azuremlschemas.azureedge.net/latest/commandJob.schema.json
type: command_job
code:
  local_path: src  # the scripts
command: >
  python main.py
  --iris-csv {inputs.iris}
  --home ${HOME}
inputs:
  iris:
    data:
      path: https://example.com/datasets/iris.csv
    mode: mount
environment:
  docker:
    image: python:3.8
  conda_file: file:environment.yml
compute:
  target: azureml:cpu-cluster
  instance_count: 2
distribution:
  type: pytorch
  process_count: 4  # in all
timeout: 3600
experiment_name: iris
"""

G3_COMMAND = """\
# train on Iris
$schema: https://azuremlschemas.azureedge.net/latest/commandJob.schema.json
type: command
code: src          # the scripts
command: >-
  python main.py
  --iris-csv ${{inputs.iris}}
  --home ${HOME}
inputs:
  iris:
    type: uri_file
    path: https://example.com/datasets/iris.csv
    mode: ro_mount
environment:
  image: python:3.8
  conda_file: environment.yml
compute: azureml:cpu-cluster
resources:
  instance_count: 2
distribution:
  type: pytorch
  process_count_per_instance: 2 # in all
limits:
  timeout: 3600
experiment_name: iris
"""


def upgraded(text: str, files: Files = FILES) -> dict[str, Any]:
    document = load(text, "job.yml")
    return upgrade(document, recognise(document.tree), base=BASE, reader=files)


def test_a_job_of_mid_2021_in_todays_words():
    assert upgrade_text(G1_COMMAND, "job.yml", BASE, FILES) == G3_COMMAND
    assert upgraded(G1_COMMAND) == upgraded(G3_COMMAND) == load(G3_COMMAND, "job.yml").tree


def test_the_rewritten_file_is_todays_and_means_the_same_job():
    files = Files(
        {**{str(path): text for path, text in FILES.files.items()}, "/job/environment.yml": "dependencies: [pip]"}
    )
    old = read_job(G1_COMMAND, "job.yml", BASE, files)
    new = read_job(upgrade_text(G1_COMMAND, "job.yml", BASE, files), "job.yml", BASE, files)
    assert (old.kind.generation, new.kind.generation) == (Generation.G1, Generation.G3)
    assert dataclasses.replace(old.job, generation=Generation.G3) == new.job


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("azureml:iris:1", {"type": "uri_folder", "path": "azureml:iris:1"}),
        ("{path: 'https://x.org/a/iris.csv?sig=1'}", {"type": "uri_file", "path": "https://x.org/a/iris.csv?sig=1"}),
        ("{path: 'https://x.org/a/'}", {"type": "uri_folder", "path": "https://x.org/a/"}),
        ("{path: 'https://x.org/v1.2'}", {"type": "uri_folder", "path": "https://x.org/v1.2"}),
        ("{local_path: data}", {"type": "uri_folder", "path": "data"}),
        ("{local_path: data/a.csv}", {"type": "uri_file", "path": "data/a.csv"}),
        ("{local_path: one}", {"type": "uri_file", "path": "one"}),
        ("{local_path: v1.2}", {"type": "uri_folder", "path": "v1.2"}),
        ("{local_path: missing.csv}", {"type": "uri_file", "path": "missing.csv"}),
        (
            "{datastore: 'azureml:blob', path: /a/b}",
            {"type": "uri_folder", "path": "azureml://datastores/blob/paths/a/b"},
        ),
    ],
)
def test_data_of_2021_becomes_a_file_or_a_folder(data, expected):
    text = f"command: ls\nenvironment: {{docker: {{image: x}}}}\ncompute: {{target: local}}\ninputs: {{x: {{data: {data}, mode: download}}}}\n"
    assert upgraded(text)["inputs"]["x"] == {**expected, "mode": "download"}


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("{file: 'wasbs://a@b/c.csv'}", {"type": "uri_file", "path": "wasbs://a@b/c.csv"}),
        ("{folder: data, mode: rw_mount}", {"type": "uri_folder", "path": "data", "mode": "rw_mount"}),
        ("{dataset: 'azureml:cifar:1'}", {"type": "uri_folder", "path": "azureml:cifar:1"}),
        ("{dataset: {local_path: data}, mode: ro_mount}", {"type": "uri_folder", "path": "data", "mode": "ro_mount"}),
        ("{dataset: {paths: [{file: data/a.csv}]}}", {"type": "uri_file", "path": "data/a.csv"}),
        ("{value: 3}", 3),
        ("0.5", 0.5),
        ("text", "text"),
    ],
)
def test_inputs_of_late_2021(written, expected):
    text = f"command: ls\nenvironment: {{image: x}}\ncode: {{local_path: src}}\ninputs: {{x: {written}}}\n"
    assert upgraded(text)["inputs"]["x"] == expected


@pytest.mark.parametrize(
    ("docker", "expected"),
    [
        ("{image: a}", {"image": "a"}),
        ("{build: {dockerfile: 'file:Dockerfile'}}", {"build": {"path": ".", "dockerfile_path": "Dockerfile"}}),
        ("{build: {dockerfile: 'file:env/My'}}", {"build": {"path": "env", "dockerfile_path": "My"}}),
        ("{build: {dockerfile: FROM x}}", {"build": {"dockerfile": "FROM x"}}),
    ],
)
def test_docker_of_2021(docker, expected):
    text = f"command: ls\nenvironment: {{docker: {docker}}}\ncompute: {{target: local}}\n"
    assert upgraded(text)["environment"] == expected


def test_what_today_cannot_say_is_refused_where_it_stands():
    text = "command: ls\nenvironment: {image: x}\ninputs:\n  x:\n    dataset:\n      paths: [{file: a}, {file: b}]\n"
    with pytest.raises(InvalidSpecError) as caught:
        upgraded(text)
    (fault,) = caught.value.diagnostics
    assert (str(fault.place), fault.code) == ("job.yml:6:14", "cannot-upgrade")
    with pytest.raises(InvalidSpecError) as caught:
        upgraded(G1_COMMAND.replace("process_count: 4", "process_count: 5"))
    assert "5 does not divide by 2" in caught.value.diagnostics[0].message


def test_a_sweep_of_mid_2021():
    text = (
        "type: sweep_job\nalgorithm: random\n"
        "trial:\n"
        "  command: a {search_space.lr} {inputs.iris} {x}\n"
        "  code: {local_path: src}\n"
        "  compute: {target: 'azureml:c', instance_count: 2}\n"
        "  environment: azureml:e:1\n"
        "  inputs: {iris: {data: {path: 'https://x/iris.csv'}, mode: mount}}\n"
        "search_space: {lr: {type: uniform, min_value: 0.1, max_value: 1}}\n"
        "objective: {primary_metric: m, goal: minimize}\n"
        "early_termination: {policy_type: bandit, slack_factor: 0.1}\n"
        "max_total_trials: 20\nmax_concurrent_trials: 10\ntimeout_minutes: 120\n"
    )
    assert upgraded(text) == {
        "type": "sweep",
        "sampling_algorithm": "random",
        "trial": {
            "command": "a ${{search_space.lr}} ${{inputs.iris}} {x}",
            "code": "src",
            "resources": {"instance_count": 2},
            "environment": "azureml:e:1",
        },
        "inputs": {"iris": {"type": "uri_file", "path": "https://x/iris.csv", "mode": "ro_mount"}},
        "compute": "azureml:c",
        "search_space": {"lr": {"type": "uniform", "min_value": 0.1, "max_value": 1}},
        "objective": {"primary_metric": "m", "goal": "minimize"},
        "early_termination": {"type": "bandit", "slack_factor": 0.1},
        "limits": {"max_total_trials": 20, "max_concurrent_trials": 10, "timeout": 7200},
    }


def test_a_pipeline_of_late_2021():
    text = """\
type: pipeline
compute: azureml:c
settings: {environment: {image: x}, datastore: 'azureml:d'}
inputs: {data: {dataset: {local_path: data}}}
outputs: {model: {mode: upload}}
jobs:
  prep-data:
    command: prep ${{inputs.raw}} ${{outputs.out}}
    inputs: {raw: '${{inputs.data}}'}
    outputs: {out: }
  train:
    type: component
    component: file:./train.yml
    overrides: {resources: {instance_count: 3}}
    inputs: {x: '${{jobs.prep-data.outputs.out}}', epochs: 3}
    outputs: {model: '${{outputs.model}}'}
"""
    assert upgraded(text) == {
        "type": "pipeline",
        "settings": {"default_datastore": "azureml:d", "default_compute": "azureml:c"},
        "inputs": {"data": {"type": "uri_folder", "path": "data"}},
        "outputs": {"model": {"mode": "upload"}},
        "jobs": {
            "prep_data": {
                "command": "prep ${{inputs.raw}} ${{outputs.out}}",
                "environment": {"image": "x"},
                "inputs": {"raw": "${{parent.inputs.data}}"},
                "outputs": {"out": None},
            },
            "train": {
                "type": "command",
                "component": "file:./train.yml",
                "resources": {"instance_count": 3},
                "inputs": {"x": "${{parent.jobs.prep_data.outputs.out}}", "epochs": 3},
                "outputs": {"model": "${{parent.outputs.model}}"},
            },
        },
    }


def test_todays_file_comes_out_as_it_went_in():
    assert upgrade_text(G3_COMMAND, "job.yml", BASE, FILES) == G3_COMMAND


def test_every_comment_is_kept():
    text = """\
# a
type: sweep_job # b
algorithm: random # c
# d
trial: # e
  # f
  code: # g
    local_path: src # h
  # i
  command: > # j
    main {inputs.iris} {search_space.lr}
  # k
  inputs: # l
    # m
    iris: # n
      # o
      data: # p
        # q
        path: https://x/iris.csv # r
      mode: mount # s
  # t
  environment: # u
    docker: # v
      # w
      image: abc # x
  compute: # y
    # z
    target: azureml:cpu-cluster # aa
    instance_count: 2 # bb
# cc
search_space: # dd
  lr: {type: choice, values: [1]} # ee
objective: {primary_metric: m, goal: minimize} # ff
# gg
max_total_trials: 20 # hh
# ii
timeout_minutes: 120 # jj
# kk
"""
    done = upgrade_text(text, "job.yml", BASE, FILES)

    def comments(of: str) -> list[str]:
        return sorted(line.split("#")[1].strip() for line in of.splitlines() if "#" in line)

    assert comments(done) == comments(text)
    assert load(done, "job.yml").tree == upgraded(text)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (">\n  a\n  b\n", "a b"),
        ("|\n  a\n  b\n", "a\nb"),
        ("|\n  a \\\n", "a \\\n"),  # without its line break, the backslash would be an argument
        ("|\n  a \\\\\n", "a \\\\"),
    ],
)
def test_line_breaks_at_the_end_of_a_command_go_when_they_mean_nothing(command, expected):
    assert upgraded(f"environment: {{image: x}}\ncommand: {command}")["command"] == expected


def test_a_shared_anchor_is_upgraded_once_for_each_place():
    text = "command: ls\nenvironment: {image: x}\ninputs:\n  a: &a {folder: data}\n  b: *a\n"
    entry = {"type": "uri_folder", "path": "data"}
    assert upgraded(text)["inputs"] == {"a": entry, "b": entry}
    assert load(upgrade_text(text, "job.yml", BASE, FILES), "x").tree == upgraded(text)


@pytest.mark.parametrize("generation", ["2021-06", "2021-11"])
def test_our_own_schema_of_2021_becomes_todays(generation):
    text = (
        f"# mine\n$schema: ../schemas/{generation}/commandJob.schema.json  # theirs\n{G1_COMMAND.partition('.json')[2]}"
    )
    _, schema, *_ = upgrade_text(text, "job.yml", BASE, FILES).splitlines()
    assert schema.split() == ["$schema:", "../schemas/commandJob.schema.json", "#", "theirs"]


def test_a_comment_below_a_value_that_becomes_a_map_stays_below_it():
    text = (
        "command: a\nenvironment: azureml:e:1\ncompute: {target: c}\ntimeout: 60 # limit\n# about tags\ntags: {a: b}\n"
    )
    done = upgrade_text(text, "job.yml", BASE, FILES)
    assert done.endswith("limits:     # limit\n  timeout: 60\n# about tags\ntags: {a: b}\n")


def test_line_breaks_of_windows_are_kept():
    text = "command: a {inputs.x}\nenvironment: azureml:e:1\ncompute: {target: c}\ninputs: {x: {data: 'azureml:d:1'}}\n"
    done = upgrade_text(text.replace("\n", "\r\n"), "job.yml", BASE, FILES)
    assert done == upgrade_text(text, "job.yml", BASE, FILES).replace("\n", "\r\n")
    assert "${{inputs.x}}" in done
