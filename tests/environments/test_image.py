"""Images as they are: there already, or pulled once, by whoever may; with what they hold, asked once."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from io import BytesIO
from typing import Any

import pytest

from mlcli import docker_engine as product
from mlcli.domain.errors import EnvironmentBuildError, TransportError, UnsupportedError
from mlcli.domain.job import EnvironmentSpec, RegistryLogin
from mlcli.domain.settings import Settings
from mlcli.environments._engine import RefusedError, advice, full_name, lines, repository_of
from mlcli.environments.image import ImageBuilder
from mlcli.ports.environments import Activation
from mlcli.testing.environment_builder import EnvironmentBuilderContract, run_inside
from tests.engines.docker import DockerEngine
from tests.engines.registry import PASSWORD, USER, ImageRegistry


@pytest.fixture
def builder(tmp_path, engine):
    return ImageBuilder(tmp_path, Settings(environments_base_image=engine.base_image))


def build(builder: ImageBuilder, spec: EnvironmentSpec, said: list[str] | None = None) -> Activation:
    return builder.build(builder.plan(spec), (said if said is not None else []).append)


class TestImageBuilder(EnvironmentBuilderContract):
    is_there = True
    python = "python3"

    @pytest.fixture
    def make(self, tmp_path, engine):
        return lambda: ImageBuilder(tmp_path, Settings(environments_base_image=engine.base_image))

    @pytest.fixture
    def spec(self, engine):
        return EnvironmentSpec(image=engine.base_image)

    @pytest.fixture
    def other(self, engine):
        return EnvironmentSpec(image=engine.base_image, conda={"dependencies": ["python"]})

    @pytest.fixture
    def refused(self):
        return EnvironmentSpec(image="No Such Name")


# --- what is there ----------------------------------------------------------------------------------------------------


def test_an_image_is_told_by_its_id_with_what_it_holds(builder, engine):
    activation = build(builder, EnvironmentSpec(image=engine.base_image))
    assert activation.image == engine.client().images.get(engine.base_image).id
    assert activation.digest is None  # no registry has it
    assert run_inside(activation, ["python3", "--version"]).strip() == f"Python {activation.python}"
    assert activation.packages == ()


def test_what_it_holds_is_asked_once_an_image(builder, engine, tmp_path):
    build(builder, EnvironmentSpec(image=engine.base_image))
    (kept,) = (tmp_path / "environments" / "images").iterdir()
    kept.write_text(json.dumps({"python": "9.9.9", "resolved": ["told==1"], "packages": []}))
    assert build(builder, EnvironmentSpec(image=engine.base_image)).python == "9.9.9"
    kept.write_text("damaged")
    assert build(builder, EnvironmentSpec(image=engine.base_image)).python != "9.9.9"


def test_pip_and_conda_are_told_apart(engine, tmp_path, builder):
    """An image with one package of pip's, one from a repository, and two that conda brought, one of them for Python."""
    site = "/usr/local/lib/python3.11/dist-packages"
    packages = {"pips": "pip", "condas": "conda", "gits": "pip"}
    steps = []
    for name, installer in packages.items():
        info = f"{site}/{name}-1.0.dist-info"
        steps.append(
            f"mkdir -p {info} && printf 'Metadata-Version: 2.1\\nName: {name}\\nVersion: 1.0\\n' > {info}/METADATA"
        )
        steps.append(f"echo {installer} > {info}/INSTALLER")
    address = {"url": "https://ali:secret@example.org/gits", "vcs_info": {"vcs": "git", "commit_id": "abc"}}
    steps.append(f"echo '{json.dumps(address)}' > {site}/gits-1.0.dist-info/direct_url.json")
    record = {"url": "https://example.org/noarch/condas-1.0-0.conda", "sha256": "77"}
    steps.append(f"mkdir -p /usr/conda-meta && echo '{json.dumps(record)}' > /usr/conda-meta/condas.json")
    client = engine.client()
    container = client.containers.create(engine.base_image, ["sh", "-c", " && ".join(steps)])
    try:
        container.start()
        assert container.wait()["StatusCode"] == 0, container.logs()
        image = container.commit(repository="mlcli-test-pinned", tag=tmp_path.name.lower())
    finally:
        container.remove()
    try:
        activation = build(builder, EnvironmentSpec(image=image.tags[0]))
    finally:
        client.images.remove(image.id)
    assert activation.resolved == ("gits @ git+https://***@example.org/gits@abc", "pips==1.0")
    assert activation.packages == ("https://example.org/noarch/condas-1.0-0.conda#77",)


