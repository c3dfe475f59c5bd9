"""known_hosts files are read as OpenSSH reads them: ``ssh-keygen -F`` is the judge."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcli.domain.errors import HostKeyError, TransportError
from mlcli.transports._known_hosts import HostKey, check, known_in, look_up, parse_pin
from tests.engines.packages import needed

KEY = "AAAAC3NzaC1lZDI1NTE5AAAAIFmJ0rNqtlhdFGIuMZ4F0VS9MzbCyLpl8VRcV6rGfpMT"
OTHER = "AAAAC3NzaC1lZDI1NTE5AAAAICwTvvGJ4RVJ7P0Gkp6wkLPl1l0ZtIJBY7vrTKXEGwuI"
NAMES = ["h1", "[h1]:2222", "h1.example.org", "10.0.0.1", "[::1]:22", "fe80::1"]
PATTERN = st.sampled_from([*NAMES, "*", "h?", "*.example.org", "!h1", "![h1]:2222", "10.*", "[*]:2222", "H1"])


def known(name: str, *lines: str) -> list[str]:
    return [key.data for key in known_in(name, [("file:1", line) for line in lines]).keys]


@given(name=st.sampled_from(NAMES), patterns=st.lists(PATTERN, min_size=1, max_size=4))
def test_patterns_mean_what_openssh_says(
    tmp_path_factory: pytest.TempPathFactory, name: str, patterns: list[str]
) -> None:
    needed("ssh-keygen")
    line = f"{','.join(patterns)} ssh-ed25519 {KEY}"
    file = tmp_path_factory.getbasetemp() / "known_hosts"
    file.write_text(line + "\n")
    found = (
        subprocess.run(["ssh-keygen", "-F", name, "-f", str(file)], capture_output=True, check=False).returncode == 0
    )
    assert (known(name, line) == [KEY]) == found


@pytest.mark.parametrize("name", NAMES)
def test_hashed_names(tmp_path: Path, name: str) -> None:
    needed("ssh-keygen")
    file = tmp_path / "known_hosts"
    file.write_text(f"{name} ssh-ed25519 {KEY}\n")
    subprocess.run(["ssh-keygen", "-H", "-f", str(file)], check=True, capture_output=True)
    assert name not in file.read_text()
    assert known(name, file.read_text()) == [KEY]
    assert known("another", file.read_text()) == []


@given(st.text())
def test_any_line_is_read_or_passed_over(line: str) -> None:
    known("h1", line)
    known("h1", f"|1|{line}|x ssh-ed25519 {KEY}")
    HostKey("ssh-ed25519", line).fingerprint  # noqa: B018


def test_comments_markers_and_short_lines_are_no_keys() -> None:
    lines = ["# h1 ssh-ed25519 x", "", "h1", "h1 ssh-ed25519", f"@cert-authority h1 ssh-ed25519 {KEY}"]
    assert known("h1", *lines) == []
    assert known("h1", *lines, f"h1 ssh-ed25519 {KEY} a comment") == [KEY]


def test_a_host_is_looked_up_with_its_port_first(tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    file.write_text(f"h1 ssh-ed25519 {OTHER}\n[h1]:2222 ssh-ed25519 {KEY}\n")
    assert [key.data for key in look_up(["[h1]:2222", "h1"], [str(file), str(tmp_path / "none")]).keys] == [KEY]
    assert [key.data for key in look_up(["[h1]:2223", "h1"], [str(file)]).keys] == [OTHER]


def test_a_key_of_another_kind_than_the_known_one_is_a_change() -> None:
    there = known_in("h1", [("file:1", f"h1 ssh-rsa {OTHER}")])
    with pytest.raises(HostKeyError) as error:
        check("h1", HostKey("ssh-ed25519", KEY), there, None)
    assert error.value.changed
    assert not error.value.transient
    assert isinstance(error.value, TransportError)


def test_pins() -> None:
    shown = HostKey("ssh-ed25519", KEY)
    for pin in (str(shown), f"{shown} a comment", shown.fingerprint):
        check("h1", shown, known_in("h1", []), parse_pin(pin))
    for pin in (f"ssh-ed25519 {OTHER}", "SHA256:x"):
        with pytest.raises(HostKeyError):
            check("h1", shown, known_in("h1", [("file:1", f"h1 {shown}")]), parse_pin(pin))
    for text in ("", "nonsense", "MD5:aa"):
        with pytest.raises(ValueError):
            parse_pin(text)
