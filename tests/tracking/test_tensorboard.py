"""TensorBoard's event files: written by its own writer, read by its own reader."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from mlcli.tracking import tensorboard
from mlcli.tracking.tensorboard import TensorboardReader
from tests.tracking.helpers import FolderRun

READER = TensorboardReader()


def write_events(folder: Path, values: Iterable[tuple[str, int, float]], *, modern: bool = False) -> Path:
    """An event file of scalars: as PyTorch's SummaryWriter writes them, or (``modern``) as TensorFlow 2 does."""
    from tensorboard.compat.proto import event_pb2, summary_pb2
    from tensorboard.plugins.scalar.metadata import create_summary_metadata
    from tensorboard.summary.writer.event_file_writer import EventFileWriter
    from tensorboard.util.tensor_util import make_tensor_proto

    writer = EventFileWriter(str(folder))
    for tag, step, value in values:
        given = {"simple_value": value}
        if modern:
            given = {"tensor": make_tensor_proto(value), "metadata": create_summary_metadata(None, None)}
        summary = summary_pb2.Summary(value=[summary_pb2.Summary.Value(tag=tag, **given)])
        writer.add_event(event_pb2.Event(step=step, wall_time=1000.5 + step, summary=summary))
    writer.close()
    return max(folder.iterdir(), key=lambda file: file.stat().st_mtime_ns)


@pytest.mark.parametrize("modern", [False, True])
def test_scalars_are_metrics_and_folders_a_part_of_their_names(tmp_path, modern):
    run = FolderRun(tmp_path)
    write_events(tmp_path / "wd/logs", [("loss", 0, 2.0), ("loss", 1, 0.5)], modern=modern)
    write_events(tmp_path / "wd/logs/validation/a", [("loss", 5, 4.0)], modern=modern)
    seen = READER.read(run, None)
    assert set(seen.tracked.metrics) == {"loss", "validation/a/loss"}
    loss = seen.tracked.metrics["loss"]
    assert (loss.last, loss.step, loss.time_ms, loss.maximum) == (0.5, 1, 1_001_500, 2.0)
    assert list(READER.history(run, "loss", 2, None).values) == [2.0, 0.5]
    assert len(READER.history(run, "absent", 0, None)) == 0


def test_files_that_have_not_grown_are_not_read_again(tmp_path, monkeypatch):
    run = FolderRun(tmp_path)
    write_events(tmp_path / "wd/logs", [("loss", 0, 2.0)])
    seen = READER.read(run, None)
    assert seen.state is not None
    kept = json.loads(json.dumps(seen.state()))
    monkeypatch.setattr(tensorboard, "_of_file", None)
    again = READER.read(run, kept)
    assert again.tracked == seen.tracked
    assert again.state is not None
    assert again.state() == kept


def test_a_torn_file_is_read_as_far_as_it_goes(tmp_path):
    run = FolderRun(tmp_path)
    file = write_events(tmp_path / "wd/logs", [("loss", step, 1.0) for step in range(10)])
    data = file.read_bytes()
    file.write_bytes(data[: len(data) - 20])
    assert 5 <= READER.read(run, None).tracked.metrics["loss"].count < 10


def test_other_files_are_no_event_files(tmp_path):
    run = FolderRun(tmp_path)
    run.write("wd/logs/train.log", "x")
    assert READER.read(run, None).state is None


def test_without_tensorboard_it_is_said_what_to_install(tmp_path, monkeypatch):
    run = FolderRun(tmp_path)
    run.write("wd/logs/events.out.tfevents.1", b"")
    for name in [name for name in sys.modules if name.split(".")[0] == "tensorboard"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    assert READER.read(run, None).tracked.notices == (tensorboard.MISSING,)
    assert len(READER.history(run, "loss", 1, None)) == 0
