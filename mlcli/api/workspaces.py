"""Workspaces and the experiments in them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mlcli.api.computes import ComputeTarget
from mlcli.api.data import Datastore
from mlcli.api.jobs import Job, ScriptRunConfig, experiment_of, in_experiment
from mlcli.api.runs import Run
from mlcli.domain.errors import NameTakenError, UsageError

if TYPE_CHECKING:
    from mlcli.domain.job import CommandJob
    from mlcli.domain.sweep import SweepJob
    from mlcli.spec.runconfig import MadeCompute
    from mlcli.workspace import Workspace as Services


class Workspace:
    """A folder of this machine in which runs, environments, data and computes have names.

    ``name``: None for the one that ``MLCLI_WORKSPACE`` names, that the current folder is attached to, or that is in use.
    ``services``: the same as operations see it. Raises NotFoundError: only ``default`` is there without being made.
    """

    def __init__(self, name: str | None = None, *, folder: str | Path | None = None) -> None:
        from mlcli.workspace import open_workspace

        self.services: Services = open_workspace(name, None if folder is None else Path(folder).absolute())

    @classmethod
    def from_config(cls, path: str | Path | None = None) -> Workspace:
        """The workspace that the folder at ``path`` (default: the current one), or one above it, is attached to; where none is,
        the one in use. Settings that name a workspace of Azure are told on standard error.
        """
        from mlcli.operations import attached

        place = Path(path).absolute() if path is not None else Path.cwd()
        folder = place.parent if place.is_file() else place
        opened = cls(folder=folder)
        found = opened.services.attached or attached.downloaded(folder)
        if found is not None and found.azure is not None:
            _tell(
                f"{found.of_azure}: what is submitted belongs to the workspace {opened.name!r}; `mlcli folder attach` chooses"
            )
        return opened

    @classmethod
    def get(cls, name: str) -> Workspace:
        """The workspace of that name. Raises NotFoundError with the nearest names."""
        return cls(name)

    @classmethod
    def create(cls, name: str, *, exist_ok: bool = False) -> Workspace:
        """Make a workspace. Raises NameTakenError, unless it may be there (``exist_ok``)."""
        from mlcli.stores import workspaces
        from mlcli.workspace import home

        try:
            workspaces.create(home(), name, {})
        except NameTakenError:
            if not exist_ok:
                raise
        return cls(name)

    def __repr__(self) -> str:
        return f"Workspace({self.name!r})"

    @property
    def name(self) -> str:
        """Its name."""
        return self.services.name

    @property
    def compute_targets(self) -> dict[str, ComputeTarget]:
        """Its computes, by name."""
        return {compute.name: ComputeTarget(self, compute.name) for compute in self.services.computes.list()}

    @property
    def datastores(self) -> dict[str, Datastore]:
        """Its datastores, by name."""
        from mlcli.operations import datastores

        return {record["name"]: Datastore(self, record["name"]) for record in datastores.listing(self.services)}

    def get_default_datastore(self) -> Datastore:
        """The one that is there without being made: a folder of the workspace."""
        return Datastore(self)

    @property
    def experiments(self) -> dict[str, Experiment]:
        """Its experiments, by name."""
        from mlcli.operations import experiments

        return {record["name"]: Experiment(self, record["name"]) for record in experiments.list_all(self.services)}

    def get_run(self, run_id: str) -> Run:
        """The run of that name. Raises NotFoundError."""
        self.services.runs.get(run_id)
        return Run(self.services, run_id)

    def submit(self, config: ScriptRunConfig | Job) -> Run:
        """Submit what names its experiment itself, or belongs to the attached folder's, else to one named for the folder."""
        spec = config.job()
        attached = self.services.attached
        if experiment_of(spec) is None and attached is not None and attached.experiment is not None:
            spec = in_experiment(spec, attached.experiment)
        return _submitted(self.services, spec, config.made_compute)


class Experiment:
    """A name under which runs are grouped; it is there with its first run."""

    def __init__(self, workspace: Workspace, name: str) -> None:
        if not name:
            raise UsageError("an experiment needs a name")
        self.workspace = workspace
        self.name = name

    def __repr__(self) -> str:
        return f"Experiment({self.name!r})"

    def submit(self, config: ScriptRunConfig | Job, tags: dict[str, str] | None = None) -> Run:
        """Submit a script, an estimator or a job file's job, in this experiment. Answers as soon as it is on its way.

        Raises InvalidSpecError, and UnsupportedError for what the compute cannot do; there is no run then.
        """
        run = _submitted(self.workspace.services, in_experiment(config.job(), self.name), config.made_compute)
        for key, value in (tags or {}).items():
            run.tag(key, value)
        return run

    def get_runs(self) -> list[Run]:
        """Its runs, the newest first."""
        from mlcli.domain.run import RunFilter
        from mlcli.operations import observe

        services = self.workspace.services
        found = observe.list_runs(services, RunFilter(experiment_name=self.name, without_parent=True))
        return [Run(services, run.name) for run in found]

    def archive(self) -> None:
        """Hide it from lists; its runs stay."""
        from mlcli.operations import experiments

        experiments.archive(self.workspace.services, self.name, archived=True)


def _submitted(services: Services, spec: CommandJob | SweepJob, made: MadeCompute | None) -> Run:
    from mlcli.domain.sweep import SweepJob
    from mlcli.operations import made_computes, registry_password
    from mlcli.operations.plan import plan
    from mlcli.operations.submit import submit
    from mlcli.operations.sweep_submit import plan_sweep, submit_sweep

    if isinstance(spec, SweepJob):
        sweep = registry_password.set_apart_in_sweep(spec)
        begun = submit_sweep(services, sweep, plan_sweep(services, sweep))
    else:
        with made_computes.made_for(services, made, registry_password.set_apart(spec), _tell) as job:
            planned = plan(services, job)
            registry_password.forget_on_host(planned)
            begun = submit(services, job, planned)
    return Run(services, begun.name)


def _tell(notice: str) -> None:
    sys.stderr.write(f"{notice}\n")
