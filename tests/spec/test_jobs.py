"""The facade: whole files of every generation in, jobs or every fault at once out; and nothing but our own errors."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlcli.domain.errors import InvalidSpecError, MlcliError, Severity, UnsupportedError, UsageError
from mlcli.domain.job import DataInput, Generation, LiteralInput
from mlcli.operations.files import DiskFiles
from mlcli.spec.interpolate import interpolate, literal_text
from mlcli.spec.jobs import LoadedJob, LoadedSweep, check_file, read
from mlcli.spec.upgrade import upgrade_text
from tests.spec.files import BASE, CORPUS, Files
from tests.spec.reading import read_job

FILES = Files({"/job/src/main.py": "", "/job/env.yml": "dependencies: [pip]\n"})
HELLO = "command: echo hello\nenvironment: current\n"
G1 = "command: >\n  echo {inputs.x}\nenvironment: {docker: {image: x}}\ncompute: {target: local}\ninputs: {x: {data: {path: 'https://x/a.csv'}, mode: mount}}\n"
SWEEP = (
    "type: sweep\ntrial: {command: 'a ${{search_space.b}}', environment: current}\nsampling_algorithm: random\n"
    "search_space: {b: {type: choice, values: [1, 2]}}\nobjective: {primary_metric: m, goal: minimize}\n"
    "limits: {max_total_trials: 2}\n"
)
PIPELINE = "type: pipeline\njobs: {a: {type: command, command: ls, environment: azureml:x:1}}\n"


def faults(text: str, **options: Any) -> list[str]:
    with pytest.raises(InvalidSpecError) as caught:
        read_job(text, "job.yml", BASE, FILES, **options)
    return [f"{found.place}: {found.code}" for found in caught.value.diagnostics]


def test_hello_world_of_each_generation():
    assert read_job(HELLO, "job.yml", BASE, FILES).job.command == "echo hello"
    old = read_job(G1, "job.yml", BASE, FILES)
    assert old.kind.generation is Generation.G1
    assert old.job.command == "echo ${{inputs.x}}"
    assert old.job.compute == "local"


def test_bytes_are_read_as_utf8():
    assert read_job("command: echo ä\nenvironment: current\n".encode(), "job.yml", BASE, FILES).job.command == "echo ä"


def test_overrides_go_in_before_everything_else():
    done = read_job(G1, "job.yml", BASE, FILES, overrides=["compute=azureml:c", "inputs.x.mode=download", "tags.a=b"])
    assert done.job.compute == "c"
    assert done.job.inputs == {"x": DataInput("https://x/a.csv", "uri_file", "download")}
    assert done.job.tags == {"a": "b"}
    assert faults(HELLO, overrides=["comand=ls"]) == ["--set comand:1:1: unknown-key"]


def test_everything_wrong_is_told_at_once_in_file_order():
    text = (
        "command: echo ${{inputs.x}}\nenviroment: current\ncode: nowhere\ninputs: {y: {path: missing, mode: mount}}\n"
    )
    found = faults(text)
    assert found == sorted(found, key=lambda one: [int(number) for number in re.findall(r":(\d+)", one)[:2]])
    assert {one.rpartition(" ")[2] for one in found} >= {
        "unknown-key",
        "unknown-reference",
        "missing-file",
        "missing-data",
    }


def test_skipping_validation_skips_what_the_schema_does_not_say():
    text = HELLO + "code: nowhere\n"
    assert faults(text) == ["job.yml:3:7: missing-file"]
    assert read_job(text, "job.yml", BASE, FILES, check=False).job.code == "/job/nowhere"
    assert faults(HELLO + "cod: x\n", check=False) == ["job.yml:3:1: unknown-key"]


def test_warnings_do_not_stop_a_job():
    done = read_job(HELLO + "limits: {timeout: 5}\n", "job.yml", BASE, FILES)
    assert [found.severity for found in done.warnings] == [Severity.WARNING]
    assert done.job.timeout_s == 5


@pytest.mark.parametrize("name", ["a", "A-1_b", "0" * 255])
def test_good_names(name):
    done = read_job(HELLO, "job.yml", BASE, FILES, name=name)
    assert (done.job.name, done.job.document["name"]) == (name, name)
    assert read_job(f"{HELLO}name: '{name}'\n", "job.yml", BASE, FILES).job.name == name


@pytest.mark.parametrize("name", ["", "-a", "_a", "a b", "a/b", "../a", "a.b", "ä", "a\n", "0" * 256])
def test_bad_names_are_refused(name):
    with pytest.raises(UsageError) as caught:
        read_job(HELLO, "job.yml", BASE, FILES, name=name)
    assert "letters" in (caught.value.hint or "")
    assert faults(f"{HELLO}name: {json.dumps(name)}\n") == ["job.yml:3:7: bad-name"]


def test_a_sweep_is_a_job_of_its_own_kind():
    found, faults_found = check_file(SWEEP, "job.yml", BASE, FILES)
    assert (found.type, faults_found) == ("sweep", ())
    assert isinstance(read(SWEEP, "job.yml", BASE, FILES), LoadedSweep)


def test_other_jobs_are_checked_and_not_yet_run():
    found_kind, found = check_file(PIPELINE, "job.yml", BASE, FILES)
    assert (found_kind.type, found) == ("pipeline", ())
    with pytest.raises(UnsupportedError, match="pipeline"):
        read(PIPELINE, "job.yml", BASE, FILES)


def test_an_asset_is_not_a_job():
    text = "$schema: https://azuremlschemas.azureedge.net/latest/environment.schema.json\nname: e\nimage: x\n"
    with pytest.raises((UnsupportedError, InvalidSpecError)):
        read_job(text, "env.yml", BASE, FILES)


def test_checking_finds_what_only_building_finds():
    files = Files({"/job/c.yml": "dependencies: [3]\n"})
    kind, found = check_file("command: ls\nenvironment: {conda_file: c.yml}\n", "job.yml", BASE, files)
    assert kind.type == "command"
    assert [str(one.place) for one in found] == ["c.yml:1:16"]


@pytest.mark.parametrize(
    "text",
    [b"", b"\xff\xfe\x00", b"a: \xff", b"- a", b"{", b"a: *b", b"\0", "command: x\n" * 3, "a: b\n" * 3_000_000, "[" * 100_000],
)  # fmt: skip
def test_files_that_are_no_jobs_end_as_our_own_errors(text):
    with pytest.raises(InvalidSpecError) as caught:
        read_job(text, "job.yml", BASE, FILES)
    assert all(found.place.file == "job.yml" for found in caught.value.diagnostics)


# --- any mapping --------------------------------------------------------------------------------------------------------

SEEDS: list[dict[str, Any]] = [
    {"command": "a ${{inputs.x}} {inputs.y}", "environment": {"image": "x", "conda_file": "env.yml"}, "code": "src",
     "inputs": {"x": 1, "y": {"path": "src", "type": "uri_folder"}}, "outputs": {"o": None}, "resources": {"instance_count": 2},
     "distribution": {"type": "pytorch", "process_count_per_instance": 2}, "limits": {"timeout": 60}, "tags": {"a": "b"}},
    {"type": "command_job", "command": "a {inputs.x}", "code": {"local_path": "src"}, "compute": {"target": "local", "instance_count": 2},
     "environment": {"docker": {"build": {"dockerfile": "file:env.yml"}}}, "inputs": {"x": {"data": {"local_path": "src"}, "mode": "mount"}},
     "distribution": {"type": "pytorch", "process_count": 4}, "timeout": 60, "output": {"datastore_id": "azureml:d", "path": "p"}},
    {"type": "sweep_job", "algorithm": "grid", "trial": {"command": "a", "compute": {"target": "x"}, "environment": "azureml:e:1"},
     "search_space": {"a": {"type": "choice", "values": [1]}}, "objective": {"primary_metric": "m", "goal": "minimize"},
     "early_termination": {"policy_type": "bandit", "slack_factor": 1}, "max_total_trials": 3, "timeout_minutes": 3},
    {"type": "pipeline", "compute": "azureml:c", "settings": {"environment": {"image": "x"}}, "outputs": {"o": {"mode": "upload"}},
     "jobs": {"a-b": {"command": "x", "inputs": {"i": "${{jobs.c.outputs.o}}"}, "overrides": {"resources": {"instance_count": 1}}},
              "c": {"type": "component", "component": {"command": "x", "environment": "azureml:e:1", "inputs": {"i": {"type": "path"}}}}}},
    {"command": "a", "environment": "file:env.yml", "inputs": {"x": {"dataset": {"paths": [{"file": "a"}]}}, "y": {"folder": "src"}}},
]  # fmt: skip
ODD = [
    None,
    True,
    0,
    -1,
    1.5,
    "",
    "x",
    "${{inputs.x}}",
    "file:env.yml",
    "azureml:x:1",
    [],
    [1],
    {},
    {"a": 1},
    {"path": 3},
    "a\0b",
    "9" * 400,
    "é",
]


def _places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    below = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [path, *(place for key, value in below for place in _places(value, (*path, key)))]


def _mutated(tree: dict[str, Any], changes: list[tuple[int, int, int]]) -> dict[str, Any]:
    tree = copy.deepcopy(tree)
    for where, what, how in changes:
        places = [place for place in _places(tree) if place]
        if not places:
            break
        *above, last = places[where % len(places)]
        parent: Any = tree
        for step in above:
            parent = parent[step]
        if how == 0:
            parent[last] = copy.deepcopy(ODD[what % len(ODD)])
        elif how == 1:
            del parent[last]
        elif isinstance(parent, dict):
            other = SEEDS[what % len(SEEDS)]
            parent.update({f"{last}x": parent[last]} if how == 2 else copy.deepcopy(other))
    return tree


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(
    seed=st.sampled_from(SEEDS),
    changes=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 40), st.integers(0, 3)), min_size=1, max_size=4),
)
def test_no_mapping_raises_anything_but_our_own_errors(seed, changes):
    text = json.dumps(_mutated(seed, changes))
    with contextlib.suppress(MlcliError):
        check_file(text, "job.yml", BASE, FILES)
    for check in (True, False):
        with contextlib.suppress(MlcliError):
            loaded = read(text, "job.yml", BASE, FILES, check=check)
            json.dumps(loaded.job.document if isinstance(loaded, LoadedJob) else loaded.sweep.document)
    with contextlib.suppress(MlcliError):
        once = upgrade_text(text, "job.yml", BASE, FILES)
        assert upgrade_text(once, "job.yml", BASE, FILES) == once


# --- the corpus ---------------------------------------------------------------------------------------------------------

corpus = pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus is not on this machine")
DISK = DiskFiles()


def _jobs() -> list[Path]:
    files = [*CORPUS.rglob("*.yml"), *CORPUS.rglob("*.yaml")]
    return sorted(file.relative_to(CORPUS) for file in files if "jobs" in file.relative_to(CORPUS).parts[1:2])


def _valid(file: Path) -> tuple[str, str] | None:
    """The type and text of a corpus file that is a job without a fault but for files that the corpus does not hold."""
    text = (CORPUS / file).read_text()
    try:
        kind, found = check_file(text, str(file), (CORPUS / file).parent, DISK)
    except InvalidSpecError:
        return None
    errors = [one for one in found if one.severity is Severity.ERROR and one.code != "missing-file"]
    return None if errors or kind.noun != "job" else (kind.type, text)


@corpus
def test_every_command_job_of_the_corpus_builds_and_its_command_takes_values():
    built = 0
    for file in _jobs():
        found = _valid(file)
        if found is None or found[0] != "command":
            continue
        job = read_job(found[1], str(file), (CORPUS / file).parent, DISK, check=False).job
        values = {f"inputs.{name}": "/some where/x" for name in job.inputs}
        values |= {f"outputs.{name}": "/out" for name in job.outputs}
        text = interpolate(job.command, values)
        assert "${{" not in text, file
        assert not re.search(r"\{(inputs|outputs)\.", text), file
        assert not text.endswith("\n"), file
        assert job.code is None or job.code.startswith("/"), file
        built += 1
    assert built == 104


@corpus
def test_every_upgraded_file_of_the_corpus_is_todays_and_means_the_same():
    upgraded = 0
    for file in _jobs():
        found = _valid(file)
        if found is None:
            continue
        kind, old = found
        base = (CORPUS / file).parent
        new = upgrade_text(old, str(file), base, DISK)
        new_kind, faults_now = check_file(new, str(file), base, DISK)
        assert not [one for one in faults_now if one.severity is Severity.ERROR and one.code != "missing-file"], file
        assert new_kind.generation is Generation.G3, file
        assert old.count("#") == new.count("#"), file
        assert upgrade_text(new, str(file), base, DISK) == new, file
        if kind == "command":
            before = read_job(old, str(file), base, DISK, check=False).job
            after = read_job(new, str(file), base, DISK, check=False).job
            assert dataclasses.replace(before, generation=Generation.G3) == after, file
        upgraded += 1
    assert upgraded > 200


def _bodies() -> list[tuple[str, dict[str, Any]]]:
    """The body that the official SDK sends for each command job of today's corpus."""
    lines = (CORPUS / "verdicts.ndjson").read_text().splitlines() if CORPUS.is_dir() else []
    verdicts = [json.loads(line) for line in lines]
    return [
        (one["path"], one["rest_body"]["properties"])
        for one in verdicts
        if one["type"] == "command" and "rest_body" in one
    ]


