"""What can be typed after ``run submit-script`` and ``run submit-hyperdrive``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from mlcli.cli import actions
from mlcli.cli.options import ATTACHED_FOLDER, METADATA_OUT, Flag, flag

_WORDS = Flag(
    ("--",),
    "The script and its arguments: everything from the first word on that is no flag of this command.",
    "SCRIPT",
    many=True,
    named="script",
    required=False,
    rest=True,
)


@dataclass(frozen=True, kw_only=True)
class Wish:
    """``words``: the script and its arguments; ``asynchronous``: do not wait for the end."""

    words: Annotated[list[str], _WORDS]
    configuration: Annotated[
        str | None,
        flag(
            "--run-configuration-name",
            "-c",
            metavar="NAME",
            help="A run configuration: a name in .azureml, or a path.",
        ),
    ] = None
    experiment: Annotated[
        str | None,
        flag("--experiment-name", "-e", metavar="NAME", help="Its experiment (default: the attached folder's)."),
    ] = None
    attached_folder: Annotated[Path | None, ATTACHED_FOLDER] = None
    source: Annotated[
        Path | None,
        flag(
            "--source-directory", metavar="FOLDER", parse=Path, help="The folder of the code (default: that of --path)."
        ),
    ] = None
    target: Annotated[
        str | None,
        flag("--target", "--ct", metavar="COMPUTE", help="Where it runs, whatever the run configuration says."),
    ] = None
    conda_file: Annotated[
        Path | None,
        flag("--conda-dependencies", "-d", metavar="FILE", parse=Path, help="A conda file, in place of the one named."),
    ] = None
    asynchronous: Annotated[bool, flag("--async", help="Return as soon as it is on its way.")]
    output_metadata_file: Annotated[Path | None, METADATA_OUT] = None
    dry_run: Annotated[bool, flag("--dry-run", help="Show the plan, send nothing.")]
    docker: Annotated[bool, flag("--docker", help="Run in a container, whatever the setting local.container says.")]
    no_docker: Annotated[bool, flag("--no-docker", help="Run on the host, though it names an image.")]

    @property
    def in_container(self) -> bool | None:
        """Whether it was asked for; None when nothing was said. Raises UsageError for both."""
        return actions.asked_container(docker=self.docker, no_docker=self.no_docker)
