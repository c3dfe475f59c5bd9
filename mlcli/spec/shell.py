"""Where in a shell text a value is to stand, and how it is written there so that it stays what it is.

The text is read as ``sh`` and ``bash`` read it: words, the three kinds of quotes, here-documents, comments, ``$(...)``,
backticks, ``${...}`` and arithmetic, nested in each other. A *hole* is a stretch of the text that a value will replace.
Every hole gets a :class:`Spot`, and :func:`fill` turns each value into the text that means exactly that value there: one
word, or the inside of the word or the line that the hole stands in. Where no such text exists, :class:`UnquotableError`
says why.

What a command does with its words afterwards (``eval``, ``sh -c``, ``[[ x -eq y ]]``) is the command's own. Source of the
rules: POSIX.1-2017, Shell Command Language 2.2-2.7 and 2.10; the bash manual for ``$'...'``, ``$[...]``, ``((...))`` and
brace expansion.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_SAFE = re.compile(r"[\w@%+=:,./-]+", re.ASCII)
_NUMBER = re.compile(r"[-+]?(0[xX][0-9a-fA-F]+|[0-9]+)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\[[^]]*\])?\+?=")
_OPERATOR = re.compile(r"-[A-Za-z]{1,2}|==?")
_SUBSCRIPT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\[[^]]*")
_TILDE = re.compile(r"(^|[=:])~[^/]*$")
_RESERVED = frozenset(
    "if then else elif fi do done case esac while until for in { } ! [[ ]] time function select coproc".split()  # noqa: SIM905
)
_BEFORE_A_COMMAND = frozenset({"if", "then", "else", "elif", "do", "while", "until", "!", "{", "time", "coproc"})
_ENDS_A_WORD = frozenset(" \t\n;&|<>()")
_WORD_ENDS = _ENDS_A_WORD | {""}
_DIGITS = frozenset("0123456789")
_SPECIAL_PARAMETERS = _DIGITS | frozenset("@*#?-$!")
_HOLE_MARK = "\0"


class Setting(Enum):
    """What kind of shell text a hole stands in."""

    BARE = "outside quotes"
    SINGLE = "in single quotes"
    DOUBLE = "in double quotes"
    ANSI = "in $'...'"
    HERE = "in a here-document"
    HERE_QUOTED = "in a here-document with a quoted delimiter"
    COMMENT = "in a comment"
    ARITHMETIC = "in arithmetic"
    EXPANSION = "in a ${...} expansion"
    AFTER_BACKSLASH = "after a backslash"
    AFTER_DOLLAR = "after a dollar sign"
    DELIMITER = "in the delimiter of a here-document"


class UnquotableError(ValueError):
    """A value that cannot be written at its place; the text says why and never holds the value. ``hole``: whose value,
    None when a line of several is meant.
    """

    hole: int | None = None


@dataclass(frozen=True)
class Spot:
    """Where one hole stands.

    ``before``: the text between the start of the word (or of ``$'``) and the hole, other holes as NUL.
    ``whole``: the hole is the whole word. ``redirects``: digits there would number a redirection (``2>file``).
    ``names``: a ``$NAME`` ends right before the hole, so that letters there would be read as part of the name.
    ``leads``: the word may be a command's name. ``backticks``: how many backtick substitutions stand around it.
    """

    setting: Setting
    before: str = ""
    whole: bool = False
    redirects: bool = False
    names: bool = False
    leads: bool = False
    backticks: int = 0


@dataclass(frozen=True)
class Hole:
    """A stretch of shell text that a value will replace."""

    number: int


Item = str | Hole


@dataclass(frozen=True)
class Line:
    """A line of a here-document that holds a hole: no value may make it end the document."""

    items: tuple[Item, ...]
    delimiter: str
    strip_tabs: bool
    nested: bool


@dataclass(frozen=True)
class Reading:
    """What reading a shell text found: a spot for each hole, in order, and the here-document lines to guard."""

    spots: tuple[Spot, ...]
    lines: tuple[Line, ...]


def read(text: str, holes: Sequence[tuple[int, int]]) -> Reading:
    """Read a shell text whose stretches ``holes`` ((start, end) offsets, ascending, apart) are to be replaced.

    Raises UnquotableError for a text that is nested too deeply to be read.
    """
    items: list[Item] = []
    at = 0
    for number, (start, end) in enumerate(holes):
        items.extend(text[at:start])
        items.append(Hole(number))
        at = end
    items.extend(text[at:])
    spots: dict[int, Spot] = {}
    lines: list[Line] = []
    try:
        _Reader(items, spots, lines).command(None)
    except RecursionError as error:
        raise UnquotableError("the command's quotes and substitutions are nested too deeply") from error
    return Reading(tuple(spots[number] for number in range(len(holes))), tuple(lines))


_read_before = lru_cache(maxsize=8)(read)  # the trials of a sweep have one command


def fill(text: str, holes: Sequence[tuple[int, int]], values: Sequence[str]) -> str:
    """The text with every hole replaced by its value, quoted for where it stands. Raises UnquotableError."""
    reading = _read_before(text, tuple(holes))
    inner = [_plain(number, spot, values[number]) for number, spot in enumerate(reading.spots)]
    for line in reading.lines:
        _guard(line, inner)
    parts, at = [], 0
    for (start, end), spot, replacement in zip(holes, reading.spots, inner, strict=True):
        parts.append(text[at:start])
        parts.append(_wrapped(replacement, spot.backticks))
        at = end
    parts.append(text[at:])
    return "".join(parts)


def _plain(number: int, spot: Spot, value: str) -> str:
    writer = _with_a_nul if "\0" in value else _WRITERS[spot.setting]
    try:
        return writer(spot, value)
    except UnquotableError as error:
        error.hole = number
        raise


def _wrapped(replacement: str, backticks: int) -> str:
    for _ in range(backticks):
        replacement = re.sub(r"([\\`$])", r"\\\1", replacement)
    return replacement


def _guard(line: Line, replacements: Sequence[str]) -> None:
    text = "".join(item if isinstance(item, str) else replacements[item.number] for item in line.items)
    for part in text.split("\n"):
        candidate = part.lstrip("\t") if line.strip_tabs else part
        ends = candidate.startswith(line.delimiter) if line.nested else candidate == line.delimiter
        if ends:
            raise UnquotableError(f"a line of it would end the here-document, whose delimiter is {line.delimiter!r}")


# --- values into text -------------------------------------------------------------------------------------------------


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "'\\''") + "'"


def _bare(spot: Spot, value: str) -> str:
    return value if _SAFE.fullmatch(value) and not _touchy(spot, value) else _quoted(value)


def _touchy(spot: Spot, value: str) -> bool:
    """Whether a harmless-looking value would mean something else together with what stands around it."""
    if spot.names and _continues_a_name(value):
        return True
    if spot.redirects and value.isdigit():
        return True
    if spot.whole and _OPERATOR.fullmatch(value):
        return True  # [[ reads it as one, unless it is quoted
    if "{" in spot.before and not _NUMBER.fullmatch(value):
        return True  # {a,b} and {1..9} make several words
    if spot.leads and ("=" in value or (value.isalpha() and not spot.whole) or value in _RESERVED):
        return True  # an assignment or a keyword instead of a command
    return bool(_TILDE.search(spot.before))


def _continues_a_name(value: str) -> bool:
    return value[:1].isascii() and (value[:1].isalnum() or value[:1] == "_")


def _in_single(_spot: Spot, value: str) -> str:
    return value.replace("'", "'\\''")


def _in_double(spot: Spot, value: str) -> str:
    escaped = re.sub(r'([\\"$`])', r"\\\1", value)
    return f'""{escaped}' if spot.names and _continues_a_name(value) else escaped


def _in_ansi(spot: Spot, value: str) -> str:
    if _SAFE.fullmatch(value) and "\\" not in spot.before:
        return value
    return f"'{_quoted(value)}$'"


def _in_here_document(spot: Spot, value: str) -> str:
    if spot.names and _continues_a_name(value):
        raise UnquotableError("it stands right after a variable's name; write ${NAME} instead of $NAME")
    return re.sub(r"([\\$`])", r"\\\1", value)


def _as_is(_spot: Spot, value: str) -> str:
    return value


def _in_comment(_spot: Spot, value: str) -> str:
    return value.replace("\n", " ")


def _in_arithmetic(_spot: Spot, value: str) -> str:
    if _NUMBER.fullmatch(value) is None:
        raise UnquotableError("it stands in shell arithmetic, where only a whole number is safe")
    return value if value[0].isdigit() else f"({value})"


def _in_expansion(_spot: Spot, value: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9_.:@-]+", value) is None:
        raise UnquotableError(
            "it stands in a ${...} expansion, where only letters, digits and _ . : @ - are safe; "
            "give the value to a variable first"
        )
    return value


def _after_backslash(_spot: Spot, _value: str) -> str:
    raise UnquotableError("a backslash stands right before it, and would escape the value's first character")


def _after_dollar(_spot: Spot, _value: str) -> str:
    raise UnquotableError("a dollar sign stands right before it, and would turn the value into a variable's name")


def _with_a_nul(_spot: Spot, _value: str) -> str:
    raise UnquotableError("it holds a NUL character, which no command line can carry")


def _as_delimiter(_spot: Spot, _value: str) -> str:
    raise UnquotableError("it stands in the delimiter of a here-document")


_WRITERS: Mapping[Setting, Callable[[Spot, str], str]] = {
    Setting.BARE: _bare,
    Setting.SINGLE: _in_single,
    Setting.DOUBLE: _in_double,
    Setting.ANSI: _in_ansi,
    Setting.HERE: _in_here_document,
    Setting.HERE_QUOTED: _as_is,
    Setting.COMMENT: _in_comment,
    Setting.ARITHMETIC: _in_arithmetic,
    Setting.EXPANSION: _in_expansion,
    Setting.AFTER_BACKSLASH: _after_backslash,
    Setting.AFTER_DOLLAR: _after_dollar,
    Setting.DELIMITER: _as_delimiter,
}


# --- reading ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Delimiter:
    text: str
    quoted: bool
    strip_tabs: bool


class _Words:
    """The word being read in one command list, and whether the next one may name a command."""

    def __init__(self) -> None:
        self.text = ""
        self.leads = True
        self.target = False  # the word is a redirection's
        self.cases = 0
        self.subject = False  # between `case` and `in`

    def end(self) -> None:
        word, self.text = self.text, ""
        if not word:
            return
        if self.target:
            self.target = False
        elif self.subject and word == "in":
            self.subject, self.leads = False, True
        elif self.leads and word == "case":
            self.cases, self.subject, self.leads = self.cases + 1, True, False
        elif self.leads and word == "esac" and self.cases:
            self.cases, self.leads = self.cases - 1, False
        elif self.leads:
            self.leads = word in _BEFORE_A_COMMAND or _ASSIGNMENT.match(word) is not None

    def end_command(self) -> None:
        self.end()
        self.leads, self.target = True, False


def _nesting(item: Item) -> int:
    return 1 if item == "(" else -1 if item == ")" else 0


class _Reader:
    """Reads a list of characters and holes from left to right; each method starts where its construct does."""

    def __init__(
        self,
        items: Sequence[Item],
        spots: dict[int, Spot],
        lines: list[Line],
        *,
        backticks: int = 0,
        nested: bool = False,
    ) -> None:
        self.items = items
        self.spots = spots
        self.lines = lines
        self.backticks = backticks
        self.at = 0
        self.depth = int(nested)
        self.after_name = -1  # the offset right behind the last $NAME
        self.pending: list[_Delimiter] = []

    # -- small steps

    def peek(self, ahead: int = 0) -> Item:
        """The item at hand, an empty text at the end."""
        at = self.at + ahead
        return self.items[at] if at < len(self.items) else ""

    def starts(self, text: str) -> bool:
        return all(self.peek(offset) == character for offset, character in enumerate(text))

    def hole(self, setting: Setting, before: str = "", *, leads: bool = False) -> None:
        """Note where the hole at hand stands, and step over it."""
        hole = self.items[self.at]
        assert isinstance(hole, Hole)  # noqa: S101  (callers have looked)
        ahead = 1
        while self.peek(ahead) in _DIGITS:
            ahead += 1
        self.spots[hole.number] = Spot(
            setting,
            before,
            whole=not before and self.peek(1) in _WORD_ENDS,
            redirects=self.peek(ahead) in {"<", ">"},
            names=self.after_name == self.at,
            leads=leads,
            backticks=self.backticks,
        )
        self.at += 1

    def since(self, start: int) -> str:
        """The text from ``start`` to here, holes as NUL."""
        return "".join(item if isinstance(item, str) else _HOLE_MARK for item in self.items[start : self.at])

    def backslash(self) -> None:
        self.at += 1
        if isinstance(self.peek(), Hole):
            self.hole(Setting.AFTER_BACKSLASH)
        else:
            self.at += 1

    # -- command lists

    def command(self, closer: str | None) -> None:
        """A list of commands, up to and with ``closer`` (``)``), or to the end."""
        words, parens = _Words(), 0
        while self.at < len(self.items):
            item = self.peek()
            if item == ")" and closer:
                words.end()
                if not parens and not words.cases:
                    self.at += 1
                    return
            if item in _ENDS_A_WORD:
                parens = self.operator(words, parens)
            elif item == "#" and not words.text:
                self.comment()
            else:
                start = self.at
                self.word_part(words)
                words.text += self.since(start)
        words.end()

    def operator(self, words: _Words, parens: int) -> int:
        """One character that ends a word; answers how many parentheses are open."""
        item = self.peek()
        if item == "(" and self.starts("((") and not words.text and self.closes_twice():
            self.at += 2
            self.arithmetic("))")
            return parens
        if item in {"<", ">"}:
            words.end()
            self.redirection(words)
            return parens
        self.at += 1
        if item == "\n":
            words.end_command()
            self.here_documents()
        elif item in {" ", "\t"}:
            words.end()
        else:
            words.end_command()
        if item == "(":
            return parens + 1
        return max(parens - 1, 0) if item == ")" else parens

    def redirection(self, words: _Words) -> None:
        if self.starts("<<<"):
            self.at += 3
        elif self.starts("<<"):
            self.at += 2
            self.pending.append(self.delimiter())
            return
        elif self.starts("<(") or self.starts(">("):
            self.at += 1
            return
        else:
            self.at += 1
            while self.peek() in {">", "&", "|"}:
                self.at += 1
        words.target = True

    def word_part(self, words: _Words) -> None:
        item = self.peek()
        if isinstance(item, Hole):
            subscript = words.leads and _SUBSCRIPT.fullmatch(words.text)
            self.hole(
                Setting.ARITHMETIC if subscript else Setting.BARE, words.text, leads=words.leads and not words.target
            )
        elif item == "\\":
            self.backslash()
        elif item == "'":
            self.single()
        elif item == '"':
            self.double()
        elif item == "$":
            self.dollar(in_double=False)
        elif item == "`":
            self.backtick(in_double=False)
        else:
            self.at += 1

    def comment(self) -> None:
        while self.at < len(self.items) and self.peek() != "\n":
            if isinstance(self.peek(), Hole):
                self.hole(Setting.COMMENT)
            else:
                self.at += 1

    # -- quotes

    def single(self) -> None:
        self.at += 1
        while self.at < len(self.items):
            if isinstance(self.peek(), Hole):
                self.hole(Setting.SINGLE)
                continue
            self.at += 1
            if self.items[self.at - 1] == "'":
                return

    def double(self, *, inner: Setting = Setting.DOUBLE) -> None:
        self.at += 1
        while self.at < len(self.items):
            if self.peek() == '"':
                self.at += 1
                return
            self.double_part(inner)

    def double_part(self, setting: Setting) -> None:
        item = self.peek()
        if isinstance(item, Hole):
            self.hole(setting)
        elif item == "\\":
            self.backslash()
        elif item == "$":
            self.dollar(in_double=True)
        elif item == "`":
            self.backtick(in_double=True)
        else:
            self.at += 1

    def ansi(self) -> None:
        self.at += 1
        start = self.at
        while self.at < len(self.items):
            item = self.peek()
            if isinstance(item, Hole):
                self.hole(Setting.ANSI, self.since(start))
            elif item == "\\":
                self.backslash()
            else:
                self.at += 1
                if item == "'":
                    return

    # -- expansions

    def dollar(self, *, in_double: bool) -> None:
        """``$`` and what it introduces. ``in_double``: in double quotes or in a here-document."""
        self.at += 1
        following = self.peek()
        if isinstance(following, Hole):
            self.hole(Setting.AFTER_DOLLAR)
        elif self.starts("((") and self.closes_twice():
            self.at += 2
            self.arithmetic("))")
        elif following == "(":
            self.at += 1
            self.depth += 1
            self.command(")")
            self.depth -= 1
        elif following == "[":
            self.at += 1
            self.arithmetic("]")
        elif following == "{":
            self.parameter(in_double=in_double)
        elif following == "'" and not in_double:
            self.ansi()
        elif following == '"' and not in_double:
            self.double()
        elif _NAME.fullmatch(following):
            self.name()
            self.after_name = self.at
        elif following in _SPECIAL_PARAMETERS:
            self.at += 1

    def name(self) -> None:
        while isinstance(item := self.peek(), str) and item.isascii() and (item.isalnum() or item == "_"):
            self.at += 1

    def parameter(self, *, in_double: bool) -> None:
        """``${name}``, ``${name:-word}``, ``${name[index]}``, ... up to and with the closing brace."""
        self.at += 1
        if self.peek() in {"#", "!"} and self.peek(1) != "}":
            self.at += 1
        self.name()
        if self.peek() == "[":
            self.at += 1
            self.arithmetic("]")
        in_word = self.peek() != ":" or self.peek(1) in {"-", "=", "+", "?"}
        setting = (Setting.EXPANSION if in_double else Setting.BARE) if in_word else Setting.ARITHMETIC
        start = self.at
        while self.at < len(self.items):
            item = self.peek()
            if item == "}":
                self.at += 1
                return
            if isinstance(item, Hole):
                # "${" before it: in a pattern even a slash or a percent sign would be an operator, so it is quoted
                self.hole(setting if start != self.at else Setting.AFTER_DOLLAR, "${")
            elif item == "'" and not in_double:
                self.single()
            elif item == '"':
                self.double(inner=Setting.EXPANSION if in_double else Setting.DOUBLE)
            else:
                self.double_part(setting)

    def arithmetic(self, closer: str) -> None:
        """Arithmetic, up to and with ``closer`` (``))`` or ``]``)."""
        depth = 0
        while self.at < len(self.items):
            item = self.peek()
            if not depth and self.starts(closer):
                self.at += len(closer)
                return
            if item == '"':
                self.double(inner=Setting.ARITHMETIC)
                continue
            depth += _nesting(item)
            self.double_part(Setting.ARITHMETIC)

    def closes_twice(self) -> bool:
        """Whether the two parentheses at hand close together (``))``): arithmetic, not a subshell in a substitution."""
        inner = self.closing.get(self.at + 1)
        return inner is not None and self.closing.get(self.at) == inner + 1

    @cached_property
    def closing(self) -> dict[int, int]:
        """Where each parenthesis that opens is closed, quotes not looked at."""
        found, opened = {}, []
        for at, item in enumerate(self.items):
            if item == "(":
                opened.append(at)
            elif item == ")" and opened:
                found[opened.pop()] = at
        return found

    def backtick(self, *, in_double: bool) -> None:
        """A backtick substitution: its text is read after one round of backslashes is taken off."""
        self.at += 1
        special = frozenset('$`\\"' if in_double else "$`\\")
        inner: list[Item] = []
        while self.at < len(self.items):
            item = self.peek()
            if item == "`":
                self.at += 1
                break
            if item == "\\" and isinstance(self.peek(1), Hole):
                self.backslash()
                continue
            if item == "\\" and self.peek(1) in special:
                self.at += 1
                item = self.peek()
            inner.append(item)
            self.at += 1
        _Reader(inner, self.spots, self.lines, backticks=self.backticks + 1, nested=True).command(None)

    # -- here-documents

    def delimiter(self) -> _Delimiter:
        """The word after ``<<``, quotes taken off."""
        strip_tabs = self.peek() == "-"
        self.at += int(strip_tabs)
        while self.peek() in {" ", "\t"}:
            self.at += 1
        text, quoted, quote = "", False, ""
        while self.at < len(self.items):
            item = self.peek()
            if isinstance(item, Hole):
                self.hole(Setting.DELIMITER)
                continue
            if not quote and item in _ENDS_A_WORD:
                break
            self.at += 1
            if item in {"'", '"'} and quote in {"", item}:
                quote, quoted = "" if quote else item, True
            elif item == "\\" and quote != "'":
                quoted = True
            else:
                text += item
        return _Delimiter(text, quoted, strip_tabs)

    def here_documents(self) -> None:
        """The bodies of the here-documents that the line just ended has announced."""
        pending, self.pending = self.pending, []
        for delimiter in pending:
            self.here_document(delimiter)

    def here_document(self, delimiter: _Delimiter) -> None:
        body: list[Item] = []
        joined = False
        while self.at < len(self.items):
            line = self.line()
            text = "".join(item if isinstance(item, str) else _HOLE_MARK for item in line).removesuffix("\n")
            if not joined and (text.lstrip("\t") if delimiter.strip_tabs else text) == delimiter.text:
                break
            if _HOLE_MARK in text:
                nested = bool(self.depth)
                self.lines.append(Line(tuple(line), delimiter.text, delimiter.strip_tabs, nested))
            joined = not delimiter.quoted and (len(text) - len(text.rstrip("\\"))) % 2 == 1
            body.extend(line)
        _Reader(body, self.spots, self.lines, backticks=self.backticks, nested=True).body(quoted=delimiter.quoted)

    def line(self) -> list[Item]:
        start = self.at
        while self.at < len(self.items):
            self.at += 1
            if self.items[self.at - 1] == "\n":
                break
        return list(self.items[start : self.at])

    def body(self, *, quoted: bool) -> None:
        while self.at < len(self.items):
            if not quoted:
                self.double_part(Setting.HERE)
            elif isinstance(self.peek(), Hole):
                self.hole(Setting.HERE_QUOTED)
            else:
                self.at += 1
