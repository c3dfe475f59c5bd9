"""What a run ran in becomes an environment that can be asked for: the same versions, none chosen anew."""

from __future__ import annotations

from typing import Any

import pytest

from mlcli.domain.errors import UnsupportedError
from mlcli.domain.job import EnvironmentSpec, RegistryLogin
from mlcli.operations.environment_pins import pinned_environment

VENV: dict[str, Any] = {"builder": "venv", "image": None, "digest": None, "python": "3.11.7", "packages": []}
ARCHIVE = "https://channel.example/linux-64/python-3.11.7-h1_0.conda#" + "a" * 64


def test_a_virtual_environment_is_its_python_and_its_lines():
    lines = ["numpy==1.26.4", "mine @ git+https://git.example/mine@0123abc", "-e file:///src/mine"]
    spec = pinned_environment({**VENV, "resolved": lines})
    assert spec == EnvironmentSpec(conda={"dependencies": ["python==3.11.7", {"pip": lines}]})


def test_where_packages_come_from_is_what_the_job_said():
    pip = ["--index-url https://index.example", "-f /wheels", "--pre", "-r /requirements.txt", "numpy>=1", "--no-index"]
    asked = EnvironmentSpec(
        conda={"dependencies": ["python=3.11", {"pip": pip}], "variables": {"A": "b"}}, environment_variables={"C": "d"}
    )
    spec = pinned_environment({**VENV, "resolved": ["numpy==1.26.4"]}, asked)
    lines = ["--index-url https://index.example", "-f /wheels", "--no-index", "numpy==1.26.4"]
    assert spec.conda == {"variables": {"A": "b"}, "dependencies": ["python==3.11.7", {"pip": lines}]}
    assert spec.environment_variables == {"C": "d"}


def test_a_conda_environment_is_an_explicit_lock_and_its_pip_lines():
    spec = pinned_environment({**VENV, "builder": "conda", "packages": [ARCHIVE], "resolved": ["six==1.16.0"]})
    assert spec.lock == f"@EXPLICIT\n{ARCHIVE}\n"
    assert spec.conda == {"dependencies": [{"pip": ["six==1.16.0"]}]}


@pytest.mark.parametrize(
    ("digest", "image"), [("host.example/name@sha256:1", "host.example/name@sha256:1"), (None, "sha256:2")]
)
def test_an_image_is_its_digest_or_its_id(digest, image):
    login = RegistryLogin("host.example", "me", "word")
    asked = EnvironmentSpec(image="host.example/name:latest", registry=login, conda={"dependencies": ["numpy"]})
    record = {"image": "sha256:2", "digest": digest, "python": "3.11.7", "resolved": ["numpy==1.26.4"]}
    assert pinned_environment(record, asked) == EnvironmentSpec(image=image, registry=login)


def test_what_was_there_already_was_not_pinned():
    with pytest.raises(UnsupportedError, match="the interpreter on PATH") as caught:
        pinned_environment({"builder": "current", "description": "the interpreter on PATH", "python": None})
    assert caught.value.hint


def test_a_masked_credential_is_said():
    with pytest.raises(UnsupportedError, match="credential") as caught:
        pinned_environment({**VENV, "resolved": ["mine @ git+https://***@git.example/mine@0123abc"]})
    assert caught.value.hint
