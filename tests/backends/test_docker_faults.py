"""What goes wrong with containers: each ends in one clear sentence, and leaves no container behind."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mlcli import agent
from mlcli import docker_engine as product
from mlcli.backends import docker
from mlcli.backends._engine import Engine
from mlcli.backends.docker import DockerBackend
from mlcli.docker_engine import container_name, shell_hint
from mlcli.domain.job import Resources
from mlcli.domain.observation import Sight
from mlcli.domain.plan import ContainerPlan, InputPlan, OutputPlan
from mlcli.domain.settings import Settings
from mlcli.ports.backends import Prepared, Rejected, RunHandle
from mlcli.ports.environments import Activation
from mlcli.stores.snapshots import ContentStore
from mlcli.testing.backend import COUNTED, planned
from tests.backends.test_docker import ContainerJob
from tests.engines.docker import DockerEngine, OwnDockerEngine

pytestmark = pytest.mark.usefixtures("containers_gone")
IMAGES = ["base_image", "tiny_image"]


@pytest.fixture
def backend(docker_engine: DockerEngine, monkeypatch: pytest.MonkeyPatch) -> DockerBackend:
    monkeypatch.setenv("DOCKER_HOST", docker_engine.base_url)
    return DockerBackend(Settings(kill_grace_s=1.0))


@pytest.fixture
def make(backend: DockerBackend, tmp_path: Path) -> Iterator[Callable[..., ContainerJob]]:
    """``make(image)``: a job in that image, ended with the test."""
    made: list[ContainerJob] = []

    def new(image: str, name: str = "quiet_fig_1", using: DockerBackend | None = None) -> ContainerJob:
        job = ContainerJob(
            using or backend, ContentStore(tmp_path / "store", Settings()), str(tmp_path / "runs" / name)
        )
        job.image = image
        made.append(job)
        return job

    yield new
    for job in made:
        job.backend.cancel(job.handle)
        job.ended()
        job.backend.forget(job.handle)


@pytest.fixture(params=IMAGES)
def job(request: pytest.FixtureRequest, docker_engine: DockerEngine, make: Callable[..., ContainerJob]) -> ContainerJob:
    return make(getattr(docker_engine, request.param))


@pytest.fixture
def with_python(docker_engine: DockerEngine, make: Callable[..., ContainerJob]) -> ContainerJob:
    return make(docker_engine.base_image)


@pytest.fixture
def committed(docker_engine: DockerEngine) -> Iterator[Callable[..., str]]:
    """``committed(change, files=..., command=...)``: a new image on top of the base image or another."""
    api, made = docker_engine.client().api, []

    def commit(*changes: str, files: dict[str, bytes] | None = None, base: str | None = None, command: str = "") -> str:
        container = api.create_container(base or docker_engine.base_image, ["/bin/sh", "-c", command])["Id"]
        try:
            if command:
                api.start(container)
                assert api.wait(container)["StatusCode"] == 0
            for path, data in (files or {}).items():
                tar = io.BytesIO()
                with tarfile.open(fileobj=tar, mode="w") as archive:
                    info = tarfile.TarInfo(path.lstrip("/"))
                    info.size, info.mode = len(data), 0o755
                    archive.addfile(info, io.BytesIO(data))
                api.put_archive(container, "/", tar.getvalue())
            image: str = api.commit(container, changes="\n".join(changes) or None)["Id"]
        finally:
            api.remove_container(container)
        made.append(image)
        return image

    yield commit
    for image in made:
        api.remove_image(image, force=True)


def container_of(job: ContainerJob) -> str:
    return container_name(job.handle.name, job.folder)


# Ends


@pytest.mark.parametrize("code", [1, 126, 127, 128, 130, 137, 143, 255])
def test_an_exit_code_is_exact(job: ContainerJob, code: int) -> None:
    record = job.run(f"exit {code}")
    assert (record.cause, record.code, record.signal) == ("exit", code, None)


@pytest.mark.parametrize(("name", "number"), [("SEGV", 11), ("TERM", 15)])
def test_a_signal_is_exact(job: ContainerJob, name: str, number: int) -> None:
    record = job.run(f"kill -{name} $$; sleep 5")
    assert (record.cause, record.code, record.signal) == ("exit", 128 + number, number)


def test_an_interrupt_reaches_the_command(committed: Callable[..., str], make: Callable[..., ContainerJob]) -> None:
    """What a shell has started in the background does not listen to it by itself."""
    record = make(committed(command="rm /usr/bin/python3*")).run("kill -INT $$; sleep 5")
    assert (record.cause, record.code, record.signal) == ("exit", 130, 2)


def test_too_much_memory_is_told(job: ContainerJob) -> None:
    """The job's own process is killed: the agent lives to tell it."""
    command = "echo begun; head -c 200m /dev/zero | tail -c 150m | wc -c; exit 7"
    record = job.run(command, resources=Resources(memory="32m"))
    assert record.code == 7 or record.signal == 9
    assert "out of memory" in record.message


