"""Makes a conda environment with rattler: reads what to make as JSON on standard input, says what it does line by line.

A script of its own, importing only rattler and the standard library: it can be killed with its process, keep a lock that
it inherits, and run where mlcli is not (inside an image). Run it as ``python _conda_install.py < request.json``.

The request: ``prefix`` (a folder, not there yet), ``cache`` (a folder for packages), ``channels`` and ``specs`` (as conda
files write them) or ``lock`` (the text of a lock file), ``requirements`` (a file to write a lock's pip lines to).
It ends with 0, or with 1 after a line ``error: what happened`` and a line ``hint: what to do``.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import sys
import tempfile
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from rattler import (
    Channel,
    ChannelPriority,
    Client,
    Config,
    Gateway,
    InstallerReporter,
    LockFile,
    MatchSpec,
    PackageRecord,
    RepoDataRecord,
    Subdir,
    VirtualPackage,
    VirtualPackageOverrides,
    install,
    solve,
)
from rattler.exceptions import (
    GatewayError,
    InstallerError,
    InvalidChannelError,
    InvalidMatchSpecError,
    ParseCondaLockError,
    SolverError,
)
from rattler.package import BuildString

_ARCHIVE = re.compile(r"(?P<name>.+)-(?P<version>[^-]+)-(?P<build>[^-]+)(?:\.conda|\.tar\.bz2)")
_HASH = re.compile(r"(?:sha256:)?(?P<sha256>[0-9a-f]{64})|(?:md5:)?(?P<md5>[0-9a-f]{32})", re.IGNORECASE)
_NEAREST = 3
_VERSIONS_SHOWN = 8


class FailedError(Exception):
    """What happened, and what to do."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class Source:
    """Where packages come from: the channels, asked with what rattler's own configuration says of mirrors and logins."""

    def __init__(self, channels: Sequence[str], cache: Path) -> None:
        config = Config.load_from_default_locations("rattler")
        self.channels = [_channel(name) for name in channels]
        self.platforms = [Subdir.current(), Subdir("noarch")]
        self.client = Client.from_config(config)
        self.gateway = Gateway.from_config(config, cache_dir=cache / "repodata", client=self.client)
        self.packages = cache / "pkgs"

    async def solution(self, specs: Sequence[MatchSpec]) -> list[RepoDataRecord]:
        """The packages to install. The first channel that has a package serves it, as long as that leads anywhere."""
        try:
            return await self._solved(specs, ChannelPriority.Strict)
        except SolverError:
            if len(self.channels) < 2:
                raise
            say("no solution while each package comes from the first channel that has it; taking any channel's")
            return await self._solved(specs, ChannelPriority.Disabled)

    async def versions(self, name: str) -> list[str]:
        """Every version of a package that the channels have, the newest first."""
        found = await self.gateway.query(self.channels, self.platforms, [MatchSpec(name)], recursive=False)
        versions = {record.version for records in found for record in records}
        return [str(version) for version in sorted(versions, reverse=True)]

    async def names(self) -> list[str]:
        """Every package of the channels."""
        return [name.normalized for name in await self.gateway.names(self.channels, self.platforms)]

    async def _solved(self, specs: Sequence[MatchSpec], priority: ChannelPriority) -> list[RepoDataRecord]:
        virtual = VirtualPackage.detect(VirtualPackageOverrides.from_env())
        return await solve(
            self.channels,
            specs,
            gateway=self.gateway,
            platforms=self.platforms,
            virtual_packages=virtual,
            channel_priority=priority,
        )


class _Reporter(InstallerReporter):
    """Says which packages are fetched."""

    def __init__(self) -> None:
        self._names: list[str] = []

    def on_populate_cache_start(self, operation: int, package_name: str) -> int:
        del operation
        self._names.append(package_name)
        return len(self._names) - 1

    def on_download_start(self, cache_entry: int) -> int:
        say(f"fetching {self._names[cache_entry]}")
        return cache_entry


def say(line: str) -> None:
    """One line of progress, at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def make(request: dict[str, Any]) -> None:
    """Solve, or follow the lock; install; write the lock's pip lines."""
    source = Source(request["channels"], Path(request["cache"]))
    specs = [_spec(text) for text in request["specs"]]
    if request["lock"]:
        records = _unlocked(request["lock"], Path(request["requirements"]))
    else:
        say(f"solving for {Subdir.current()}: {', '.join(request['specs'])}")
        try:
            records = await source.solution(specs)
        except SolverError as failed:
            await _explain_unsolvable(failed, specs, source)
    await _install(records, source, Path(request["prefix"]))


