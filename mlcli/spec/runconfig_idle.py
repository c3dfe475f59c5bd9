"""What a run configuration says that has no effect here: each such value, and why. The values that Azure ML's own tools write
into every file are not worth a word. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from mlcli.domain.errors import Diagnostic, Severity

if TYPE_CHECKING:
    from mlcli.spec.load import Document, Path_

_ANY = "*"
_NOTHING: tuple[Any, ...] = (None, [], {}, "", False)
_YES: tuple[Any, ...] = (None, True, "true")
_ONE: tuple[Any, ...] = (None, 0, 1)
_CALM: tuple[Any, ...] = (None, [], {}, "")

_KEPT = "outputs, logs and metrics of a run are always kept"
_MADE = "an environment that is not there is made"
_SPARK = "it is for the framework PySpark"
_OF_AZURE = "only Azure has it"
_SHARED = "files are shared with the container in any case"
_PLACE = "data is where it is: the script gets its path"
_REPLACED = "what a run writes there replaces what is there"
_REGISTERED = "data is registered by its name"

_DOCKER: Mapping[Path_, tuple[tuple[Any, ...], str]] = {
    ("sharedVolumes",): (_YES, _SHARED),
    ("preparation", "commandLine"): (_CALM, "nothing is run in the image beforehand; make an image with a Dockerfile"),
    ("platform", "os"): ((None, "Linux", "linux"), "containers here run Linux"),
    ("platform", "architecture"): ((None, "amd64"), "containers run on the architecture of the machine"),
    ("baseImageRegistry", "registryIdentity"): (_CALM, _OF_AZURE),
    ("buildContext", "locationType"): ((None, "localPath", "localpath"), "the folder of a build is a local one"),
}
_KEYS: Mapping[Path_, tuple[tuple[Any, ...], str]] = {
    ("priority",): (_CALM, "of the runs that wait, the first to come is the first to go"),
    ("autoPrepareEnvironment",): (_YES, _MADE),
    ("prepareEnvironment",): (_YES, _MADE),
    ("exposedPorts",): (_CALM, _OF_AZURE),
    ("sourceDirectoryDataStore",): (_CALM, "the workspace keeps the code"),
    ("history", "outputCollection"): (_YES, _KEPT),
    ("history", "snapshotProject"): (_YES, "the code of a run is always kept"),
    ("history", "directoriesToWatch"): (
        (None, [], ["logs"], ["outputs"], ["logs", "outputs"], ["outputs", "logs"]),
        "every file that a run writes below its working folder stays with it, outputs and logs are downloaded",
    ),
    ("spark", "configuration"): (
        (None, {}, {"spark.app.name": "Azure ML Experiment", "spark.yarn.maxAppAttempts": 1}),
        _SPARK,
    ),
    ("hdi", "yarnDeployMode"): ((None, "cluster", "Cluster", "none", "None"), _SPARK),
    ("environment", "spark", "repositories"): (_CALM, _SPARK),
    ("environment", "spark", "packages"): (_CALM, _SPARK),
    ("environment", "spark", "precachePackages"): (_YES, _SPARK),
    ("environment", "databricks", _ANY): (_CALM, "it is for Databricks"),
    ("environment", "r"): (_CALM, "a script is run by Python"),
    ("environment", "inferencingStackVersion"): (_CALM, "it is for models that are served"),
    ("environment", "assetId"): (_CALM, _OF_AZURE),
    ("environment", "python", "baseCondaEnvironment"): (_CALM, "an environment is made of its own packages alone"),
    ("paralleltask", "maxRetriesPerWorker"): (_ONE, _OF_AZURE),
    ("paralleltask", "workerCountPerNode"): (_ONE, _OF_AZURE),
    ("paralleltask", "terminalExitCodes"): (_CALM, _OF_AZURE),
    ("datacaches",): (_CALM, _OF_AZURE),
    ("batchAi", "nodeCount"): (_ONE, "Batch AI is no more"),
    ("containerInstance", _ANY): (_CALM, _OF_AZURE),
    ("kubernetescompute", "instanceType"): (_CALM, _OF_AZURE),
    ("autoClusterComputeSpecification",): (_CALM, _OF_AZURE),
    ("credentialPassthrough",): ((None, False, "false"), "a run has the rights of whoever submits it"),
    ("applicationEndpoints",): (_CALM, _OF_AZURE),
    ("services",): (_CALM, _OF_AZURE),
    ("identity",): (_CALM, "a run has the rights of whoever submits it"),
    ("dataReferences", _ANY, "pathOnCompute"): (_CALM, _PLACE),
    ("dataReferences", _ANY, "overwrite"): (_NOTHING, _REPLACED),
    ("data", _ANY, "pathOnCompute"): (_CALM, _PLACE),
    ("data", _ANY, "environmentVariableName"): (_CALM, "the variable is AZUREML_DATAREFERENCE_ and the data's name"),
    ("data", _ANY, "overwrite"): (_NOTHING, _REPLACED),
    ("data", _ANY, "createOutputDirectories"): (_NOTHING, _PLACE),
    ("data", _ANY, "options"): (_CALM, _OF_AZURE),
    ("data", _ANY, "dataLocation", "dataset", "id"): (_CALM, "data is found by its name"),
    ("data", _ANY, "dataLocation", "type"): (_CALM, "what is named says it"),
    ("outputData", _ANY, "environmentVariableName"): (_CALM, "the variable is AZURE_ML_OUTPUT_ and the output's name"),
    ("outputData", _ANY, "outputLocation", "dataset"): (_CALM, _REGISTERED),
    ("outputData", _ANY, "outputLocation", "uri"): (_CALM, "an output goes to a datastore, or stays with the run"),
    ("outputData", _ANY, "outputLocation", "type"): (_CALM, "what is named says it"),
    ("outputData", _ANY, "additionalOptions", "pathOnCompute"): (_CALM, _PLACE),
    ("outputData", _ANY, "additionalOptions", "uploadOptions"): (_CALM, _REPLACED),
    ("outputData", _ANY, "additionalOptions", "mountOptions"): (_CALM, _PLACE),
    **{
        ("outputData", _ANY, "additionalOptions", "registrationOptions", key): (_CALM, _REGISTERED)
        for key in ("description", "tags", "properties", "datasetRegistrationOptions")
    },
    **{("environment", "docker", *path): rule for path, rule in _DOCKER.items()},
    **{("docker", *path): rule for path, rule in _DOCKER.items()},
    **{(key, "location"): (_CALM, _OF_AZURE) for key in ("amlCompute", "amlcompute")},
}
_COUNTS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "mpi": ("the communicator Mpi", ("processCountPerNode",)),
    "tensorflow": ("the communicator ParameterServer", ("workerCount", "parameterServerCount")),
    "pytorch": ("the communicators Gloo and Nccl", ("processCount",)),
}
_MADE_FOR_THE_RUN = ("amlCompute", "amlcompute")


def idle_keys(document: Document, distribution: str | None) -> Iterator[Diagnostic]:
    """A warning for each value without effect, in file order. ``distribution``: the type of the run's, None without one."""
    found = [*_always_idle(document), *_idle_in_this_run(document, distribution)]
    yield from sorted(found, key=lambda one: one.place)


