"""What no schema can say about a sweep: its search space against its algorithm, its policy and its limits.

The rules are Azure ML's: a grid goes over ``choice`` only; bayesian sampling knows ``choice``, ``uniform`` and
``quniform`` and no early termination; a bandit policy has exactly one slack.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any

from mlcli.domain.distributions import Choice, is_finite
from mlcli.domain.errors import Severity
from mlcli.domain.job import Generation
from mlcli.spec.command_checks import (
    Body,
    Context,
    Findings,
    body_checks,
    counted,
    input_checks,
    integer,
    items,
    lookalikes,
    mapping,
    names_in,
    names_of,
    number,
)
from mlcli.spec.compose import Path_
from mlcli.spec.interpolate import Reference, references
from mlcli.spec.search_space import ARGUMENTS, distribution, log_base

__all__ = ["check_search", "check_sweep"]

_BAYESIAN = frozenset({"choice", "uniform", "quniform"})
_MAX_STEPS = 100_000
_OWN_POLICIES = frozenset({"asha", "hyperband"})
_RULES = {"random": ("random", "sobol"), "bayesian": ("tpe", "gp")}
_RANGES = {
    "max_total_trials": (1, 1000),
    "max_concurrent_trials": (1, 100),
    "truncation_percentage": (1, 99),
    "evaluation_interval": (0, None),
    "delay_evaluation": (0, None),
    "min_resource": (1, None),
    "max_resource": (1, None),
    "reduction_factor": (2, None),
}


def check_sweep(context: Context) -> Findings:
    """Everything about a sweep file: its trial's command, its inputs, and its search."""
    tree = context.document.tree
    trial = mapping(tree.get("trial"))
    inside = context.generation is Generation.G1
    names = names_of(trial if inside else tree)
    body = Body(trial, ("trial",), {**names, "search_space": names_in(tree, "search_space")})
    yield from body_checks(context, body)
    yield from input_checks(context, trial if inside else tree, ("trial",) if inside else ())
    yield from check_search(context, tree, (), trial.get("command"))


def check_search(context: Context, tree: Mapping[str, Any], path: Path_, command: Any) -> Findings:
    """The search of a sweep, be it a file of its own or a step of a pipeline (at ``path``). ``command``: what the trials
    run, when it is known.
    """
    space = mapping(tree.get("search_space"))
    yield from _limits(context, tree, path)
    sampling = mapping(tree.get("sampling_algorithm"))
    yield from _sampling(context, sampling, (*path, "sampling_algorithm"))
    yield from _space(context, space, (*path, "search_space"), log_base(sampling) or math.e)
    yield from _algorithm(context, tree, space, path)
    yield from _policy(context, mapping(tree.get("early_termination")), (*path, "early_termination"))
    if isinstance(command, str):
        # the trial of a pipeline's step is a component: it sees the parameters as inputs
        kinds = {"search_space", "inputs"} if path else {"search_space"}
        yield from _uses(context, space, (*path, "search_space"), command, kinds)


def _uses(context: Context, space: Mapping[str, Any], path: Path_, command: str, kinds: Container[str]) -> Findings:
    """What the command does with the parameters."""
    used = [found for found in references(command, context.generation) if found.kind in kinds]
    names = {found.name for found in used} | {found.name.split(".")[0] for found in used}
    names |= {name for _, kind, name in lookalikes(command, context.generation) if kind in kinds}  # told of already
    for name in space:
        if name not in names:
            message = f"the command does not refer to the search parameter '{name}': only AZUREML_SWEEP_{name} tells it"
            hint = f"write ${{{{search_space.{name}}}}} in the command, or take it out"
            severity = Severity.WARNING
            yield context.document.diagnose(
                (*path, name), "unused-parameter", message, hint=hint, key=True, severity=severity
            )
    for reference in used:
        if reference.kind == "search_space" and "." in reference.name and reference.name not in space:
            yield from _conditional(context, space, path, reference)


def _conditional(context: Context, space: Mapping[str, Any], path: Path_, reference: Reference) -> Findings:
    """A reference to a parameter inside a choice: it must be there whatever is chosen, or the fragment optional."""
    name, *inner = reference.name.split(".")
    if name not in space:
        return  # told of already
    there = list(_is_there(space[name], inner))
    at = (*path, name)
    if not any(there):
        message = f"the search parameter '{name}' has no '{'.'.join(inner)}'"
        yield context.document.diagnose(at, "unknown-reference", message, hint="name it in its values", key=True)
    elif not all(there) and not reference.optional:
        message = (
            f"'{reference.name}' is there with some of the values of '{name}' only, and the command needs it always"
        )
        hint = f"make it optional: $[[--{inner[-1]} ${{{{search_space.{reference.name}}}}}]]"
        yield context.document.diagnose(at, "unknown-reference", message, hint=hint, key=True)


