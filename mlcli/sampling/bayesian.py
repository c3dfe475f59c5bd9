"""Bayesian sampling through Optuna: its tree-structured Parzen estimator (TPE), or its Gaussian process.

The model works on the unit cube, through each distribution's quantiles, so it knows every distribution. It is asked
afresh each time, with a seed made of the sweep's and the trial's number, and shown what the history says; what is kept
from one question to the next is only how a trial looks to Optuna.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from heapq import nlargest
from importlib.util import find_spec

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

from mlcli.domain.distributions import Choice, Distribution, Number, SearchSpace, Value, Values
from mlcli.domain.errors import UnsupportedError
from mlcli.domain.job import Scalar
from mlcli.domain.sweep import Goal, Sampling, Trial, next_number
from mlcli.ports.sampling import Sampler
from mlcli.sampling._points import generator, point

_STARTUP = 10
_BEST = 25  # as many as TPE takes for good ones at most
_LATEST = {"tpe": 1000, "gp": 300}
_GREATEST = 1e100
_WHEN = datetime(2000, 1, 1, tzinfo=timezone.utc)  # the model does not look at times


class BayesianSampler(Sampler):
    """``rule: tpe`` or ``gp``. Until ten trials have a metric their values are random; then the model is asked.

    In a long sweep it is shown the best trials and the latest ones, so that asking does not get ever slower. A trial that
    still runs counts as a bad one, so that those side by side are not all alike. One that ended without a metric, or
    whose values are not of the space, counts for nothing.
    """

    def __init__(self, sampling: Sampling, goal: Goal) -> None:
        super().__init__(sampling, goal)
        if sampling.rule == "gp" and find_spec("torch") is None:
            raise UnsupportedError(
                "'rule: gp' needs the package 'torch', which is not installed",
                hint="pip install 'mlcli[sweep-gp]', or leave the rule out",
            )
        self._space = SearchSpace()
        self._looks: dict[int, _Look] = {}

    def ask(self, space: SearchSpace, trials: Sequence[Trial]) -> Values:
        """The values of the next trial; never exhausted."""
        number = next_number(trials)
        looks = self._look_at(space, trials)
        finished = [look for look in looks if look.state is TrialState.COMPLETE]
        if len(finished) < _STARTUP or not space.dimensions:
            return space.at(point(self.seed, number, space.dimensions))
        chosen = {id(look) for look in finished[-_LATEST[self.sampling.rule or "tpe"] :]}
        chosen |= {id(look) for look in nlargest(_BEST, finished, key=lambda look: look.score)}
        shown = [look.frozen for look in looks if look.state is TrialState.RUNNING or id(look) in chosen]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Optuna calls the options experimental that trials side by side need
            return _ask(space, self._model(generator(self.seed, number).getrandbits(32)), self.goal, shown)

    def _look_at(self, space: SearchSpace, trials: Sequence[Trial]) -> list[_Look]:
        """The trials that count, in order."""
        if space is not self._space and space != self._space:
            self._looks.clear()
        self._space = space
        found = []
        for trial in trials:
            look = self._looks.get(trial.number)
            if look is None or (look.trial is not trial and look.trial != trial):
                look = self._looks[trial.number] = _looked_at(space, trial, self.goal)
            if look.state is not TrialState.FAIL:
                found.append(look)
        return found

    def _model(self, seed: int) -> BaseSampler:
        if self.sampling.rule == "gp":
            return GPSampler(seed=seed, n_startup_trials=_STARTUP)  # on each level: it learns nothing from few
        return TPESampler(seed=seed, n_startup_trials=0, multivariate=True, constant_liar=True)


@dataclass(frozen=True)
class _Look:
    """A trial as Optuna sees it: COMPLETE with a metric, RUNNING, or FAIL for one that counts for nothing."""

    trial: Trial
    state: TrialState
    score: float
    frozen: FrozenTrial


def _looked_at(space: SearchSpace, trial: Trial, goal: Goal) -> _Look:
    score, state = trial.score(goal), TrialState.RUNNING
    if trial.state.is_end:
        state = TrialState.COMPLETE if math.isfinite(score) else TrialState.FAIL
    units: dict[str, tuple[float, BaseDistribution]] = {}
    if space.holds(trial.values):
        units.update(_units(space, trial.values, ""))
    else:
        state = TrialState.FAIL
    complete = state is TrialState.COMPLETE
    frozen = FrozenTrial(
        number=trial.number + 1 if trial.number >= 0 else trial.number,  # 0 is the one that the model picks for
        state=state,
        value=goal.metric(_clamped(score)) if complete else None,
        datetime_start=_WHEN,
        datetime_complete=_WHEN if state.is_finished() else None,
        params={name: unit for name, (unit, _) in units.items()},
        distributions={name: distribution for name, (_, distribution) in units.items()},
        user_attrs={},
        system_attrs={},
        intermediate_values={},
        trial_id=trial.number,
    )
    return _Look(trial, state, score, frozen)


def _clamped(score: float) -> float:
    """What the Gaussian process can square and add up: a diverged loss may be the greatest number that there is."""
    return max(-_GREATEST, min(score, _GREATEST))


class _Shown(InMemoryStorage):
    """A storage that shows a given history before the trials of its own."""

    def __init__(self, history: list[FrozenTrial]) -> None:
        super().__init__()
        self._history = history

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """The history too; nobody changes it."""
        own = super().get_all_trials(study_id, deepcopy, states)
        return [*(trial for trial in self._history if states is None or trial.state in states), *own]


def _ask(space: SearchSpace, model: BaseSampler, goal: Goal, history: Sequence[FrozenTrial]) -> dict[str, Value]:
    """The values that ``model`` picks, level by level: what a choice brings with it is picked when it is chosen."""

    def of_space(space: SearchSpace, prefix: str) -> dict[str, Value]:
        units = _pick(model, goal, history, _dimensions(space, prefix))
        return {name: of(one, prefix + name, units) for name, one in space.parameters.items()}

    def of(one: Distribution | Scalar, name: str, units: Mapping[str, float]) -> Value:
        if isinstance(one, Choice):
            index = int(units.get(name, 0))
            option = one.options[index]
            return of_space(option, _branch(name, index)) if isinstance(option, SearchSpace) else option
        return one.draw(iter((units[name],))) if isinstance(one, Number) else one

    return of_space(space, "")


def _pick(
    model: BaseSampler, goal: Goal, history: Sequence[FrozenTrial], dimensions: dict[str, BaseDistribution]
) -> dict[str, float]:
    """A point of one level. Only trials that came to it are shown: the Gaussian process knows no others."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    shown = [trial for trial in history if dimensions.keys() <= trial.params.keys()]
    study = optuna.create_study(storage=_Shown(shown), sampler=RandomSampler(0), direction=goal.value)
    study.ask()
    asked = study.get_trials(deepcopy=False)[-1]
    picked = model.sample_relative(study, asked, dimensions)
    return {
        name: picked[name] if name in picked else model.sample_independent(study, asked, name, one)
        for name, one in dimensions.items()
    }


