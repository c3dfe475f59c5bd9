"""Environments of another machine: the same builders, at work where a transport leads.

Mostly that is this machine, through a transport whose Python has neither uv nor rattler nor mlcli, as over there.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from uv import find_uv_bin

from mlcli import agent
from mlcli.domain.compute import SshHost
from mlcli.domain.errors import EnvironmentBuildError, MlcliError, TransportError, UnsupportedError
from mlcli.domain.job import EnvironmentSpec, RegistryLogin
from mlcli.domain.settings import Settings
from mlcli.environments import _far_side, _interpreter, _rattler
from mlcli.environments._sent import SentFiles
from mlcli.environments.far import FarBuilder
from mlcli.environments.venv import VenvBuilder
from mlcli.ports.environments import Activation, EnvironmentBuilder
from mlcli.ports.transports import Completed
from mlcli.testing.environment_builder import EnvironmentBuilderContract, run_inside
from mlcli.transports.local import LocalTransport
from mlcli.transports.ssh import SshTransport
from tests.engines.sshd import SshHost as Sshd
from tests.environments.channels import index, package
from tests.environments.packages import gated_source, wheel
from tests.transports.test_ssh_links import kill_sessions

ROOT = Path(__file__).parents[2]
CURRENT = EnvironmentSpec(interpreter="current")


class Elsewhere(LocalTransport):
    """This machine, as if it were another: the Python there is a bare one. ``frames``: how often it was asked."""

    def __init__(self, python: str = os.path.realpath(sys.executable)) -> None:
        super().__init__()
        self._python = python
        self.frames = 0

    def python(self) -> str:
        return self._python

    def local(self, path: str) -> Path | None:
        del path
        return None

    def run(self, argv: Sequence[str], **options: Any) -> Completed:
        self.frames += 1
        return super().run(argv, **options)

    def read(self, path: str, offset: int = 0, limit: int | None = None) -> bytes | None:
        self.frames += 1
        return super().read(path, offset, limit)


@pytest.fixture(scope="session")
def wheels(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheels")
    for name, version in [("alpha", "1.0"), ("alpha", "2.0"), ("beta", "1.0")]:
        wheel(folder, name, version)
    return folder


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path_factory.mktemp("uv")))


@pytest.fixture
def folder(tmp_path):
    """mlcli's folder over there, with a uv in its ``bin``."""
    made = tmp_path / "far"
    (made / "bin").mkdir(parents=True)
    (made / "bin" / "uv").symlink_to(find_uv_bin())
    return made


@pytest.fixture
def far(folder) -> Callable[..., FarBuilder]:
    """``far("venv")``: that builder over there."""
    return lambda name, transport=None, settings=None: FarBuilder(
        name, transport or Elsewhere(), settings or Settings(), str(folder)
    )


def asked(*lines: str) -> EnvironmentSpec:
    return EnvironmentSpec(conda={"dependencies": [{"pip": ["--no-index", *lines]}]})


def build(builder: EnvironmentBuilder, spec: EnvironmentSpec, lines: list[str] | None = None) -> Activation:
    return builder.build(builder.plan(spec), (lines if lines is not None else []).append)


def processes(folder: Path) -> list[int]:
    """The agents of builds over there that are under way."""
    records = [json.loads(file.read_text()) for file in folder.glob("builds/*/agent.json")]
    return [record["pid"] for record in records if agent.is_alive(record)]


# --- the contract ------------------------------------------------------------------------------------------------------


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


class TestVenvThere(EnvironmentBuilderContract):
    @pytest.fixture
    def make(self, far):
        return lambda: far("venv")

    @pytest.fixture
    def spec(self, wheels):
        return asked(f"--find-links {wheels}", "alpha<2")

    @pytest.fixture
    def refused(self):
        return EnvironmentSpec(conda={"dependencies": ["python=3.8|3.9"]})


@pytest.fixture(scope="session")
def channel(tmp_path_factory):
    folder: Path = tmp_path_factory.mktemp("channel")
    package(folder, "tool", "1.0", files={"bin/tool": "#!/bin/sh\necho 1.0\n", "bin/python": "#!/bin/sh\necho 42\n"})
    return index(folder)


