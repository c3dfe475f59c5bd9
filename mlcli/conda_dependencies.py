"""Where the first SDK has the packages of an environment: ``azureml.core.conda_dependencies``."""

from mlcli.api.environments import CondaDependencies

__all__ = ["CondaDependencies"]
