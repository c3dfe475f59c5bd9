"""A conda environment file, read into the job: its text parsed, the paths that its pip lines name made absolute."""

from __future__ import annotations

import os.path
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlcli.domain.errors import InvalidSpecError
from mlcli.ports.files import FileReader
from mlcli.spec.load import Document, load

_OPTION_WITH_PATH = re.compile(
    r"(?P<option>-[rce]|--requirement|--constraint|--editable|-f|--find-links)(?P<gap>\s*=?\s*)(?P<path>\S.*)"
)
_DIRECT_PATH = re.compile(r"\.{0,2}/|\.$|[^;@\s]+\.(whl|tar\.gz|zip)$")
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")


def read_conda(path: Path, shown: str, reader: FileReader) -> Mapping[str, Any]:
    """The conda file at ``path``, which errors call ``shown``.

    Raises InvalidSpecError with file, line and column of what is wrong in it; OSError and UnicodeDecodeError as the
    reader does.
    """
    document = load(reader.read_text(path), shown)
    dependencies = document.tree.get("dependencies")
    if not isinstance(dependencies, list):
        raise InvalidSpecError((_no_dependencies(document),))
    found = tuple(_wrong_entries(document, dependencies))
    if found:
        raise InvalidSpecError(found)
    return with_absolute_paths(document.tree, path.parent)


def with_absolute_paths(conda: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The same environment with the relative paths of its pip lines (``-r requirements.txt``, ``./package``) taken from
    ``folder``, because nobody knows later where the file stood.
    """
    dependencies = conda.get("dependencies")
    entries = [
        {**entry, "pip": [_absolute(line, folder) for line in entry["pip"]]}
        if isinstance(entry, dict) and isinstance(entry.get("pip"), list)
        else entry
        for entry in (dependencies if isinstance(dependencies, list) else ())
    ]
    return {**conda, "dependencies": entries}


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


def _joined(folder: Path, path: str) -> str:
    return os.path.normpath(folder / path)
