"""Images built for jobs: for real, once, again when and only when their definition changes, and clear when it goes wrong.

Packages are made on the spot (packages.py, channels.py), so that no index is asked.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from mlcli.domain.errors import EnvironmentBuildError, MlcliError, UnsupportedError
from mlcli.domain.job import BuildContext, EnvironmentSpec, RegistryLogin
from mlcli.domain.settings import Settings
from mlcli.environments._host_python import host_python
from mlcli.environments.dockerfile import DockerfileBuilder
from mlcli.ports.environments import Activation
from mlcli.testing.environment_builder import EnvironmentBuilderContract, run_inside
from tests.engines.docker import DockerEngine
from tests.engines.registry import PASSWORD, USER
from tests.environments import channels
from tests.environments.packages import wheel


@pytest.fixture(scope="session")
def wheels(tmp_path_factory):
    """Wheels in a folder whose name no other session uses: an engine remembers what was built from one."""
    folder = tmp_path_factory.mktemp("wheels") / f"wheels-{uuid.uuid4().hex}"
    for version in ("1.0", "2.0"):
        wheel(folder, "alpha", version)
    return folder


@pytest.fixture
def conda(wheels) -> Callable[..., dict[str, object]]:
    """A conda file whose pip section knows the wheels of this file only."""
    return lambda *lines, python="python": {
        "dependencies": [python, {"pip": ["--no-index", f"--find-links {wheels}", *lines]}]
    }


@pytest.fixture
def context(tmp_path, engine):
    """A build context that no other test has: a Dockerfile that copies ``word.txt`` and says it."""
    folder = tmp_path / "context"
    folder.mkdir()
    (folder / "word.txt").write_text(f"{uuid.uuid4()}\n")
    (folder / "Dockerfile").write_text(f"FROM {engine.tiny_image}\nCOPY word.txt /word.txt\nRUN cat /word.txt\n")
    return folder


@pytest.fixture
def make(tmp_path, engine) -> Iterator[Callable[..., DockerfileBuilder]]:
    """Makes builders of one home; what they built is taken away afterwards, and no stage of a build may be left."""

    def builder(home: str = "home", **settings: str) -> DockerfileBuilder:
        made.append(
            DockerfileBuilder(tmp_path / home, Settings(environments_base_image=engine.base_image, **settings))  # type: ignore[arg-type]
        )
        return made[-1]

    made: list[DockerfileBuilder] = []
    yield builder
    for one in made:
        for built in one.listing():
            one.remove(built.fingerprint)
    assert [listed for one in made for listed in one.listing()] == []
    stages = engine.client().api.images(filters={"dangling": True, "label": "mlcli.stage"})
    assert [one for one in stages if one["Labels"]["mlcli.stage"] in {key[:24] for key in _keys(tmp_path)}] == []


def _keys(folder: Path) -> set[str]:
    return {file.name.partition(".")[0] for file in folder.glob("*/environments/*.log")}


def build(builder: DockerfileBuilder, spec: EnvironmentSpec, said: list[str] | None = None) -> Activation:
    return builder.build(builder.plan(spec), (said if said is not None else []).append)


def of(context: Path, **fields: object) -> EnvironmentSpec:
    return EnvironmentSpec(build=BuildContext(str(context), **fields))  # type: ignore[arg-type]


def failure(builder: DockerfileBuilder, spec: EnvironmentSpec) -> MlcliError:
    """The one clear error; nothing is built."""
    with pytest.raises(MlcliError) as caught:
        build(builder, spec)
    assert caught.value.hint
    assert not builder.plan(spec).cached
    return caught.value


class TestDockerfileBuilder(EnvironmentBuilderContract):
    @pytest.fixture
    def make(self, make):
        return make

    @pytest.fixture
    def spec(self, engine):
        text = f"FROM {engine.base_image}\nRUN ln -s python3 /usr/bin/python && echo {uuid.uuid4()} > /own\n"
        return EnvironmentSpec(build=BuildContext(dockerfile_text=text))

    @pytest.fixture
    def other(self, engine):
        return EnvironmentSpec(image=engine.base_image)

    @pytest.fixture
    def refused(self):
        return EnvironmentSpec(build=BuildContext("/no/such/folder"))


# --- a Dockerfile -----------------------------------------------------------------------------------------------------


def test_a_dockerfile_is_built_in_the_open_and_only_once(make, context, engine):
    builder, spec = make(), of(context)
    said: list[str] = []
    plan = builder.plan(spec)
    assert (plan.cached, plan.description) == (False, f"image from {context / 'Dockerfile'}")
    activation = builder.build(plan, said.append)
    assert f"Step 1/4 : FROM {engine.tiny_image}" in said
    assert (context / "word.txt").read_text().strip() in said
    assert run_inside(activation, ["cat", "/word.txt"]) == (context / "word.txt").read_text()
    assert builder.build_log(plan.fingerprint).read_text().splitlines() == said

    said.clear()
    assert builder.plan(spec) == replace(plan, cached=True)
    assert builder.build(plan, said.append) == activation
    assert said == []
    (built,) = builder.listing()
    assert (built.fingerprint, built.place) == (plan.fingerprint, f"mlcli-env:{plan.fingerprint[:24]}")
    assert 0 <= built.size < 100_000  # what it adds, not what it starts from


def _bigger(folder: Path) -> None:
    (folder / "word.txt").write_text("another word\n")


def _executable(folder: Path) -> None:
    (folder / "word.txt").chmod(0o755)


def _one_more(folder: Path) -> None:
    (folder / "more").mkdir()
    (folder / "more" / "file").touch()


def _another_step(folder: Path) -> None:
    with (folder / "Dockerfile").open("a") as file:
        file.write("RUN true\n")


def _linked(folder: Path) -> None:
    (folder / "link").symlink_to("word.txt")


@pytest.mark.parametrize("change", [_bigger, _executable, _one_more, _another_step, _linked])
def test_another_context_is_another_image(make, context, change):
    before = make().plan(of(context)).fingerprint
    change(context)
    assert make().plan(of(context)).fingerprint != before


def test_arguments_and_the_base_image_count(make, context, engine):
    before = make().plan(of(context)).fingerprint
    assert make().plan(of(context, args={"A": "1"})).fingerprint != before
    client, name = engine.client(), f"mlcli-test-moving:{uuid.uuid4().hex}"
    (context / "Dockerfile").write_text(f"FROM {name}\n")
    try:
        client.images.get(engine.tiny_image).tag(name)
        tiny = make().plan(of(context)).fingerprint
        client.images.get(engine.empty_image).tag(name)
        assert make().plan(of(context)).fingerprint != tiny
    finally:
        client.images.remove(name)


def test_where_else_the_base_image_was_pushed_does_not_count(make, context, engine, image_registry):
    before = make().plan(of(context)).fingerprint
    api, name = engine.client().api, f"{image_registry.address}/elsewhere/base"
    api.tag(engine.tiny_image, name, "1")
    try:
        list(api.push(name, tag="1", stream=True))
        assert make().plan(of(context)).fingerprint == before
    finally:
        api.remove_image(f"{name}:1")


def test_times_names_and_what_is_ignored_do_not_count(make, context):
    (context / ".dockerignore").write_text("# not these\n*.log\ncache\n")
    before = make().plan(of(context)).fingerprint
    os.utime(context / "word.txt", (1, 1))
    (context / "a.log").write_text("noise")
    (context / "cache").mkdir()
    (context / "cache" / "file").write_text("noise")
    (context / "word.txt").chmod(0o664)
    (context / "Dockerfile").write_text(f"# what it is for\n{(context / 'Dockerfile').read_text()}")
    named = replace(of(context), name="other", version="9", environment_variables={"A": "1"})
    assert make().plan(named).fingerprint == before


def test_a_dockerfile_is_found_where_it_is(make, context, tmp_path):
    """In a folder of the context, outside of it, and in the environment's own text: each builds with the same context."""
    text = (context / "Dockerfile").read_text() + "RUN ls -a / > /listed\nCOPY . /all\n"
    (context / "Dockerfile").unlink()
    (context / "docker").mkdir()
    for file in (context / "docker" / "my.Dockerfile", tmp_path / "outside"):
        file.write_text(text)
    for asked in (
        {"dockerfile_path": "docker/my.Dockerfile"},
        {"dockerfile_path": "../outside"},
        {"dockerfile_text": text},
    ):
        activation = build(make(), of(context, **asked))
        listed = run_inside(activation, ["sh", "-c", "ls -a /all; cat /word.txt"]).split()
        assert "word.txt" in listed
        assert not [name for name in listed if "mlcli" in name]  # what is sent along is not copied


