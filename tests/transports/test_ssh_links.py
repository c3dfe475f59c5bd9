"""Connections that break: a cable is pulled, sshd is killed, a laptop dies. Nothing is lost and nothing is done twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mlcli.backends.batch import BatchBackend
from mlcli.domain.errors import TransportError
from mlcli.domain.settings import Settings
from mlcli.schedulers.process import ProcessScheduler
from mlcli.stores.snapshots import ContentStore
from mlcli.testing.backend import COUNTED, Job
from mlcli.transports import _session
from mlcli.transports.ssh import SshTransport
from tests.engines.packages import program
from tests.engines.sshd import Account, SshHosts
from tests.engines.sshd import SshHost as Sshd
from tests.transports.conftest import MakeSshd, Reach

MEGABYTE = 1 << 20
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def short_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """A link is given up sooner than in real life, so that the tests need not wait 20 seconds each."""
    monkeypatch.setattr(_session, "SILENCE_S", 6.0)


@contextmanager
def meanwhile(act: Callable[[], None], after_s: float) -> Any:
    """Something that happens while the block runs."""
    timer = threading.Timer(after_s, act)
    timer.start()
    try:
        yield
    finally:
        timer.join()


@contextmanager
def once_there(path: Path, text: str, act: Callable[[], None]) -> Any:
    """Something that happens while the block runs, as soon as a file holds ``text``."""

    def look() -> None:
        deadline = time.monotonic() + 60
        while not (path.exists() and path.read_text() == text):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        act()

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def kill_sessions(sshd: Sshd) -> None:
    """Kill -9 the processes of sshd that serve connections; the one that listens stays."""
    listing = subprocess.run(["ps", "-ewwo", "pid=,ppid=,args="], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 2) for line in listing.splitlines()]
    listeners = {pid for pid, _, command in rows if f"{sshd.folder}/" in command and "listener" in command}
    serving = [int(pid) for pid, parent, command in rows if parent in listeners and "sshd" in command]
    assert serving
    for pid in serving:
        os.kill(pid, signal.SIGKILL)


def make_big(path: Path, megabytes: int) -> bytes:
    data = os.urandom(MEGABYTE) * megabytes
    path.write_bytes(data)
    return data


# sshd is killed


def test_sshd_killed_while_a_file_goes_there(sshd: Sshd, reach: Reach, tmp_path: Path) -> None:
    told: list[str] = []
    transport = reach(tell=told.append)
    data = make_big(tmp_path / "big", 60)
    transport.run(["true"])
    with meanwhile(lambda: kill_sessions(sshd), 0.15):
        transport.put(tmp_path / "big", f"{tmp_path}/there/big")
    assert (tmp_path / "there" / "big").read_bytes() == data
    assert os.listdir(tmp_path / "there") == ["big"]
    assert told
    assert "dropped" in told[0]


def test_sshd_killed_while_a_file_comes_back(sshd: Sshd, reach: Reach, tmp_path: Path) -> None:
    transport = reach()
    data = make_big(tmp_path / "big", 60)
    transport.run(["true"])
    with meanwhile(lambda: kill_sessions(sshd), 0.15):
        transport.get(f"{tmp_path}/big", tmp_path / "back" / "big")
    assert (tmp_path / "back" / "big").read_bytes() == data
    assert os.listdir(tmp_path / "back") == ["big"]


def test_sshd_killed_while_code_is_placed(sshd: Sshd, reach: Reach, tmp_path: Path) -> None:
    code = tmp_path / "code"
    code.mkdir()
    for number in range(3000):
        (code / f"{number}.py").write_text(f"print({number})\n" * 100)
    snapshots = ContentStore(tmp_path / "store", Settings())
    digest = snapshots.put(code).digest
    transport = reach()
    transport.run(["true"])
    with meanwhile(lambda: kill_sessions(sshd), 0.3):
        transport.place(f"{tmp_path}/there/wd", digest, snapshots)
    assert subprocess.run(["diff", "-r", code, tmp_path / "there" / "wd"], check=False).returncode == 0


def test_a_command_that_got_no_answer_is_not_repeated(sshd: Sshd, reach: Reach, tmp_path: Path) -> None:
    transport = reach()
    transport.run(["true"])
    count = ["sh", "-c", f"echo once >> {tmp_path}/count; sleep 2"]
    with meanwhile(lambda: kill_sessions(sshd), 0.5), pytest.raises(TransportError) as error:
        transport.run(count)
    assert error.value.transient
    assert "may have been carried out" in error.value.message
    time.sleep(3)
    assert (tmp_path / "count").read_text() == "once\n"
    with once_there(tmp_path / "count", "once\n" * 2, lambda: kill_sessions(sshd)):
        assert transport.run(count, repeatable=True).code == 0
    assert (tmp_path / "count").read_text() == "once\n" * 3


def test_sshd_killed_while_the_shell_begins(make_sshd: MakeSshd, reach: Reach) -> None:
    """Nothing was asked for yet, so it is simply tried again."""
    slow = "test -e ~/begun || { echo begun > ~/begun; sleep 30; }\n"
    sshd = make_sshd(accounts=[Account("mlcli-user", shell=program("bash"), rc={".bashrc": slow})])
    with once_there(sshd.folder / "home" / "begun", "begun\n", lambda: kill_sessions(sshd)):
        assert reach(user="mlcli-user").run(["echo", "in"]).stdout == b"in\n"


def test_a_command_after_a_long_pause_finds_out_first(
    sshd: Sshd, reach: Reach, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What must not be repeated is not sent into a connection that died while nobody looked."""
    monkeypatch.setattr("mlcli.transports._pipe._TRUSTED_S", 0.0)
    transport = reach()
    transport.run(["true"])
    kill_sessions(sshd)
    assert transport.run(["echo", "in"]).stdout == b"in\n"


