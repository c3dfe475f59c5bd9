"""``job create --dry-run``: everything is decided, everything that stands in the way is told, nothing is sent."""

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Mlcli

CORPUS = Path(__file__).parents[3] / "shared" / "reference" / "corpus"


def plan_of(mlcli: Mlcli, job: Path, *more: str) -> dict[str, Any]:
    done = mlcli("job", "create", "-f", job, "--dry-run", "-o", "json", *more)
    assert done.code == 0, done.stderr
    plan: dict[str, Any] = done.json
    return plan


def write(folder: Path, text: str) -> Path:
    job = folder / "job.yml"
    job.write_text(text)
    return job


def test_values_stand_quoted_where_the_references_stood(mlcli: Mlcli, tmp_path: Path) -> None:
    job = write(
        tmp_path,
        """
command: echo ${{inputs.words}} "said ${{inputs.words}}" ${{inputs.count}} > ${{outputs.report}}/x.txt
inputs: {words: two words, count: 3}
outputs: {report: {type: uri_folder}}
environment: current
""",
    )
    plan = plan_of(mlcli, job, "--name", "quoted")
    report = f"{plan['run_folder']}/named-outputs/report"
    assert plan["command"] == f"echo 'two words' \"said two words\" 3 > {report}/x.txt"
    assert plan["environment_variables"]["AZURE_ML_OUTPUT_report"] == report
    assert plan["environment_variables"]["AZUREML_PARAMETER_count"] == "3"
    assert plan["environment_variables"]["AZUREML_RUN_ID"] == "quoted"