def test_a_dockerfile_of_the_environment_needs_no_context(make, engine):
    text = f"ARG BASE={engine.empty_image}\nFROM $BASE\nARG WORD\nRUN echo $WORD-{uuid.uuid4()} > /said\n"
    spec = EnvironmentSpec(build=BuildContext(dockerfile_text=text, args={"BASE": engine.tiny_image, "WORD": "hello"}))
    assert run_inside(build(make(), spec), ["cat", "/said"]).startswith("hello-")


def test_secrets_among_the_arguments_are_in_no_log(make, engine, tmp_path):
    text = f"FROM {engine.tiny_image}\nARG API_TOKEN\nRUN echo it is $API_TOKEN {uuid.uuid4()} && false\n"
    said: list[str] = []
    builder = make()
    with pytest.raises(EnvironmentBuildError) as caught:
        build(builder, EnvironmentSpec(build=BuildContext(dockerfile_text=text, args={"API_TOKEN": "s3same"})), said)
    kept = "".join(file.read_text() for file in (tmp_path / "home").rglob("*") if file.is_file())
    assert "s3same" not in "\n".join([caught.value.message, *caught.value.details, *said, kept])
    assert any(line.startswith("it is ***") for line in said)


# --- what goes wrong --------------------------------------------------------------------------------------------------


