"""Who gets in, and what is said to who does not."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from mlcli.domain.errors import HostKeyError, TransportError
from mlcli.transports._known_hosts import HostKey
from tests.engines.sshd import Account
from tests.engines.sshd import SshHost as Sshd
from tests.transports.conftest import MakeSshd, Reach

PASSWORD = "correct horse battery"
PASSPHRASE = "a passphrase of mine"


def keygen(*arguments: str | Path) -> None:
    subprocess.run(["ssh-keygen", "-q", *map(str, arguments)], check=True, capture_output=True)


def a_key(folder: Path, passphrase: str = "", kind: str = "ed25519") -> Path:
    keygen("-t", kind, "-N", passphrase, "-C", "made for a test", "-f", folder / "key")
    return folder / "key"


def authorize(sshd: Sshd, key: Path) -> None:
    with (sshd.folder / "user_key.pub").open("a") as file:
        file.write(key.with_suffix(".pub").read_text())


def refused(reach: Reach, **options: Any) -> TransportError:
    with pytest.raises(TransportError) as error:
        reach(**options).run(["true"])
    assert error.value.hint
    return error.value


class Told:
    """Answers questions, and notes them."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, str]] = []

    def __call__(self, kind: str, subject: str) -> str | None:
        self.asked.append((kind, subject))
        return self.answers.pop(0) if self.answers else None


# keys


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_a_key_file_of_any_kind(make_sshd: MakeSshd, reach: Reach, tmp_path: Path, kind: str) -> None:
    sshd = make_sshd()
    key = a_key(tmp_path, kind=kind)
    authorize(sshd, key)
    assert reach(key_file=str(key)).run(["echo", "in"]).stdout == b"in\n"


def test_a_wrong_key_is_named_with_what_the_host_takes(make_sshd: MakeSshd, reach: Reach, tmp_path: Path) -> None:
    make_sshd()
    key = a_key(tmp_path)
    error = refused(reach, key_file=str(key))
    assert not error.transient
    kind, data, *_ = key.with_suffix(".pub").read_text().split()
    assert f"the key {key} ({HostKey(kind, data).fingerprint})" in error.message
    assert "it takes: publickey" in error.message
    assert "authorized_keys" in (error.hint or "")


def test_a_key_file_that_is_not_there(make_sshd: MakeSshd, reach: Reach, tmp_path: Path) -> None:
    make_sshd()
    error = refused(reach, key_file=str(tmp_path / "none"))
    assert f"the key {tmp_path / 'none'} cannot be read: No such file" in error.message


def test_a_key_file_that_is_no_key(make_sshd: MakeSshd, reach: Reach, tmp_path: Path) -> None:
    make_sshd()
    (tmp_path / "text").write_text("not a key")
    assert "is not a private key that can be used" in refused(reach, key_file=str(tmp_path / "text")).message


@pytest.mark.parametrize("options", [[], ["-m", "PEM", "-t", "rsa"]])
def test_a_key_with_a_passphrase_is_asked_for_once(
    make_sshd: MakeSshd, reach: Reach, tmp_path: Path, options: list[str]
) -> None:
    sshd = make_sshd()
    keygen(*(options or ["-t", "ed25519"]), "-N", PASSPHRASE, "-f", tmp_path / "key")
    authorize(sshd, tmp_path / "key")
    told = Told(PASSPHRASE)
    transport = reach(key_file=str(tmp_path / "key"), secrets=told)
    assert transport.run(["true"]).code == 0
    transport.close()
    assert transport.run(["true"]).code == 0
    assert told.asked == [("passphrase", str(tmp_path / "key"))]


@pytest.mark.parametrize(("answers", "said"), [(["wrong one"], "is wrong"), ([], "nobody gave it")])
def test_a_passphrase_that_is_wrong_or_missing(
    make_sshd: MakeSshd, reach: Reach, tmp_path: Path, answers: list[str], said: str
) -> None:
    make_sshd()
    key = a_key(tmp_path, PASSPHRASE)
    error = refused(reach, key_file=str(key), secrets=Told(*answers))
    assert said in error.message
    assert "wrong one" not in error.message


def test_the_keys_of_an_ssh_agent(
    make_sshd: MakeSshd, reach: Reach, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sshd = make_sshd()
    key = a_key(tmp_path)
    authorize(sshd, key)
    (sshd.folder / "home" / ".ssh" / "config").write_text(
        f"Host *\n  HostName {sshd.address}\n  Port {sshd.port}\n  UserKnownHostsFile {sshd.folder}/known_hosts\n"
    )
    socket = str(sshd.folder / "agent")
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL)
    try:
        monkeypatch.setenv("SSH_AUTH_SOCK", socket)
        while subprocess.run(["ssh-add", "-q", str(key)], capture_output=True, check=False).returncode:
            pass
        key.unlink()
        assert reach().run(["echo", "in"]).stdout == b"in\n"
    finally:
        agent.send_signal(signal.SIGTERM)
        agent.wait()


