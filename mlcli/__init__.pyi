from mlcli.api import AmlCompute as AmlCompute
from mlcli.api import ComputeTarget as ComputeTarget
from mlcli.api import ComputeTargetException as ComputeTargetException
from mlcli.api import CondaDependencies as CondaDependencies
from mlcli.api import Datastore as Datastore
from mlcli.api import Environment as Environment
from mlcli.api import Estimator as Estimator
from mlcli.api import Experiment as Experiment
from mlcli.api import MpiConfiguration as MpiConfiguration
from mlcli.api import PyTorchConfiguration as PyTorchConfiguration
from mlcli.api import RemoteCompute as RemoteCompute
from mlcli.api import Run as Run
from mlcli.api import RunConfiguration as RunConfiguration
from mlcli.api import ScriptRunConfig as ScriptRunConfig
from mlcli.api import TensorflowConfiguration as TensorflowConfiguration
from mlcli.api import Workspace as Workspace
from mlcli.api import load_job as load_job

VERSION: str
__version__: str
