"""Environments of another machine: the same builders, at work where a transport leads."""

from __future__ import annotations

import pytest

from mlcli.domain.errors import UnsupportedError
from mlcli.domain.job import EnvironmentSpec
from mlcli.domain.settings import Settings
from mlcli.environments.far import FarBuilder
from mlcli.testing.environment_builder import EnvironmentBuilderContract, run_inside
from mlcli.transports.local import LocalTransport

CURRENT = EnvironmentSpec(interpreter="current")


@pytest.fixture
def far(tmp_path):
    """``far("venv")``: that builder on a machine that is this one, in an mlcli folder of its own."""
    return lambda name: FarBuilder(name, LocalTransport(), Settings(), str(tmp_path / "far"))


class TestCurrentThere(EnvironmentBuilderContract):
    @pytest.fixture
    def make(self, far):
        return lambda: far("current")

    @pytest.fixture
    def spec(self):
        return CURRENT

    @pytest.fixture
    def refused(self, tmp_path):
        return EnvironmentSpec(interpreter=str(tmp_path / "missing" / "python"))


def test_an_interpreter_that_is_not_there_is_refused_when_planning(far, tmp_path):
    with pytest.raises(UnsupportedError, match="does not exist"):
        far("current").plan(EnvironmentSpec(interpreter=str(tmp_path / "python")))


def test_the_path_of_a_login_is_the_jobs(far, tmp_path, monkeypatch):
    """What stands in .profile is in force for a person who logs in, and not for a command over SSH."""
    tools = tmp_path / "tools of mine"
    tools.mkdir()
    (tools / "python").write_text("#!/bin/sh\necho mine\n")
    (tools / "python").chmod(0o755)
    (tmp_path / ".profile").write_text(f'echo Welcome; PATH="{tools}:$PATH"\n')
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SHELL", "/bin/sh")
    builder = far("current")
    assert run_inside(builder.build(builder.plan(CURRENT), pytest.fail), ["python"]) == "mine\n"


def test_a_login_shell_that_cannot_be_asked_does_not_matter(far, tmp_path, monkeypatch):
    monkeypatch.setenv("SHELL", str(tmp_path / "no shell"))
    builder = far("current")
    activation = builder.build(builder.plan(CURRENT), pytest.fail)
    assert run_inside(activation, ["python", "-c", "print(1)"]) == "1\n"
