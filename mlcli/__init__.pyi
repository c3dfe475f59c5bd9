from mlcli.api import ComputeTarget as ComputeTarget
from mlcli.api import Environment as Environment
from mlcli.api import Estimator as Estimator
from mlcli.api import Experiment as Experiment
from mlcli.api import Run as Run
from mlcli.api import RunConfiguration as RunConfiguration
from mlcli.api import ScriptRunConfig as ScriptRunConfig
from mlcli.api import Workspace as Workspace
from mlcli.api import load_job as load_job

__version__: str
