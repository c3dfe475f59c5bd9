"""Machines that are odd, broken, full or shut, in a network of their own: a job runs there all the same, or one sentence says what
is wrong and what to do; nothing is lost, and nothing starts twice.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.engines import engine_or_skip
from tests.engines.packages import program
from tests.engines.sshd import Account, SshHost, SshHosts, network_of_ssh_hosts
from tests.faults.helpers import refused, wait_for
from tests.ssh.conftest import FarJobs, Known, attach

COUNTED = "echo begun >> ../count; "
CLOCK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
int clock_gettime(clockid_t clock, struct timespec *now) {
    int (*real)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");
    int answer = real(clock, now);
    if (clock == CLOCK_REALTIME) now->tv_sec += atol(getenv("CLOCK_OFF_S"));
    return answer;
}
time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}
"""
pytestmark = pytest.mark.slow
JobsAt = Callable[..., FarJobs]


@pytest.fixture(scope="module")
def machines() -> Iterator[SshHosts]:
    """Three machines of this file."""
    with engine_or_skip("network of sshd hosts"):
        hosts = network_of_ssh_hosts(3)
        entered = hosts.__enter__()
    yield entered
    hosts.__exit__(None, None, None)


@pytest.fixture
def h1(machines: SshHosts) -> Iterator[SshHosts]:
    """The machines; h1 is as it was again afterwards, with its cable."""
    yield machines
    machines.mend("h1")
    machines.change("h1")


@pytest.fixture
def jobs_at(tmp_path: Path) -> JobsAt:
    """Jobs on a machine that is attached as ``box``; its folder is ``far``."""

    def make(host: SshHost, far: Path | None = None, *flags: str) -> FarJobs:
        mlcli = Known(tmp_path / "mlcli-home", tmp_path, host.environment)
        attach(mlcli, "box", host.name, far or tmp_path / "far", *flags)
        return FarJobs(mlcli, far or tmp_path / "far")

    return make


def works(jobs: FarJobs, name: str = "works") -> str:
    """A job with code, an input and an output runs there, once, and all comes back. Returns what was said meanwhile."""
    here = jobs.mlcli.cwd
    (here / "src").mkdir(exist_ok=True)
    (here / "src" / "it's a script.sh").write_text('cat "$1"; echo made > "$2/k"\n')
    (here / "in.txt").write_text("given\n")
    done = jobs.run(
        COUNTED + 'sh "it\'s a script.sh" ${{inputs.x}} ${{outputs.o}}',
        name=name,
        code="./src",
        inputs={"x": {"type": "uri_file", "path": "./in.txt"}},
        outputs={"o": {"type": "uri_folder", "path": str(here / name)}},
    )
    assert done.code == 0, done.stderr
    assert done.stdout.startswith("given\n"), done.stdout
    assert (here / name / "k").read_text() == "made\n"
    assert (jobs.folder(name) / "count").read_text() == "begun\n"
    return done.stderr


# what is wrong before anything runs