@pytest.mark.parametrize("kind", ["tiny_image", "empty_image"])
def test_an_image_without_python_or_shell_is_no_error(builder, engine, kind):
    activation = build(builder, EnvironmentSpec(image=getattr(engine, kind)))
    assert activation.image
    assert (activation.python, activation.resolved, activation.packages) == (None, (), ())


@pytest.mark.parametrize("spec", [EnvironmentSpec(), EnvironmentSpec(interpreter="current")])
def test_a_container_without_an_image_has_the_one_of_the_settings(builder, engine, spec):
    plan = builder.plan(spec)
    assert plan.description == f"image {engine.base_image} (the setting environments.base_image)"
    assert build(builder, spec).image == engine.client().images.get(engine.base_image).id


def test_an_interpreter_of_this_machine_is_not_in_a_container(builder, engine):
    with pytest.raises(UnsupportedError, match="of this machine") as caught:
        builder.plan(EnvironmentSpec(interpreter="/usr/bin/python3"))
    assert "--no-docker" in (caught.value.hint or "")
    inside = EnvironmentSpec(image=engine.base_image, interpreter="/opt/conda/bin/python")
    assert build(builder, inside).prepend_path == ("/opt/conda/bin",)


# --- pulled -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def pushed(engine, image_registry):
    """An image with a shell, in a registry and not on the engine."""
    return _pushed(engine, image_registry, None)


@pytest.fixture
def private(engine, private_registry):
    return _pushed(engine, private_registry, {"username": USER, "password": PASSWORD})


def _pushed(engine: DockerEngine, registry: ImageRegistry, login: dict[str, str] | None) -> str:
    api = engine.client().api
    name = f"{registry.address}/team/tiny"
    recipe = BytesIO(f"FROM {engine.tiny_image}\nLABEL made.for={name}\n".encode())
    list(api.build(fileobj=recipe, tag=f"{name}:1.2", rm=True))
    said = list(api.push(name, tag="1.2", stream=True, decode=True, auth_config=login))
    assert not [line for line in said if "error" in line]
    api.remove_image(f"{name}:1.2")
    return f"{name}:1.2"


def test_an_image_that_is_not_there_is_pulled_once_and_kept_until_it_is_removed(builder, engine, pushed):
    spec = EnvironmentSpec(image=pushed)
    plan = builder.plan(spec)
    assert not plan.cached
    assert plan.fingerprint
    said: list[str] = []
    activation = builder.build(plan, said.append)
    assert said[0] == f"pulling the image {pushed}"
    assert any(line.startswith("Digest: sha256:") for line in said)
    assert (
        activation.digest == f"{pushed.removesuffix(':1.2')}@{said[[line[:7] for line in said].index('Digest:')][8:]}"
    )

    again = builder.plan(spec)
    assert again == replace(plan, cached=True)
    said.clear()
    assert builder.build(again, said.append) == activation
    assert said == []

    (listed,) = builder.listing()
    assert (listed.place, listed.fingerprint, listed.builder) == (pushed, plan.fingerprint, "image")
    assert listed.size > 1_000_000
    assert builder.build_log(str(plan.fingerprint)).read_text().startswith("pulling")
    assert builder.remove(listed.fingerprint) > 1_000_000
    assert builder.listing() == []
    assert not builder.plan(spec).cached
    assert engine.client().images.list(name=pushed) == []


