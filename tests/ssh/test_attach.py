"""``mlcli compute attach`` of a machine with an SSH port: who gets in, what is said of it, and what is kept."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Mlcli, Result
from tests.engines.packages import program
from tests.engines.sshd import Account, SshHosts
from tests.engines.sshd import SshHost as Sshd
from tests.ssh.test_secrets import file_keyring

PASSWORD = "correct horse battery"
PASSPHRASE = "a passphrase of mine"
MakeSshd = Callable[..., Sshd]


@dataclass(frozen=True)
class Person:
    """Types commands on a machine that knows the host ``host`` by its ~/.ssh, and has no keyring."""

    mlcli: Mlcli
    sshd: Sshd
    variables: dict[str, str | None] = field(default_factory=dict)

    def __call__(self, *arguments: str | Path, **options: Any) -> Result:
        extra = options.pop("env", {})
        return self.mlcli(*arguments, env={**self.environment(), **extra}, **options)

    def environment(self) -> dict[str, str | None]:
        keyring = "keyring.backends.fail.Keyring"
        return {**self.sshd.environment, "SSH_AUTH_SOCK": None, "PYTHON_KEYRING_BACKEND": keyring, **self.variables}

    def attach(self, *flags: str | Path, **options: Any) -> Result:
        folder = ("--set", f"working_directory={self.mlcli.cwd}/far")
        return self("compute", "attach", "-n", "box", "--type", "virtualmachine", *flags, *folder, **options)

    def kept(self) -> list[str]:
        """Every file below MLCLI_HOME but locks."""
        return [path.name for path in self.mlcli.home.rglob("*") if path.is_file() and path.name != ".lock"]


@pytest.fixture
def person(mlcli: Mlcli) -> Callable[..., Person]:
    return lambda sshd, **variables: Person(mlcli, sshd, variables)


def ok(done: Result) -> Any:
    assert done.code == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.json if done.stdout else None


def refused(person: Person, *flags: str | Path, **options: Any) -> str:
    """What the refusal says; nothing is kept."""
    done = person.attach(*flags, **options)
    assert (done.code, done.stdout) == (1, "")
    assert "Traceback" not in done.stderr
    assert "\nhint: " in done.stderr
    assert person.kept() == []
    assert not (person.mlcli.cwd / "far").exists()
    return " ".join(done.stderr.split())


def keygen(*arguments: str | Path) -> str:
    return subprocess.run(["ssh-keygen", "-q", *map(str, arguments)], check=True, capture_output=True, text=True).stdout


def a_key(folder: Path, passphrase: str = "") -> Path:
    keygen("-t", "ed25519", "-N", passphrase, "-C", "made for a test", "-f", folder / "key")
    return folder / "key"


def authorize(sshd: Sshd, key: Path) -> None:
    with (sshd.folder / "user_key.pub").open("a") as file:
        file.write(key.with_suffix(".pub").read_text())


def host_key(sshd: Sshd) -> str:
    return keygen("-l", "-f", sshd.folder / "host_key.pub").split()[1]


def forget(sshd: Sshd) -> None:
    (sshd.folder / "known_hosts").write_text("")


# what is found, kept, shown


def test_what_was_found_is_said_and_kept(ssh_host: Sshd, person: Any, tmp_path: Path, until: Any) -> None:
    ann = person(ssh_host)
    key = ssh_host.folder / "user_key"
    record = ok(
        ann.attach("--address", "127.0.0.1", "--ssh-port", str(ssh_host.port), "--admin-username", ssh_host.user,
                   "--ssh-private-key-file", os.path.relpath(key, tmp_path), "--tags", "team=vision")
    )  # fmt: skip
    found = record["machine"]
    assert (record["type"], record["state"], record["tags"]) == ("virtualmachine", "Running", {"team": "vision"})
    assert (found["address"], found["host_key"]) == (f"127.0.0.1:{ssh_host.port}", host_key(ssh_host))
    assert found["host_key_state"] == "known"
    assert found["login"].startswith(f"the key {key} (SHA256:")
    assert Path(found["python"]).is_file()
    assert found["python_version"].count(".") == 2
    assert (found["cores"], found["folder"]) == (len(os.sched_getaffinity(0)), f"{tmp_path}/far")
    assert found["free_gb"] == pytest.approx(shutil.disk_usage(tmp_path).free / 2**30, rel=0.2)
    assert found["memory_gb"] > 0
    assert not (tmp_path / "far").exists()
    assert ok(ann("compute", "show", "box")) == record
    wanted = {"local": "Running", "box": "Running"}  # list waits for 5 s, which a loaded machine may need
    until(lambda: {row["name"]: row["state"] for row in ok(ann("compute", "list"))} == wanted)
    (node,) = ok(ann("compute", "list-nodes", "box"))
    assert (node["node_state"], node["private_ip_address"], node["port"]) == ("idle", "127.0.0.1", ssh_host.port)
    seen = ann("compute", "show", "box", tty=True, env={"TERM": "dumb"}).stdout
    for line in (f"Address   127.0.0.1:{ssh_host.port}", f"Host key  {host_key(ssh_host)}", "Python    3."):
        assert line in seen
    ok(ann("compute", "detach", "box", "--yes"))
    assert ann("compute", "show", "box").code == 3


@pytest.mark.parametrize(
    "text",
    [
        "name: box\ntype: virtualmachine\nresource_id: host\nadmin_username: {user}\n",
        """
