"""Virtual environments: built once whoever asks, whole or not there, and clear about what went wrong.

Packages are made on the spot (packages.py); only the tests marked ``network`` ask an index.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mlcli.domain.errors import EnvironmentBuildError, StoreError, UnsupportedError
from mlcli.domain.job import EnvironmentSpec
from mlcli.domain.settings import Settings
from mlcli.environments._lock import exclusive
from mlcli.environments._uv import explain
from mlcli.environments.venv import VenvBuilder
from mlcli.ports.environments import Activation
from mlcli.testing.environment_builder import EnvironmentBuilderContract, run_inside
from tests.environments.packages import gated_source, wheel

DEADLINE_S = 120.0


@pytest.fixture(scope="session")
def wheels(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheels")
    for name, version in [("alpha", "1.0"), ("alpha", "2.0"), ("beta", "1.0"), ("gamma", "1.0a1"), ("gamma", "0.9")]:
        wheel(folder, name, version)
    return folder


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    """uv keeps what it builds: a test must not find another one's."""
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path_factory.mktemp("uv")))


@pytest.fixture
def local(wheels) -> Callable[..., EnvironmentSpec]:
    """A conda file whose pip section knows the wheels of this file only."""
    return lambda *lines, python="python": EnvironmentSpec(
        conda={"dependencies": [python, {"pip": ["--no-index", f"--find-links {wheels}", *lines]}]}
    )


@pytest.fixture
def builder(tmp_path):
    return VenvBuilder(tmp_path, Settings())


def build(builder: VenvBuilder, spec: EnvironmentSpec, lines: list[str] | None = None) -> Activation:
    return builder.build(builder.plan(spec), (lines if lines is not None else []).append)


class TestVenvBuilder(EnvironmentBuilderContract):
    @pytest.fixture
    def make(self, tmp_path):
        return lambda: VenvBuilder(tmp_path, Settings())

    @pytest.fixture
    def spec(self, local):
        return local("alpha<2")

    @pytest.fixture
    def refused(self):
        return EnvironmentSpec(conda={"dependencies": ["python=3.8|3.9"]})


def test_what_is_asked_for_is_installed(builder, local):
    lines: list[str] = []
    activation = build(builder, local("alpha<2", "beta"), lines)
    assert activation.resolved == ("alpha==1.0", "beta==1.0")
    assert run_inside(activation, ["python", "-c", "import alpha, sys; print(alpha.version, sys.prefix)"]).split() == [
        "1.0",
        activation.environment_variables["VIRTUAL_ENV"],
    ]
    assert " + alpha==1.0" in lines
    assert not any("\x1b" in line for line in lines)


def test_the_log_is_kept(builder, local, tmp_path):
    lines: list[str] = []
    build(builder, local("beta"), lines)
    key = builder.plan(local("beta")).fingerprint
    assert (tmp_path / "environments" / f"{key}.log").read_text().splitlines() == lines


def test_a_cached_environment_starts_no_process(builder, local, monkeypatch):
    build(builder, local("beta"))
    monkeypatch.setattr(subprocess, "Popen", None)
    plan = builder.plan(local("beta"))
    assert plan.cached
    assert builder.build(plan, pytest.fail).resolved == ("beta==1.0",)


def test_an_image_with_a_conda_file_is_its_conda_file_on_the_host(builder, local):
    spec = EnvironmentSpec(image="mcr.example.org/base", conda=local("beta").conda)
    assert builder.accepts(spec)
    assert builder.plan(spec).fingerprint == builder.plan(local("beta")).fingerprint


def test_variables_of_the_conda_file_are_set(builder, local):
    conda = {**(local("beta").conda or {}), "variables": {"ALPHA": "a b"}}
    activation = build(builder, EnvironmentSpec(conda=conda))
    assert run_inside(activation, ["python", "-c", "import os; print(os.environ['ALPHA'])"]) == "a b\n"


def test_a_virtual_environment_that_is_active_does_not_lead_astray(builder, local, tmp_path, monkeypatch):
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX", "UV_PYTHON", "UV_PROJECT_ENVIRONMENT"):
        monkeypatch.setenv(name, str(tmp_path / "elsewhere"))
    monkeypatch.setenv("UV_SYSTEM_PYTHON", "1")
    assert build(builder, local("beta")).resolved == ("beta==1.0",)