def test_an_image_that_a_container_uses_stays(builder, engine, pushed):
    plan = builder.plan(EnvironmentSpec(image=pushed))
    activation = builder.build(plan, print)
    container = engine.client().containers.create(activation.image, ["true"])
    try:
        assert builder.remove(plan.fingerprint) == 0
        assert builder.plan(plan.spec).cached
        assert len(builder.listing()) == 1
    finally:
        container.remove()
    builder.remove(plan.fingerprint)
    assert not builder.plan(plan.spec).cached


def test_an_image_that_was_there_before_is_not_ours_to_remove(builder, engine):
    plan = builder.plan(EnvironmentSpec(image=engine.tiny_image))
    builder.build(plan, print)
    assert builder.listing() == []
    assert builder.remove(plan.fingerprint) == 0
    assert builder.plan(plan.spec).cached


def test_two_processes_pull_it_once(builder, engine, pushed, tmp_path):
    code = (
        "import sys; from pathlib import Path; from mlcli.domain.job import EnvironmentSpec\n"
        "from mlcli.domain.settings import Settings; from mlcli.environments.image import ImageBuilder\n"
        "builder = ImageBuilder(Path(sys.argv[1]), Settings()); plan = builder.plan(EnvironmentSpec(image=sys.argv[2]))\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "print(builder.build(plan, lambda line: print(line, file=sys.stderr)).image)\n"
    )
    both = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path), pushed],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for process in both:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    ends = [process.communicate("go\n") for process in both]
    assert ends[0][0] == ends[1][0] != "", ends
    log = (tmp_path / "environments" / f"{builder.plan(EnvironmentSpec(image=pushed)).fingerprint}.log").read_text()
    assert log.count("pulling the image") == 1
    builder.remove(builder.listing()[0].fingerprint)


def test_who_pulls_is_told_by_the_environment_and_no_one_else_hears_the_password(builder, private, tmp_path):
    address, _, rest = private.partition("/")
    with pytest.raises(EnvironmentBuildError, match="no basic auth credentials") as caught:
        build(builder, EnvironmentSpec(image=private))
    assert "docker login" in (caught.value.hint or "")

    wrong = EnvironmentSpec(image=private, registry=RegistryLogin(address, USER, "guess"))
    with pytest.raises(EnvironmentBuildError) as caught:
        build(builder, wrong)
    assert "guess" not in str(caught.value.message) + str(caught.value.details)

    said: list[str] = []
    login = RegistryLogin(f"https://{address}", USER, PASSWORD)
    assert build(builder, EnvironmentSpec(image=private, registry=login), said).image
    kept = "".join(file.read_text() for file in (tmp_path / "environments").rglob("*") if file.is_file())
    assert PASSWORD not in "\n".join(said) + kept
    for listed in builder.listing():
        builder.remove(listed.fingerprint)

    apart = EnvironmentSpec(image=rest, registry=login)  # as runconfig has it: the registry beside the image
    assert builder.plan(apart).description == f"image {private}"
    assert build(builder, apart).image
    builder.remove(builder.plan(apart).fingerprint)


def test_credentials_go_to_their_registry_alone():
    login = RegistryLogin("mine.example.org", "ali", "secret")
    assert full_name("team/tiny:1", login) == "mine.example.org/team/tiny:1"
    assert full_name("mine.example.org/tiny:1", login) == "mine.example.org/tiny:1"
    assert full_name("other.example.org/tiny:1", login) == "other.example.org/tiny:1"
    assert full_name("tiny", RegistryLogin("https://index.docker.io/v1/")) == "tiny"
    assert full_name("tiny", None) == "tiny"


# --- what goes wrong --------------------------------------------------------------------------------------------------


def test_an_image_of_which_there_is_none_is_told_with_the_registrys_words(builder, image_registry):
    name = f"{image_registry.address}/team/none:1"
    with pytest.raises(EnvironmentBuildError, match="manifest unknown") as caught:
        build(builder, EnvironmentSpec(image=name))
    assert name in caught.value.message
    assert "spelling" in (caught.value.hint or "")


