"""A file against the schema of its kind and generation: every error at once, one branch of each union, plain words."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema.validators import Draft7Validator

from mlcli.domain.errors import Diagnostic, MlcliError, NotFoundError, Severity
from mlcli.domain.job import Generation
from mlcli.spec.checks import check
from mlcli.spec.generation import environment_kind, recognise
from mlcli.spec.jobs import check_file
from mlcli.spec.load import load
from mlcli.spec.report import format_diagnostic, summary
from mlcli.spec.schemas import load_schema, names, resolved_schema, schema_folder, schema_path
from mlcli.spec.validate import did_you_mean, nearest, validate
from tests.spec.disk import DiskReader

LEAST = "command: echo hello\nenvironment: current\n"


def found_in(text: str) -> list[Diagnostic]:
    document = load(text, "job.yml")
    return list(validate(document, recognise(document.tree)))


def checked(text: str, base: Path = Path("/nowhere")) -> list[Diagnostic]:
    document = load(text, "job.yml")
    return list(check(document, recognise(document.tree), DiskReader(), base))


def only(found: list[Diagnostic]) -> Diagnostic:
    assert len(found) == 1, [str(each) for each in found]
    return found[0]


# -- which generation, which kind ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "generation", "kind"),
    [
        (LEAST, Generation.G3, "command"),
        ("command: a\nenvironment: b\ncompute: {target: local}\n", Generation.G1, "command"),
        ("command: a {inputs.x}\nenvironment: b\n", Generation.G1, "command"),
        ("command: a ${{inputs.x}}\nenvironment: b\n", Generation.G3, "command"),
        ("command: 'awk {print} ${HOME}'\nenvironment: b\n", Generation.G3, "command"),
        ("command: a\nenvironment: {docker: {image: b}}\n", Generation.G1, "command"),
        ("command: a\ncompute: azureml:c\ncode: {local_path: src}\n", Generation.G2, "command"),
        ("command: a\ninputs: {x: {file: data.csv}}\n", Generation.G2, "command"),
        ("command: a\ninputs: {x: {type: uri_file, path: data.csv}}\n", Generation.G3, "command"),
        ("type: sweep_job\ntrial: {command: a}\n", Generation.G1, "sweep"),
        ("trial: {command: a}\nsampling_algorithm: random\n", Generation.G3, "sweep"),
        ("type: pipeline\njobs: {a: {command: b, inputs: {x: '${{inputs.y}}'}}}\n", Generation.G2, "pipeline"),
        ("jobs: {a: {command: b, inputs: {x: '${{parent.inputs.y}}'}}}\n", Generation.G3, "pipeline"),
        ("type: command_job\n", Generation.G1, "command"),
        ("script: train.py\ntarget: local\nframework: Python\n", Generation.RUNCONFIG, "runconfig"),
    ],
)  # fmt: skip
def test_generation_and_type_are_recognised_by_shape(text: str, generation: Generation, kind: str) -> None:
    recognised = recognise(load(text, "f").tree)
    assert (recognised.generation, recognised.type) == (generation, kind)


def test_the_schema_line_tells_other_kinds_of_file_from_jobs() -> None:
    line = "$schema: https://azuremlschemas.azureedge.net/latest/{}.schema.json\n"
    for schema, noun in (("environment", "environment"), ("commandComponent", "component"), ("amlCompute", "compute")):
        assert recognise(load(line.format(schema), "f").tree).noun == noun


@pytest.mark.parametrize(
    ("text", "noun"),
    [
        ("name: c\ntype: AmlCompute\nsize: Standard_DS2_v2\n", "compute"),
        ("name: c\ntype: slurm\n", "compute"),
        ("name: d\ntype: uri_folder\npath: ./data\n", "data"),
        ("name: m\ntype: mlflow_model\npath: ./model\n", "model"),
        ("name: e\nimage: python:3.11\nconda_file: conda.yml\n", "environment"),
        ("name: e\nbuild: {path: docker}\n", "environment"),
        ("comand: echo\nenvironment: {image: python:3.11}\n", "job"),
        ("type: comand\nimage: x\n", "job"),
        ("name: x\n", "job"),
    ],
)
def test_what_runs_nothing_is_known_by_its_shape_without_a_schema_line(text: str, noun: str) -> None:
    assert recognise(load(text, "f").tree).noun == noun


@pytest.mark.parametrize(
    ("text", "generation"),
    [
        ("name: e\ndocker: {image: a}\nconda_file: file:c.yml\n", Generation.G1),
        ("name: e\nimage: a\nconda_file: file:c.yml\n", Generation.G2),
        ("name: e\nbuild: {local_path: .}\nconda_file: file:c.yml\n", Generation.G2),
        ("name: e\nimage: a\nconda_file: c.yml\n", Generation.G3),
        ("name: e\nbuild: {path: .}\n", Generation.G3),
        ("name: e\ndocker: {image: a}\nimage: b\n", Generation.G1),
    ],
)
def test_an_environment_is_of_the_newest_generation_that_all_of_it_is_from(text: str, generation: Generation) -> None:
    assert environment_kind(load(text, "f").tree).generation == generation


def test_what_another_generation_would_write_is_called_so() -> None:
    found = only(
        found_in(
            "command: a ${{inputs.x}}\nenvironment: current\ninputs: {x: 1}\ncode: {local_path: src}\noutputs: {o: {type: uri_folder}}\ncompute: {target: local}\n"
        )
    )
    assert (found.code, found.path) == ("mixed-generations", "$.compute")


# -- messages --------------------------------------------------------------------------------------------------------


def test_all_errors_are_found_at_once_in_file_order() -> None:
    found = found_in("comand: a\nresources: {instance_count: two, shm: 2g}\nenvironment: {image: 5}\n")
    assert [(each.code, each.path, each.place.line) for each in found] == [
        ("unknown-key", "$.comand", 1),
        ("wrong-type", "$.resources.instance_count", 2),
        ("unknown-key", "$.resources.shm", 2),
        ("wrong-type", "$.environment.image", 3),
    ]
    assert found[0].hint == "did you mean 'command'?"
    assert found[2].place.column == 34


def test_a_misspelt_type_of_a_union_is_where_the_missing_one_is_told() -> None:
    found = only(found_in(LEAST + "distribution: {tyep: mpi}\n"))
    assert (found.code, found.path, found.hint) == (
        "missing-key",
        "$.distribution.tyep",
        "write 'type' instead of 'tyep'",
    )


def test_a_misspelt_key_is_not_also_reported_missing() -> None:
    assert [found.code for found in found_in("command: a\nenviroment: current\n")] == ["unknown-key"]
    assert [found.code for found in found_in("command: a\nbanana: current\n")] == ["missing-key", "unknown-key"]


@pytest.mark.parametrize(
    ("lines", "code", "words"),
    [
        ("inputs: [a]", "wrong-type", "'inputs' must be a map, not a list"),
        ("inputs: {x: [1]}", "wrong-type", "'x' must be a text, a number, true or false or a map, not a list"),
        ("inputs: {x: }", "wrong-type", "not empty"),
        ("environment_variables: {A: [secret]}", "wrong-type", "'A' must be"),
        ("resources: {instance_count: 2.5}", "wrong-type", "must be a whole number, not 2.5"),
        ("resources: {instance_count: true}", "wrong-type", "must be a whole number, not true"),
        ("resources: {locations: here}", "wrong-type", "'locations' must be a list, not a text"),
        ("resources: {locations: [1]}", "wrong-type", "item 1 of 'locations' must be a text"),
        ("distribution: {process_count_per_instance: 2}", "missing-key", "'type' is missing in 'distribution'"),
        ("distribution: {type: horovod}", "bad-value", "'horovod' is not a value of 'type'"),
        ("distribution: {type: 5}", "wrong-type", "must be pytorch, tensorflow, mpi or ray, not a number"),
        ("distribution: {type: mpi, worker_count: 2}", "unknown-key", "unknown key 'worker_count'"),
        ("distribution: {type: ray, include_dashboard: maybe}", "wrong-type", "must be true or false, not a text"),
        ("inputs: {x: {type: uri_file, path: a, mode: mounted}}", "bad-value", "'mounted' is not a value of 'mode'"),
        ("outputs: {o: {type: uri_folder, pth: a}}", "unknown-key", "unknown key 'pth'"),
    ],
)  # fmt: skip
def test_messages_say_what_is_wrong_and_what_is_allowed(lines: str, code: str, words: str) -> None:
    found = only(found_in(LEAST + lines + "\n"))
    assert found.code == code
    assert words in found.message
    assert "secret" not in str(found)


@pytest.mark.parametrize(
    "lines",
    [
        "inputs: {a: 1, b: 0.1, c: true, d: text, e: {type: URI_File, path: 'https://x/y', mode: RO_Mount}, f: {value: 3}}",
        "outputs: {a: , b: {}, c: {type: uri_folder, mode: MOUNT, name: n, version: 1}}",
        "resources: {instance_count: '2', docker_args: [a], shm_size: 2g, properties: {a: {b: 1}}}",
        "resources: {instance_count: 2.0, docker_args: --gpus all}",
        "distribution: {type: PyTorch, process_count_per_instance: 4}",
        "distribution: {type: ray, include_dashboard: yes, port: 6379}",
        "identity: {type: AmlToken}",
        "identity: {type: managed, client_id: x}",
        "services: {lab: {type: jupyter_lab}, mine: {type: custom, port: 80}}",
        "queue_settings: {job_tier: Spot, priority: high}",
        "environment_variables: {A: 1, B: true, C: , D: text}",
        "tags: {a: 1, b: true, c: }",
    ],
)
def test_everything_that_the_sdk_takes_is_taken(lines: str) -> None:
    assert found_in(LEAST + lines + "\n") == []


@pytest.mark.parametrize(
    "environment",
    ["current", "azureml:a:1", "azureml:a@latest", "azureml://registries/r/environments/e", "{interpreter: /usr/bin/python3}", "{image: a}",
     "{build: {path: ., dockerfile_path: D, args: {A: 1}}}", "{conda_file: {dependencies: [python=3.11, {pip: [a]}]}}", "{image: a, os_type: Linux, version: 1}"],
)  # fmt: skip
def test_every_way_to_name_an_environment(environment: str) -> None:
    assert found_in(f"command: a\nenvironment: {environment}\n") == []


def test_an_image_is_not_a_string_environment() -> None:
    found = only(found_in("command: a\nenvironment: python:3.11\n"))
    assert (found.code, found.message) == ("bad-value", "'python:3.11' is not what 'environment' takes")
    assert "azureml:name:version" in (found.hint or "")


# -- checks ----------------------------------------------------------------------------------------------------------


def test_references_are_found_in_every_grammar() -> None:
    today = checked(
        "command: |\n  a ${{inputs.x}} ${{ inputs.y }}\n  $[[--z ${{inputs.z}}]] ${HOME} awk '{print}'\nenvironment: current\ninputs: {x: 1}\n"
    )
    assert [(each.code, each.place.line, each.place.column) for each in today] == [("unknown-reference", 2, 19)]
    mid_2021 = checked(
        "command: a {inputs.x} ${VAR} {search_space.y}\nenvironment: azureml:e:1\ncompute: {target: local}\n"
    )
    assert [each.message for each in mid_2021] == [
        "the job has no input 'x'",
        "{search_space.y}: this job has no search space",
    ]


def test_files_that_the_job_names_must_be_there(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "data.csv").touch()
    (tmp_path / "job.yml").touch()
    good = "command: a\ncode: src\nenvironment: current\ninputs: {a: {type: uri_file, path: data.csv}, b: {path: 'azureml:x:1'}, c: {path: 'https://x/y'}}\n"
    assert checked(good, tmp_path) == []
    bad = "command: a\ncode: data.csv\nenvironment: {build: {path: src}}\ninputs: {a: {type: uri_file, path: src}, b: {path: other.csv}}\n"
    assert [(each.code, each.path) for each in checked(bad, tmp_path)] == [
        ("wrong-file-type", "$.code"),
        ("missing-file", "$.environment.build.path"),
        ("wrong-file-type", "$.inputs.a.path"),
        ("missing-data", "$.inputs.b.path"),
    ]


def test_paths_that_no_file_system_takes_are_missing_not_a_crash(tmp_path: Path) -> None:
    assert only(checked(f"command: a\nenvironment: current\ncode: {'x' * 5000}\n", tmp_path)).code == "missing-file"


def test_component_files_are_read_and_their_errors_stand_in_them(tmp_path: Path) -> None:
    (tmp_path / "train.yml").write_text(
        "command: a ${{inputs.rat}}\nenvironment: current\ninputs: {rate: {type: number}}\noutputs: {model: {type: uri_folder}}\n"
    )
    pipeline = """\