def test_too_much_memory_for_a_single_process(with_python: ContainerJob) -> None:
    record = with_python.run("exec python3 -c 'x = bytearray(200 << 20)'", resources=Resources(memory="64m"))
    assert (record.cause, record.code, record.signal) == ("exit", 137, 9)
    assert record.message == "killed: out of memory (limit 64m)"


def test_the_time_limit_with_a_job_that_does_not_listen(job: ContainerJob) -> None:
    record = job.run("trap '' TERM; echo ready; while :; do sleep 0.1; done", timeout_s=0.5)
    assert (record.cause, record.code, record.signal) == ("time_limit", 137, 9)


@pytest.mark.parametrize("image", IMAGES)
def test_a_job_that_listens_ends_at_once(docker_engine: DockerEngine, make: Any, image: str) -> None:
    """Nobody waits for the rest of the grace period, nor for what it was measured with."""
    patient = DockerBackend(Settings(kill_grace_s=300.0))
    for name in ("first", "second", "third"):
        job = make(getattr(docker_engine, image), name, patient)
        job.submit("trap 'exit 3' TERM; echo ready; while :; do sleep 0.1; done", timeout_s=600.0)
        job.says(b"ready")
        asked = time.time()
        patient.cancel(job.handle)
        record = job.wait()
        assert (record.cause, record.code) == ("canceled", 3)
        assert record.ended_at - asked < 15


def test_what_a_job_leaves_running_ends_with_it(job: ContainerJob) -> None:
    started = time.monotonic()
    record = job.run("(trap '' HUP; sleep 1000) & (sleep 0.5; echo last line) & echo first line")
    assert (record.cause, record.code) == ("exit", 0)
    assert job.log() == b"first line\nlast line\n"
    assert "left running" in record.message
    assert time.monotonic() - started < 60


def test_a_daemon_ends_with_its_job(with_python: ContainerJob) -> None:
    daemon = "import os, time; os.fork() and os._exit(0); os.setsid(); os.fork() and os._exit(0); time.sleep(1000)"
    record = with_python.run(f'python3 -c "{daemon}"; echo done')
    assert record.code == 0
    assert "left running" in record.message


def test_much_output_is_kept_whole(job: ContainerJob) -> None:
    assert job.run("head -c 20000000 /dev/zero; printf '\\377\\n'").code == 0
    assert (Path(job.folder) / "user_logs" / "std_log.txt").stat().st_size == 20_000_002


# Entrypoints


def test_an_entrypoint_is_kept(committed: Callable[..., str], make: Callable[..., ContainerJob]) -> None:
    script = b'#!/bin/sh\nexport FROM_ENTRYPOINT=yes\nexec "$@"\n'
    job = make(committed('ENTRYPOINT ["/entry.sh"]', "ENV OF_IMAGE=too", files={"/entry.sh": script}))
    assert job.run("echo $FROM_ENTRYPOINT $OF_IMAGE").code == 0
    assert job.log() == b"yes too\n"


