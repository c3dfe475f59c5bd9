"""What the YAML parser complains about, in the words of someone who writes job files."""

from __future__ import annotations

import re
from typing import Any

from mlcli.spec.compose import Fault

_WORDS: tuple[tuple[str, str, str], ...] = (
    (
        "mapping values are not allowed",
        "a ':' stands where no key can be",
        "put quotes around a value that contains ': ', or mend the indentation of this line",
    ),
    (
        "could not find expected ':'",
        "this line is neither 'key: value' nor a list item",
        "write a ':' and a space after the key, or indent the line so that it belongs to the value above",
    ),
    (
        "expected <block end>",
        "the indentation does not fit the lines above",
        "keys of one map, and items of one list, start in the same column",
    ),
    (
        "sequence entries are not allowed",
        "a list item '- ' stands where none can be",
        "put the list on the lines below its key, indented",
    ),
    (
        "while scanning a quoted scalar",
        "a quoted text that starts here is not closed",
        "close the quote; inside double quotes write \\\" and inside single quotes ''",
    ),
    (
        "unknown escape character",
        "this backslash escape does not exist",
        "use single quotes, or write \\\\ for a backslash",
    ),
    ("escape sequence", "this backslash escape is not complete", "use single quotes, or write \\\\ for a backslash"),
    ("expected ',' or '}'", "a map in braces that starts here is not closed", "end it with '}', entries parted by ','"),
    (
        "expected ',' or ']'",
        "a list in brackets that starts here is not closed",
        "end it with ']', items parted by ','",
    ),
    (
        "found '<stream end>'",
        "the file ends where a value is expected",
        "close the bracket or brace that was opened last, or write the value",
    ),
    (
        "expected the node content",
        "a bracket, brace or comma stands where a value is expected",
        "take it out, or put quotes around a text that starts so",
    ),
    ("undefined tag handle", "this YAML tag is not defined", "quote the text if it should start with '!'"),
    ("anchor", "an anchor or alias needs a name", "quote the text if it should start with '&' or '*'"),
    ("alias", "an anchor or alias needs a name", "quote the text if it should start with '&' or '*'"),
    (
        "block scalar",
        "what follows '|' or '>' on this line is not a YAML block header",
        "start the text on the next line",
    ),
    ("directive", "a line that starts with '%' is a YAML directive, and this one is wrong", "quote or indent the line"),
    ("cannot start any token", "a value cannot start with this character", "put quotes around the value"),
)
_FROM_OPENING = (
    "while scanning a quoted scalar",
    "expected ',' or '}'",
    "expected ',' or ']'",
    "could not find expected ':'",
)


def explain(error: Any, lines: list[str]) -> list[Fault]:
    """The faults that one ruamel error stands for."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is None:
        return [Fault(1, 1, "invalid-yaml", _own_words(error))]
    complaint = f"{error.context or ''}; {error.problem or ''}"
    if "cannot start any token" in complaint and "'\\t'" in complaint:
        return tab_faults(lines, mark.line + 1) or [_tab(mark.line + 1, mark.column + 1)]
    special = _conflict(lines) or _behind_a_value(complaint, mark, lines) or _line_before(complaint, mark, lines)
    if special is not None:
        return [special]
    for needle, message, hint in _WORDS:
        if needle in complaint:
            if needle in _FROM_OPENING and error.context_mark is not None:
                mark = error.context_mark
            return [Fault(mark.line + 1, mark.column + 1, "invalid-yaml", message, hint)]
    return [Fault(mark.line + 1, mark.column + 1, "invalid-yaml", _own_words(error))]


def _conflict(lines: list[str]) -> Fault | None:
    """A merge that git left half done, which breaks YAML at some later place."""
    for number, line in enumerate(lines, start=1):
        if line.startswith("<<<<<<< "):
            message, hint = "a merge conflict of git is not resolved", "keep one side, and take the marker lines out"
            return Fault(number, 1, "invalid-yaml", message, hint)
    return None


def _behind_a_value(complaint: str, mark: Any, lines: list[str]) -> Fault | None:
    """More text behind a closing quote or bracket, which the parser takes for a line of wrong indentation."""
    line = lines[mark.line] if mark.line < len(lines) else ""
    if "expected <block end>" not in complaint or not line[: mark.column].strip():
        return None
    hint = "put quotes around all of the value; inside single quotes write '', inside double quotes \\\""
    return Fault(mark.line + 1, mark.column + 1, "invalid-yaml", "this stands behind a value that has ended", hint)


def _line_before(complaint: str, mark: Any, lines: list[str]) -> Fault | None:
    """A line without ``: `` above the one where the parser gave up, as deep as that one: the two were read as one key."""
    number = mark.line - 1
    if "mapping values are not allowed" not in complaint or not 0 <= number < len(lines) - 1:
        return None
    line, here = lines[number], lines[mark.line]
    alike = len(line) - len(line.lstrip()) == len(here) - len(here.lstrip())
    if not alike or not line.strip() or line.lstrip()[0] in "#-\"'" or re.search(r":(\s|$)", line):
        return None
    _, message, hint = next(words for words in _WORDS if words[0] == "could not find expected ':'")
    return Fault(number + 1, len(line) - len(line.lstrip()) + 1, "invalid-yaml", message, hint)


def tab_faults(lines: list[str], first: int) -> list[Fault]:
    """Every line from number ``first`` on whose indentation holds a tab."""
    found = []
    for number, line in enumerate(lines[first - 1 :], start=first):
        indentation = line[: len(line) - len(line.lstrip())]
        if "\t" in indentation and line.strip():
            found.append(_tab(number, indentation.index("\t") + 1))
    return found


def _tab(line: int, column: int) -> Fault:
    return Fault(line, column, "tab-indentation", "a tab stands where YAML takes only spaces", "indent with spaces")


def _own_words(error: Any) -> str:
    problem = getattr(error, "problem", None) or str(error).split("\n", 1)[0] or type(error).__name__
    return f"this is not valid YAML: {problem}"