def test_a_step_that_fails_is_named_with_its_line_and_its_last_words(make, context):
    with (context / "Dockerfile").open("a") as file:
        file.write("\n# a comment\nRUN echo before && \\\n    echo the reason >&2 && exit 7\nRUN never\n")
    failed = failure(make(), of(context))
    assert failed.message == f"{context / 'Dockerfile'}:6: step 4/6 failed: the command ended with code 7"
    assert "build log: " in str(failed.hint)
    assert failed.details[0].startswith("Step 4/6 : RUN echo before")
    assert {"before", "the reason"} <= set(failed.details)
    assert failure(make(), of(context)).message == failed.message  # and again, when it is tried again
    plan = make().plan(of(context))
    assert make().last_failure(plan.fingerprint).message == failed.message

    text = (context / "Dockerfile").read_text().replace("exit 7", "true").replace("RUN never", "")
    (context / "Dockerfile").write_text(text)
    said: list[str] = []
    build(make(), of(context), said)
    assert " ---> Using cache" in said  # what was done is kept


@pytest.mark.parametrize(
    ("step", "told"),
    [
        ("COPY none.txt /", "step 2/3 failed: none.txt is not in the build context"),
        ("COPY ignored.txt /", "step 2/3 failed: ignored.txt is not in the build context"),
        ("COPY ../other /", "step 2/3 failed: ../other is outside of the build context"),
        ("RNU true", "unknown instruction: RNU"),
        ("RUN --mount=type=cache,target=/c true", "an option of BuildKit"),
    ],
)
def test_a_dockerfile_that_cannot_be_followed_is_told_by_its_line(make, context, engine, step, told):
    (context / ".dockerignore").write_text("ignored.txt\n")
    (context / "ignored.txt").touch()
    (context / "Dockerfile").write_text(f"FROM {engine.tiny_image}\n{step}\n")
    failed = failure(make(), of(context))
    assert failed.message.startswith(f"{context / 'Dockerfile'}:2: ")
    assert told in failed.message