def test_a_job_behind_an_entrypoint_that_hands_on_no_signal_ends_gracefully(
    committed: Callable[..., str], make: Callable[..., ContainerJob]
) -> None:
    job = make(committed('ENTRYPOINT ["/entry.sh"]', files={"/entry.sh": b'#!/bin/bash\n"$@"\necho over\n'}))
    job.submit("trap 'echo asked; exit 0' TERM; echo ready; while :; do sleep 0.1; done")
    job.says(b"ready")
    job.backend.cancel(job.handle)
    assert job.wait().cause == "canceled"
    assert b"asked" in job.log()


def test_an_entrypoint_that_takes_no_command_is_told(
    committed: Callable[..., str], make: Callable[..., ContainerJob]
) -> None:
    record = make(committed('ENTRYPOINT ["ls", "--no-such-flag"]')).run("true")
    assert (record.cause, record.code) == ("not_started", None)
    assert "before it started the command" in record.message
    assert "ls" in record.message


def test_an_entrypoint_can_be_replaced(committed: Callable[..., str], make: Callable[..., ContainerJob]) -> None:
    job = make(committed('ENTRYPOINT ["false"]'))
    assert job.run("true", resources=Resources(docker_args='--entrypoint ""')).code == 0


def test_a_program_of_another_machine_is_told(committed: Callable[..., str], make: Callable[..., ContainerJob]) -> None:
    record = make(committed("ENV A=b", files={"/bin/sh": b"\x7fELF no program"})).run("true")
    assert record.cause == "not_started"
    assert "exec format error" in record.message.lower()


# Images


def test_an_image_that_is_gone(make: Callable[..., ContainerJob], backend: DockerBackend) -> None:
    job = make("sha256:" + "0" * 64)
    answer = backend.submit(Prepared(planned(job.folder, "true"), Activation(image=job.image)), None)
    assert isinstance(answer, Rejected)
    assert "is not on this engine any more (submit the job once more)" in answer.message


def test_an_image_without_a_shell(docker_engine: DockerEngine, make: Any) -> None:
    record = make(docker_engine.empty_image).run("true")
    assert record.cause == "not_started"
    assert "has no /bin/sh" in record.message


def test_an_image_without_a_shell_and_no_init(docker_engine: DockerEngine, make: Any, backend: DockerBackend) -> None:
    job = make(docker_engine.empty_image)
    plan = planned(job.folder, "true", resources=Resources(docker_args="--init=false"))
    answer = backend.submit(Prepared(plan, Activation(image=job.image)), None)
    assert isinstance(answer, Rejected)
    assert "has no /bin/sh" in answer.message


def test_gpus_where_there_are_none(docker_engine: DockerEngine, make: Any, backend: DockerBackend) -> None:
    job = make(docker_engine.base_image)
    plan = planned(job.folder, "true", resources=Resources(gpus="all"))
    answer = backend.submit(Prepared(plan, Activation(image=job.image)), None)
    assert isinstance(answer, Rejected)
    assert "no GPU for containers" in answer.message


# Hands of others


def test_a_container_that_was_removed_by_hand(job: ContainerJob, docker_engine: DockerEngine) -> None:
    job.submit("echo ready; sleep 1000")
    job.says(b"ready")
    docker_engine.client().api.remove_container(container_of(job), force=True)
    told = job.look()
    assert told.sight is Sight.GONE
    assert "removed by hand" in told.evidence


def test_a_container_that_was_killed_by_hand(job: ContainerJob, docker_engine: DockerEngine) -> None:
    job.submit("echo ready; sleep 1000")
    job.says(b"ready")
    docker_engine.client().api.kill(container_of(job))
    record = job.wait()
    assert (record.cause, record.code, record.signal) == ("exit", 137, 9)
    assert "from outside the job" in record.message


