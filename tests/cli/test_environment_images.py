"""``mlcli environment`` and images, with the engine: Dockerfiles shown, images built once, the same image again."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Mlcli, Result
from tests.engines.docker import DockerEngine
from tests.engines.registry import PASSWORD, USER, ImageRegistry
from tests.environments.packages import wheel


@pytest.fixture
def engine(docker_engine: DockerEngine, mlcli: Mlcli) -> Iterator[dict[str, str]]:
    """The variables with which a command finds the engine; what the test builds there goes at its end."""
    variables = {**docker_engine.environment, "MLCLI_LOCAL_CONTAINER": "auto"}
    yield variables
    mlcli("environment", "prune", "--all", "--yes", env=variables)


def ok(done: Result) -> Any:
    assert done.code == 0, done.stderr
    return done.json


def folder_to_build(tmp_path: Path, docker_engine: DockerEngine, word: str) -> Path:
    context = tmp_path / "docker"
    context.mkdir(exist_ok=True)
    (context / "Dockerfile").write_text(f"FROM {docker_engine.tiny_image}\nARG WORD=none\nCOPY word /word\n")
    (context / "word").write_text(word)
    return context


def test_a_docker_build_is_built_once_and_a_job_runs_in_it(
    mlcli: Mlcli, engine: dict[str, str], docker_engine: DockerEngine, tmp_path: Path
) -> None:
    context = folder_to_build(tmp_path, docker_engine, f"said {tmp_path}\n")
    ok(mlcli("environment", "create", "-n", "said", "-b", context))
    assert mlcli("environment", "show", "said", "--dockerfile").stdout == (context / "Dockerfile").read_text()
    built = mlcli("environment", "build", "said", env=engine)
    image = ok(built)["image"]
    assert "Step 1/" in built.stderr
    assert ok(mlcli("environment", "build", "said", env=engine))["was_cached"]
    here = ok(mlcli("environment", "show", "said", env=engine))["on_this_machine"]
    assert (here["container"], here["cached"], here["builder"]) == (True, True, "dockerfile")
    (context / "word").write_text("something else")  # the registered folder is a copy

    job = tmp_path / "job.yml"
    job.write_text("command: cat /word\nenvironment: azureml:said:1\n")
    first = mlcli("job", "create", "-f", job, "-n", "first", "--stream", "-o", "none", env=engine)
    assert (first.code, first.stdout) == (0, f"said {tmp_path}\n"), first.stderr
    resolved = ok(mlcli("job", "show", "first", env=engine))["resolved"]
    assert (resolved["runs_in"], resolved["image"], resolved["environment_name"]) == ("container", image, "said:1")
    assert resolved["container_reason"]

    job.write_text("command: cat /word\nenvironment: current\n")
    again = mlcli(
        "job", "create", "-f", job, "-n", "again", "--environment-of", "first", "--stream", "-o", "none", env=engine
    )
    assert (again.code, again.stdout) == (0, f"said {tmp_path}\n"), again.stderr
    same = ok(mlcli("job", "show", "again", env=engine))["resolved"]
    assert same["image"] == image
    assert same["environment_fingerprint"] == resolved["environment_fingerprint"]
    refused = mlcli("job", "create", "-f", job, "--environment-of", "first", "--no-docker", env=engine)
    assert refused.code == 2
    assert "in a container" in refused.stderr

    alone = mlcli("environment", "export", "said", "--pinned", env=engine)
    assert alone.code == 1
    assert "on this machine alone" in alone.stderr

    assert docker_engine.client().images.get(image).id == image
    nobody = {**engine, "DOCKER_HOST": f"unix://{tmp_path}/nobody.sock"}
    stays = mlcli("environment", "prune", "--all", "--yes", env=nobody)
    assert ok(stays)["environments"] == []
    assert "stays" in stays.stderr
    problem = ok(mlcli("environment", "show", "said", env={**nobody, "MLCLI_LOCAL_CONTAINER": "always"}))
    assert "does not answer" in problem["on_this_machine"]["problem"]
    assert len(ok(mlcli("environment", "prune", "--all", "--yes", env=engine))["environments"]) == 1
    gone = mlcli("job", "create", "-f", job, "--environment-of", "first", "--stream", "-o", "none", env=engine)
    assert gone.stdout == f"said {tmp_path}\n", gone.stderr
    assert "made again from its definition" in gone.stderr


def test_the_image_of_an_older_definition_is_taken_by_its_id(
    mlcli: Mlcli, engine: dict[str, str], docker_engine: DockerEngine, tmp_path: Path
) -> None:
    context = folder_to_build(tmp_path, docker_engine, "old\n")
    job = tmp_path / "job.yml"
    job.write_text("command: cat /word\nenvironment: {build: {path: docker}}\n")
    assert mlcli("job", "create", "-f", job, "-n", "first", "--stream", "-o", "none", env=engine).stdout == "old\n"
    image = ok(mlcli("job", "show", "first", env=engine))["resolved"]["image"]
    (context / "word").write_text("new\n")
    again = mlcli(
        "job", "create", "-f", job, "-n", "again", "--environment-of", "first", "--stream", "-o", "none", env=engine
    )
    assert again.stdout == "old\n", again.stderr
    assert ok(mlcli("job", "show", "again", env=engine))["resolved"]["image"] == image

    ok(mlcli("environment", "prune", "--all", "--yes", env=engine))
    gone = mlcli("job", "create", "-f", job, "--environment-of", "first", env=engine)
    assert gone.code == 1
    assert "is another now" in gone.stderr


def test_an_image_that_is_gone_is_not_replaced_by_what_has_its_name_now(
    mlcli: Mlcli, engine: dict[str, str], docker_engine: DockerEngine, tmp_path: Path
) -> None:
    client, name = docker_engine.client(), "mlcli-test/named-again:1"
    job = tmp_path / "job.yml"
    job.write_text(f"command: cat /word\nenvironment: {{image: '{name}'}}\n")
    images = []
    try:
        for word in ("one", "two"):
            recipe = f"FROM {docker_engine.tiny_image}\nRUN echo {word} {tmp_path} > /word\n"
            images.append(client.images.build(fileobj=io.BytesIO(recipe.encode()), tag=name, rm=True)[0])
            done = mlcli("job", "create", "-f", job, "-n", word, "--stream", "-o", "none", env=engine)
            assert done.stdout == f"{word} {tmp_path}\n", done.stderr
        again = ("job", "create", "-f", job, "--environment-of", "one", "--stream", "-o", "none")
        assert mlcli(*again, env=engine).stdout == f"one {tmp_path}\n", "by its id, while it is there"
        client.images.remove(str(images[0].id), force=True)  # the container of a moment ago may still be on its way out
        gone = mlcli(*again, env=engine)
        assert gone.code == 1
        assert f"{name} is another image now" in gone.stderr
    finally:
        client.images.remove(name, force=True)


def test_an_image_with_a_conda_file(
    mlcli: Mlcli, engine: dict[str, str], docker_engine: DockerEngine, tmp_path: Path
) -> None:
    wheels = tmp_path / "wheels"
    wheel(wheels, "alpha", "1.0")
    lines = json.dumps(["--no-index", f"--find-links {wheels}", "alpha"])
    (tmp_path / "conda.yml").write_text(f"dependencies: [{{pip: {lines}}}]\n")
    image = docker_engine.base_image
    ok(mlcli("environment", "create", "-n", "both", "-i", image, "-c", "conda.yml"))
    generated = mlcli("environment", "show", "both", "--dockerfile").stdout
    assert f"FROM {image}" in generated
    assert "alpha" in generated
    job = tmp_path / "job.yml"
    job.write_text('command: python -c "import alpha; print(alpha.version)"\nenvironment: azureml:both:1\n')
    for flags, where in ([], "container"), (["--no-docker"], "host"):
        done = mlcli("job", "create", "-f", job, "-n", where, "--stream", "-o", "none", *flags, env=engine)
        assert (done.code, done.stdout) == (0, "1.0\n"), done.stderr
        resolved = ok(mlcli("job", "show", where, env=engine))["resolved"]
        assert resolved["runs_in"] == where
        assert "alpha==1.0" in resolved["packages"]
    assert resolved["python"] == ".".join(map(str, sys.version_info[:3]))
    wheel(wheels, "alpha", "2.0")
    ok(mlcli("environment", "prune", "--all", "--yes", env=engine))
    for where in ("container", "host"):
        done = mlcli("job", "create", "-f", job, "--environment-of", where, "--stream", "-o", "none", env=engine)
        assert (done.code, done.stdout) == (0, "1.0\n"), done.stderr


def test_a_password_in_a_job_file_pulls_its_image_and_stands_in_no_file_of_the_run(
    mlcli: Mlcli,
    engine: dict[str, str],
    docker_engine: DockerEngine,
    private_registry: ImageRegistry,
    tmp_path: Path,
) -> None:
    login = {"username": USER, "password": PASSWORD}
    client, image = docker_engine.client(), f"{private_registry.address}/kept/tiny:1"
    client.images.get(docker_engine.tiny_image).tag(image)
    assert "error" not in client.images.push(image, auth_config=login)
    client.images.remove(image, force=True)
    registry = json.dumps({"address": private_registry.address, **login})
    job = tmp_path / "job.yml"
    job.write_text(f"command: env\nenvironment: {{image: '{image}', registry: {registry}}}\n")
    saved = tmp_path / "saved.yml"
    try:
        done = mlcli(
            *("job", "create", "-f", job, "-n", "pulled", "--stream", "--save-as", saved, "-o", "none"), env=engine
        )
        assert done.code == 0, done.stderr
        assert "AZUREML_RUN_ID=pulled" in done.stdout
        written = [*(file for file in mlcli.home.rglob("*") if file.is_file()), saved]
        assert len(written) > 5
        assert not [file for file in written if PASSWORD.encode() in file.read_bytes()]
        assert PASSWORD not in done.stdout + done.stderr
    finally:
        client.images.remove(image, force=True)

    on_host = mlcli("job", "create", "-f", job, "-n", "on-host", "--no-docker", "--stream", "-o", "none", env=engine)
    assert on_host.code == 0, on_host.stderr
    assert PASSWORD not in on_host.stdout