def test_a_way_that_is_shut_later(h1: SshHosts, jobs_at: JobsAt) -> None:
    """The compute is there; then the key does not fit any more, then the machine shows another host key, then nothing listens."""
    jobs = jobs_at(h1["h1"])
    folder, file = h1["h1"].folder, jobs.file("true", name="never")
    keys = {name: (folder / name).read_text() for name in ("user_key.pub", "host_key", "host_key.pub")}
    try:
        (folder / "user_key.pub").write_text("")
        refused(jobs.mlcli("job", "create", "-f", file), "the login as", "was refused; tried: the key", "hint: ")
        (folder / "user_key.pub").write_text(keys["user_key.pub"])
        for name in ("host_key", "host_key.pub"):
            (folder / name).unlink()
        subprocess.run(
            [program("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "host_key")], check=True
        )
        h1.change("h1")
        refused(jobs.mlcli("job", "create", "-f", file), "THE HOST KEY HAS CHANGED", "hint: ")
        assert jobs.mlcli("job", "list").code == 0
    finally:
        for name, text in keys.items():
            (folder / name).write_text(text)
            (folder / name).chmod(0o600)
        h1.change("h1")
    h1.stop("h1")
    refused(jobs.mlcli("job", "create", "-f", file), "connection refused", "hint: ")
    h1.start("h1")
    assert jobs.list() == {}
    works(jobs)


def test_a_name_that_does_not_resolve_any_more(h1: SshHosts, jobs_at: JobsAt) -> None:
    jobs = jobs_at(h1["h1"])
    configuration = h1["h1"].folder / "home" / ".ssh" / "config"
    text = configuration.read_text()
    configuration.write_text(text.replace(h1["h1"].address, "nowhere.invalid"))
    try:
        done = jobs.mlcli("job", "create", "-f", jobs.file("true"))
    finally:
        configuration.write_text(text)
    refused(done, "nowhere.invalid does not resolve", "hint: ")
    assert jobs.list() == {}


def test_a_password_that_is_wrong_now(h1: SshHosts, tmp_path: Path) -> None:
    options = ["PasswordAuthentication yes", "PubkeyAuthentication no"]
    host = h1.change("h1", options=options, accounts=[Account("ann", password="right one")])
    words = {**host.environment, "MLCLI_SSH_PASSWORD": "right one"}
    mlcli = Known(tmp_path / "mlcli-home", tmp_path, words)
    attach(mlcli, "box", "h1", tmp_path / "far", "--admin-username", "ann")
    jobs = FarJobs(mlcli, tmp_path / "far")
    works(jobs)
    done = mlcli("job", "create", "-f", jobs.file("true", name="never"), env={"MLCLI_SSH_PASSWORD": "wrong one"})
    refused(done, "the login as ann was refused", "the password")
    assert "wrong one" not in done.stderr
    assert "never" not in jobs.list()


def test_a_python_that_is_gone(h1: SshHosts, jobs_at: JobsAt) -> None:
    jobs = jobs_at(h1["h1"])
    without = """touch nothing
for python in /usr/bin/python3* /usr/local/bin/python3*; do test ! -f $python || mount --bind nothing $python; done"""
    h1.change("h1", {"PATH": "/bin-without"}, prepare=without)
    refused(jobs.mlcli("job", "create", "-f", jobs.file("true")), "there is no Python 3.8 or newer", "hint: ")
    assert jobs.list() == {}


def test_a_home_that_is_read_only_now(h1: SshHosts, jobs_at: JobsAt) -> None:
    jobs = jobs_at(h1["h1"])
    works(jobs)
    far = jobs.far
    h1.change("h1", prepare=f"mount --bind {far} {far}; mount -o remount,ro,bind {far}")
    jobs.mlcli("job", "create", "-f", jobs.file("true", name="fixed"), "--stream")
    if "fixed" in jobs.list():
        assert "Read-only file system" in jobs.ended("fixed", "Failed")["status_message"]
    assert jobs.mlcli("job", "stream", "-n", "works", "-o", "none").stdout == "given\n"
    h1.change("h1")
    works(jobs, "again")


def test_a_disk_that_a_job_fills(h1: SshHosts, jobs_at: JobsAt) -> None:
    """The job fails by itself, its record is kept; the next one is told that there is no room; with room, all is well."""
    disk = h1["h1"].folder / "disk"
    disk.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(disk)], check=True)
    h1.change("h1")  # mounts are seen by what starts after them
    try:
        jobs = jobs_at(h1["h1"], disk / "mlcli")
        filled = jobs.run("head -c 30000000 /dev/zero > outputs/big", name="fills")
        refused(filled, "the command exited with code 1; the disk is full")
        assert jobs.ended("fills", "Failed")["exit_code"] == 1
        with (jobs.mlcli.cwd / "in.bin").open("wb") as file:
            file.write(os.urandom(1_000_000))
        given = {"x": {"type": "uri_file", "path": "./in.bin"}}
        told = jobs.run("true", name="next", inputs=given)
        refused(told, "No space left")
        assert jobs.mlcli("job", "delete", "-n", "fills", "--yes").code == 0
        works(jobs)
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


# odd ones, on which a job runs all the same


@pytest.mark.parametrize(
    ("shell", "rc"), [("bash", ".bashrc"), ("fish", ".config/fish/config.fish"), ("tcsh", ".tcshrc")]
)
def test_a_banner_a_shell_and_a_home_with_spaces(h1: SshHosts, jobs_at: JobsAt, shell: str, rc: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    account = Account("ann", shell=program(shell), home=f"home of 'ö' {shell}", rc={rc: "echo Welcome, mind the gap\n"})
    host = h1.change("h1", accounts=[account], options=[f"Banner {h1['h1'].folder}/user_key.pub"])
    jobs = jobs_at(host, host.folder / account.home / ".mlcli", "--admin-username", "ann")
    works(jobs)


def test_one_session_only(h1: SshHosts, jobs_at: JobsAt) -> None:
    jobs = jobs_at(h1.change("h1", options=["MaxSessions 1"]))
    works(jobs)
    jobs.create("echo up; sleep 1000", name="long")
    jobs.says("long", "up")
    assert jobs.cancel("long").code == 0
    jobs.ended("long", "Canceled")


@pytest.mark.parametrize("off_s", [3600, -3600])
def test_a_clock_an_hour_off(h1: SshHosts, jobs_at: JobsAt, tmp_path: Path, off_s: int) -> None:
    """Times of the job are that machine's; what depends on how long something takes does not mind."""
    if shutil.which("cc") is None:
        pytest.skip("no C compiler here")
    library = tmp_path / "clock.so"
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", str(library), "-ldl"], input=CLOCK.encode(), check=True
    )
    host = h1.change("h1", {"LD_PRELOAD": str(library), "CLOCK_OFF_S": str(off_s)})
    shown = float(host.run("date", "+%s").stdout)
    assert abs(shown - time.time() - off_s) < 60
    jobs = jobs_at(host)
    said = jobs.mlcli("compute", "update", "-n", "box", "--set", f"python={program('python3')}")
    assert f"its clock is 60 minutes {'ahead of' if off_s > 0 else 'behind'} this machine's" in said.stderr
    assert abs(said.json["machine"]["clock_ahead_s"] - off_s) < 60
    works(jobs)
    jobs.create("sleep 1000", name="short", limits={"timeout": 1})
    jobs.create("echo up; sleep 1000", name="long")
    record = jobs.ended("short", "Canceled")
    assert 1 <= record["duration_s"] < 30
    jobs.says("long", "up")
    assert jobs.show("long")["status"] == "Running"
    jobs.cancel("long")
    jobs.ended("long", "Canceled")