def test_prereleases_only_when_asked_for(builder, local):
    assert build(builder, local("gamma")).resolved == ("gamma==0.9",)
    assert build(builder, local("--pre", "gamma")).resolved == ("gamma==1.0a1",)


def test_a_requirements_file(builder, wheels, tmp_path):
    (tmp_path / "requirements.txt").write_text(f"--no-index\n--find-links {wheels}\nalpha==2.0\n")
    spec = EnvironmentSpec(conda={"dependencies": [{"pip": [f"-r {tmp_path}/requirements.txt"]}]})
    assert build(builder, spec).resolved == ("alpha==2.0",)


def test_a_requirements_file_that_changes_between_plan_and_build_is_the_changed_environment(builder, wheels, tmp_path):
    file = tmp_path / "requirements.txt"
    file.write_text(f"--no-index\n--find-links {wheels}\nalpha==2.0\n")
    spec = EnvironmentSpec(conda={"dependencies": [{"pip": [f"-r {file}"]}]})
    plan = builder.plan(spec)
    file.write_text(f"--no-index\n--find-links {wheels}\nalpha==1.0\n")
    assert builder.build(plan, print).resolved == ("alpha==1.0",)
    assert builder.plan(spec).cached


def test_pips_configuration_is_heard(builder, wheels, tmp_path, monkeypatch):
    (tmp_path / ".pip").mkdir()
    (tmp_path / ".pip" / "pip.conf").write_text(f"[global]\nno-index = true\n[install]\nfind-links = {wheels}\n")
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / ".pip" / "pip.conf"))
    assert build(builder, EnvironmentSpec(conda={"dependencies": [{"pip": ["alpha"]}]})).resolved == ("alpha==2.0",)


def test_variables_in_lines_are_filled_in_when_installing(builder, wheels, monkeypatch):
    """So a token for an index need not stand in the file."""
    monkeypatch.setenv("MY_WHEELS", str(wheels))
    spec = EnvironmentSpec(conda={"dependencies": [{"pip": ["--no-index", "--find-links ${MY_WHEELS}", "alpha"]}]})
    assert build(builder, spec).resolved == ("alpha==2.0",)


def index(folder: Path, file: Path) -> str:
    """A package index on disk that has this one wheel."""
    page = folder / file.name.partition("-")[0] / "index.html"
    page.parent.mkdir(parents=True)
    page.write_text(f'<!DOCTYPE html><html><body><a href="{file.as_uri()}">{file.name}</a></body></html>')
    return folder.as_uri()


def test_the_best_version_of_all_indexes_is_taken_as_pip_does(builder, wheels, tmp_path):
    main = index(tmp_path / "main", wheels / "alpha-2.0-py3-none-any.whl")
    extra = index(tmp_path / "extra", wheels / "alpha-1.0-py3-none-any.whl")
    conda = {"dependencies": [{"pip": [f"--index-url {main}", f"--extra-index-url {extra}", "alpha"]}]}
    assert build(builder, EnvironmentSpec(conda=conda)).resolved == ("alpha==2.0",)