class TestCondaThere(EnvironmentBuilderContract):
    """Where rattler is installed (in this process's own Python)."""

    @pytest.fixture
    def make(self, far):
        pytest.importorskip("rattler")
        return lambda: far("conda", LocalTransport())

    @pytest.fixture
    def spec(self, channel):
        return EnvironmentSpec(conda={"channels": [str(channel)], "dependencies": ["tool"]})

    @pytest.fixture
    def refused(self, tmp_path):
        return EnvironmentSpec(conda={"channels": [str(tmp_path / "none")], "dependencies": ["tool"]})


@pytest.fixture
def ssh(ssh_host: Sshd, monkeypatch, folder):
    for name, value in ssh_host.environment.items():
        monkeypatch.setenv(name, value)
    transport = SshTransport(SshHost(ssh_host.name, folder=str(folder)))
    yield transport
    transport.close()


class TestVenvOverSsh(TestVenvThere):
    @pytest.fixture
    def make(self, far, ssh):
        return lambda: far("venv", ssh)


# --- interpreters ------------------------------------------------------------------------------------------------------


def test_an_interpreter_that_is_not_there_is_refused_when_planning(far, tmp_path):
    with pytest.raises(UnsupportedError, match="does not exist"):
        far("current").plan(EnvironmentSpec(interpreter=str(tmp_path / "python")))


@pytest.fixture
def login(tmp_path, monkeypatch):
    """A person whose login shell has another PATH, with a python of their own first."""
    tools = tmp_path / "tools of mine"
    tools.mkdir()
    (tools / "python").write_text("#!/bin/sh\necho mine\n")
    (tools / "python").chmod(0o755)
    profile = tmp_path / "home" / ".profile"
    profile.parent.mkdir()
    profile.write_text(f'echo Welcome; PATH="{tools}:$PATH"\n')
    monkeypatch.setenv("HOME", str(profile.parent))
    monkeypatch.setenv("SHELL", "/bin/sh")
    return profile


def test_the_path_of_a_login_is_the_jobs(far, login):
    """What stands in .profile is in force for a person who logs in, and not for a command over SSH."""
    assert run_inside(build(far("current"), CURRENT), ["python"]) == "mine\n"


def test_a_login_that_changes_is_heeded_at_once(far, login):
    tools = str(login.parent.parent / "tools of mine")
    assert tools in build(far("current"), CURRENT).prepend_path
    login.write_text("")
    assert tools not in build(far("current"), CURRENT).prepend_path


def test_a_slow_login_is_waited_for_once(far, login):
    counted = login.parent / "count"
    login.write_text(f"echo x >> '{counted}'\n{login.read_text()}")
    for _ in range(2):
        assert run_inside(build(far("current"), CURRENT), ["python"]) == "mine\n"
    assert counted.read_text() == "x\n"


def test_a_login_shell_that_cannot_be_asked_does_not_matter(far, tmp_path, monkeypatch):
    monkeypatch.setenv("SHELL", str(tmp_path / "no shell"))
    assert run_inside(build(far("current"), CURRENT), ["python", "-c", "print(1)"]) == "1\n"


def test_what_is_built_there_is_before_the_path_of_a_login(far, login, wheels):
    activation = build(far("venv"), asked(f"--find-links {wheels}", "beta"))
    assert run_inside(activation, ["python", "-c", "import beta; print(beta.version)"]) == "1.0\n"
    assert str(login.parent.parent / "tools of mine") in activation.prepend_path


def test_current_needs_no_newer_python_than_the_agent():
    ast.parse(Path(_interpreter.__file__).read_text(), feature_version=(3, 8))


@pytest.fixture
def old(tmp_path):
    """A Python that takes itself for 3.9."""
    script = tmp_path / "python3.9"
    script.write_text(
        f'#!{sys.executable}\nimport os, sys\nat = sys.argv.index("-c")\n'
        'code = "import sys; sys.version_info = (3, 9, 18); " + "exec(%r)" % sys.argv[at + 1]\n'
        f"os.execv({sys.executable!r}, ['python', *sys.argv[1:at], '-c', code, *sys.argv[at + 2:]])\n"
    )
    script.chmod(0o755)
    return Elsewhere(str(script))


