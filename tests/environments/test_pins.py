"""Versions that one machine chose are installed by the others that share its folder."""

from __future__ import annotations

import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcli.domain.job import EnvironmentSpec
from mlcli.domain.settings import Settings
from mlcli.environments._pins import Pins
from mlcli.environments.conda import CondaBuilder
from mlcli.environments.venv import VenvBuilder
from tests.environments.channels import index, package
from tests.environments.packages import wheel


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))


@pytest.fixture
def settings(tmp_path):
    return Settings(environments_shared=str(tmp_path / "shared"))


@pytest.fixture
def asked(tmp_path):
    """An unpinned package of a folder that gets a newer version later."""
    wheel(tmp_path / "wheels", "alpha", "1.0")
    lines = ["--no-index", f"--find-links {tmp_path / 'wheels'}", "alpha"]
    return EnvironmentSpec(conda={"dependencies": ["python", {"pip": lines}]})


def resolved(builder: VenvBuilder | CondaBuilder, spec: EnvironmentSpec, lines: list[str] | None = None) -> list[str]:
    activation = builder.build(builder.plan(spec), (lines if lines is not None else []).append)
    return [*activation.resolved, *(address.rsplit("/", 1)[1].split("#")[0] for address in activation.packages)]


def test_what_nobody_pinned_stays_as_it_was_first_built(tmp_path, settings, asked):
    assert resolved(VenvBuilder(tmp_path / "one", settings), asked) == ["alpha==1.0"]
    wheel(tmp_path / "wheels", "alpha", "2.0")
    lines: list[str] = []
    assert resolved(VenvBuilder(tmp_path / "two", settings), asked, lines) == ["alpha==1.0"]
    assert "installing the versions that are shared" in lines
    assert resolved(VenvBuilder(tmp_path / "alone", Settings()), asked) == ["alpha==2.0"]


def test_a_version_that_is_gone_is_chosen_anew(tmp_path, settings, asked):
    resolved(VenvBuilder(tmp_path / "one", settings), asked)
    (tmp_path / "wheels" / "alpha-1.0-py3-none-any.whl").unlink()
    wheel(tmp_path / "wheels", "alpha", "2.0")
    lines: list[str] = []
    assert resolved(VenvBuilder(tmp_path / "two", settings), asked, lines) == ["alpha==2.0"]
    assert any("choosing versions anew" in line for line in lines)


def test_a_conda_environment_is_the_same_archives(tmp_path, settings):
    pytest.importorskip("rattler")
    channel = tmp_path / "channel"
    package(channel, "tool", "1.0")
    spec = EnvironmentSpec(conda={"channels": [str(index(channel))], "dependencies": ["tool"]})
    assert resolved(CondaBuilder(tmp_path / "one", settings), spec) == ["tool-1.0-0.tar.bz2"]
    package(channel, "tool", "2.0")
    index(channel)
    assert resolved(CondaBuilder(tmp_path / "two", settings), spec) == ["tool-1.0-0.tar.bz2"]
    (channel / "noarch" / "tool-1.0-0.tar.bz2").unlink()
    index(channel)
    assert resolved(CondaBuilder(tmp_path / "three", settings), spec) == ["tool-2.0-0.tar.bz2"]


@pytest.mark.parametrize("damage", ["half", "{}", '{"resolved": 1, "packages": []}'])
def test_damaged_pins_are_no_failure(tmp_path, settings, asked, damage):
    import hashlib

    key = VenvBuilder(tmp_path / "one", settings).plan(asked).fingerprint
    digest = hashlib.sha256(damage.encode()).hexdigest()[:32]
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / f"{key}.{digest}.pins.json").write_text(damage)
    lines: list[str] = []
    assert resolved(VenvBuilder(tmp_path / "one", settings), asked, lines) == ["alpha==1.0"]
    assert any("cannot be read" in line for line in lines)


def test_a_shared_folder_that_is_none_is_told_and_no_failure(tmp_path, settings, asked):
    (tmp_path / "shared").write_text("in the way")
    lines: list[str] = []
    assert resolved(VenvBuilder(tmp_path / "one", settings), asked, lines) == ["alpha==1.0"]
    assert any(str(tmp_path / "shared") in line for line in lines)


def test_nothing_is_left_beside_the_environment(tmp_path, settings, asked):
    resolved(VenvBuilder(tmp_path / "one", settings), asked)
    resolved(VenvBuilder(tmp_path / "two", settings), asked)
    key = VenvBuilder(tmp_path / "one", settings).plan(asked).fingerprint
    for home in ("one", "two"):
        left = sorted(path.name for path in (tmp_path / home / "environments").iterdir())
        assert left == [key, f"{key}.lock", f"{key}.log"]
    shared = json.loads(next((tmp_path / "shared").iterdir()).read_text())
    assert shared == {"resolved": ["alpha==1.0"], "packages": []}
    assert sys.prefix not in json.dumps(shared)


lines = st.one_of(
    st.from_regex(r"[a-z][a-z0-9._-]{0,6}==[0-9]\.[0-9]", fullmatch=True),
    st.sampled_from(
        ["a @ git+https://x.example/a@1", "-e file:///a", "a @ file:///a.whl", "a==1 ; python_version>'3'"]
    ),
)


@given(st.lists(lines))
def test_only_exact_versions_constrain(found):
    constraints = Pins(tuple(found)).constraints
    assert all("==" in line and " " not in line for line in constraints)
    assert set(constraints) <= set(found)
    assert Pins(tuple(found)).lock is None
