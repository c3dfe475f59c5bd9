"""Which files of a code folder stay out of its snapshot: the rules of ``.gitignore`` and ``.amlignore``.

Source: gitignore(5) and git's wildmatch, which the tests compare with. The rules are asked of one entry at a time, from
the top of the tree down, and nothing below an ignored folder is looked at, as git does. The pathspec package is not
used: it matches a path by its parents too, so that ``build/`` followed by ``!keep/`` would take ``keep/build/`` in, and
it knows no ``[[:alpha:]]``. Git works on bytes, and so does this.

Azure ML (SDK v2, ``_asset_utils.py``) reads the ignore file of the source folder alone, and a ``.amlignore`` there wins
over ``.gitignore`` outright. Here too it replaces every ``.gitignore``; without it all of them count, those between the
source folder and the root of its git repository included.
"""

from __future__ import annotations

import os
import re
import string
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GIT_IGNORE = ".gitignore"
AML_IGNORE = ".amlignore"
_CLASSES = {
    b"alnum": string.ascii_letters + string.digits,
    b"alpha": string.ascii_letters,
    b"blank": " \t",
    b"cntrl": "".join(map(chr, [*range(32), 127])),
    b"digit": string.digits,
    b"graph": "".join(map(chr, range(33, 127))),
    b"lower": string.ascii_lowercase,
    b"print": "".join(map(chr, range(32, 127))),
    b"punct": string.punctuation,
    b"space": string.whitespace,
    b"upper": string.ascii_uppercase,
    b"xdigit": string.hexdigits,
}


@dataclass(frozen=True)
class Rules:
    """The rules in force in one folder: those of its own ignore file, then those of the folders above.

    ``text``: the ignore file's bytes; ``base``: its folder, relative to the outermost folder that has a say (empty or
    ending in a slash); ``key``: names the rules, so that the same key means the same verdicts.
    """

    text: bytes
    base: bytes
    outer: Rules | None
    key: str

    def ignores(self, path: bytes, *, is_folder: bool) -> bool:
        """Whether an entry is ignored: the innermost file that speaks of it decides, and in it the last line.

        ``path``: relative to the outermost folder. The folders above it are taken not to be ignored.
        """
        verdict = self._verdict(path, is_folder=is_folder)
        return bool(verdict)

    def _verdict(self, path: bytes, *, is_folder: bool) -> bool | None:
        regex, negated = self._for_folders if is_folder else self._for_files
        found = regex.fullmatch(path, len(self.base)) if regex is not None else None
        if found is not None and found.lastindex is not None:
            return not negated[found.lastindex - 1]
        return None if self.outer is None else self.outer._verdict(path, is_folder=is_folder)  # noqa: SLF001

    @cached_property
    def _for_folders(self) -> tuple[re.Pattern[bytes] | None, list[bool]]:
        return _compiled(parse(self.text))

    @cached_property
    def _for_files(self) -> tuple[re.Pattern[bytes] | None, list[bool]]:
        return _compiled([rule for rule in parse(self.text) if not rule.folders_only])


@dataclass(frozen=True)
class Rule:
    """One line of an ignore file: a regular expression of paths relative to the file's folder, and what it does."""

    regex: bytes
    negated: bool = False
    folders_only: bool = False


def add_file(outer: Rules | None, base: bytes, text: bytes) -> Rules:
    """The rules of a folder that has an ignore file, below others."""
    import hashlib

    above = "" if outer is None else outer.key
    return Rules(text, base, outer, hashlib.sha256(b"\0".join((above.encode(), base, text))).hexdigest())


def parse(text: bytes) -> list[Rule]:
    """The rules of an ignore file, in its order. Lines that can match nothing are left out."""
    return [rule for line in text.removeprefix(b"\xef\xbb\xbf").split(b"\n") if (rule := _rule(line)) is not None]


def _rule(line: bytes) -> Rule | None:
    line = line.removesuffix(b"\r")
    if line.startswith(b"#"):
        return None
    line = _without_trailing_spaces(line)
    negated = line.startswith(b"!")
    pattern = line[1:] if negated else line
    folders_only = pattern.endswith(b"/")
    pattern = pattern[:-1] if folders_only else pattern
    if not pattern:
        return None
    anchored = b"/" in pattern
    regex = to_regex(pattern.removeprefix(b"/"))
    if regex is None:
        return None
    return Rule(regex if anchored else b"(?:.*/)?" + regex, negated, folders_only)


def _without_trailing_spaces(line: bytes) -> bytes:
    """Spaces at the end do not count unless a backslash stands before them."""
    end = position = 0
    while position < len(line):
        escaped = line[position : position + 1] == b"\\"
        position += 2 if escaped else 1
        if escaped or line[position - 1 : position] != b" ":
            end = min(position, len(line))
    return line[:end]


