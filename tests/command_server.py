"""Command lines of ``mlcli`` for tests that only want their result, each in a process of its own that is forked from one
which has imported the command already: most of what a short command costs is the interpreter's start and its imports.

What depends on how an interpreter starts (variables of Python's and of the locale, terminals, signals) is tested with the
installed script instead; ``serves`` tells.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import select
import selectors
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NoReturn

_HEADER = struct.Struct("!Q")
_START = ("PYTHON", "LC_", "LANG", "LD_", "MALLOC_", "VIRTUAL_ENV", "COVERAGE")
_IMPORTED = (
    "docker",
    "jsonschema",
    "mlcli.agent",
    "mlcli.backends.batch",
    "mlcli.cli.app",
    "mlcli.cli.compute",
    "mlcli.cli.environment",
    "mlcli.cli.job",
    "mlcli.cli.run",
    "mlcli.operations.environments",
    "mlcli.operations.observe",
    "mlcli.operations.plan",
    "mlcli.operations.stream",
    "mlcli.operations.submit",
    "mlcli.operations.sweep_submit",
    "mlcli.operations.tracking",
    "mlcli.schedulers.process",
    "mlcli.spec.jobs",
    "mlcli.spec.validate",
    "mlcli.stores.assets",
    "mlcli.stores.computes",
    "mlcli.stores.runs",
    "mlcli.stores.snapshots",
    "mlcli.transports.local",
    "mlcli.workspace",
    "rich.table",
    "ruamel.yaml",
)


def serves(changes: Mapping[str, str | None]) -> bool:
    """Whether a command with these variables is the same as one that an interpreter is started for."""
    return not any(name.startswith(_START) for name in changes)


def run(
    argv: Sequence[str], data: bytes, environment: Mapping[str, str], cwd: Path, timeout_s: float
) -> tuple[int, bytes, bytes]:
    """The exit code, standard output and standard error of ``argv`` (the script and its arguments)."""
    request = json.dumps({"argv": list(argv), "environment": dict(environment), "cwd": str(cwd)}).encode()
    with tempfile.TemporaryFile() as given, socket.socket(socket.AF_UNIX) as connection:
        given.write(data)
        given.seek(0)
        (out, their_out), (err, their_err) = os.pipe(), os.pipe()
        connection.settimeout(timeout_s)
        connection.connect(_address())
        socket.send_fds(connection, [_HEADER.pack(len(request))], [given.fileno(), their_out, their_err])
        connection.sendall(request)
        os.close(their_out)
        os.close(their_err)
        read = _to_their_ends([out, err], timeout_s)
        return int(connection.recv(16)), read[0], read[1]


def _to_their_ends(ends: list[int], timeout_s: float) -> list[bytes]:
    """What is written into these pipes, until nobody has them open."""
    with selectors.DefaultSelector() as waiting:
        read = {end: bytearray() for end in ends}
        for end in ends:
            waiting.register(end, selectors.EVENT_READ)
        while waiting.get_map():
            ready = waiting.select(timeout_s)
            if not ready:
                raise TimeoutError(f"the command still runs; it has printed {read}")
            for key, _ in ready:
                data = os.read(key.fd, 1 << 16)
                read[key.fd] += data
                if not data:
                    waiting.unregister(key.fd)
                    os.close(key.fd)
    return [bytes(read[end]) for end in ends]


@cache
def _address() -> str:
    """Where this process's server listens; it ends with this process."""
    address = f"{tempfile.mkdtemp(prefix='mlcli-test-')}/commands"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(256)
    ours, theirs = os.pipe()  # its other end is closed when we are gone
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLCLI_", "_MLCLI", "AZUREML_"))}
    argv = [sys.executable, __file__, str(listener.fileno()), str(ours)]
    server = subprocess.Popen(
        argv, pass_fds=(listener.fileno(), ours), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=kept
    )
    for end in (listener.detach(), ours):
        os.close(end)
    atexit.register(_end, server, theirs, Path(address))
    return address


def _end(server: subprocess.Popen[bytes], theirs: int, address: Path) -> None:
    os.close(theirs)
    server.wait()
    address.unlink()
    address.parent.rmdir()


def _serve(listener: socket.socket, life: int) -> NoReturn:
    """For each connection a process that forks the command, waits for it, and answers its exit code."""
    for name in _IMPORTED:
        importlib.import_module(name)
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        ready, _, _ = select.select([listener.fileno(), life], [], [])
        if life in ready:
            os._exit(0)
        connection, _ = listener.accept()
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            listener.close()
            os.close(life)
            _handle(connection)
        connection.close()


def _handle(connection: socket.socket) -> NoReturn:
    """Two processes that end here: the command's, and the one that waits for it."""
    header, files, _, _ = socket.recv_fds(connection, _HEADER.size, 3)
    (size,) = _HEADER.unpack(header)
    request = json.loads(connection.recv(size, socket.MSG_WAITALL))
    child = os.fork()
    if child:
        for file in files:
            os.close(file)
        _, status = os.waitpid(child, 0)
        connection.sendall(str(os.waitstatus_to_exitcode(status)).encode())
        os._exit(0)
    connection.close()
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = request["argv"]
    from mlcli.cli.main import main

    code = main()
    atexit._run_exitfuncs()  # what follows otherwise, taking apart all that was imported, takes longer than the command
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    sys.path.pop(0)  # the folder of this file, which is none of the command's
    _serve(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]))