def test_a_misspelt_image_is_compared_with_those_that_are_there(builder, engine):
    misspelt = engine.base_image.replace("base", "bsae")
    with pytest.raises(EnvironmentBuildError) as caught:
        build(builder, EnvironmentSpec(image=misspelt))
    assert f"did you mean {engine.base_image}" in (caught.value.hint or "")
    assert builder.listing() == []


def test_a_registry_that_is_away_is_told_and_asked_again_next_time(builder, image_registry, pushed):
    image_registry.stop()
    with pytest.raises(EnvironmentBuildError, match="connection refused") as caught:
        build(builder, EnvironmentSpec(image=pushed))
    assert "network" in (caught.value.hint or "")
    image_registry.start()
    assert build(builder, EnvironmentSpec(image=pushed)).image
    builder.remove(builder.listing()[0].fingerprint)


def test_what_is_no_name_is_refused_before_anything_is_sent(builder):
    with pytest.raises(UnsupportedError, match="not a name that an image can have"):
        builder.plan(EnvironmentSpec(image="Big Letters"))


def test_an_engine_that_is_away_is_one_clear_error(tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(TransportError, match="does not answer") as caught:
        ImageBuilder(tmp_path, Settings()).plan(EnvironmentSpec(image="busybox"))
    assert caught.value.transient


def test_an_engine_that_dies_and_comes_back_is_found_again(own_docker_engine, tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", own_docker_engine.base_url)
    builder = ImageBuilder(tmp_path, Settings())
    spec = EnvironmentSpec(image=own_docker_engine.tiny_image)
    before = build(builder, spec)
    own_docker_engine.kill()
    with pytest.raises(TransportError) as caught:
        builder.plan(spec)
    assert caught.value.transient
    own_docker_engine.start()
    assert build(builder, spec) == before
    product._connected.cache_clear()


# --- the engine's lines -----------------------------------------------------------------------------------------------


def test_progress_of_many_layers_is_some_lines(monkeypatch):
    clock = iter(range(0, 1000, 3))
    monkeypatch.setattr("mlcli.environments._engine.time.monotonic", lambda: float(next(clock)))
    moving = [
        {"status": "Downloading", "id": layer, "progressDetail": {"current": part * 1_000_000, "total": 50_000_000}}
        for part in range(0, 51, 10)
        for layer in ("a", "b")
    ]
    items: list[dict[str, Any]] = [
        {"status": "Pulling from team/x", "id": "1"},
        *moving,
        {"status": "Pull complete", "id": "a"},
    ]
    told = list(lines(items))
    assert told[0] == "1: Pulling from team/x"
    assert told[-1] == "a: Pull complete"
    assert told[1:-1]
    assert len(told) < len(moving)
    assert all(line.startswith("downloading: ") and line.endswith("of 100 MB") for line in told[2:-1])


def test_a_line_in_pieces_is_one_line_without_colours_and_secrets():
    items = [{"stream": "\x1b[91mget https://ali:sec"}, {"stream": "ret@example.org\x1b[0m\nnext"}, {"stream": ""}]
    assert list(lines(items)) == ["get https://***@example.org", "next"]


def test_the_engines_error_ends_the_lines():
    seen: list[str] = []
    with pytest.raises(RefusedError, match=r"^it broke in two$"):
        seen.extend(lines([{"stream": "last words"}, {"error": "it broke\n in two"}, {"stream": "never"}]))
    assert advice("write /x: no space left on device", "?").startswith("free some space")
    assert advice("something new", "read the log") == "read the log"


@pytest.mark.parametrize(
    ("name", "repository"),
    [
        ("python:3.12-slim", "python"),
        ("docker.io/library/python:3.12", "python"),
        ("localhost:5000/team/x", "localhost:5000/team/x"),
        ("localhost:5000/team/x:1@sha256:77", "localhost:5000/team/x"),
        ("team/x@sha256:77", "team/x"),
    ],
)
def test_a_ports_colon_is_not_a_tags(name, repository):
    assert repository_of(name) == repository