@corpus
def test_what_the_official_sdk_sends_means_the_same():
    bodies = _bodies()
    assert len(bodies) >= 9
    for path, body in bodies:
        file = CORPUS / path
        job = read_job(file.read_text(), path, file.parent, DISK, check=False).job
        assert job.command == body["command"].rstrip("\n"), path
        assert job.compute == body.get("computeId"), path
        assert job.display_name == body.get("displayName"), path
        assert job.experiment_name == body.get("experimentName"), path
        assert job.environment_variables == body["environmentVariables"], path
        assert job.resources.instance_count == body.get("resources", {}).get("instanceCount", 1), path
        assert (job.timeout_s or 0) == {"PT15M": 900, None: 0}[body.get("limits", {}).get("timeout")], path
        sent = body.get("distribution", {})
        assert (job.distribution.type if job.distribution else None) == sent.get(
            "distributionType", ""
        ).lower() or not sent, path
        assert (job.distribution.process_count_per_instance if job.distribution else None) == sent.get(
            "processCountPerInstance"
        ), path
        assert set(job.inputs) == set(body["inputs"]), path
        for name, given_input in job.inputs.items():
            expected = body["inputs"][name]
            if isinstance(given_input, LiteralInput):
                assert literal_text(given_input.value, given_input.written) == expected["value"], path
            else:
                assert (given_input.path, given_input.type) == (expected["uri"], expected["jobInputType"]), path
        assert {name: one.type for name, one in job.outputs.items()} == {
            name: one["jobOutputType"] for name, one in body["outputs"].items()
        }, path