def test_a_container_that_was_stopped_by_hand(job: ContainerJob, docker_engine: DockerEngine) -> None:
    job.submit("trap 'echo asked; exit 0' TERM; echo ready; while :; do sleep 0.1; done")
    job.says(b"ready")
    docker_engine.client().api.stop(container_of(job))
    assert job.wait().cause == "canceled"
    assert b"asked" in job.log()


def test_a_paused_container_runs_and_can_be_cancelled(job: ContainerJob, docker_engine: DockerEngine) -> None:
    job.submit("echo ready; sleep 1000")
    job.says(b"ready")
    docker_engine.client().api.pause(container_of(job))
    told = job.look()
    assert (told.sight, told.evidence) == (Sight.RUNNING, "the container is paused")
    job.backend.cancel(job.handle)
    assert job.wait().cause == "canceled"


def test_a_container_whose_run_folder_is_gone_is_removed(
    with_python: ContainerJob, make: Any, docker_engine: DockerEngine
) -> None:
    with_python.submit("echo ready; sleep 1000")
    with_python.says(b"ready")
    other = make(docker_engine.base_image, "other")
    other.submit("sleep 1000")
    shutil.rmtree(with_python.folder)
    other.until(lambda: other.look().sight is Sight.RUNNING)
    other.until(lambda: not docker_engine.containers(below=Path(with_python.folder)))


def test_a_name_is_free_again_though_its_container_is_still_there(
    with_python: ContainerJob, docker_engine: DockerEngine
) -> None:
    """The run was deleted while its container was about to go, or its engine was down."""
    labels = {product.RUN: with_python.handle.name, "mlcli.run_folder": with_python.folder, "mlcli.life": "another"}
    earlier = docker_engine.client().api.create_container(
        docker_engine.base_image, ["sleep", "1000"], name=container_of(with_python), labels=labels
    )
    docker_engine.client().api.start(earlier)
    assert with_python.run("echo again").code == 0
    assert with_python.log() == b"again\n"