def test_an_image_without_a_shell_cannot_run_steps(make, context, engine):
    (context / "Dockerfile").write_text(f"FROM {engine.empty_image}\nRUN true\n")
    assert "the image has no shell" in failure(make(), of(context)).message


def test_a_base_image_that_is_nowhere_is_told_as_an_image_is(make, context, engine):
    misspelt = engine.tiny_image.replace("tiny", "tinny")
    (context / "Dockerfile").write_text(f"FROM {misspelt}\nRUN true\n")
    failed = failure(make(), of(context))
    assert f"the image {misspelt!r} is not on this machine" in failed.message
    assert f"did you mean {engine.tiny_image}" in str(failed.hint)


def test_what_is_not_there_is_refused_by_the_plan(make, context, tmp_path):
    builder = make()
    with pytest.raises(UnsupportedError, match="is not a folder"):
        builder.plan(of(tmp_path / "none"))
    with pytest.raises(UnsupportedError, match="no folder of this machine"):
        builder.plan(EnvironmentSpec(build=BuildContext("https://example.org/repository.git")))
    with pytest.raises(UnsupportedError, match="names no context folder"):
        builder.plan(EnvironmentSpec(build=BuildContext()))
    (context / "Dockerfile").rename(context / "Dockerfile.gpu")
    with pytest.raises(UnsupportedError, match="there is no Dockerfile") as caught:
        builder.plan(of(context))
    assert caught.value.hint == "set dockerfile_path to Dockerfile.gpu"


def test_an_engine_without_space_says_so_and_is_whole_afterwards(small_docker_engine, tmp_path, monkeypatch):
    small = small_docker_engine(64)
    monkeypatch.setenv("DOCKER_HOST", small.base_url)
    builder = DockerfileBuilder(tmp_path, Settings())
    full = f"FROM {small.tiny_image}\nRUN dd if=/dev/zero of=/big bs=1M count=200\n"
    failed = failure(builder, EnvironmentSpec(build=BuildContext(dockerfile_text=full)))
    assert "step 2/3 failed: the engine's disk is full" in failed.message
    assert small.client().api.containers(all=True) == []
    assert build(
        builder, EnvironmentSpec(build=BuildContext(dockerfile_text=f"FROM {small.tiny_image}\nRUN true\n"))
    ).image


def test_an_engine_that_dies_in_a_build_is_told_and_the_next_build_goes_well(own_docker_engine, tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", own_docker_engine.base_url)
    builder = DockerfileBuilder(tmp_path, Settings())
    text = f"FROM {own_docker_engine.tiny_image}\nRUN echo in it && sleep 4\n"
    spec = EnvironmentSpec(build=BuildContext(dockerfile_text=text))

    def die(line: str) -> None:
        if line == "in it":
            own_docker_engine.kill()

    with pytest.raises(EnvironmentBuildError, match="the Docker Engine went away in the middle") as caught:
        builder.build(builder.plan(spec), die)
    assert "docker info" in str(caught.value.hint)
    own_docker_engine.start()
    assert not builder.plan(spec).cached
    assert build(builder, spec).image


# --- many, and killed -------------------------------------------------------------------------------------------------

_BUILD = """
import sys
from pathlib import Path
from mlcli.domain.job import BuildContext, EnvironmentSpec
from mlcli.domain.settings import Settings
from mlcli.environments._host_python import host_python
from mlcli.environments.dockerfile import DockerfileBuilder
builder = DockerfileBuilder(Path(sys.argv[1]), Settings())
plan = builder.plan(EnvironmentSpec(build=BuildContext(sys.argv[2])))
print("ready", flush=True)
sys.stdin.readline()
print(builder.build(plan, lambda line: print(line, file=sys.stderr, flush=True)).image)
"""


def _process(home: Path, context: Path) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        [sys.executable, "-c", _BUILD, str(home), str(context)], stdin=pipe, stdout=pipe, stderr=pipe, text=True
    )
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    return process


