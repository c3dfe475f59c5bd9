"""The host's own interpreters, as the person's shell would find them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mlcli.domain.errors import EnvironmentBuildError, StoreError, UnsupportedError
from mlcli.domain.job import BuildContext, EnvironmentSpec
from mlcli.domain.settings import Settings
from mlcli.environments.current import CurrentBuilder
from mlcli.ports.environments import Activation
from mlcli.testing.environment_builder import EnvironmentBuilderContract, run_inside

CURRENT = EnvironmentSpec(interpreter="current")


class TestCurrentBuilder(EnvironmentBuilderContract):
    @pytest.fixture
    def make(self, tmp_path):
        return lambda: CurrentBuilder(tmp_path, Settings())

    @pytest.fixture
    def spec(self):
        return CURRENT

    @pytest.fixture
    def refused(self):
        return EnvironmentSpec(reference="azureml:AzureML-lightgbm-3.3@latest")


class TestNamedInterpreter(EnvironmentBuilderContract):
    @pytest.fixture
    def make(self, tmp_path):
        return lambda: CurrentBuilder(tmp_path, Settings())

    @pytest.fixture
    def spec(self):
        return EnvironmentSpec(interpreter=sys.executable)

    @pytest.fixture
    def refused(self, tmp_path):
        return EnvironmentSpec(interpreter=str(tmp_path / "missing" / "python"))


@pytest.fixture
def builder(tmp_path):
    return CurrentBuilder(tmp_path / "workspace", Settings())


@pytest.fixture
def tools(tmp_path):
    """A folder for PATH with what a shell script needs and nothing else."""
    folder = tmp_path / "tools"
    folder.mkdir()
    return folder


def build(builder: CurrentBuilder, spec: EnvironmentSpec, lines: list[str] | None = None) -> Activation:
    return builder.build(builder.plan(spec), (lines if lines is not None else []).append)


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_current_leaves_the_path_alone(builder):
    activation = build(builder, CURRENT)
    assert activation.prepend_path == ()
    if shutil.which("python"):
        assert activation.append_path == ()


def test_a_machine_that_only_has_python3_gets_a_python(builder, tools, monkeypatch):
    script(tools / "python3", f'exec "{sys.executable}" "$@"')
    monkeypatch.setenv("PATH", str(tools))
    activation = build(builder, CURRENT)
    assert activation.prepend_path == ()
    assert run_inside(activation, ["python", "-c", "import sys; print(sys.argv[1])", "a 'b' $c"]) == "a 'b' $c\n"


def test_a_machine_without_any_gets_the_one_that_runs_mlcli(builder, tools, monkeypatch):
    monkeypatch.setenv("PATH", str(tools))
    activation = build(builder, CURRENT)
    assert run_inside(activation, ["python", "-c", "import sys; print(sys.prefix)"]).strip() == sys.prefix


def test_a_named_interpreter_is_first_and_says_its_version(builder):
    lines: list[str] = []
    activation = build(builder, EnvironmentSpec(interpreter=sys.executable), lines)
    assert run_inside(activation, ["python", "-c", "import sys; print(sys.executable)"]).strip() == str(
        Path(sys.executable).parent / "python"
    )
    assert activation.unset == ("PYTHONHOME",)
    assert lines == [f"Python {sys.version.split()[0]} at {sys.executable}"]


@pytest.fixture
def virtual(tmp_path):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "an env")], check=True)
    return tmp_path / "an env"


def test_a_virtual_environments_python_of_another_name_stays_in_its_environment(builder, virtual):
    odd = virtual / "bin" / "python-of-mine"
    (virtual / "bin" / "python").rename(odd)
    activation = build(builder, EnvironmentSpec(interpreter=str(odd)))
    assert run_inside(activation, ["python", "-c", "import sys; print(sys.prefix)"]).strip() == str(virtual)
    assert activation.environment_variables["VIRTUAL_ENV"] == str(virtual)


def test_a_python_beside_it_that_is_another_does_not_win(builder, virtual):
    odd = virtual / "bin" / "python-of-mine"
    (virtual / "bin" / "python").rename(odd)
    script(virtual / "bin" / "python", "echo wrong")
    activation = build(builder, EnvironmentSpec(interpreter=str(odd)))
    assert run_inside(activation, ["python", "-c", "print('right')"]) == "right\n"


def test_a_virtual_environments_folder_names_its_python(builder, virtual):
    activation = build(builder, EnvironmentSpec(interpreter=str(virtual)))
    assert activation.prepend_path == (str(virtual / "bin"),)


def test_a_name_on_path_will_do(builder, tools, monkeypatch):
    script(tools / "python9.9", f'exec "{sys.executable}" "$@"')
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    assert run_inside(build(builder, EnvironmentSpec(interpreter="python9.9")), ["python", "-c", "print(1)"]) == "1\n"


def test_home_is_where_the_shell_says(builder, virtual, monkeypatch):
    monkeypatch.setenv("HOME", str(virtual.parent))
    assert build(builder, EnvironmentSpec(interpreter="~/an env/bin/python")).prepend_path == (str(virtual / "bin"),)


def test_a_file_that_cannot_be_run_is_refused_when_planning(builder, tmp_path):
    (tmp_path / "python").write_text("")
    with pytest.raises(UnsupportedError, match="is not executable"):
        builder.plan(EnvironmentSpec(interpreter=str(tmp_path / "python")))


@pytest.mark.parametrize("text", ["echo 'ls: invalid option' >&2; exit 2", "echo hello", "kill -9 $$"])
def test_what_is_no_python_is_said(builder, tools, text):
    with pytest.raises(EnvironmentBuildError, match="not a Python") as caught:
        build(builder, EnvironmentSpec(interpreter=str(script(tools / "python", text))))
    assert caught.value.hint


def test_a_file_of_another_machine_is_said(builder, tools):
    (tools / "python").write_bytes(b"\x7fELF\x00\x00")
    (tools / "python").chmod(0o755)
    with pytest.raises(EnvironmentBuildError, match="does not run"):
        build(builder, EnvironmentSpec(interpreter=str(tools / "python")))


@pytest.mark.parametrize("spec", [EnvironmentSpec(image="python:3.11"), EnvironmentSpec(build=BuildContext(path="/x"))])
def test_an_image_runs_on_the_host_and_the_plan_says_so(builder, spec):
    assert builder.accepts(spec)
    assert "instead of the image" in builder.plan(spec).description
    assert build(builder, spec) == build(builder, CURRENT)


def test_an_image_with_a_conda_file_is_not_ours(builder):
    assert not builder.accepts(EnvironmentSpec(image="x", conda={"dependencies": ["python"]}))


def test_a_workspace_that_cannot_be_written_is_said(tools, tmp_path, monkeypatch):
    (tmp_path / "environments").write_text("in the way")
    odd = script(tools / "python-of-mine", f'exec "{sys.executable}" "$@"')
    with pytest.raises(StoreError) as caught:
        build(CurrentBuilder(tmp_path, Settings()), EnvironmentSpec(interpreter=str(odd)))
    assert caught.value.hint
