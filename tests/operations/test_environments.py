"""What the name of an environment stands for: registered ones, labels, registries, curated names."""

from __future__ import annotations

import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from uv import find_uv_bin

from mlcli.domain.errors import InvalidSpecError, MlcliError, NotFoundError, UnsupportedError, UsageError
from mlcli.domain.job import BuildContext, EnvironmentSpec, RegistryLogin
from mlcli.domain.settings import Settings
from mlcli.operations.environments import parse_reference, resolve
from mlcli.operations.files import DiskFiles
from mlcli.operations.plan import plan
from mlcli.ports.stores import AssetChanges
from mlcli.spec import curated
from mlcli.spec.environments import environment_document, environment_spec
from mlcli.spec.jobs import LoadedSweep, read
from mlcli.spec.references import AssetReference
from mlcli.workspace import Workspace
from tests.spec.reading import read_job

CORPUS = Path(__file__).resolve().parents[3] / "shared" / "reference" / "corpus"
KIND = "environment"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "home", "default", Settings(local_container="never"))


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("azureml:keras:4", AssetReference("keras", version="4")),
        ("keras:4", AssetReference("keras", version="4")),
        ("azureml:keras@latest", AssetReference("keras", label="latest")),
        ("azureml:keras", AssetReference("keras")),
        ("AzureML:keras:1.10", AssetReference("keras", version="1.10")),
        ("azureml:azureml:keras:4", AssetReference("keras", version="4")),
        (
            "azureml://registries/azureml/environments/sklearn-1.5/labels/latest",
            AssetReference("sklearn-1.5", label="latest", registry="azureml"),
        ),
        (
            "azureml://registries/mine/environments/keras/versions/12",
            AssetReference("keras", version="12", registry="mine"),
        ),
        ("azureml://registries/mine/environments/keras", AssetReference("keras", registry="mine")),
        (
            "azureml:/subscriptions/0-0/resourceGroups/g/providers/X/workspaces/w/environments/keras/versions/3",
            AssetReference("keras", version="3"),
        ),
    ],
)
def test_every_way_to_name_an_environment(text: str, reference: AssetReference) -> None:
    assert parse_reference(text) == reference


@pytest.mark.parametrize(
    "text", ["azureml:", "azureml:a b", "azureml:a:1:2", "azureml:a@b:c", "azureml://datastores/x", ""]
)
def test_what_names_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="does not name an environment"):
        parse_reference(text)


@given(st.text())
def test_no_text_breaks_the_parser(text: str) -> None:
    try:
        parse_reference(text)
    except UsageError:
        return


NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)


@given(NAMES, NAMES)
def test_a_reference_reads_as_it_is_written(name: str, version: str) -> None:
    if name.lower() == "azureml":
        return
    for reference in (AssetReference(name, version=version), AssetReference(name, label=version), AssetReference(name)):
        assert parse_reference(f"azureml:{reference}") == reference


def test_a_registered_one_is_found_by_version_label_and_latest(workspace: Workspace) -> None:
    for version in ("1", "2", "3"):
        workspace.assets.create(KIND, "keras", {"image": f"keras:{version}"}, version=version)
    workspace.assets.edit(KIND, "keras", "1", lambda _: AssetChanges(add_labels=("prod",)))
    workspace.assets.edit(KIND, "keras", "3", lambda _: AssetChanges(archived=True))
    for written, image in [(":1", "keras:1"), ("@latest", "keras:2"), ("", "keras:2"), ("@prod", "keras:1")]:
        found, notices = resolve(workspace, EnvironmentSpec(reference=f"azureml:keras{written}"))
        assert (found.image, found.name, found.version) == (image, "keras", image[-1])
        assert found.reference is None
        assert not notices


def test_a_job_s_own_variables_stay(workspace: Workspace) -> None:
    workspace.assets.create(KIND, "e", {"image": "x", "environment_variables": {"A": "asset", "B": "asset"}})
    asked = EnvironmentSpec(reference="azureml:e:1", environment_variables={"B": "job"})
    assert resolve(workspace, asked)[0].environment_variables == {"A": "asset", "B": "job"}


