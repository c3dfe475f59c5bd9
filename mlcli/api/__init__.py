"""The Python interface: workspaces, experiments, runs, in the words of Azure ML's first SDK, on the operations of the commands.

``from mlcli import Workspace, Experiment, ScriptRunConfig, Environment, ComputeTarget, Estimator, load_job``. What a person can
have done wrong raises :class:`mlcli.domain.errors.MlcliError`.
"""

from __future__ import annotations

from mlcli.api.computes import AmlCompute, ComputeTarget, ComputeTargetException, RemoteCompute
from mlcli.api.data import DataReference, Datastore
from mlcli.api.environments import CondaDependencies, DockerSection, Environment, PythonSection
from mlcli.api.jobs import (
    Estimator,
    Job,
    MpiConfiguration,
    PyTorchConfiguration,
    RunConfiguration,
    ScriptRunConfig,
    TensorflowConfiguration,
    load_job,
)
from mlcli.api.runs import Details, Run
from mlcli.api.workspaces import Experiment, Workspace

__all__ = [
    "AmlCompute",
    "ComputeTarget",
    "ComputeTargetException",
    "CondaDependencies",
    "DataReference",
    "Datastore",
    "Details",
    "DockerSection",
    "Environment",
    "Estimator",
    "Experiment",
    "Job",
    "MpiConfiguration",
    "PyTorchConfiguration",
    "PythonSection",
    "RemoteCompute",
    "Run",
    "RunConfiguration",
    "ScriptRunConfig",
    "TensorflowConfiguration",
    "Workspace",
    "load_job",
]