def test_an_index_of_the_file_beats_pips_configuration(builder, wheels, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", index(tmp_path / "other", wheels / "beta-1.0-py3-none-any.whl"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    own = index(tmp_path / "own", wheels / "alpha-1.0-py3-none-any.whl")
    conda = {"dependencies": [{"pip": [f"--index-url {own}", "alpha"]}]}
    assert build(builder, EnvironmentSpec(conda=conda)).resolved == ("alpha==1.0",)


# --- what goes wrong ---------------------------------------------------------------------------------------------------


def failure(builder: VenvBuilder, spec: EnvironmentSpec) -> EnvironmentBuildError:
    with pytest.raises(EnvironmentBuildError) as caught:
        build(builder, spec)
    error = caught.value
    assert "build log: " in (error.hint or "")
    assert Path((error.hint or "").rpartition("build log: ")[2]).is_file()
    assert not builder.plan(spec).cached
    return error


def test_a_package_that_does_not_exist_is_named(builder, local):
    error = failure(builder, local("lightgmb"))
    assert "'lightgmb' was not found" in error.message
    assert any("lightgmb" in line for line in error.details)


def test_versions_that_do_not_exist(builder, local):
    assert "no set of package versions" in failure(builder, local("alpha>3")).message


def test_a_line_that_is_no_requirement(builder, local):
    assert "beta=1.0" in failure(builder, local("beta=1.0")).message


def test_a_source_that_cannot_be_built_is_named(builder, wheels, tmp_path):
    gates = tmp_path / "gates"
    gated_source(tmp_path / "sources", "broken", gates)
    (gates / "go").touch()
    (gates / "fail").touch()
    spec = EnvironmentSpec(
        conda={"dependencies": [{"pip": ["--no-index", f"--find-links {tmp_path / 'sources'}", "broken"]}]}
    )
    error = failure(builder, spec)
    assert "broken" in error.message
    assert any("the compiler is missing" in line for line in error.details)


def test_a_python_that_is_nowhere_names_those_that_are_here(builder, tmp_path, monkeypatch):
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))  # to ask fewer
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    error = failure(builder, EnvironmentSpec(conda={"dependencies": ["python=3.99"]}))
    assert "Python 3.99" in error.message
    assert any(f"{sys.version_info.major}.{sys.version_info.minor}" in line for line in error.details)


def test_an_index_that_does_not_answer(builder, monkeypatch):
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    conda = {"dependencies": [{"pip": ["--index-url http://127.0.0.1:1/simple", "alpha"]}]}
    assert "could not be reached" in failure(builder, EnvironmentSpec(conda=conda)).message


def test_credentials_reach_neither_log_nor_error_nor_disk(builder, tmp_path, monkeypatch):
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    secret = "s3cr3tPassw0rd"
    conda = {"dependencies": [{"pip": [f"--index-url http://user:{secret}@127.0.0.1:1/simple", "alpha"]}]}
    spec, lines = EnvironmentSpec(conda=conda), [""]
    plan = builder.plan(spec)
    with pytest.raises(EnvironmentBuildError) as caught:
        builder.build(plan, lines.append)
    said = "\n".join([*lines, caught.value.message, caught.value.hint or "", *caught.value.details, plan.description])
    assert secret not in said
    for file in (tmp_path / "environments").rglob("*"):
        assert not file.is_file() or secret.encode() not in file.read_bytes()


@pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="mounting a small disk needs root")
def test_a_full_disk_is_said(local, tmp_path, wheels, tmp_path_factory):
    wheel(tmp_path / "big", "heavy", size=2_000_000)
    disk = tmp_path_factory.mktemp("disk")
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], check=False, capture_output=True
    ).returncode:
        pytest.skip("cannot mount here")
    try:
        error = failure(VenvBuilder(disk, Settings()), local(f"{tmp_path}/big/heavy-1.0-py3-none-any.whl"))
        assert "disk is full" in error.message
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_workspace_that_cannot_be_written_is_said(local, tmp_path):
    (tmp_path / "environments").write_text("in the way")
    with pytest.raises(StoreError) as caught:
        build(VenvBuilder(tmp_path, Settings()), local("beta"))
    assert caught.value.hint


def test_conda_packages_are_refused_when_planning(builder):
    with pytest.raises(UnsupportedError, match="numpy=1"):
        builder.plan(EnvironmentSpec(conda={"dependencies": ["python", "numpy=1"]}))


def test_a_wish_that_is_given_up_takes_uv_with_it(builder, tmp_path):
    """The caller's log raises (a cancelled job): nothing built, nothing held."""
    gates = tmp_path / "gates"
    spec = gated(tmp_path, gates)

    class CanceledError(Exception):
        pass

    def log(line):
        if line.startswith("Creating"):
            raise CanceledError

    with pytest.raises(CanceledError):
        builder.build(builder.plan(spec), log)
    assert not builder.plan(spec).cached
    (gates / "go").touch()
    assert build(builder, spec).resolved == ("slow==1.0",)


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("error: Failed to install: x\n  cause: No space left on device (os error 28)", "disk is full"),
        ("error: Failed to fetch: https://x/\n  cause: dns error", "could not be reached"),
        ("error: something new", "something new"),
        ("no word of error", "no word of error"),
    ],
)
def test_uvs_words_become_ours(output, said):
    message, hint = explain(output, "3.10")
    assert said in message
    assert hint