$schema: https://azuremlschemas.azureedge.net/latest/vmCompute.schema.json
name: box
type: virtualmachine
resource_id: /subscriptions/x/virtualMachines/y
ssh_settings: {{host: 127.0.0.1, admin_username: {user}, ssh_port: {port}, ssh_private_key_file: ../user_key}}
""",
        """
name: box
type: ssh
host: 127.0.0.1
python: {python}
ssh_settings: {{ssh_port: {port}, known_hosts_file: its keys, ssh_private_key_file: ../user_key}}
""",
    ],
    ids=["2021", "2022", "ours"],
)
def test_files_of_every_year(ssh_host: Sshd, person: Any, tmp_path: Path, text: str) -> None:
    """Paths in them start from the file's own folder."""
    ann = person(ssh_host)
    file = tmp_path / "elsewhere" / "vm.yml"
    file.parent.mkdir()
    shutil.copy(ssh_host.folder / "user_key", tmp_path)
    shutil.copy(ssh_host.folder / "known_hosts", file.parent / "its keys")
    python = os.path.realpath(shutil.which("python3") or "")
    file.write_text(text.format(user=ssh_host.user, port=ssh_host.port, python=python))
    assert ok(ann("compute", "attach", "-f", file))["machine"]["address"] == f"127.0.0.1:{ssh_host.port}"
    assert ok(ann("compute", "show", "box"))["state"] == "Running"


def test_the_words_of_2020(ssh_host: Sshd, person: Any) -> None:
    ann = person(ssh_host)
    flags = ("--ssh-port", str(ssh_host.port), "--private-key-file", str(ssh_host.folder / "user_key"))
    made = ok(ann("computetarget", "attach", "remote", "-n", "old", "-a", "127.0.0.1", "-u", ssh_host.user, *flags))
    assert made["machine"]["login"].startswith("the key ")
    assert ok(ann("computetarget", "show", "-n", "old"))["state"] == "Running"
    ok(ann("computetarget", "detach", "-n", "old"))


def test_a_machine_cannot_be_switched_but_can_be_changed(make_ssh_host: MakeSshd, person: Any) -> None:
    sshd = make_ssh_host()
    ann = person(sshd)
    before = ok(ann.attach("-a", "host"))
    for verb in ("start", "stop", "restart"):
        done = ann("compute", verb, "box")
        assert (done.code, "cannot power it on or off" in done.stderr) == (1, True)
    wrong = ann("compute", "update", "box", "--ssh-port", "1")
    assert (wrong.code, "connection refused" in wrong.stderr) == (1, True)
    assert ok(ann("compute", "show", "box")) == before
    sshd.stop()
    assert ok(ann("compute", "update", "box", "--tags", "a=b"))["tags"] == {"a": "b"}  # nobody needs to log in for that
    gone = ok(ann("compute", "show", "box"))
    assert gone["state"] == "Unreachable"
    assert "connection refused" in gone["problem"]
    sshd.start()
    moved = ok(ann("compute", "update", "box", "--set", f"working_directory={ann.mlcli.cwd}/other"))
    assert (moved["machine"]["folder"], moved["tags"]) == (f"{ann.mlcli.cwd}/other", {"a": "b"})
    sshd.stop()
    ok(ann("compute", "delete", "box", "--yes"))


