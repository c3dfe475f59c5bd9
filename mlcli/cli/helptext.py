"""The text of ``--help``. Pure; the same on every Python, so that the reference in docs/ can be compared with it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

WIDTH = 100
_GAP = 2
_LONGEST_NAME = 30


def group(path: str, summary: str, commands: Mapping[str, str], flags: Mapping[str, str]) -> str:
    """The help of a noun, or of all."""
    return _joined(
        [f"Usage: {path} COMMAND [FLAGS]", "", *_wrapped(summary, "  ")],
        section("Commands", commands),
        section("Flags", flags),
    )


def command(usage: str, text: str, tables: Mapping[str, Mapping[str, str]], examples: Iterable[str]) -> str:
    """The help of one command. ``text``: paragraphs, each wrapped anew; ``tables``: by their titles."""
    shown = list(examples)
    return _joined(
        [f"Usage: {usage}", *_paragraphs(text)],
        *(section(title, entries) for title, entries in tables.items()),
        ["Examples:" if len(shown) > 1 else "Example:", *(f"  {example}" for example in shown)],
    )


def section(title: str, entries: Mapping[str, str]) -> list[str]:
    """Names on the left, what they mean on the right; nothing when there are none."""
    if not entries:
        return []
    width = max(len(name) for name in entries if len(name) <= _LONGEST_NAME or len(entries) == 1)
    return [f"{title}:", *(line for name, meaning in entries.items() for line in _entry(name, meaning, width))]


def _entry(name: str, meaning: str, width: int) -> Iterator[str]:
    indent = " " * (2 + width + _GAP)
    first, *others = _wrapped(meaning, indent)
    if len(name) > width:
        yield f"  {name}"
        yield first
    else:
        yield f"  {name.ljust(width)}{' ' * _GAP}{first.lstrip()}"
    yield from others


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in text.split("\n\n"):
        yield ""
        yield from _wrapped(" ".join(paragraph.split()), "  ")


def _wrapped(text: str, indent: str) -> list[str]:
    """Lines of at most ``WIDTH`` columns, broken at spaces only: a flag is never torn apart."""
    lines, line = [], indent
    for word in text.split():
        if len(line) + len(word) > WIDTH and line.strip():
            lines.append(line.rstrip())
            line = indent
        line += f"{word} "
    return [*lines, line.rstrip()]


def _joined(*blocks: list[str]) -> str:
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"