type: pipeline
settings: {default_compute: local}
jobs:
  train: {component: ./train.yml, inputs: {rate: 1}}
  score: {command: a, environment: current, inputs: {m: "${{parent.jobs.train.outputs.model}}", n: "${{parent.jobs.train.outputs.modle}}"}}
"""
    found = checked(pipeline, tmp_path)
    assert [(each.place.file, each.place.line, each.code) for each in found] == [
        ("job.yml", 5, "unknown-reference"),
        ("train.yml", 1, "unknown-reference"),
    ]
    assert found[0].hint == "did you mean 'model'?"


def test_a_pipeline_that_includes_itself_over_another_is_told(tmp_path: Path) -> None:
    component = "$schema: pipelineComponent.schema.json\nname: inner\ntype: pipeline\njobs: {again: {type: pipeline, component: ./job.yml}}\n"
    (tmp_path / "inner.yml").write_text(component)
    job = "type: pipeline\njobs: {inner: {type: pipeline, component: ./inner.yml}}\n"
    (tmp_path / "job.yml").write_text(job)
    found = only(checked(job, tmp_path))
    assert found.code == "circular-include"
    assert "job.yml -> inner.yml -> job.yml" in found.message


def test_steps_that_wait_for_each_other_are_told_once() -> None:
    step = "{{command: a, environment: current, inputs: {{x: '${{{{parent.jobs.{}.outputs.o}}}}'}}, outputs: {{o: }}}}"
    text = "type: pipeline\njobs:\n" + "".join(
        f"  {name}: {step.format(other)}\n" for name, other in ("ab", "bc", "ca", "da")
    )
    assert only(checked(text)).message == "these steps wait for each other: a -> b -> c -> a"


def test_warnings_do_not_stop_a_job() -> None:
    found = only(checked(LEAST + "limits: {timeout: 30}\n"))
    assert (found.code, found.severity) == ("short-timeout", Severity.WARNING)


# -- schemas ---------------------------------------------------------------------------------------------------------


def test_every_schema_is_a_schema_and_describes_every_property() -> None:
    undescribed = []

    def visit(node: Any, where: str) -> None:
        if isinstance(node, dict):
            for key, value in (node.get("properties") or {}).items():
                in_condition = {"if", "then"} & set(where.split("/")) or where.endswith("/allOf/1")
                described = not isinstance(value, dict) or "$ref" in value or {"title", "description"} <= set(value)
                if not described and not in_condition:
                    undescribed.append(f"{where}/{key}")
            for key, value in node.items():
                visit(value, f"{where}/{key}")
        elif isinstance(node, list):
            for index, value in enumerate(node):
                visit(value, f"{where}/{index}")

    for path in schema_folder().rglob("*.schema.json"):
        schema = dict(load_schema(path.relative_to(schema_folder()).as_posix().removesuffix(".schema.json")))
        Draft7Validator.check_schema(schema)
        for name, definition in schema.pop("definitions", {}).items():
            assert {"title", "description"} <= set(definition) or "$ref" in definition, f"{path.name} {name}"
            visit(definition, f"{path.name}/{name}")
        visit(schema, path.name)
    assert undescribed == []


def test_every_reference_between_schemas_leads_somewhere() -> None:
    for name in names():
        assert "$ref" not in resolved_schema(name)
    with pytest.raises(NotFoundError, match="comandJob") as caught:
        schema_path("comandJob")
    assert caught.value.hint == "did you mean 'commandJob'?"


def test_jsonschema_is_not_imported_before_it_is_needed() -> None:
    code = "import sys, mlcli.spec.validate, mlcli.spec.checks; print('jsonschema' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"


def test_nearest_names() -> None:
    assert nearest("enviroment", ["environment", "experiment_name"]) == "environment"
    assert nearest("xyz", ["environment"]) is None
    assert did_you_mean("xyz", ["b", "a"], label="allowed") == "allowed: a, b"
    assert did_you_mean("xyz", []) is None


def test_a_report_points_at_the_column() -> None:
    found = only(found_in(LEAST + "resources: {instance_count: two}\n"))
    assert format_diagnostic(found) == (
        "job.yml:3:29: error[wrong-type]: 'instance_count' must be a whole number, not a text\n"
        "    3 | resources: {instance_count: two}\n"
        "      |                             ^"
    )
    assert summary([found]) == "1 error"


def test_the_caret_stands_below_its_column_whatever_stands_before() -> None:
    for before, blank in (("日本", "    "), ("e\u0301", " "), ("é", " "), ("\t", "\t"), ("ｗ", "  ")):
        (found,) = checked(f'command: "{before} ${{{{inputs.x}}}}"\nenvironment: current\n')
        assert format_diagnostic(found).splitlines()[2] == f"      | {' ' * 10}{blank} ^"


def test_no_findings_have_a_summary_too() -> None:
    assert summary([]) == "no errors"


# -- anything at all -------------------------------------------------------------------------------------------------

WORDS = st.sampled_from(
    ["command", "environment", "inputs", "outputs", "compute", "code", "type", "trial", "jobs", "search_space", "distribution", "resources", "limits", "component",
     "image", "conda_file", "build", "path", "mode", "local_path", "data", "values", "min_value", "max_value", "early_termination", "sampling_algorithm", "timeout",
     "instance_count", "sweep", "pipeline", "choice", "uniform", "bandit", "pytorch", "grid", "bayesian", "settings", "dataset", "paths", "docker", "process_count",
     "$schema", "name", "a", "${{parent.jobs.a.outputs.b}}", "${{inputs.x}}", "{inputs.x}"]
)  # fmt: skip
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | WORDS | st.text(max_size=8)
TREES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.text(max_size=4), inner, max_size=5), max_leaves=25)  # fmt: skip
JOBS = st.fixed_dictionaries(
    {"command": TREES, "environment": TREES},
    optional=dict.fromkeys(("inputs", "type", "trial", "jobs", "search_space", "early_termination", "sampling_algorithm", "compute", "resources", "distribution", "limits", "settings", "outputs", "code"), TREES),
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(TREES | JOBS)
def test_any_tree_is_accepted_or_refused(tmp_path_factory: pytest.TempPathFactory, tree: Any) -> None:
    import json

    try:
        check_file(json.dumps(tree), "job.yml", Path("/nowhere"), DiskReader())
    except MlcliError as error:
        assert str(error)  # noqa: PT017