def test_a_machine_with_jobs_on_it(make_ssh_host: MakeSshd, person: Any, tmp_path: Path, until: Any) -> None:
    """Listed with them, not forgotten under them; ``max_concurrent_jobs`` makes the others wait."""
    sshd = make_ssh_host()
    ann = person(sshd)
    ok(ann.attach("-a", "host", "--set", "max_concurrent_jobs=1"))
    job = tmp_path / "job.yml"
    job.write_text("command: sleep 300\nenvironment: current\ncompute: azureml:box\n")
    for name in ("first", "second"):
        ok(ann("job", "create", "-f", job, "--name", name))
    until(lambda: ok(ann("compute", "list-nodes", "box"))[0]["current_job_name"] == "first", pause_s=0.5)
    assert ok(ann("compute", "show", "box"))["jobs"] == {"preparing": 0, "queued": 1, "running": 1}
    (row,) = (row for row in ok(ann("compute", "list")) if row["name"] == "box")
    assert (row["state"], row["jobs"]["running"]) == ("Running", 1)
    refused = ann("compute", "delete", "box", "--yes")
    assert (refused.code, "2 jobs are live on compute box" in refused.stderr) == (1, True)
    ok(ann("job", "cancel", "second"))
    sshd.stop()
    gone = ann("compute", "detach", "box", "--yes", "--force")
    ok(gone)
    assert "job first could not be told to end, it may go on" in gone.stderr
    sshd.start()
    ok(ann("job", "cancel", "first"))
    until(lambda: ok(ann("job", "show", "first"))["status"] == "Canceled", pause_s=0.2)


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Takes connections, and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_machines_that_do_not_answer_are_waited_for_together(
    make_ssh_host: MakeSshd, person: Any, silent_port: int
) -> None:
    sshd = make_ssh_host()
    ann = person(sshd)
    ok(ann.attach("-a", "host"))
    computes = next(ann.mlcli.home.rglob("box.json")).parent
    document = json.loads((computes / "box.json").read_text())
    for number in range(3):
        silent = {
            **document,
            "name": f"mute{number}",
            "ssh": {**document["ssh"], "address": "127.0.0.1", "port": silent_port},
        }
        (computes / f"mute{number}.json").write_text(json.dumps(silent))
    begun = time.monotonic()
    rows = {row["name"]: (row["state"], row.get("problem")) for row in ok(ann("compute", "list"))}
    assert time.monotonic() - begun < 12
    assert rows["box"] == ("Running", None)
    for number in range(3):
        state, problem = rows[f"mute{number}"]
        assert state == "Unreachable"
        assert "no answer within 5 seconds" in problem


def test_a_shell_and_a_command_there(make_ssh_host: MakeSshd, person: Any) -> None:
    """By the program ssh, with the key that was accepted and nothing else known."""
    sshd = make_ssh_host()
    ann = person(sshd)
    forget(sshd)
    ok(ann.attach("-a", "host", "--accept-host-key", host_key(sshd)))
    done = ann("compute", "connect-ssh", "box", "--command", "echo $0 here; exit 7")
    assert (done.code, done.stdout.endswith("here\n")) == (7, True), done.stderr
    typed = ann("compute", "connect-ssh", "box", "--ssh-args=-T", input="echo typed\n")
    assert "typed\n" in typed.stdout
    assert ann("compute", "connect-ssh", "local").code == 2
    assert ann("compute", "connect-ssh", "box", "--ssh-args", "'").code == 2


# host keys


def test_an_unknown_host_is_refused_until_its_key_is_accepted(make_ssh_host: MakeSshd, person: Any) -> None:
    sshd = make_ssh_host()
    ann = person(sshd)
    forget(sshd)
    flag = f"--accept-host-key {host_key(sshd)}"
    assert flag in refused(ann, "-a", "host")
    other = "SHA256:" + "A" * 43
    assert f"it shows the host key {host_key(sshd)}, and not {other}" in refused(
        ann, "-a", "host", "--accept-host-key", other
    )
    assert "is not a host key" in refused(ann, "-a", "host", "--accept-host-key", "yes")
    accepted = ok(ann.attach("-a", "host", *flag.split()))
    assert accepted["machine"]["host_key_state"] == "accepted"
    assert ok(ann("compute", "show", "box"))["state"] == "Running"
    assert (sshd.folder / "known_hosts").read_text() == ""