# --- environments that age ---------------------------------------------------------------------------------------------


def test_a_vanished_base_interpreter_is_noticed(builder, local):
    python = Path(build(builder, local("beta")).prepend_path[0]) / "python"
    python.unlink()
    python.symlink_to("/nonexistent/python3.11")
    assert not builder.plan(local("beta")).cached
    assert run_inside(build(builder, local("beta")), ["python", "-c", "print(1)"]) == "1\n"


def replaced(builder: VenvBuilder, spec: EnvironmentSpec) -> Path:
    """The folder of a built environment, whose record says that the base interpreter was another file."""
    place = Path(build(builder, spec).environment_variables["VIRTUAL_ENV"])
    record = json.loads((place / "environment.json").read_text())
    record["base"][1] += 1
    (place / "environment.json").write_text(json.dumps(record))
    return place


def test_a_base_interpreter_that_was_updated_is_asked_once(builder, local, monkeypatch):
    replaced(builder, local("beta"))
    assert builder.plan(local("beta")).cached
    monkeypatch.setattr(subprocess, "run", None)
    assert builder.plan(local("beta")).cached


def test_a_base_interpreter_of_another_minor_version_is_noticed(builder, local):
    """Its packages stand in a folder that the new interpreter does not look into."""
    place = replaced(builder, local("beta"))
    (place / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}").rename(place / "lib" / "python3.1")
    assert not builder.plan(local("beta")).cached


def test_a_base_interpreter_that_does_not_run_is_noticed(builder, local, tmp_path):
    place = replaced(builder, local("beta"))
    (tmp_path / "broken").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "broken").chmod(0o755)
    (place / "bin" / "python").unlink()
    (place / "bin" / "python").symlink_to(tmp_path / "broken")
    assert not builder.plan(local("beta")).cached


def test_a_damaged_record_is_no_environment(builder, local):
    place = Path(build(builder, local("beta")).environment_variables["VIRTUAL_ENV"])
    (place / "environment.json").write_text('{"half')
    assert not builder.plan(local("beta")).cached
    assert build(builder, local("beta")).resolved == ("beta==1.0",)


def test_listing_and_pruning(builder, local):
    build(builder, local("alpha"))
    build(builder, local("beta"))
    keep = builder.plan(local("beta")).fingerprint
    listed = builder.listing()
    assert listed[0].fingerprint == keep, "the one used last comes first"
    assert all(built.size > 0 and built.built_at <= built.used_at + 1 for built in listed)
    assert builder.remove(listed[1].fingerprint) == listed[1].size
    assert [built.fingerprint for built in builder.listing()] == [keep]
    assert not builder.plan(local("alpha")).cached
    assert {file.name.partition(".")[0] for file in Path(listed[1].place).parent.iterdir()} == {keep}


def test_a_lock_that_was_pruned_locks_nobody_out_and_lets_nobody_in(tmp_path):
    lock = tmp_path / "key.lock"
    inside, most, done = [], [], []

    def work() -> None:
        for _ in range(20):
            with exclusive(lock, lambda: None):
                inside.append(1)
                most.append(len(inside))
                inside.pop()
                lock.unlink()  # from here on another may be inside
        done.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(done), max(most)) == (4, 1)


# --- many at once, and kills -------------------------------------------------------------------------------------------

CHILD = """
import sys, json
from pathlib import Path
from mlcli.domain.errors import MlcliError
from mlcli.domain.job import EnvironmentSpec
from mlcli.domain.settings import Settings
from mlcli.environments._lock import exclusive
from mlcli.environments.venv import VenvBuilder
builder = VenvBuilder(Path(sys.argv[1]), Settings())
plan = builder.plan(EnvironmentSpec(conda=json.loads(sys.argv[2])))
try:
    activation = builder.build(plan, lambda line: print(line, flush=True))
except MlcliError as error:
    print("ERROR", error.message)
else:
    print("PATH", *activation.prepend_path)
"""