def _is_there(parameter: Any, inner: Sequence[str]) -> Iterator[bool]:
    """For each value that a parameter may take, whether it brings the one inside."""
    if not inner:
        yield True
        return
    for value in items(mapping(parameter).get("values")) or [None]:
        if inner[0] in mapping(value):
            yield from _is_there(value[inner[0]], inner[1:])
        else:
            yield False


def _limits(context: Context, tree: Mapping[str, Any], path: Path_) -> Findings:
    yield from _ranges(context, tree, path)
    limits = mapping(tree.get("limits"))
    yield from _ranges(context, limits, (*path, "limits"))
    for key in ("timeout", "trial_timeout"):
        seconds = integer(limits.get(key))
        at = (*path, "limits", key)
        if seconds is not None and seconds <= 0:
            yield context.document.diagnose(at, "out-of-range", f"'{key}' must be more than 0 seconds")
        elif seconds is not None and seconds < 60:
            hint = "limits are in seconds; Azure ML takes none under 60, mlcli keeps this one"
            message, severity = f"the time limit is {counted(seconds, 'second')}", Severity.WARNING
            yield context.document.diagnose(at, "short-timeout", message, hint=hint, severity=severity)


def _ranges(context: Context, values: Mapping[str, Any], path: Path_) -> Findings:
    for key, (least, most) in _RANGES.items():
        value = integer(values.get(key))
        if value is not None and (value < least or (most is not None and value > most)):
            allowed = f"between {least} and {most}" if most is not None else f"at least {least}"
            yield context.document.diagnose((*path, key), "out-of-range", f"'{key}' must be {allowed}, not {value}")


def _sampling(context: Context, sampling: Mapping[str, Any], path: Path_) -> Findings:
    name, rule = str(sampling.get("type")).lower(), str(sampling.get("rule", "")).lower()
    is_rule = any(rule in rules for rules in _RULES.values())  # what is none the schema has told of
    if is_rule and rule not in _RULES.get(name, ()) and name in {"grid", *_RULES}:
        allowed = _RULES.get(name)
        hint = f"allowed: {', '.join(allowed)}" if allowed else "take the rule out"
        message = f"'{rule}' is not a rule of '{name}'"
        yield context.document.diagnose((*path, "rule"), "bad-value", message, hint=hint)
    if log_base(sampling) is None:
        message = "'logbase' must be 'e' or a number above 0 other than 1"
        yield context.document.diagnose((*path, "logbase"), "out-of-range", message)


def _space(context: Context, space: Mapping[str, Any], path: Path_, base: float) -> Findings:
    for at, parameter in _parameters(space, path):
        kind = _type(parameter)
        low, high = number(parameter.get("min_value")), number(parameter.get("max_value"))
        if low is not None and high is not None and (low > high or (low == high and "log" not in kind)):
            message = f"'min_value' must be less than 'max_value', and {_plain(low)} is not less than {_plain(high)}"
            hint = "in the log forms both are exponents" if "log" in kind else "exchange the two"
            hint = "a single value is a choice: 'type: choice, values: [...]'" if low == high else hint
            yield context.document.diagnose((*at, "min_value"), "empty-range", message, hint=hint)
        for key, least, inclusive in (("q", 0.0, False), ("sigma", 0.0, True), ("upper", 0.0, False)):
            value = number(parameter.get(key))
            if value is not None and (value < least or (value == least and not inclusive)):
                allowed = "at least 0" if inclusive else "more than 0"
                yield context.document.diagnose((*at, key), "out-of-range", f"'{key}' must be {allowed}")
        yield from _too_large(context, parameter, at, base)


def _too_large(context: Context, parameter: Mapping[str, Any], at: Path_, base: float) -> Findings:
    """Values beyond what a number holds: mostly bounds that were not meant as exponents."""
    kind = _type(parameter)
    if kind not in ARGUMENTS or kind in {"choice", "randint"} or any(key not in parameter for key in ARGUMENTS[kind]):
        return
    if number(parameter.get("q", 1)) == 0 or (number(parameter.get("sigma")) or 0) < 0:
        return  # told of already
    one = distribution(parameter, base)
    if one is not None and not isinstance(one, Choice) and not is_finite(one):
        message = f"'{at[-1]}' can come out larger than any number that a computer holds"
        hint = "in the log forms the numbers are those of the exponent: loguniform from -7 to 0 is 0.001 to 1"
        yield context.document.diagnose(at, "out-of-range", message, hint=hint, key=True)