def test_a_changed_key_is_refused_loudly(make_ssh_host: MakeSshd, person: Any) -> None:
    sshd = make_ssh_host()
    ann = person(sshd)
    ok(ann.attach("-a", "host", "--accept-host-key", host_key(sshd)))
    sshd.stop()
    for name in ("host_key", "host_key.pub"):
        (sshd.folder / name).unlink()
    keygen("-t", "ed25519", "-N", "", "-f", sshd.folder / "host_key")
    sshd.start()
    assert "THE HOST KEY HAS CHANGED" in ok(ann("compute", "show", "box"))["problem"]
    again = ann("compute", "attach", "-n", "other", "-t", "virtualmachine", "-a", "host")
    assert (again.code, "THE HOST KEY HAS CHANGED" in again.stderr) == (1, True)
    assert ann("compute", "show", "other").code == 3
    loud = ann("compute", "update", "box", "--admin-username", "nobody")
    assert (loud.code, "THE HOST KEY HAS CHANGED" in loud.stderr) == (1, True)
    mended = ok(ann("compute", "update", "box", "--accept-host-key", host_key(sshd)))
    assert (mended["state"], mended["machine"]["host_key"]) == ("Running", host_key(sshd))


# keys, passphrases, agents


def test_a_wrong_key(make_ssh_host: MakeSshd, person: Any, tmp_path: Path) -> None:
    said = refused(person(make_ssh_host()), "-a", "host", "--ssh-private-key-file", a_key(tmp_path))
    assert f"the key {tmp_path}/key (SHA256:" in said
    assert "authorized_keys" in said


def test_a_key_with_a_passphrase(make_ssh_host: MakeSshd, person: Any, tmp_path: Path) -> None:
    sshd = make_ssh_host()
    ann = person(sshd)
    key = a_key(tmp_path, PASSPHRASE)
    authorize(sshd, key)
    flags = ("-a", "host", "--ssh-private-key-file", key)
    said = refused(ann, *flags)
    assert "has a passphrase, and nobody gave it" in said
    for way in ("MLCLI_SSH_PASSPHRASE", "keyring", "terminal", "ssh-agent"):
        assert way in said
    assert "is wrong" in refused(ann, *flags, env={"MLCLI_SSH_PASSPHRASE": "another"})
    ok(ann.attach(*flags, env={"MLCLI_SSH_PASSPHRASE": PASSPHRASE}))
    assert ok(ann("compute", "show", "box"))["state"] == "Unreachable"
    assert ok(ann("compute", "show", "box", env={"MLCLI_SSH_PASSPHRASE": PASSPHRASE}))["state"] == "Running"
    everywhere_without(PASSPHRASE, ann.mlcli.home)


def test_a_passphrase_of_2020_goes_into_the_keyring(make_ssh_host: MakeSshd, person: Any, tmp_path: Path) -> None:
    sshd = make_ssh_host()
    key = a_key(tmp_path, PASSPHRASE)
    authorize(sshd, key)
    ann = person(sshd, **file_keyring(tmp_path))
    old = ("computetarget", "attach", "remote", "-n", "old", "-u", sshd.user, "-a", "host")
    done = ann(*old, "--private-key-file", key, "--private-key-passphrase", PASSPHRASE)
    ok(done)
    assert "other users of this machine can see it" in done.stderr
    assert f"the passphrase of {key} is in the system's keyring now" in " ".join(done.stderr.split())
    assert ok(ann("compute", "show", "old"))["state"] == "Running"
    everywhere_without(PASSPHRASE, ann.mlcli.home, output=done)


def test_an_ssh_agent(make_ssh_host: MakeSshd, person: Any, tmp_path: Path) -> None:
    sshd = make_ssh_host()
    ann = person(sshd)
    key = a_key(tmp_path)
    authorize(sshd, key)
    (sshd.folder / "home" / ".ssh" / "config").write_text(
        f"Host *\n  HostName {sshd.address}\n  Port {sshd.port}\n  UserKnownHostsFile {sshd.folder}/known_hosts\n"
    )
    where = str(sshd.folder / "agent")
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", where], stdout=subprocess.DEVNULL)
    try:
        with_agent = {**os.environ, "SSH_AUTH_SOCK": where}
        while subprocess.run(["ssh-add", "-q", key], env=with_agent, capture_output=True, check=False).returncode:
            time.sleep(0.02)
        key.unlink()
        record = ok(ann.attach("-a", "host", env={"SSH_AUTH_SOCK": where}))
        assert record["machine"]["login"].startswith("the ssh-agent's key")
    finally:
        agent.send_signal(signal.SIGTERM)
        agent.wait()