def test_one_that_is_not_there_is_refused_with_what_is_near_and_how_to_make_it(workspace: Workspace) -> None:
    workspace.assets.create(KIND, "keras", {"image": "x"})
    with pytest.raises(NotFoundError) as refused:
        resolve(workspace, EnvironmentSpec(reference="azureml:kera:1"))
    hint = str(refused.value.hint)
    assert "'keras'" in hint
    assert "mlcli environment create --name kera" in hint
    with pytest.raises(NotFoundError, match="no version '7'"):
        resolve(workspace, EnvironmentSpec(reference="azureml:keras:7"))
    with pytest.raises(NotFoundError, match="registry 'other'"):
        resolve(workspace, EnvironmentSpec(reference="azureml://registries/other/environments/torch/versions/1"))


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("AzureML-sklearn-0.24-ubuntu18.04-py37-cpu:9", "scikit-learn"),
        ("AzureML-Scikit-learn-0.20.3", "scikit-learn"),
        ("AzureML-Tutorial", "scikit-learn"),
        ("AzureML-pytorch-1.9-ubuntu18.04-py37-cuda11-gpu@latest", "PyTorch"),
        ("AzureML-ACPT-pytorch-1.13-py38-cuda11.7-gpu", "PyTorch"),
        ("AzureML-PyTorch-1.6-GPU:44", "PyTorch"),
        ("AzureML-acpt-pytorch-2.8-cuda12.6:1", "PyTorch"),
        ("AzureML-tensorflow-2.4-ubuntu18.04-py37-cuda11-gpu:34", "TensorFlow"),
        ("AzureML-TensorFlow-1.13-CPU", "TensorFlow"),
        ("AzureML-lightgbm-3.2-ubuntu18.04-py37-cpu:1", "LightGBM"),
        ("AzureML-lightgbm-3.3@latest", "LightGBM"),
        ("AzureML-xgboost-0.9-ubuntu18.04-py37-cpu-inference", "XGBoost"),
        ("AzureML-Minimal:1", "minimal"),
        ("AzureML-minimal-ubuntu18.04-py37-cpu-inference", "minimal"),
    ],
)
def test_curated_names_of_every_year_have_a_definition(workspace: Workspace, name: str, family: str) -> None:
    found, notices = resolve(workspace, EnvironmentSpec(reference=f"azureml:{name}"))
    assert found.conda is not None
    assert found.name == name.partition(":")[0].partition("@")[0]
    assert len(notices) == 1
    assert name.partition(":")[0].partition("@")[0] in notices[0]
    assert family in notices[0]


@pytest.mark.parametrize("family", curated.FAMILIES, ids=lambda family: family.name)
@pytest.mark.parametrize("container", [False, True])
def test_every_definition_can_be_built_here_and_in_a_container(
    workspace: Workspace, family: curated.Family, container: bool
) -> None:
    spec = EnvironmentSpec(conda=family.conda)
    builder = workspace.environment_builder(spec, container=container)
    assert builder.name == ("dockerfile" if container else "venv")
    if not container:
        assert builder.plan(spec).fingerprint
    assert not any("azureml" in line for line in family.pip)


@pytest.mark.parametrize(
    "name", ["AzureML-AutoML", "AzureML-AutoML-GPU", "AzureML-Designer", "AzureML-PySpark-MmlSpark-0.15"]
)
def test_curated_names_without_a_counterpart_say_why(workspace: Workspace, name: str) -> None:
    with pytest.raises(UnsupportedError, match="which mlcli does not have") as refused:
        resolve(workspace, EnvironmentSpec(reference=f"azureml:{name}@prod"))
    assert f"--name {name}" in str(refused.value.hint)
    with pytest.raises(UnsupportedError, match="no counterpart") as refused:
        resolve(workspace, EnvironmentSpec(reference="azureml:AzureML-Chainer-5.1.0-GPU:1"))
    assert "PyTorch" in refused.value.message


def test_a_registered_one_of_a_curated_name_wins(workspace: Workspace) -> None:
    workspace.assets.create(KIND, "AzureML-sklearn-1.5", {"image": "mine"})
    workspace.assets.create(KIND, "sklearn-1.5", {"image": "mine too"})
    found, notices = resolve(workspace, EnvironmentSpec(reference="azureml:AzureML-sklearn-1.5@latest"))
    assert (found.image, notices) == ("mine", ())
    address = "azureml://registries/azureml/environments/sklearn-1.5/labels/latest"
    assert resolve(workspace, EnvironmentSpec(reference=address))[0].image == "mine too"


JOB = "command: python -V\nenvironment: {reference}\ncompute: local\n"