def test_a_host_that_stays_away_is_given_up(make_sshd: MakeSshd, reach: Reach) -> None:
    sshd = make_sshd()
    transport = reach(patience_s=2.0)
    transport.write(f"{sshd.folder}/file", b"x")
    sshd.stop()
    with pytest.raises(TransportError) as error:
        transport.read(f"{sshd.folder}/file")
    assert error.value.transient
    sshd.start()
    time.sleep(1.1)  # a host that has just not answered is not tried again at once
    assert transport.read(f"{sshd.folder}/file") == b"x"


# interrupted here


UPLOAD = """
import sys
from mlcli.domain.compute import SshHost
from mlcli.transports.ssh import SshTransport
transport = SshTransport(SshHost("host"))
transport.run(["true"])
print("ready", flush=True)
transport.put(__import__("pathlib").Path(sys.argv[1]), sys.argv[2])
"""


def test_an_upload_goes_on_where_a_killed_one_stood(ssh: SshTransport, tmp_path: Path) -> None:
    data = make_big(tmp_path / "big", 80)
    argv = [sys.executable, "-c", UPLOAD, str(tmp_path / "big"), f"{tmp_path}/there/big"]
    victim = subprocess.Popen(argv, stdout=subprocess.PIPE, cwd=ROOT)
    assert victim.stdout is not None
    victim.stdout.readline()
    there = tmp_path / "there"
    while not (there.is_dir() and any(part.stat().st_size > 10 * MEGABYTE for part in there.iterdir())):
        time.sleep(0.01)
    victim.kill()
    victim.communicate()
    (part,) = there.iterdir()
    assert part.name.startswith(".mlcli-")
    before = ssh.frames
    ssh.put(tmp_path / "big", f"{there}/big")
    assert ssh.frames - before < 80
    assert (there / "big").read_bytes() == data
    assert os.listdir(there) == ["big"]


def test_a_file_that_changed_since_is_sent_whole(ssh: SshTransport, tmp_path: Path) -> None:
    """What lies there of an older version is never taken for a part of this one."""
    from mlcli.transports import _copies

    data = make_big(tmp_path / "big", 8)
    entry = _copies._entry(tmp_path / "big", "")
    key = _copies._key(str((tmp_path / "big").resolve()), f"{tmp_path}/there/big", entry)
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / f".mlcli-{key}").write_bytes(b"another" * MEGABYTE)
    ssh.put(tmp_path / "big", f"{tmp_path}/there/big")
    assert (tmp_path / "there" / "big").read_bytes() == data


def test_a_download_goes_on_where_it_stood(ssh: SshTransport, tmp_path: Path) -> None:
    from mlcli.transports import _copies

    data = make_big(tmp_path / "big", 8)
    entry = _copies._entry(tmp_path / "big", "")
    (tmp_path / "back").mkdir()
    key = _copies._key(f"{tmp_path}/big", str(tmp_path / "back" / "big"), entry)
    for start in (data[: 6 * MEGABYTE + 5], b"spoilt" * 100):
        (tmp_path / "back" / f".mlcli-{key}").write_bytes(start)
        before = ssh.frames
        ssh.get(f"{tmp_path}/big", tmp_path / "back" / "big")
        assert (ssh.frames - before <= 4) == (start != b"spoilt" * 100)
        assert (tmp_path / "back" / "big").read_bytes() == data


# cables


