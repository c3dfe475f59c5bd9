"""Environments of a machine that a transport reaches: the builders of this room, at work over there."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mlcli import registry
from mlcli.domain.errors import TransportError
from mlcli.domain.job import EnvironmentSpec
from mlcli.domain.plan import EnvironmentPlan
from mlcli.domain.settings import Settings
from mlcli.environments._wire import activation_of, error_of
from mlcli.ports.environments import Activation, EnvironmentBuilder
from mlcli.ports.transports import Transport


class FarBuilder(EnvironmentBuilder):
    """The builder of that registered ``name``, where ``transport`` leads. ``folder``: mlcli's own there, an absolute path."""

    def __init__(self, name: str, transport: Transport, settings: Settings, folder: str) -> None:
        self.name = name
        self._transport = transport
        self._folder = folder
        self._near: EnvironmentBuilder = registry.load("environments", name)(Path(folder), settings)

    def accepts(self, spec: EnvironmentSpec) -> bool:
        """What the builder of that name accepts anywhere."""
        return self._near.accepts(spec)

    def plan(self, spec: EnvironmentSpec) -> EnvironmentPlan:
        """A named interpreter is looked for over there."""
        from mlcli.environments.current import planned

        return planned(spec, lambda interpreter: str(self._ask("locate", interpreter)["located"]))

    def build(self, plan: EnvironmentPlan, log: Callable[[str], None]) -> Activation:
        """Find ``python`` over there."""
        told = self._ask("activate", plan.spec.interpreter)
        for line in told["lines"]:
            log(line)
        return activation_of(told["activation"])

    def _ask(self, verb: str, interpreter: str | None) -> Mapping[str, Any]:
        """A question to the interpreters there; any Python that the agent runs with can put it."""
        from mlcli.environments import _interpreter
        from mlcli.environments.current import shims

        code = Path(_interpreter.__file__).read_text(encoding="utf-8")
        question = {"verb": verb, "interpreter": interpreter, "shims": str(shims(Path(self._folder)))}
        argv = [self._transport.python(), "-I", "-S", "-X", "utf8", "-c", code]
        answer = self._transport.run(argv, stdin=json.dumps(question).encode(), timeout_s=120.0, repeatable=True)
        if answer.code != 0:
            said = answer.stderr.decode("utf-8", "replace").strip().splitlines()
            raise TransportError(said[-1] if said else f"Python ended with code {answer.code}", transient=False)
        told: Mapping[str, Any] = json.loads(answer.stdout)
        if "error" in told:
            raise error_of(told["error"])
        return told