def test_a_private_base_image_is_known_before_it_is_pulled(make, context, engine, private_registry):
    api, name = engine.client().api, f"{private_registry.address}/team/base"
    api.tag(engine.tiny_image, name, "1")
    list(api.push(name, tag="1", stream=True, auth_config={"username": USER, "password": PASSWORD}))
    api.remove_image(f"{name}:1")
    (context / "Dockerfile").write_text(f"FROM {name}:1\nCOPY word.txt /\n")
    spec = replace(of(context), registry=RegistryLogin(private_registry.address, USER, PASSWORD))
    builder = make()
    plan = builder.plan(spec)
    assert builder.build(plan, print).image
    assert builder.plan(spec) == replace(plan, cached=True)
    builder.remove(plan.fingerprint)
    api.remove_image(f"{name}:1")


def test_two_processes_build_it_once_and_both_hear_it(make, context, tmp_path):
    (context / "Dockerfile").write_text((context / "Dockerfile").read_text() + "RUN sleep 1\n")
    make()
    both = [_process(tmp_path / "home", context) for _ in range(2)]
    with ThreadPoolExecutor(2) as threads:
        ends = list(threads.map(lambda process: process.communicate("go\n", timeout=60), both))
    assert ends[0][0] == ends[1][0] != ""
    heard = [end[1].splitlines() for end in ends]
    waited = [lines for lines in heard if lines[0].startswith("another process builds")]
    assert len(waited) == 1
    assert min(heard, key=len) == waited[0][1:]


@pytest.mark.parametrize("moment", ["building", "Step 1/", "in it", "Successfully built"])
def test_a_builder_that_is_killed_leaves_nothing_half_made(make, context, engine, until, moment):
    (context / "Dockerfile").write_text((context / "Dockerfile").read_text() + "RUN echo in it && sleep 1\n")
    builder, spec = make(), of(context)
    key = builder.plan(spec).fingerprint
    process = _process(context.parent / "home", context)
    assert process.stdin
    assert process.stderr
    process.stdin.write("go\n")
    process.stdin.flush()
    for line in process.stderr:
        if line.startswith(moment):
            break
    process.send_signal(signal.SIGKILL)
    process.communicate()

    assert not builder.plan(spec).cached
    assert builder.listing() == []
    activation = build(builder, spec)
    assert activation.image == engine.client().images.get(f"mlcli-env:{key[:24]}").id
    assert run_inside(activation, ["cat", "/word.txt"]) == (context / "word.txt").read_text()
    ours = {"filters": {"ancestor": activation.image}, "all": True}
    until(lambda: not engine.client().containers.list(**ours), deadline_s=20)


# --- the cache --------------------------------------------------------------------------------------------------------


def test_an_image_that_somebody_deleted_is_built_again(make, context, engine):
    builder, spec = make(), of(context)
    build(builder, spec)
    engine.client().images.remove(f"mlcli-env:{builder.plan(spec).fingerprint[:24]}")
    assert not builder.plan(spec).cached
    assert builder.listing() == []
    assert run_inside(build(builder, spec), ["cat", "/word.txt"])
    assert builder.plan(spec).cached


def test_another_workspace_finds_what_the_engine_has(make, context):
    first = build(make("one"), of(context))
    said: list[str] = []
    assert build(make("two"), of(context), said) == first
    assert not [line for line in said if line.startswith("Step")]