def gated(tmp_path: Path, gates: Path) -> EnvironmentSpec:
    gated_source(tmp_path / "sources", "slow", gates)
    lines = ["--no-index", f"--find-links {tmp_path / 'sources'}", "slow"]
    return EnvironmentSpec(conda={"dependencies": ["python", {"pip": lines}]})


def child(root: Path, spec: EnvironmentSpec, output: Path) -> subprocess.Popen[bytes]:
    with output.open("wb") as handle:
        argv = [sys.executable, "-c", CHILD, str(root), json.dumps(spec.conda)]
        return subprocess.Popen(argv, stdout=handle, stderr=subprocess.STDOUT)


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


def test_twenty_at_once_build_once_and_hear_the_same(tmp_path):
    gates = tmp_path / "gates"
    spec = gated(tmp_path, gates)
    outputs = [tmp_path / f"{number}.txt" for number in range(20)]
    children = [child(tmp_path, spec, output) for output in outputs]
    until(lambda: all(output.stat().st_size for output in outputs))
    until((gates / "started").exists)
    (gates / "go").touch()
    assert [process.wait(DEADLINE_S) for process in children] == [0] * 20
    texts = [output.read_text() for output in outputs]
    assert len({text.splitlines()[-1] for text in texts}) == 1
    assert texts[0].splitlines()[-1].startswith("PATH ")
    builders = [text for text in texts if not text.startswith("another process builds the same environment")]
    assert len(builders) == 1
    assert all(" + slow==1.0" in text for text in texts)
    assert (gates / "started").read_text() == "x"


def test_a_build_that_fails_fails_once_for_all_who_wait(tmp_path):
    gates = tmp_path / "gates"
    spec = gated(tmp_path, gates)
    outputs = [tmp_path / f"{number}.txt" for number in range(4)]
    children = [child(tmp_path, spec, output) for output in outputs]
    until(lambda: all(output.stat().st_size for output in outputs))
    until((gates / "started").exists)
    (gates / "fail").touch()
    (gates / "go").touch()
    assert [process.wait(DEADLINE_S) for process in children] == [0] * 4
    assert all("ERROR the package" in output.read_text() for output in outputs)
    assert (gates / "started").read_text() == "x"
    (gates / "fail").unlink()
    assert build(VenvBuilder(tmp_path, Settings()), spec).resolved == ("slow==1.0",), "who comes later tries again"


def test_a_build_that_is_killed_leaves_nothing_that_looks_built(tmp_path):
    gates = tmp_path / "gates"
    spec = gated(tmp_path, gates)
    builder = VenvBuilder(tmp_path, Settings())
    process = child(tmp_path, spec, tmp_path / "out.txt")
    until((gates / "started").exists)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not builder.plan(spec).cached
    waiter = child(tmp_path, spec, tmp_path / "waiter.txt")
    until(lambda: "another process" in (tmp_path / "waiter.txt").read_text())  # its uv goes on, and holds the lock
    (gates / "go").touch()
    assert waiter.wait(DEADLINE_S) == 0
    assert "PATH " in (tmp_path / "waiter.txt").read_text()
    plan = builder.plan(spec)
    assert plan.cached
    assert run_inside(builder.build(plan, print), ["python", "-c", "import slow; print(slow.version)"]) == "1.0\n"


# --- with an index -----------------------------------------------------------------------------------------------------


@pytest.mark.network
@pytest.mark.slow
def test_pip_is_there_when_the_file_names_it(builder):
    spec = EnvironmentSpec(conda={"dependencies": ["python", "pip"]})
    activation = build(builder, spec)
    assert run_inside(activation, ["python", "-m", "pip", "--version"]).startswith("pip ")


@pytest.mark.network
def test_a_typo_is_named_by_the_real_index(builder):
    conda = {"dependencies": [{"pip": ["mlcli-no-such-package-anywhere"]}]}
    assert "'mlcli-no-such-package-anywhere' was not found" in failure(builder, EnvironmentSpec(conda=conda)).message
