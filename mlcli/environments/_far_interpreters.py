"""The interpreters of another machine: any Python there that the agent runs with can look for them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mlcli.environments import _interpreter
from mlcli.environments._far_package import check
from mlcli.environments._wire import activation_of, error_of
from mlcli.environments.current import shims
from mlcli.ports.environments import Activation
from mlcli.ports.transports import Transport

_ANSWER_S = 120.0


class FarInterpreters:
    """Those where ``transport`` leads. ``folder``: mlcli's own there."""

    def __init__(self, transport: Transport, folder: str) -> None:
        self._transport = transport
        self._folder = folder
        self._shims = str(shims(Path(folder)))

    def located(self, interpreter: str) -> str:
        """The absolute path of an interpreter. Raises UnsupportedError."""
        return str(self._ask("locate", interpreter)["located"])

    def activation(self, interpreter: str | None, log: Callable[[str], None]) -> Activation:
        """How a job there gets it as ``python``; None: what a person who logs in there would run."""
        told = self._ask("activate", interpreter)
        for line in told["lines"]:
            log(line)
        return activation_of(told["activation"])

    def _ask(self, verb: str, interpreter: str | None) -> Mapping[str, Any]:
        code = Path(_interpreter.__file__).read_text(encoding="utf-8")
        question = {"verb": verb, "interpreter": interpreter, "shims": self._shims, "folder": self._folder}
        argv = [self._transport.python(), "-I", "-S", "-X", "utf8", "-c", code]
        answer = self._transport.run(argv, stdin=json.dumps(question).encode(), timeout_s=_ANSWER_S, repeatable=True)
        check(answer, "looking for interpreters there")
        told: Mapping[str, Any] = json.loads(answer.stdout)
        if "error" in told:
            raise error_of(told["error"])
        return told