def test_an_image_in_use_stays_and_can_be_removed_later(make, context, engine):
    builder = make()
    activation = build(builder, of(context))
    (built,) = builder.listing()
    container = engine.client().containers.create(activation.image, ["true"])
    try:
        assert builder.remove(built.fingerprint) == 0
        assert builder.plan(of(context)).cached
    finally:
        container.remove()
    assert builder.remove(built.fingerprint) > 0
    assert not builder.plan(of(context)).cached
    assert engine.client().images.list(name=built.place) == []
    assert builder.remove(built.fingerprint) == 0


def test_a_shared_folder_spares_another_machine_the_build(make, context, tmp_path):
    shared = {"environments_shared": str(tmp_path / "shared")}
    said: list[str] = []
    here = make("here", **shared)
    first = build(here, of(context), said)
    assert said[-1] == f"put into the shared environments: {tmp_path / 'shared'}"
    (file,) = (tmp_path / "shared").iterdir()
    assert file.name.startswith(here.plan(of(context)).fingerprint)
    here.remove(here.listing()[0].fingerprint)

    said.clear()
    there = make("there", **shared)
    assert build(there, of(context), said) == first
    assert f"taken from the shared environments: {tmp_path / 'shared'}" in said
    assert not [line for line in said if line.startswith("Step")]

    there.remove(there.listing()[0].fingerprint)
    file.write_bytes(b"damaged")
    said.clear()
    assert run_inside(build(there, of(context), said), ["cat", "/word.txt"])
    assert [line for line in said if line.startswith("Step")]


def test_a_shared_folder_that_cannot_be_written_is_a_notice(make, context, tmp_path):
    (tmp_path / "file").touch()
    said: list[str] = []
    builder = make("here", environments_shared=str(tmp_path / "file" / "below"))
    assert build(builder, of(context), said).image
    assert said[-1].startswith("not put into the shared environments: ")
    assert builder.plan(of(context)).cached


def test_a_registry_spares_another_machine_the_build(make, context, image_registry):
    shared = {"environments_shared": f"docker://{image_registry.address}/team/environments"}
    said: list[str] = []
    here = make("here", **shared)
    first = build(here, of(context), said)
    assert said[-1] == f"put into the shared environments: {image_registry.address}/team/environments"
    assert str(first.digest).startswith(f"{image_registry.address}/team/environments@sha256:")
    here.remove(here.listing()[0].fingerprint)

    said.clear()
    assert build(make("there", **shared), of(context), said) == first
    assert not [line for line in said if line.startswith("Step")]

    image_registry.stop()
    (context / "word.txt").write_text("without a registry\n")
    said.clear()
    assert build(make("there", **shared), of(context), said).image
    assert [line for line in said if line.startswith("not put into the shared environments: ")]


def test_the_base_images_digest_is_the_same_before_and_after_it_is_pulled(make, context, engine, image_registry):
    api, name = engine.client().api, f"{image_registry.address}/team/base"
    api.tag(engine.tiny_image, name, "1")
    list(api.push(name, tag="1", stream=True))
    api.remove_image(f"{name}:1")
    (context / "Dockerfile").write_text(f"FROM {name}:1\nCOPY word.txt /\n")
    builder = make()
    plan = builder.plan(of(context))
    said: list[str] = []
    builder.build(plan, said.append)
    assert said[1] == f"pulling the image {name}:1"
    assert builder.plan(of(context)) == replace(plan, cached=True)
    builder.remove(plan.fingerprint)
    api.remove_image(f"{name}:1")


# --- a conda file on top ----------------------------------------------------------------------------------------------