def test_the_plan_has_what_the_name_stands_for(workspace: Workspace, tmp_path: Path) -> None:
    workspace.assets.create(KIND, "tiny", {"interpreter": "current", "environment_variables": {"WHO": "tiny"}})
    job = read_job(JOB.format(reference="azureml:tiny@latest"), "job.yml", tmp_path, DiskFiles()).job
    planned = plan(workspace, job)
    assert not planned.refusals
    assert (planned.environment.spec.name, planned.environment.spec.version) == ("tiny", "1")
    assert planned.environment.builder == "current"
    assert planned.environment_variables["WHO"] == "tiny"


def test_a_plan_with_a_name_that_is_not_there_has_one_refusal(workspace: Workspace, tmp_path: Path) -> None:
    job = read_job(JOB.format(reference="azureml:nowhere:1"), "job.yml", tmp_path, DiskFiles()).job
    (refusal,) = plan(workspace, job).refusals
    assert "nowhere" in refusal
    assert "environment create" in refusal


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus of published job files is not beside this checkout")
def test_published_jobs_that_name_curated_environments_plan_without_a_refusal(workspace: Workspace) -> None:
    planned = 0
    for path in sorted([*CORPUS.rglob("*.yml"), *CORPUS.rglob("*.yaml")]):
        text = path.read_text()
        if "AzureML-" not in text and "registries/azureml/environments" not in text:
            continue
        try:
            loaded = read(text, str(path), path.parent, DiskFiles(), overrides=["compute=local"], submitting=False)
        except (InvalidSpecError, UnsupportedError):
            continue  # pipelines, and files that are meant to be wrong
        if isinstance(loaded, LoadedSweep):
            continue
        made = plan(workspace, loaded.job)
        about = [one for one in made.refusals if "environment" in one]
        assert not about, (path, about)
        assert any("curated" in one for one in made.notices), path
        planned += 1
    assert planned > 5


TEXTS = st.text(min_size=1, max_size=10)
MAPS = st.dictionaries(TEXTS, TEXTS, max_size=3)
CONDA = st.fixed_dictionaries({"dependencies": st.lists(TEXTS, max_size=3)})
BUILDS = st.builds(BuildContext, path=st.none() | TEXTS, dockerfile_path=TEXTS, args=MAPS) | st.builds(
    BuildContext, path=st.none() | TEXTS, dockerfile_text=TEXTS
)
SPECS = st.builds(
    EnvironmentSpec,
    interpreter=st.none() | TEXTS,
    image=st.none() | TEXTS,
    build=st.none() | BUILDS,
    conda=st.none() | CONDA,
    lock=st.none() | TEXTS,
    registry=st.none() | st.builds(RegistryLogin, address=TEXTS, username=st.none() | TEXTS),
    environment_variables=MAPS,
)


@given(SPECS)
def test_a_kept_definition_is_read_back_as_it_was(spec: EnvironmentSpec) -> None:
    assert environment_spec(environment_document(spec)) == spec


def test_a_kept_definition_has_no_password() -> None:
    login = RegistryLogin("registry.example", "me", password="hunter2")
    assert "hunter2" not in str(environment_document(EnvironmentSpec(image="x", registry=login)))


def test_errors_of_looking_up_are_ours(workspace: Workspace) -> None:
    for reference in ("azureml:../../x:1", "azureml:a/b", "azureml:\0"):
        with pytest.raises(MlcliError):
            resolve(workspace, EnvironmentSpec(reference=reference))


@pytest.mark.slow
@pytest.mark.network
def test_every_definition_has_versions_that_fit_each_other(tmp_path: Path) -> None:
    """All at once: they wait for the index, not for this machine."""
    with ThreadPoolExecutor(len(curated.FAMILIES)) as pool:
        for family, done in zip(
            curated.FAMILIES, pool.map(partial(_resolved, tmp_path), curated.FAMILIES), strict=True
        ):
            assert done.returncode == 0, done.stderr
            assert all(re.split("[<>=]", line)[0] + "==" in done.stdout for line in family.pip)


def _resolved(folder: Path, family: curated.Family) -> subprocess.CompletedProcess[str]:
    lines = folder / f"{family.name}.in"
    lines.write_text("\n".join(family.pip))
    options = ["--quiet", "--only-binary", ":all:", "--python-version", "3.10"]
    return subprocess.run(
        [find_uv_bin(), "pip", "compile", *options, lines], capture_output=True, text=True, check=False
    )
