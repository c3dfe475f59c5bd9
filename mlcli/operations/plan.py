"""From a job to its plan: everything decided, nothing sent."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeGuard
from urllib.parse import unquote, urlsplit

from mlcli import docker_engine
from mlcli.domain.errors import MlcliError, NotFoundError, SnapshotError, TransportError, UnsupportedError
from mlcli.domain.job import CommandJob, DataInput, LiteralInput, Output
from mlcli.domain.nodes import NodePlan, node_of, priority_of
from mlcli.domain.plan import CodePlan, ContainerPlan, EnvironmentPlan, InputPlan, OutputPlan, Plan
from mlcli.domain.redaction import masked
from mlcli.operations import layout, names
from mlcli.operations.containers import Choice, choose
from mlcli.operations.machine import this_machine
from mlcli.ports.services import Services
from mlcli.spec.interpolate import interpolate, literal_text

DEFAULT_COMPUTE = "local"
_WRITABLE = frozenset({"rw_mount"})
_REFERENCES = ("azureml:", "runs:/", "models:/")


def plan(
    services: Services,
    job: CommandJob,
    *,
    in_container: bool | None = None,
    keep_container: bool = False,
    filled: bool = True,
) -> Plan:
    """Resolve name, compute, environment, code, data and command.

    ``in_container``: what the person said, None to have it chosen. What keeps the job from being submitted is collected
    in ``refusals``, so that a dry run shows everything at once. ``filled`` false leaves the command's references as they are.
    """
    refusals: list[str] = []
    notices: list[str] = []
    run = job.name or names.generate()
    compute = job.compute or DEFAULT_COMPUTE
    job = _with_environment(services, job, refusals, notices)
    job, assets = _with_data(services, job, refusals, notices)
    job = _with_places(services, run, job, refusals)
    place = _place(services, compute, refusals)
    choice = _choice(services, job, place, in_container, refusals)
    if choice.notice:
        notices.append(choice.notice)
    name = services.backend_of_compute(place, container=choice.container)
    backend = services.backend(name)
    folder = Path(backend.run_folder(run, services.runs.folder(run)))
    if choice.container and keep_container:
        there = f" on {compute}" if backend.may_be_away else ""
        notices.append(_kept(docker_engine.container_name(run, str(folder)), there))
    try:
        notices += backend.check(job)
    except UnsupportedError as refused:
        refusals.append(_refusal(refused))
    inputs = [
        replace(_input(name, given, folder, refusals), asset=assets.get(name)) for name, given in job.inputs.items()
    ]
    outputs = [_output(name, wanted, folder, notices) for name, wanted in job.outputs.items()]
    code = _code(services, job, refusals)
    if backend.is_far:
        inputs = [_sent(entry, folder, notices) for entry in inputs]
        outputs = [_brought_home(entry, folder) for entry in outputs]
        code = code and replace(code, sent=True)
    planned = Plan(
        run=run,
        experiment_name=job.experiment_name or Path.cwd().name or "Default",
        compute=compute,
        backend=name,
        run_folder=str(folder),
        working_directory=str(folder / layout.WORKING_DIRECTORY),
        command=_command(job, inputs, outputs) if filled else job.command,
        environment=_environment(services, job, refusals, container=choice.container, backend=name),
        container=ContainerPlan(choice.reason, keep_container) if choice.container else None,
        code=code,
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        resources=job.resources,
        timeout_s=job.timeout_s,
        node=_node(services, compute, notices),
        priority=priority_of(job.document.get("queue_settings") or {}),
        notices=tuple(notices),
        refusals=tuple(refusals),
    )
    return replace(planned, environment_variables=dict(_variables(services.name, job, planned)))


def _kept(container: str, there: str) -> str:
    shell = docker_engine.shell_hint(container)
    return f"the container {container} is kept{there}; a shell in it: {shell}; remove it with: docker rm -f {container}"


def _refusal(error: MlcliError) -> str:
    """What a refusal says and what to do about it, its evidence on lines below."""
    sentence = f"{error.message}: {error.hint}" if error.hint else error.message
    return "\n".join((sentence, *(f"  {line}" for line in error.details)))


def _place(services: Services, compute: str, refusals: list[str]) -> str:
    """The compute, where it can run jobs; else this machine, for the rest of the plan."""
    try:
        services.backend_of_compute(compute)
    except (NotFoundError, UnsupportedError) as missing:
        refusals.append(_refusal(missing))
        return DEFAULT_COMPUTE
    return compute


def _choice(services: Services, job: CommandJob, compute: str, asked: bool | None, refusals: list[str]) -> Choice:
    """Whether it runs in a container; the engine that is asked is that of the compute's machine, which must be there."""
    machine = services.backend(services.backend_of_compute(compute))
    if not machine.is_far:
        return choose(services.settings, job.environment, asked=asked)
    if job.environment.wants_image:
        try:
            machine.connect()
        except TransportError as away:
            refusals.append(_refusal(away))
            return Choice(container=False)
    engine = services.backend(services.backend_of_compute(compute, container=True))
    return choose(services.settings, job.environment, asked=asked, connect=engine.connect, host=f"the host {compute}")