def test_a_python_that_is_too_old_to_build_is_named(far, old):
    with pytest.raises(
        UnsupportedError, match=r"3\.10 or newer, and the Python there is 3\.9\.18 \(.*python3\.9\)"
    ) as caught:
        far("venv", old).plan(asked("alpha"))
    assert "environment=current" in str(caught.value.hint)
    assert run_inside(build(far("current", old), CURRENT), ["python", "-c", "print(1)"]) == "1\n"


def test_builders_of_images_do_not_work_elsewhere(far):
    with pytest.raises(UnsupportedError, match="dockerfile"):
        far("dockerfile")


# --- files -------------------------------------------------------------------------------------------------------------


def test_what_pip_lines_name_goes_along(folder, tmp_path):
    near = tmp_path / "near"
    wheel(near, "alpha", "1.0")
    wheel(near / "packages", "beta")
    wheel(near / "packages", "gamma", "1.0")
    wheel(near / "packages", "gamma", "2.0")
    (near / "limits").mkdir()
    (near / "requirements.txt").write_text("-r others.txt\n-c limits/all.txt\nbeta\n")
    (near / "others.txt").write_text("./alpha-1.0-py3-none-any.whl  # ours\ngamma\n")
    (near / "limits" / "all.txt").write_text("-c more.txt\n")
    (near / "limits" / "more.txt").write_text("gamma<2\n")
    sent = SentFiles(Elsewhere(), str(folder / "files"))
    there = sent.spec(asked(f"--find-links {near}/packages", f"-r {near}/requirements.txt"))
    shutil.rmtree(near)
    activation = build(VenvBuilder(folder, Settings()), there)
    assert [line.partition(" @ ")[0] for line in activation.resolved] == ["alpha", "beta==1.0", "gamma==1.0"]
    assert str(folder) in activation.resolved[0]


def project(folder: Path, version: str) -> Path:
    """A project of the least possible content, with what version control leaves beside it."""
    (folder / "src").mkdir(parents=True, exist_ok=True)
    (folder / ".git").mkdir(exist_ok=True)
    (folder / ".git" / "secret").write_text("x")
    backend = (Path(__file__).parent / "packages.py").read_text()
    (folder / "backend.py").write_text(
        f"{backend}\ndef build_wheel(wheel_directory, config_settings=None, metadata_directory=None):\n"
        f"    return wheel(Path(wheel_directory), 'mine', {version!r}).name\n"
        "build_editable = build_wheel\n"
    )
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        f'[project]\nname = "mine"\nversion = "{version}"\n'
    )
    return folder


@pytest.mark.parametrize("option", ["", "-e "])
def test_a_project_goes_along_and_a_changed_one_is_another_environment(far, folder, tmp_path, option):
    near = project(tmp_path / "a project", "1.0")
    first = build(far("venv"), asked(f"{option}{near}"))
    project(near, "2.0")
    second = build(far("venv"), asked(f"{option}{near}"))
    said = [run_inside(made, ["python", "-c", "import mine; print(mine.version)"]) for made in (first, second)]
    assert said == ["1.0\n", "2.0\n"]
    assert not list(folder.glob("files/**/.git"))


def test_files_are_sent_once(far, folder, wheels, monkeypatch):
    spec = asked(f"--find-links {wheels}", "alpha")
    build(far("venv"), spec)
    monkeypatch.setattr(Elsewhere, "put", None)
    again = far("venv").plan(spec)
    assert again.cached
    assert not list(folder.glob("files/.*"))


def test_a_file_that_is_not_here_is_said(far, tmp_path):
    with pytest.raises(UnsupportedError, match=r"missing\.txt"):
        far("venv").plan(asked(f"-r {tmp_path}/missing.txt"))


@pytest.mark.parametrize("line", ["--index-url file:///srv/simple", "--extra-index-url /srv/simple", "-i ../simple"])
def test_an_index_on_this_machines_disk_is_refused(far, line):
    with pytest.raises(UnsupportedError, match="on this machine's disk") as caught:
        far("venv").plan(asked(line, "alpha"))
    assert "--find-links" in str(caught.value.hint)


def test_a_channel_that_is_a_folder_here_is_refused(far, tmp_path):
    spec = EnvironmentSpec(conda={"channels": [f"file://{tmp_path}/channel"], "dependencies": ["tool"]})
    with pytest.raises(UnsupportedError, match=f"channel {tmp_path}/channel is a folder, and it is not on"):
        far("conda").plan(spec)