def test_data_is_found_by_its_mode(mlcli: Mlcli, tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("1\n")
    job = write(
        tmp_path,
        """
command: cat ${{inputs.mounted}} ${{inputs.copied}} ${{inputs.web}}
inputs:
  mounted: {type: uri_file, path: data.csv, mode: ro_mount}
  copied: {type: uri_file, path: data.csv, mode: download}
  web: {type: uri_file, path: "https://example.com/iris.csv?sig=secret"}
environment: current
""",
    )
    plan = plan_of(mlcli, job)
    actions = {entry["name"]: entry["action"] for entry in plan["inputs"]}
    assert actions == {"mounted": "path", "copied": "copy", "web": "fetch"}
    folder = plan["run_folder"]
    mounted = tmp_path / "data.csv"
    assert plan["command"] == f"cat {mounted} {folder}/inputs/copied/data.csv {folder}/inputs/web/iris.csv"


def test_a_plan_sends_nothing(mlcli: Mlcli, tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "train.py").write_text("print('hi')\n")
    plan = plan_of(mlcli, write(tmp_path, "command: python train.py\ncode: src\nenvironment: current\n"))
    assert plan["code"] == {"folder": str(tmp_path / "src"), "files": 1, "size": 12, "sent": False}
    assert mlcli("job", "list").json == []
    assert not (mlcli.home / "workspaces" / "default" / "runs").exists()


def test_everything_in_the_way_is_told_at_once_and_then_refused(mlcli: Mlcli, tmp_path: Path) -> None:
    job = write(
        tmp_path,
        """
command: echo ${{inputs.far}}
inputs:
  far: {type: uri_folder, path: "azureml:titanic:1"}
environment: azureml:AzureML-AutoML:1
compute: azureml:cpu-cluster
resources: {instance_count: 2}
""",
    )
    refusals = plan_of(mlcli, job)["refusals"]
    assert len(refusals) == 4
    for word in ("cpu-cluster", "2", "titanic", "AzureML-AutoML"):
        assert any(word in refusal for refusal in refusals)
    done = mlcli("job", "create", "-f", job)
    assert done.code == 1
    assert all(refusal.partition(":")[0] in done.stderr for refusal in refusals)
    assert mlcli("job", "list").json == []


@pytest.mark.parametrize("override", ["compute=local", "compute.target=local"])
def test_an_azure_job_comes_home_with_one_flag(mlcli: Mlcli, tmp_path: Path, override: str) -> None:
    job = write(
        tmp_path, "command: echo hi\nenvironment: {docker: {image: python}}\ncompute: {target: azureml:cpu-cluster}\n"
    )
    plan = plan_of(mlcli, job, "--set", override)
    assert (plan["compute"], plan["refusals"]) == ("local", [])
    assert any("image" in notice for notice in plan["notices"])


FAULTY = {
    "2021-11-04/jobs/single-step/tensorflow/mnist-distributed/job.yml": "worker_count is given twice",
    "now/jobs/deepspeed/deepspeed-autotuning/job.yml": "an empty placeholder",
    "2022-05-23/jobs/single-step/java/iris/job-template.yml": "its code folder is made by a script",
    "now/jobs/single-step/java/iris/job-template.yml": "its code folder is made by a script",
}


def corpus_command_jobs() -> list[Path]:
    found = []
    for part in ("2021-06-18", "2021-08-18", "2021-11-04", "2022-05-23", "now"):
        found += sorted((CORPUS / part).rglob("*job*.yml")) + sorted((CORPUS / part).rglob("hello-*.yml"))
    return sorted(set(found))


@pytest.mark.slow
@pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus of real job files is not here")
def test_every_command_job_of_the_corpus_has_a_plan(mlcli: Mlcli) -> None:
    from mlcli.domain.errors import UnsupportedError
    from mlcli.domain.settings import Settings
    from mlcli.operations.files import DiskFiles
    from mlcli.operations.plan import plan
    from mlcli.spec.jobs import LoadedSweep, read
    from mlcli.workspace import Workspace

    workspace = Workspace(mlcli.home, "corpus", Settings())
    planned = 0
    for file in corpus_command_jobs():
        if str(file.relative_to(CORPUS)) in FAULTY:
            continue
        try:
            loaded = read(file.read_bytes(), str(file), file.parent, DiskFiles(), submitting=False)
        except UnsupportedError:
            continue  # a pipeline, an asset
        if isinstance(loaded, LoadedSweep):
            continue
        made = plan(workspace, loaded.job)
        planned += 1
        for form in ("${{inputs.", "${{outputs.", "{inputs.", "$[["):
            assert form not in made.command, f"{file}: {made.command}"
    assert planned > 100


def test_a_number_reaches_the_command_as_it_was_written(mlcli: Mlcli, tmp_path: Path) -> None:
    job = write(tmp_path, "command: echo ${{inputs.rate}}\ninputs: {rate: 0.10}\nenvironment: current\n")
    assert plan_of(mlcli, job)["command"] == "echo 0.10"


def test_what_stands_in_the_way_shows_no_credential(mlcli: Mlcli, tmp_path: Path) -> None:
    job = write(
        tmp_path,
        """
command: cat ${{inputs.far}}
inputs: {far: {type: uri_file, path: "ftp://me:pa55word@host/x.csv?sig=51gn"}}
outputs: {away: {type: uri_folder, path: "ftp://me:pa55word@host/away"}}
environment: current
""",
    )
    for flags in (["--dry-run"], []):
        done = mlcli("job", "create", "-f", job, *flags)
        assert "ftp://***@host/x.csv cannot be reached" in done.stderr
        assert "pa55word" not in done.stdout + done.stderr
        assert "51gn" not in done.stdout + done.stderr


def test_what_conda_would_install_is_conda_s(mlcli: Mlcli, tmp_path: Path) -> None:
    job = write(tmp_path, "command: echo\nenvironment: {conda_file: {dependencies: [python=3.11, numpy=1.26, pip]}}\n")
    assert plan_of(mlcli, job)["environment"]["builder"] == "conda"


def test_code_that_cannot_be_taken_is_told_path_by_path(mlcli: Mlcli, tmp_path: Path) -> None:
    source = tmp_path / "src"
    source.mkdir()
    (source / "weights.bin").write_bytes(bytes(3_000_000))
    job = write(tmp_path, "command: 'true'\ncode: src\nenvironment: current\n")
    for flags in ([], ["--dry-run"]):
        told = mlcli("job", "create", "-f", job, *flags, env={"MLCLI_SNAPSHOT_MAX_MB": "2"}).stderr
        assert "\n  2.9 MB  weights.bin\n" in told
    (source / "gone").symlink_to("nowhere")
    assert f"\n  {source / 'gone'}: the symbolic link leads nowhere" in mlcli("job", "create", "-f", job).stderr
