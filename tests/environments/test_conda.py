"""Conda environments: solved and installed for real, from channels that these tests make on the disk."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlcli.domain.errors import EnvironmentBuildError, StoreError, UnsupportedError
from mlcli.domain.job import EnvironmentSpec
from mlcli.domain.settings import Settings
from mlcli.environments._definition import needs_conda
from mlcli.environments._rattler import failure
from mlcli.environments.conda import CondaBuilder
from mlcli.environments.venv import VenvBuilder
from mlcli.operations.environment_pins import pinned_environment
from mlcli.ports.environments import Activation
from mlcli.testing.environment_builder import EnvironmentBuilderContract, run_inside
from tests.environments.channels import VERSION, index, package, python, python_package, served, subdir
from tests.environments.packages import wheel

pytest.importorskip("rattler")
DEADLINE_S = 120.0
SAYS = "#!/bin/sh\necho {}\n"


@pytest.fixture(scope="session")
def channel(tmp_path_factory):
    """``tool`` in three versions, ``greet`` that needs it, ``never`` that cannot be."""
    folder: Path = tmp_path_factory.mktemp("channel")
    for version in ("1.0", "1.5", "2.0"):
        package(folder, "tool", version, files={"bin/tool": SAYS.format(version)})
    package(
        folder,
        "greet",
        depends=["tool <2"],
        files={
            "bin/greet": "#!/bin/sh\necho hello $GREETED\n",
            "etc/conda/activate.d/greet.sh": 'export GREETED="${GREETED:-}world in $CONDA_PREFIX"\n',
            "etc/conda/env_vars.d/greet.json": json.dumps({"GREETER": "greet"}),
        },
    )
    package(folder, "never", depends=["tool >=9"])
    package(folder, "needs-gpu", depends=["__cuda >=12"])
    return index(folder)


@pytest.fixture(scope="session")
def python_channel(tmp_path_factory):
    """A real Python, and ``pure``, a package for it."""
    folder: Path = tmp_path_factory.mktemp("python-channel")
    python(folder)
    python_package(folder, "pure", "1.5")
    return index(folder)


@pytest.fixture(scope="session")
def package_cache(tmp_path_factory):
    return tmp_path_factory.mktemp("conda-packages")


@pytest.fixture
def shared_packages(package_cache, monkeypatch):
    """For tests that need the big Python: unpacked once for all of them."""
    monkeypatch.setenv("RATTLER_CACHE_DIR", str(package_cache))


@pytest.fixture
def builder(tmp_path):
    return CondaBuilder(tmp_path / "home", Settings())


@pytest.fixture
def asked(channel) -> Callable[..., EnvironmentSpec]:
    def spec(*dependencies: Any, channels: list[str] | None = None, **others: Any) -> EnvironmentSpec:
        return EnvironmentSpec(
            conda={"channels": channels or [str(channel)], "dependencies": [*dependencies], **others}
        )

    return spec


def build(builder: CondaBuilder, spec: EnvironmentSpec, lines: list[str] | None = None) -> Activation:
    return builder.build(builder.plan(spec), (lines if lines is not None else []).append)


def fails(builder: CondaBuilder, spec: EnvironmentSpec) -> EnvironmentBuildError:
    with pytest.raises(EnvironmentBuildError) as caught:
        build(builder, spec)
    assert caught.value.hint
    assert not builder.plan(spec).cached
    return caught.value


def names(activation: Activation) -> list[str]:
    return [address.rsplit("/", 1)[1].split(".tar.bz2")[0] for address in activation.packages]


# --- who makes what ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dependencies", "lock", "conda"),
    [
        (["python=3.11", "pip", {"pip": ["numpy"]}], None, False),
        (["conda-forge::python", "Pip=21"], None, False),
        ([], None, False),
        ("numpy", None, False),
        (["numpy"], None, True),
        (["python", "defaults::cudatoolkit=11"], None, True),
        (["python[version='>=3.8']", "scipy[version='>=1']"], None, True),
        (["python"], "@EXPLICIT\n", True),
        (None, "@EXPLICIT\n", True),
    ],
)
def test_one_of_the_two_makes_it(dependencies, lock, conda, tmp_path):
    spec = EnvironmentSpec(conda=None if dependencies is None else {"dependencies": dependencies}, lock=lock)
    assert needs_conda(spec.conda, spec.lock) is conda
    assert CondaBuilder(tmp_path, Settings()).accepts(spec) is conda
    assert VenvBuilder(tmp_path, Settings()).accepts(spec) is not conda


def test_without_rattler_it_says_what_to_install(builder, asked, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(UnsupportedError, match="tool=1") as caught:
        builder.plan(asked("python", "tool=1"))
    assert "mlcli[conda]" in str(caught.value.hint)
    assert caught.value.details == ("dependencies:", "- pip:", "    - tool==1.*")


# --- what is made ------------------------------------------------------------------------------------------------------


def test_packages_are_solved_and_installed(builder, asked):
    lines: list[str] = []
    activation = build(builder, asked("greet", "tool>=1.2"), lines)
    assert names(activation) == ["greet-1.0-0", "tool-1.5-0"]
    assert all(len(address.split("#")[1]) == 64 for address in activation.packages)
    assert run_inside(activation, ["tool"]) == "1.5\n"
    assert " + tool 1.5 0" in lines
    assert activation.python is None


def test_packages_say_how_they_are_activated(builder, asked):
    activation = build(builder, asked("greet"))
    prefix = activation.environment_variables["CONDA_PREFIX"]
    assert run_inside(activation, ["greet"], {"GREETED": "my ", **os.environ}) == f"hello my world in {prefix}\n"
    assert run_inside(activation, ["sh", "-c", "echo $GREETER $1", "-", "a 'b'"]) == "greet a 'b'\n"


def test_what_rattler_activates_is_what_the_command_sees(builder, asked):
    """The same variables as its own activation script sets."""
    from rattler.shell import ActivationVariables, Shell, activate

    activation = build(builder, asked("greet"))
    prefix = Path(activation.environment_variables["CONDA_PREFIX"])
    made = activate(prefix, ActivationVariables(None, ["/usr/bin", "/bin"]), Shell.bash)
    ask = 'printf \'%s|\' "$CONDA_PREFIX" "$GREETED" "$GREETER"'
    bare = {"PATH": "/usr/bin:/bin"}
    argv = ["bash", "-c", f"{made.script}\n{ask}"]
    theirs = subprocess.run(argv, env=bare, capture_output=True, text=True, check=True)
    assert run_inside(activation, ["bash", "-c", ask], bare) == theirs.stdout
    assert str(made.path[0]) == activation.prepend_path[0]  # type: ignore[index]  # a list, whatever its annotation says


def test_variables_of_the_file_win(builder, asked):
    activation = build(builder, asked("greet", variables={"GREETER": "me", "N": 1}))
    assert run_inside(activation, ["sh", "-c", "echo $GREETER $N"]) == "me 1\n"


@pytest.mark.parametrize(
    ("entry", "version"),
    [
        ("tool", "2.0"),
        ("tool=1", "1.5"),
        ("tool=1.0", "1.0"),
        ("tool==1.5", "1.5"),
        ("tool>=1.0,<1.5", "1.0"),
        ("tool 1.0", "1.0"),
        ("tool=1.5=0", "1.5"),
        ("tool=1.*=0*", "1.5"),
        ("tool[version='<2']", "1.5"),
        ("tool !=2.0", "1.5"),
    ],
)
def test_conda_files_words(builder, asked, entry, version):
    assert names(build(builder, asked(entry))) == [f"tool-{version}-0"]


def test_channels_are_asked_in_their_order(builder, asked, channel, tmp_path):
    package(tmp_path / "first", "tool", "0.1", files={"bin/tool": SAYS.format("first")})
    first = index(tmp_path / "first")
    spec = asked("tool", channels=[f"file://{first}", "nodefaults", str(channel)])
    assert names(build(builder, spec)) == ["tool-0.1-0"]
    assert names(build(builder, asked("tool", channels=[str(channel), str(first)]))) == ["tool-2.0-0"]
    assert names(build(builder, asked(f"{channel}::tool", channels=[str(first)]))) == ["tool-2.0-0"]
    assert names(build(builder, asked("tool>1", channels=[str(first), str(channel)]))) == ["tool-2.0-0"]


def test_a_virtual_package_can_be_told(builder, asked, monkeypatch):
    assert "CONDA_OVERRIDE_CUDA" in str(fails(builder, asked("needs-gpu")).hint)
    monkeypatch.setenv("CONDA_OVERRIDE_CUDA", "12.4")
    assert names(build(builder, asked("needs-gpu"))) == ["needs-gpu-1.0-0"]


@pytest.fixture
def with_python(python_channel, channel, tmp_path, shared_packages):
    """A conda file of a real Python, a package of conda's and one of pip's."""
    wheel(tmp_path / "wheels", "beta")
    pip = ["--no-index", f"--find-links {tmp_path / 'wheels'}", "beta"]
    channels = [str(python_channel), str(channel)]
    return EnvironmentSpec(conda={"channels": channels, "dependencies": ["pure", "tool=1", {"pip": pip}]})


def test_the_pip_section_is_installed_on_top(builder, with_python):
    lines: list[str] = []
    activation = build(builder, with_python, lines)
    assert activation.python == VERSION
    assert activation.resolved == ("beta==1.0",)
    assert names(activation) == ["pure-1.5-0", f"python-{VERSION}-0", "tool-1.5-0"]
    code = "import beta, pure, ssl, sys; print(beta.version, pure.version, sys.prefix)"
    prefix = activation.environment_variables["CONDA_PREFIX"]
    assert run_inside(activation, ["python", "-c", code]).split() == ["1.0", "1.5", prefix]
    assert " + beta==1.0" in lines


def test_what_a_run_had_can_be_had_again(builder, with_python, channel, tmp_path):
    had = build(builder, with_python)
    record = {"resolved": list(had.resolved), "packages": list(had.packages), "python": had.python}
    spec = pinned_environment(record, with_python)
    again = build(CondaBuilder(tmp_path / "another", Settings()), spec)
    assert (again.packages, again.resolved, again.python) == (had.packages, had.resolved, had.python)


class TestCondaBuilder(EnvironmentBuilderContract):
    @pytest.fixture(autouse=True)
    def _packages(self, shared_packages): ...

    @pytest.fixture
    def make(self, tmp_path):
        return lambda: CondaBuilder(tmp_path / "home", Settings())

    @pytest.fixture
    def spec(self, python_channel):
        return EnvironmentSpec(conda={"channels": [str(python_channel)], "dependencies": ["pure"]})

    @pytest.fixture
    def refused(self, asked):
        return asked("tol")


# --- when it is made again ---------------------------------------------------------------------------------------------


def test_what_is_there_is_not_solved_again(builder, asked, channel, monkeypatch):
    with served(channel) as server:
        spec = asked("tool", channels=[server.url])
        first = build(builder, spec)
        server.requests.clear()
        monkeypatch.setattr(subprocess, "Popen", None)
        plan = builder.plan(spec)
        assert plan.cached
        assert builder.build(plan, pytest.fail) == first
        assert server.requests == []


def test_it_is_made_again_when_the_definition_changes_and_only_then(builder, asked, channel, tmp_path, monkeypatch):
    (tmp_path / "requirements.txt").write_text("six\n")
    pip = {"pip": [f"-r {tmp_path}/requirements.txt"]}
    base = str(builder.plan(asked("tool=1", pip)).fingerprint)

    def key(spec: EnvironmentSpec) -> str:
        return str(builder.plan(spec).fingerprint)

    same = [
        asked("tool=1", pip, name="another", prefix="/elsewhere", variables={"A": "b"}),
        asked("tool=1", {"pip": ["six"]}),
        EnvironmentSpec(conda=asked("tool=1", pip).conda, image="host.example/base", name="x", version="9"),
    ]
    assert {key(spec) for spec in same} == {base}
    lock = "@EXPLICIT\n"
    others = [
        asked("tool=1.0", pip),
        asked("tool=1", "greet", pip),
        asked("tool=1", pip, channels=["other", str(channel)]),
        asked("tool=1", {"pip": ["six<9"]}),
        EnvironmentSpec(conda=asked(pip).conda, lock=lock),
        EnvironmentSpec(conda=asked(pip).conda, lock=f"{lock}# another\n"),
    ]
    assert len({base, *map(key, others)}) == len(others) + 1
    (tmp_path / "requirements.txt").write_text("six==1.16\n")
    assert key(asked("tool=1", pip)) != base
    (tmp_path / "requirements.txt").write_text("six\n")
    monkeypatch.setenv("CONDA_OVERRIDE_GLIBC", "2.17")
    assert key(asked("tool=1", pip)) != base


def test_listing_and_removing(builder, asked):
    build(builder, asked("tool=1"))
    build(builder, asked("tool=2"))
    key = builder.plan(asked("tool=1")).fingerprint
    assert {built.fingerprint for built in builder.listing()} == {key, builder.plan(asked("tool=2")).fingerprint}
    assert "tool=1" in next(built.description for built in builder.listing() if built.fingerprint == key)
    log = builder.build_log(key)
    assert log
    assert " + tool 1.5 0" in log.read_text()
    assert builder.remove(key) > 0
    assert not builder.plan(asked("tool=1")).cached


# --- locks -------------------------------------------------------------------------------------------------------------


def test_an_explicit_lock_is_followed(builder, asked, tmp_path):
    had = build(builder, asked("tool<1.5"))
    lock = "\n".join(["# platform: any", "@EXPLICIT", *had.packages])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RATTLER_CACHE_DIR", str(tmp_path / "empty"))
        again = build(CondaBuilder(tmp_path / "another", Settings()), EnvironmentSpec(lock=lock))
    assert again.packages == had.packages
    assert run_inside(again, ["tool"]) == "1.0\n"


def conda_lock(channel: Path, platform: str, checksum: str) -> str:
    return f"""version: 1
