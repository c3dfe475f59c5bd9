"""``mlcli model``: what training has made, under a name and a version."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from mlcli.cli import assets, model_v1
from mlcli.cli.command import Noun, Session
from mlcli.cli.options import Sets, flag
from mlcli.cli.tree import NOUNS
from mlcli.operations.assets import MODEL

NOUN = Noun(NOUNS["model"], ignored=assets.IGNORED)


@NOUN.command(
    "create",
    "mlcli model create -f model.yml",
    "mlcli model create --name iris --path model/ --type mlflow_model",
    "mlcli model create -n iris --path azureml://jobs/calm_harbor_7k2m9xq4/outputs/model",
    "mlcli model create -n iris --path runs:/calm_harbor_7k2m9xq4/model --copy",
)
def create(
    session: Session,
    *,
    file: Annotated[str | None, assets.file_flag("model")] = None,
    name: Annotated[str | None, assets.new_name("model")] = None,
    version: assets.NewVersion = None,
    path: Annotated[
        str | None,
        flag(
            *("--path", "--local-path", "-p", "-l"),
            metavar="PATH",
            parse=assets.location,
            help="A file or folder, an address, or what a job has made.",
        ),
    ] = None,
    type_: Annotated[
        str | None,
        flag("--type", "-t", metavar="TYPE", help="custom_model (default), mlflow_model or triton_model."),
    ] = None,
    stage: Annotated[str | None, flag("--stage", "-s", metavar="STAGE", help="The same as --set tags.stage=.")] = None,
    description: Annotated[str | None, flag("--description", "-d", metavar="TEXT", help="What it is.")] = None,
    tags: assets.Tags,
    copy: assets.Copy,
    set_: Sets,
) -> None:
    """Register a model: files that are here, or what a job has made.

    Local files stay where they are; with --copy the workspace keeps a copy. A version is never changed.
    """
    labelled = {**({"stage": stage} if stage else {}), **(assets.tags(tags) or {})}
    given = assets.given(
        name=("--name", name),
        version=("--version", version),
        path=("--path", path),
        type=("--type", type_),
        description=("--description", description),
        tags=("--tags", labelled or None),
    )
    assets.create(session, assets.read(MODEL, file, given, set_), copy=copy)


model_v1.add(NOUN)
assets.Common(NOUN, MODEL, "models", "iris").add()


@NOUN.command(
    "download", "mlcli model download --name iris --version 1", "mlcli model download iris --download-path models"
)
def download(
    session: Session,
    *,
    name: Annotated[str, assets.named(MODEL)],
    version: assets.Version = None,
    label: assets.Label = None,
    download_path: Annotated[
        Path,
        flag("--download-path", "-p", metavar="FOLDER", parse=Path, help="Where to (default: here); FOLDER/NAME."),
    ] = Path(),
) -> None:
    """Copy a model's files into a folder of its name."""
    from mlcli.cli import views
    from mlcli.operations.fetching import fetch

    about = assets.reference(MODEL, name, version, label)
    written = fetch(session.services, MODEL, about, download_path)
    session.console.emit({"written": [str(written)]}, view=views.downloaded)
