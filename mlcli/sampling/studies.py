"""A sweep in Optuna's words: its trials with their values, distributions, metrics and states, as Optuna's plots, storages
and dashboard know them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalChoiceType,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState

from mlcli.domain.distributions import Choice, Distribution, Number, Randint, SearchSpace, Uniform, Values
from mlcli.domain.state import Reason, State
from mlcli.domain.sweep import Goal, Search
from mlcli.domain.trials import Attempt

_MOST_WHOLE, _MOST_STEPS = 2**53, 1e6
_LEAST = 2.0**-53  # a normal's quantiles are drawn between this and 1 - this


def frozen_trials(search: Search, attempts: Sequence[Attempt], since: float) -> list[FrozenTrial]:
    """Each trial, in the given order. ``since``: when the sweep began, in seconds since 1970: the time of what has none.

    What an option of a choice brings with it has a dotted name, ``model.depth``; ``model[1].depth`` where other options
    have another distribution under that name.
    """
    names = _names(search.space)
    return [_frozen(search, attempt, names, since) for attempt in attempts]


def _frozen(search: Search, attempt: Attempt, names: Mapping[str, str], since: float) -> FrozenTrial:
    trial = attempt.trial
    state, score = _state(attempt, search.objective.goal), trial.score(search.objective.goal)
    has_value = math.isfinite(score) and state in {TrialState.COMPLETE, TrialState.PRUNED}
    began = attempt.started_at or attempt.ended_at or since
    known = list(_chosen(search.space, trial.values, "")) if search.space.holds(trial.values) else []
    return FrozenTrial(
        number=trial.number,
        state=state,
        value=search.objective.goal.metric(score) if has_value else None,
        datetime_start=datetime.fromtimestamp(began),  # noqa: DTZ006  (Optuna's times are local and naive)
        datetime_complete=datetime.fromtimestamp(attempt.ended_at or began) if state.is_finished() else None,  # noqa: DTZ006
        params={names[path]: value for path, value, _ in known},
        distributions={names[path]: distribution for path, _, distribution in known},
        user_attrs={"name": attempt.run, "status": str(trial.state), "status_message": attempt.message},
        system_attrs={},
        intermediate_values=dict(enumerate(trial.metrics, start=1)),
        trial_id=trial.number,
    )


def _state(attempt: Attempt, goal: Goal) -> TrialState:
    """Optuna knows no completed trial without a value."""
    if attempt.is_live:
        return TrialState.RUNNING
    if attempt.reason is Reason.EARLY_TERMINATION:
        return TrialState.PRUNED
    if attempt.trial.state is State.COMPLETED and math.isfinite(attempt.trial.score(goal)):
        return TrialState.COMPLETE
    return TrialState.FAIL


def _names(space: SearchSpace) -> dict[str, str]:
    """What each parameter is called, by its path; paths are unique."""
    declared = list(_declared(space, "", ""))
    kinds: dict[str, list[Distribution]] = {}
    for _, name, one in declared:
        if one not in kinds.setdefault(name, []):
            kinds[name].append(one)
    return {path: name if len(kinds[name]) == 1 else path for path, name, _ in declared}


def _declared(space: SearchSpace, path: str, name: str) -> Iterator[tuple[str, str, Distribution]]:
    for key, one in space.distributions.items():
        yield path + key, name + key, one
        if isinstance(one, Choice):
            for index, option in enumerate(one.options):
                if isinstance(option, SearchSpace):
                    yield from _declared(option, _below(path + key, index), f"{name}{key}.")


def _below(path: str, index: int) -> str:
    return f"{path}[{index}]."


def _chosen(space: SearchSpace, values: Values, path: str) -> Iterator[tuple[str, Any, BaseDistribution]]:
    """Path, value and distribution of each parameter that a trial has, through all levels."""
    for name, one in space.distributions.items():
        value = values[name]
        if isinstance(one, Choice):
            titles, index = _titles(one), one.index_of(value) or 0
            yield path + name, titles[index], CategoricalDistribution(titles)
            option = one.options[index]
            if isinstance(option, SearchSpace) and isinstance(value, Mapping):
                yield from _chosen(option, value, _below(path + name, index))
        else:
            yield path + name, value, _numbers(one)


def _titles(choice: Choice) -> tuple[CategoricalChoiceType, ...]:
    """The options as categories: a map by what it sets and what it brings, ``kind=tree, depth``."""
    titles = [_title(one) if isinstance(one, SearchSpace) else one for one in choice.options]
    if len(set(titles)) == len(titles):
        return tuple(titles)
    return tuple(f"{index}: {title}" for index, title in enumerate(titles))


def _title(option: SearchSpace) -> str:
    varying = option.distributions
    return ", ".join(name if name in varying else f"{name}={value}" for name, value in option.parameters.items())


def _numbers(one: Number) -> BaseDistribution:
    """The range of the values. Optuna has no normal distributions: the bounds are the quantiles that are drawn at most."""
    if isinstance(one, Randint):
        return _steps(0, one.upper - 1, 1)
    ends = (0.0, 1.0) if isinstance(one, Uniform) else (_LEAST, 1 - _LEAST)
    low, high = sorted(one.draw(iter((end,))) for end in ends)
    if one.q is None:
        return FloatDistribution(low, high, log=one.base is not None and low > 0)
    return _steps(low, high, one.q)


def _steps(low: float, high: float, step: float) -> BaseDistribution:
    """Optuna keeps whole numbers as floats, and divides to see whether a value is on a step: both have an end."""
    if float(step).is_integer() and max(-low, high) < _MOST_WHOLE:
        return IntDistribution(int(low), int(high), step=int(step))
    return FloatDistribution(low, high, step=step if (high - low) / step < _MOST_STEPS else None)
