"""``--set a.b=value`` replaces values, typed as YAML types them, and says why one cannot be set."""

from __future__ import annotations

import string
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlcli.domain.errors import Diagnostic, InvalidSpecError, Severity
from mlcli.spec.generation import recognise
from mlcli.spec.load import load
from mlcli.spec.overrides import apply, idle_inputs
from mlcli.spec.validate import validate

TODAY = """\
command: echo
environment: azureml:lightgbm:3
compute: azureml:cpu-cluster
inputs:
  rate: 0.1
  iris: {type: uri_file, path: iris.csv}
tags: {team: vision}
"""
MID_2021 = """\
command: echo {inputs.iris}
environment: azureml:lightgbm:3
compute:
  target: azureml:cpu-cluster
inputs:
  iris: {data: {path: "https://example.com/iris.csv"}, mode: mount}
"""
SWEEP_2021 = """\
type: sweep_job
algorithm: random
trial:
  command: echo
  environment: azureml:lightgbm:3
  compute: {target: azureml:cpu-cluster}
objective: {goal: minimize, primary_metric: loss}
"""


def tree(text: str, *assignments: str) -> Any:
    return apply(load(text, "job.yml"), assignments).tree


def refused(text: str, *assignments: str) -> tuple[Diagnostic, ...]:
    with pytest.raises(InvalidSpecError) as caught:
        apply(load(text, "job.yml"), assignments)
    return caught.value.diagnostics


@pytest.mark.parametrize(
    ("assignment", "value"),
    [
        ("inputs.rate=1e-3", 0.001),
        ("inputs.rate=true", True),
        ("inputs.rate=yes", "yes"),
        ("inputs.rate='5'", "5"),
        ('inputs.rate="a\\tb"', "a\tb"),
        ("inputs.rate=[1, two]", [1, "two"]),
        ("inputs.rate={a: {b: 1}}", {"a": {"b": 1}}),
        ("inputs.rate=", None),
        ("inputs.rate=a=b", "a=b"),
        ("inputs.rate=echo # not a comment: none", "echo # not a comment: none"),
        ('inputs.rate="two words" and more', '"two words" and more'),
        ("inputs . rate =5", 5),
    ],
)
def test_values_are_typed_as_yaml_types_them(assignment: str, value: Any) -> None:
    assert tree(TODAY, assignment)["inputs"]["rate"] == value


def test_new_paths_are_made_and_the_later_assignment_wins() -> None:
    changed = tree(
        TODAY, "resources.instance_count=2", "resources.instance_count=3", "tags.'a.b'=1", "inputs.iris.mode=download"
    )
    assert changed["resources"] == {"instance_count": 3}
    assert changed["tags"] == {"team": "vision", "a.b": 1}
    assert changed["inputs"]["iris"] == {"type": "uri_file", "path": "iris.csv", "mode": "download"}


def test_list_items_by_number_and_one_past_the_end_appends() -> None:
    text = TODAY + "resources: {docker_args: [a, b]}\n"
    assert tree(text, "resources.docker_args.0=x", "resources.docker_args.2=c")["resources"] == {
        "docker_args": ["x", "b", "c"]
    }


def test_list_items_as_az_writes_them() -> None:
    text = TODAY + "resources: {docker_args: [a, b], locations: [[x]]}\n"
    assert tree(text, "resources.docker_args[1]=c", "resources.locations[0][0]=y")["resources"] == {
        "docker_args": ["a", "c"],
        "locations": [["y"]],
    }


def test_the_document_and_what_its_aliases_share_are_not_changed() -> None:
    document = load("a: &a {x: 1}\nb: *a\n", "f")
    changed = apply(document, ["b.x=2"])
    assert changed.tree == {"a": {"x": 1}, "b": {"x": 2}}
    assert document.tree == {"a": {"x": 1}, "b": {"x": 1}}


def test_values_that_were_set_say_so_as_their_place_and_the_others_keep_theirs() -> None:
    document = apply(load(TODAY, "job.yml"), ["inputs.iris.mode=ro_mout", "resources.instance_count=two"])
    found = validate(document, recognise(document.tree))
    assert [(each.place.file, each.code) for each in found] == [
        ("--set inputs.iris.mode", "bad-value"),
        ("--set resources.instance_count", "wrong-type"),
    ]
    assert document.place(("inputs", "iris", "path")).line == 6