def _node(services: Services, name: str, notices: list[str]) -> NodePlan | None:
    """What the job gets of this machine, where it waits for a node of a compute; None where it does not."""
    if name == DEFAULT_COMPUTE:
        return None
    try:
        compute = services.computes.get(name)
    except NotFoundError:  # refused already
        return None
    if not compute.has_queue:
        return None
    if not compute.started:
        notices.append(f"compute {name} is stopped: the job waits until mlcli compute start --name {name}")
    return node_of(compute, this_machine())


def _with_environment(services: Services, job: CommandJob, refusals: list[str], notices: list[str]) -> CommandJob:
    """The job with what its environment's name stands for."""
    if job.environment.reference is None:
        return job
    from mlcli.operations.environments import resolve

    try:
        environment, more = resolve(services, job.environment)
    except MlcliError as refused:
        refusals.append(_refusal(refused))
        return job
    notices += more
    return replace(job, environment=environment)


def _with_data(
    services: Services, job: CommandJob, refusals: list[str], notices: list[str]
) -> tuple[CommandJob, Mapping[str, str]]:
    """The job with the paths and addresses that the names of its inputs stand for; and by input, what is registered so."""
    named = {name: given for name, given in job.inputs.items() if _is_named(given)}
    if not named:
        return job, {}
    from mlcli.operations.locations import locate

    inputs, assets = dict(job.inputs), {}
    for name, given in named.items():
        try:
            found = locate(services, given.path, given.type)
        except MlcliError as refused:
            refusals.append(f"input {name!r}: {_refusal(refused)}")
            continue
        inputs[name] = replace(given, path=found.path, type=found.type or given.type)
        notices += [found.notice] if found.notice else []
        assets.update({name: found.asset} if found.asset else {})
    return replace(job, inputs=inputs), assets


def _is_named(given: LiteralInput | DataInput) -> TypeGuard[DataInput]:
    return isinstance(given, DataInput) and given.path.lower().startswith(_REFERENCES)


def _with_places(services: Services, run: str, job: CommandJob, refusals: list[str]) -> CommandJob:
    """The job with the folders that the outputs stand for which do not stay with the run."""
    elsewhere = {
        name: wanted
        for name, wanted in job.outputs.items()
        if wanted.name or (wanted.path and wanted.path.lower().startswith(_REFERENCES))
    }
    if not elsewhere:
        return job
    from mlcli.operations.locations import output_place
    from mlcli.operations.registration import check_free

    outputs = dict(job.outputs)
    for name, wanted in elsewhere.items():
        try:
            place = output_place(services, run, name, wanted)
            check_free(services, wanted)
        except MlcliError as refused:
            refusals.append(f"output {name!r}: {_refusal(refused)}")
            continue
        outputs[name] = replace(wanted, path=str(place) if place else wanted.path)
    return replace(job, outputs=outputs)


def _environment(
    services: Services, job: CommandJob, refusals: list[str], *, container: bool, backend: str
) -> EnvironmentPlan:
    if job.environment.reference is not None:  # refused already
        return EnvironmentPlan("none", job.environment, None, cached=False, description=job.environment.reference)
    try:
        builder = services.environment_builder(job.environment, container=container, backend=backend)
        return builder.plan(job.environment)
    except MlcliError as refused:
        refusals.append(_refusal(refused))
        return EnvironmentPlan("none", job.environment, None, cached=False, description=refused.message)


def _code(services: Services, job: CommandJob, refusals: list[str]) -> CodePlan | None:
    if job.code is None:
        return None
    if not Path(job.code).is_absolute():
        refusals.append(f"the code {job.code!r} is not a folder on this machine: give the path of a local folder")
        return None
    try:
        summary = services.snapshots.scan(Path(job.code))
    except SnapshotError as refused:
        refusals.append(_refusal(refused))
        return None
    return CodePlan(job.code, summary.files, summary.size)