async def _install(records: list[RepoDataRecord], source: Source, prefix: Path) -> None:
    _check_local(records)
    size = sum(record.size or 0 for record in records)
    say(f"installing {len(records)} packages" + (f" ({size / 1e6:.1f} MB)" if size else ""))
    try:
        await install(
            records,
            prefix,
            cache_dir=source.packages,
            client=source.client,
            execute_link_scripts=True,
            reporter=_Reporter(),  # type: ignore[abstract]  # a Protocol with bodies: nothing is abstract at run time
        )
    except InstallerError as failed:
        raise _explained_installation(str(failed)) from failed
    for record in sorted(records, key=lambda one: one.name.normalized):
        say(f" + {record.name.normalized} {record.version} {record.build}")


def _check_local(records: Sequence[RepoDataRecord]) -> None:
    """Rattler compares the checksum of what it downloads, and not of a file that is there."""
    for record in records:
        if not record.url.startswith("file://"):
            continue
        file = Path(unquote(record.url.removeprefix("file://")))
        try:
            content = file.read_bytes()
        except OSError as failed:
            raise FailedError(
                f"the package {file} cannot be read: {failed.strerror}",
                "check the channel's folder, or make the lock anew",
            ) from failed
        name, wanted = ("sha256", record.sha256) if record.sha256 else ("md5", record.md5)
        if wanted is not None and hashlib.new(name, content, usedforsecurity=False).digest() != wanted:
            raise _explained_installation(f"checksum mismatch of {record.file_name}: it is not {wanted.hex()}")


# --- locks ------------------------------------------------------------------------------------------------------------


def _unlocked(text: str, requirements: Path) -> list[RepoDataRecord]:
    records, lines = locked(text)
    requirements.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return records


def locked(text: str) -> tuple[list[RepoDataRecord], list[str]]:
    """A lock's conda packages for this machine, and its pip packages as lines for pip."""
    return _explicit(text) if "@EXPLICIT" in text else _lock_file(text)


def _explicit(text: str) -> tuple[list[RepoDataRecord], list[str]]:
    lines = [line.strip() for line in text.splitlines()]
    entries = [line for line in lines if line and not line.startswith(("#", "@"))]
    return [_record(entry) for entry in entries], []


def _record(entry: str) -> RepoDataRecord:
    url, _, stated = entry.partition("#")
    channel, subdir, file = url.rsplit("/", 2) if url.count("/") > 3 else ("", "", url)
    found = _ARCHIVE.fullmatch(unquote(file))
    checksum = _HASH.fullmatch(stated.strip())
    if found is None or (stated and checksum is None):
        raise FailedError(
            f"the lock file's line {entry!r} is no address of a conda package",
            "write the lock with: conda list --explicit --md5, or conda-lock",
        )
    _check_platform(subdir)
    record = PackageRecord(found["name"], found["version"], BuildString(found["build"]), 0, subdir, None, None)
    if checksum and checksum["sha256"]:
        record.sha256 = bytes.fromhex(checksum["sha256"])
    elif checksum:
        record.md5 = bytes.fromhex(checksum["md5"])
    return RepoDataRecord(record, unquote(file), url, channel)


def _check_platform(subdir: str) -> None:
    if subdir not in {"noarch", str(Subdir.current())}:
        raise _wrong_platform([subdir])


def _wrong_platform(platforms: Sequence[str]) -> FailedError:
    return FailedError(
        f"the lock file is for {', '.join(platforms)}, and this machine is {Subdir.current()}",
        f"make a lock for {Subdir.current()} too, or run where its platform is",
    )


