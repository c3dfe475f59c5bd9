"""A Docker Engine of the tests' own: its own socket, data and control group, beside any other engine of this machine."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from tests.engines import Unavailable
from tests.engines.disposable import end, unmount_below
from tests.engines.packages import SEARCH, needed, program, root_is_needed

READY_WITHIN_S = 60.0


@dataclass(frozen=True)
class Dockerd:
    """A ``dockerd``. Its socket, pid file and log are in ``folder``, its images and containers in ``data``.

    In a network namespace, where it can set up its network as it likes (``--bridge=none`` removes the docker0 of others), or
    without one, with ``flags`` that keep it from what others use.
    """

    folder: Path
    data: Path
    namespace: str | None = None
    flags: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        return f"unix://{self.folder}/docker.sock"

    def start(self) -> None:
        """Start it and wait until it answers. Raises Unavailable with the end of its log."""
        root_is_needed("starting a Docker Engine")
        needed("dockerd", "containerd", "iptables")
        argv = self._argv()
        self._pid_file.unlink(missing_ok=True)  # of one that was killed: its number may be another process's by now
        log = os.open(self.folder / "dockerd.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            pid = os.posix_spawn(
                argv[0],
                argv,
                {**os.environ, "PATH": SEARCH},
                file_actions=[(os.POSIX_SPAWN_DUP2, log, 1), (os.POSIX_SPAWN_DUP2, log, 2)],
                setsid=True,
            )
        finally:
            os.close(log)
        self._wait_until_ready(pid)

    def kill(self) -> None:
        """SIGKILL to the daemon. The containers go on; a containerd that it started dies with it."""
        end(self._alive(self._pid_file))
        end(self._alive(self._containerd_pid_file))
        # dockerd takes a dead process that nobody has waited for yet for a living containerd, and would wait for its answer.
        self._containerd_pid_file.unlink(missing_ok=True)

    def stop(self) -> None:
        """The orderly way: its containers are stopped first. SIGKILL when it does not come to an end."""
        if not end(self._alive(self._pid_file), with_signal=signal.SIGTERM, patience_s=30.0):
            self.kill()
        unmount_below(self.data)

    def answers(self) -> bool:
        import docker
        from docker.errors import DockerException

        with contextlib.suppress(OSError, DockerException):
            with socket.socket(socket.AF_UNIX) as knock:  # the SDK leaves the socket of a failed connect unclosed
                knock.connect(f"{self.folder}/docker.sock")
            docker.DockerClient(base_url=self.url, timeout=10).close()
            return True
        return False

    @property
    def _pid_file(self) -> Path:
        return self.folder / "dockerd.pid"

    def _argv(self) -> list[str]:
        name = self.folder.name
        enter = [program("nsenter"), f"--net=/run/netns/{self.namespace}"] if self.namespace else []
        return [
            *enter,
            program("dockerd"),
            f"--host={self.url}",
            f"--data-root={self.data}",
            f"--exec-root={self.folder}/exec",
            f"--pidfile={self._pid_file}",
            f"--containerd-namespace={name}",
            f"--containerd-plugins-namespace={name}-plugins",
            f"--cgroup-parent=/{name}",
            "--exec-opt=native.cgroupdriver=cgroupfs",
            "--shutdown-timeout=5",
            *self.flags,
        ]

    @property
    def _containerd_pid_file(self) -> Path:
        return self.folder / "exec" / "containerd" / "containerd.pid"

    def _alive(self, pid_file: Path) -> list[int]:
        """The process that this file names, if it lives and is ours."""
        with contextlib.suppress(OSError, ValueError):
            pid = int(pid_file.read_text())
            if os.fsencode(self.folder) in Path(f"/proc/{pid}/cmdline").read_bytes():
                return [pid]
        return []

    def _wait_until_ready(self, pid: int) -> None:
        deadline = time.monotonic() + READY_WITHIN_S
        while not self.answers():
            gone, _ = os.waitpid(pid, os.WNOHANG)
            if gone or time.monotonic() > deadline:
                self.kill()
                end([] if gone else [pid])
                lines = (self.folder / "dockerd.log").read_text("utf-8", "replace").splitlines()
                raise Unavailable("dockerd does not start: " + " | ".join(lines[-5:]))
            time.sleep(0.1)