# passwords


@pytest.fixture
def worded(make_ssh_host: MakeSshd) -> Sshd:
    """A host that takes nothing but ann's password."""
    return make_ssh_host(
        options=["PubkeyAuthentication no", "PasswordAuthentication yes"], accounts=[Account("ann", password=PASSWORD)]
    )


def test_a_password_by_variable(worded: Sshd, person: Any) -> None:
    ann = person(worded)
    flags = ("-a", "host", "--admin-username", "ann")
    said = refused(ann, *flags)
    for way in ("MLCLI_SSH_PASSWORD", "keyring", "terminal"):
        assert way in said
    wrong = refused(ann, *flags, env={"MLCLI_SSH_PASSWORD": "wrong horse"})
    assert "the login as ann was refused; tried: the password" in wrong
    assert "wrong horse" not in wrong
    done = ann.attach(*flags, env={"MLCLI_SSH_PASSWORD": PASSWORD})
    assert ok(done)["machine"]["login"] == "the password"
    assert ok(ann("compute", "show", "box", env={"MLCLI_SSH_PASSWORD": PASSWORD}))["state"] == "Running"
    assert "nobody gave one" in ok(ann("compute", "show", "box"))["problem"]
    everywhere_without(PASSWORD, ann.mlcli.home, output=done)


@pytest.mark.parametrize("way", ["flag", "file", "set"])
def test_a_password_that_was_written_goes_into_the_keyring(worded: Sshd, person: Any, tmp_path: Path, way: str) -> None:
    ring = tmp_path / "ring"
    ring.mkdir()
    ann = person(worded, **file_keyring(ring))
    given: tuple[str | Path, ...] = ("-a", "host", "--admin-username", "ann")
    if way == "file":
        file = tmp_path / "vm.yml"
        file.write_text(
            f"name: box\ntype: virtualmachine\nresource_id: host\nssh_settings: {{admin_username: ann, admin_password: {PASSWORD}}}\n"
        )
        given = ("-f", file)
    elif way == "set":
        given = (*given, "--set", f"ssh_settings.admin_password={PASSWORD}")
    else:
        given = (*given, "--admin-password", PASSWORD)
    done = ann.attach(*given)
    ok(done)
    said = " ".join(done.stderr.split())
    assert f"the password of ann@127.0.0.1:{worded.port} is in the system's keyring now, under mlcli-ssh" in said
    assert ("can see it in the list of processes" in said) == (way != "file")
    assert json.loads((ring / "keyring.json").read_text()) == {f"mlcli-ssh ann@127.0.0.1:{worded.port}": PASSWORD}
    assert ok(ann("compute", "show", "box"))["state"] == "Running"
    everywhere_without(PASSWORD, ann.mlcli.home, output=done)
    wrong = ann("compute", "update", "box", "--admin-password", "another")
    assert (wrong.code, "another" in wrong.stderr) == (1, False)
    assert ok(ann("compute", "show", "box"))["state"] == "Running"  # the keyring still has the right one


@pytest.mark.parametrize(
    "backend", ["keyring.backends.fail.Keyring", "keyring.backends.null.Keyring", "no.such.Keyring"]
)
def test_a_password_that_was_written_without_a_keyring(worded: Sshd, person: Any, backend: str) -> None:
    ann = person(worded, PYTHON_KEYRING_BACKEND=backend)
    done = ann.attach("-a", "host", "--admin-username", "ann", "--admin-password", PASSWORD)
    ok(done)
    assert "there is no system keyring here" in done.stderr
    assert "MLCLI_SSH_PASSWORD" in done.stderr
    everywhere_without(PASSWORD, ann.mlcli.home, output=done)


def test_a_password_that_was_not_needed(make_ssh_host: MakeSshd, person: Any, tmp_path: Path) -> None:
    ann = person(make_ssh_host(), **file_keyring(tmp_path))
    done = ann.attach("-a", "host", "--admin-password", PASSWORD)
    ok(done)
    assert "the password was not needed, and is not kept" in done.stderr
    assert not (tmp_path / "keyring.json").exists()


