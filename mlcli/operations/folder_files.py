"""What is written into a folder when it is attached, in words of our own. The keys are those of Azure ML's run configurations."""

from __future__ import annotations

import sys

_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
IGNORED = """\
# What is left out of the snapshots that runs are made from. The rules are those of .gitignore, and this file replaces it.
.azureml
aml_config
.git
.ipynb_checkpoints
__pycache__
outputs
azureml-logs
azureml-setup
"""
CONDA_FILE = "conda_dependencies.yml"
_CONDA = """\
# The packages that runs need, as conda knows them. An environment is made of this file once, and found again until it changes.
# Runs whose python.userManagedDependencies is true take a Python that is there, and do not read it.
name: project_environment
channels:
- conda-forge
dependencies:
- python={python}
- pip
# What pip installs, such as mlflow for a script that logs metrics with it:
# - pip:
#   - mlflow-skinny
"""
IMAGE = f"python:{_PYTHON}-slim"
_TEMPLATE = """\
# A run configuration: how a script is run on {where}.
#   mlcli run submit-script -c {name} train.py --rate 0.1

# The script, from the source directory, and what it gets on its command line. What is typed after the command replaces both.
script:
arguments: []
# The compute: local, or one that `mlcli compute list` shows.
target: {target}
framework: {framework}
# Who tells the processes of a distributed run about each other: None, Mpi, ParameterServer, Gloo, Nccl.
communicator: None
nodeCount: 1
# Seconds after which the run is ended; empty: never.
maxRunDurationSeconds:
environment:
  python:
    # true: the Python of interpreterPath, as it is. false: an environment made of the conda file.
    userManagedDependencies: false
    interpreterPath: python
    condaDependenciesFile: {settings}/conda_dependencies.yml
  environmentVariables:
    EXAMPLE_ENV_VAR: EXAMPLE_VALUE
  docker:
    # true: the run is in a container of the image.
    enabled: {docker}
    baseImage: {image}
    baseDockerfile:
    shmSize: 2g
    arguments: []
    baseImageRegistry:
      address:
      username:
      password:
  spark:
    repositories: []
    packages: []
    precachePackages: true
history:
  outputCollection: true
  snapshotProject: true
  directoriesToWatch:
  - logs
spark:
  configuration:
    spark.app.name: Azure ML Experiment
    spark.yarn.maxAppAttempts: 1
hdi:
  yarnDeployMode: cluster
tensorflow:
  workerCount: 1
  parameterServerCount: 1
mpi:
  processCountPerNode: 1
pytorch:
  communicationBackend: nccl
  processCount:
# Folders of datastores. An argument $AZUREML_DATAREFERENCE_NAME is the place of the one called NAME.
dataReferences: {{}}
data: {{}}
# For the target amlcompute: a compute that is made for the run, and removed after it.
amlCompute:
  name:
  vmSize:
  vmPriority:
  retainCluster: false
  clusterMaxNodeCount: 1
"""


PYTHON_ALONE = {"dependencies": [f"python={_PYTHON}"]}


def conda_dependencies() -> str:
    """The text of the conda file: the Python that mlcli itself runs on, and no more."""
    return _CONDA.format(python=_PYTHON)


def run_configuration(name: str, target: str, settings: str, *, docker: bool = False, spark: bool = False) -> str:
    """The text of one. ``settings``: the name of the folder that it lies in."""
    where = "this machine" if target == "local" else f"the compute {target}"
    return _TEMPLATE.format(
        name=name,
        where=f"{where}, in a container" if docker else where,
        target=target,
        framework="PySpark" if spark else "Python",
        settings=settings,
        docker="true" if docker else "false",
        image=IMAGE,
    )
