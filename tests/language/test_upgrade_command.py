"""``mlcli job upgrade``: today's words, comments kept, the same job."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from mlcli.domain.errors import InvalidSpecError, Severity, UnsupportedError
from mlcli.domain.job import CommandJob, Generation
from mlcli.operations.files import DiskFiles
from mlcli.spec.generation import Kind, recognise
from mlcli.spec.jobs import LoadedJob, check_file, read
from mlcli.spec.load import load as load_document
from mlcli.spec.upgrade import upgrade, upgrade_text

CORPUS = Path(__file__).parents[3] / "shared" / "reference" / "corpus"
OLD = """\
# what we ran in 2021
code:
  local_path: src  # beside this file
command: >
  python train.py --data {inputs.table}
  --name "${USER}"
inputs:
  table:
    data:
      path: https://example.org/table.csv  # the small one
    mode: mount
environment:
  docker:
    image: python:3.9
compute:
  target: azureml:cpu-cluster
  instance_count: 2
distribution:
  type: pytorch
  process_count: 4
"""


@pytest.fixture
def old(mlcli) -> Path:
    (mlcli.cwd / "src").mkdir()
    file: Path = mlcli.cwd / "old.yml"
    file.write_text(OLD)
    return file


def load(text: str):
    return YAML(typ="safe", pure=True).load(text)


def test_the_new_text_is_printed_and_the_file_is_left_alone(mlcli, old: Path) -> None:
    done = mlcli("job", "upgrade", "-f", "old.yml")
    assert done.code == 0, done.stderr
    job = load(done.stdout)
    assert job["code"] == "src"
    assert job["compute"] == "azureml:cpu-cluster"
    assert job["resources"] == {"instance_count": 2}
    assert job["distribution"] == {"type": "pytorch", "process_count_per_instance": 2}
    assert job["command"] == 'python train.py --data ${{inputs.table}} --name "${USER}"'
    for comment in ("# what we ran in 2021", "# beside this file", "# the small one"):
        assert comment in done.stdout
    assert old.read_text() == OLD


def test_the_difference_alone(mlcli, old: Path) -> None:
    done = mlcli("job", "upgrade", "old.yml", "--diff")
    lines = done.stdout.splitlines()
    assert lines[:2] == ["--- old.yml", "+++ old.yml (upgraded)"]
    assert "-  target: azureml:cpu-cluster" in lines
    assert "+compute: azureml:cpu-cluster" in lines
    assert "\x1b" not in done.stdout
    assert old.read_text() == OLD


def test_the_difference_is_coloured_on_a_terminal_only(mlcli, old: Path) -> None:
    assert "\x1b[32m+compute" in mlcli("job", "upgrade", "old.yml", "--diff", tty=True).stdout
    plain = mlcli("job", "upgrade", "old.yml", "--diff", tty=True, env={"NO_COLOR": "1"}).stdout
    assert "\x1b" not in plain


def test_in_place_writes_the_file_and_shows_what_changed(mlcli, old: Path) -> None:
    done = mlcli("job", "upgrade", "-f", "old.yml", "--in-place")
    assert done.code == 0
    assert "+compute: azureml:cpu-cluster" in done.stdout
    assert load(old.read_text())["compute"] == "azureml:cpu-cluster"
    again = mlcli("job", "upgrade", "-f", "old.yml", "--in-place")
    assert again.stdout == ""
    assert "already" in again.stderr


def test_to_another_file(mlcli, old: Path) -> None:
    assert mlcli("job", "upgrade", "old.yml", "--to", "new.yml").code == 0
    assert old.read_text() == OLD
    assert mlcli("job", "validate", "new.yml").code == 0


def test_standard_input_has_no_place_to_write_to(mlcli, old: Path) -> None:
    assert mlcli("job", "upgrade", "-f", "-", "--in-place", input=OLD).code == 2
    assert load(mlcli("job", "upgrade", "-f", "-", input=OLD).stdout)["code"] == "src"


def test_a_wrong_file_is_not_upgraded(mlcli, old: Path) -> None:
    old.write_text(OLD.replace("instance_count", "instance_cuont"))
    done = mlcli("job", "upgrade", "old.yml", "--in-place")
    assert done.code == 1
    assert "instance_cuont" in done.stderr
    assert "instance_cuont" in old.read_text()


def test_windows_line_ends_stay(mlcli, old: Path) -> None:
    old.write_bytes(OLD.replace("\n", "\r\n").encode())
    assert mlcli("job", "upgrade", "old.yml", "--in-place").code == 0
    data = old.read_bytes()
    assert data.count(b"\r\n") == data.count(b"\n") > 5


@pytest.mark.parametrize(
    "text", ["{command: echo , environment: current}", "command:   echo # as it is\nenvironment: 'current'\n"]
)
def test_what_is_in_todays_words_is_not_touched(text: str, tmp_path: Path) -> None:
    assert upgrade_text(text, "job.yml", tmp_path, DiskFiles()) == text


def kind_of(text: str, path: Path) -> Kind | None:
    """What a file without errors is; what it names need not be in the corpus."""
    try:
        kind, found = check_file(text, path.name, path.parent, DiskFiles())
    except InvalidSpecError:
        return None
    wrong = {one.code for one in found if one.severity is Severity.ERROR}
    return kind if wrong <= {"missing-file"} else None


def normal(text: str, path: Path) -> dict[str, object]:
    """The file in the form that everything after it works on, for every type of job."""
    document = load_document(text, path.name)
    return upgrade(document, recognise(document.tree), base=path.parent, reader=DiskFiles())


def built(text: str, path: Path) -> CommandJob | None:
    try:
        loaded = read(text, path.name, path.parent, DiskFiles(), check=False)
    except (InvalidSpecError, UnsupportedError):
        return None
    return loaded.job if isinstance(loaded, LoadedJob) else None


def meaning(job: CommandJob) -> dict[str, object]:
    """Everything a plan is made from; which generation the words were of is not part of it."""
    kept = {name: value for name, value in vars(job).items() if name not in {"generation", "document"}}
    return {**kept, "document": json.loads(json.dumps(job.document))}


@pytest.mark.skipif(not CORPUS.exists(), reason="the corpus is not beside this checkout")
def test_the_whole_corpus_means_the_same_job_in_todays_words() -> None:
    seen = dict.fromkeys(Generation, 0)
    types: set[str] = set()
    for path in sorted(CORPUS.glob("*/jobs/**/*.yml")):
        text = path.read_text()
        kind = kind_of(text, path)
        if kind is None or kind.noun != "job" or kind.schema is None:
            continue
        new = upgrade_text(text, path.name, path.parent, DiskFiles())
        assert normal(text, path) == normal(new, path), path
        types.add(kind.type)
        before = built(text, path)
        if before is None:
            continue
        after = built(new, path)
        assert after is not None, path
        assert after.generation is Generation.G3, path
        assert meaning(before) == meaning(after), path
        assert upgrade_text(new, path.name, path.parent, DiskFiles()) == new, f"{path}: upgraded twice"
        seen[kind.generation] += 1
    assert types >= {"command", "sweep", "pipeline"}
    assert seen[Generation.G1] > 20
    assert seen[Generation.G2] > 5
    assert seen[Generation.G3] > 40
