"""``environment: current``, or the path of an interpreter: nothing is built, the job runs in what is there.

A job that asks for an image runs here too while it runs on the host, without the image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mlcli.domain.errors import UnsupportedError
from mlcli.domain.job import EnvironmentSpec
from mlcli.domain.plan import EnvironmentPlan
from mlcli.domain.settings import Settings
from mlcli.environments import _interpreter
from mlcli.environments._interpreter import CURRENT
from mlcli.ports.environments import Activation, EnvironmentBuilder


class CurrentBuilder(EnvironmentBuilder):
    """The host's own interpreters. ``home`` keeps the folders that hold a missing ``python``."""

    name = "current"

    def __init__(self, home: Path, settings: Settings) -> None:
        del settings
        self._shims = str(shims(home))

    def accepts(self, spec: EnvironmentSpec) -> bool:
        """An interpreter, an image or build without a conda file, and references (to refuse them with advice)."""
        return (
            spec.interpreter is not None
            or spec.reference is not None
            or (spec.wants_image and spec.conda is None and spec.lock is None)
        )

    def plan(self, spec: EnvironmentSpec) -> EnvironmentPlan:
        """Check that the interpreter is there. There is nothing to cache."""
        with _told():
            return planned(spec, _interpreter.located)

    def build(self, plan: EnvironmentPlan, log: Callable[[str], None]) -> Activation:
        """Find ``python``; a named interpreter is asked for its version."""
        from mlcli.environments._wire import activation_of

        with _told():
            return activation_of(_interpreter.activation(plan.spec.interpreter, self._shims, log))


def shims(home: Path) -> Path:
    """Where the folders that hold a missing ``python`` are."""
    return home / "environments" / "python"


def planned(spec: EnvironmentSpec, located: Callable[[str], str]) -> EnvironmentPlan:
    """The plan; ``located`` is asked for the path of an interpreter that is named. Raises UnsupportedError."""
    if spec.reference is not None:
        raise UnsupportedError(
            f"{spec.reference} is the name of an environment, which has to be looked up first",
            hint="run in your own interpreter with --set environment=current, or write a conda_file",
        )
    return EnvironmentPlan(CurrentBuilder.name, spec, None, cached=True, description=_describe(spec, located))


def _describe(spec: EnvironmentSpec, located: Callable[[str], str]) -> str:
    if spec.interpreter not in {None, CURRENT}:
        return f"the interpreter {located(str(spec.interpreter))}"
    wanted = (
        f" (instead of the image {spec.image})"
        if spec.image
        else " (instead of the image to be built)"
        if spec.build
        else ""
    )
    return f"the interpreter on PATH{wanted}"


@contextmanager
def _told() -> Iterator[None]:
    """What an interpreter's search refuses, as the errors of this house."""
    try:
        yield
    except _interpreter.Refused as refused:
        from mlcli.environments._wire import error_of

        raise error_of(refused.told) from refused