# passwords


def with_password(make_sshd: MakeSshd, method: str = "PasswordAuthentication yes") -> Sshd:
    return make_sshd(options=["PubkeyAuthentication no", method], accounts=[Account("mlcli-word", password=PASSWORD)])


def test_a_password(make_sshd: MakeSshd, reach: Reach) -> None:
    sshd = with_password(make_sshd)
    told = Told(PASSWORD)
    transport = reach(user="mlcli-word", secrets=told)
    assert transport.run(["echo", "in"]).stdout == b"in\n"
    transport.close()
    assert transport.run(["true"]).code == 0
    assert told.asked == [("password", f"mlcli-word@127.0.0.1:{sshd.port}")]


def test_questions_instead_of_a_password(make_sshd: MakeSshd, reach: Reach) -> None:
    """Hosts that log in through PAM ask; the password answers the hidden question."""
    make_sshd(
        options=[
            "PubkeyAuthentication no",
            "UsePAM yes",
            "KbdInteractiveAuthentication yes",
            "PasswordAuthentication no",
        ],
        accounts=[Account("mlcli-word", password=PASSWORD)],
    )
    told = Told(PASSWORD)
    assert reach(user="mlcli-word", secrets=told).run(["echo", "in"]).stdout == b"in\n"
    assert [kind for kind, _ in told.asked] == ["password"]


def test_a_wrong_password_is_not_repeated_in_the_error(make_sshd: MakeSshd, reach: Reach) -> None:
    with_password(make_sshd)
    error = refused(reach, user="mlcli-word", secrets=Told("wrong horse"))
    assert not error.transient
    assert "mlcli-word was refused; tried: the password" in error.message
    assert "wrong horse" not in error.message + str(error.hint)


def test_a_password_that_nobody_gives(make_sshd: MakeSshd, reach: Reach) -> None:
    with_password(make_sshd)
    error = refused(reach, user="mlcli-word")
    assert "it takes a password, and nobody gave one" in error.message
    for way in ("MLCLI_SSH_PASSWORD", "keyring", "terminal"):
        assert way in (error.hint or "")


def test_no_secret_is_on_a_command_line_or_in_a_file(make_sshd: MakeSshd, reach: Reach, tmp_path: Path) -> None:
    with_password(make_sshd)
    transport = reach(user="mlcli-word", secrets=Told(PASSWORD))
    listed = transport.run(["sh", "-c", "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ"]).stdout
    assert PASSWORD.encode() not in listed
    transport.agent_folder()
    assert subprocess.run(["grep", "-rq", PASSWORD, str(tmp_path)], check=False).returncode == 1


# host keys


def forget(sshd: Sshd, text: str = "") -> None:
    (sshd.folder / "known_hosts").write_text(text)


def fingerprint(sshd: Sshd) -> str:
    words = subprocess.run(
        ["ssh-keygen", "-lf", str(sshd.folder / "host_key.pub")], capture_output=True, text=True, check=True
    )
    return words.stdout.split()[1]


def test_an_unknown_host_is_refused_with_its_fingerprint_and_the_flag(make_sshd: MakeSshd, reach: Reach) -> None:
    sshd = make_sshd()
    forget(sshd)
    error = refused(reach)
    assert isinstance(error, HostKeyError)
    assert not error.changed
    assert fingerprint(sshd) in error.message
    assert f"--accept-host-key {fingerprint(sshd)}" in (error.hint or "")
    assert reach(host_key=fingerprint(sshd)).run(["true"]).code == 0
    assert reach(host_key=error.key).run(["true"]).code == 0


def test_a_pin_can_be_kept(make_sshd: MakeSshd, reach: Reach) -> None:
    sshd = make_sshd()
    key = reach(host_key=fingerprint(sshd)).host_key()
    assert key == " ".join((sshd.folder / "host_key.pub").read_text().split()[:2])
    forget(sshd)
    assert reach(host_key=key).run(["true"]).code == 0


def test_another_key_than_the_pinned_one_is_refused_loudly(make_sshd: MakeSshd, reach: Reach, tmp_path: Path) -> None:
    sshd = make_sshd()
    other = " ".join(a_key(tmp_path).with_suffix(".pub").read_text().split()[:2])
    error = refused(reach, host_key=other)
    assert isinstance(error, HostKeyError)
    assert error.changed
    assert "THE HOST KEY HAS CHANGED" in error.message
    assert fingerprint(sshd) in error.message


def test_a_changed_key_names_the_line_that_knows_another(make_sshd: MakeSshd, reach: Reach, tmp_path: Path) -> None:
    sshd = make_sshd()
    other = a_key(tmp_path).with_suffix(".pub").read_text()
    forget(sshd, f"# ours\n[{sshd.address}]:{sshd.port} {other}")
    error = refused(reach)
    assert "THE HOST KEY HAS CHANGED" in error.message
    assert f"{sshd.folder}/known_hosts:2" in error.message


