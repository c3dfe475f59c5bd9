"""What the YAML parser complains about, in the words of someone who writes job files."""

from __future__ import annotations

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
    for needle, message, hint in _WORDS:
        if needle in complaint:
            if needle in _FROM_OPENING and error.context_mark is not None:
                mark = error.context_mark
            return [Fault(mark.line + 1, mark.column + 1, "invalid-yaml", message, hint)]
    return [Fault(mark.line + 1, mark.column + 1, "invalid-yaml", _own_words(error))]


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