def typing(person: Person, word: str, *arguments: str | Path) -> tuple[int, str, str]:
    """A command at a terminal, where ``word`` is typed when it asks for a password: exit code, what is shown, what asked."""
    screen, stdin = pty.openpty()
    process = person.mlcli.start(*arguments, env=person.environment(), stdin=stdin, start_new_session=True)
    os.close(stdin)
    assert process.stderr is not None
    asked = b""
    while not asked.endswith(b": "):
        more = os.read(process.stderr.fileno(), 4096)
        assert more, asked.decode()
        asked += more
    os.write(screen, f"{word}\n".encode())
    shown, said = process.communicate(timeout=60)
    os.close(screen)
    assert word.encode() not in shown + said
    return process.returncode, (asked + said).decode(), shown.decode()


def test_a_password_that_is_typed(worded: Sshd, person: Any, tmp_path: Path) -> None:
    ann = person(worded, **file_keyring(tmp_path))
    flags = ("compute", "attach", "-n", "box", "-t", "virtualmachine", "-a", "host", "--admin-username", "ann")
    code, said, _ = typing(ann, "wrong horse", *flags)
    assert (code, "tried: the password" in said) == (1, True)
    assert not (tmp_path / "keyring.json").exists()
    code, said, _ = typing(ann, PASSWORD, *flags)
    assert said.startswith(f"Password of ann@127.0.0.1:{worded.port} (for ann@host): ")
    assert (code, "in the system's keyring now" in said) == (0, True)
    assert ok(ann("compute", "show", "box"))["state"] == "Running"


@pytest.mark.parametrize(
    "settings",
    ["{admin_password: hunter2, admin_usernam: x}", "\n  admin_password: 7654321", "{admin_password: [hunter2]}"],
)
def test_a_password_in_a_file_that_is_wrong_is_not_shown(
    person: Any, ssh_host: Sshd, tmp_path: Path, settings: str
) -> None:
    (tmp_path / "vm.yml").write_text(f"name: box\ntype: virtualmachine\nresource_id: host\nssh_settings: {settings}\n")
    done = person(ssh_host)("compute", "attach", "-f", "vm.yml")
    assert (done.code, "vm.yml:" in done.stderr) == (1, True)
    assert "hunter2" not in done.stderr
    assert "7654321" not in done.stderr


def test_a_machine_without_an_address(person: Any, ssh_host: Sshd) -> None:
    done = person(ssh_host)("compute", "attach", "-n", "box", "-t", "VirtualMachine")
    assert (done.code, "give --address HOST" in done.stderr) == (2, True)


# odd machines


def test_no_python_there(make_ssh_host: MakeSshd, person: Any) -> None:
    script = """touch nothing
for python in /usr/bin/python3* /usr/local/bin/python3*; do test ! -f $python || mount --bind nothing $python; done"""
    sshd = make_ssh_host(prepare=script, accounts=[Account("ann")], variables={"PATH": "/bin-without"})
    said = refused(person(sshd), "-a", "host", "--admin-username", "ann")
    assert "there is no Python 3.8 or newer" in said
    assert "apt-get install python3" in said
    assert "--set python=" in said


def test_a_python_that_does_not_work(make_ssh_host: MakeSshd, person: Any) -> None:
    """It starts, and lacks what a job needs."""
    broken = "mkdir lib; cp -r /usr/lib/python3*/. lib; rm lib/tempfile.py; for l in /usr/lib/python3.*; do mount --bind lib $l; done"
    sshd = make_ssh_host(prepare=broken, accounts=[Account("ann")])
    said = refused(person(sshd), "-a", "host", "--admin-username", "ann", "--set", "python=/usr/bin/python3")
    assert "its Python, /usr/bin/python3" in said
    assert "tempfile" in said


@pytest.mark.parametrize("folder", ["", "deep/in/it"])
def test_a_home_that_is_read_only(make_ssh_host: MakeSshd, person: Any, tmp_path: Path, folder: str) -> None:
    prepare = "mount --bind fixed fixed; mount -o remount,ro,bind fixed"
    sshd = make_ssh_host(accounts=[Account("ann", home="fixed")], prepare=prepare)
    ann = person(sshd)
    flags = ("compute", "attach", "-n", "box", "-t", "virtualmachine", "-a", "host", "--admin-username", "ann")
    away = ("--set", f"working_directory={folder}") if folder else ()
    done = ann(*flags, *away)
    said = " ".join(done.stderr.split())
    assert (done.code, f"nothing can be written in {sshd.folder}/fixed: Read-only file system" in said) == (1, True)
    assert f"{sshd.folder}/fixed/{folder or '.mlcli'} there" in said
    assert ann.kept() == []
    assert ok(ann(*flags, "--set", f"working_directory={tmp_path}/far"))["machine"]["folder"] == f"{tmp_path}/far"


