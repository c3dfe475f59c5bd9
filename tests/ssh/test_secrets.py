"""Secrets of SSH: where they are looked for, in which order, and how they reach the processes that we start."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlcli import ssh_secrets
from mlcli.domain.compute import SshHost

HOST = SshHost("box", user="ann")
SUBJECT = "ann@box:22"
KEYRING = '''
"""A keyring that is a file."""
import json, os
from keyring.backend import KeyringBackend

class FileKeyring(KeyringBackend):
    priority = 1

    def _all(self):
        try:
            with open(os.environ["TEST_KEYRING"]) as file:
                return json.load(file)
        except FileNotFoundError:
            return {}

    def get_password(self, service, username):
        return self._all().get(f"{service} {username}")

    def set_password(self, service, username, password):
        with open(os.environ["TEST_KEYRING"] + ".new", "w") as file:
            json.dump({**self._all(), f"{service} {username}": password}, file)
        os.replace(file.name, os.environ["TEST_KEYRING"])

    def delete_password(self, service, username):
        raise NotImplementedError
'''


def file_keyring(folder: Path) -> dict[str, str]:
    """The environment of a command whose keyring is the file ``keyring.json`` of a folder."""
    (folder / "filekeyring.py").write_text(KEYRING)
    return {
        "PYTHONPATH": str(folder),
        "PYTHON_KEYRING_BACKEND": "filekeyring.FileKeyring",
        "TEST_KEYRING": str(folder / "keyring.json"),
    }


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process that has asked nobody yet, without a keyring."""
    import keyring
    from keyring.backends.fail import Keyring

    before = keyring.get_keyring()
    keyring.set_keyring(Keyring())  # type: ignore[no-untyped-call]
    for name in ("MLCLI_SSH_PASSWORD", "MLCLI_SSH_PASSPHRASE", "_MLCLI_SSH_SECRETS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(ssh_secrets, "_typed", {})
    ssh_secrets._take_over.cache_clear()
    yield
    ssh_secrets._take_over.cache_clear()
    keyring.set_keyring(before)


@pytest.fixture
def ring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import keyring

    for name, value in file_keyring(tmp_path).items():
        monkeypatch.setenv(name, value)
    monkeypatch.syspath_prepend(tmp_path)
    import filekeyring  # type: ignore[import-not-found]

    keyring.set_keyring(filekeyring.FileKeyring())


@pytest.fixture
def person(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A person at the terminal: answers ``typed``, and the questions are noted."""
    asked: list[str] = []

    def answer(prompt: str) -> str:
        asked.append(prompt)
        return "typed"

    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("getpass.getpass", answer)
    return asked


def test_nobody_knows(tmp_path: Path) -> None:
    assert ssh_secrets.secrets_for(HOST)("password", SUBJECT) is None
    assert not ssh_secrets.remember("password", SUBJECT, "word")


def test_what_was_given_goes_before_the_variable_before_the_keyring_before_the_person(
    ring: None, person: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ssh_secrets.secrets_for(HOST)("password", SUBJECT) == "typed"
    assert ssh_secrets.remember("password", "ann@other:22", "kept")
    assert ssh_secrets.secrets_for(HOST)("password", "ann@other:22") == "kept"
    assert ssh_secrets.secrets_for(HOST)("passphrase", "ann@other:22") == "typed"
    monkeypatch.setenv("MLCLI_SSH_PASSWORD", "variable")
    assert ssh_secrets.secrets_for(HOST)("password", "ann@other:22") == "variable"
    assert ssh_secrets.secrets_for(HOST, given={"password": "flag"})("password", SUBJECT) == "flag"


def test_a_person_is_asked_once_a_process_and_not_at_all_when_nobody_sits_there(person: list[str]) -> None:
    quiet = ssh_secrets.secrets_for(HOST, ask=False)
    assert quiet("password", SUBJECT) is None
    assert [ssh_secrets.secrets_for(HOST)("password", SUBJECT) for _ in range(2)] == ["typed", "typed"]
    assert ssh_secrets.secrets_for(HOST)("password", "root@jump:22") == "typed"
    assert person == ["Password of ann@box:22: ", "Password of root@jump:22 (for ann@box): "]
    assert quiet("password", SUBJECT) == "typed"


def test_a_one_time_code_is_asked_for_each_time(person: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = ssh_secrets.secrets_for(HOST, given={"password": "flag"})
    assert [secrets("answer", "Code: ") for _ in range(2)] == ["typed", "typed"]
    assert person == ["Code: ", "Code: "]


def test_only_what_was_needed_is_kept(ring: None, tmp_path: Path) -> None:
    secrets = ssh_secrets.secrets_for(HOST, given={"password": "flag", "passphrase": "phrase"})
    secrets("password", SUBJECT)
    assert secrets.keep() == {("password", SUBJECT): True}
    assert (tmp_path / "keyring.json").read_text() == '{"mlcli-ssh ann@box:22": "flag"}'
    assert ssh_secrets.secrets_for(HOST)("password", SUBJECT) == "flag"


def test_a_secret_is_not_shown_by_what_holds_it() -> None:
    secrets = ssh_secrets.secrets_for(HOST, given={"password": "flag"})
    secrets("password", SUBJECT)
    assert "flag" not in repr(secrets)


CHILD = """
import os, subprocess, sys
from mlcli import ssh_secrets
from mlcli.domain.compute import SshHost
if sys.argv[1:] == ["again"]:  # what a supervisor does that has to wait: it becomes another program, and that one again
    assert ssh_secrets.secrets_for(SshHost("box"))("password", "ann@box:22") == "typed"
    os.execv(sys.executable, [sys.executable, "-c", os.environ["CODE"]])
print(ssh_secrets.secrets_for(SshHost("box"))("password", "ann@box:22"))
grandchild = "from mlcli import ssh_secrets as s; print(s.Secrets(s.SshHost('box'))('password', 'ann@box:22'))"
with open(os.environ["CODE_FILE"]) as lowest, open(os.environ["CODE_FILE"]) as number:  # descriptors of other files
    print(subprocess.check_output([sys.executable, "-c", grandchild], text=True, pass_fds=[number.fileno()]).strip())
"""


@pytest.mark.parametrize("arguments", [[], ["again"]])
def test_what_was_typed_reaches_our_supervisors_and_nobody_else(
    person: list[str], tmp_path: Path, arguments: list[str]
) -> None:
    (tmp_path / "file").write_text("not a pipe")
    ssh_secrets.secrets_for(HOST)("password", SUBJECT)
    with ssh_secrets.to_child() as (variables, descriptors):
        done = subprocess.run(
            [sys.executable, "-c", CHILD, *arguments],
            env={**os.environ, **variables, "CODE": CHILD, "CODE_FILE": str(tmp_path / "file")},
            pass_fds=descriptors,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    assert (done.stdout, done.stderr) == ("typed\nNone\n", "")
    assert "typed" not in str(variables)


def test_nothing_is_handed_over_when_nothing_was_typed() -> None:
    with ssh_secrets.to_child() as handed:
        assert handed == ({}, ())