def _lock_file(text: str) -> tuple[list[RepoDataRecord], list[str]]:
    with tempfile.NamedTemporaryFile("w", suffix=".lock", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        try:
            lock = LockFile.from_path(Path(file.name))
        except ParseCondaLockError as failed:
            raise FailedError(
                f"the lock file cannot be read: {failed}", "make it again with conda-lock or pixi"
            ) from failed
    environment = lock.environment("default") or next((found for _, found in lock.environments()), None)
    platforms = environment.platforms() if environment else []
    own = next((platform for platform in platforms if platform.name == str(Subdir.current())), None)
    if environment is None or own is None:
        raise _wrong_platform([platform.name for platform in platforms] or ["no platform"])
    records = environment.conda_repodata_records_for_platform(own) or []
    return list(records), [_requirement(package) for package in environment.pypi_packages_for_platform(own) or []]


def _requirement(package: Any) -> str:
    location = f"file://{package.location}" if package.location.startswith("/") else package.location
    if not re.match(r"[a-z+]+://", location):
        raise FailedError(
            f"the lock file takes the package {package.name!r} from the folder {package.location!r}, which is not here",
            "install that package from the job's code, or give it an address",
        )
    checksum = _checksum(package)
    return f"{package.name} @ {location}" + (f" --hash=sha256:{checksum}" if checksum else "")


def _checksum(package: Any) -> str | None:
    try:
        return package.hashes.sha256.hex() if package.hashes.sha256 else None
    except AttributeError:  # how rattler answers for a package without any
        return None


# --- what went wrong --------------------------------------------------------------------------------------------------


async def _explain_unsolvable(failed: SolverError, specs: Sequence[MatchSpec], source: Source) -> None:
    for spec in specs:
        name = spec.name.normalized
        if name.startswith("__"):
            continue
        versions = await source.versions(name)
        if not versions:
            near = get_close_matches(name, await source.names(), _NEAREST)
            raise FailedError(
                f"the package {name!r} was not found in {_shown(source.channels)}",
                f"did you mean {' or '.join(near)}?" if near else "check its spelling, and the conda file's channels",
            ) from failed
    text = str(failed).removeprefix("Cannot solve the request because of: ").strip()
    say(text)
    for spec in specs:
        if re.search(rf"No candidates were found for {re.escape(spec.name.normalized)} ", text):
            versions = await source.versions(spec.name.normalized)
            more = ", ..." if len(versions) > _VERSIONS_SHOWN else ""
            raise FailedError(
                f"there is no {spec} in {_shown(source.channels)}",
                f"versions there: {', '.join(versions[:_VERSIONS_SHOWN])}{more}",
            ) from failed
    driver = "; to build for a machine with a GPU driver, set CONDA_OVERRIDE_CUDA=12.0" if "__cuda" in text else ""
    raise FailedError(
        "no set of conda packages satisfies the environment",
        f"loosen the versions that the build log names, or add a channel{driver}",
    ) from failed


def _explained_installation(text: str) -> FailedError:
    say(text)
    first = text.splitlines()[0]
    if "os error 28" in text or "No space left" in text:
        return FailedError("the environment could not be built: the disk is full", "free some space and submit again")
    if "hash mismatch" in text.lower() or "checksum" in text.lower():
        return FailedError(
            f"a package is not the one that was asked for: {first}",
            "its file was changed or damaged: check the channel, or make the lock file again",
        )
    return FailedError(
        f"the packages could not be installed: {first}", "check the network and the channel, then submit again"
    )


def _explained_channel(failed: GatewayError) -> FailedError:
    say(str(failed))
    address = re.search(r"(?:https?|file|s3|oci)://[^\s')]+", str(failed))
    named = re.sub(r"(?:/(?:noarch|[a-z]+-[a-z0-9_]+)/[^/]*)?/?$", "", address[0]) if address else "a channel"
    return FailedError(
        f"the channel {named} could not be read",
        "check its name in the conda file, the network and the proxy, then submit again",
    )


def _shown(channels: Sequence[Channel]) -> str:
    return ", ".join(channel.name or channel.base_url for channel in channels) or "no channel"


def _channel(name: str) -> Channel:
    try:
        return Channel(name)
    except InvalidChannelError as failed:
        raise FailedError(
            f"the conda file's channel {name!r} cannot be read: {failed}", "write its name, address or folder"
        ) from failed


def _spec(text: str) -> MatchSpec:
    try:
        return MatchSpec(text, strict=False)
    except InvalidMatchSpecError as failed:
        raise FailedError(
            f"the conda file's dependency {text!r} cannot be read: {failed}",
            "write it like numpy=1.26, numpy>=1.2,<2 or conda-forge::numpy",
        ) from failed


def main() -> int:
    """Make what standard input asks for."""
    try:
        asyncio.run(make(json.load(sys.stdin)))
    except FailedError as failed:
        error, hint = str(failed), failed.hint
    except GatewayError as failed:
        explained = _explained_channel(failed)
        error, hint = str(explained), explained.hint
    except OSError as failed:
        error, hint = f"the environment could not be written: {failed}", "free some space, or check the permissions"
    except Exception as failed:  # noqa: BLE001  # rattler has many, and its words are better than a traceback
        error, hint = f"the conda environment could not be built: {failed}", "read the build log's last lines"
    else:
        return 0
    say(f"error: {' '.join(error.split())}")
    say(f"hint: {' '.join(hint.split())}")
    return 1


if __name__ == "__main__":
    # at once: rattler's threads may still hold the reporter, and crash when they drop it in an interpreter that ends
    os._exit(main())