# what breaks meanwhile


def test_a_machine_that_is_rebooted(h1: SshHosts, jobs_at: JobsAt) -> None:
    """What ran is lost, and says so, once; what had ended is as it was; nothing is started again by itself."""
    jobs = jobs_at(h1["h1"])
    works(jobs)
    jobs.create(COUNTED + "echo first; sleep 1000", name="on")
    jobs.says("on", "first")
    assert jobs.show("on")["status"] == "Running"
    h1.stop("h1")
    jobs.kill_processes("on")
    assert jobs.show("on")["status"] == "Running"
    other = "echo 00000000-1111-2222-3333-444444444444 > boot; mount --bind boot /proc/sys/kernel/random/boot_id"
    h1.change("h1", prepare=other)
    record = jobs.ended("on", "Failed")
    assert record["status_reason"] == "lost"
    assert "restarted" in record["status_message"]
    assert jobs.show("works")["status"] == "Completed"
    assert jobs.mlcli("job", "stream", "-n", "on", "-o", "none").stdout == "first\n"
    assert (jobs.folder("on") / "count").read_text() == "begun\n"
    works(jobs, "after")


def test_sshd_is_killed_in_the_run(h1: SshHosts, jobs_at: JobsAt) -> None:
    jobs = jobs_at(h1["h1"])
    command = COUNTED + "for i in 1 2 3 4 5 6; do echo tick $i; sleep 1; done"
    streaming = jobs.mlcli.start("job", "create", "-f", jobs.file(command, name="on"), "--stream", "-o", "none")
    assert streaming.stdout is not None
    assert streaming.stdout.readline() == b"tick 1\n"
    serving = subprocess.run(
        ["pgrep", "-f", f"^sshd:.*|sshd -D -f {h1['h1'].folder}/h1"], capture_output=True, text=True, check=False
    )
    inside = subprocess.run(
        ["ip", "netns", "pids", str(h1["h1"].namespace)], capture_output=True, text=True, check=True
    )
    for pid in set(serving.stdout.split()) & set(inside.stdout.split()):
        os.kill(int(pid), signal.SIGKILL)
    time.sleep(2)
    h1["h1"].start()
    rest, problems = streaming.communicate(timeout=120)
    assert (streaming.returncode, rest) == (0, b"".join(b"tick %d\n" % n for n in range(2, 7))), problems
    assert (jobs.folder("on") / "count").read_text() == "begun\n"


def test_a_cable_pulled_in_a_download(h1: SshHosts, jobs_at: JobsAt) -> None:
    """It goes on by itself when the cable is back in time, and with the next command when it is not."""
    jobs = jobs_at(h1["h1"])
    jobs.run("head -c 300000000 /dev/urandom > outputs/big; echo small > outputs/small", name="heavy")
    target = jobs.mlcli.cwd / "heavy" / "outputs"
    loading = jobs.mlcli.start("job", "download", "-n", "heavy")
    wait_for(lambda: any(part.name != "small" for part in target.glob("*")) or loading.poll() is not None)
    h1.cut("h1")
    _, problems = loading.communicate(timeout=200)
    h1.mend("h1")
    if loading.returncode:
        assert b"no answer" in problems or b"connection" in problems, problems
    assert not (target / "big").exists() or loading.returncode == 0
    assert jobs.mlcli("job", "download", "-n", "heavy").code == 0
    assert sorted(os.listdir(target)) == ["big", "small"]
    assert (
        subprocess.run(["cmp", target / "big", jobs.folder("heavy") / "wd" / "outputs" / "big"], check=False).returncode
        == 0
    )