# --- uv and rattler ----------------------------------------------------------------------------------------------------


@pytest.fixture
def without_uv(folder, monkeypatch):
    """Neither on PATH nor where its installers put it."""
    (folder / "bin" / "uv").unlink()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("SHELL", "/bin/sh")
    path = os.environ["PATH"].split(os.pathsep)
    monkeypatch.setenv("PATH", os.pathsep.join(entry for entry in path if not Path(entry, "uv").exists()))


def test_uv_is_sent_once(far, wheels, without_uv):
    first: list[str] = []
    second: list[str] = []
    build(far("venv"), asked(f"--find-links {wheels}", "alpha"), first)
    assert re.match(r"sending uv \(\d+ MB\)", first[0])
    assert build(far("venv"), asked(f"--find-links {wheels}", "beta"), second).resolved == ("beta==1.0",)
    assert not any("sending" in line for line in second)


def test_uv_is_not_sent_to_a_machine_of_another_kind(far, wheels, without_uv, monkeypatch):
    monkeypatch.setattr(_far_side, "machine", lambda: ["plan9", "vax", ""])
    with pytest.raises(UnsupportedError, match="is not on that machine") as caught:
        build(far("venv"), asked(f"--find-links {wheels}", "alpha"))
    assert "/bin/uv" in str(caught.value.hint)


def test_the_range_of_rattler_is_the_extras():
    assert f'conda = ["{_rattler.PACKAGE}"]' in (ROOT / "pyproject.toml").read_text()


