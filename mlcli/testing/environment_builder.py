"""What every environment builder must do. Subclass it, give the fixtures, and run it with pytest.

Implementations of other packages run the same suite over theirs::

    class TestMine(EnvironmentBuilderContract):
        @pytest.fixture
        def make(self, tmp_path):
            return lambda: MyBuilder(tmp_path, Settings())

        @pytest.fixture
        def spec(self):
            return EnvironmentSpec(image="mine")
"""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import pytest

from mlcli import docker_engine
from mlcli.domain.errors import MlcliError
from mlcli.domain.job import EnvironmentSpec
from mlcli.domain.plan import EnvironmentPlan
from mlcli.ports.environments import Activation, EnvironmentBuilder


def activated(activation: Activation, base: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment variables of a command inside ``activation``, on top of ``base`` (default: this process's)."""
    environment = {name: value for name, value in (base or os.environ).items() if name not in activation.unset}
    path = [*activation.prepend_path, environment.get("PATH", os.defpath), *activation.append_path]
    return {**environment, **activation.environment_variables, "PATH": os.pathsep.join(path)}


def run_inside(activation: Activation, argv: Sequence[str], base: Mapping[str, str] | None = None) -> str:
    """What a command prints inside ``activation`` (standard output); it must end with code 0. ``base``: on the host."""
    if activation.image is not None:
        return _run_in_container(activation.image, activation, argv)
    done = subprocess.run(
        ["/usr/bin/env", *activation.argv_prefix, *argv],
        env=activated(activation, base),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _run_in_container(image: str, activation: Activation, argv: Sequence[str]) -> str:
    """In a container that is gone afterwards. Folders for PATH are put there by the shell, which alone knows the image's."""
    path = ":".join([*activation.prepend_path, "$PATH", *activation.append_path])
    output = docker_engine.connect().containers.run(
        image,
        entrypoint=["/bin/sh", "-c", f'export PATH="{path}"; exec "$@"', "sh"],
        command=[*activation.argv_prefix, *argv],
        environment=dict(activation.environment_variables),
        stderr=False,
        remove=True,
    )
    return bytes(output).decode()


class EnvironmentBuilderContract:
    """The contract of :class:`~mlcli.ports.environments.EnvironmentBuilder`, of builders for the host and for containers.

    ``is_there``: nothing has to be made of ``spec``. ``python``: the interpreter's name in it.
    """

    is_there = False
    python = "python"

    @pytest.fixture
    def make(self) -> Callable[[], EnvironmentBuilder]:
        """Makes builders that share one root."""
        raise NotImplementedError

    @pytest.fixture
    def spec(self) -> EnvironmentSpec:
        """An environment that the builder accepts and can build."""
        raise NotImplementedError

    @pytest.fixture
    def other(self) -> EnvironmentSpec:
        """An environment that the builder does not accept."""
        return EnvironmentSpec()

    @pytest.fixture
    def refused(self) -> EnvironmentSpec:
        """An environment that the builder accepts, and whose plan or build must fail with advice."""
        raise NotImplementedError

    def test_it_has_a_name(self, make: Callable[[], EnvironmentBuilder]) -> None:
        assert make().name

    def test_it_accepts_its_own_and_not_everything(
        self, make: Callable[[], EnvironmentBuilder], spec: EnvironmentSpec, other: EnvironmentSpec
    ) -> None:
        assert make().accepts(spec)
        assert not make().accepts(other)

    def test_planning_is_repeatable_and_builds_nothing(
        self, make: Callable[[], EnvironmentBuilder], spec: EnvironmentSpec
    ) -> None:
        first, second = make().plan(spec), make().plan(spec)
        assert first == second
        assert first.builder == make().name
        assert first.description
        assert first.cached is (self.is_there or first.fingerprint is None)

    def test_the_fingerprint_is_of_the_definition_and_not_of_the_name(
        self, make: Callable[[], EnvironmentBuilder], spec: EnvironmentSpec
    ) -> None:
        renamed = replace(spec, name="another", version="7")
        assert make().plan(renamed).fingerprint == make().plan(spec).fingerprint

    def test_a_built_environment_is_found_again(
        self, make: Callable[[], EnvironmentBuilder], spec: EnvironmentSpec
    ) -> None:
        first = make().build(make().plan(spec), _ignore)
        again = make().plan(spec)
        lines: list[str] = []
        assert again.cached
        assert make().build(again, lines.append) == first
        if again.fingerprint is not None:
            assert lines == []

    def test_python_runs_inside(self, make: Callable[[], EnvironmentBuilder], spec: EnvironmentSpec) -> None:
        activation = make().build(make().plan(spec), _ignore)
        assert run_inside(activation, [self.python, "-c", "print(6 * 7)"]).strip() == "42"

    def test_many_at_once_get_the_same(self, make: Callable[[], EnvironmentBuilder], spec: EnvironmentSpec) -> None:
        plan: EnvironmentPlan = make().plan(spec)
        answers: list[Activation] = []
        threads = [threading.Thread(target=lambda: answers.append(make().build(plan, _ignore))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers == [answers[0]] * 4

    def test_what_cannot_be_honoured_is_refused_with_advice(
        self, make: Callable[[], EnvironmentBuilder], refused: EnvironmentSpec
    ) -> None:
        assert make().accepts(refused)
        with pytest.raises(MlcliError) as caught:
            make().build(make().plan(refused), _ignore)
        assert caught.value.hint


def _ignore(_line: str) -> None:
    """For builds whose log is not looked at."""