def test_what_pip_installs_comes_first_on_path_and_the_image_keeps_no_trace_of_how(make, engine, conda, monkeypatch):
    monkeypatch.setenv("UV_INDEX", "https://ali:s3same@packages.example.org/simple")
    builder = make()
    wanted = EnvironmentSpec(image=engine.base_image, conda={**conda("alpha==1.0"), "variables": {"GREETING": "hi $x"}})
    said: list[str] = []
    activation = build(builder, wanted, said)
    program = "import alpha, os, sys; print(alpha.version, sys.prefix, os.environ['GREETING'])"
    assert run_inside(activation, ["python", "-c", program]).strip() == "1.0 /opt/mlcli/environment hi $x"
    assert "alpha==1.0" in activation.resolved
    assert run_inside(activation, ["sh", "-c", "ls /opt/mlcli; command -v apt-get"]).split() == [
        "environment",
        "python",
        "/usr/bin/apt-get",
    ]
    history = str(engine.client().images.get(activation.image).history())
    assert "s3same" not in history + "\n".join(said) + str(builder.dockerfile(wanted))


def test_another_version_is_another_image_and_the_first_is_still_there(make, engine, conda):
    builder = make()
    one, two = (EnvironmentSpec(image=engine.base_image, conda=conda(f"alpha=={v}")) for v in ("1.0", "2.0"))
    assert "alpha==1.0" in build(builder, one).resolved
    assert "alpha==2.0" in build(builder, two).resolved
    assert builder.plan(one).cached
    assert builder.plan(two).cached
    named = replace(one, name="n", version="2", conda={**conda("alpha==1.0"), "name": "n", "channels": ["c"]})
    assert builder.plan(named).fingerprint == builder.plan(one).fingerprint


def test_local_files_that_the_conda_file_names_go_along(make, engine, wheels, tmp_path):
    (tmp_path / "more").mkdir()
    (tmp_path / "requirements.txt").write_text("-r more/nested.txt\n-c limits.txt  # not above\n")
    (tmp_path / "more" / "nested.txt").write_text("alpha\n")
    (tmp_path / "limits.txt").write_text("alpha<2\n")
    lines = ["--no-index", f"-f {wheels}", f"-r {tmp_path}/requirements.txt", str(wheel(wheels, "direct"))]
    spec = EnvironmentSpec(image=engine.base_image, conda={"dependencies": ["python", {"pip": lines}]})
    builder = make()
    resolved = build(builder, spec).resolved
    assert "alpha==1.0" in resolved
    assert any(line.startswith("direct @ file://") for line in resolved)
    (tmp_path / "limits.txt").write_text("alpha<3\n")
    assert not builder.plan(spec).cached
    assert "alpha==2.0" in build(builder, spec).resolved


def test_a_conda_file_alone_stands_on_the_base_image_of_the_settings(make, engine, conda):
    builder = make()
    alone = EnvironmentSpec(conda=conda("alpha"))
    assert builder.plan(alone).fingerprint == builder.plan(replace(alone, image=engine.base_image)).fingerprint
    assert f"FROM {engine.base_image}\n" in builder.dockerfile(alone)


def test_a_conda_file_stands_on_the_persons_own_dockerfile(make, engine, conda, context):
    (context / "Dockerfile").write_text(f"FROM {engine.base_image}\nCOPY word.txt /word.txt\n")
    builder = make()
    spec = replace(of(context), conda=conda("alpha==1.0"))
    activation = build(builder, spec)
    program = "import alpha; print(alpha.version, open('/word.txt').read())"
    assert run_inside(activation, ["python", "-c", program]).split()[0] == "1.0"
    assert len(builder.listing()) == 2  # the Dockerfile's own serves other jobs too
    assert builder.plan(of(context)).cached
    said: list[str] = []
    build(builder, replace(spec, conda=conda("alpha==2.0")), said)
    assert not [line for line in said if "COPY word.txt" in line]
    shown = builder.dockerfile(spec)
    assert shown.index("COPY word.txt") < shown.index("uv pip install")


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["alhpa"], "the package 'alhpa' was not found in the package index"),
        (["alpha==9"], "no set of package versions satisfies the environment"),
        (["alpha ==== 1"], "cannot be read"),
    ],
)
def test_a_conda_file_that_cannot_be_is_told_in_its_own_words(make, engine, conda, lines, told):
    failed = failure(make(), EnvironmentSpec(image=engine.base_image, conda=conda(*lines)))
    assert told in failed.message
    assert failed.details