def test_a_cable_pulled_while_a_file_goes_there_and_comes_back(network: SshHosts, reach: Reach, tmp_path: Path) -> None:
    transport = reach("h1")
    data = make_big(tmp_path / "big", 100)
    transport.run(["true"])
    with meanwhile(lambda: network.cut("h1"), 0.2), meanwhile(lambda: network.mend("h1"), 10):
        transport.put(tmp_path / "big", f"{tmp_path}/there/big")
    assert (tmp_path / "there" / "big").read_bytes() == data
    with meanwhile(lambda: network.cut("h1"), 0.2), meanwhile(lambda: network.mend("h1"), 10):
        transport.get(f"{tmp_path}/there/big", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == data


def test_a_job_does_not_need_the_cable(network: SshHosts, reach: Reach, tmp_path: Path) -> None:
    """It runs to its end while nobody can see it, and is seen when the link is back; the link is not asked for twice."""
    transport = reach("h1", patience_s=1.0)
    backend = BatchBackend(transport, ProcessScheduler(), Settings(kill_grace_s=2.0), name="far")
    job = Job(backend, ContentStore(tmp_path / "store", Settings()), f"{tmp_path}/runs/r")
    job.submit(COUNTED + "echo begun; sleep 4; echo done")
    job.says(b"begun")
    network.cut("h1")
    told = job.look()
    assert told.sight.value == "no_answer"
    assert "h1" in told.evidence
    time.sleep(2)
    network.mend("h1")
    assert job.wait().code == 0
    assert job.log() == b"begun\ndone\n"
    assert backend.read(job.handle, "count") == b"begun\n"


def test_a_submission_without_an_answer_is_unknown_and_starts_once(
    network: SshHosts, reach: Reach, tmp_path: Path
) -> None:
    from mlcli.ports.backends import Prepared, Submitted, Unknown
    from mlcli.ports.environments import Activation
    from mlcli.testing.backend import planned

    class CutBeforeTheAnswer(ProcessScheduler):
        """The cable is pulled when the agent is about to be started."""

        def submit_argv(self, run_folder: str, *, python: str, agent: str) -> list[str]:
            argv = super().submit_argv(run_folder, python=python, agent=agent)
            threading.Timer(0.5, lambda: network.cut("h2")).start()
            return ["sh", "-c", '"$@"; sleep 3', "sh", *argv]

    transport = reach("h2", patience_s=1.0)
    settings = Settings(kill_grace_s=2.0)
    backend = BatchBackend(transport, CutBeforeTheAnswer(), settings, name="far")
    prepared = Prepared(planned(f"{tmp_path}/runs/r", COUNTED + "true"), Activation())
    answer = backend.submit(prepared, None)
    assert isinstance(answer, Unknown), answer
    network.mend("h2")
    again = BatchBackend(reach("h2"), ProcessScheduler(), settings, name="far")
    assert isinstance(again.submit(prepared, None), Submitted)
    job = Job(again, ContentStore(tmp_path / "store", Settings()), f"{tmp_path}/runs/r")
    assert job.wait().code == 0
    assert again.read(job.handle, "count") == b"begun\n"


def test_no_answer_within_the_time(network: SshHosts, reach: Reach) -> None:
    """Whoever has several questions waits once."""
    network.cut("h3")
    transport = reach("h3")
    for _ in range(3):
        asked = time.monotonic()
        with pytest.raises(TransportError) as error:
            transport.run(["true"])
        assert error.value.transient
        assert "h3" in error.value.message
    assert time.monotonic() - asked < 1
    network.mend("h3")
    time.sleep(1.1)
    assert transport.run(["true"]).code == 0


# jump hosts


def add_configuration(hosts: SshHosts, text: str) -> None:
    path = hosts["h1"].folder / "home" / ".ssh" / "config"
    path.write_text(text + path.read_text())


def test_a_host_behind_two_others(network: SshHosts, reach: Reach) -> None:
    add_configuration(network, "Host h3\n  ProxyJump h1,h2\n")
    told = reach("h3").run(["sh", "-c", "echo $SSH_CONNECTION; ip -brief address show eth0"]).stdout
    assert network["h3"].address.encode() in told
    assert reach("h2", jump="h1").run(["true"]).code == 0


def test_a_host_that_its_jump_host_cannot_reach(network: SshHosts, reach: Reach) -> None:
    network.stop("h3")
    with pytest.raises(TransportError) as error:
        reach("h3", jump="h1").run(["true"])
    assert "the jump host before it cannot reach it" in error.value.message


def test_a_jump_host_that_is_not_known_is_refused(network: SshHosts, reach: Reach) -> None:
    from mlcli.domain.errors import HostKeyError

    lines = (network["h1"].folder / "known_hosts").read_text().splitlines(keepends=True)
    (network["h1"].folder / "known_hosts").write_text("".join(line for line in lines if ",h1 " not in line))
    with pytest.raises(HostKeyError, match="h1"):
        reach("h3", jump="h1").run(["true"])


def test_a_cable_pulled_behind_the_jump_host(network: SshHosts, reach: Reach, tmp_path: Path) -> None:
    """The connection to the jump host stays whole; the silence behind it is noticed all the same."""
    transport = reach("h3", jump="h1")
    transport.write(f"{tmp_path}/file", b"x")
    network.cut("h3")
    with meanwhile(lambda: network.mend("h3"), 8):
        assert transport.read(f"{tmp_path}/file") == b"x"
