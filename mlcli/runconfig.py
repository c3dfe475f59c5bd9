"""How scripts are run, where the first SDK has it: ``azureml.core.runconfig``."""

from mlcli.api.jobs import MpiConfiguration, PyTorchConfiguration, RunConfiguration, TensorflowConfiguration
from mlcli.operations.folder_files import IMAGE as DEFAULT_CPU_IMAGE

__all__ = [
    "DEFAULT_CPU_IMAGE",
    "MpiConfiguration",
    "PyTorchConfiguration",
    "RunConfiguration",
    "TensorflowConfiguration",
]
