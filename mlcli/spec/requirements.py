"""pip's requirements files, taken apart: the lines that mean the same wherever they stand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from mlcli.domain.errors import MlcliError
from mlcli.ports.files import FileReader

_COMMENT = re.compile(r"(^|\s+)#.*$")
_NESTED = re.compile(r"(?:-r|--requirement)[\s=]*(?P<file>\S.*)")
_CREDENTIAL = re.compile(r"://[^/\s@]+@")
_LOCAL = re.compile(
    r"-e\s|--editable|-c\s|--constraint|(-f|--find-links)[\s=]+(?!https?:)|\.{0,2}/|[^\s;@]+\.whl$|file:"
)


def requirement_lines(text: str) -> Iterator[str]:
    """The lines that say something, continued ones joined, comments taken off."""
    for written in re.sub(r"\\\r?\n", "", text.removeprefix("\ufeff")).splitlines():
        line = _COMMENT.sub("", written).strip()
        if line:
            yield line


def flatten(path: Path, reader: FileReader) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The requirement lines of a file, those of the files that it names in their place; and the lines that must stay
    where they are: those that name local files, and those that hold a credential. ``path`` is absolute.

    Source: pip's documentation, "Requirements File Format". Raises MlcliError for a file that cannot be read or that
    names itself.
    """
    taken: list[str] = []
    left_out: list[str] = []
    for line in _lines(path, reader, ()):
        (left_out if _LOCAL.match(line) or _CREDENTIAL.search(line) else taken).append(line)
    return tuple(taken), tuple(left_out)


def _lines(path: Path, reader: FileReader, above: tuple[Path, ...]) -> Iterator[str]:
    if path in above:
        raise MlcliError(f"{path} includes itself")
    try:
        text = reader.read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        raise MlcliError(f"{path} cannot be read as text") from error
    for line in requirement_lines(text):
        nested = _NESTED.fullmatch(line)
        if nested:
            yield from _lines(path.parent / nested["file"].strip(), reader, (*above, path))
        else:
            yield line
