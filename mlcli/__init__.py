"""mlcli: one job file, any compute.

The rooms of this house, from the ground up (docs/architecture.md has the whole plan):

1. ``domain``      frozen values: Job, Run, State, Plan, errors. No I/O.
2. ``ports``       the abstract base class of every room above; ``spec`` turns YAML into a Job; ``registry`` names the
                   implementations; ``agent`` is the in-job side, standard library only.
3. ``operations``  what can be asked for; ``backends``, ``transports``, ``schedulers``, ``environments``, ``stores``:
                   one implementation a file.
4. ``workspace``   the one composition root.
5. ``cli``         one file per noun that a person types; ``api``: the same for Python; ``supervisor`` carries a submitted job.

``from mlcli import Workspace, Experiment, ScriptRunConfig, Environment, ComputeTarget, Estimator, load_job`` is ``api``, imported when
it is asked for: the command line must not wait for it. ``__init__.pyi`` tells type checkers.
"""

from __future__ import annotations

__version__ = "0.1.0"
VERSION = __version__

_OF_THE_API = (
    "AmlCompute",
    "ComputeTarget",
    "ComputeTargetException",
    "CondaDependencies",
    "Datastore",
    "Environment",
    "Estimator",
    "Experiment",
    "MpiConfiguration",
    "PyTorchConfiguration",
    "RemoteCompute",
    "Run",
    "RunConfiguration",
    "ScriptRunConfig",
    "TensorflowConfiguration",
    "Workspace",
    "load_job",
)
_IN_ITS_PLACE = {
    "Dataset": "register data with `mlcli data create`, and name it in a job file's inputs, or use Datastore",
    "HyperDriveConfig": "describe the search in a sweep's job file and submit load_job('sweep.yml'), or use `mlcli run submit-hyperdrive`",
    "Model": "register models with `mlcli model create`",
    "Pipeline": "pipelines do not run yet; submit each step",
    "HDInsightCompute": "HDInsight clusters are of Azure alone",
    "BatchCompute": "Azure Batch is of Azure alone",
}
"""Names of the first SDK that are not here -> what to do."""


def __getattr__(name: str) -> object:
    if name in _IN_ITS_PLACE:
        raise ImportError(f"mlcli has no {name}: {_IN_ITS_PLACE[name]}")
    if name not in _OF_THE_API:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module("mlcli.api"), name)


def __dir__() -> list[str]:
    return [*globals(), *_OF_THE_API]
