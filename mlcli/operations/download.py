"""Download: a run's files, wherever they are, into a folder of this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mlcli.domain.errors import MlcliError, NotFoundError
from mlcli.domain.plan import OutputPlan
from mlcli.domain.run import Run, RunFilter
from mlcli.operations import layout, observe
from mlcli.operations.carry import load_plan
from mlcli.ports.services import Services

# Where each part of the run folder lands in the downloaded one.
_PARTS = {
    "outputs": layout.OUTPUTS,
    "artifacts": layout.ARTIFACTS,
    "models": layout.MODELS,
    "logs": layout.LOGS,
    "user_logs": layout.USER_LOGS,
    "system_logs": layout.SYSTEM_LOGS,
}

_BEYOND = (layout.NAMED_OUTPUTS, layout.CHILDREN)


def download(
    services: Services,
    name: str,
    target: Path,
    *,
    outputs: bool = False,
    everything: bool = False,
    logs: bool = False,
    artifacts: bool = False,
    output_name: str | None = None,
    progress: Callable[[str, int], None] | None = None,
) -> list[Path]:
    """Copy into ``target/NAME/`` and answer what was written (the folders and named outputs, in order).

    Default: ``outputs/``, ``artifacts/`` and ``models/`` (of MLflow's clients), ``logs/``, ``user_logs/``, ``system_logs/``.
    ``outputs``: only ``outputs/``; ``artifacts``: only those; ``logs``: only the logs; ``output_name``: only that named output, as ``named-outputs/NAME``; ``everything``: all of it.
    Of a sweep it is the best trial's; with ``everything`` that of every trial, each in a folder of its name.
    Raises NotFoundError when there is no such run or output, MlcliError for an output that is not kept with the run.
    """
    run = observe.get(services, name)
    parts = _Parts(outputs, artifacts, everything, logs, output_name)
    if run.job_type != observe.SWEEP:
        return _fetch(services, run, target / name, parts, progress)
    from mlcli.operations.sweep_report import best_trial

    if not everything:
        best = best_trial(services, run).run
        try:
            found = services.runs.get(best)
        except NotFoundError as error:
            message = f"the best trial of sweep {name} was {best}, which is deleted"
            raise NotFoundError(message, hint=f"mlcli job download -n {name} --all fetches the others") from error
        return _fetch(services, found, target / name, parts, progress)
    trials = [*_reused(services, name), *services.runs.list(RunFilter(parent=name, include_archived=True))]
    return [
        path
        for trial in reversed(trials)
        for path in _fetch(services, trial, target / name / trial.name, parts, progress)
    ]


def _reused(services: Services, sweep: str) -> list[Run]:
    """The runs of other sweeps that are trials of this one too, as far as they are still there."""
    from mlcli.operations.trials import load_attempts

    names = dict.fromkeys(one.run for one in load_attempts(services.runs, sweep) if one.reused)
    found = []
    for one in reversed(names):
        with suppress(NotFoundError):
            found.append(services.runs.get(one))
    return [run for run in found if run.parent != sweep]


@dataclass(frozen=True)
class _Parts:
    outputs: bool
    artifacts: bool
    everything: bool
    logs: bool
    output_name: str | None


def _fetch(
    services: Services, run: Run, folder: Path, parts: _Parts, progress: Callable[[str, int], None] | None
) -> list[Path]:
    """What was asked for of one run, into ``folder``."""
    name, everything, output_name = run.name, parts.everything, parts.output_name
    backend = services.backend(run.backend)
    where = observe.handle(services, run)
    written = []
    for part, source in _chosen(services, name, parts):
        if not backend.list_files(where, source):
            continue
        destination = folder / part
        backend.fetch(where, source, destination, progress)
        written.append(destination)
    if everything or output_name is not None:
        written += _from_datastores(services, name, output_name, folder / layout.NAMED_OUTPUTS)
    return written


def _from_datastores(services: Services, name: str, output: str | None, target: Path) -> Iterator[Path]:
    """Copy the named outputs (or that one) that lie in a datastore of the workspace."""
    for entry in load_plan(services.runs, name)[0].outputs:
        if output in {None, entry.name} and _is_in_datastore(services, entry) and Path(entry.value).exists():
            from mlcli.operations.fetching import copy_into

            copy_into(Path(entry.value), target / entry.name)
            yield target / entry.name


def _is_in_datastore(services: Services, output: OutputPlan) -> bool:
    return Path(output.value).is_relative_to(services.root / layout.DATASTORES)


def _chosen(services: Services, name: str, asked: _Parts) -> Sequence[tuple[str, str]]:
    if asked.output_name is not None:
        source = _named_output(services, name, asked.output_name)
        return [] if source is None else [(f"{layout.NAMED_OUTPUTS}/{asked.output_name}", source)]
    chosen = {"outputs"} if asked.outputs else set()
    chosen |= {"artifacts", "models"} if asked.artifacts else set()
    chosen |= {"logs", "user_logs", "system_logs"} if asked.logs else set()
    if asked.everything or not chosen:
        parts = list(_PARTS.items())
        return [*parts, *((part, part) for part in _BEYOND)] if asked.everything else parts
    return [(part, source) for part, source in _PARTS.items() if part in chosen]


def _named_output(services: Services, name: str, output: str) -> str | None:
    """Where in the run folder it is; None for one in a datastore of the workspace."""
    plan, _ = load_plan(services.runs, name)
    places = {entry.name: entry.value for entry in plan.outputs}
    if any(entry.name == output and _is_in_datastore(services, entry) for entry in plan.outputs):
        return None
    if output not in places:
        has = f"it has: {', '.join(places)}" if places else "it has no named outputs"
        raise NotFoundError(f"job {name} has no output named {output!r}", hint=has)
    part = f"{layout.NAMED_OUTPUTS}/{output}"
    if not Path(places[output]).is_relative_to(Path(plan.run_folder) / part):
        message = f"output {output!r} of job {name} is not kept with the run: its path is a folder of its own"
        raise MlcliError(message, hint=f"it is there already: {places[output]}")
    return part
