"""``resources.docker_args``: flags of ``docker run``, as the Engine API's own JSON. Pure.

https://docs.docker.com/reference/cli/docker/container/run/ and https://docs.docker.com/reference/api/engine/
"""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from mlcli.domain.errors import UnsupportedError

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([kmgt])i?)?b?", re.IGNORECASE)
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


@dataclass(frozen=True)
class DockerArgs:
    """``config`` and ``host``: keys of the API's container and of its ``HostConfig``. ``environment``: NAME=VALUE, or
    NAME alone for the value it has here; ``environment_files``: absolute paths. ``working_directory``: in place of the
    job's own. ``platform``: ``linux/arm64``.
    """

    config: Mapping[str, Any] = field(default_factory=dict)
    host: Mapping[str, Any] = field(default_factory=dict)
    environment: tuple[str, ...] = ()
    environment_files: tuple[str, ...] = ()
    working_directory: str | None = None
    platform: str | None = None


def parse(text: str | None) -> DockerArgs:
    """Raises UnsupportedError for what is no such flag, or not its value."""
    if not text:
        return DockerArgs()
    try:
        words = shlex.split(text)
    except ValueError as odd:
        raise UnsupportedError(f"resources.docker_args: {odd}", hint="close every quotation mark") from odd
    given = {name: value for name, value in vars(_parser().parse_args(words)).items() if value is not None}
    config, host = dict[str, Any](), dict[str, Any]()
    for name, value in given.items():
        if name in _CONFIG:
            config[_CONFIG[name]] = value
        elif name in _HOST:
            host[_HOST[name]] = value
    volumes = given.get("volume", [])
    if volumes:
        host["Binds"] = [volume for volume in volumes if ":" in volume]
        config["Volumes"] = {volume: {} for volume in volumes if ":" not in volume}
    return DockerArgs(
        config,
        host,
        tuple(given.get("env", ())),
        tuple(given.get("env_file", ())),
        given.get("workdir"),
        given.get("platform"),
    )


def size(text: str) -> int:
    """Bytes of a size as Docker writes it: ``2g``, ``512m``, ``1.5GiB``, ``1024``. Raises ValueError."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is not a size such as 512m or 2g")
    return int(float(found[1]) * _UNITS[(found[2] or "").lower()])


def gpus(text: str) -> list[dict[str, Any]]:
    """The device request of ``all``, a count, or ``device=0,1``. Raises ValueError."""
    request: dict[str, Any] = {"Driver": "", "Capabilities": [["gpu"]]}
    wanted = text.strip().strip("\"'")
    if wanted.startswith("device="):
        return [{**request, "DeviceIDs": wanted.removeprefix("device=").split(",")}]
    return [{**request, "Count": -1 if wanted == "all" else int(wanted)}]


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        flags = " ".join(sorted(flag for flag in self._option_string_actions if flag.startswith("--")))
        words = re.sub(r"invalid \S+ value", "invalid value", message).replace("arguments:", "flags:")
        is_known = message.startswith("argument ")
        hint = "write its value as for docker run" if is_known else f"a job's container takes {flags}"
        raise UnsupportedError(f"resources.docker_args: {words}", hint=hint)


def _parser() -> _Parser:
    parser = _Parser(add_help=False, allow_abbrev=False, usage="")
    for flags, kind in _ONE.items():
        parser.add_argument(*flags.split(), type=kind)
    for flags in _SWITCHES:
        parser.add_argument(flags, nargs="?", const=True, type=_boolean)
    for flags, kind in _MANY.items():
        parser.add_argument(*flags.split(), action="append", type=kind)
    parser.add_argument("--gpus", type=gpus)
    for flags, kind in _MAPS.items():
        parser.add_argument(*flags.split(), action=_Map, type=kind)
    return parser


class _Map(argparse.Action):
    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        del parser, option_string
        setattr(namespace, self.dest, {**(getattr(namespace, self.dest) or {}), **dict([values])})


def _boolean(text: str) -> bool:
    if text.lower() not in {"true", "1", "false", "0"}:
        raise ValueError(text)
    return text.lower() in {"true", "1"}


def _nano(text: str) -> int:
    return int(float(text) * 1e9)


def _memory_swap(text: str) -> int:
    return -1 if text == "-1" else size(text)


def _pair(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value


def _tmpfs(text: str) -> tuple[str, str]:
    place, _, options = text.partition(":")
    return place, options


def _ulimit(text: str) -> dict[str, Any]:
    name, _, limits = text.partition("=")
    soft, _, hard = limits.partition(":")
    return {"Name": name, "Soft": int(soft), "Hard": int(hard or soft)}


def _device(text: str) -> dict[str, str]:
    here, _, rest = text.partition(":")
    there, _, rights = rest.partition(":")
    return {"PathOnHost": here, "PathInContainer": there or here, "CgroupPermissions": rights or "rwm"}


def _mount(text: str) -> dict[str, Any]:
    """``type=bind,source=/data,target=/data,readonly``."""
    values = dict(_pair(part) for part in text.split(","))
    mount: dict[str, Any] = {"Type": values.pop("type", "volume"), "ReadOnly": False}
    for name, value in values.items():
        if name in {"source", "src"}:
            mount["Source"] = value
        elif name in {"target", "destination", "dst"}:
            mount["Target"] = value
        elif name in {"readonly", "ro"}:
            mount["ReadOnly"] = not value or _boolean(value)
        elif name == "bind-propagation":
            mount["BindOptions"] = {"Propagation": value}
        elif name == "tmpfs-size":
            mount["TmpfsOptions"] = {**mount.get("TmpfsOptions", {}), "SizeBytes": size(value)}
        elif name == "tmpfs-mode":
            mount["TmpfsOptions"] = {**mount.get("TmpfsOptions", {}), "Mode": int(value, 8)}
        else:
            raise ValueError(name)
    if "Target" not in mount:
        raise ValueError(text)
    return mount


def _absolute(text: str) -> str:
    if not text.startswith("/"):
        raise ValueError(text)
    return text


def _volume(text: str) -> str:
    """``/here:/there[:ro]``, a volume's name in place of ``/here``, or ``/there`` alone."""
    parts = text.split(":")
    if len(parts) > 3 or not parts[1 if len(parts) > 1 else 0].startswith("/") or parts[0].startswith((".", "~")):
        raise ValueError(text)
    return text