def _always_idle(document: Document) -> Iterator[Diagnostic]:
    for pattern, (calm, why) in _KEYS.items():
        for path, value in _values(document.tree, pattern):
            if value not in calm:
                yield _idle(document, path, why)


def _idle_in_this_run(document: Document, distribution: str | None) -> Iterator[Diagnostic]:
    for section, (communicator, keys) in _COUNTS.items():
        entry = document.tree.get(section) or {}
        for key in keys:
            if section != distribution and entry.get(key) not in _ONE:
                yield _idle(document, (section, key), f"it is for {communicator}")
        if entry.get("nodeCount") not in _ONE:
            yield _idle(document, (section, "nodeCount"), "nodeCount at the top counts")
    if (document.tree.get("pytorch") or {}).get("communicationBackend") not in (None, "", "nccl"):
        yield _idle(document, ("pytorch", "communicationBackend"), "the script chooses it itself")
    if str(document.tree.get("target")).lower() != "amlcompute":
        for section in _MADE_FOR_THE_RUN:
            for key, value in (document.tree.get(section) or {}).items():
                calm = _ONE if key == "clusterMaxNodeCount" else (*_NOTHING, "dedicated")
                if value not in calm and key != "location":
                    yield _idle(
                        document, (section, key), "a compute is made for the run only when target is amlcompute"
                    )


def _idle(document: Document, path: Path_, why: str) -> Diagnostic:
    message = f"'{path[-1]}' has no effect here: {why}"
    return document.diagnose(path, "without-effect", message, severity=Severity.WARNING)


def _values(tree: Any, pattern: Path_, above: Path_ = ()) -> Iterator[tuple[Path_, Any]]:
    """The values at the paths that a pattern stands for; ``*``: every key."""
    if not pattern:
        yield above, tree
        return
    step, *rest = pattern
    for key in tree if isinstance(tree, Mapping) else ():
        if step in (_ANY, key):
            yield from _values(tree[key], tuple(rest), (*above, key))
