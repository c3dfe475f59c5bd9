"""Experiments: the names under which runs are grouped. A run makes its own; one may be described, and put away."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from mlcli.domain.errors import NameTakenError, NotFoundError, UsageError
from mlcli.domain.run import Run, RunFilter
from mlcli.operations import observe
from mlcli.operations.times import iso_time
from mlcli.ports.services import Services
from mlcli.ports.stores import Asset, AssetChanges

KIND = "experiment"
_VERSION = "1"
Record = dict[str, Any]


def create(
    services: Services, name: str, description: str | None = None, tags: Mapping[str, str] | None = None
) -> Record:
    """Make one before it has runs. The very same again is no error. Raises NameTakenError."""
    if not name.strip():
        raise UsageError("an experiment needs a name")
    try:
        services.assets.create(KIND, name, {}, version=_VERSION, description=description, tags=tags or {})
    except NameTakenError:
        kept = services.assets.find(KIND, name, version=_VERSION)
        if (description, tags or {}) != (kept.description, dict(kept.tags)):
            hint = f"look at it: mlcli experiment show -n {name}"
            raise NameTakenError(
                f"there is an experiment {name!r} already, with another description", hint=hint
            ) from None
    return show(services, name)


def show(services: Services, name: str) -> Record:
    """One, with its runs counted by status. Raises NotFoundError with the nearest names."""
    runs = observe.list_runs(services, RunFilter(experiment_name=name, include_archived=True))
    kept = _kept(services, name)
    if kept is None and not runs:
        raise _not_found(services, name)
    return _record(name, kept, runs)


def list_all(services: Services, *, archived: bool | None = False) -> list[Record]:
    """All of them, the one with the newest run first. ``archived``: only those that are (not); None: both."""
    by_name: dict[str, list[Run]] = {}
    for run in services.runs.list(RunFilter(include_archived=True)):
        by_name.setdefault(run.experiment_name, []).append(run)
    kept = {name: _kept(services, name) for name in services.assets.names(KIND)}
    found = [_record(name, kept.get(name), by_name.get(name, ())) for name in {**by_name, **kept}]
    chosen = [record for record in found if archived is None or record["archived"] is archived]
    return sorted(chosen, key=lambda record: record["last_run"] or record["created_at"] or "", reverse=True)


def archive(services: Services, name: str, *, archived: bool) -> Record:
    """Put one away, or back; its runs stay as they are. Raises NotFoundError."""
    show(services, name)
    with suppress(NameTakenError):
        services.assets.create(KIND, name, {}, version=_VERSION)
    services.assets.edit(KIND, name, _VERSION, lambda _asset: AssetChanges(archived=archived))
    return show(services, name)


def _kept(services: Services, name: str) -> Asset | None:
    try:
        return services.assets.find(KIND, name, version=_VERSION)
    except NotFoundError:
        return None


def _record(name: str, kept: Asset | None, runs: Sequence[Run]) -> Record:
    counts = Counter(str(run.state) for run in runs)
    times = [run.created_at for run in runs]
    return {
        "name": name,
        "description": kept.description if kept else None,
        "tags": dict(kept.tags) if kept else {},
        "archived": kept is not None and kept.archived,
        "runs": len(runs),
        "status": dict(counts.most_common()),
        "created_at": iso_time(min([*times, *([kept.created_at] if kept else [])], default=None)),
        "last_run": iso_time(max(times, default=None)),
    }


def _not_found(services: Services, name: str) -> NotFoundError:
    import difflib

    near = difflib.get_close_matches(name, [record["name"] for record in list_all(services, archived=None)])
    hint = f"did you mean {' or '.join(near)}?" if near else "mlcli experiment list shows them"
    return NotFoundError(f"there is no experiment {name!r}", hint=hint)
