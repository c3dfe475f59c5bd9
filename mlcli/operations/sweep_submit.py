"""From a sweep job to a run that a supervisor drives: planned once, for all of its trials."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlcli import registry
from mlcli.domain.errors import MlcliError, UnsupportedError
from mlcli.domain.plan import Plan
from mlcli.domain.run import Run
from mlcli.domain.sweep import Search, SweepJob
from mlcli.domain.trials import run_name
from mlcli.operations import layout, names
from mlcli.operations.carry import plan_of, uninterrupted
from mlcli.operations.git import git_facts
from mlcli.operations.plan import plan
from mlcli.operations.submit import begun_or_gone
from mlcli.operations.trials import ANY, SweepRecord, template
from mlcli.ports.sampling import EXHAUSTED, Sampler, TerminationPolicy
from mlcli.ports.services import Services
from mlcli.spec.standalone import standalone
from mlcli.spec.sweep import in_words

if TYPE_CHECKING:
    from mlcli.operations.warm_start import WarmStart

_SEEDS = 2**31
_LONGEST_NAME = 240


@dataclass(frozen=True)
class SweepPlan:
    """Everything that will be done. ``run``: the sweep's name. ``trials``: the plan of its trials, all but their values and
    names; ``search``: in today's words, the seed drawn; ``first``: the plan of the first trial, None where there can be none.
    ``reuse``: finished trials of the same are taken for new ones. ``warm``: what the sampler is told of earlier sweeps.
    """

    run: str
    trials: Plan
    search: Mapping[str, Any]
    parsed: Search
    first: Plan | None
    notices: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ()
    reuse: bool = False
    warm: WarmStart | None = None


def plan_sweep(
    services: Services,
    sweep: SweepJob,
    *,
    in_container: bool | None = None,
    reuse: bool = False,
    earlier: Sequence[str] = (),
) -> SweepPlan:
    """Plan the trials, draw the seed where the file has none, and try the first trial's values on its command. ``earlier``: the
    sweeps that it starts warm from. Raises as :func:`mlcli.operations.warm_start.warm_start`.
    """
    name = sweep.name or names.generate()
    planned = plan(services, replace(sweep.trial, name=f"{name}_{ANY}"), in_container=in_container, filled=False)
    seed = sweep.search.sampling.seed
    if seed is None:
        seed = random.SystemRandom().randrange(_SEEDS)
    search = replace(sweep.search, sampling=replace(sweep.search.sampling, seed=seed))
    words = in_words(sweep, seed)
    notices, warm = [*planned.notices], None
    if earlier:
        from mlcli.operations.warm_start import warm_start

        warm = warm_start(services, name, search, earlier)
        notices += warm.notices
    if reuse:
        from mlcli.operations.sweep_reuse import obstacles

        notices += obstacles(planned)
    refusals, first = [*planned.refusals], None
    if len(name) > _LONGEST_NAME:
        refusals.append(f"the name of a sweep has at most {_LONGEST_NAME} characters: its trials add a number to it")
    try:
        policy_of(search)
        values = sampler_of(search).ask(search.space, warm.trials if warm else ())
        if values is not EXHAUSTED:
            _, document = template(name, planned, None)
            first, _ = plan_of(SweepRecord(name, words, document).planner()(run_name(name, 0), values))
    except MlcliError as refused:
        refusals.append(f"{refused.message}: {refused.hint}" if refused.hint else refused.message)
    return SweepPlan(name, planned, words, search, first, tuple(notices), tuple(refusals), reuse, warm)


def sampler_of(search: Search) -> Sampler:
    """Raises UnsupportedError where a package is missing, NotFoundError for an algorithm that nobody knows."""
    made: Sampler = registry.load("sampling", search.sampling.algorithm)(search.sampling, search.objective.goal)
    return made


def policy_of(search: Search) -> TerminationPolicy | None:
    """None where no trial is stopped early. Raises NotFoundError."""
    settings = search.early_termination
    if settings is None:
        return None
    made: TerminationPolicy = registry.load("early_termination", settings.type)(settings, search.objective.goal)
    return made


def submit_sweep(services: Services, sweep: SweepJob, planned: SweepPlan) -> Run:
    """Store the code, write the sweep's folder and its index row, and have it driven. Raises as :func:`submit.submit`."""
    if planned.refusals:
        first, *others = planned.refusals
        raise UnsupportedError(first, details=tuple(others))
    trials, job = planned.trials, sweep.trial
    services.backend(trials.backend).connect()
    snapshot = services.snapshots.put(Path(trials.code.folder)).digest if trials.code else None
    facts = git_facts(Path(trials.code.folder) if trials.code else Path.cwd())
    own, document = template(planned.run, trials, snapshot)
    record = SweepRecord(planned.run, planned.search, document, standalone(job), planned.reuse)
    run = Run(
        name=planned.run,
        experiment_name=trials.experiment_name,
        compute=trials.compute,
        backend=trials.backend,
        created_at=time.time(),
        job_type=sweep.type,
        display_name=job.display_name,
        description=job.description,
        tags=dict(job.tags),
        properties={**job.properties, **facts.as_properties()},
        notices=planned.notices,
    )
    documents = {
        layout.JOB_DOCUMENT: sweep.document,
        layout.PLAN_DOCUMENT: {"plan": asdict(own), "snapshot": snapshot},
        layout.SWEEP_DOCUMENT: record.document,
        **(planned.warm.documents if planned.warm else {}),
    }
    with uninterrupted():
        services.runs.create(run, documents)
        begun_or_gone(services, run.name, lambda: services.supervise(run.name))
    return services.runs.get(run.name)