def _list(text: str) -> list[str]:
    return [text] if text else [""]


_ONE: Mapping[str, Callable[[str], Any]] = {
    "--memory -m": size,
    "--memory-swap": _memory_swap,
    "--memory-reservation": size,
    "--memory-swappiness": int,
    "--cpus": _nano,
    "--cpu-shares -c": int,
    "--cpu-period": int,
    "--cpu-quota": int,
    "--cpuset-cpus": str,
    "--cpuset-mems": str,
    "--shm-size": size,
    "--network --net": str,
    "--ipc": str,
    "--pid": str,
    "--uts": str,
    "--userns": str,
    "--cgroupns": str,
    "--user -u": str,
    "--entrypoint": _list,
    "--hostname -h": str,
    "--domainname": str,
    "--workdir -w": _absolute,
    "--runtime": str,
    "--pids-limit": int,
    "--oom-score-adj": int,
    "--platform": str,
}
_SWITCHES = ("--privileged", "--init", "--read-only", "--oom-kill-disable")
_MANY: Mapping[str, Callable[[str], Any]] = {
    "--env -e": str,
    "--env-file": _absolute,
    "--volume -v": _volume,
    "--mount": _mount,
    "--ulimit": _ulimit,
    "--cap-add": str,
    "--cap-drop": str,
    "--device": _device,
    "--add-host": str,
    "--dns": str,
    "--dns-search": str,
    "--dns-option": str,
    "--security-opt": str,
    "--group-add": str,
}
_MAPS: Mapping[str, Callable[[str], Any]] = {
    "--tmpfs": _tmpfs,
    "--label -l": _pair,
    "--sysctl": _pair,
    "--storage-opt": _pair,
}
_CONFIG = {
    "user": "User",
    "entrypoint": "Entrypoint",
    "hostname": "Hostname",
    "domainname": "Domainname",
    "label": "Labels",
}
_HOST = {
    "memory": "Memory",
    "memory_swap": "MemorySwap",
    "memory_reservation": "MemoryReservation",
    "memory_swappiness": "MemorySwappiness",
    "cpus": "NanoCpus",
    "cpu_shares": "CpuShares",
    "cpu_period": "CpuPeriod",
    "cpu_quota": "CpuQuota",
    "cpuset_cpus": "CpusetCpus",
    "cpuset_mems": "CpusetMems",
    "shm_size": "ShmSize",
    "network": "NetworkMode",
    "ipc": "IpcMode",
    "pid": "PidMode",
    "uts": "UTSMode",
    "userns": "UsernsMode",
    "cgroupns": "CgroupnsMode",
    "runtime": "Runtime",
    "pids_limit": "PidsLimit",
    "oom_score_adj": "OomScoreAdj",
    "oom_kill_disable": "OomKillDisable",
    "privileged": "Privileged",
    "init": "Init",
    "read_only": "ReadonlyRootfs",
    "mount": "Mounts",
    "ulimit": "Ulimits",
    "cap_add": "CapAdd",
    "cap_drop": "CapDrop",
    "device": "Devices",
    "add_host": "ExtraHosts",
    "dns": "Dns",
    "dns_search": "DnsSearch",
    "dns_option": "DnsOptions",
    "security_opt": "SecurityOpt",
    "group_add": "GroupAdd",
    "gpus": "DeviceRequests",
    "tmpfs": "Tmpfs",
    "sysctl": "Sysctls",
    "storage_opt": "StorageOpt",
}
