"""``model register``: a model as the first Azure ML command line registers it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from mlcli.cli import assets
from mlcli.cli.command import Noun, Session
from mlcli.cli.options import ATTACHED_FOLDER, METADATA_OUT, Flag, complete_job, flag, flags
from mlcli.domain.errors import UsageError
from mlcli.operations.assets import MODEL


def _idle(*names: str) -> Flag:
    return flag(*names, metavar="VALUE", help="Accepted and ignored.")


_ACCEPTED = {
    "attached_folder": ATTACHED_FOLDER,
    "output_metadata_file": METADATA_OUT,
    "experiment_name": _idle("--experiment-name"),
    "model_framework": _idle("--model-framework"),
    "model_framework_version": _idle("--model-framework-version"),
    "cpu_cores": _idle("--cpu-cores", "--cc"),
    "gpu_cores": _idle("--gpu-cores", "--gc"),
    "memory_gb": _idle("--memory-gb", "--gb"),
    "sample_input_dataset_id": _idle("--sample-input-dataset-id"),
    "sample_output_dataset_id": _idle("--sample-output-dataset-id"),
    "property": _idle("--property"),
    "v": flag("--v", "-v", help="Accepted and ignored."),
}


def add(noun: Noun) -> None:
    """Add the command to ``mlcli model``."""
    noun.command(
        "register",
        "mlcli model register -n iris --asset-path outputs/model.pkl -f run.json",
        "mlcli model register -n iris -p model.pkl --tag stage=final",
        accepts=_ACCEPTED,
    )(register)


def register(
    session: Session,
    *,
    name: Annotated[str | None, assets.new_name("model")] = None,
    model_path: Annotated[
        str | None,
        flag("--model-path", "-p", metavar="PATH", parse=assets.location, help="A file or folder of this machine."),
    ] = None,
    asset_path: Annotated[
        str | None,
        flag("--asset-path", metavar="PATH", help="A file or folder that a run has made: outputs/model.pkl."),
    ] = None,
    run_id: Annotated[
        str | None, Flag(("--run-id", "-r"), "The run that has made it.", "RUN", complete=complete_job)
    ] = None,
    run_metadata_file: Annotated[
        Path | None,
        flag(
            "--run-metadata-file",
            "-f",
            metavar="FILE",
            parse=Path,
            help="The same, as `run submit-script -t` wrote it.",
        ),
    ] = None,
    description: Annotated[str | None, flag("--description", "-d", metavar="TEXT", help="What it is.")] = None,
    tag: Annotated[list[str], flags("--tag", metavar="KEY=VALUE", help="Tags; several may follow.")],
) -> None:
    """Register a copy of a model: files that are here, or that a run has made.

    Each time it is the next version.
    """
    from mlcli.cli import run_metadata

    if (asset_path is None) == (model_path is None):
        raise UsageError("which files? give --asset-path PATH of a run, or --model-path PATH")
    if asset_path is not None:
        model_path = f"runs:/{run_metadata.named(session, run_id, run_metadata_file)}/{asset_path.removeprefix('./')}"
    given = assets.given(
        name=("--name", name),
        path=("--asset-path" if asset_path else "--model-path", model_path),
        description=("--description", description),
        tags=("--tag", assets.tags(tag)),
    )
    assets.create(session, assets.read(MODEL, None, given, []), copy=True)