def test_a_machine_that_cannot_get_rattler_says_so(far, channel, wheels, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    spec = EnvironmentSpec(conda={"channels": [str(channel)], "dependencies": ["tool"]})
    with pytest.raises(EnvironmentBuildError, match="rattler, which makes conda environments") as caught:
        build(far("conda"), spec)
    assert "pip install 'py-rattler" in str(caught.value.hint)
    assert caught.value.details


@pytest.mark.network
@pytest.mark.slow
def test_rattler_is_fetched_for_a_machine_without_it(far, channel):
    spec = EnvironmentSpec(conda={"channels": [str(channel)], "dependencies": ["tool"]})
    lines: list[str] = []
    assert run_inside(build(far("conda"), spec, lines), ["tool"]) == "1.0\n"
    assert any("py-rattler" in line for line in lines)


# --- builds ------------------------------------------------------------------------------------------------------------


def gated(tmp_path: Path) -> tuple[EnvironmentSpec, Path]:
    """An environment whose build waits for ``gates/go``."""
    gates = tmp_path / "gates"
    gated_source(tmp_path / "sources", "slow", gates)
    return asked(f"--find-links {tmp_path / 'sources'}", "slow"), gates


def test_the_log_comes_while_it_is_built(far, folder, tmp_path, until):
    spec, gates = gated(tmp_path)
    lines: list[str] = []
    builder = far("venv")
    plan = builder.plan(spec)
    building = threading.Thread(target=lambda: builder.build(plan, lines.append))
    building.start()
    until((gates / "started").exists)
    until(lambda: any(line.startswith("Creating virtual environment") for line in lines))
    (gates / "go").touch()
    building.join()
    assert " + slow==1.0" in lines
    log = builder.build_log(plan.fingerprint or "")
    assert log is not None
    assert log.read_text().splitlines() == lines
    assert not list(folder.glob("builds/*"))


def test_two_at_once_are_one_build(far, tmp_path, until):
    spec, gates = gated(tmp_path)
    answers: list[Activation] = []
    heard: list[str] = []
    plan = far("venv").plan(spec)
    threads = [threading.Thread(target=lambda: answers.append(far("venv").build(plan, heard.append))) for _ in range(2)]
    for thread in threads:
        thread.start()
    until(lambda: any("waiting for it" in line for line in heard))
    (gates / "go").touch()
    for thread in threads:
        thread.join()
    assert answers == [answers[0]] * 2
    assert (gates / "started").read_text() == "x"


BUILDING = """
import sys
from mlcli.domain.job import EnvironmentSpec
from mlcli.domain.settings import Settings
from mlcli.environments.far import FarBuilder
from mlcli.transports.local import LocalTransport
builder = FarBuilder("venv", LocalTransport(), Settings(kill_grace_s=2.0), sys.argv[1])
builder.build(builder.plan(EnvironmentSpec(conda={"dependencies": [{"pip": sys.argv[2:]}]})), print)
"""


@pytest.fixture
def started(folder, tmp_path, until):
    """A process that builds over there, and has come as far as the gates."""
    spec, gates = gated(tmp_path)
    lines = (spec.conda or {})["dependencies"][0]["pip"]
    process = subprocess.Popen(
        [sys.executable, "-c", BUILDING, str(folder), *lines],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    until((gates / "started").exists)
    yield process, spec, gates
    process.kill()
    process.wait()
    there = Elsewhere()
    argv = agent.invocation(there.python(), there.agent_folder(), "cancel", *map(str, folder.glob("builds/*")))
    there.run(argv)
    until(lambda: not processes(folder))


def test_a_build_goes_on_when_who_asked_for_it_is_killed(far, folder, started, until):
    process, spec, gates = started
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert processes(folder)
    (gates / "go").touch()
    until(lambda: not processes(folder))
    assert far("venv").plan(spec).cached


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_who_is_told_to_end_ends_the_build(far, folder, started, until, number):
    process, spec, gates = started
    process.send_signal(number)
    assert process.wait(30) != 0
    until(lambda: not processes(folder))
    (gates / "go").touch()
    assert not far("venv").plan(spec).cached
    assert build(far("venv"), spec).resolved == ("slow==1.0",)


def test_a_wish_that_is_given_up_ends_the_build(far, folder, tmp_path, until):
    spec, gates = gated(tmp_path)

    class CanceledError(Exception):
        pass

    def log(line: str) -> None:
        if line.startswith("Creating"):
            until((gates / "started").exists)
            raise CanceledError

    builder = far("venv")
    with pytest.raises(CanceledError):
        builder.build(builder.plan(spec), log)
    until(lambda: not processes(folder))
    assert not far("venv").plan(spec).cached


def test_a_build_that_is_killed_there_is_told(far, folder, started, until):
    _, spec, _ = started
    builder = far("venv")
    plan = builder.plan(spec)
    caught: list[EnvironmentBuildError] = []

    def joined() -> None:
        try:
            builder.build(plan, print)
        except EnvironmentBuildError as error:
            caught.append(error)

    waiting = threading.Thread(target=joined)
    waiting.start()
    until(lambda: len(processes(folder)) == 2)
    for file in folder.glob("builds/*/agent.json"):
        os.kill(json.loads(file.read_text())["command"]["pid"], signal.SIGKILL)
    waiting.join()
    assert "killed" in caught[0].message or "137" in caught[0].message
    assert caught[0].hint


class Flaky(Elsewhere):
    """The connection is away for a while in the middle of the build."""

    away = 5

    def read(self, path: str, offset: int = 0, limit: int | None = None) -> bytes | None:
        if path.endswith("log.txt") and offset > 0 and self.away:
            self.away -= 1
            raise TransportError("no route to it", transient=True)
        return super().read(path, offset, limit)


def test_a_connection_that_is_away_meanwhile_loses_no_line(far, wheels):
    lines: list[str] = []
    transport = Flaky()
    build(far("venv", transport), asked(f"--find-links {wheels}", "alpha"), lines)
    assert transport.away == 0
    assert lines[0].startswith("building ")
    assert lines[-1] == " + alpha==2.0"


def test_a_build_does_not_need_the_connection(far, ssh, ssh_host, tmp_path, until):
    """sshd's processes are killed in the middle: the build goes on, and is followed again."""
    spec, gates = gated(tmp_path)
    lines: list[str] = []
    builder = far("venv", ssh)
    plan = builder.plan(spec)
    answers: list[Activation] = []
    building = threading.Thread(target=lambda: answers.append(builder.build(plan, lines.append)))
    building.start()
    until((gates / "started").exists)
    kill_sessions(ssh_host)
    (gates / "go").touch()
    building.join()
    assert answers[0].resolved == ("slow==1.0",)
    assert (gates / "started").read_text() == "x"
    assert lines.count(" + slow==1.0") == 1


def test_what_fails_there_is_told_as_here(far, folder, wheels):
    spec = asked(f"--find-links {wheels}", "alhpa")
    builder = far("venv")
    with pytest.raises(EnvironmentBuildError, match="'alhpa' was not found") as caught:
        build(builder, spec)
    assert any("alhpa" in line for line in caught.value.details)
    assert re.search(rf"build log on \S+: {folder}", str(caught.value.hint))
    plan = builder.plan(spec)
    assert not plan.cached
    failure = builder.last_failure(plan.fingerprint or "")
    assert failure is not None
    assert failure.message == caught.value.message
    assert list(builder.unfinished()) == [plan.fingerprint]
    assert not list(folder.glob("builds/*"))


def test_its_cache_is_listed_and_cleared(far, folder, wheels):
    builder = far("venv")
    assert builder.listing() == []
    plan = builder.plan(asked(f"--find-links {wheels}", "alpha"))
    builder.build(plan, print)
    (one,) = builder.listing()
    assert (one.builder, one.fingerprint, one.resolved) == ("venv", plan.fingerprint, ("alpha==2.0",))
    assert one.place.startswith(str(folder))
    assert builder.last_failure(one.fingerprint) is None
    assert builder.remove(one.fingerprint) > 0
    assert builder.listing() == []
    assert builder.build_log(one.fingerprint) is None


def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "far").write_text("in the way")
    with pytest.raises(MlcliError, match="far"):
        build(FarBuilder("venv", Elsewhere(), Settings(), str(tmp_path / "far")), asked("alpha"))


@pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="mounting a small disk needs root")
@pytest.mark.parametrize("kilobytes", [100, 600, 3000])
def test_a_full_disk_there_is_said(tmp_path, tmp_path_factory, kilobytes):
    """While our package goes there, while files go along, while it is built."""
    wheel(tmp_path / "big", "heavy", size=2_000_000)
    disk = tmp_path_factory.mktemp("disk")
    mounting = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", disk]
    if subprocess.run(mounting, check=False, capture_output=True).returncode:
        pytest.skip("cannot mount here")
    try:
        with pytest.raises(MlcliError, match=r"disk is full|No space left"):
            build(
                FarBuilder("venv", LocalTransport(), Settings(), str(disk)),
                asked(f"{tmp_path}/big/heavy-1.0-py3-none-any.whl"),
            )
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def test_a_shared_folder_that_is_not_there_is_not_made(far, wheels, tmp_path):
    settings = Settings(environments_shared=str(tmp_path / "shared"))
    build(far("venv", settings=settings), asked(f"--find-links {wheels}", "alpha"))
    assert not (tmp_path / "shared").exists()


