"""What every room's tests share: the installed ``mlcli``, run as a person or a script runs it."""

from __future__ import annotations

import compileall
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import mlcli as package
from tests import command_server

pytest_plugins = [
    "tests.engines.docker",
    "tests.engines.mlflow",
    "tests.engines.registry",
    "tests.engines.sshd",
    "tests.engines.plugin",
]

COMMAND = Path(sys.executable).parent / "mlcli"
DEADLINE_S = 120.0


def pytest_configure(config: pytest.Config) -> None:
    """Compile the package once, as an installation does: where PYTHONDONTWRITEBYTECODE is set, every command that is
    tested would compile it again, which takes most of its time.
    """
    if not hasattr(config, "workerinput"):
        compileall.compile_dir(Path(package.__file__).parent, quiet=2)


@dataclass(frozen=True)
class Result:
    """How a command ended. ``stdout`` and ``stderr`` are text; ``output`` is standard output's bytes as they came."""

    code: int
    stdout: str
    stderr: str
    output: bytes

    @property
    def json(self) -> Any:
        import json

        return json.loads(self.stdout)


@dataclass(frozen=True)
class Mlcli:
    """Call it: ``mlcli("job", "list")``. Every call of one test sees the same empty ``MLCLI_HOME``."""

    home: Path
    cwd: Path

    def environment(self, extra: Mapping[str, str | None] | None = None) -> dict[str, str]:
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("MLCLI_", "_MLCLI", "AZUREML_"))
        }
        changes = {
            "MLCLI_HOME": str(self.home),
            "COLUMNS": "100",
            "TERM": "xterm",
            "MLCLI_LOCAL_CONTAINER": "never",
            **(extra or {}),
        }
        return {name: value for name, value in {**kept, **changes}.items() if value is not None}

    def start(
        self, *arguments: str | Path, env: Mapping[str, str | None] | None = None, **popen: Any
    ) -> subprocess.Popen[bytes]:
        """The command, started and left running: for tests that interrupt it."""
        return subprocess.Popen(
            [str(COMMAND), *map(str, arguments)],
            env=self.environment(env),
            cwd=popen.pop("cwd", self.cwd),
            stdin=popen.pop("stdin", subprocess.DEVNULL),
            stdout=popen.pop("stdout", subprocess.PIPE),
            stderr=popen.pop("stderr", subprocess.PIPE),
            **popen,
        )

    def __call__(
        self,
        *arguments: str | Path,
        input: str | bytes | None = None,  # noqa: A002
        env: Mapping[str, str | None] | None = None,
        cwd: Path | None = None,
        tty: bool = False,
    ) -> Result:
        """Run it to its end. With ``tty`` all three streams are terminals (two: stderr has its own)."""
        data = (input.encode() if isinstance(input, str) else input) or b""
        argv, environment, where = [str(COMMAND), *map(str, arguments)], self.environment(env), cwd or self.cwd
        if tty:
            return _in_terminal(argv, data, environment, where)
        if command_server.serves(env or {}):
            return _result(*command_server.run(argv, data, environment, where, DEADLINE_S))
        done = subprocess.run(
            argv, input=data, env=environment, cwd=where, capture_output=True, timeout=DEADLINE_S, check=False
        )
        return _result(done.returncode, done.stdout, done.stderr)


def _result(code: int, stdout: bytes, stderr: bytes) -> Result:
    return Result(code, stdout.decode(errors="replace"), stderr.decode(errors="replace"), stdout)


def _in_terminal(argv: list[str], data: bytes, environment: dict[str, str], cwd: Path) -> Result:
    screen, stdin_stdout = pty.openpty()
    messages, stderr = pty.openpty()
    process = subprocess.Popen(
        argv, stdin=stdin_stdout, stdout=stdin_stdout, stderr=stderr, env=environment, cwd=cwd, start_new_session=True
    )
    os.close(stdin_stdout)
    os.close(stderr)
    try:
        if data:
            os.write(screen, data)
        read = _read_all({screen: b"", messages: b""})
        code = process.wait(DEADLINE_S)
    except BaseException:
        process.kill()
        process.wait()
        raise
    finally:
        os.close(screen)
        os.close(messages)
    return _result(code, read[screen].replace(b"\r\n", b"\n"), read[messages].replace(b"\r\n", b"\n"))


def _read_all(read: dict[int, bytes]) -> dict[int, bytes]:
    """Everything that the other ends of these terminals write, until each is closed (Linux then answers EIO)."""
    open_ends = set(read)
    deadline = time.monotonic() + DEADLINE_S
    while open_ends:
        ready, _, _ = select.select(list(open_ends), [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            pytest.fail(f"the command still runs; it has printed {read}")
        for end in ready:
            try:
                data = os.read(end, 65536)
            except OSError:
                data = b""
            read[end] += data
            if not data:
                open_ends.discard(end)
    return read


@pytest.fixture
def mlcli(tmp_path: Path) -> Mlcli:
    """The installed command, with an ``MLCLI_HOME`` of the test's own; it runs in the test's ``tmp_path``."""
    return Mlcli(tmp_path / "mlcli-home", tmp_path)


def _until(condition: Callable[[], Any], *, deadline_s: float = 60.0, pause_s: float = 0.02) -> Any:
    deadline = time.monotonic() + deadline_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            pytest.fail(f"not so after {deadline_s:g} s")
        time.sleep(pause_s)


@pytest.fixture
def until() -> Callable[..., Any]:
    """``until(condition)``: wait until it holds, and answer what it answered; fails after a generous deadline."""
    return _until


@pytest.fixture
def interrupt() -> Callable[[subprocess.Popen[bytes]], None]:
    """Ctrl-C: SIGINT to a started command."""
    return lambda process: process.send_signal(signal.SIGINT)
