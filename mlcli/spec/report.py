"""Diagnostics as text for a person: place, code, what is wrong, the line with a caret under it, what to do."""

from __future__ import annotations

from collections.abc import Sequence

from mlcli.domain.errors import Diagnostic, Severity

__all__ = ["format_diagnostic", "format_diagnostics", "summary"]

_WIDTH = 160


def format_diagnostics(diagnostics: Sequence[Diagnostic]) -> str:
    """Every diagnostic, parted by empty lines, and a last line that counts them; no line break at the end."""
    return "\n\n".join([*(format_diagnostic(each) for each in diagnostics), summary(diagnostics)])


def format_diagnostic(diagnostic: Diagnostic) -> str:
    """``path:line:column: error[code]: message``, then the source line with a caret, then ``hint: ...``."""
    place = diagnostic.place
    where = place.file if place.file.startswith("--") else str(place)
    lines = [f"{where}: {diagnostic.severity.value}[{diagnostic.code}]: {diagnostic.message}"]
    if diagnostic.source and diagnostic.source.strip():
        lines.extend(_pointed(diagnostic.source, place.line, place.column))
    if diagnostic.hint:
        lines.append(f"  hint: {diagnostic.hint}")
    return "\n".join(lines)


def summary(diagnostics: Sequence[Diagnostic]) -> str:
    """``2 errors, 1 warning``."""
    errors = sum(each.severity is Severity.ERROR for each in diagnostics)
    counts = ((errors, "error"), (len(diagnostics) - errors, "warning"))
    return ", ".join(f"{count} {word}{'' if count == 1 else 's'}" for count, word in counts if count) or "no errors"


def _pointed(source: str, line: int, column: int) -> list[str]:
    """The source line behind its number, and a caret below the column; what stands before it keeps its width in both."""
    start = max(0, column - _WIDTH // 2) if len(source) > _WIDTH else 0
    shown, column = source[start : start + _WIDTH], column - start
    gutter = f"{line:>5} | "
    before = "".join(_blank(character) for character in shown[: column - 1])
    caret = " " * (len(gutter) - 2) + "| " + before + "^"
    return [gutter + shown, caret] if column - 1 <= len(shown) else [gutter + shown]


def _blank(character: str) -> str:
    """What is empty and as wide as ``character`` on a terminal: Chinese, Japanese and Korean letters take two cells."""
    if character == "\t":
        return character
    if character.isascii():
        return " "
    from unicodedata import combining, east_asian_width

    if combining(character):
        return ""
    return "  " if east_asian_width(character) in {"F", "W"} else " "
