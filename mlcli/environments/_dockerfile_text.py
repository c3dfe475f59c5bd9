"""A Dockerfile's text: its instructions and the images that it starts from. Pure.

Only what mlcli must know before the engine reads the file; the engine is the judge of the rest.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

_VARIABLE = re.compile(r"\$(?:\{(?P<braced>\w+)(?::(?P<sign>[-+])(?P<word>[^}]*))?\}|(?P<plain>\w+))")
_COPIED = re.compile(r"^(?:--\S+\s+)*--from=(\S+)")
_ESCAPE = re.compile(r"#\s*escape\s*=\s*([\\`])\s*$", re.IGNORECASE)

_DIRECTIVE = re.compile(r"#\s*(syntax|escape|check)\s*=", re.IGNORECASE)


@dataclass(frozen=True)
class Instruction:
    """One instruction: the line that it starts at (from 1), its keyword in capitals, and the rest on one line."""

    line: int
    keyword: str
    rest: str


def instructions(text: str) -> tuple[Instruction, ...]:
    """Every instruction, in order: the engine counts its steps so. Comments inside a continued line are no part of it."""
    return tuple(_instructions(text))


def without_comments(text: str) -> str:
    """What the engine acts on. A file with here-documents is left as it is: what looks like a comment there is none."""
    if "<<" in text:
        return text
    lines = (line.rstrip() for line in text.splitlines())
    return "\n".join(line for line in lines if line and (line.lstrip()[0] != "#" or _DIRECTIVE.match(line.lstrip())))


def bases(text: str, arguments: Mapping[str, str]) -> tuple[str, ...]:
    """The images that the file takes from elsewhere (``FROM``, ``COPY --from``), each once, arguments filled in.

    ``arguments``: the build arguments; only those that the file declares before its first FROM count there.
    """
    known: dict[str, str] = {}
    stages: set[str] = set()
    found: dict[str, None] = {}
    for instruction in instructions(text):
        if instruction.keyword == "ARG" and not stages:
            name, _, default = instruction.rest.partition("=")
            known[name.strip()] = arguments.get(name.strip(), default.strip().strip("'\""))
        elif instruction.keyword == "FROM":
            words = [word for word in instruction.rest.split() if not word.startswith("--")]
            image = _filled(words[0], known) if words else ""
            if image and image.lower() not in {*stages, "scratch"}:
                found[image] = None
            stages.add(words[2].lower() if len(words) > 2 and words[1].lower() == "as" else f"stage {len(stages)}")
        elif instruction.keyword == "COPY":
            found |= {image: None for image in _COPIED.findall(instruction.rest) if not _is_stage(image, stages)}
    return tuple(found)


def _instructions(text: str) -> Iterator[Instruction]:
    lines = text.removeprefix("\N{BYTE ORDER MARK}").splitlines()
    escape = "\\"
    for line in lines:  # parser directives stand before everything else
        if not line.lstrip().startswith("#"):
            break
        if directive := _ESCAPE.match(line.strip()):
            escape = directive[1]
    start, words = 0, ""
    for number, line in enumerate(lines, 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        start = start or number
        if stripped.endswith(escape):
            words += stripped[: -len(escape)].rstrip() + " "
            continue
        yield _instruction(start, words + stripped)
        start, words = 0, ""
    if words:
        yield _instruction(start, words)


def _is_stage(name: str, stages: Collection[str]) -> bool:
    return name.isdigit() or name.lower() in stages


def _instruction(line: int, words: str) -> Instruction:
    keyword, _, rest = words.strip().partition(" ")
    return Instruction(line, keyword.upper(), rest.strip())


def _filled(word: str, known: Mapping[str, str]) -> str:
    def value(found: re.Match[str]) -> str:
        is_set = known.get(found["braced"] or found["plain"], "")
        if found["sign"] == "-":
            return is_set or found["word"]
        return (found["word"] if is_set else "") if found["sign"] == "+" else is_set

    return _VARIABLE.sub(value, word.strip("'\""))
