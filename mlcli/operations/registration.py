"""Registration: the named outputs of a job that has completed become data assets and models."""

from __future__ import annotations

import os.path
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from mlcli.domain.errors import MlcliError, NameTakenError, NotFoundError, TransportError
from mlcli.domain.job import Output
from mlcli.domain.redaction import masked
from mlcli.operations import assets, layout
from mlcli.operations.assets import noun_of
from mlcli.operations.contents import contents
from mlcli.ports.backends import Backend, RunHandle
from mlcli.ports.services import Services
from mlcli.ports.stores import Asset
from mlcli.spec.references import WORDS, checked_name


def register_outputs(services: Services, run: str) -> str:
    """Register every output of the run that has a name to be registered under; what could not be, as a sentence.

    Whoever sees the run's end calls this before the end is written down, so that a process that dies in between leaves it
    to the next. Doing it again, or twice at once, registers nothing twice.
    """
    document = services.runs.document(run, layout.PLAN_DOCUMENT) or {}
    wanted = [each for each in (document.get("plan") or {}).get("outputs", ()) if each.get("asset_name")]
    registered, problems = {}, []
    for output in wanted:
        try:
            asset = _register(services, run, output)
        except (MlcliError, OSError) as refused:
            problems.append(f"output {output['name']} is not registered: {masked(str(refused))}")
            continue
        registered[output["name"]] = {"noun": asset.kind, "name": asset.name, "version": asset.version}
    if registered:
        services.runs.write_document(run, layout.REGISTERED_DOCUMENT, registered)
    return "; ".join(problems)


def bring_home(backend: Backend, where: RunHandle, outputs: Sequence[Mapping[str, Any]]) -> str:
    """Fetch the outputs of a run on another machine that have a place on this one; what could not be had, as a sentence.

    What is here already is fetched again: it may be half. Raises TransportError when trying again may help.
    """
    problems = []
    for output in (one for one in outputs if one.get("home")):
        source = os.path.relpath(output["value"], where.run_folder)
        try:
            if _is_there(backend, where, source, output["type"]):
                backend.fetch(where, source, Path(output["home"]))
        except (MlcliError, OSError) as refused:
            if isinstance(refused, TransportError) and refused.transient:
                raise
            problems.append(f"output {output['name']} is not fetched: {masked(str(refused))}")
    return "; ".join(problems)


def _is_there(backend: Backend, where: RunHandle, path: str, type_: str) -> bool:
    if type_ == "uri_file":
        return backend.read(where, path, 0, 0) is not None
    return bool(backend.list_files(where, path))


def check_free(services: Services, wanted: Output) -> None:
    """That an output may be registered as what it names. Raises UsageError, NameTakenError: before the job runs, not after."""
    if wanted.name is None:
        return
    noun = noun_of(wanted.type)
    checked_name(wanted.name, noun)
    if wanted.version is None:
        return
    checked_name(wanted.version, noun, "version")
    with suppress(NotFoundError):
        services.assets.find(noun, wanted.name, version=wanted.version)
        hint = "leave 'version' out, and the next one is made"
        raise NameTakenError(
            f"the {WORDS.get(noun, noun)} {wanted.name!r} has a version {wanted.version!r} already", hint=hint
        )


def _register(services: Services, run: str, output: Mapping[str, Any]) -> Asset:
    place = output.get("home") or output["value"]
    if not os.path.lexists(place):
        raise MlcliError(f"the job has not written {place}")
    document = {
        "type": output["type"],
        "path": place.rstrip("/"),
        "job_name": run,
        "output_name": output["name"],
        assets.CONTENTS: contents(Path(place)),
    }
    return services.assets.create(
        noun_of(output["type"]),
        output["asset_name"],
        document,
        version=output.get("asset_version"),
        unless=lambda one: (one.document.get("job_name"), one.document.get("output_name")) == (run, output["name"]),
    )
