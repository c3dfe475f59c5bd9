"""Three machines in a network of their own, one for each generation of job files: the same files, but for the compute's name."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines import engine_or_skip
from tests.engines.sshd import SshHosts, network_of_ssh_hosts
from tests.iris import IRIS, copy_of_iris
from tests.ssh.conftest import FarJobs, Known, attach

PATIENCE_S = 60.0
MID_2021 = """\
code:
  local_path: src
command: >-
  python main.py --iris-csv {inputs.iris}
inputs:
  iris:
    data:
      path: data/iris.csv
    mode: mount
environment:
  docker:
    image: python:3.11
  conda_file: file:environment.yml
compute:
  target: azureml:cpu-cluster
experiment_name: lightgbm-iris-example
"""
LATE_2021 = """\
code:
  local_path: src
command: >-
  python main.py --iris-csv ${{inputs.iris_csv}}
inputs:
  iris_csv:
    file: ./data/iris.csv
environment:
  conda_file: environment.yml
compute: azureml:cpu-cluster
experiment_name: lightgbm-iris-example
"""
FILES = {"h1": MID_2021, "h2": LATE_2021, "h3": (IRIS / "job.yml").read_text("utf-8")}
COMPUTE = {"h1": "compute.target=azureml:h1", "h2": "compute=azureml:h2", "h3": "compute=azureml:h3"}


class _Tunnels(socketserver.StreamRequestHandler):
    """A proxy of the web for machines that have no way to it: CONNECT, and nothing else."""

    def handle(self) -> None:
        address = self.rfile.readline().split()[1].decode()
        while self.rfile.readline().strip():
            pass
        host, _, port = address.rpartition(":")
        try:
            far = socket.create_connection((host, int(port)), timeout=PATIENCE_S)
        except OSError:
            self.wfile.write(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")
            return
        with far:
            self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
            back = threading.Thread(target=_pump, args=(far, self.connection), daemon=True)
            back.start()
            _pump(self.connection, far)
            back.join()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def machines() -> Iterator[SshHosts]:
    """Three, which reach the package index through this machine."""
    with contextlib.ExitStack() as stack:
        with engine_or_skip("network of sshd hosts"):
            hosts = stack.enter_context(network_of_ssh_hosts(3))
        proxy = stack.enter_context(socketserver.ThreadingTCPServer((hosts.wires.address, 0), _Tunnels))
        proxy.daemon_threads = True
        stack.callback(proxy.shutdown)
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        way = f"http://{hosts.wires.address}:{proxy.server_address[1]}"
        for name in hosts.hosts:
            hosts.change(name, {"HTTPS_PROXY": way, "https_proxy": way})
        yield hosts


@pytest.mark.slow
@pytest.mark.network
def test_iris_of_each_generation(machines: SshHosts, tmp_path: Path) -> None:
    """At the same time: code, a conda file, data there; metrics and outputs here."""
    mlcli = Known(tmp_path / "mlcli-home", tmp_path, machines.environment)
    copy_of_iris(tmp_path / "iris")
    for name, text in FILES.items():
        attach(mlcli, name, name, tmp_path / f"far {name}")
        file = tmp_path / "iris" / f"{name}.yml"
        file.write_text(text)
        done = mlcli("job", "create", "-f", file, "-n", f"iris_{name}", "--set", COMPUTE[name], "-o", "none")
        assert done.code == 0, done.stderr
    for name in FILES:
        jobs = FarJobs(mlcli, tmp_path / f"far {name}")
        assert jobs.ended(f"iris_{name}")["compute"] == name
        assert "test-multi_logloss" in mlcli("job", "stream", "-n", f"iris_{name}", "-o", "none").stdout
        assert mlcli("job", "download", "-n", f"iris_{name}", "--outputs", "-o", "none").code == 0
        assert (tmp_path / f"iris_{name}" / "outputs" / "model.txt").read_text().startswith("tree")
        assert jobs.folder(f"iris_{name}").is_dir()


def test_hello_world_of_each_generation(machines: SshHosts, tmp_path: Path) -> None:
    mlcli = Known(tmp_path / "mlcli-home", tmp_path, machines.environment)
    for name, example in (("h1", "hello-world-2021-06"), ("h2", "hello-world-2021-11"), ("h3", "hello-world")):
        attach(mlcli, name, name, tmp_path / f"far {name}")
        file = IRIS.parent / f"{example}.yml"
        done = mlcli("job", "create", "-f", file, "--set", COMPUTE[name], "--stream", "-o", "none")
        assert (done.code, done.stdout) == (0, "hello world\n"), done.stderr