def test_a_python_that_the_image_has_not_is_told_with_the_one_it_has(make, engine, conda):
    failed = failure(make(), EnvironmentSpec(image=engine.base_image, conda=conda(python="python=3.99")))
    assert f"the image {engine.base_image} has no Python 3.99" in failed.message
    assert "ask for its own, python=3." in str(failed.hint)


@pytest.mark.network
def test_a_python_that_is_neither_there_nor_to_be_had_is_taken_along_from_this_machine(
    make, engine, conda, monkeypatch
):
    """As in a laboratory without a way to the internet, whose machines have pyenv."""
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS", "never")
    machine = engine.client().version()["Arch"]
    ours = next((found for minor in range(8, 15) if (found := host_python(f"3.{minor}", machine))), None)
    if ours is None:
        pytest.skip("this machine has no Python but its system's, which is a part of the system")
    version = ours.name.split("-")[1]
    said: list[str] = []
    spec = EnvironmentSpec(image=engine.base_image, conda=conda("alpha==1.0", python=f"python={version}"))
    built = build(make(), spec, said)
    assert [line for line in said if f"taking along {ours.prefix}" in line]
    assert built.python == version
    program = "import alpha, ssl, platform; print(platform.python_version())"
    assert run_inside(built, ["python", "-c", program]).strip() == version


@pytest.mark.parametrize(
    ("kind", "told"), [("tiny_image", "can run neither uv nor a pip"), ("empty_image", "no shell")]
)
def test_an_image_that_nothing_can_be_installed_into_says_so(make, engine, conda, kind, told):
    assert told in failure(make(), EnvironmentSpec(image=getattr(engine, kind), conda=conda("alpha"))).message


def _python_of_the_image(channel: Path, engine: DockerEngine) -> None:
    """A conda package of Python that runs there: this machine's own needs libraries of this machine."""
    ask = ["python3", "-c", "import platform; print(platform.python_version())"]
    version = engine.client().containers.run(engine.base_image, ask, remove=True).decode().strip()
    minor = version.rpartition(".")[0]
    files = {"pyvenv.cfg": "home = /usr/bin\n", f"lib/python{minor}/site-packages/README.txt": "packages stand here\n"}
    channels.package(channel, "python", version, files=files, noarch=None, links={"bin/python": "/usr/bin/python3"})


@pytest.mark.network
def test_packages_of_conda_come_from_their_channel(make, engine, conda, tmp_path):
    channel = tmp_path / f"channel-{uuid.uuid4().hex}"
    _python_of_the_image(channel, engine)
    channels.python_package(channel, "gamma", "3.1")
    channels.package(channel, "tool", files={"bin/tool": "#!/bin/sh\necho tool of conda\n"})
    channels.index(channel)
    wanted = conda("alpha==1.0")
    wanted["channels"] = [str(channel)]
    wanted["dependencies"] = ["python", "gamma=3.1", "tool", *wanted["dependencies"][1:]]
    builder = make()
    spec = EnvironmentSpec(image=engine.base_image, conda=wanted)
    activation = build(builder, spec)
    program = "import alpha, gamma, sys; print(alpha.version, gamma.version, sys.prefix)"
    assert run_inside(activation, ["python", "-c", program]).split() == ["1.0", "3.1", "/opt/mlcli/environment"]
    assert run_inside(activation, ["tool"]) == "tool of conda\n"
    assert activation.resolved == ("alpha==1.0",)
    assert [address.rpartition("/")[2].partition("-")[0] for address in activation.packages] == [
        "gamma",
        "python",
        "tool",
    ]
    assert builder.plan(spec).cached

    typo = {**wanted, "dependencies": ["python", "gama"]}
    failed = failure(builder, EnvironmentSpec(image=engine.base_image, conda=typo))
    assert "'gama' was not found" in failed.message
    assert "gamma" in str(failed.hint)
