"""What ``ssh -G`` tells, as a hop."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcli.domain.compute import SshHost
from mlcli.domain.errors import TransportError, UsageError
from mlcli.transports._ssh_config import Hop, Question, hop_of, host_of_jump, parse


def hop(text: str, host: SshHost | None = None) -> Hop:
    return hop_of(host or SshHost("box"), parse(text))


def test_the_words_that_count() -> None:
    found = hop(
        "hostname 10.0.0.1\nuser ann\nport 2222\nidentityfile ~/.ssh/%h_%r\nidentityfile none\nidentitiesonly yes\n"
        "connecttimeout 7\nserveraliveinterval 11\ncompression yes\nproxycommand nc %h %p # 100%%\n"
        "userknownhostsfile /home/a b/.ssh/known_hosts ~/more\nglobalknownhostsfile /etc/ssh/ssh_known_hosts\n"
    )
    home = os.path.expanduser("~")
    assert (found.address, found.user, found.port) == ("10.0.0.1", "ann", 2222)
    assert found.key_files == (f"{home}/.ssh/10.0.0.1_ann",)
    assert found.explicit_keys
    assert (found.connect_timeout_s, found.keep_alive_s, found.compression) == (7.0, 11.0, True)
    assert found.proxy_command == "nc 10.0.0.1 2222 # 100%"
    assert found.known_hosts == ("/home/a b/.ssh/known_hosts", f"{home}/more", "/etc/ssh/ssh_known_hosts")
    assert found.names == ("[10.0.0.1]:2222", "10.0.0.1")
    assert str(found) == "box (10.0.0.1:2222)"


def test_what_is_not_said_is_as_ssh_has_it() -> None:
    found = hop("hostname box\nproxycommand none\nproxyjump none\nuserknownhostsfile none\n")
    assert (found.port, found.jumps, found.proxy_command, found.known_hosts) == (22, (), None, ())
    assert found.connect_timeout_s > 0


def test_an_alias_is_the_only_name() -> None:
    assert hop("hostname box\nport 44\nhostkeyalias Cluster\n").names == ("cluster",)


def test_a_named_key_is_the_only_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", "/agent")
    assert hop("identityfile ~/.ssh/id_rsa\n").agent == "/agent"
    found = hop("identityfile ~/.ssh/id_rsa\n", SshHost("box", key_file="/my/key"))
    assert (found.key_files, found.explicit_keys, found.agent) == (("/my/key",), True, None)


@pytest.mark.parametrize(
    ("text", "agent"),
    [("none", None), ("SSH_AUTH_SOCK", "/usual"), ("$OTHER", "/other"), ("/a/%h", "/a/box"), ("$NOT_SET", None)],
)
def test_the_agent_of_the_configuration(monkeypatch: pytest.MonkeyPatch, text: str, agent: str | None) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", "/usual")
    monkeypatch.setenv("OTHER", "/other")
    assert hop(f"hostname box\nidentityagent {text}\n").agent == agent


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("h1", SshHost("h1")),
        ("ann@h1:22", SshHost("h1", 22, "ann")),
        ("ssh://ann@h1:22", SshHost("h1", 22, "ann")),
        ("ann@[::1]:22", SshHost("::1", 22, "ann")),
        ("fe80::1", SshHost("fe80::1")),
        ("ann@mail@h1", SshHost("h1", None, "ann@mail")),
    ],
)
def test_jump_hosts(text: str, host: SshHost) -> None:
    assert host_of_jump(text) == host


@given(st.text())
def test_any_output_is_read(text: str) -> None:
    parse(text)


@given(st.text(), st.sampled_from(["'", '"', "`", "$", ";", "\n", " ", "\\", "|", "&", "<", "("]), st.text())
def test_what_a_shell_would_read_is_no_address(before: str, mark: str, after: str) -> None:
    with pytest.raises(UsageError):
        Question(SshHost(before + mark + after))


def test_without_ssh_its_defaults_hold_unless_there_is_a_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    found = Question(SshHost("box", 2222, "ann", jump="h1,h2")).hop()
    assert (found.address, found.port, found.user, found.jumps) == ("box", 2222, "ann", ("h1", "h2"))
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "config").touch()
    with pytest.raises(TransportError, match="not on the PATH") as error:
        Question(SshHost("box")).hop()
    assert error.value.hint
