"""The output formats that scripts read: plain data in, text out. No I/O.

``tsv`` and ``table`` follow az (knack's output producers): a lone boolean is ``true``, one in a row ``True``; nothing at all
is printed for a result of null. Unlike az, None in a row is empty and a tab or a line break inside a cell is a space, so that
a row stays a row.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from io import StringIO
from typing import Any

Row = Mapping[str, Any]

FORMATS = ("json", "jsonc", "yaml", "yamlc", "table", "tsv", "csv", "none")


def as_json(value: Any) -> str:
    """Indented JSON, keys in their own order."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def as_yaml(value: Any) -> str:
    """Block style YAML, keys in their own order."""
    from ruamel.yaml import YAML

    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.allow_unicode = True
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.width = 1_000_000
    text = StringIO()
    yaml.dump(value, text)
    return text.getvalue().removesuffix("...\n")


def as_tsv(value: Any) -> str:
    """A line for each item of a list, tabs between an item's values."""
    items = value if isinstance(value, list) else [value]
    return "".join(f"{_tsv_line(item)}\n" for item in items)


def _tsv_line(item: Any) -> str:
    if isinstance(item, Mapping):
        return "\t".join(_tsv_cell(value) for value in item.values())
    if isinstance(item, list):
        return "\t".join(_tsv_cell(value) for value in item)
    if isinstance(item, bool):
        return str(item).lower()
    return "" if item is None else str(item)


def _tsv_cell(value: Any) -> str:
    if value is None or isinstance(value, Mapping):
        return ""
    if isinstance(value, list):
        return str(len(value))
    return _on_one_line(str(value))


def as_csv(value: Any) -> str:
    """Comma-separated values (RFC 4180) under headings: a row for each item, a column for each key that holds one value;
    nothing for null. Keys as they are, lines that end with a line feed alone.
    """
    rows = [_csv_row(item) for item in (value if isinstance(value, list) else [value])]
    return "".join(as_csv_lines(rows, list(dict.fromkeys(heading for row in rows for heading in row))))


def as_csv_lines(rows: Iterable[Row], headings: Sequence[str] | None) -> Iterator[str]:
    """The headings, unless they are None, and a line for each row."""
    import csv

    if headings is not None and not headings:
        return
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if headings is not None:
        writer.writerow(headings)
    for row in rows:
        cells = row.values() if headings is None else (row.get(heading) for heading in headings)
        writer.writerow(["" if cell is None else cell for cell in cells])
    yield text.getvalue()


def _csv_row(item: Any) -> Row:
    if isinstance(item, Mapping):
        return {str(key): value for key, value in item.items() if not isinstance(value, (list, Mapping))}
    if isinstance(item, list):
        return {f"Column{number}": value for number, value in enumerate(item, 1)}
    return {"Result": item}


def as_line(row: Row, form: str, *, first: bool) -> str:
    """One row of a list that is still growing: JSON Lines, an item of YAML's list, a line of the others."""
    if form in {"json", "jsonc"}:
        return json.dumps(row, ensure_ascii=False) + "\n"
    if form in {"yaml", "yamlc"}:
        return as_yaml([dict(row)])
    if form == "csv":
        return "".join(as_csv_lines([row], list(row) if first else None))
    if form == "tsv":
        return as_tsv([row])
    return "  ".join(_cell(value) for value in row.values()).rstrip() + "\n"


def as_table(value: Any, *, headings_as_they_are: bool = False) -> str:
    """Columns under headings, for eyes: a row for each item, a column for each key that holds one value. A heading is the
    key with a capital, or as it is.
    """
    heading = str if headings_as_they_are else _capital
    rows = [_table_row(item, heading) for item in (value if isinstance(value, list) else [value])]
    headings = list(dict.fromkeys(heading for row in rows for heading in row))
    if not headings:
        return ""
    cells = [[row.get(heading, "") for heading in headings] for row in rows]
    widths = [max(map(len, column)) for column in zip(headings, *cells, strict=True)]
    lines = [headings, ["-" * width for width in widths], *cells]
    return "".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() + "\n" for line in lines
    )


def _table_row(item: Any, heading: Callable[[str], str]) -> dict[str, str]:
    if isinstance(item, Mapping):
        return {
            heading(str(key)): _cell(value) for key, value in item.items() if not isinstance(value, (list, Mapping))
        }
    if isinstance(item, list):
        return {f"Column{number}": _cell(value) for number, value in enumerate(item, 1)}
    return {"Result": _cell(item)}


def _cell(value: Any) -> str:
    return "" if value is None else printable(_on_one_line(str(value)))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _on_one_line(text: str) -> str:
    return " ".join(text.splitlines()).replace("\t", " ") if not text.isprintable() else text


def printable(text: str) -> str:
    """The text with control characters made visible, so that what a job was named cannot drive a terminal. Line breaks
    and tabs stay.
    """
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() or letter in "\n\t" else _visible(letter) for letter in text)


def _visible(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii") if letter < "\xa0" or letter > "\ud7ff" else letter


WRITERS = {
    "json": as_json,
    "jsonc": as_json,
    "yaml": as_yaml,
    "yamlc": as_yaml,
    "tsv": as_tsv,
    "table": as_table,
    "csv": as_csv,
}
