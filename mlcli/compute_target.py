"""Where the first SDK has the exception of computes: ``azureml.core.compute_target``."""

from mlcli.api.computes import ComputeTarget, ComputeTargetException

__all__ = ["ComputeTarget", "ComputeTargetException"]