def test_a_disk_that_is_full(make_ssh_host: MakeSshd, person: Any) -> None:
    prepare = "mkdir disk; mount -t tmpfs -o size=64k tmpfs disk; head -c 64k /dev/zero > disk/all || true"
    sshd = make_ssh_host(accounts=[Account("ann")], prepare=prepare)
    done = person(sshd)(
        "compute", "attach", "-n", "box", "-t", "virtualmachine", "-a", "host", "--admin-username", "ann",
        "--set", f"working_directory={sshd.folder}/disk/mlcli",
    )  # fmt: skip
    assert (done.code, "No space left on device" in done.stderr) == (1, True)


def test_a_disk_with_little_room_is_told(make_ssh_host: MakeSshd, person: Any) -> None:
    sshd = make_ssh_host(accounts=[Account("ann")], prepare="mkdir disk; mount -t tmpfs -o size=64m tmpfs disk")
    done = person(sshd)(
        "compute", "attach", "-n", "box", "-t", "virtualmachine", "-a", "host", "--admin-username", "ann",
        "--set", f"working_directory={sshd.folder}/disk/mlcli",
    )  # fmt: skip
    assert ok(done)["machine"]["free_gb"] == 0.1
    assert "only 0.1 GB are free there" in done.stderr


@pytest.mark.parametrize(
    ("shell", "rc"),
    [("bash", ".bashrc"), ("fish", ".config/fish/config.fish"), ("tcsh", ".tcshrc")],
)
def test_a_shell_that_prints_and_a_home_with_spaces(make_ssh_host: MakeSshd, person: Any, shell: str, rc: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    account = Account("ann", shell=program(shell), home="home of 'ö'", rc={rc: "echo Welcome, and mind the gap\n"})
    sshd = make_ssh_host(accounts=[account])
    ann = person(sshd)
    record = ok(ann("compute", "attach", "-n", "box", "-t", "virtualmachine", "-a", "host", "--admin-username", "ann"))
    assert record["machine"]["folder"] == f"{sshd.folder}/home of 'ö'/.mlcli"
    assert ok(ann("compute", "show", "box"))["state"] == "Running"


def test_docker_and_gpus_there(make_ssh_host: MakeSshd, person: Any) -> None:
    """By the programs that everybody asks; one that hangs or fails means that there is none."""
    sshd = make_ssh_host(accounts=[Account("ann", shell=program("bash"), rc={".bashrc": 'PATH="$HOME/bin:$PATH"\n'})])
    bin_ = sshd.folder / "home" / "bin"
    bin_.mkdir()
    for name, text in (("docker", "echo 29.1.0"), ("nvidia-smi", "echo NVIDIA T4; echo NVIDIA T4")):
        (bin_ / name).write_text(f"#!/bin/sh\n{text}\n")
        (bin_ / name).chmod(0o755)
    ann = person(sshd)
    found = ok(ann.attach("-a", "host", "--admin-username", "ann"))["machine"]
    assert (found["docker"], found["gpus"]) == ("29.1.0", ["NVIDIA T4", "NVIDIA T4"])
    (bin_ / "docker").write_text("#!/bin/sh\necho; echo Cannot connect >&2; exit 1\n")
    (bin_ / "nvidia-smi").write_text("no program at all\n")
    found = ok(ann("compute", "update", "box", "--accept-host-key", host_key(sshd)))["machine"]
    assert (found["docker"], found["gpus"]) == (None, [])


# the way there


def test_a_name_that_resolves_nowhere(ssh_host: Sshd, person: Any) -> None:
    said = refused(person(ssh_host), "-a", "no-such-host.invalid")
    assert "does not resolve" in said


def test_a_port_where_nobody_listens(ssh_host: Sshd, person: Any) -> None:
    assert "connection refused: nothing listens on 127.0.0.1 port 1" in refused(
        person(ssh_host), "-a", "127.0.0.1", "--ssh-port", "1"
    )


def test_an_address_that_is_none(ssh_host: Sshd, person: Any) -> None:
    done = person(ssh_host).attach("-a", "-oProxyCommand=touch /tmp/x")
    assert (done.code, "is not the address of an SSH host" in done.stderr) == (2, True)


def test_a_name_that_is_taken_stays_whose_it_is(make_ssh_host: MakeSshd, person: Any) -> None:
    ann = person(make_ssh_host())
    before = ok(ann.attach("-a", "host"))
    done = ann.attach("-a", "host", "--tags", "a=b")
    assert (done.code, "'box' already" in done.stderr) == (1, True)
    assert ok(ann("compute", "show", "box")) == before


def test_a_host_behind_a_jump_host_by_its_name_in_the_configuration(ssh_hosts: SshHosts, person: Any) -> None:
    path = ssh_hosts["h1"].folder / "home" / ".ssh" / "config"
    path.write_text("Host far-away\n  HostName " + ssh_hosts["h2"].address + "\n  ProxyJump h1\n" + path.read_text())
    ann = person(ssh_hosts["h1"])
    record = ok(ann.attach("-a", "far-away"))
    assert record["machine"]["address"] == f"{ssh_hosts['h2'].address}:22"
    known = ssh_hosts["h1"].folder / "known_hosts"
    known.write_text("".join(line for line in known.read_text().splitlines(keepends=True) if ",h1 " not in line))
    problem = ok(ann("compute", "show", "box"))["problem"]
    assert "on the way: h1" in problem


# secrets


def everywhere_without(secret: str, *folders: Path, output: Result | None = None) -> None:
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file():
                assert secret.encode() not in path.read_bytes(), path
    if output is not None:
        assert secret not in output.stdout + output.stderr


def arguments_of_all_processes() -> str:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes().decode(errors="replace"))
        except OSError:
            continue
    return "\n".join(found)


