"""What a conda file asks for, read as far as Python and pip can honour it. Pure, but for :func:`fingerprint`."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlcli.domain.errors import UnsupportedError
from mlcli.domain.redaction import masked
from mlcli.environments._pip_lines import local_path, option_of, what_counts
from mlcli.spec.requirements import requirement_lines

# what conda installs beside Python when a file names pip
PIPS_COMPANY = ("setuptools", "wheel")
_WITH_PKG_RESOURCES = "setuptools<81"
# of no effect in an environment that is made from nothing
_DROPPED = (
    "-U",
    "--upgrade",
    "--user",
    "--prefer-binary",
    "--no-cache-dir",
    "--force-reinstall",
    "--disable-pip-version-check",
)
_ENTRY = re.compile(r"(?:\S+::)?(?P<name>[A-Za-z0-9_][A-Za-z0-9_.-]*)\s*(?P<version>.*)", re.DOTALL)
# compiled when they are met: a file that is found built is read by every job
_BRACKET = r"\[.*version\s*=\s*['\"]?(?P<version>[^'\"\]]+)['\"]?.*\]"
_EXACT = r"(?P<operator>={0,2})\s*(?P<version>[0-9][0-9A-Za-z.!+_-]*?)(?P<any>\.?\*)?(?:=[^=]*|\s+[^<>=!~]*)?"
_RANGE = r"(?:\s*(?:>=|<=|>|<|!=|~=|==)\s*[0-9][0-9A-Za-z.]*(?:\.\*)?\s*)(?:,\s*(?:>=|<=|>|<|!=|~=|==)\s*[0-9][0-9A-Za-z.]*(?:\.\*)?\s*)*"


@dataclass(frozen=True)
class Definition:
    """A Python and what pip installs into it.

    ``python``: a version request as uv takes it (``3.10``, ``>=3.9,<3.12``). ``lines``: a pip requirements file, line by
    line, in the file's order. ``variables``: what conda would set when the environment is activated.
    """

    python: str
    lines: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def requirements_file(self) -> str:
        """The lines that uv takes in a requirements file."""
        return "".join(f"{line}\n" for line in self.lines if option_of(line)[0] not in {"--pre", "--trusted-host"})

    @property
    def prereleases(self) -> bool:
        """Whether pre-releases may be installed (pip's ``--pre``)."""
        return "--pre" in self.lines

    @property
    def trusted_hosts(self) -> tuple[str, ...]:
        """Hosts whose certificates are not checked (pip's ``--trusted-host``)."""
        return tuple(value for option, value in map(option_of, self.lines) if option == "--trusted-host")

    @property
    def names_index(self) -> bool:
        """Whether the lines replace the package index."""
        return any(option_of(line)[0] in {"-i", "--index-url", "--no-index"} for line in self.lines)


@dataclass(frozen=True)
class Parts:
    """A conda file taken apart: ``conda``: its packages as written; ``lines``: its pip section; ``variables``."""

    conda: tuple[str, ...]
    lines: tuple[str, ...]
    variables: Mapping[str, str]


def parts(conda: Mapping[str, Any]) -> Parts:
    """Take a parsed conda file apart. Raises UnsupportedError for a shape or a pip line that cannot be followed."""
    packages: list[str] = []
    lines: list[str] = []
    for entry in _entries(conda.get("dependencies")):
        if isinstance(entry, Mapping):
            lines += _pip_section(entry)
        else:
            packages.append(entry.strip())
    return Parts(tuple(packages), tuple(lines), _variables(conda.get("variables")))


def needs_conda(conda: Mapping[str, Any] | None, lock: str | None = None) -> bool:
    """Whether uv cannot make it: a lock, or any package beside Python and pip. Never raises."""
    dependencies = (conda or {}).get("dependencies")
    entries = dependencies if isinstance(dependencies, (list, tuple)) else ()
    found = (_ENTRY.fullmatch(entry.strip()) for entry in entries if isinstance(entry, str))
    return lock is not None or any(entry["name"].lower() not in {"python", "pip"} for entry in found if entry)


def definition(conda: Mapping[str, Any]) -> Definition:
    """Read a parsed conda file of Python and pip; channels, name and prefix have no meaning here.

    Raises UnsupportedError for a line that cannot be followed, and for a package that only conda can install.
    """
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    pip: list[str] = []
    asked = parts(conda)
    if needs_conda(conda):
        raise conda_is_missing(asked.conda)
    for entry in asked.conda:
        name, version = _parse(entry)
        if name == "python":
            python = python_request(version, entry) or python
        else:
            pip = [f"pip{requirement_version(version, entry)}", *PIPS_COMPANY]
    return Definition(python, (*asked.lines, *pip, *_needed_silently(asked.lines)), asked.variables)


def _needed_silently(lines: Sequence[str]) -> tuple[str, ...]:
    """What Azure ML's first packages import without asking for it, as conda's Python always had it beside itself."""
    names = [line.lower() for line in lines]
    of_v1 = any(name.startswith("azureml-") for name in names)
    return (_WITH_PKG_RESOURCES,) if of_v1 and not any(name.startswith("setuptools") for name in names) else ()


def fingerprint(wanted: Definition) -> str:
    """The cache key: sha256 of everything that decides what is installed, on this kind of machine.

    Neither names nor channels count. Files and folders that the lines name count by content.
    """
    import hashlib
    import json

    canonical = {
        "python": wanted.python,
        "lines": what_counts(wanted.lines),
        "platform": sys.platform,
        "machine": os.uname().machine,
    }
    return hashlib.sha256(json.dumps(canonical, sort_keys=True).encode()).hexdigest()


def python_request(version: str, entry: str) -> str | None:
    """Conda's version of Python as a request to uv, None when any will do.

    ``=3.10`` and ``=3.10.*`` are 3.10 of any patch level. So is ``==3.10``: nobody who writes it means 3.10.0.
    """
    version = _unwrapped(version)
    if not version:
        return None
    if exact := re.fullmatch(_EXACT, version):
        return exact["version"]
    if re.fullmatch(_RANGE, version):
        return version.replace(" ", "")
    raise _unreadable(entry)


def requirement_version(version: str, entry: str) -> str:
    """Conda's version constraint in pip's words: ``=21.2`` -> ``==21.2.*``, ``>=20,<22`` as it is, nothing -> nothing."""
    version = _unwrapped(version)
    if not version:
        return ""
    if exact := re.fullmatch(_EXACT, version):
        fuzzy = exact["any"] or exact["operator"] == "="
        return f"=={exact['version']}{'.*' if fuzzy else ''}"
    if re.fullmatch(_RANGE, version):
        return version.replace(" ", "")
    raise _unreadable(entry)


def _unwrapped(version: str) -> str:
    bracket = re.fullmatch(_BRACKET, version.strip()) if "[" in version else None
    version = (bracket["version"] if bracket else version).strip()
    return "" if version.lstrip("=") == "*" else version


def _parse(entry: str) -> tuple[str, str]:
    found = _ENTRY.fullmatch(entry.strip())
    if found is None:
        raise _unreadable(entry)
    return found["name"].lower(), found["version"]


def _entries(dependencies: Any) -> Iterator[str | Mapping[str, Any]]:
    if dependencies is None:
        return
    if not isinstance(dependencies, (list, tuple)):
        raise UnsupportedError(
            "the conda file's 'dependencies' is not a list", hint="write: dependencies: [python=3.11, pip: [...]]"
        )
    for entry in dependencies:
        if not isinstance(entry, (str, Mapping)):
            raise UnsupportedError(
                f"the conda file's dependency {entry!r} is neither a package nor a pip list",
                hint="write packages as text: python=3.11",
            )
        yield entry


def _pip_section(entry: Mapping[str, Any]) -> Iterator[str]:
    if set(entry) != {"pip"}:
        raise UnsupportedError(
            f"the conda file's dependencies hold {', '.join(map(str, entry))!r}, where only 'pip' may stand",
            hint="write: - pip: [package, ...]",
        )
    listed = entry["pip"]
    if not isinstance(listed, (list, tuple, type(None))):
        raise UnsupportedError(f"the conda file's 'pip' is {listed!r}, not a list", hint="write: - pip: [package, ...]")
    for item in listed or ():
        for line in requirement_lines(str(item)):
            if option_of(line)[0] not in _DROPPED:
                _check_path(line)
                yield line


def _check_path(line: str) -> None:
    """Refuse a path that depends on a folder nobody remembers: the conda file was read into the job."""
    path = local_path(line)
    if path is not None and not Path(path).is_absolute():
        raise UnsupportedError(
            f"the conda file's pip line {masked(line)!r} names a relative path",
            hint="give the absolute path, or list the packages themselves under 'pip:'",
        )


def _variables(variables: Any) -> dict[str, str]:
    return {str(name): str(value) for name, value in variables.items()} if isinstance(variables, Mapping) else {}


def conda_is_missing(packages: Iterable[str]) -> UnsupportedError:
    """To a person without py-rattler: which packages need it, and how to do without."""
    others = [package for package in packages if _parse(package)[0] not in {"python", "pip"}]
    moved = [f"    - {_as_requirement(package)}" for package in others]
    return UnsupportedError(
        f"the conda file asks conda for more than python and pip: {', '.join(others) or 'a lock file'}",
        hint="pip install 'mlcli[conda]', or move what the package index has under 'pip:', like this",
        details=("dependencies:", "- pip:", *moved),
    )


def _as_requirement(package: str) -> str:
    name, version = _parse(package)
    try:
        return name + requirement_version(version, package)
    except UnsupportedError:
        return name


def _unreadable(entry: str) -> UnsupportedError:
    return UnsupportedError(
        f"the conda file's dependency {entry!r} cannot be read",
        hint="write it like python=3.11, python>=3.9,<3.12 or pip=23.2",
    )
