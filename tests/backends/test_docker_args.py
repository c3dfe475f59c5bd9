"""Flags of ``docker run`` as the engine's own words; what would hide the image's system; ends without a record."""

from __future__ import annotations

import shlex
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlcli.backends._container import arguments, check_container, exit_record, seconds
from mlcli.backends._docker_args import DockerArgs, gpus, parse, size
from mlcli.backends._launcher import plain_launch
from mlcli.domain.errors import UnsupportedError
from mlcli.domain.job import CommandJob, DataInput, EnvironmentSpec, Output, Resources

IMAGE = EnvironmentSpec(image="debian")


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("--memory 2g", "Memory", 2 << 30),
        ("-m=512m", "Memory", 512 << 20),
        ("--memory-swap -1", "MemorySwap", -1),
        ("--cpus 1.5", "NanoCpus", 1_500_000_000),
        ("-c 2", "CpuShares", 2),
        ("--cpuset-cpus 0-3", "CpusetCpus", "0-3"),
        ("--gpus all", "DeviceRequests", [{"Driver": "", "Capabilities": [["gpu"]], "Count": -1}]),
        ("--gpus device=0,2", "DeviceRequests", [{"Driver": "", "Capabilities": [["gpu"]], "DeviceIDs": ["0", "2"]}]),
        ("--net=host", "NetworkMode", "host"),
        ("--ipc host", "IpcMode", "host"),
        ("--ulimit nofile=1024:2048", "Ulimits", [{"Name": "nofile", "Soft": 1024, "Hard": 2048}]),
        ("--cap-add SYS_PTRACE --cap-add NET_ADMIN", "CapAdd", ["SYS_PTRACE", "NET_ADMIN"]),
        ("--privileged", "Privileged", True),
        ("--init=false", "Init", False),
        ("--tmpfs /x:size=1m --tmpfs /y", "Tmpfs", {"/x": "size=1m", "/y": ""}),
        ("-v /here:/there:ro -v named:/n", "Binds", ["/here:/there:ro", "named:/n"]),
        (
            "--mount type=bind,src=/a,dst=/b,ro",
            "Mounts",
            [{"Type": "bind", "ReadOnly": True, "Source": "/a", "Target": "/b"}],
        ),
        (
            "--device /dev/fuse",
            "Devices",
            [{"PathOnHost": "/dev/fuse", "PathInContainer": "/dev/fuse", "CgroupPermissions": "rwm"}],
        ),
        ("--sysctl net.core.somaxconn=9", "Sysctls", {"net.core.somaxconn": "9"}),
    ],
)
def test_a_flag_in_the_engine_s_words(text: str, key: str, value: object) -> None:
    assert parse(text).host == {key: value}


def test_flags_of_the_container_itself() -> None:
    parsed = parse(
        '--user 1:2 -h me --label a=b --entrypoint "" -e A=b -e C --env-file /e -w /w --platform linux/arm64 -v /vol'
    )
    assert parsed == DockerArgs(
        {"User": "1:2", "Hostname": "me", "Labels": {"a": "b"}, "Entrypoint": [""], "Volumes": {"/vol": {}}},
        {"Binds": []},
        ("A=b", "C"),
        ("/e",),
        "/w",
        "linux/arm64",
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("--rm", "unrecognized flags: --rm"),
        ("-d -it", "unrecognized flags: -d -it"),
        ("--cpus many", "argument --cpus: invalid value: 'many'"),
        ("--memory", "expected one argument"),
        ("--privileged=perhaps", "invalid value: 'perhaps'"),
        ("-v ./here:/there", "invalid value"),
        ("--env-file vars", "invalid value: 'vars'"),
        ("--mount type=bind,src=/a", "invalid value"),
        ("--gpus some", "invalid value: 'some'"),
        ("'open", "No closing quotation"),
        ("image", "unrecognized flags: image"),
    ],
)
def test_what_is_no_flag_is_refused(text: str, said: str) -> None:
    with pytest.raises(UnsupportedError) as refused:
        parse(text)
    assert said in refused.value.message
    assert refused.value.hint


@settings(deadline=None)
@given(st.text(max_size=40))
def test_no_text_is_a_traceback(text: str) -> None:
    with suppress(UnsupportedError):
        parse(text)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["--memory", "--cpus", "--ulimit", "--mount", "-v", "--gpus", "--env"]), st.text())
    )
)
def test_no_value_is_a_traceback(words: list[tuple[str, str]]) -> None:
    with suppress(UnsupportedError):
        parse(shlex.join(word for pair in words for word in pair))