def test_a_cached_environment_takes_two_questions(far, wheels):
    """One looks for the files that the lines name, one for the environment."""
    spec = asked(f"--find-links {wheels}", "alpha")
    build(far("venv"), spec)
    transport = Elsewhere()
    assert build(far("venv", transport), spec).resolved == ("alpha==2.0",)
    assert transport.frames == 2


# --- secrets -----------------------------------------------------------------------------------------------------------


def test_a_token_that_lines_name_by_its_variable_is_filled_in_there(far, folder, ssh, wheels, monkeypatch):
    monkeypatch.setenv("MY_WHEELS", str(wheels))
    assert build(far("venv", ssh), asked("--find-links ${MY_WHEELS}", "alpha")).resolved == ("alpha==2.0",)


def test_credentials_stay_nowhere(far, folder, monkeypatch):
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    secret = "s3cr3tPassw0rd"
    conda = {"dependencies": [{"pip": [f"--index-url http://user:{secret}@127.0.0.1:1/simple", "alpha"]}]}
    spec = EnvironmentSpec(conda=conda, image="x", registry=RegistryLogin("r", "user", secret))
    lines: list[str] = []
    with pytest.raises(EnvironmentBuildError, match="could not be reached") as caught:
        build(far("venv"), spec, lines)
    assert secret not in "\n".join([*lines, caught.value.message, str(caught.value.hint), *caught.value.details])
    files = [file for file in folder.rglob("*") if file.is_file() and not file.is_symlink()]
    assert files
    assert [file for file in files if secret.encode() in file.read_bytes()] == []


def test_a_request_is_for_its_owner_only_and_gone_when_read(folder, started):
    (of_build,) = folder.glob("builds/*")
    assert of_build.stat().st_mode & 0o777 == 0o700
    assert not (of_build / "request.json").exists()
    assert not (of_build / "launch.json").exists()
