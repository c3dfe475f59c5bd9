"""What runs on the other machine: this room's builders, asked in JSON.

A question is ``{"verb", "builder", "folder", "shared"}`` and what the verb needs; ``folder`` is mlcli's own there. It comes on
standard input, its answer goes to standard output; or, of a build, it lies in the working folder as ``request.json`` (removed
when read: it may hold credentials) and the answer goes to ``result.json`` beside it, the lines of the log to standard output.

What is refused is answered as ``{"error": ...}``.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from mlcli.domain.errors import MlcliError, UnsupportedError
from mlcli.domain.job import EnvironmentSpec
from mlcli.domain.settings import Settings
from mlcli.environments._interpreter import login_folders
from mlcli.environments._wire import error_record, spec_of
from mlcli.ports.environments import Activation, EnvironmentBuilder

REQUEST, RESULT = "request.json", "result.json"
_OLD_BUILDS_S = 7 * 86400.0


def main() -> None:
    """Answer one question. With the argument ``build`` it is the one in the working folder."""
    if sys.argv[2:] == ["build"]:
        _build_here()
        return
    question = json.load(sys.stdin)
    told: dict[str, Any] = {}
    with _refusals(told):
        told |= _VERBS[question["verb"]](question)
    sys.stdout.write(json.dumps(told))


def machine() -> list[str]:
    """What a program must be made for to run here: system, machine, C library."""
    return [sys.platform, platform.machine(), platform.libc_ver()[0]]


def _build_here() -> None:
    request = Path(REQUEST)
    question = json.loads(request.read_text(encoding="utf-8"))
    request.unlink()
    told: dict[str, Any] = {}
    with _refusals(told):
        with _programs(question) as folders:
            builder = _builder(question)
            made = builder.build(builder.plan(_spec(question)), lambda line: print(line, flush=True))  # noqa: T201
        told["activation"] = _record(made, folders)
    partial = Path(f"{RESULT}.partial")
    partial.write_text(json.dumps(told), encoding="utf-8")
    partial.replace(RESULT)


def _plan(question: Mapping[str, Any]) -> dict[str, Any]:
    """The plan; of an environment that is there its activation too, of another what making it would take."""
    with _programs(question) as folders:
        builder = _builder(question)
        plan = builder.plan(_spec(question))
        told: dict[str, Any] = {"fingerprint": plan.fingerprint, "cached": plan.cached, "description": plan.description}
        if plan.cached:
            told["activation"] = _record(builder.build(plan, lambda _line: None), folders)
        else:
            _sweep(Path(question["folder"]) / "builds")
            told |= {"uv": _has_uv(), "machine": machine()}
    return told


def _listing(question: Mapping[str, Any]) -> dict[str, Any]:
    return {"listing": [asdict(one) for one in _builder(question).listing()]}


def _unfinished(question: Mapping[str, Any]) -> dict[str, Any]:
    return {"unfinished": dict(_builder(question).unfinished())}


def _remove(question: Mapping[str, Any]) -> dict[str, Any]:
    return {"freed": _builder(question).remove(question["fingerprint"])}


def _build_log(question: Mapping[str, Any]) -> dict[str, Any]:
    log = _builder(question).build_log(question["fingerprint"])
    return {"path": str(log or "")}


def _last_failure(question: Mapping[str, Any]) -> dict[str, Any]:
    failure = _builder(question).last_failure(question["fingerprint"])
    return {"failure": error_record(failure) if failure else None}


_VERBS = {
    "plan": _plan,
    "listing": _listing,
    "unfinished": _unfinished,
    "remove": _remove,
    "build_log": _build_log,
    "last_failure": _last_failure,
}


def _builder(question: Mapping[str, Any]) -> EnvironmentBuilder:
    home = Path(question["folder"])
    shared = question["shared"]
    settings = Settings(environments_shared=shared if Path(shared).expanduser().is_dir() else "")
    if question["builder"] == "venv":
        from mlcli.environments.venv import VenvBuilder

        return VenvBuilder(home, settings)
    from mlcli.environments.conda import CondaBuilder

    return CondaBuilder(home, settings, fetches_rattler=True)


def _spec(question: Mapping[str, Any]) -> EnvironmentSpec:
    spec = spec_of(question["spec"])
    for channel in (spec.conda or {}).get("channels") or ():
        folder = str(channel).removeprefix("file://")
        if folder.startswith(("/", "~")) and not Path(folder).expanduser().is_dir():
            raise UnsupportedError(
                f"the conda file's channel {folder} is a folder, and it is not on {platform.node()}",
                hint="put it there under the same path, or give the channel's address",
            )
    return spec


def _record(activation: Activation, folders: list[str]) -> dict[str, Any]:
    """``folders``: those of a login's PATH, which a job's does not have."""
    return asdict(replace(activation, prepend_path=(*activation.prepend_path, *folders)))


@contextmanager
def _programs(question: Mapping[str, Any]) -> Iterator[list[str]]:
    """Programs are looked for as on a login, then where uv may be; the folders that a login adds."""
    folders = login_folders(question["folder"])
    home = Path("~").expanduser()
    others = [str(Path(question["folder"]) / "bin"), str(home / ".local" / "bin"), str(home / ".cargo" / "bin")]
    os.environ["PATH"] = os.pathsep.join([*folders, os.environ.get("PATH", os.defpath), *others])
    yield folders


def _has_uv() -> bool:
    from mlcli.environments._uv import binary

    with suppress(MlcliError):
        return bool(binary())
    return False


def _sweep(builds: Path) -> None:
    """Builds whose end nobody came for."""
    for folder in builds.glob("*/"):
        with suppress(OSError):
            if time.time() - folder.stat().st_mtime > _OLD_BUILDS_S:
                shutil.rmtree(folder)


@contextmanager
def _refusals(told: dict[str, Any]) -> Iterator[None]:
    try:
        yield
    except MlcliError as refused:
        record = error_record(refused)
        if record["hint"]:
            record["hint"] = record["hint"].replace("build log: ", f"build log on {platform.node()}: ")
        told["error"] = record
