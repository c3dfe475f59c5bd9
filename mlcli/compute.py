"""The computes of ``mlcli``, where the first SDK has them: ``azureml.core.compute``."""

from mlcli.api.computes import AmlCompute, ComputeTarget, ComputeTargetException, RemoteCompute

__all__ = ["AmlCompute", "ComputeTarget", "ComputeTargetException", "RemoteCompute"]


def __getattr__(name: str) -> object:
    import mlcli

    return getattr(mlcli, name)  # says of a name that is not here what to do