def test_a_revoked_key_is_refused_even_when_it_is_known(make_sshd: MakeSshd, reach: Reach) -> None:
    sshd = make_sshd()
    known = (sshd.folder / "known_hosts").read_text()
    forget(sshd, known + "".join(f"@revoked {line}\n" for line in known.splitlines()))
    assert "revoked" in refused(reach).message


def test_a_hashed_known_hosts_file(make_sshd: MakeSshd, reach: Reach) -> None:
    sshd = make_sshd()
    keygen("-H", "-f", sshd.folder / "known_hosts")
    assert "|1|" in (sshd.folder / "known_hosts").read_text()
    assert reach().run(["true"]).code == 0


def test_of_several_host_keys_the_known_kind_is_asked_for(make_sshd: MakeSshd, reach: Reach, tmp_path: Path) -> None:
    keygen("-t", "rsa", "-N", "", "-f", tmp_path / "rsa")
    sshd = make_sshd(options=[f"HostKey {tmp_path}/rsa"])
    forget(sshd, f"[{sshd.address}]:{sshd.port} {(tmp_path / 'rsa.pub').read_text()}")
    assert reach().host_key().startswith("ssh-rsa ")


# addresses


def test_a_name_that_resolves_nowhere(make_sshd: MakeSshd, reach: Reach) -> None:
    make_sshd()
    error = refused(reach, address="no-such-host.invalid")
    assert "the name no-such-host.invalid does not resolve" in error.message


def test_nothing_listens(make_sshd: MakeSshd, reach: Reach) -> None:
    sshd = make_sshd()
    sshd.stop()
    error = refused(reach)
    assert error.transient
    assert f"connection refused: nothing listens on {sshd.address} port {sshd.port}" in error.message


def test_what_listens_is_no_sshd(make_sshd: MakeSshd, reach: Reach) -> None:
    import socket
    import threading

    make_sshd()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            while True:
                try:
                    caller, _ = server.accept()
                except OSError:
                    return
                with caller:
                    caller.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        error = refused(reach, address="127.0.0.1", port=server.getsockname()[1])
        server.shutdown(socket.SHUT_RDWR)
    assert "no sshd" in error.message


@pytest.mark.parametrize("address", ["", "-oProxyCommand=touch x", "a b", "$(id)", "a;b", "a\nb", "`id`"])
def test_what_is_no_address_reaches_no_shell(reach: Reach, address: str) -> None:
    error = refused_usage(reach, address)
    assert "is not the address" in error


def refused_usage(reach: Reach, address: str) -> str:
    from mlcli.domain.errors import UsageError

    with pytest.raises(UsageError) as error:
        reach(address=address).run(["true"])
    return error.value.message


# ~/.ssh/config


def add_configuration(sshd: Sshd, text: str) -> None:
    path = sshd.folder / "home" / ".ssh" / "config"
    path.write_text(text + path.read_text())


def test_a_host_of_the_configuration_with_an_include(make_sshd: MakeSshd, reach: Reach) -> None:
    sshd = make_sshd()
    (sshd.folder / "more").write_text(
        f"Host box\n  HostName {sshd.address}\n  Port {sshd.port}\n  HostKeyAlias host-of-mine\n"
    )
    add_configuration(sshd, f"Include {sshd.folder}/more\n")
    assert "host key is not known" in refused(reach, address="box").message
    forget(sshd, f"host-of-mine {(sshd.folder / 'host_key.pub').read_text()}")
    assert reach("box").run(["true"]).code == 0


def test_a_mistake_in_the_configuration_is_told_in_ssh_s_words(make_sshd: MakeSshd, reach: Reach) -> None:
    add_configuration(make_sshd(), "Host *\n  NoSuchOption yes\n")
    error = refused(reach)
    assert "nosuchoption" in error.message.lower() or "bad configuration" in error.message.lower()


def test_a_proxy_command(make_sshd: MakeSshd, reach: Reach) -> None:
    sshd = make_sshd()
    relay = sshd.folder / "relay.py"
    relay.write_text(
        "import os, select, socket, sys\n"
        "far = socket.create_connection((sys.argv[1], int(sys.argv[2])))\n"
        "while True:\n"
        "    for ready in select.select([0, far], [], [])[0]:\n"
        "        data = os.read(0, 65536) if ready == 0 else far.recv(65536)\n"
        "        if not data: sys.exit()\n"
        "        far.sendall(data) if ready == 0 else os.write(1, data)\n"
    )
    add_configuration(sshd, f"Host host\n  ProxyCommand /usr/bin/python3 {relay} %h %p\n")
    transport = reach()
    assert transport.run(["echo", "in"]).stdout == b"in\n"
    transport.close()
    assert not [pid for pid in os.listdir("/proc") if pid.isdigit() and str(relay) in command_of(pid)]


def command_of(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def test_a_proxy_command_that_fails(make_sshd: MakeSshd, reach: Reach) -> None:
    add_configuration(make_sshd(), "Host host\n  ProxyCommand exit 1\n")
    assert refused(reach).transient
