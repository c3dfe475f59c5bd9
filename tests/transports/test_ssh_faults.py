"""Hosts that are odd, broken, full or shut: the command works all the same, or one sentence says what is wrong."""

from __future__ import annotations

import os
import queue
import shutil
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from unittest.mock import patch

import pytest

from mlcli import agent
from mlcli.domain.errors import TransportError
from mlcli.domain.settings import Settings
from mlcli.stores.snapshots import ContentStore
from mlcli.testing.transport import AWKWARD, make_code, seen
from mlcli.transports.ssh import SshTransport
from tests.engines.packages import program
from tests.engines.sshd import Account
from tests.engines.sshd import SshHost as Sshd
from tests.transports.conftest import MakeSshd, Reach

ECHO_ARGUMENTS = "import json, sys; print(json.dumps(sys.argv[1:]))"
MEGABYTE = 1 << 20


def answers(transport: SshTransport, folder: Path) -> None:
    """Commands, files and the agent all work."""
    import json

    done = transport.run([transport.python(), "-c", ECHO_ARGUMENTS, *AWKWARD])
    assert json.loads(done.stdout) == list(AWKWARD), done
    transport.write(f"{folder}/ö 'x'", b"data")
    assert transport.read(f"{folder}/ö 'x'") == b"data"
    told = transport.run(agent.invocation(transport.python(), transport.agent_folder(), "observe", f"{folder}/none"))
    assert json.loads(told.stdout)["sight"] == "absent"


# login shells


@pytest.mark.parametrize("shell", ["sh", "bash", "zsh", "fish", "tcsh"])
def test_any_login_shell(make_sshd: MakeSshd, reach: Reach, tmp_path: Path, shell: str) -> None:
    make_sshd(accounts=[Account("mlcli-user", shell=program(shell))])
    transport = reach(user="mlcli-user")
    answers(transport, tmp_path)


LOUD = "echo 'WELCOME to the cluster'; echo 'quota: 99 %' >&2; printf 'no line end'\n"


@pytest.mark.parametrize(
    ("shell", "rc"),
    [("bash", ".bashrc"), ("zsh", ".zshenv"), ("tcsh", ".tcshrc"), ("fish", ".config/fish/config.fish")],
)
def test_a_shell_that_prints_a_banner(make_sshd: MakeSshd, reach: Reach, tmp_path: Path, shell: str, rc: str) -> None:
    text = LOUD.replace(" >&2", "") if shell == "tcsh" else LOUD
    make_sshd(accounts=[Account("mlcli-user", shell=program(shell), rc={rc: text})])
    answers(reach(user="mlcli-user"), tmp_path)


def test_a_shell_that_prints_megabytes(make_sshd: MakeSshd, reach: Reach, tmp_path: Path) -> None:
    rc = {".bashrc": "head -c 3000000 /dev/zero | tr '\\0' x; head -c 300000 /dev/zero | tr '\\0' y >&2\n"}
    make_sshd(accounts=[Account("mlcli-user", shell=program("bash"), rc=rc)])
    answers(reach(user="mlcli-user"), tmp_path)


def test_a_login_that_is_shut(make_sshd: MakeSshd, reach: Reach) -> None:
    make_sshd(accounts=[Account("mlcli-user", shell=program("nologin"))])
    with pytest.raises(TransportError) as error:
        reach(user="mlcli-user").run(["true"])
    assert not error.value.transient
    assert "not available" in error.value.message


def test_a_command_that_is_forced_on_us(make_sshd: MakeSshd, reach: Reach) -> None:
    make_sshd(options=["ForceCommand echo this is a git server; exit 3"])
    with pytest.raises(TransportError) as error:
        reach().run(["true"])
    assert "ended with code 3: this is a git server" in error.value.message


def test_a_home_with_spaces(make_sshd: MakeSshd, reach: Reach, tmp_path: Path) -> None:
    sshd = make_sshd(accounts=[Account("mlcli-user", shell=program("bash"), home="home of 'ö'")])
    transport = reach(user="mlcli-user", folder=None)
    answers(transport, tmp_path)
    assert transport.home() == f"{sshd.folder}/home of 'ö'"
    assert transport.agent_folder().startswith(f"{sshd.folder}/home of 'ö'/.mlcli/agent/")