def test_docker_args_win_over_resources() -> None:
    both = arguments(Resources(memory="1g", shm_size="2g", gpus="1", docker_args="--memory 2g"))
    assert both.host == {"Memory": 2 << 30, "ShmSize": 2 << 30, "DeviceRequests": gpus("1")}


@pytest.mark.parametrize(("text", "value"), [("64", 64), ("1k", 1024), ("1.5GiB", 3 << 29), ("2 tb", 2 << 40)])
def test_a_size(text: str, value: int) -> None:
    assert size(text) == value


@pytest.mark.parametrize(
    "path", ["/", "/usr", "/usr/lib", "/etc/hosts", "/proc/1", "/var/run", "/var", "/usr/local/bin/"]
)
def test_the_container_s_own_system_is_not_hidden(path: str) -> None:
    with pytest.raises(UnsupportedError, match="would hide") as refused:
        check_container(CommandJob("true", IMAGE, inputs={"data": DataInput(path)}))
    assert refused.value.hint == "copy it: --set inputs.data.mode=download"
    with pytest.raises(UnsupportedError, match="would hide"):
        check_container(CommandJob("true", IMAGE, outputs={"model": Output(path=path)}))
    check_container(CommandJob("true", IMAGE, inputs={"data": DataInput(path, mode="download")}))


@pytest.mark.parametrize(
    "path", ["/data", "/usr/share/data", "/home/ada", "/dev/shm/x", "/mnt", "/binary", "/opt/data"]
)
def test_other_places_are_mounted(path: str) -> None:
    check_container(CommandJob("true", IMAGE, inputs={"data": DataInput(path)}, outputs={"model": Output(path=path)}))


BEGUN = {"started_at": 5.0}


def told(code: int, **state: object) -> dict[str, dict[str, object]]:
    ended = {"ExitCode": code, "FinishedAt": "2026-11-21T13:28:46.5Z", "OOMKilled": False, **state}
    return {"State": ended, "HostConfig": {"Memory": 64 << 20}}


@pytest.mark.parametrize(
    ("state", "begun", "cancelled", "ended", "said"),
    [
        (told(137, OOMKilled=True), BEGUN, False, ("exit", 137, 9), "killed: out of memory (limit 64m)"),
        (told(137), BEGUN, False, ("exit", 137, 9), "killed by signal 9 from outside the job"),
        (told(255), BEGUN, False, ("exit", 255, None), "ended with code 255 from outside the job"),
        (told(143), BEGUN, True, ("canceled", 143, 15), ""),
        (
            told(1),
            None,
            False,
            ("not_started", None, None),
            "ended with code 1 before it started the command: last words",
        ),
        (told(143), None, True, ("canceled", None, None), ""),
    ],
)
def test_an_end_that_only_the_engine_knows(
    state: dict[str, dict[str, object]],
    begun: dict[str, float] | None,
    cancelled: bool,
    ended: tuple[str, int | None, int | None],
    said: str,
) -> None:
    record = exit_record(state, begun=begun, cancelled=cancelled, words="last words")
    assert (record["cause"], record["code"], record["signal"]) == ended
    assert said in record["message"]
    assert record["ended_at"] == seconds("2026-11-21T13:28:46.500000000Z")


@settings(deadline=None)
@given(
    st.dictionaries(
        st.text(st.characters(exclude_characters="\0=", exclude_categories=["Cs"]), min_size=1),
        st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    )
)
def test_the_shell_s_variables_are_those_of_the_agent(variables: dict[str, str]) -> None:
    """Whatever is in a value, a shell reads it back as it was."""
    import subprocess

    names = {f"V{number}": value for number, value in enumerate(variables.values())}
    environment = {
        "defaults": {"D": '$x `y` "z"'},
        "unset": ["GONE"],
        "set": names,
        "prepend_path": [],
        "append_path": [],
    }
    record: dict[str, Any] = {
        "argv": [],
        "command": "true",
        "log": "log",
        "working_directory": "/",
        "timeout_s": None,
        "grace_s": 1.0,
        "environment": environment,
    }
    text = plain_launch(record, alone=True) + "prepare; env -0"
    done = subprocess.run(
        ["sh"], input=text.encode(), capture_output=True, env={"PATH": "/usr/bin:/bin", "GONE": "1"}, check=True
    )
    read = dict(line.split("=", 1) for line in done.stdout.decode().split("\0") if line)
    assert {name: read[name] for name in names} == names
    assert read["D"] == '$x `y` "z"'
    assert "GONE" not in read
