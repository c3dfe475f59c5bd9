"""The agent's own small codecs, against the real ones; who a process is; every Python it may meet."""

from __future__ import annotations

import ast
import builtins
import datetime as dt
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcli import agent
from tests.agent.helpers import RunFolder, wait_for

texts = st.text(st.characters())
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
)


@given(values)
def test_it_writes_json(value: Any) -> None:
    line = agent.encode(value)
    assert json.loads(line) == value
    assert line.isascii()
    assert "\n" not in line


@given(values, st.sampled_from([None, 1, "\t"]), st.booleans())
def test_it_reads_json(value: Any, indent: Any, ascii_only: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    data = text.encode("utf-8", "surrogatepass" if ascii_only else "replace")
    assert agent.decode(b" \n" + data + b"\n") == json.loads(data)


@given(st.binary())
def test_anything_else_is_a_value_error(data: bytes) -> None:
    try:
        agent.decode(data)
    except ValueError:
        return
    assert json.loads(data.decode().strip()) is not NotImplemented


@pytest.mark.parametrize("data", [b"", b"{", b'{"a": 1} x', b"\xff", b"nope", b"[1,]"])
def test_broken_json_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        agent.decode(data)


def test_it_reads_without_the_private_scanner(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another Python than CPython has none."""
    real = builtins.__import__

    def without(name: str, *arguments: Any) -> Any:
        if name == "_json":
            raise ImportError(name)
        return real(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without)
    assert agent.decode(agent.encode({"ö": [1, None]}).encode()) == {"ö": [1, None]}


def test_bytes_that_are_not_text_survive_the_trip() -> None:
    name = os.fsdecode(b"caf\xe9")
    assert os.fsencode(agent.decode(agent.encode(name).encode())) == b"caf\xe9"


def test_this_process_is_alive_and_nobody_else() -> None:
    me = agent.identity()
    assert me["pid"] == os.getpid()
    assert agent.is_alive(me)
    assert not agent.is_alive(dict(me, start_time=me["start_time"] + 1))
    assert not agent.is_alive(dict(me, boot_id="other@" + me["boot_id"].partition("@")[2]))
    assert not agent.is_foreign(me)
    assert agent.is_foreign(dict(me, boot_id="other@elsewhere"))


def test_a_zombie_is_dead() -> None:
    child = subprocess.Popen(["sleep", "1000"])
    who = agent.identity(child.pid)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not agent.is_alive(who)
    child.wait()
    with pytest.raises(ProcessLookupError):
        agent.identity(child.pid)


@given(st.dates(dt.date(1970, 1, 1), dt.date(2399, 12, 31)))
def test_days(date: dt.date) -> None:
    assert agent._days(date.year, date.month, date.day) == (date - dt.date(1970, 1, 1)).days


def test_the_listing_of_ps_is_read() -> None:
    text = (
        "    1     1 Ss   Sat Nov  1 09:05:07 2025\n"
        "  400   399 Z    Sat Nov  1 09:05:08 2025\n"
        "  401   399 R+   Thu Jan  1 00:00:10 1970\n"
    )
    assert agent.parse_ps(text) == {1: (1, 0, 1761987907), 401: (399, 0, 10)}


@pytest.mark.skipif(shutil.which("ps") is None, reason="no ps here")
def test_without_proc_ps_tells_who_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on macOS."""
    monkeypatch.setattr(agent, "LINUX", False)
    monkeypatch.setattr(agent, "boot_id", lambda: "session@")
    child = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    who = agent.identity(child.pid)
    assert abs(who["start_time"] - time.time()) < 60
    assert agent.is_alive(who)
    assert agent._Run(who, "no cookie", held=False).processes() == [child.pid]
    child.kill()
    child.wait()
    assert not agent.is_alive(who)


def test_its_grammar_is_python_3_8() -> None:
    ast.parse(Path(agent.__file__).read_text(), feature_version=(3, 8))


@pytest.mark.parametrize("version", ["3.8", "3.9", "3.10", "3.12", "3.13", "3.14"])
def test_it_runs_on_every_python(tmp_path: Path, version: str) -> None:
    python = shutil.which(f"python{version}")
    if python is None or subprocess.run([python, "-V"], capture_output=True, check=False).returncode != 0:
        pytest.skip(f"no Python {version} here")
    run = RunFolder(tmp_path / "run", python)
    assert run.run("echo hi; exit 5")["code"] == 5
    assert run.log() == b"hi\n"
    again = RunFolder(tmp_path / "again", python)
    again.start("sleep 1000")
    again.cancel()
    assert again.ended()["cause"] == "canceled"
    wait_for(lambda: not list((again.path / "system_logs").iterdir()))  # nothing of its own went wrong


def test_a_verb_that_fails_says_why(tmp_path: Path) -> None:
    done = subprocess.run(RunFolder(tmp_path).argv("start", str(tmp_path / "no")), capture_output=True, check=False)
    assert done.returncode == 1
    assert b"No such file or directory" in done.stderr
    assert sys.executable.encode() not in done.stderr
