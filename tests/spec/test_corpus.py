"""Job files as people published them, mid 2021 to now: all are read, recognised and accepted, but for real faults."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlcli.domain.errors import InvalidSpecError, Severity
from mlcli.domain.job import Generation
from mlcli.spec.generation import Kind, recognise
from mlcli.spec.jobs import check_file
from mlcli.spec.load import load
from mlcli.spec.validate import validate
from tests.spec.disk import DiskReader

CORPUS = Path(__file__).resolve().parents[3] / "shared" / "reference" / "corpus"
pytestmark = pytest.mark.skipif(
    not CORPUS.is_dir(), reason="the corpus of published job files is not beside this checkout"
)

FAULTS = {
    "2021-11-04/jobs/single-step/tensorflow/mnist-distributed/job.yml": (
        "duplicate-key",
        "'worker_count' is given twice",
    ),
    "now/jobs/deepspeed/deepspeed-autotuning/job.yml": ("empty-file", "published empty"),
    "2022-05-23/jobs/single-step/java/iris/job-template.yml": (
        "missing-file",
        "a template: 'code' is filled in by a script",
    ),
    "now/jobs/single-step/java/iris/job-template.yml": ("missing-file", "a template: 'code' is filled in by a script"),
    "now/jobs/parallel/1a_oj_sales_prediction/pipeline.yml": ("missing-file", "its component is not in the corpus"),
    "now/jobs/parallel/3a_mnist_batch_identification/pipeline.yml": (
        "missing-file",
        "its component is not in the corpus",
    ),
    "now/jobs/pipelines/automl/cli-automl-text-classification-multilabel-paper-categorization-pipeline/pipeline.yml": (
        "missing-file",
        "its components are not in the corpus",
    ),
    "now/jobs/pipelines/automl/demand-forecast-pipeline/pipeline.yml": (
        "missing-file",
        "its components are not in the corpus",
    ),
    "now/jobs/pipelines-with-components/pipeline_with_pipeline_component/"
    "nyc_taxi_data_regression_with_pipeline_component/pipeline.yml": (
        "missing-file",
        "components of its components are not in the corpus",
    ),
    "now/jobs/pipelines-with-components/pipeline_with_pipeline_component/"
    "pipeline_with_train_eval_pipeline_component/pipeline.yml": (
        "missing-file",
        "a component of its component is not in the corpus",
    ),
}
"""file -> (the one code it is refused with, the reason why that is right)."""

UNKNOWN_HERE = {"workspace", "flow"}
GENERATIONS = {
    "2021-06-18": {Generation.G1},
    "2021-08-18": {Generation.G1},
    "2021-11-04": {Generation.G2, Generation.G3},
    "2022-05-23": {Generation.G3},
    "now": {Generation.G3},
}


def kind_of(path: Path) -> Kind | None:
    """What a file of the corpus is, None for those that are no file of Azure ML (conda files, data) or no YAML map."""
    try:
        tree = load(path.read_bytes(), path.name).tree
    except InvalidSpecError:
        return Kind(Generation.G3, "command", None)
    is_ours = (
        "$schema" in tree or {"command", "trial", "jobs"} & set(tree) or tree.get("type") in {"automl", "finetuning"}
    )
    return recognise(tree) if is_ours else None


def files(*, jobs: bool) -> list[Path]:
    found = []
    for path in sorted([*CORPUS.rglob("*.yml"), *CORPUS.rglob("*.yaml")]):
        kind = kind_of(path)
        if kind is not None and (kind.noun == "job") is jobs:
            found.append(path)
    return found


def name_of(path: Path) -> str:
    return path.relative_to(CORPUS).as_posix()


def test_every_job_file_is_accepted_but_for_real_faults() -> None:
    refused = {}
    jobs = files(jobs=True)
    for path in jobs:
        try:
            found = check_file(path.read_bytes(), path.name, path.parent, DiskReader())[1]
        except InvalidSpecError as error:
            found = error.diagnostics
        codes = {each.code for each in found if each.severity is Severity.ERROR}
        if codes:
            refused[name_of(path)] = codes
    assert len(jobs) > 200
    assert refused == {name: {code} for name, (code, _) in FAULTS.items()}


def test_the_generation_of_every_job_file_is_recognised() -> None:
    strange = []
    for path in files(jobs=True):
        kind = kind_of(path)
        assert kind is not None
        if kind.generation not in GENERATIONS[name_of(path).split("/", maxsplit=1)[0]] and name_of(path) not in FAULTS:
            strange.append((name_of(path), kind.generation))
    assert strange == []


def test_no_job_file_mixes_generations() -> None:
    """The newest words sometimes stand in an older file that SDKs of the time took: never enough to refuse it."""
    for path in files(jobs=True):
        kind = kind_of(path)
        if kind is not None and kind.foreign and name_of(path) not in FAULTS:
            document = load(path.read_bytes(), path.name)
            assert [each for each in validate(document, kind) if each.code == "mixed-generations"] == []


def test_every_component_environment_data_model_compute_datastore_and_schedule_file_is_accepted() -> None:
    assets = files(jobs=False)
    assert len(assets) > 150
    for path in assets:
        document = load(path.read_bytes(), name_of(path))
        kind = recognise(document.tree)
        codes = {found.code for found in validate(document, kind)}
        assert codes == ({"unsupported-file"} if kind.noun in UNKNOWN_HERE else set()), name_of(path)