def job_with_upload(folder: Path) -> Path:
    """A job that needs a supervisor, as its input goes there first; it prints what it can see of everybody."""
    (folder / "data.txt").write_text("some data\n")
    command = "cat ${{inputs.data}}; cat /proc/[0-9]*/cmdline | tr '\\0' ' '; env; sleep 1"
    inputs = "inputs: {data: {type: uri_file, path: data.txt}}"
    job = folder / "job.yml"
    job.write_text(f"command: {json.dumps(command)}\n{inputs}\nenvironment: current\ncompute: azureml:box\n")
    return job


def test_a_job_leaves_its_password_nowhere(worded: Sshd, person: Any, tmp_path: Path) -> None:
    """Neither on this machine nor on that one, on no command line, in no output."""
    ann = person(worded, MLCLI_SSH_PASSWORD=PASSWORD)
    said = [ann.attach("-a", "host", "--admin-username", "ann")]
    running = ann.mlcli.start(
        "job", "create", "-f", job_with_upload(tmp_path), "--name", "j", "--stream", env=ann.environment()
    )
    while running.poll() is None:
        assert PASSWORD not in arguments_of_all_processes()
        time.sleep(0.1)
    streamed, told = (output.decode() for output in running.communicate())
    assert PASSWORD not in streamed + told
    assert "some data" in streamed, told
    said += [ann("job", "show", "j"), ann("job", "download", "j"), ann("job", "list")]
    assert said[1].json["status"] == "Completed"
    for one in said:
        ok(one)
        everywhere_without(PASSWORD, ann.mlcli.home, tmp_path, worded.folder, output=one)


def test_what_was_typed_serves_the_whole_job(worded: Sshd, person: Any, tmp_path: Path, until: Any) -> None:
    """``job create`` asks once; its supervisor, which nobody can ask, uploads and submits with the answer."""
    ann = person(worded)
    ok(ann.attach("-a", "host", "--admin-username", "ann", env={"MLCLI_SSH_PASSWORD": PASSWORD}))
    code, said, _ = typing(ann, PASSWORD, "job", "create", "-f", job_with_upload(tmp_path), "--name", "typed")
    assert (code, said.count("Password of ann@")) == (0, 1), said
    knowing = {"env": {"MLCLI_SSH_PASSWORD": PASSWORD}}

    def status() -> str:
        found: str = ok(ann("job", "show", "typed", **knowing))["status"]
        return found

    until(lambda: status() in {"Completed", "Failed"})
    assert status() == "Completed"
    everywhere_without(PASSWORD, ann.mlcli.home, tmp_path)