def _dimensions(space: SearchSpace, prefix: str) -> dict[str, BaseDistribution]:
    """What Optuna is asked for on one level of a space; a choice of one is none."""
    found: dict[str, BaseDistribution] = {}
    for name, one in space.distributions.items():
        if not isinstance(one, Choice):
            found[prefix + name] = _UNIT
        elif len(one.options) > 1:
            found[prefix + name] = CategoricalDistribution(tuple(range(len(one.options))))
    return found


_UNIT = FloatDistribution(0.0, 1.0)


def _units(space: SearchSpace, values: Values, prefix: str) -> Iterable[tuple[str, tuple[float, BaseDistribution]]]:
    """Where on its dimension each of ``values`` lies, through all levels."""
    dimensions = _dimensions(space, prefix)
    for name, one in space.distributions.items():
        value = values[name]
        unit = one.index_of(value) if isinstance(one, Choice) else one.position(value)
        if unit is not None and prefix + name in dimensions:
            yield prefix + name, (unit, dimensions[prefix + name])
        if isinstance(one, Choice) and isinstance(value, Mapping):
            index = int(unit or 0)
            option = one.options[index]
            if isinstance(option, SearchSpace):
                yield from _units(option, value, _branch(prefix + name, index))


def _branch(name: str, index: int) -> str:
    """The prefix of the parameters of one option: two options may have some of one name."""
    return f"{name}[{index}]."
