"""``run monitor-tensorboard``: the real TensorBoard over a run's event files, those of a far run brought here as they grow."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mlcli.domain.errors import MlcliError, TransportError, UnsupportedError

if TYPE_CHECKING:
    from mlcli.cli.command import Session

_LOOK_EVERY_S = 5.0


def monitor(session: Session, name: str, folder: Path | None, port: int) -> int:
    """Run TensorBoard until Ctrl-C; answers 0 then. ``folder``: where copies are kept (None: in the run's folder, or none
    are needed). ``port``: 0 lets it choose.
    """
    from mlcli.operations import observe, tensorboard

    program = _program()
    run = observe.get(session.services, name)
    place = tensorboard.bring(session.services, run, folder)
    if not place.files and run.state.is_end:
        raise MlcliError(
            f"job {name} has left no TensorBoard event files in ./logs",
            hint="write them there: SummaryWriter('logs'); other metrics: mlcli run metrics or mlcli run plot",
        )
    if not place.files:
        session.console.notice(
            f"job {name} has written no event files to ./logs yet: TensorBoard shows them as they come"
        )
    place.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    argv = [*program, "--logdir", str(place.folder), "--port", str(port), "--reload_interval", "5"]
    process = subprocess.Popen(argv, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"})
    session.console.notice(f"TensorBoard over {place.folder}; Ctrl-C ends it, not the job")
    try:
        return _attend(session, process, name, folder)
    except KeyboardInterrupt:
        return 0
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _attend(session: Session, process: subprocess.Popen[bytes], name: str, folder: Path | None) -> int:
    """Bring what grows elsewhere, until TensorBoard has ended."""
    from mlcli.operations import observe, tensorboard

    while True:
        try:
            code = process.wait(_LOOK_EVERY_S)
        except subprocess.TimeoutExpired:
            try:
                tensorboard.bring(session.services, observe.get(session.services, name), folder)
            except TransportError as failed:
                session.console.detail(failed.message)
            continue
        if code > 0:
            raise MlcliError(f"TensorBoard ended with code {code}", hint="what it said stands above")
        return 0


def _program() -> list[str]:
    """TensorBoard beside mlcli, else the one on PATH. Raises UnsupportedError."""
    if importlib.util.find_spec("tensorboard") is not None:
        return [sys.executable, "-m", "tensorboard.main"]
    found = shutil.which("tensorboard")
    if found is not None:
        return [found]
    raise UnsupportedError("TensorBoard is not installed", hint="pip install 'mlcli[tensorboard]'")
