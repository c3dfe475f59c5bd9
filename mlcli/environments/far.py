"""Environments of a machine that a transport reaches: the builders of this room, at work over there.

``_far_interpreters`` is ``current`` there. For the others our own package is sent (``_far_package``) and asked
(``_far_side``); what takes long is a process that no connection's end stops (``_far_process``). Files that pip lines name
are sent along (``_sent``).
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlcli import registry
from mlcli.domain.errors import EnvironmentBuildError, UnsupportedError
from mlcli.domain.job import EnvironmentSpec
from mlcli.domain.plan import EnvironmentPlan
from mlcli.domain.settings import Settings
from mlcli.environments._interpreter import CURRENT
from mlcli.environments._wire import activation_of, built_of, error_of, spec_record
from mlcli.environments.current import planned
from mlcli.ports.environments import Activation, BuiltEnvironment, EnvironmentBuilder
from mlcli.ports.transports import Transport

if TYPE_CHECKING:
    from mlcli.environments._far_package import FarPackage

_ANYWHERE = (CURRENT, "venv", "conda")
_VARIABLE = re.compile(r"\$\{([A-Z_][A-Z0-9_]*)\}")


class FarBuilder(EnvironmentBuilder):
    """The builder of that registered ``name``, where ``transport`` leads. ``folder``: mlcli's own there, an absolute path.

    Raises UnsupportedError for a builder that only works on this machine.
    """

    def __init__(self, name: str, transport: Transport, settings: Settings, folder: str) -> None:
        if name not in _ANYWHERE:
            raise UnsupportedError(
                f"environments of kind {name} cannot be built on another machine yet",
                hint="take the interpreter that is there with: --set environment=current",
            )
        self.name = name
        self._transport = transport
        self._settings = settings
        self._folder = folder
        self._near: EnvironmentBuilder = registry.load("environments", name)(Path(folder), settings)
        self._found: dict[str, Activation] = {}

    def accepts(self, spec: EnvironmentSpec) -> bool:
        """What the builder of that name accepts anywhere."""
        return self._near.accepts(spec)

    def plan(self, spec: EnvironmentSpec) -> EnvironmentPlan:
        """Planned there, by the Python and the cache that are there. Files that the pip lines name are sent for it.

        Raises UnsupportedError, also where the Python there is too old to build.
        """
        if self.name == CURRENT:
            from mlcli.environments._far_interpreters import FarInterpreters

            return planned(spec, FarInterpreters(self._transport, self._folder).located)
        told = self._ask("plan", spec=spec_record(self._sent(spec)))
        if told["cached"]:
            self._found[told["fingerprint"]] = activation_of(told["activation"])
        return EnvironmentPlan(
            self.name, spec, told["fingerprint"], cached=told["cached"], description=told["description"]
        )

    def build(self, plan: EnvironmentPlan, log: Callable[[str], None]) -> Activation:
        """Made there, by a process that the connection's end does not stop; who cancels it ends it."""
        if self.name == CURRENT:
            from mlcli.environments._far_interpreters import FarInterpreters

            return FarInterpreters(self._transport, self._folder).activation(plan.spec.interpreter, log)
        found = self._found.pop(plan.fingerprint or "", None)  # once: by then it may have been removed
        return found or self._built(self._sent(plan.spec), log)

    def _built(self, spec: EnvironmentSpec, log: Callable[[str], None]) -> Activation:
        from mlcli.environments._far_process import FarProcess

        question = self._question("build", spec=spec_record(spec))
        told = self._ask("plan", spec=question["spec"])
        if told["cached"]:
            return activation_of(told["activation"])
        tools = [] if told["uv"] else [self._uv_sent(told["machine"], log)]
        process = FarProcess(
            self._transport, posixpath.join(self._folder, "builds"), log, grace_s=self._settings.kill_grace_s
        )
        result = process.run(self._package.argv("build"), question, variables=_variables(spec), append_path=tools)
        if "error" in result:
            raise error_of(result["error"])
        return activation_of(result["activation"])

    def listing(self) -> Sequence[BuiltEnvironment]:
        """What is in the cache there."""
        return [] if self.name == CURRENT else [built_of(one) for one in self._ask("listing")["listing"]]

    def unfinished(self) -> Mapping[str, float]:
        """What failed and killed builds have left there; the times are that machine's."""
        return {} if self.name == CURRENT else dict(self._ask("unfinished")["unfinished"])

    def remove(self, fingerprint: str) -> int:
        """Taken out of the cache there."""
        return 0 if self.name == CURRENT else int(self._ask("remove", fingerprint=fingerprint)["freed"])

    def build_log(self, fingerprint: str) -> Path | None:
        """A copy of the log, which lives as long as this builder."""
        path: str = "" if self.name == CURRENT else self._ask("build_log", fingerprint=fingerprint)["path"]
        content = self._transport.read(path) if path else None
        if content is None:
            return None
        copy = self._scratch / posixpath.basename(path)
        copy.write_bytes(content)
        return copy

    def last_failure(self, fingerprint: str) -> EnvironmentBuildError | None:
        """How its last build there failed."""
        failure = None if self.name == CURRENT else self._ask("last_failure", fingerprint=fingerprint)["failure"]
        if failure is None:
            return None
        return EnvironmentBuildError(failure["message"], hint=failure["hint"], details=tuple(failure["details"]))

    @cached_property
    def _scratch(self) -> Path:
        import shutil
        import tempfile
        import weakref

        folder = tempfile.mkdtemp(prefix="mlcli-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return Path(folder)

    @cached_property
    def _package(self) -> FarPackage:
        from mlcli.environments._far_package import FarPackage

        return FarPackage(self._transport, self._folder)

    def _ask(self, verb: str, **more: Any) -> Mapping[str, Any]:
        return self._package.ask(self._question(verb, **more))

    def _question(self, verb: str, **more: Any) -> dict[str, Any]:
        shared = self._settings.environments_shared
        return {"verb": verb, "builder": self.name, "folder": self._folder, "shared": shared, **more}

    def _sent(self, spec: EnvironmentSpec) -> EnvironmentSpec:
        """The same, with the files of this machine that its pip lines name sent there."""
        from mlcli.environments._sent import SentFiles

        return SentFiles(self._transport, posixpath.join(self._folder, "files")).spec(spec)

    def _uv_sent(self, machine: Sequence[str], log: Callable[[str], None]) -> str:
        """The folder there that holds our own uv. Raises UnsupportedError when that would not run there."""
        import hashlib

        from mlcli.environments._far_side import machine as own
        from mlcli.environments._uv import binary

        if list(machine) != own():
            kind = "-".join(filter(None, machine))
            raise UnsupportedError(
                f"uv, which builds environments, is not on that machine, and this one's is for another kind ({kind})",
                hint=f"install uv there: on the PATH of a login, or as {self._folder}/bin/uv",
            )
        uv = Path(binary())
        folder = posixpath.join(self._folder, "uv", hashlib.sha256(uv.read_bytes()).hexdigest()[:16])
        target = posixpath.join(folder, uv.name)
        if not self._transport.read(target, 0, 1):
            log(f"sending uv ({uv.stat().st_size / 1e6:.0f} MB): it is not on that machine")
            self._transport.put(uv, target)
        return folder


def _variables(spec: EnvironmentSpec) -> dict[str, str]:
    """The variables of this process that pip lines name (``${TOKEN}``), as pip would have them filled in."""
    from mlcli.environments._definition import parts

    named = {name for line in parts(spec.conda or {}).lines for name in _VARIABLE.findall(line)}
    return {name: os.environ[name] for name in named if name in os.environ}
