"""Scalars of TensorBoard's event files below ``./logs``, read by TensorBoard's own reader (extra ``tensorboard``).

A folder below ``logs`` becomes the first part of the name: ``logs/train`` with ``loss`` is ``train/loss``.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from mlcli.domain.metrics import Series, Tracked, evenly, summarise
from mlcli.ports.tracking import RunFiles, Seen, TrackingReader
from mlcli.tracking import _points

LOGS = "wd/logs"
_MARK = "tfevents"
MISSING = "logs/ has TensorBoard's event files, which are not read: pip install 'mlcli[tensorboard]'"


class TensorboardReader(TrackingReader):
    """Reads event files again when one has grown."""

    name = "tensorboard"

    def read(self, run: RunFiles, before: Mapping[str, Any] | None) -> Seen:
        """Nothing but a notice where TensorBoard is not installed."""
        sizes = _event_files(run)
        if not sizes:
            return Seen()
        if before is not None and before.get("sizes") == sizes:
            return Seen(Tracked(_points.digest_of(before).metrics), lambda: before)
        try:
            found = _scalars(run, sizes)
        except ModuleNotFoundError:
            return Seen(Tracked(notices=(MISSING,)))
        metrics = {name: summarise(points) for name, points in found.items()}
        return Seen(Tracked(metrics), lambda: {**_points.Digest(metrics=metrics).as_state(), "sizes": sizes})

    def history(self, run: RunFiles, metric: str, known: int, most: int | None) -> Series:  # noqa: ARG002
        """From the event files."""
        try:
            points = _scalars(run, _event_files(run)).get(metric, Series())
        except ModuleNotFoundError:
            return Series()
        return points if most is None else points.at(evenly(len(points), most))


def _event_files(run: RunFiles) -> dict[str, int]:
    return {path: size for path, size in run.below(LOGS).items() if _MARK in PurePosixPath(path).name}


def _scalars(run: RunFiles, paths: Mapping[str, int]) -> dict[str, Series]:
    """The scalars of all files, by name, in the files' order. Raises ModuleNotFoundError without TensorBoard."""
    columns: dict[str, tuple[Any, Any, Any]] = {}
    for path in sorted(paths):
        file = run.local(f"{LOGS}/{path}")
        if file is None:
            continue
        folder = PurePosixPath(path).parent.as_posix()
        for tag, value, step, seconds in _of_file(str(file)):
            name = tag if folder == "." else f"{folder}/{tag}"
            values, steps, times = columns.setdefault(name, (array("d"), array("q"), array("q")))
            values.append(value)
            steps.append(step)
            times.append(int(seconds * 1000))
    return {name: Series(*sides) for name, sides in columns.items()}


def _of_file(file: str) -> Iterator[tuple[str, float, int, float]]:
    """(tag, value, step, seconds since the epoch) of each scalar. The reader stops where a file is torn."""
    from tensorboard.backend.event_processing import event_file_loader
    from tensorboard.util import tensor_util

    scalars: set[str] = set()
    for event in event_file_loader.EventFileLoader(file).Load():
        for value in event.summary.value:
            if value.HasField("metadata") and value.metadata.plugin_data.plugin_name == "scalars":
                scalars.add(value.tag)
            if value.tag in scalars and value.HasField("tensor"):
                yield value.tag, float(tensor_util.make_ndarray(value.tensor).item()), event.step, event.wall_time
