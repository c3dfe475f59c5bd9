"""The engines that tests run on are what their fixtures say, and go away with the session."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from mlcli.agent import identity, is_alive
from tests.engines import Unavailable, engine_or_skip
from tests.engines.disposable import PREFIX, processes_naming, sweep
from tests.engines.docker import DockerEngine, FarDockerEngine, OwnDockerEngine
from tests.engines.packages import root_is_needed
from tests.engines.sshd import DockerOverSsh, SshHost, SshHosts

ROOT = Path(__file__).parents[2]


def run(engine: DockerEngine, image: str, *argv: str) -> str:
    """What a command prints in a container that is gone afterwards."""
    output: bytes = engine.client().containers.run(image, list(argv), remove=True, stderr=True)
    return output.decode()


def test_a_container_says_hello(docker_engine: DockerEngine):
    assert run(docker_engine, docker_engine.tiny_image, "echo", "hello") == "hello\n"


def test_the_base_image_has_python_bash_and_trusted_certificates(docker_engine: DockerEngine):
    check = 'test "$BASH_VERSION" && python3 -c "import ssl; print(ssl.create_default_context().cert_store_stats())"'
    assert "'x509_ca': " in run(docker_engine, docker_engine.base_image, "bash", "-c", check)


def test_the_tiny_image_has_a_shell_and_no_python(docker_engine: DockerEngine):
    words = "for program in sh sleep python3 bash; do command -v $program; done; :"
    assert run(docker_engine, docker_engine.tiny_image, "sh", "-c", words) == "sh\nsleep\n"


def test_the_empty_image_has_no_shell(docker_engine: DockerEngine):
    from docker.errors import APIError

    assert run(docker_engine, docker_engine.empty_image, "echo", "alone") == "alone\n"
    container = docker_engine.client().containers.create(docker_engine.empty_image, ["/bin/sh", "-c", ":"])
    try:
        with pytest.raises(APIError, match="no such file"):
            container.start()
    finally:
        container.remove()


def test_a_run_that_is_left_on_the_engine_is_seen(docker_engine: DockerEngine, tmp_path: Path):
    labels = {"mlcli.run": "left", "mlcli.run_folder": str(tmp_path / "runs" / "left")}
    client = docker_engine.client()
    container = client.containers.create(docker_engine.tiny_image, ["true"], labels=labels)
    try:
        assert docker_engine.containers(below=tmp_path) == [container.name]
        assert container.name in docker_engine.containers()
        assert docker_engine.containers(below=tmp_path / "elsewhere") == []
    finally:
        container.remove()


def test_an_engine_of_ones_own_is_killed_and_comes_back(own_docker_engine: OwnDockerEngine):
    from requests.exceptions import ConnectionError as NoConnection

    engine = own_docker_engine
    container = engine.client().containers.run(engine.tiny_image, ["sleep", "600"], detach=True, init=True)
    engine.kill()
    with pytest.raises(NoConnection):
        engine.client().ping()
    engine.start()
    container.reload()
    assert container.status == "exited"
    engine.stop()
    engine.stop()
    engine.start()
    assert run(engine, engine.tiny_image, "echo", "again") == "again\n"


def test_two_engines_know_nothing_of_each_other_and_share_an_image_by_loading(
    docker_engine: DockerEngine, own_docker_engine: OwnDockerEngine
):
    name = docker_engine.tiny_image
    assert own_docker_engine.client().images.list() == []
    own_docker_engine.load(name, docker_engine)
    assert run(own_docker_engine, name, "echo", "loaded") == "loaded\n"


def test_an_engine_on_another_machine_can_be_cut_off(tcp_docker_engine: FarDockerEngine):
    from requests.exceptions import Timeout

    engine = tcp_docker_engine
    assert run(engine, engine.tiny_image, "echo", "far") == "far\n"
    engine.cut()
    engine.client().api.timeout = 2
    with pytest.raises(Timeout):
        engine.client().ping()
    engine.mend()
    assert engine.client().ping()


def test_a_build_fills_a_small_engine(small_docker_engine: Callable[[int], OwnDockerEngine], tmp_path: Path):
    from docker.errors import BuildError

    engine = small_docker_engine(32)
    (tmp_path / "Dockerfile").write_text(f"FROM {engine.tiny_image}\nRUN dd if=/dev/zero of=/big bs=1M count=64\n")
    with pytest.raises(BuildError) as failed:
        engine.client().images.build(path=str(tmp_path), forcerm=True)
    assert "No space left on device" in "".join(str(line.get("stream", "")) for line in failed.value.build_log)
    assert run(engine, engine.tiny_image, "echo", "still here") == "still here\n"


def test_an_ssh_host_runs_a_command(ssh_host: SshHost):
    done = ssh_host.run("sh", "-c", "echo $((6 * 7)); exit 3")
    assert (done.returncode, done.stdout) == (3, "42\n")


def test_an_ssh_host_is_found_by_paramiko(ssh_host: SshHost):
    import paramiko

    home = Path(ssh_host.environment["HOME"])
    with paramiko.SSHClient() as client:
        client.load_host_keys(str(ssh_host.folder / "known_hosts"))
        options = paramiko.SSHConfig.from_path(str(home / ".ssh" / "config")).lookup("host")
        client.connect(
            options["hostname"], int(options["port"]), options["user"], key_filename=options["identityfile"][0]
        )
        _, stdout, _ = client.exec_command("true")
        assert stdout.channel.recv_exit_status() == 0


def test_hosts_have_their_own_network_and_can_be_cut_off(ssh_hosts: SshHosts):
    for host in ssh_hosts:
        assert host.address in host.run("ip", "-o", "-4", "address").stdout
    neighbour = ssh_hosts["h2"].address
    knock = f"import socket; print(socket.create_connection(({neighbour!r}, 22), 3).recv(4))"
    assert ssh_hosts["h1"].run(sys.executable, "-c", knock).stdout == "b'SSH-'\n"
    ssh_hosts.cut("h2")
    assert ssh_hosts["h2"].run("true").returncode == 255
    assert ssh_hosts["h3"].run("true").returncode == 0
    ssh_hosts.mend("h2")
    assert ssh_hosts["h2"].run("true").returncode == 0


def test_a_host_that_stops_takes_its_processes_along(ssh_hosts: SshHosts, tmp_path: Path):
    host = ssh_hosts["h1"]
    host.run("sh", "-c", f"sleep 600 >/dev/null 2>&1 & echo $! > {tmp_path}/pid")
    sleeper = identity(int((tmp_path / "pid").read_text()))
    assert is_alive(sleeper)
    ssh_hosts.stop("h1")
    assert not is_alive(sleeper)
    assert host.run("true").returncode == 255
    ssh_hosts.start("h1")
    assert host.run("true").returncode == 0


def test_docker_behind_ssh(docker_over_ssh: DockerOverSsh):
    words = "import docker; print(docker.DockerClient(base_url=URL, use_ssh_client=True).version()['Version'])"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", words.replace("URL", repr(docker_over_ssh.base_url))],
        env={**os.environ, **docker_over_ssh.environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == docker_over_ssh.engine.client().version()["Version"], done.stderr


def test_a_killed_session_leaves_nothing_for_long(ssh_host: SshHost):
    """``sweep`` is what the next session does first."""
    words = (
        "import os, signal; from tests.engines.sshd import network_of_ssh_hosts as hosts\n"
        "with hosts(1) as network: print(network['h1'].folder, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    folder = Path(killed.stdout.strip())
    assert folder.name.startswith(PREFIX)
    assert folder.exists()
    assert list(Path("/run/netns").glob(f"{folder.name}*"))
    sweep()
    assert not folder.exists()
    assert not list(Path("/run/netns").glob(f"{folder.name}*"))
    assert ssh_host.run("true").returncode == 0


@pytest.mark.slow
def test_a_session_without_an_engine_starts_one_for_all_its_workers_and_ends_it(tmp_path: Path):
    with engine_or_skip("Docker Engine"):
        root_is_needed("starting a Docker Engine")
    cache = tmp_path / "cache"
    test = """
        import pytest

        @pytest.mark.parametrize("number", range(4))
        def test_it(docker_engine, number):
            print(docker_engine.base_url)
            routes = docker_engine.client().containers.run(
                docker_engine.tiny_image, ["cat", "/proc/net/route"], remove=True)
            assert b"eth0" in routes
        """
    output = session(tmp_path, test, "-n2", MLCLI_TEST_DOCKER="own", MLCLI_TEST_ENGINES_CACHE=str(cache))
    assert "4 passed" in output
    assert len(set(re.findall("unix:///tmp/mlcli-test-docker-.*", output))) == 1
    assert not processes_naming(cache)


def test_containers_that_a_test_forgets_fail_it_and_are_removed(docker_engine: DockerEngine, tmp_path: Path):
    test = """
        def test_it(docker_engine, containers_gone, tmp_path):
            labels = {"mlcli.run": "forgotten", "mlcli.run_folder": str(tmp_path)}
            docker_engine.client().containers.create(
                docker_engine.tiny_image, ["true"], labels=labels, name="mlcli-test-forgotten")
        """
    output = session(tmp_path, test, "-n0", f"--basetemp={tmp_path}/forgotten", DOCKER_HOST=docker_engine.base_url)
    assert "assert ['mlcli-test-forgotten'] == []" in output
    assert docker_engine.containers(below=tmp_path) == []


def test_tests_are_marked_by_the_engines_that_they_use(tmp_path: Path):
    test = "def test_quick(): pass\ndef test_engine(docker_engine): pass\ndef test_both(docker_over_ssh): pass"
    assert "1 passed, 2 deselected" in session(tmp_path, test, "-n0", "-m", "not docker and not ssh")
    assert "2 skipped, 1 deselected" in session(tmp_path, test, "-n0", "-m", "docker", MLCLI_TEST_ENGINES="none")
    assert "1 skipped, 2 deselected" in session(tmp_path, test, "-n0", "-m", "ssh", MLCLI_TEST_ENGINES="none")


def session(folder: Path, test: str, *options: str, **variables: str) -> str:
    """A session of pytest of its own, with the engines' fixtures. Returns what it prints."""
    file = folder / "test_it.py"
    file.write_text(textwrap.dedent(test), "utf-8")
    plugins = [word for name in ("docker", "sshd", "plugin") for word in ("-p", f"tests.engines.{name}")]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *plugins, *options, "-rAs", "-c", ROOT / "pyproject.toml", file],
        cwd=ROOT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("mode", "outcome"), [("", pytest.skip.Exception), ("none", pytest.skip.Exception), ("all", pytest.fail.Exception)]
)
def test_a_missing_engine_skips_unless_all_are_demanded(
    mode: str, outcome: type[BaseException], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MLCLI_TEST_ENGINES", mode)
    reason = "MLCLI_TEST_ENGINES=none" if mode == "none" else "no teapot: it is short"
    with pytest.raises(outcome, match=reason), engine_or_skip("teapot"):
        raise Unavailable("it is short")