def _algorithm(context: Context, tree: Mapping[str, Any], space: Mapping[str, Any], path: Path_) -> Findings:
    key = "algorithm" if "algorithm" in tree else "sampling_algorithm"
    written = tree.get(key)
    name = str(mapping(written).get("type") if isinstance(written, dict) else written).lower()
    at_space = (*path, "search_space")
    if name == "grid":
        for at, parameter in _parameters(space, at_space):
            if _type(parameter) not in {"choice", ""}:
                message = f"a grid goes over 'choice' only, and '{at[-1]}' is '{_type(parameter)}'"
                hint = f"list its values in a choice, or use '{key}: random'"
                yield context.document.diagnose((*at, "type"), "grid-needs-choice", message, hint=hint)
    elif name == "bayesian":
        yield from _bayesian(context, tree, space, path)


def _bayesian(context: Context, tree: Mapping[str, Any], space: Mapping[str, Any], path: Path_) -> Findings:
    for at, parameter in _parameters(space, (*path, "search_space")):
        kind = _type(parameter)
        if kind and kind not in _BAYESIAN:
            message = f"bayesian sampling does not know '{kind}'"
            hint = "it knows choice, uniform and quniform; 'random' knows all"
            yield context.document.diagnose((*at, "type"), "bayesian-distribution", message, hint=hint)
        low, high, step = (number(parameter.get(key)) for key in ("min_value", "max_value", "q"))
        if low is not None and high is not None and step and (high - low) / step > _MAX_STEPS:
            message = f"bayesian sampling takes at most {_MAX_STEPS:,} steps, and '{at[-1]}' has more"
            yield context.document.diagnose((*at, "q"), "out-of-range", message, hint="use a larger 'q', or 'uniform'")
    policy = mapping(tree.get("early_termination"))
    if policy and str(policy.get("type")).lower() not in _OWN_POLICIES:
        message = "bayesian sampling needs every trial to end by itself: it takes no early termination"
        hint = "take 'early_termination' out, or use 'random'"
        at_policy = (*path, "early_termination")
        yield context.document.diagnose(at_policy, "bayesian-termination", message, hint=hint, key=True)


def _policy(context: Context, policy: Mapping[str, Any], path: Path_) -> Findings:
    yield from _ranges(context, policy, path)
    first, last = (integer(policy.get(key)) for key in ("min_resource", "max_resource"))
    if last is not None and last < (first or 1):
        message = "'max_resource' must not be less than 'min_resource'"
        yield context.document.diagnose((*path, "max_resource"), "out-of-range", message)
    if str(policy.get("type", policy.get("policy_type"))).lower() != "bandit":
        return
    given = [key for key in ("slack_factor", "slack_amount") if policy.get(key) is not None]
    if len(given) == 2:
        message = "a bandit policy has either 'slack_factor' or 'slack_amount', not both"
        yield context.document.diagnose(
            (*path, "slack_amount"), "bandit-slack", message, hint="take one of them out", key=True
        )
    elif not given:
        message = "a bandit policy needs 'slack_factor' or 'slack_amount'"
        hint = "slack_factor: 0.1 stops a trial that is 10 % behind the best one"
        yield context.document.diagnose(path, "bandit-slack", message, hint=hint, key=True)
    for key in given:
        value = number(policy.get(key))
        if value is not None and value < 0:
            yield context.document.diagnose((*path, key), "out-of-range", f"'{key}' must be at least 0")


def _parameters(space: Mapping[str, Any], path: Path_) -> Iterator[tuple[Path_, Mapping[str, Any]]]:
    """Every parameter, those inside the choices of another too."""
    for name, parameter in space.items():
        if not isinstance(parameter, dict):
            continue
        yield (*path, name), parameter
        for index, value in enumerate(items(parameter.get("values"))):
            if isinstance(value, dict):
                yield from _parameters(value, (*path, name, "values", index))


def _type(parameter: Mapping[str, Any]) -> str:
    """The distribution's name, empty when it has none (which the schema says)."""
    return str(parameter.get("type") or "").lower()


def _plain(value: float) -> str:
    return str(int(value)) if value == int(value) else str(value)