# Python


WITHOUT_PYTHON = """touch nothing
for python in /usr/bin/python3* /usr/local/bin/python3*; do test ! -f $python || mount --bind nothing $python; done"""


def test_no_python(make_sshd: MakeSshd, reach: Reach) -> None:
    make_sshd(prepare=WITHOUT_PYTHON, accounts=[Account("mlcli-user")], variables={"PATH": "/bin-without"})
    with pytest.raises(TransportError) as error:
        reach(user="mlcli-user").run(["true"])
    assert not error.value.transient
    assert "there is no Python 3.8 or newer; looked for python3" in error.value.message
    assert "install Python" in (error.value.hint or "")


def test_an_old_python_is_passed_over(make_sshd: MakeSshd, reach: Reach) -> None:
    """One that is too old ends at once; the next one is taken."""
    import sys

    sshd = make_sshd(
        accounts=[Account("mlcli-user", shell=program("bash"), rc={".bashrc": 'PATH="$HOME/bin:$PATH"\n'})]
    )
    old = sshd.folder / "home" / "bin" / "python3"
    old.parent.mkdir()
    old.write_text("#!/bin/sh\nexit 86\n")
    old.chmod(0o755)
    (old.parent / "python3.12").symlink_to(sys.executable)
    assert reach(user="mlcli-user").run(["true"]).code == 0


def test_the_python_that_is_named(make_sshd: MakeSshd, reach: Reach) -> None:
    sshd = make_sshd(accounts=[Account("mlcli-user", home="a home")])
    (sshd.folder / "a home" / "my python").symlink_to(os.path.realpath(sys.executable))
    for name in ("~/my python", f"{sshd.folder}/a home/my python"):
        assert reach(user="mlcli-user", python=name).run(["true"]).code == 0
    with pytest.raises(TransportError, match="looked for /no/python"):
        reach(user="mlcli-user", python="/no/python").run(["true"])


@pytest.fixture(params=["3.8", "3.9", "3.10", "3.12", "3.13", "3.14"])
def python(request: pytest.FixtureRequest) -> str:
    """An interpreter of that version. (Asked for before a test's HOME is another: what is on the PATH may look there.)"""
    name = f"python{request.param}"
    argv = [name, "-c", "import sys; print(sys.executable)"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False) if shutil.which(name) else None
    if done is None or done.returncode != 0:
        pytest.skip(f"no {name} here")
    return done.stdout.strip()


def test_every_python_from_3_8_on(python: str, sshd: Sshd, reach: Reach, tmp_path: Path) -> None:
    code = make_code(tmp_path / "code")
    snapshots = ContentStore(tmp_path / "store", Settings())
    transport = reach(python=python)
    answers(transport, tmp_path)
    transport.place(f"{tmp_path}/there", snapshots.put(code).digest, snapshots)
    transport.put(tmp_path / "there", f"{tmp_path}/put")
    transport.get(f"{tmp_path}/put", tmp_path / "got")
    assert seen(tmp_path / "got") == seen(code)


# disks


def test_a_home_that_is_read_only(make_sshd: MakeSshd, reach: Reach) -> None:
    sshd = make_sshd(
        accounts=[Account("mlcli-user", home="fixed")],
        prepare="mount --bind fixed fixed; mount -o remount,ro,bind fixed",
    )
    transport = reach(user="mlcli-user", folder=None)
    with pytest.raises(TransportError) as error:
        transport.agent_folder()
    assert not error.value.transient
    assert f"{sshd.folder}/fixed/.mlcli" in error.value.message
    assert "Read-only file system" in error.value.message


def small_disk(make_sshd: MakeSshd) -> str:
    sshd = make_sshd(accounts=[Account("mlcli-user")], prepare="mkdir disk; mount -t tmpfs -o size=8m tmpfs disk")
    return f"{sshd.folder}/disk"


def left(transport: SshTransport, disk: str) -> bytes:
    return transport.run(["find", disk, "-type", "f"]).stdout


