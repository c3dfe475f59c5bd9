"""A search space as a file writes it -> its distributions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, cast

from mlcli.domain.distributions import Choice, Distribution, Normal, Randint, SearchSpace, Uniform
from mlcli.domain.job import Scalar
from mlcli.spec.command_checks import number

__all__ = ["ARGUMENTS", "distribution", "log_base"]

ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    "choice": ("values",),
    "randint": ("upper",),
    "uniform": ("min_value", "max_value"),
    "quniform": ("min_value", "max_value", "q"),
    "loguniform": ("min_value", "max_value"),
    "qloguniform": ("min_value", "max_value", "q"),
    "normal": ("mu", "sigma"),
    "qnormal": ("mu", "sigma", "q"),
    "lognormal": ("mu", "sigma"),
    "qlognormal": ("mu", "sigma", "q"),
}
"""Kind of distribution -> what it is given, in the order in which a HyperDrive configuration lists it."""


def distribution(parameter: Mapping[str, Any], base: float = math.e) -> Distribution | None:
    """The distribution of one parameter; None when a number in it is none (a reference). ``base``: of the log forms."""
    kind = str(parameter["type"]).lower()
    if kind == "choice":
        options = [_option(value, base) for value in parameter["values"]]
        return None if None in options else Choice(tuple(cast("list[Scalar | SearchSpace]", options)))
    given = [number(parameter.get(key)) for key in ARGUMENTS[kind]]
    if None in given:
        return None
    first, *rest = cast("list[float]", given)
    if kind == "randint":
        return Randint(int(first))
    form = Uniform if "uniform" in kind else Normal
    return form(first, rest[0], base if "log" in kind else None, rest[1] if kind.startswith("q") else None)


def log_base(sampling: Mapping[str, Any]) -> float | None:
    """What ``logbase`` says, e where it says nothing; None for what cannot be one."""
    written = sampling.get("logbase", "e")
    if str(written).strip().lower() == "e":
        return math.e
    base = number(written)
    return base if base is not None and base > 0 and base != 1 else None


def _option(value: Any, base: float) -> Scalar | SearchSpace | None:
    if not isinstance(value, Mapping):
        return cast("Scalar", value)
    parameters = {
        name: distribution(inner, base) if isinstance(inner, Mapping) else inner for name, inner in value.items()
    }
    return None if None in parameters.values() else SearchSpace(cast("dict[str, Distribution | Scalar]", parameters))