def test_an_unknown_path_is_refused_with_the_nearest_name() -> None:
    document = apply(load(TODAY, "job.yml"), ["enviroment_variables.OMP_NUM_THREADS=4"])
    (found,) = validate(document, recognise(document.tree))
    assert (found.place.file, found.code) == ("--set enviroment_variables.OMP_NUM_THREADS", "unknown-key")
    assert found.hint == "did you mean 'environment_variables'?"


@pytest.mark.parametrize(
    ("text", "assignment", "name"),
    [
        (TODAY, "inputs.rat=0.2", "rat"),
        (TODAY, "inputs.rate=0.2", None),
        (TODAY.replace("echo", "echo ${{inputs.depth}}"), "inputs.depth=3", None),
        (MID_2021, "inputs.irs={data: 'azureml:iris:1'}", "irs"),
        (SWEEP_2021, "trial.inputs.iris={data: 'azureml:iris:1'}", "iris"),
    ],
)
def test_an_input_that_nothing_sees_is_warned_of(text: str, assignment: str, name: str | None) -> None:
    document = load(text, "job.yml")
    found = list(idle_inputs(document, apply(document, [assignment])))
    assert [each.severity for each in found] == ([Severity.WARNING] if name else [])
    assert not name or f"no input '{name}'" in found[0].message
    assert name not in {"rat", "irs"} or found[0].hint in {"did you mean 'rate'?", "did you mean 'iris'?"}
    assert all(each.place.file.startswith("--set ") for each in found)


@pytest.mark.parametrize("assignment", ["compute=local", "compute.target=local"])
def test_both_ways_of_naming_a_compute_work_in_every_generation(assignment: str) -> None:
    assert tree(TODAY, assignment)["compute"] == "local"
    assert tree(TODAY.replace("compute: azureml:cpu-cluster\n", ""), assignment)["compute"] == "local"
    assert tree(MID_2021, assignment)["compute"] == {"target": "local"}
    assert tree(SWEEP_2021, assignment)["trial"]["compute"] == {"target": "local"}


def test_the_number_of_nodes_goes_where_the_generation_has_it() -> None:
    assert tree(TODAY, "compute.instance_count=2")["resources"] == {"instance_count": 2}
    assert tree(MID_2021, "compute.instance_count=2")["compute"] == {
        "target": "azureml:cpu-cluster",
        "instance_count": 2,
    }


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("inputs", "'inputs' sets nothing"),
        ("=5", "'' sets nothing"),
        ("inputs..rate=5", "not names parted by single dots"),
        (".rate=5", "not names parted by single dots"),
        ("inputs[rate]=5", "not names parted by single dots"),
        ("environment.image=python:3.11", "'environment' is a single value, not a map, so 'image' cannot be set in it"),
        ("inputs.rate.low=5", "'inputs.rate' is a single value"),
        ("tags=[1", "not valid YAML"),
        ("tags={a: 1, a: 2}", "given twice"),
        ("tags=[*x]", "no anchor"),
    ],
)
def test_assignments_that_cannot_be(assignment: str, words: str) -> None:
    (found,) = refused(TODAY, assignment)
    assert found.code == "bad-override"
    assert words in found.message
    assert found.hint


def test_a_list_has_no_item_past_its_end() -> None:
    for step in ("3", "-1", "x", "999999999999999999999"):
        (found,) = refused(TODAY + "resources: {docker_args: [a, b]}\n", f"resources.docker_args.{step}=c")
        assert "is a list of 2" in found.message


def test_every_wrong_assignment_is_told() -> None:
    assert len(refused(TODAY, "inputs", "compute=local", "environment.image=x")) == 2


def test_a_value_never_stands_in_the_error() -> None:
    found = refused(TODAY, "environment_variables.TOKEN=[hunter2", "environment.PASSWORD=hunter2")
    assert not any("hunter2" in str(each) for each in found)


@settings(deadline=None)
@given(st.text(alphabet=string.printable) | st.text())
def test_any_assignment_is_applied_or_refused(assignment: str) -> None:
    codes = {"bad-override"}
    try:
        apply(load(TODAY, "job.yml"), [assignment])
    except InvalidSpecError as error:
        codes = {found.code for found in error.diagnostics}
    assert codes == {"bad-override"}


def test_the_nearest_name_may_be_one_that_the_file_has() -> None:
    document = apply(load(TODAY, "job.yml"), ["comand=ls", "inputs.iris.pth=x.csv"])
    found = validate(document, recognise(document.tree))
    assert [(each.place.file, each.hint) for each in found] == [
        ("--set comand", "did you mean 'command'?"),
        ("--set inputs.iris.pth", "did you mean 'path'?"),
    ]