@pytest.mark.parametrize("megabytes", [9, 40])
def test_a_full_disk_while_files_go_there(make_sshd: MakeSshd, reach: Reach, tmp_path: Path, megabytes: int) -> None:
    disk = small_disk(make_sshd)
    (tmp_path / "big").write_bytes(bytes(megabytes * MEGABYTE))
    transport = reach(user="mlcli-user")
    with pytest.raises(TransportError) as error:
        transport.put(tmp_path / "big", f"{disk}/data/big")
    assert not error.value.transient
    assert f"{disk}/data" in error.value.message
    assert "No space left" in error.value.message
    assert "free some space" in (error.value.hint or "")
    assert left(transport, disk) == b""


def test_a_full_disk_while_many_small_files_go_there(make_sshd: MakeSshd, reach: Reach, tmp_path: Path) -> None:
    disk = small_disk(make_sshd)
    (tmp_path / "many").mkdir()
    for number in range(24):
        (tmp_path / "many" / str(number)).write_bytes(bytes(MEGABYTE // 2))
    transport = reach(user="mlcli-user")
    with pytest.raises(TransportError, match="No space left"):
        transport.put(tmp_path / "many", f"{disk}/many")
    sizes = transport.run(["find", disk, "-type", "f", "-printf", "%s %P\\n"]).stdout.splitlines()
    assert all(line.split()[0] == str(MEGABYTE // 2).encode() and b".mlcli-" not in line for line in sizes)


def test_a_full_disk_while_code_is_placed_leaves_nothing(make_sshd: MakeSshd, reach: Reach, tmp_path: Path) -> None:
    disk = small_disk(make_sshd)
    (tmp_path / "code").mkdir()
    for number in range(12):
        (tmp_path / "code" / str(number)).write_bytes(os.urandom(MEGABYTE))
    snapshots = ContentStore(tmp_path / "store", Settings())
    transport = reach(user="mlcli-user")
    with pytest.raises(TransportError, match="No space left"):
        transport.place(f"{disk}/run/wd", snapshots.put(tmp_path / "code").digest, snapshots)
    assert left(transport, disk) == b""


def test_a_full_disk_while_one_file_is_written(make_sshd: MakeSshd, reach: Reach) -> None:
    disk = small_disk(make_sshd)
    transport = reach(user="mlcli-user")
    transport.write(f"{disk}/kept", b"before")
    with pytest.raises(TransportError, match="No space left"):
        transport.write(f"{disk}/kept", bytes(9 * MEGABYTE))
    assert transport.read(f"{disk}/kept") == b"before"
    assert left(transport, disk) == f"{disk}/kept\n".encode()


# blobs that a host has lost


@pytest.mark.parametrize("damage", ["remove", "spoil", "cut"])
def test_blobs_that_were_lost_or_spoilt_are_sent_again(ssh: SshTransport, tmp_path: Path, damage: str) -> None:
    code = make_code(tmp_path / "code")
    snapshots = ContentStore(tmp_path / "store", Settings())
    digest = snapshots.put(code).digest
    ssh.place(f"{tmp_path}/there/first", digest, snapshots)
    packs = list((tmp_path / "far" / "blobs").glob("*.pack"))
    assert packs
    for pack in packs:
        data = pack.read_bytes()
        if damage == "remove":
            pack.unlink()
        else:
            pack.write_bytes(b"\0" + data[1:] if damage == "spoil" else data[:-7])
    if damage == "cut":
        ssh.close()  # another process, which reads the packs anew
    ssh.place(f"{tmp_path}/there/second", digest, snapshots)
    assert seen(tmp_path / "there" / "second") == seen(code)


def test_blobs_that_nobody_used_for_a_month_are_deleted(ssh: SshTransport, tmp_path: Path) -> None:
    code = make_code(tmp_path / "code")
    snapshots = ContentStore(tmp_path / "store", Settings())
    ssh.place(f"{tmp_path}/there/first", snapshots.put(code).digest, snapshots)
    blobs = tmp_path / "far" / "blobs"
    for pack in blobs.glob("*.pack"):
        os.utime(pack, (time.time() - 40 * 86400,) * 2)
    ssh.close()
    (code / "other").write_text("other")
    ssh.place(f"{tmp_path}/there/second", snapshots.put(code).digest, snapshots)
    assert seen(tmp_path / "there" / "second") == seen(code)
    assert all(time.time() - pack.stat().st_mtime < 86400 for pack in blobs.glob("*.pack"))


def test_what_the_host_has_is_not_sent_again(ssh: SshTransport, tmp_path: Path) -> None:
    code = make_code(tmp_path / "code")
    snapshots = ContentStore(tmp_path / "store", Settings())
    ssh.place(f"{tmp_path}/there/first", snapshots.put(code).digest, snapshots)
    blobs = tmp_path / "far" / "blobs"
    before = {pack.name: pack.stat().st_size for pack in blobs.iterdir()}
    (code / "run.sh").write_text("#!/bin/sh\n# changed\n")
    ssh.place(f"{tmp_path}/there/second", snapshots.put(code).digest, snapshots)
    new = [pack for pack in blobs.iterdir() if pack.name not in before]
    assert seen(tmp_path / "there" / "second") == seen(code)
    assert [pack.stat().st_size < 200 for pack in new] == [True]


# one session only, forwarded ports


def test_one_session_is_enough(make_sshd: MakeSshd, reach: Reach, tmp_path: Path) -> None:
    make_sshd(options=["MaxSessions 1"])
    transport = reach()
    answers(transport, tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=echo_once, args=(server,), daemon=True).start()
        with socket.create_connection(("127.0.0.1", transport.forward(server.getsockname()[1]))) as near:
            near.sendall(b"through")
            near.shutdown(socket.SHUT_WR)
            assert near.recv(100) == b"through"
    assert transport.run(["echo", "still"]).stdout == b"still\n"


def echo_once(server: socket.socket) -> None:
    caller, _ = server.accept()
    with caller:
        while data := caller.recv(100):
            caller.sendall(data)


def echo_all(server: socket.socket) -> None:
    while True:
        try:
            echo_once(server)
        except OSError:  # closed, here or there
            return


def test_a_forwarded_port_is_asked_for_once_and_nobody_listening_is_no_error(ssh: SshTransport) -> None:
    port = ssh.forward(1)
    assert ssh.forward(1) == port
    with socket.create_connection(("127.0.0.1", port)) as near:
        assert near.recv(1) == b""
    ssh.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_a_forwarded_port_works_while_a_command_runs(ssh: SshTransport) -> None:
    ssh.run(["true"])
    slow = threading.Thread(target=lambda: ssh.run(["sleep", "3"]))
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=echo_once, args=(server,), daemon=True).start()
        port = ssh.forward(server.getsockname()[1])
        slow.start()
        time.sleep(0.3)
        with socket.create_connection(("127.0.0.1", port)) as near:
            near.sendall(b"through")
            assert near.recv(100) == b"through"
        assert slow.is_alive()
        slow.join()


def test_a_connection_that_ends_while_a_caller_says_goodbye_is_no_error(ssh: SshTransport) -> None:
    """What paramiko raises then would be the traceback of a thread, which pytest makes a failure."""
    ssh.run(["true"])
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=echo_once, args=(server,), daemon=True).start()
        near = socket.create_connection(("127.0.0.1", ssh.forward(server.getsockname()[1])))
        near.sendall(b"through")
        assert near.recv(100) == b"through"
        callers: queue.Queue[threading.Thread] = queue.Queue()

        def ended() -> None:
            if threading.current_thread() is not threading.main_thread():  # where a channel may be collected
                callers.put(threading.current_thread())
            raise EOFError

        with patch("paramiko.Channel.close", side_effect=ended):
            near.close()
            caller = callers.get(timeout=30)
            caller.join(30)
    assert not caller.is_alive()


def test_a_host_that_forbids_forwarding_says_so_at_once(make_sshd: MakeSshd, reach: Reach) -> None:
    make_sshd(options=["AllowTcpForwarding no"])
    with pytest.raises(TransportError) as error:
        reach().forward(80)
    assert "AllowTcpForwarding" in (error.value.hint or "")


def listening_at(path: str) -> socket.socket:
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen()
    threading.Thread(target=echo_all, args=(server,), daemon=True).start()
    return server


def sent_and_got(path: str, data: bytes) -> bytes:
    """What an echo at a socket answers, to its end."""
    parts = []
    with socket.socket(socket.AF_UNIX) as near:
        near.connect(path)

        def send() -> None:
            near.sendall(data)
            near.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        while part := near.recv(1 << 16):
            parts.append(part)
        sender.join()
    return b"".join(parts)


def test_a_socket_of_the_host_is_reached_with_its_one_session(
    make_sshd: MakeSshd, reach: Reach, tmp_path: Path
) -> None:
    host = make_sshd(options=["MaxSessions 1"])
    transport, place = reach(), f"{host.folder}/there"
    data = os.urandom(3 << 20)
    with pytest.raises(TransportError, match=f"the socket {place} there cannot be reached"):
        transport.forward_socket(place)
    with listening_at(place):
        near = transport.forward_socket(place)
        assert sent_and_got(near, data) == data
    assert transport.forward_socket(place) == near
    assert stat.S_IMODE(Path(near).parent.stat().st_mode) == 0o700
    transport.close()
    assert not Path(near).parent.exists()


def test_a_socket_is_reached_again_after_the_connection_broke(
    make_sshd: MakeSshd, reach: Reach, tmp_path: Path
) -> None:
    host = make_sshd()
    transport, place = reach(), f"{host.folder}/there"
    with listening_at(place):
        near = transport.forward_socket(place)
        host.stop()
        assert sent_and_got(near, b"") == b""
        host.start()
        time.sleep(1.1)  # a host that has just not answered is not tried again at once
        assert sent_and_got(transport.forward_socket(place), b"again") == b"again"


def test_a_host_that_forbids_sockets_says_so_at_once(make_sshd: MakeSshd, reach: Reach) -> None:
    make_sshd(options=["AllowStreamLocalForwarding no"])
    with pytest.raises(TransportError) as error:
        reach().forward_socket("/var/run/docker.sock")
    assert "AllowStreamLocalForwarding" in (error.value.hint or "")


def test_many_at_once_wait_for_a_host_that_takes_few(make_sshd: MakeSshd, reach: Reach) -> None:
    """sshd hangs up on callers beyond MaxStartups before it greets them."""
    make_sshd(options=["MaxStartups 1:80:3"])
    transports = [reach() for _ in range(8)]
    told: list[bytes] = []
    threads = [
        threading.Thread(target=lambda one=one: told.append(one.run(["echo", "in"]).stdout)) for one in transports
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told == [b"in\n"] * len(transports)


def test_threads_take_turns(ssh: SshTransport) -> None:
    told: dict[int, bytes] = {}

    def ask(number: int) -> None:
        for _ in range(5):
            told[number] = ssh.run(["echo", str(number)]).stdout

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told == {number: f"{number}\n".encode() for number in range(6)}


def test_the_far_process_ends_with_the_connection_and_a_job_does_not(ssh: SshTransport, tmp_path: Path) -> None:
    done = ssh.run(["sh", "-c", "echo $PPID; setsid sleep 300 >/dev/null 2>&1 </dev/null & echo $!"])
    far, job = map(int, done.stdout.split())
    ssh.close()
    deadline = time.monotonic() + 20
    while Path(f"/proc/{far}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(job, 15)


# a machine that lies


def test_a_host_cannot_make_us_write_elsewhere(tmp_path: Path) -> None:
    """What it tells of its files is not believed: names with .., files below links."""
    from mlcli.transports._copies import Entry, _check

    good = [Entry("folder", "a", 0o755, 0), Entry("file", "a/b", 0o644, 0)]
    _check(good, "/runs/r")
    for bad in (
        [Entry("file", "../x", 0o644, 0)],
        [Entry("file", "/etc/x", 0o644, 0)],
        [Entry("folder", "..", 0o755, 0), Entry("file", "../x", 0o644, 0)],
        [Entry("link", "a", 0o777, 0, text="/etc"), Entry("file", "a/passwd", 0o644, 0)],
        [*good, Entry("link", "a", 0o777, 0, text="/etc")],
    ):
        with pytest.raises(TransportError, match="outside it"):
            _check(bad, "/runs/r")
