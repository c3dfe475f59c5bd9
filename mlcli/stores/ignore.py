r"""Which files of a code folder stay out of its snapshot: the rules of ``.gitignore`` and ``.amlignore``.

Source: gitignore(5) and git's wildmatch, which the tests compare with. What a line means is asked of pathspec; which line
decides is settled here. The rules are asked of one entry at a time, from the top of the tree down, and nothing below an
ignored folder is looked at, as git does. (By pathspec alone a line speaks of all that is below what it names, so that
``build/`` followed by ``!keep/`` would take ``keep/build/`` in.) Git works on bytes, and so does this.

Pathspec reads some lines otherwise than git, and is given these in words that mean the same to both: brackets
(``[[:alpha:]]``, ``[a\]]``, ``[!a]`` at a slash, ``[z-a]``), three stars, ``a/**/``, ``a\/b``, and blanks other than
spaces at the end (in UTF-8 an ``à`` ends in one). A line that git takes as malformed matches nothing. One form differs:
in ``x**/y`` two stars after plain text are one star, as gitignore(5) has it; git 2.39 lets them span folders.

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
_MEMBER = re.compile(rb"\[:(?P<named>[^]]*):\]|\\?(?P<low>.)(?:-(?!\])\\?(?P<high>.))?", re.DOTALL)
_PIECE = re.compile(
    rb"(?P<bracket>\[)|\\?(?P<blank>[\s\x1c-\x1f\x85\xa0])|(?P<some>(?<![^/])\*\*+\\/)|(?P<stars>\*\*+)|(?P<slash>\\/)|\\?.",
    re.DOTALL,
)
# How pathspec is told each piece of a pattern. It strips blanks, and splits at every slash.
_SPELLING = {"blank": rb"[\g<blank>]", "some": b"**/*/", "stars": b"**", "slash": b"/", None: rb"\g<0>"}

# Pathspec's expressions match what is below an entry too. Where they mark the slash of a folder they must end where the
# path ends; those without the mark (``a/**``) are of what is below alone, and must not end with the folder's own slash.
_FOLDER_MARK = b"(?P<ps_d>"
_OF_ITSELF = rb"\Z"
_BELOW = rb"(?!(?<=/)\Z)"


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
        return bool(self._verdict(path + b"/" if is_folder else path))

    def _verdict(self, path: bytes) -> bool | None:
        inside = path[len(self.base) :]
        for rule in self._last_first:
            if rule.regex.search(inside) is not None:
                return rule.ignored
        return None if self.outer is None else self.outer._verdict(path)  # noqa: SLF001

    @cached_property
    def _last_first(self) -> list[Rule]:
        return parse(self.text)[::-1]


@dataclass(frozen=True)
class Rule:
    """One line of an ignore file: what to search for in an entry's path, and whether an entry that has it is ignored.

    The path is relative to the file's folder; that of a folder ends in a slash.
    """

    regex: re.Pattern[bytes]
    ignored: bool


def add_file(outer: Rules | None, base: bytes, text: bytes) -> Rules:
    """The rules of a folder that has an ignore file, below others."""
    import hashlib

    above = "" if outer is None else outer.key
    return Rules(text, base, outer, hashlib.sha256(b"\0".join((above.encode(), base, text))).hexdigest())


def parse(text: bytes) -> list[Rule]:
    """The rules of an ignore file, in its order. Lines that can match nothing are left out."""
    return [rule for line in text.removeprefix(b"\xef\xbb\xbf").split(b"\n") if (rule := _rule(line)) is not None]


def _rule(line: bytes) -> Rule | None:
    from pathspec.patterns.gitignore import GitIgnorePatternError
    from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

    text = _for_pathspec(_without_trailing_spaces(line.removesuffix(b"\r")))
    if text is None:
        return None
    try:
        regex, ignored = GitIgnoreSpecPattern.pattern_to_regex(text)
    except GitIgnorePatternError:
        return None
    if regex is None or ignored is None:
        return None
    ending = _OF_ITSELF if _FOLDER_MARK in regex else _BELOW
    return Rule(re.compile(b"(?:" + regex + b")" + ending, re.DOTALL), ignored)


def _without_trailing_spaces(line: bytes) -> bytes:
    """Spaces at the end do not count unless a backslash stands before them."""
    end = position = 0
    while position < len(line):
        escaped = line[position : position + 1] == b"\\"
        position += 2 if escaped else 1
        if escaped or line[position - 1 : position] != b" ":
            end = min(position, len(line))
    return line[:end]


def _for_pathspec(line: bytes) -> bytes | None:
    """A line in words that mean to pathspec what the line means to git; None for one that matches nothing."""
    negated = line.startswith(b"!")
    pattern = line.removeprefix(b"!")
    body = pattern.removesuffix(b"/")
    if not body or line.startswith(b"#"):
        return None
    text = _respell(body.removeprefix(b"/"))
    if text is None:
        return None
    if b"/" in body:  # anchored, even if the slash is in a bracket
        text = b"/" + text
    if body != pattern:
        text += b"/*/" if text.endswith(b"/**") else b"/"
    return b"!" + text if negated else text


def _respell(pattern: bytes) -> bytes | None:
    parts: list[bytes] = []
    position = 0
    while (piece := _PIECE.match(pattern, position)) is not None:
        if piece.lastgroup == "bracket":
            found = _bracket(pattern, piece.end())
            if found is None:
                return None
            part, position = found
        else:
            part, position = piece.expand(_SPELLING[piece.lastgroup]), piece.end()
        parts.append(part)
    return b"".join(parts)


def _bracket(pattern: bytes, start: int) -> tuple[bytes, int] | None:
    """``[...]`` from after its bracket: all that it matches, never a slash, and where it ends. None when it is malformed."""
    negated = pattern[start : start + 1] in {b"!", b"^"}
    position = first = start + negated
    members: set[int] = set()
    while position == first or pattern[position : position + 1] != b"]":
        member = _MEMBER.match(pattern, position)
        if member is None or (member["named"] is not None and member["named"] not in _CLASSES):
            return None
        if member["named"] is not None:
            members.update(_CLASSES[member["named"]].encode())
        else:  # the first of a range counts even where the range is backwards
            members.update(member["low"], range(ord(member["low"]), ord(member["high"] or b"\0") + 1))
        position = member.end()
    return _spelled_out((set(range(256)) - members if negated else members) - {ord("/")}), position + 1


def _spelled_out(members: set[int]) -> bytes:
    """A bracket of these bytes. ``]`` must come first and ``-`` last; else a NUL, which no name has, keeps ``!`` from it."""
    ends = b"]", b"-"
    head, tail = (end if ord(end) in members else b"" for end in ends)
    middle = bytes(sorted(members - set(b"".join(ends))))
    return b"[" + (head or b"\0") + middle + tail + b"]"


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