def test_nobody_waits_for_a_container_to_go(
    with_python: ContainerJob, docker_engine: DockerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even an engine that takes its time is waited for; it is told, and does it."""
    with_python.submit("echo ready")
    with_python.until((Path(with_python.folder) / agent.EXIT).exists)
    with monkeypatch.context() as patched:
        patched.setattr(Engine, "remove", None)
        assert with_python.look().sight is Sight.EXITED
    assert not (Path(with_python.folder) / ".container").exists()
    with_python.until(lambda: not docker_engine.containers(below=Path(with_python.folder)))


def test_a_look_into_an_image_that_was_killed_before_it_began(
    docker_engine: DockerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What somebody is about to start stays; what is older than that goes with the next job."""
    engine, now = Engine(docker_engine.base_url), time.time
    container = docker_engine.client().api.create_container(docker_engine.tiny_image, "true", labels={product.RUN: ""})
    try:
        [entry] = [entry for entry in engine.list(product.RUN) if entry["Id"] == container["Id"]]
        assert not docker._is_left_over(entry)
        monkeypatch.setattr(time, "time", lambda: now() + 60)
        assert docker._is_left_over(entry)
    finally:
        engine.remove(container["Id"])


# Two at once, and killed


def test_two_submissions_at_once_start_one(job: ContainerJob) -> None:
    threads = [threading.Thread(target=job.submit, args=(COUNTED + "sleep 0.3",)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert job.wait().code == 0
    assert job.backend.read(job.handle, "count") == b"begun\n"


def test_two_who_remove_a_container_both_see_it_gone(job: ContainerJob, docker_engine: DockerEngine) -> None:
    job.submit("sleep 1000")
    name, engine = container_of(job), Engine(docker_engine.base_url)
    left = []

    def remove() -> None:
        engine.remove(name)
        left.append(engine.inspect(name))

    threads = [threading.Thread(target=remove) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert left == [None] * 3


SUBMIT = """
import sys
from mlcli.backends import docker, _engine
from mlcli.domain.settings import Settings
from mlcli.ports.backends import Prepared
from mlcli.ports.environments import Activation
from mlcli.testing.backend import COUNTED, planned
import os, signal
folder, image, phase = sys.argv[1:]
before = getattr(_engine.Engine, phase)
def and_die(*arguments):
    before(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)
setattr(_engine.Engine, phase, and_die)
docker.DockerBackend(Settings()).submit(Prepared(planned(folder, COUNTED), Activation(image=image), None, {"S": "s3cr3t"}), None)
"""


@pytest.mark.parametrize("phase", ["connect", "create", "start"])
def test_a_submission_killed_anywhere_can_be_made_again(job: ContainerJob, phase: str) -> None:
    argv = [sys.executable, "-c", SUBMIT, job.folder, job.image, phase]
    assert subprocess.run(argv, cwd=Path(__file__).parents[2], check=False).returncode == -9
    if phase == "create":
        told = job.look()
        assert (told.sight, told.evidence) == (Sight.ABSENT, "its container was created and never started")
    job.submit(COUNTED)
    assert job.wait().code == 0
    assert job.backend.read(job.handle, "count") == b"begun\n"
    job.until(lambda: not (Path(job.folder) / agent.LAUNCH).exists())


def test_a_container_that_was_never_started_can_be_cancelled(job: ContainerJob) -> None:
    argv = [sys.executable, "-c", SUBMIT, job.folder, job.image, "create"]
    assert subprocess.run(argv, cwd=Path(__file__).parents[2], check=False).returncode == -9
    job.backend.cancel(job.handle)
    record = job.wait()
    assert (record.cause, record.message) == ("canceled", "cancelled before it started")
    job.submit(COUNTED)
    assert job.wait().cause == "canceled"
    assert job.backend.read(job.handle, "count") is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--env-file /nowhere/vars", "--env-file: /nowhere/vars: No such file or directory (name a text file"),
        ("--platform linux/arm64", "does not match the specified platform"),
        ("--cpuset-cpus 4096", "could not be created"),
        ("--user nobody-at-all", "could not be started"),
    ],
)
def test_a_container_that_cannot_be_had_leaves_nothing(
    docker_engine: DockerEngine, make: Any, arguments: str, said: str
) -> None:
    job = make(docker_engine.base_image)
    plan = planned(job.folder, "true", resources=Resources(docker_args=arguments))
    answer = job.backend.submit(Prepared(plan, Activation(image=job.image)), None)
    assert isinstance(answer, Rejected)
    assert said in answer.message
    assert docker_engine.containers(below=Path(job.folder)) == []
    assert not list(Path(job.folder).rglob("launch.*"))


# Engines


@pytest.mark.parametrize("address", ["garbage", "tcp://host", "tcp://host:99999", "fd://"])
def test_what_is_no_address_of_an_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: DockerBackend, address: str
) -> None:
    monkeypatch.setenv("DOCKER_HOST", address)
    plan = planned(str(tmp_path / "runs" / "r"), "true")
    answer = backend.submit(Prepared(plan, Activation(image="x")), None)
    assert isinstance(answer, Rejected)
    assert answer.message.startswith(f"{address!r} is not the address of a Docker Engine")
    assert "set DOCKER_HOST to one like unix:///" in answer.message


def test_no_engine_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, docker_engine: DockerEngine, backend: DockerBackend
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody.sock")
    folder = str(tmp_path / "runs" / "r")
    answer = backend.submit(Prepared(planned(folder, "true"), Activation(image="x")), None)
    assert isinstance(answer, Rejected)
    assert "does not answer" in answer.message
    handle = RunHandle("r", folder)
    assert backend.observe([handle])["r"].sight is Sight.NO_ANSWER
    backend.cancel(handle)
    assert backend.observe([handle])["r"].sight is Sight.EXITED


@pytest.mark.slow
def test_an_engine_that_dies_in_mid_job_and_comes_back(
    own_docker_engine: OwnDockerEngine, docker_engine: DockerEngine, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What ended meanwhile has its own end; what the engine ended when it came back is told so."""
    own_docker_engine.load(docker_engine.tiny_image, docker_engine)
    monkeypatch.setenv("DOCKER_HOST", own_docker_engine.base_url)
    ends, stays = make(docker_engine.tiny_image, "ends"), make(docker_engine.tiny_image, "stays")
    ends.submit("echo ready; sleep 4; exit 5")
    stays.submit("echo ready; sleep 1000")
    ends.says(b"ready")
    stays.says(b"ready")
    own_docker_engine.kill()
    monkeypatch.setenv("DOCKER_HOST", docker_engine.base_url)  # where they run is remembered
    assert stays.look().sight is Sight.NO_ANSWER
    assert ends.wait().code == 5
    assert stays.look().sight is Sight.NO_ANSWER
    own_docker_engine.start()
    stays.until(lambda: stays.look().sight is not Sight.NO_ANSWER)
    record = stays.wait()
    assert (record.cause, record.signal) == ("canceled", 15)
    assert record.message == agent.ENDED_FROM_OUTSIDE
    stays.backend.observe([RunHandle("another", stays.folder + "-another", stays.handle.native_id)])
    stays.until(lambda: not own_docker_engine.client().api.containers(all=True))


# A far engine


@pytest.fixture
def far(with_python: ContainerJob, monkeypatch: pytest.MonkeyPatch) -> ContainerJob:
    """A job on an engine that cannot mount this machine's folders."""
    monkeypatch.setattr(product, "is_local", lambda _: False)
    return with_python


HOME = """
import os, signal, sys
from mlcli import docker_engine
from mlcli.backends import _remote, docker
from mlcli.domain.settings import Settings
from mlcli.ports.backends import RunHandle
docker_engine.is_local = lambda _: False
setattr(_remote, sys.argv[1], lambda *_: os.kill(os.getpid(), signal.SIGKILL))
docker.DockerBackend(Settings()).observe([RunHandle(*sys.argv[2:])])
"""


@pytest.mark.parametrize("phase", ["unpack", "_move"])
def test_results_come_home_though_who_fetched_them_was_killed(
    far: ContainerJob, docker_engine: DockerEngine, phase: str
) -> None:
    far.submit("echo said; echo model > outputs/m; echo beside > ../beside")
    api = docker_engine.client().api
    far.until(lambda: api.inspect_container(container_of(far))["State"]["Status"] == "exited")
    argv = [sys.executable, "-c", HOME, phase, far.handle.name, far.folder, str(far.handle.native_id)]
    assert subprocess.run(argv, cwd=Path(__file__).parents[2], check=False).returncode == -9
    assert not (Path(far.folder) / agent.EXIT).exists()
    assert far.wait().code == 0
    assert far.log() == b"said\n"
    assert far.backend.list_files(far.handle, "wd/outputs") == {"m": 6}
    assert not (Path(far.folder) / ".container").exists()


def test_results_that_are_cut_off_are_fetched_again(far: ContainerJob, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(engine: Engine, name: str, path: str) -> Iterator[bytes]:
        yield next(whole(engine, name, path))[:700]

    whole = Engine.get_archive
    monkeypatch.setattr(Engine, "get_archive", cut)
    far.submit("head -c 3000000 /dev/zero > outputs/m")
    far.until(lambda: far.look().sight is Sight.NO_ANSWER)
    assert "could not be brought home" in far.look().evidence
    monkeypatch.setattr(Engine, "get_archive", whole)
    assert far.wait().code == 0
    assert far.backend.list_files(far.handle, "wd/outputs") == {"m": 3_000_000}


def test_what_an_engine_says_of_a_container_that_is_ending_is_no_log(
    far: ContainerJob, docker_engine: DockerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    far.submit("echo said")
    api = docker_engine.client().api
    far.until(lambda: api.inspect_container(container_of(far))["State"]["Status"] == "exited")
    told = b"cannot exec in a deleted state: unknown\r\n"
    monkeypatch.setattr(Engine, "execute", lambda *_: (126, told))
    assert far.log() == b"said\n"
    assert far.backend.read(far.handle, "user_logs/none.txt") is None


def test_inputs_and_outputs_of_a_far_job(far: ContainerJob, tmp_path: Path) -> None:
    data, file = tmp_path / "da ta", tmp_path / "one.csv"
    data.mkdir()
    (data / "x").write_text("5.1\n")
    file.write_text("4.9\n")
    linked = f"{far.folder}/inputs/linked/file.csv"
    inputs = (
        InputPlan("data", "local", "path", str(data), str(data), "ro_mount", "uri_folder"),
        InputPlan("linked", "local", "link", str(file), linked, "ro_mount", "uri_file"),
    )
    command = (
        f"cat '{data}/x' '{linked}'; ln -s m outputs/latest; echo m > outputs/m; echo model > '{tmp_path}/mo del/m'"
    )
    assert far.run(command, inputs=inputs, outputs=(OutputPlan("model", str(tmp_path / "mo del")),)).code == 0
    assert far.log() == b"5.1\n4.9\n"
    assert (tmp_path / "mo del" / "m").read_text() == "model\n"
    assert far.backend.list_files(far.handle, "wd/outputs") == {"m": 2, "latest": 2}


def test_an_input_of_a_far_job_that_cannot_be_read(
    far: ContainerJob, docker_engine: DockerEngine, tmp_path: Path
) -> None:
    gone = InputPlan("data", "local", "path", str(tmp_path / "gone"), str(tmp_path / "gone"), "ro_mount", "uri_folder")
    plan = planned(far.folder, "true", inputs=(gone,))
    answer = far.backend.submit(Prepared(plan, Activation(image=far.image)), None)
    assert isinstance(answer, Rejected)
    assert f"could not be copied to the engine: {tmp_path}/gone: No such file or directory" in answer.message
    assert docker_engine.containers(below=Path(far.folder)) == []


# What the container is given


def test_nothing_secret_is_in_the_container_s_configuration(job: ContainerJob, docker_engine: DockerEngine) -> None:
    job.submit(
        "echo ready; sleep 1000", secrets={"TOKEN": "very-secret-word"}, environment_variables={"A": "plain-word"}
    )
    job.says(b"ready")
    told = json.dumps(docker_engine.client().api.inspect_container(container_of(job)))
    assert "very-secret-word" not in told
    assert "plain-word" not in told
    assert not list(Path(job.folder).rglob("launch.*"))


def test_the_host_s_environment_stays_outside(job: ContainerJob, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OF_THE_HOST", "leaked")
    job.run("env")
    assert b"leaked" not in job.log()


def test_inputs_are_there_and_cannot_be_written_to(job: ContainerJob, tmp_path: Path) -> None:
    data, file, shared = tmp_path / "da ta", tmp_path / "file: one.csv", tmp_path / "shared"
    data.mkdir()
    shared.mkdir()
    (data / "x").write_text("5.1\n")
    file.write_text("4.9\n")
    linked = f"{job.folder}/inputs/linked/file.csv"
    inputs = (
        InputPlan("data", "local", "path", str(data), str(data), "ro_mount", "uri_folder"),
        InputPlan("again", "local", "path", str(data), str(data), "ro_mount", "uri_folder"),
        InputPlan("linked", "local", "link", str(file), linked, "ro_mount", "uri_file"),
        InputPlan("shared", "local", "path", str(shared), str(shared), "rw_mount", "uri_folder"),
    )
    outputs = (OutputPlan("model", str(tmp_path / "mo del")),)
    command = (
        f"cat '{data}/x' '{linked}'; touch '{data}/y' && echo written; "
        f"echo mine > '{shared}/z'; echo model > '{tmp_path}/mo del/m'"
    )
    record = job.run(command, inputs=inputs, outputs=outputs)
    assert record.code == 0, job.log()
    assert job.log().splitlines()[:2] == [b"5.1", b"4.9"]
    assert b"written" not in job.log()
    assert (shared / "z").read_text() == "mine\n"
    assert (tmp_path / "mo del" / "m").read_text() == "model\n"


def test_a_run_folder_with_a_colon(docker_engine: DockerEngine, make: Any, tmp_path: Path) -> None:
    job = make(docker_engine.base_image)
    job.folder = str(tmp_path / "a folder: odd, 'quoted'" / "r")
    job.handle = RunHandle("r", job.folder)
    assert job.run("pwd").code == 0
    assert job.log().decode().strip() == f"{job.folder}/wd"


def test_arguments_and_limits_of_the_container(with_python: ContainerJob, tmp_path: Path) -> None:
    (tmp_path / "vars").write_text("# some\nFROM_FILE=yes\n")
    arguments = (
        f"--hostname ours --ulimit nofile=77 --env A=b --env-file {tmp_path}/vars --workdir /tmp --tmpfs /quick "
        f"--mount type=bind,src={tmp_path},dst=/mounted,readonly --cpuset-cpus 0"
    )
    resources = Resources(shm_size="96m", memory="200m", cpus=0.5, docker_args=arguments)
    command = (
        "hostname; ulimit -n; echo $A $FROM_FILE; pwd; df -k /dev/shm | tail -1 | tr -s ' ' | cut -d' ' -f2; "
        "cat /mounted/vars | wc -l; nproc; cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>&-"
    )
    with_python.run(command, resources=resources)
    told = with_python.log().decode().split()
    assert told == ["ours", "77", "b", "yes", "/tmp", str(96 << 10), "2", "1", str(200 << 20)]


@pytest.mark.skipif(os.getuid() != 0, reason="becomes another user")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("image", IMAGES)
def test_what_a_job_writes_belongs_to_who_submitted_it(docker_engine: DockerEngine, make: Any, image: str) -> None:
    """As somebody who is not root, and whom the image does not know."""
    job = make(getattr(docker_engine, image))
    job.run("true")  # every module is loaded: that person may not read this interpreter's folder
    place = Path(tempfile.mkdtemp(prefix="mlcli-test-"))
    os.chown(place, 4321, 4321)
    command = "id -u; id -g; touch ~/x && echo at home; echo $USER; echo model > outputs/m"
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([os.stat(docker_engine.base_url.removeprefix("unix://")).st_gid])
            os.setgid(4321)
            os.setuid(4321)
            os.environ["USER"] = "ada"
            other = ContainerJob(job.backend, job.snapshots, str(place / "r"))
            other.image = job.image
            record = other.run(command)
            os._exit(record.code or 0)
        except BaseException:  # noqa: BLE001
            sys.excepthook(*sys.exc_info())
            os._exit(99)
    try:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert (place / "r" / "user_logs" / "std_log.txt").read_text() == "4321\n4321\nat home\nada\n"
        assert {path.lstat().st_uid for path in place.rglob("*")} == {4321}
    finally:
        shutil.rmtree(place)


# Kept


def test_a_kept_container_gives_a_shell_and_goes_with_its_run(
    docker_engine: DockerEngine, make: Any, backend: DockerBackend
) -> None:
    job = make(docker_engine.base_image)
    job.run("echo made > /made; echo result > outputs/result", container=ContainerPlan("asked for", keep=True))
    name = container_of(job)
    assert [container.name for container in docker_engine.client().containers.list(all=True, filters={"name": name})]
    hint = shell_hint(name).replace(" -it ", " -i ")
    done = subprocess.run(
        ["bash", "-c", hint],
        input=f"cat /made '{job.folder}/wd/outputs/result'\n",
        env={**os.environ, **docker_engine.environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "made\nresult\n", done.stderr
    docker_engine.client().api.start(name)  # by hand: it does nothing again
    assert docker_engine.client().api.wait(name)["StatusCode"] == 0
    backend.forget(job.handle)
    assert not docker_engine.client().containers.list(all=True, filters={"name": name})
