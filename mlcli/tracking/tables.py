"""Runs as one long table, a row a value: CSV here, the same as Parquet elsewhere. Artifacts have no place in it.

Columns: ``run_id``, ``kind`` (``run``, ``param``, ``tag`` or ``metric``), ``name``, ``value`` (text), ``number`` (of a
metric), ``step``, ``time_ms``. The rows of kind ``run`` say what it is: ``name``, ``experiment``, ``status``, ``parent``,
``start_ms``, ``end_ms``.
"""

from __future__ import annotations

import csv
import os
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from mlcli.domain.errors import MlcliError, StoreError
from mlcli.domain.logged import LoggedRun
from mlcli.domain.metrics import Series
from mlcli.ports.exchange import RunFormat

COLUMNS = ("run_id", "kind", "name", "value", "number", "step", "time_ms")
_FACTS = ("name", "experiment", "status", "parent", "start_ms", "end_ms")
_NUMBERS = {"start_ms", "end_ms"}
Row = tuple[Any, ...]


class CsvFormat(RunFormat):
    """A file with a heading, as RFC 4180 has it."""

    def write(self, runs: Sequence[LoggedRun], place: str) -> Sequence[str]:
        """The file appears whole."""

        def fill(path: Path) -> None:
            with path.open("w", encoding="utf-8", newline="") as file:
                table = csv.writer(file)
                table.writerow(COLUMNS)
                table.writerows(rows(runs))

        whole(Path(place), fill)
        return ()

    def read(self, place: str, scratch: Path) -> Sequence[LoggedRun]:  # noqa: ARG002
        """Columns may stand in another order."""
        csv.field_size_limit(1 << 30)
        try:
            with Path(place).open(encoding="utf-8", newline="") as file:
                table = csv.DictReader(file)
                check(place, table.fieldnames or ())
                return runs_of(place, (tuple(row[column] for column in COLUMNS) for row in table))
        except (OSError, UnicodeDecodeError, csv.Error) as failed:
            raise unreadable(place, "a table of runs", failed) from failed


def rows(runs: Iterable[LoggedRun]) -> Iterator[Row]:
    """The table's rows."""
    for run in runs:
        for fact in _FACTS:
            if (value := getattr(run, fact)) is not None:
                yield run.run_id, "run", fact, str(value), None, None, None
        for kind, pairs in (("param", run.params), ("tag", run.tags)):
            for name, value in pairs.items():
                yield run.run_id, kind, name, value, None, None, None
        for name, points in run.metrics.items():
            for point in points:
                yield run.run_id, "metric", name, None, point.value, point.step, point.time_ms


def runs_of(place: str, table: Iterable[Row]) -> list[LoggedRun]:
    """The inverse. Raises MlcliError with the row that is none."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for number, (run_id, kind, name, value, figure, step, time_ms) in enumerate(table, 2):
        run = found.setdefault(run_id, {"run": {}, "param": {}, "tag": {}, "metric": {}})
        try:
            if kind == "metric":
                columns = run["metric"].setdefault(name, (array("d"), array("q"), array("q")))
                point = float(figure), int(step), int(time_ms)
                for column, cell in zip(columns, point, strict=True):
                    column.append(cell)
            else:
                run[kind][name] = int(value) if name in _NUMBERS and kind == "run" else value
        except (ValueError, TypeError, KeyError, OverflowError) as wrong:
            raise MlcliError(f"{place}: row {number} is no row of a run ({wrong})") from wrong
    return [
        LoggedRun(
            run_id,
            params=run["param"],
            tags=run["tag"],
            metrics={name: Series(*columns) for name, columns in run["metric"].items()},
            **{
                "name": run_id,
                "experiment": "Default",
                **{fact: run["run"][fact] for fact in _FACTS if fact in run["run"]},
            },
        )
        for run_id, run in found.items()
    ]


def check(place: str, there: Iterable[str]) -> None:
    """Raises MlcliError where a column is missing."""
    missing = [name for name in COLUMNS if name not in set(there)]
    if missing:
        raise MlcliError(
            f"{place} is no table of runs: it has no column {missing[0]}", hint=f"its columns are {', '.join(COLUMNS)}"
        )


def whole(path: Path, fill: Callable[[Path], object]) -> None:
    """Have a file filled under another name and put in place. Raises StoreError."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fill(fresh)
        fresh.replace(path)
    except OSError as failed:
        with suppress(OSError):
            fresh.unlink()
        raise StoreError(
            f"cannot write {path}: {failed.strerror or failed}", hint="give another place: --path"
        ) from failed


def unreadable(place: str, what: str, failed: Exception) -> MlcliError:
    """That a file is not what it should be."""
    why = failed.strerror if isinstance(failed, OSError) and failed.strerror else str(failed)
    return MlcliError(f"cannot read {place} as {what}: {why}", hint="give what mlcli run export has written: --path")
