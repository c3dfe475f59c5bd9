"""The lines of a pip requirements file: options, packages, and what they name on this machine's disk."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mlcli.domain.errors import UnsupportedError
from mlcli.spec.requirements import requirement_lines

_REQUIREMENTS_OPTIONS = ("-r", "--requirement")
CONSTRAINT_OPTIONS = ("-c", "--constraint")
_EDITABLE_OPTIONS = ("-e", "--editable")
_LINKS_OPTIONS = ("-f", "--find-links")
_PATH_OPTIONS = (*_REQUIREMENTS_OPTIONS, *CONSTRAINT_OPTIONS, *_EDITABLE_OPTIONS, *_LINKS_OPTIONS)


def option_of(line: str) -> tuple[str, str]:
    """An option line's option and value (``--index-url=x``, ``-r x``, ``-rx``); of a requirement ('', line)."""
    if not line.startswith("-"):
        return "", line
    if not line.startswith("--") and len(line) > 2 and line[2] not in " =\t":
        return line[:2], line[2:].strip()
    option, _, value = re.sub(r"[=\s]+", " ", line, count=1).partition(" ")
    return option, value.strip().strip("'\"")


def local_path(line: str) -> str | None:
    """The file or folder that a line names, None when it names a package or something on the network."""
    option, value = option_of(line)
    if option and option not in _PATH_OPTIONS:
        return None
    if not option:
        _, at, direct = value.partition(" @ ")
        value = direct.strip() if at else value
        if (
            not at
            and not value.startswith((".", "/", "~", "file:"))
            and not re.match(r"[^;@\s]*/|\S+\.(whl|tar\.gz|zip)(\s|$)", value)
        ):
            return None
    value = value.partition(";")[0].strip().removeprefix("file://").removeprefix("file:")
    value = re.sub(r"\[[^\]]*\]$", "", value)
    # an address, or a variable that uv fills in when it installs
    return None if re.match(r"[a-z][a-z0-9+.-]+:|\$\{", value, re.IGNORECASE) else value


def lines_of(file: Path) -> Iterator[str]:
    """The lines of a requirements file, their paths made absolute from its folder as pip does. Raises UnsupportedError."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as failed:
        raise UnsupportedError(
            f"the requirements file {file} cannot be read: {failed}", hint="check the path in the conda file"
        ) from failed
    for line in requirement_lines(text):
        path = local_path(line)
        yield line if path is None else line.replace(path, os.path.normpath(file.parent / Path(path).expanduser()))


def flat(lines: Iterable[str], above: tuple[Path, ...] = ()) -> Iterator[str]:
    """The same lines, those of the requirements files that they name in their place. Raises UnsupportedError for a file
    that cannot be read or that names itself.
    """
    for line in lines:
        path = local_path(line)
        if path is None or option_of(line)[0] not in _REQUIREMENTS_OPTIONS:
            yield line
            continue
        file = _file_of(path, line, above)
        yield from flat(lines_of(file), (*above, file))


def what_counts(lines: Iterable[str], *, copied: bool = False, above: tuple[Path, ...] = ()) -> list[Any]:
    """The lines by what they would install, wherever their files lie: JSON-like, equal while that is the same.

    ``copied``: editable projects are installed as they are now. Raises UnsupportedError for what is not there, and for a
    file that names itself.
    """
    return [_counted(line, copied=copied, above=above) for line in flat(lines, above)]


def _counted(line: str, *, copied: bool, above: tuple[Path, ...]) -> Any:
    path, option = local_path(line), option_of(line)[0]
    if path is None or option in _LINKS_OPTIONS or (option in _EDITABLE_OPTIONS and not copied):
        return line
    if option in CONSTRAINT_OPTIONS:
        file = _file_of(path, line, above)
        return ["constraints", what_counts(lines_of(file), copied=copied, above=(*above, file))]
    return [line.replace(path, Path(path).name), stamp(Path(path).expanduser())]


def _file_of(path: str, line: str, above: tuple[Path, ...]) -> Path:
    file = Path(path).expanduser()
    if file in above:
        raise UnsupportedError(f"the requirements file {file} names itself", hint=f"take {line!r} out of it")
    return file


def stamp(path: Path) -> str:
    """sha256 of a file, or of the names and contents of a project's files. Times do not count."""
    import hashlib

    try:
        if path.is_file():
            return hashlib.sha256(path.read_bytes()).hexdigest()
        whole = hashlib.sha256()
        for file in sorted(_sources(path)):
            content = hashlib.sha256(file.read_bytes()).hexdigest()
            whole.update(f"{file.relative_to(path)}\0{content}\0".encode("utf-8", "surrogateescape"))
    except OSError as failed:
        raise UnsupportedError(f"{path} cannot be read: {failed}", hint="check the path in the conda file") from failed
    if not path.is_dir():
        raise UnsupportedError(
            f"the conda file's pip section names {path}, which does not exist", hint="check the path"
        )
    return whole.hexdigest()


def _sources(folder: Path) -> Iterator[Path]:
    """Files of a Python project, without what building it leaves behind."""
    for here, folders, files in os.walk(folder):
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".")
            and name not in {"__pycache__", "build", "dist"}
            and not name.endswith(".egg-info")
        ]
        yield from (Path(here, name) for name in files if Path(here, name).is_file())