def to_regex(pattern: bytes) -> bytes | None:
    """A wildmatch pattern as a regular expression for ``fullmatch``; None for one that matches nothing."""
    parts: list[bytes] = []
    position = 0
    while position < len(pattern):
        one = pattern[position : position + 1]
        if one == b"*":
            part, position = _stars(pattern, position)
        elif one == b"?":
            part, position = b"[^/]", position + 1
        elif one == b"[":
            found = _bracket(pattern, position + 1)
            if found is None:
                return None
            part, position = found
        elif one == b"\\":
            if position + 1 == len(pattern):
                return None
            part, position = re.escape(pattern[position + 1 : position + 2]), position + 2
        else:
            part, position = re.escape(one), position + 1
        parts.append(part)
    return b"".join(parts)


def _stars(pattern: bytes, start: int) -> tuple[bytes, int]:
    """``*`` stays within a name; ``**`` that fills a whole part of the path spans any number of folders."""
    end = start
    while pattern[end : end + 1] == b"*":
        end += 1
    after = pattern[end : end + 1]
    whole_part = end - start > 1 and (start == 0 or pattern[start - 1 : start] == b"/") and after in {b"", b"/"}
    if not whole_part:
        return b"[^/]*", end
    return (b".*", end) if after == b"" else (b"(?:.*/)?", end + 1)


def _bracket(pattern: bytes, start: int) -> tuple[bytes, int] | None:
    """``[...]`` from after its bracket: a class that never matches a slash, and where it ends. None when it is malformed."""
    position = start
    negated = pattern[position : position + 1] in {b"!", b"^"}
    position += negated
    members: set[int] = set()
    previous: int | None = None
    first = True
    while first or pattern[position : position + 1] != b"]":
        first = False
        item = _bracket_item(pattern, position, previous)
        if item is None:
            return None
        found, previous, position = item
        members |= found
    allowed = (set(range(256)) - members if negated else members) - {ord("/")}
    if not allowed:
        return b"(?!)", position + 1
    return b"[" + b"".join(b"\\x%02x" % code for code in sorted(allowed)) + b"]", position + 1


def _bracket_item(pattern: bytes, position: int, previous: int | None) -> tuple[set[int], int | None, int] | None:
    """One member of a bracket: the bytes it adds, the byte that a range may start from, and what comes next."""
    if position >= len(pattern):
        return None
    if pattern[position] == ord("\\"):
        position += 1
        return None if position >= len(pattern) else ({pattern[position]}, pattern[position], position + 1)
    after = pattern[position + 1 : position + 2]
    if pattern[position] == ord("-") and previous is not None and after not in {b"", b"]"}:
        position += 2 if after == b"\\" else 1
        return None if position >= len(pattern) else (set(range(previous, pattern[position] + 1)), None, position + 1)
    if pattern[position : position + 2] == b"[:":
        end = pattern.find(b"]", position + 2)
        if end < 0:
            return None
        if pattern[end - 1 : end] == b":" and end - 1 >= position + 2:
            known = _CLASSES.get(pattern[position + 2 : end - 1])
            return None if known is None else (set(known.encode()), None, end + 1)
    return {pattern[position]}, pattern[position], position + 1


def _compiled(rules: list[Rule]) -> tuple[re.Pattern[bytes] | None, list[bool]]:
    """One expression that finds the last rule that matches: the rules backwards, each a group of its own."""
    if not rules:
        return None, []
    backwards = rules[::-1]
    regex = b"|".join(b"(" + rule.regex + b")" for rule in backwards)
    return re.compile(regex, re.DOTALL), [rule.negated for rule in backwards]


def rules_above(folder: Path) -> tuple[Rules | None, bytes]:
    """The rules that hold for a source folder before its own: those of the folders between it and its git root.

    Also the source folder's path relative to the git root (empty or ending in a slash): what to put before a path to ask
    them. Raises OSError for an ignore file that cannot be read.
    """
    root = git_root(folder)
    if root is None or root == folder:
        return None, b""
    rules: Rules | None = None
    for above in _between(root, folder):
        text = read_rules(above / GIT_IGNORE)
        if text is not None:
            rules = add_file(rules, _relative(above, root), text)
    return rules, _relative(folder, root)


def git_root(folder: Path) -> Path | None:
    """The nearest folder, this one or above it, that is the root of a git work tree."""
    return next((above for above in (folder, *folder.parents) if os.path.lexists(above / ".git")), None)


def read_rules(path: Path) -> bytes | None:
    """An ignore file's bytes; None where there is none. Like git, a symbolic link is not followed."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        if path.is_symlink():
            return None
        raise
    with open(descriptor, "rb") as file:  # noqa: PTH123
        return file.read() if path.is_file() else None


def _between(root: Path, folder: Path) -> Iterator[Path]:
    """The folders from ``root`` down to the one above ``folder``."""
    yield from [above for above in reversed(folder.parents) if above == root or root in above.parents]


def _relative(folder: Path, root: Path) -> bytes:
    relative = folder.relative_to(root)
    return b"" if relative == type(relative)() else os.fsencode(relative) + b"/"
