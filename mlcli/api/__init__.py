"""The Python interface: workspaces, experiments, runs, in the words of Azure ML's first SDK, on the operations of the commands.

``from mlcli import Workspace, Experiment, ScriptRunConfig, Environment, ComputeTarget, Estimator, load_job``. What a person can
have done wrong raises :class:`mlcli.domain.errors.MlcliError`.
"""

from __future__ import annotations

from mlcli.api.environments import DockerSection, Environment, PythonSection
from mlcli.api.jobs import Estimator, Job, RunConfiguration, ScriptRunConfig, load_job
from mlcli.api.runs import Details, Run
from mlcli.api.workspaces import ComputeTarget, Experiment, Workspace

__all__ = [
    "ComputeTarget",
    "Details",
    "DockerSection",
    "Environment",
    "Estimator",
    "Experiment",
    "Job",
    "PythonSection",
    "Run",
    "RunConfiguration",
    "ScriptRunConfig",
    "Workspace",
    "load_job",
]
