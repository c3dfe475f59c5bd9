"""The table of runs as a Parquet file, by pyarrow (extra ``parquet``)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from mlcli.domain.logged import LoggedRun
from mlcli.ports.exchange import RunFormat
from mlcli.tracking.tables import COLUMNS, check, rows, runs_of, unreadable, whole


class ParquetFormat(RunFormat):
    """A file."""

    def write(self, runs: Sequence[LoggedRun], place: str) -> Sequence[str]:
        """The file appears whole."""
        text, number, whole_number = pa.string(), pa.float64(), pa.int64()
        types = (text, text, text, text, number, whole_number, whole_number)
        columns = list(zip(*rows(runs), strict=True)) or [()] * len(COLUMNS)
        arrays = [pa.array(column, kind) for column, kind in zip(columns, types, strict=True)]
        table = pa.Table.from_arrays(arrays, names=list(COLUMNS))
        whole(Path(place), lambda path: parquet.write_table(table, path))
        return ()

    def read(self, place: str, scratch: Path) -> Sequence[LoggedRun]:  # noqa: ARG002
        """Other columns are left alone."""
        try:
            check(place, parquet.read_schema(place).names)
            table = parquet.read_table(place, columns=list(COLUMNS))
        except (OSError, pa.ArrowException) as failed:
            raise unreadable(place, "a table of runs", failed) from failed
        return runs_of(place, zip(*(table.column(name).to_pylist() for name in COLUMNS), strict=True))
