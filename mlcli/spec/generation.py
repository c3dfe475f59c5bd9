"""Which grammar a file is written in, and what kind of file it is: recognised from its shape, never asked for.

The generations and what tells them apart are the ones of Azure ML's command line: mid 2021 (``G1``), late 2021
(``G2``), and from April 2022 on (``G3``). Each key that only some of them know is evidence; the generation with the most
wins, the newest of equals. A file without any evidence is one of today.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mlcli.domain.job import Generation
from mlcli.spec.compose import Path_

__all__ = [
    "JOB_TYPES",
    "Evidence",
    "Kind",
    "asset_kind",
    "compute_kind",
    "environment_kind",
    "may_be_ours",
    "recognise",
]

G1, G2, G3 = Generation.G1, Generation.G2, Generation.G3
_OLD = frozenset({G1, G2})
_NEW = frozenset({G2, G3})
_ONLY_1, _ONLY_2, _ONLY_3 = frozenset({G1}), frozenset({G2}), frozenset({G3})

JOB_TYPES: Mapping[Generation, tuple[str, ...]] = {
    G1: ("command", "sweep"),
    G2: ("command", "sweep", "pipeline"),
    G3: ("command", "sweep", "pipeline", "automl", "spark", "import", "finetuning"),
}
_FOLDER = {G1: "2021-06/", G2: "2021-11/", G3: ""}
_G1_REFERENCE = re.compile(r"(?<![${])\{(?:inputs|search_space)\.")
_TOP_LEVEL = {
    "algorithm": _ONLY_1,
    "max_total_trials": _ONLY_1,
    "max_concurrent_trials": _ONLY_1,
    "timeout_minutes": _ONLY_1,
    "interaction_endpoints": _ONLY_1,
    "timeout": _ONLY_1,
    "sampling_algorithm": _NEW,
    "limits": _NEW,
    "display_name": _NEW,
    "outputs": _NEW,
    "resources": _NEW,
    "services": _NEW,
    "settings": _NEW,
    "jobs": _NEW,
    "queue_settings": _ONLY_3,
}
_INPUT_KEYS = {"data": _OLD, "file": _ONLY_2, "folder": _ONLY_2, "dataset": _ONLY_2, "path": _ONLY_3, "type": _ONLY_3}


@dataclass(frozen=True)
class Evidence:
    """A value that only these generations write so."""

    path: Path_
    generations: frozenset[Generation]


@dataclass(frozen=True)
class Kind:
    """What a file is. ``type``: the job's type (``command``, ``sweep``, ``pipeline``, ...) or that of the asset;
    ``noun``: ``job``, ``component``, ``environment``, ``data``, ``model``, ``compute``, ``datastore``, ``schedule``,
    ``workspace``, ``flow`` or ``runconfig``; ``schema``: its schema's name, None when mlcli has none for it; ``foreign``: what
    stands in the file in the form of another generation.
    """

    generation: Generation
    type: str
    schema: str | None
    noun: str = "job"
    foreign: tuple[Evidence, ...] = ()


def may_be_ours(tree: Any) -> bool:
    """Whether a YAML file that was found, not named, can be meant for mlcli: conda environments, workflows of a CI service
    and the like stand beside job files.
    """
    if not isinstance(tree, dict):
        return False
    written = tree.get("type")
    known_type = isinstance(written, str) and written.lower().removesuffix("_job") in JOB_TYPES[G3]
    return known_type or bool(_SIGNS & set(tree))


_SIGNS = frozenset({"$schema", "command", "trial", "search_space", "environment", "compute"})


def recognise(tree: Mapping[str, Any]) -> Kind:
    """What kind of file ``tree`` (a loaded document's mapping) is."""
    noun = _noun(tree)
    if noun == "runconfig":
        return Kind(Generation.RUNCONFIG, "runconfig", "v1/runConfiguration", noun)
    if noun != "job":
        return _asset_kind(tree, noun)
    evidence = tuple(_evidence(tree))
    generation = _most(evidence)
    name = _job_type(tree)
    if name not in JOB_TYPES[generation] and name in JOB_TYPES[G3]:
        generation = G2 if name in JOB_TYPES[G2] else G3
    schema = f"{_FOLDER[generation]}{name}Job" if name in JOB_TYPES[generation] else None
    foreign = tuple(found for found in evidence if generation not in found.generations)
    return Kind(generation, name, schema, "job", foreign)


def _most(evidence: tuple[Evidence, ...]) -> Generation:
    score = {generation: sum(generation in found.generations for found in evidence) for generation in (G3, G2, G1)}
    return max(score, key=lambda generation: score[generation])


def _job_type(tree: Mapping[str, Any]) -> str:
    written = tree.get("type")
    if not isinstance(written, str):
        return "sweep" if "trial" in tree else "pipeline" if "jobs" in tree else "command"
    return written.strip().lower().removesuffix("_job")


def _evidence(tree: Mapping[str, Any]) -> Iterator[Evidence]:
    if isinstance(tree.get("type"), str) and tree["type"].endswith("_job"):
        yield Evidence(("type",), _ONLY_1)
    for key, generations in _TOP_LEVEL.items():
        if key in tree:
            yield Evidence((key,), generations)
    yield from _body(tree, ())
    trial, jobs, policy, settings = (tree.get(key) for key in ("trial", "jobs", "early_termination", "settings"))
    if isinstance(trial, dict):
        yield from _body(trial, ("trial",))
    if isinstance(policy, dict):
        yield from _present(policy, ("early_termination",), {"policy_type": _ONLY_1, "type": _NEW})
    if isinstance(settings, dict):
        keys = {"environment": _ONLY_2, "datastore": _ONLY_2, "default_compute": _ONLY_3, "default_datastore": _ONLY_3}
        yield from _present(settings, ("settings",), keys)
    if isinstance(jobs, dict):
        for name, node in jobs.items():
            if isinstance(node, dict):
                yield from _node(node, ("jobs", name))


def _body(body: Mapping[str, Any], path: Path_) -> Iterator[Evidence]:
    """What a command's own keys tell, at the top, in a trial or in a pipeline's step."""
    compute, code, environment = body.get("compute"), body.get("code"), body.get("environment")
    if isinstance(compute, (dict, str)):
        yield Evidence((*path, "compute"), _ONLY_1 if isinstance(compute, dict) else _NEW)
    if isinstance(code, dict):
        yield Evidence((*path, "code"), _OLD)
    elif isinstance(code, str) and not code.startswith(("azureml:", "file:")):
        yield Evidence((*path, "code"), _ONLY_3)
    if isinstance(environment, dict):
        yield from _environment(environment, (*path, "environment"))
    if isinstance(body.get("distribution"), dict) and "process_count" in body["distribution"]:
        yield Evidence((*path, "distribution", "process_count"), _ONLY_1)
    yield from _command(body.get("command"), (*path, "command"))
    yield from _inputs(body.get("inputs"), (*path, "inputs"))


def _environment(environment: Mapping[str, Any], path: Path_) -> Iterator[Evidence]:
    yield from _present(environment, path, {"docker": _ONLY_1, "image": _NEW})
    conda = environment.get("conda_file")
    if isinstance(conda, str) and conda.startswith("file:"):
        yield Evidence((*path, "conda_file"), _OLD)
    if isinstance(environment.get("build"), dict):
        known = {"local_path": _ONLY_2, "context_uri": _ONLY_2, "path": _ONLY_3}
        yield from _present(environment["build"], (*path, "build"), known)


def _command(command: Any, path: Path_) -> Iterator[Evidence]:
    if isinstance(command, str):
        if _G1_REFERENCE.search(command):
            yield Evidence(path, _ONLY_1)
        if "${{" in command:
            yield Evidence(path, _NEW)


def _inputs(inputs: Any, path: Path_) -> Iterator[Evidence]:
    for name, value in inputs.items() if isinstance(inputs, dict) else ():
        if isinstance(value, dict):
            yield from _present(value, (*path, name), _INPUT_KEYS)
            if value.get("mode") == "mount":
                yield Evidence((*path, name, "mode"), _OLD)
        elif value is not None and not isinstance(value, list):
            yield Evidence((*path, name), _NEW)


def _node(node: Mapping[str, Any], path: Path_) -> Iterator[Evidence]:
    if str(node.get("type")) in {"component", "component_job"}:
        yield Evidence((*path, "type"), _ONLY_2)
    yield from _present(node, path, {"overrides": _ONLY_2})
    yield from _body(node, path)
    for group in ("inputs", "outputs"):
        bindings = node.get(group)
        for name, value in bindings.items() if isinstance(bindings, dict) else ():
            if isinstance(value, str) and "${{" in value:
                yield Evidence((*path, group, name), _ONLY_3 if "${{parent." in value.replace(" ", "") else _ONLY_2)


def _present(body: Mapping[str, Any], path: Path_, keys: Mapping[str, frozenset[Generation]]) -> Iterator[Evidence]:
    for key, generations in keys.items():
        if key in body:
            yield Evidence((*path, key), generations)


_SCHEMA_NOUNS = {
    "component": ("commandComponent", "pipelineComponent", "parallelComponent", "sparkComponent"),
    "environment": ("environment",),
    "data": ("data", "dataset", "asset"),
    "model": ("model",),
    "compute": (
        "compute",
        "amlCompute",
        "computeInstance",
        "vmCompute",
        "virtualMachineCompute",
        "kubernetesCompute",
        "synapsesparkCompute",
    ),
    "datastore": ("datastore", "azureBlob", "azureFile", "azureDataLakeGen1", "azureDataLakeGen2"),
    "schedule": ("schedule",),
    "workspace": ("workspace",),
    "flow": ("flow",),
}
_NOUN_OF_SCHEMA = {name.lower(): noun for noun, schemas in _SCHEMA_NOUNS.items() for name in schemas}
_ASSET_EVIDENCE: Mapping[str, Mapping[str, Generation]] = {
    "component": {"compute": G2},
    "environment": {"docker": G1},
    "data": {"local_path": G2, "paths": G2, "datastore": G2},
    "model": {"local_path": G2, "model_format": G2, "model_uri": G2, "asset_path": G2},
    "compute": {"ssh_key_value": G1, "vnet_name": G1, "admin_username": G1, "priority": G1, "identity_type": G1},
}
_COMPONENTS = {G2: ("command",), G3: ("command", "pipeline", "parallel", "spark")}
_SINCE = {"component": (G2, G3), "datastore": (G3,), "schedule": (G3,)}


def _noun(tree: Mapping[str, Any]) -> str:
    line = tree.get("$schema")
    if isinstance(line, str):
        name = line.rsplit("/", 1)[-1].removesuffix(".json").removesuffix(".schema").lower()
        if name in _NOUN_OF_SCHEMA:
            return _NOUN_OF_SCHEMA[name]
    if "script" in tree and _is_runconfig(tree):
        return "runconfig"
    if "command" in tree and _is_component(tree):
        return "component"
    return "job" if _OF_A_JOB & set(tree) else _noun_by_shape(tree)


def _is_runconfig(tree: Mapping[str, Any]) -> bool:
    from mlcli.spec.runconfig_environment import is_runconfig_environment

    return bool(_OF_A_RUNCONFIG & set(tree)) or is_runconfig_environment(tree.get("environment"))


def _noun_by_shape(tree: Mapping[str, Any]) -> str:
    """What a file without a schema line is that holds nothing which runs."""
    written = tree.get("type")
    if isinstance(written, str):
        return next((noun for noun, types in _ASSET_TYPES.items() if written.strip().lower() in types), "job")
    return "environment" if _OF_AN_ENVIRONMENT & set(tree) else "job"


_OF_A_JOB = frozenset({"command", "trial", "jobs", "component", "task", "search_space", "environment"})
_OF_AN_ENVIRONMENT = frozenset({"image", "build", "conda_file"})
_ASSET_TYPES = {
    "compute": frozenset(
        "local ssh slurm docker ray amlcompute virtualmachine kubernetes computeinstance synapsespark".split()  # noqa: SIM905
    ),
    "data": frozenset({"uri_file", "uri_folder", "mltable"}),
    "model": frozenset({"custom_model", "mlflow_model", "triton_model"}),
}
_OF_A_RUNCONFIG = frozenset(
    {"framework", "communicator", "target", "history", "nodeCount", "maxRunDurationSeconds", "dataReferences"}
)
_OF_A_RUN = frozenset({"compute", "experiment_name", "services", "limits", "parent_job_name"})
_OF_A_PORT = frozenset({"default", "optional", "min", "max", "enum"})


def _is_component(tree: Mapping[str, Any]) -> bool:
    """Whether a file with a command declares what can be run, not one run: it has a version, or inputs without values."""
    if "is_deterministic" in tree:
        return True
    if _OF_A_RUN & set(tree):
        return False
    inputs = tree.get("inputs")
    ports = [port for port in inputs.values() if isinstance(port, dict)] if isinstance(inputs, dict) else []
    return "version" in tree or any(_OF_A_PORT & set(port) for port in ports)


def environment_kind(tree: Mapping[str, Any]) -> Kind:
    """The kind of a file that a job names as its environment."""
    return _asset_kind(tree, "environment")


def compute_kind(tree: Mapping[str, Any]) -> Kind:
    """The kind of a file that is named as a compute's."""
    return _asset_kind(tree, "compute")


def asset_kind(tree: Mapping[str, Any], noun: str) -> Kind:
    """The kind of a file that is named as a ``noun``'s: data, a model, a datastore, a component."""
    return _asset_kind(tree, noun)


def _asset_kind(tree: Mapping[str, Any], noun: str) -> Kind:
    written = tree.get("type")
    kind = written.strip().lower() if isinstance(written, str) else ""
    if noun in {"workspace", "flow"}:
        return Kind(G3, kind, None, noun)
    generation = _asset_generation(tree, noun)
    if noun != "component":
        return Kind(generation, kind, f"{_FOLDER[generation]}{noun}", noun)
    kind = kind.removesuffix("_component") or "command"
    known = kind in _COMPONENTS[generation]
    return Kind(generation, kind, f"{_FOLDER[generation]}{kind}Component" if known else None, noun)


def _asset_generation(tree: Mapping[str, Any], noun: str) -> Generation:
    """The newest generation that everything in the file may come from; when there is none, the oldest that it tells of."""
    known = frozenset(_SINCE.get(noun, (G1, G2, G3)))
    found = [frozenset({generation}) for key, generation in _ASSET_EVIDENCE.get(noun, {}).items() if key in tree]
    if noun in {"environment", "component"}:
        body = _environment(tree, ()) if noun == "environment" else _body({**tree, "inputs": None}, ())
        found += [evidence.generations for evidence in body]
    told = [generations & known for generations in found if generations & known]
    agreed = known.intersection(*told)
    return max(agreed, key=_age) if agreed else min(frozenset().union(*told), key=_age)


def _age(generation: Generation) -> str:
    return generation.value
