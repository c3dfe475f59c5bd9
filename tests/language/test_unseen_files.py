"""Job files in the manner of other people's repositories: templates, tutorials, generated ones. None is called wrong.

They were written for these tests after what is found in public repositories; what they name exists nowhere, so that
missing files are the only thing that may be said of them.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from mlcli.domain.errors import InvalidSpecError
from mlcli.domain.job import Generation
from mlcli.operations.files import DiskFiles
from mlcli.spec.generation import recognise
from mlcli.spec.jobs import check_file
from mlcli.spec.load import load
from mlcli.spec.upgrade import upgrade_text
from mlcli.spec.validate import validate
from tests.spec.reading import read_job

UNSEEN = sorted((Path(__file__).parent / "unseen").glob("*.y*ml"))
MISSING = {"missing-file", "missing-data"}
OLD = {"g1": Generation.G1, "g2": Generation.G2}


def test_there_are_many() -> None:
    assert len(UNSEEN) >= 20


@pytest.mark.parametrize("path", UNSEEN, ids=lambda path: path.stem)
def test_no_false_error(path: Path) -> None:
    kind, found = check_file(path.read_bytes(), path.name, path.parent, DiskFiles())
    assert [f"{one.place}: {one.message}" for one in found if one.code not in MISSING] == []
    assert kind.generation is OLD.get(path.name[:2], Generation.G3)


@pytest.mark.parametrize("path", UNSEEN, ids=lambda path: path.stem)
def test_upgraded_it_is_a_file_of_today_without_errors(path: Path) -> None:
    text = upgrade_text(path.read_bytes().decode(), path.name, path.parent, DiskFiles())
    document = load(text, path.name)
    kind = recognise(document.tree)
    assert kind.generation is Generation.G3
    assert validate(document, kind) == ()


WRONG = {
    "what the service refuses of a bayesian search": (
        (
            "type: sweep\nsampling_algorithm: bayesian\n"
            "trial: {command: 'train ${{search_space.lr}}', environment: 'azureml:e:1'}\n"
            "search_space: {lr: {type: loguniform, min_value: -7, max_value: -2}}\n"
            "objective: {primary_metric: auc, goal: maximize}\nlimits: {max_total_trials: 40}\n"
            "early_termination: {type: bandit, slack_factor: 0.1, evaluation_interval: 2}\n"
        ),
        ["bayesian-distribution", "bayesian-termination"],
        "'random'",
    ),
    "a trial with a compute of its own": (
        (
            "type: sweep\nsampling_algorithm: random\n"
            "trial: {command: 'train ${{search_space.lr}}', environment: 'azureml:e:1', compute: 'azureml:c'}\n"
            "search_space: {lr: {type: uniform, min_value: 0, max_value: 1}}\n"
            "objective: {primary_metric: auc, goal: maximize}\nlimits: {max_total_trials: 40}\n"
        ),
        ["unknown-key"],
        "'compute' belongs at the top of the file",
    ),
    "a key in the wrong section": (
        "command: echo\nenvironment: azureml:e:1\ninstance_count: 2\n",
        ["unknown-key"],
        "'instance_count' belongs in 'resources'",
    ),
    "a key that is there already, misspelt a second time": (
        "command: echo\nenvironment: azureml:e:1\nenviroment: azureml:e:2\n",
        ["unknown-key"],
        "did you mean 'environment'? It is there already",
    ),
    "a sweep made of a command job": (
        (
            "type: sweep\ncommand: echo\ndistribution: {type: mpi}\nobjective: {primary_metric: auc, goal: maximize}\n"
            "trial: {command: echo, environment: 'azureml:e:1'}\n"
        ),
        ["unknown-key", "unknown-key"],
        "'distribution' belongs in 'trial'",
    ),
    "a pipeline made of a command job": (
        "type: pipeline\ncommand: echo\njobs: {a: {command: echo, environment: 'azureml:e:1'}}\n",
        ["unknown-key"],
        "'command' belongs in a step: 'jobs: {name: {command: ...}}'",
    ),
    "the words of the first preview": (
        "command: echo\nenvironment: azureml:e:1\ncompute: {target: 'azureml:c'}\ncode: {directory: src}\n",
        ["unknown-key"],
        "did you mean 'local_path'?",
    ),
    "a literal declared as in a component": (
        "command: echo ${{inputs.lr}}\nenvironment: azureml:e:1\ninputs: {lr: {type: number}}\n",
        ["bad-value"],
        "a number is written as 'lr: value'",
    ),
    "inputs as a list": (
        "command: echo ${{inputs.lr}}\nenvironment: azureml:e:1\ninputs: [lr]\n",
        ["wrong-type"],
        "",
    ),
    "steps whose pipeline has its inputs as a list": (
        (
            "type: pipeline\ninputs: [lr]\njobs: {a: {command: 'echo ${{inputs.lr}}', environment: 'azureml:e:1', "
            "inputs: {lr: '${{parent.inputs.lr}}'}}}\n"
        ),
        ["wrong-type"],
        "",
    ),
    "a command of blanks": ("command: ' '\nenvironment: azureml:e:1\n", ["bad-value"], "write what the job runs"),
    "braces of mid 2021 in a file of today": (
        "command: python a.py {inputs.lr} {other} ${HOME} {inputs.path}\nenvironment: azureml:e:1\ninputs: {lr: 1}\n",
        ["unknown-reference"],
        "write ${{inputs.lr}}",
    ),
    "a reference that is not closed": (
        "command: python a.py ${{inputs.lr\nenvironment: azureml:e:1\ninputs: {lr: 1}\n",
        ["unknown-reference"],
        "write ${{inputs.x}}",
    ),
    "a parameter in the braces of mid 2021": (
        (
            "type: sweep\nsampling_algorithm: random\ntrial: {command: 'fit {search_space.lr}', environment: 'azureml:e:1'}\n"
            "search_space: {lr: {type: uniform, min_value: 0, max_value: 1}}\n"
            "objective: {primary_metric: auc, goal: maximize}\n"
        ),
        ["unknown-reference"],
        "write ${{search_space.lr}}",
    ),
    "a sweep without its search space": (
        (
            "type: sweep\nsampling_algorithm: random\ntrial: {command: 'fit ${{search_space.lr}}', environment: 'azureml:e:1'}\n"
            "objective: {primary_metric: auc, goal: maximize}\n"
        ),
        ["unknown-reference"],
        "declare it: 'search_space: {lr: ...}'",
    ),
    "other words for the ends of a range, and no range": (
        (
            "type: sweep\nsampling_algorithm: random\ntrial: {command: 'fit ${{search_space.a}} ${{search_space.b}}', "
            "environment: 'azureml:e:1'}\nobjective: {primary_metric: auc, goal: maximize}\nsearch_space:\n"
            "  a: {type: uniform, min: 0, max: 1}\n  b: {type: uniform, min_value: 1, max_value: 1}\n"
        ),
        ["unknown-key", "unknown-key", "empty-range"],
        "did you mean 'max_value'?",
    ),
    "a time with its unit": (
        "command: echo\nenvironment: azureml:e:1\nlimits: {timeout: 1h}\n",
        ["wrong-type"],
        "times are in seconds",
    ),
    "what a step takes from its pipeline, in its command; a name that no reference can hold": (
        (
            "type: pipeline\ninputs: {n: 1}\njobs:\n"
            "  a step: {command: 'echo ${{parent.inputs.n}}', environment: 'azureml:e:1'}\n"
        ),
        ["bad-name", "unknown-reference"],
        "give it to the step, 'inputs: {x: ${{parent.inputs.n}}}', and write ${{inputs.x}} here",
    ),
    "a step that waits for itself": (
        (
            "type: pipeline\njobs:\n  a: {command: 'echo ${{inputs.x}}', environment: 'azureml:e:1', "
            "inputs: {x: '${{parent.jobs.a.outputs.y}}'}, outputs: {y: }}\n"
        ),
        ["step-cycle"],
        "",
    ),
    "shouted from a forum": (
        "comand: echo\nenviroment: azureml:e:1\n",
        ["unknown-key", "unknown-key"],
        "did you mean 'command'?",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_common_mistakes_are_told_with_what_to_do(name: str, tmp_path: Path) -> None:
    text, codes, words = WRONG[name]
    try:
        found = check_file(text, "job.yml", tmp_path, DiskFiles())[1]
    except InvalidSpecError as error:
        found = error.diagnostics
    assert [one.code for one in found] == codes
    assert any(words in (one.hint or "") for one in found)


def test_a_name_on_the_command_line_stands_for_one_that_a_script_should_have_filled_in(tmp_path: Path) -> None:
    text = "name: $RUN_NAME\ncommand: echo\nenvironment: current\n"
    with pytest.raises(InvalidSpecError):
        read_job(text, "job.yml", tmp_path, DiskFiles())
    assert read_job(text, "job.yml", tmp_path, DiskFiles(), name="nightly").job.name == "nightly"