def _input(name: str, given: LiteralInput | DataInput, folder: Path, refusals: list[str]) -> InputPlan:
    if isinstance(given, LiteralInput):
        text = literal_text(given.value, given.written)
        return InputPlan(name, "literal", "value", text, text)
    place = folder / layout.INPUTS / name
    copied = given.mode in {"download", "eval_download"}
    if urlsplit(given.path).scheme in {"http", "https"}:
        target = place / _file_name(given.path)
        return InputPlan(name, "http", "fetch", given.path, str(target), given.mode, given.type)
    if Path(given.path).is_absolute():
        if not os.path.lexists(given.path):
            refusals.append(f"input {name!r}: there is no file or folder {given.path}")
        if copied:
            target = place / Path(given.path).name
            return InputPlan(name, "local", "copy", given.path, str(target), given.mode, given.type)
        return InputPlan(name, "local", "path", given.path, given.path, given.mode, given.type)
    if not _is_named(given):  # else refused already
        refusals.append(
            f"input {name!r}: {_without_secret(given.path)} cannot be reached from this machine: "
            f"give a local path or an http(s) address (--set inputs.{name}.path=...)"
        )
    return InputPlan(name, "remote", "none", given.path, str(place), given.mode, given.type)


def _sent(entry: InputPlan, folder: Path, notices: list[str]) -> InputPlan:
    """An input of a job on another machine: what has to be got there is sent there."""
    if entry.action not in {"path", "copy", "fetch"}:
        return entry
    if entry.mode in _WRITABLE:
        what = f"input {entry.name!r} has the mode {entry.mode}"
        notices.append(f"{what}: the job writes to a copy on its own machine, which is not brought back")
    name = Path(entry.value).name or "root"
    return replace(entry, action="upload", value=str(folder / layout.INPUTS / entry.name / name))


def _brought_home(output: OutputPlan, folder: Path) -> OutputPlan:
    """An output of a job on another machine: written in the run folder there, fetched if it has a place here."""
    if Path(output.value).is_relative_to(folder):
        return output
    place = folder / layout.NAMED_OUTPUTS / output.name
    value = place / output.name if output.type == "uri_file" else place
    return replace(output, value=str(value), home=output.value)


def _file_name(url: str) -> str:
    last = unquote(urlsplit(url).path).rstrip("/").rpartition("/")[2]
    return "".join(letter if letter.isprintable() and letter != "/" else "_" for letter in last).strip(". ") or "data"


def _without_secret(path: str) -> str:
    return masked(path.partition("?")[0])


def _output(name: str, wanted: Output, folder: Path, notices: list[str]) -> OutputPlan:
    place = folder / layout.NAMED_OUTPUTS / name
    if wanted.path is not None and Path(wanted.path).is_absolute():
        place = Path(wanted.path)
    else:
        if wanted.path is not None:
            notices.append(f"output {name!r} is kept with the run: {_without_secret(wanted.path)} is not a folder here")
        if wanted.type == "uri_file":
            place = place / name
    return OutputPlan(name, str(place), wanted.type, wanted.mode, wanted.name, wanted.version)


def _command(job: CommandJob, inputs: Sequence[InputPlan], outputs: Sequence[OutputPlan]) -> str:
    values = {f"inputs.{entry.name}": entry.value for entry in inputs}
    values |= {f"outputs.{entry.name}": entry.value for entry in outputs}
    return interpolate(job.command, values)


def _variables(workspace: str, job: CommandJob, planned: Plan) -> Iterator[tuple[str, str]]:
    """The variables that Azure ML sets for a job (SDK docstrings and core source), then the job's own, which win."""
    scope = f"/workspaces/{workspace}"
    yield "AZUREML_RUN_ID", planned.run
    yield "AZUREML_ROOT_RUN_ID", planned.run
    yield "AZUREML_EXPERIMENT_ID", planned.experiment_name
    yield "AZUREML_EXPERIMENT_SCOPE", f"{scope}/experiments/{planned.experiment_name}"
    yield "AZUREML_WORKSPACE_ID", workspace
    yield "AZUREML_WORKSPACE_SCOPE", scope
    yield "AZUREML_ARM_WORKSPACE_NAME", workspace
    yield "AZUREML_ARM_PROJECT_NAME", planned.experiment_name
    yield "AZUREML_CR_NODE_RANK", "0"
    yield "AZUREML_PROCESS_NAME", "rank_0"
    yield "AZUREML_CR_EXECUTION_WORKING_DIR_PATH", planned.working_directory
    yield "AZUREML_CR_DATA_CAPABILITY_PATH", f"{planned.run_folder}/{layout.INPUTS}"
    yield "AZUREML_COMPUTE_USE_COMMON_RUNTIME", "true"
    yield "AZ_BATCH_HOST_LIST", "127.0.0.1"
    for given in planned.inputs:
        literal = given.kind == "literal"
        yield f"AZUREML_PARAMETER_{given.name}" if literal else f"AZUREML_DATAREFERENCE_{given.name}", given.value
        yield f"AZURE_ML_INPUT_{given.name}", given.value
    for written in planned.outputs:
        yield f"AZUREML_DATAREFERENCE_{written.name}", written.value
        yield f"AZURE_ML_OUTPUT_{written.name}", written.value
    yield from job.environment.environment_variables.items()
    yield from job.environment_variables.items()