metadata:
  content_hash: {{{platform}: abc}}
  channels: [{{url: "{channel}", used_env_vars: []}}]
  platforms: [{platform}]
  sources: [environment.yml]
package:
- name: tool
  version: '1.0'
  manager: conda
  platform: {platform}
  dependencies: {{}}
  url: file://{channel}/noarch/tool-1.0-0.tar.bz2
  hash: {{sha256: {checksum}}}
  category: main
  optional: false
"""


def pixi_lock(channel: Path, checksum: str) -> str:
    url = f"file://{channel}/noarch/tool-1.0-0.tar.bz2"
    return f"""version: 6
environments:
  default:
    channels: [{{url: "file://{channel}/"}}]
    packages:
      {subdir()}:
      - conda: {url}
packages:
- conda: {url}
  subdir: noarch
  sha256: {checksum}
"""


@pytest.fixture
def checksum(builder, asked):
    return build(builder, asked("tool=1.0")).packages[0].split("#")[1]


@pytest.mark.parametrize("write", ["conda-lock", "pixi"])
def test_a_lock_of_another_tool_is_followed(builder, channel, checksum, write):
    lock = conda_lock(channel, subdir(), checksum) if write == "conda-lock" else pixi_lock(channel, checksum)
    assert names(build(builder, EnvironmentSpec(lock=lock))) == ["tool-1.0-0"]


def test_a_lock_decides_and_the_file_beside_it_only_adds_pip(builder, asked, channel, checksum):
    spec = EnvironmentSpec(conda=asked("tool=2", "greet").conda, lock=pixi_lock(channel, checksum))
    assert names(build(builder, spec)) == ["tool-1.0-0"]
    with_pip = EnvironmentSpec(conda=asked({"pip": ["six"]}).conda, lock=pixi_lock(channel, checksum))
    assert "no Python" in fails(builder, with_pip).message


def test_a_locks_pip_packages_are_installed(builder, with_python, python_channel, tmp_path):
    had = build(builder, with_python)
    pure = next(address for address in had.packages if "/pure-" in address)
    its_python = next(address for address in had.packages if f"/python-{VERSION}" in address)
    beta = tmp_path / "wheels" / "beta-1.0-py3-none-any.whl"
    lines = [f"      - conda: {address.split('#')[0]}" for address in (pure, its_python)]
    listed = [
        f"- conda: {address.split('#')[0]}\n  sha256: {address.split('#')[1]}\n  subdir: {address.split('/')[-2]}"
        for address in (pure, its_python)
    ]
    environments = [
        "  default:",
        "    channels: []",
        "    packages:",
        f"      {subdir()}:",
        *lines,
        f"      - pypi: file://{beta}",
    ]
    packages = [*listed, f"- pypi: file://{beta}", "  name: beta", "  version: '1.0'"]
    lock = "\n".join(["version: 6", "environments:", *environments, "packages:", *packages])
    activation = build(builder, EnvironmentSpec(lock=lock + "\n"))
    assert run_inside(activation, ["python", "-c", "import beta, pure; print(beta.version)"]) == "1.0\n"
    assert activation.resolved[0].startswith("beta")


@pytest.mark.parametrize(
    ("lock", "said"),
    [
        ("@EXPLICIT\ntool\n", "is no address of a conda package"),
        ("@EXPLICIT\nhttps://x.example/noarch/tool-1.0-0.conda#zz\n", "is no address of a conda package"),
        ("@EXPLICIT\nhttps://x.example/win-64/tool-1.0-0.conda\n", "is for win-64, and this machine is"),
        ("version: 99\npackages: []\n", "cannot be read"),
        ("version: 6\nenvironments: {}\npackages: []\n", "is for no platform"),
    ],
)
def test_a_lock_that_cannot_be_followed_is_said(builder, lock, said):
    assert said in fails(builder, EnvironmentSpec(lock=lock)).message


def test_a_package_of_a_lock_that_is_gone_is_said(builder, tmp_path):
    lock = f"@EXPLICIT\nfile://{tmp_path}/noarch/tool-1.0-0.conda#{'a' * 64}\n"
    assert f"{tmp_path}/noarch/tool-1.0-0.conda cannot be read" in fails(builder, EnvironmentSpec(lock=lock)).message


def test_a_lock_for_another_platform_is_said(builder, channel):
    assert "is for osx-64" in fails(builder, EnvironmentSpec(lock=conda_lock(channel, "osx-64", "a" * 64))).message


# --- what goes wrong ---------------------------------------------------------------------------------------------------


def test_a_misspelt_package_is_named_with_its_neighbour(builder, asked):
    error = fails(builder, asked("greet", "tol=1"))
    assert "'tol' was not found in" in error.message
    assert "did you mean tool?" in str(error.hint)
    assert str(builder.build_log(str(builder.plan(asked("greet", "tol=1")).fingerprint))) in str(error.hint)


def test_a_version_that_is_not_there_is_told_with_those_that_are(builder, asked):
    error = fails(builder, asked("tool=7"))
    assert "there is no tool 7.*" in error.message
    assert "versions there: 2.0, 1.5, 1.0" in str(error.hint)


def test_a_python_that_is_not_there_is_told_with_those_that_are(builder, python_channel):
    error = fails(
        builder, EnvironmentSpec(conda={"channels": [str(python_channel)], "dependencies": ["python=2", "pure"]})
    )
    assert "there is no python 2.*" in error.message
    assert f"versions there: {VERSION}" in str(error.hint)


def test_what_cannot_stand_together_is_explained(builder, asked):
    error = fails(builder, asked("greet", "tool=2"))
    assert "no set of conda packages" in error.message
    assert any("greet" in line for line in error.details)
    assert "no set of conda packages" in fails(builder, asked("never")).message


@pytest.mark.parametrize(("entry", "said"), [("tool!!", "'tool!!' cannot be read"), ("tool=>=1=", "cannot be read")])
def test_a_line_that_cannot_be_read_is_said(builder, asked, entry, said):
    assert said in fails(builder, asked(entry)).message


def test_a_channel_that_is_not_there_is_named(builder, asked, tmp_path):
    error = fails(builder, asked("tool", channels=[str(tmp_path / "nowhere")]))
    assert f"the channel file://{tmp_path}/nowhere could not be read" in error.message


def test_a_channel_that_does_not_answer_is_named_without_its_token(builder, asked, tmp_path):
    spec = asked("tool", channels=["http://me:hidden@127.0.0.1:9/t/hidden/mine"])
    lines: list[str] = []
    with pytest.raises(EnvironmentBuildError, match=r"the channel http://\S*127\.0\.0\.1:9/t/\*\*\*/mine") as caught:
        build(builder, spec, lines)
    told = "\n".join([caught.value.message, str(caught.value.hint), *caught.value.details, *lines])
    assert "hidden" not in told
    assert not [file for file in (tmp_path / "home").rglob("*.log") if "hidden" in file.read_text()]


def test_an_error_page_for_a_channel_is_said(builder, asked, tmp_path):
    (tmp_path / "site").mkdir()
    with served(tmp_path / "site") as server:
        assert f"the channel {server.url}" in fails(builder, asked("tool", channels=[server.url])).message


def test_a_package_that_was_changed_is_refused(builder, asked, tmp_path):
    archive = package(tmp_path / "mine", "tool", files={"bin/tool": SAYS.format("good")})
    spec = asked("tool", channels=[str(index(tmp_path / "mine"))])
    package(tmp_path / "mine", "tool", files={"bin/tool": SAYS.format("bad")})
    assert "not the one that was asked for" in fails(builder, spec).message
    archive.write_bytes(archive.read_bytes()[:100])
    fails(builder, spec)
    package(tmp_path / "mine", "tool", files={"bin/tool": SAYS.format("good")})
    index(tmp_path / "mine")
    assert run_inside(build(builder, spec), ["tool"]) == "good\n"


def test_a_download_that_is_another_file_is_refused(builder, asked, tmp_path):
    package(tmp_path / "mine", "tool", files={"bin/tool": SAYS.format("good")})
    with served(index(tmp_path / "mine")) as server:
        package(tmp_path / "mine", "tool", files={"bin/tool": SAYS.format("bad")})
        error = fails(builder, asked("tool", channels=[server.url]))
        assert "not the one that was asked for" in error.message
        (tmp_path / "mine" / "noarch" / "tool-1.0-0.tar.bz2").unlink()
        assert "tool" in fails(builder, asked("tool", channels=[server.url])).message


def test_a_pip_section_that_fails_leaves_nothing(builder, with_python):
    conda = dict(with_python.conda or {})
    conda["dependencies"] = ["pure", {"pip": ["--no-index", "no-such-package"]}]
    assert "'no-such-package'" in fails(builder, EnvironmentSpec(conda=conda)).message
    assert builder.listing() == []


@pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="mounting a small disk needs root")
def test_a_full_disk_is_said(asked, tmp_path, tmp_path_factory):
    import random

    package(tmp_path / "mine", "heavy", files={"heavy.bin": random.Random(0).randbytes(3_000_000)})
    disk = tmp_path_factory.mktemp("disk")
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], check=False, capture_output=True
    ).returncode:
        pytest.skip("cannot mount here")
    try:
        error = fails(CondaBuilder(disk, Settings()), asked("heavy", channels=[str(index(tmp_path / "mine"))]))
        assert "disk is full" in error.message
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_workspace_that_cannot_be_written_is_said(asked, tmp_path):
    (tmp_path / "environments").write_text("in the way")
    with pytest.raises(StoreError) as caught:
        build(CondaBuilder(tmp_path, Settings()), asked("tool"))
    assert caught.value.hint


@pytest.mark.parametrize(("code", "said"), [(-9, "killed by signal 9"), (3, "ended with code 3")])
def test_a_process_that_says_nothing_is_said(code, said):
    assert said in failure(["installing"], code).message
    assert failure(["installing"], code).details == ("installing",)


@pytest.mark.parametrize("changed", [{"channels": "conda-forge"}, {"channels": [3]}, {"dependencies": ["tool", 3]}])
def test_odd_shapes_are_refused(builder, asked, changed):
    with pytest.raises(UnsupportedError) as caught:
        builder.plan(EnvironmentSpec(conda={**(asked("tool").conda or {}), **changed}))
    assert caught.value.hint


# --- many at once, and kills -------------------------------------------------------------------------------------------

CHILD = """
import sys, json
from pathlib import Path
from mlcli.domain.job import EnvironmentSpec
from mlcli.domain.settings import Settings
from mlcli.environments.conda import CondaBuilder
builder = CondaBuilder(Path(sys.argv[1]), Settings())
plan = builder.plan(EnvironmentSpec(conda=json.loads(sys.argv[2])))
print("PATH", *builder.build(plan, lambda line: print(line, flush=True)).prepend_path)
"""


def child(home: Path, spec: EnvironmentSpec, output: Path) -> subprocess.Popen[bytes]:
    with output.open("wb") as handle:
        argv = [sys.executable, "-c", CHILD, str(home), json.dumps(spec.conda)]
        return subprocess.Popen(argv, stdout=handle, stderr=subprocess.STDOUT)


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


def test_twenty_at_once_build_it_once(tmp_path, asked, channel):
    with served(channel) as server:
        gate = server.gate("tool-2.0-0.tar.bz2")
        spec = asked("tool", channels=[server.url])
        outputs = [tmp_path / f"{number}.txt" for number in range(20)]
        children = [child(tmp_path / "home", spec, output) for output in outputs]
        assert gate.reached.wait(DEADLINE_S)
        until(lambda: all(output.stat().st_size for output in outputs))
        gate.open.set()
        assert [process.wait(DEADLINE_S) for process in children] == [0] * 20
        texts = [output.read_text() for output in outputs]
        assert len({text.splitlines()[-1] for text in texts}) == 1
        assert all(" + tool 2.0 0" in text for text in texts)
        assert len([path for path in server.requests if path.endswith(".tar.bz2")]) == 1


@pytest.mark.parametrize("victim", ["mlcli", "rattler", "both"])
@pytest.mark.parametrize("phase", ["solve", "download", "link"])
def test_kill_9_in_any_phase_leaves_nothing_half_made(tmp_path, asked, phase, victim):
    gates = tmp_path / "gates"
    gates.mkdir()
    slow = f"#!/bin/sh\necho $$ > {gates}/reached\nwhile [ ! -e {gates}/go ]; do sleep 0.02; done\n"
    package(tmp_path / "mine", "tool", files={"bin/tool": SAYS.format("mine"), "bin/.tool-post-link.sh": slow})
    with served(index(tmp_path / "mine")) as server:
        ends = {"solve": "repodata.json", "download": ".tar.bz2", "link": "never"}
        gate = server.gate(ends[phase])
        builder = CondaBuilder(tmp_path / "home", Settings())
        spec = asked("tool", channels=[server.url])
        process = child(tmp_path / "home", spec, tmp_path / "out.txt")
        until(lambda: gate.reached.is_set() or (gates / "reached").exists())
        rattler = int(subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, check=True).stdout)
        for pid in {"mlcli": [process.pid], "rattler": [rattler], "both": [process.pid, rattler]}[victim]:
            os.kill(pid, signal.SIGKILL)
        (gates / "go").touch()
        gate.open.set()
        assert process.wait(DEADLINE_S) != 0
        assert not builder.plan(spec).cached
        assert run_inside(build(builder, spec), ["tool"]) == "mine\n"
        assert builder.plan(spec).cached
        left = sorted(path.name for path in (tmp_path / "home" / "environments").iterdir())
        key = builder.plan(spec).fingerprint
        assert left == [key, f"{key}.lock", f"{key}.log"]


def test_a_wish_that_is_given_up_takes_rattler_with_it(tmp_path, asked, channel):
    class CanceledError(Exception):
        pass

    def log(line: str) -> None:
        if line.startswith("installing"):
            raise CanceledError

    builder = CondaBuilder(tmp_path, Settings())
    with pytest.raises(CanceledError):
        builder.build(builder.plan(asked("tool")), log)
    assert not builder.plan(asked("tool")).cached
    assert names(build(builder, asked("tool"))) == ["tool-2.0-0"]
