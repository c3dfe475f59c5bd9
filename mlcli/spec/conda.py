"""A conda environment file, read into the job: its text parsed, the paths that its lines name made absolute. A pip
requirements file and a lock file, which people name in its place, are recognised by what they hold.
"""

from __future__ import annotations

import os.path
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlcli.domain.errors import InvalidSpecError
from mlcli.ports.files import FileReader
from mlcli.spec.load import Document, load
from mlcli.spec.requirements import requirement_lines

_OPTION_WITH_PATH = re.compile(
    r"(?P<option>-[rce]|--requirement|--constraint|--editable|-f|--find-links)(?P<gap>\s*=?\s*)(?P<path>\S.*)"
)
_DIRECT_PATH = re.compile(r"\.{0,2}/|\.$|[^;@\s]+\.(whl|tar\.gz|zip)$")
# compiled when they are met: a conda file in the job itself needs neither
_EXPLICIT = r"^\s*@EXPLICIT\s*$"
_TOP_KEY = r"^([A-Za-z_]+)[ \t]*:(?:\s|$)"
_REQUIREMENTS = frozenset({".txt", ".in", ".pip"})
_YAML = frozenset({".yml", ".yaml", ".json"})
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")


@dataclass(frozen=True)
class CondaFile:
    """What a conda file turned out to be: a conda environment (parsed), or a lock (its text)."""

    conda: Mapping[str, Any] | None = None
    lock: str | None = None


def read_conda(path: Path, shown: str, reader: FileReader) -> CondaFile:
    """The conda file at ``path``, which errors call ``shown``.

    Raises InvalidSpecError with file, line and column of what is wrong in it; OSError and UnicodeDecodeError as the
    reader does.
    """
    return conda_text(reader.read_text(path).removeprefix("\ufeff"), shown, path.parent)


def conda_text(text: str, shown: str, folder: Path) -> CondaFile:
    """The same of a text; ``folder``: where its relative paths start. Raises InvalidSpecError."""
    if is_lock(text):
        return CondaFile(lock=text)
    if _is_requirements(text, shown):
        lines = list(requirement_lines(text))
        return CondaFile(with_absolute_paths({"dependencies": [{"pip": lines}]}, folder))
    document = load(text, shown)
    dependencies = document.tree.get("dependencies")
    if not isinstance(dependencies, list):
        raise InvalidSpecError((_no_dependencies(document),))
    found = tuple(_wrong_entries(document, dependencies))
    if found:
        raise InvalidSpecError(found)
    return CondaFile(with_absolute_paths(document.tree, folder))


def is_lock(text: str) -> bool:
    """Whether it is a lock file: conda's explicit list, conda-lock's or pixi's. Decided from its top-level keys alone, as
    lock files are long.
    """
    if re.search(_EXPLICIT, text, re.MULTILINE):
        return True
    keys = set(re.findall(_TOP_KEY, text, re.MULTILINE))
    return "version" in keys and bool({"package", "packages"} & keys) and "dependencies" not in keys


def _is_requirements(text: str, shown: str) -> bool:
    keys = re.findall(_TOP_KEY, text, re.MULTILINE)
    if "dependencies" in keys:
        return False
    suffix = os.path.splitext(shown)[1].lower()  # noqa: PTH122  (a name, not a file)
    return suffix in _REQUIREMENTS or (suffix not in _YAML and not keys and any(requirement_lines(text)))


def with_absolute_paths(conda: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The same environment with the relative paths of its pip lines (``-r requirements.txt``, ``./package``) and of its
    channels (``./channel``) taken from ``folder``, because nobody knows later where the file stood.
    """
    dependencies = conda.get("dependencies")
    entries = [
        {**entry, "pip": [_absolute(line, folder) for line in entry["pip"]]}
        if isinstance(entry, dict) and isinstance(entry.get("pip"), list)
        else entry
        for entry in (dependencies if isinstance(dependencies, list) else ())
    ]
    made = {**conda, "dependencies": entries}
    channels = conda.get("channels")
    if isinstance(channels, list):
        made["channels"] = [_absolute_channel(channel, folder) for channel in channels]
    return made


def _no_dependencies(document: Document) -> Any:
    message = "a conda file lists its packages under 'dependencies'"
    at = ("dependencies",) if "dependencies" in document.tree else ()
    return document.diagnose(at, "wrong-type", message, hint="write: dependencies: [python=3.11, pip: [...]]")


def _wrong_entries(document: Document, dependencies: list[Any]) -> Any:
    for index, entry in enumerate(dependencies):
        path = ("dependencies", index)
        if isinstance(entry, dict):
            if set(entry) != {"pip"}:
                hint = "write: - pip: [package, ...]"
                yield document.diagnose(path, "unknown-key", "only 'pip' may stand among the packages", hint=hint)
            elif not isinstance(entry["pip"], (list, type(None))):
                yield document.diagnose((*path, "pip"), "wrong-type", "'pip' is a list of packages, one an item")
        elif not isinstance(entry, str):
            hint = "write it as text, in quotes where YAML reads a number"
            yield document.diagnose(path, "wrong-type", "this is not the name of a package", hint=hint)


def _absolute(line: Any, folder: Path) -> Any:
    if not isinstance(line, str):
        return line
    text = line.strip()
    option = _OPTION_WITH_PATH.fullmatch(text)
    if option is not None:
        path = option["path"]
        if _ADDRESS.match(path) or os.path.isabs(path):  # noqa: PTH117  (text, not a file)
            return line
        return f"{option['option']} {_joined(folder, path)}"
    return str(_joined(folder, text)) if _DIRECT_PATH.match(text) and not text.startswith("/") else line


def _absolute_channel(channel: Any, folder: Path) -> Any:
    """A channel is a path when it looks like one: ``conda-forge/label/dev`` is a name."""
    path = channel.removeprefix("file:") if isinstance(channel, str) else ""
    return _joined(folder, path) if path.startswith(("./", "../")) or path in {".", ".."} else channel


def _joined(folder: Path, path: str) -> str:
    return os.path.normpath(folder / path)
