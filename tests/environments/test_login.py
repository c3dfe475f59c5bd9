"""A registry's password comes from the variable that the job names; one that is not there is said before anything is sent."""

from __future__ import annotations

import pytest

from mlcli.domain.errors import EnvironmentBuildError
from mlcli.domain.job import EnvironmentSpec, RegistryLogin
from mlcli.domain.settings import Settings
from mlcli.environments._engine import credentials
from mlcli.environments.current import CurrentBuilder


def test_the_password_is_looked_up_when_it_is_needed(monkeypatch):
    monkeypatch.setenv("REGISTRY_WORD", "hidden")
    login = RegistryLogin("host.example", "me", password_env="REGISTRY_WORD")
    assert credentials("host.example/x", login) == {"username": "me", "password": "hidden"}
    assert "hidden" not in repr(login)


def test_a_variable_that_is_not_set_is_named(monkeypatch):
    monkeypatch.delenv("REGISTRY_WORD", raising=False)
    with pytest.raises(EnvironmentBuildError, match="REGISTRY_WORD") as caught:
        credentials("host.example/x", RegistryLogin("host.example", "me", password_env="REGISTRY_WORD"))
    assert "export REGISTRY_WORD" in str(caught.value.hint)


def test_a_lock_beside_an_image_is_not_the_hosts_own_python(tmp_path):
    assert not CurrentBuilder(tmp_path, Settings()).accepts(EnvironmentSpec(image="x", lock="@EXPLICIT\n"))
