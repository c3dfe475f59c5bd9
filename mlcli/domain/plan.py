"""The plan of a run: everything that will be done, decided before anything is sent. ``--dry-run`` prints it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mlcli.domain.job import EnvironmentSpec, Resources
from mlcli.domain.nodes import NodePlan

_SOON_SENT_BYTES = 4_000_000
_SOON_SENT_FILES = 200


@dataclass(frozen=True)
class CodePlan:
    """The folder to snapshot, and what the snapshot will hold (bytes). ``sent``: whether it goes to another machine."""

    folder: str
    files: int
    size: int
    sent: bool = False

    @property
    def takes_long(self) -> bool:
        """Whether to send it is no matter of a second."""
        return self.sent and (self.size > _SOON_SENT_BYTES or self.files > _SOON_SENT_FILES)


@dataclass(frozen=True)
class EnvironmentPlan:
    """Which builder makes the environment from what. ``fingerprint`` is the cache key (None: nothing to build);
    ``cached`` whether it is there already.
    """

    builder: str
    spec: EnvironmentSpec
    fingerprint: str | None
    cached: bool
    description: str


@dataclass(frozen=True)
class ContainerPlan:
    """The job runs in a container. ``reason``: why it does, a sentence; ``keep``: leave it there when the job has ended."""

    reason: str
    keep: bool = False


@dataclass(frozen=True)
class InputPlan:
    """Where an input comes from and where the job finds it.

    ``kind``: ``literal``, ``local`` or ``http``. ``action``: ``value``, ``link``, ``path``, ``copy``, ``fetch``,
    or ``upload`` to another machine.
    ``value``: what ``${{inputs.x}}`` becomes, an absolute path on the target or the literal as text. ``asset``: the
    registered version that it is, ``noun:name:version``.
    """

    name: str
    kind: str
    action: str
    source: str
    value: str
    mode: str | None = None
    type: str | None = None
    asset: str | None = None


@dataclass(frozen=True)
class OutputPlan:
    """Where the job writes a named output: ``value`` is an absolute path on the target. ``asset_name``: what it is to be
    registered as, once the job has completed. ``home``: an absolute path of this machine to which it is fetched from
    another one when the job has ended; None where there is nothing to fetch, or it stays with the run.
    """

    name: str
    value: str
    type: str = "uri_folder"
    mode: str = "rw_mount"
    asset_name: str | None = None
    asset_version: str | None = None
    home: str | None = None


@dataclass(frozen=True)
class Plan:
    """One run, resolved. ``run_folder`` and ``working_directory`` are absolute paths on the target.

    ``command`` is the shell text with every reference replaced and quoted. ``environment_variables`` are the job's own
    and the ones that Azure ML sets (``AZUREML_RUN_ID``, ``AZURE_ML_INPUT_x``, ...). ``timeout_s``: seconds or None.
    ``node``: what the run gets once a node of its compute is free, None where it waits for none; of those that wait the
    greatest ``priority`` goes first.
    ``notices``: sentences that the person sees and that are kept with the run. ``refusals``: what keeps it from being
    submitted, each with what to do; a plan with one can be looked at but is never sent.
    """

    run: str
    experiment_name: str
    compute: str
    backend: str
    run_folder: str
    working_directory: str
    command: str
    environment: EnvironmentPlan
    container: ContainerPlan | None = None
    code: CodePlan | None = None
    environment_variables: Mapping[str, str] = field(default_factory=dict)
    inputs: tuple[InputPlan, ...] = ()
    outputs: tuple[OutputPlan, ...] = ()
    resources: Resources = field(default_factory=Resources)
    timeout_s: float | None = None
    node: NodePlan | None = None
    priority: int = 0
    notices: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ()

    @property
    def needs_preparation(self) -> bool:
        """Whether something slow (a build, a download, an upload) stands before the command, so that a detached supervisor is
        worth its start.
        """
        to_build = self.environment.fingerprint is not None and not self.environment.cached
        to_send = self.code is not None and self.code.takes_long
        return to_build or to_send or any(entry.action in {"fetch", "copy", "upload"} for entry in self.inputs)
