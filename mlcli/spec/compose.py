"""YAML events -> plain values and, beside them, where each value and key stands in the text.

Scalars are read by the core schema of YAML 1.2.2 (section 10.3.2): ``true`` and ``false`` are the booleans, so ``yes``,
``no``, ``on`` and ``off`` stay the words that were written, as do dates and clock times; ``0o17`` is fifteen and
``017`` seventeen; ``1e3`` is a number. JSON has no infinities, so ``.inf`` and ``.nan`` stay text.
Keys are always text, as written.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from math import isfinite
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

Path_ = tuple[str | int, ...]

MAX_DEPTH = 100
MAX_NODES = 200_000

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEAN = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_UNFIT = re.compile("[\0\ud800-\udfff]")
_STANDARD = "tag:yaml.org,2002:"
_SCALAR_TAGS = frozenset({"str", "int", "float", "bool", "null", "timestamp"})
_MERGE = "<<"


@dataclass(slots=True)
class Mark:
    """Where one value stands. ``written`` is a plain scalar's own text; ``origin`` replaces the file's name for a value
    that came from elsewhere (``--set``).
    """

    line: int
    column: int
    written: str | None = None
    children: dict[str | int, Mark] = field(default_factory=dict)
    keys: dict[str, tuple[int, int]] = field(default_factory=dict)
    origin: str | None = None


@dataclass(frozen=True)
class Fault:
    """Something wrong with the YAML itself; line and column count from 1."""

    line: int
    column: int
    code: str
    message: str
    hint: str | None = None
    path: Path_ = ()


@dataclass(slots=True)
class Node:
    """A composed value with its mark, and how many values it holds when every alias is spelled out."""

    value: Any
    mark: Mark
    size: int = 1


class TooMuch(Exception):  # noqa: N818  (control flow of this module, never seen outside)
    """Composing stopped: the rest of the text is not worth reading."""


@dataclass(frozen=True)
class _Pair:
    key: str
    place: tuple[int, int]
    node: Node


class Composer:
    """Composes one document from ruamel's events, noting faults and going on where it can."""

    def __init__(self, events: Iterator[Any]) -> None:
        self._events = events
        self._anchors: dict[str, Node | None] = {}
        self.faults: list[Fault] = []

    def document(self) -> Node | None:
        """The first document's root, or None when there is none. Raises ruamel's errors as they come."""
        root: Node | None = None
        for event in self._events:
            name = type(event).__name__
            if name == "DocumentStartEvent" and root is not None:
                self._fault(event, "several-documents", "a second YAML document starts here", _ONE_DOCUMENT)
                raise TooMuch
            if name in {"ScalarEvent", "AliasEvent", "MappingStartEvent", "SequenceStartEvent"}:
                root = self._node(event, ())
        return root

    def _fault(self, event: Any, code: str, message: str, hint: str | None = None, path: Path_ = ()) -> None:
        line, column = _position(event)
        self.faults.append(Fault(line, column, code, message, hint, path))

    def _node(self, event: Any, path: Path_) -> Node:
        kind = type(event).__name__
        if kind == "AliasEvent":
            return self._alias(event, path)
        if len(path) > MAX_DEPTH:
            message = f"values are nested more than {MAX_DEPTH} levels deep"
            self._fault(event, "nested-too-deep", message, "no job needs so many: is a bracket left open?")
            raise TooMuch
        if event.anchor:
            self._anchors[event.anchor] = None
        if kind == "ScalarEvent":
            node = self._scalar(event, path)
        elif kind == "SequenceStartEvent":
            node = self._sequence(event, path)
        else:
            node = self._mapping(event, path)
        if event.anchor:
            self._anchors[event.anchor] = node
        return node

    def _alias(self, event: Any, path: Path_) -> Node:
        name = event.anchor
        target = self._anchors.get(name)
        if target is not None:
            return target
        if name in self._anchors:
            message = f"the alias '*{name}' stands inside the value that '&{name}' names"
            self._fault(event, "circular-alias", message, "a job file cannot contain itself: write the value out", path)
        else:
            message = f"there is no anchor '&{name}' above this alias"
            self._fault(event, "unknown-anchor", message, _nearest_anchor(name, self._anchors), path)
        return Node(None, Mark(*_position(event)))

    def _scalar(self, event: Any, path: Path_) -> Node:
        text: str = event.value
        mark = Mark(*_position(event), written=text if event.style is None else None)
        if _unfit(text):
            message = "a NUL or half of a surrogate pair is escaped in this text"
            hint = "no command, path or variable can hold it: take it out"
            self._fault(event, "unprintable-character", message, hint, path)
            return Node("", mark)
        tag = _tag(event)
        if tag is None:
            return Node(plain_value(text) if event.style is None else text, mark)
        if tag and tag not in _SCALAR_TAGS:
            self._unsupported_tag(event, path)
        return Node(plain_value(text) if tag not in {"str", "timestamp", ""} else text, mark)

    def _unsupported_tag(self, event: Any, path: Path_) -> None:
        message = f"the YAML tag '{event.tag}' has no meaning in a job file"
        self._fault(event, "unsupported-tag", message, "take the tag out; plain values, lists and maps need none", path)

    def _sequence(self, event: Any, path: Path_) -> Node:
        if _tag(event) not in {None, "seq", ""}:
            self._unsupported_tag(event, path)
        mark = Mark(*_position(event))
        node = Node([], mark)
        for item in self._until("SequenceEndEvent"):
            child = self._node(item, (*path, len(node.value)))
            mark.children[len(node.value)] = child.mark
            node.value.append(child.value)
            self._grow(node, child, item)
        return node

    def _mapping(self, event: Any, path: Path_) -> Node:
        if _tag(event) not in {None, "map", ""}:
            self._unsupported_tag(event, path)
        node = Node({}, Mark(*_position(event)))
        merged: list[_Pair] = []
        for item in self._until("MappingEndEvent"):
            key = self._key(item, path)
            below = path if key is None else (*path, key)
            value_event = next(self._events)
            child = self._node(value_event, below)
            if child.value is None and _is_nothing(value_event):  # it stands nowhere, or where the next key does
                child.mark.line, child.mark.column = _position(item)
            self._grow(node, child, item)
            if key == _MERGE and item.style is None:
                merged.extend(self._merge(value_event, child, path))
            elif key is not None:
                self._add(node, _Pair(key, _position(item), child), item, below)
        for pair in merged:
            if pair.key not in node.value:
                _put(node, pair)
        return node

    def _until(self, end: str) -> Iterator[Any]:
        for event in self._events:
            if type(event).__name__ == end:
                return
            yield event

    def _key(self, event: Any, path: Path_) -> str | None:
        kind = type(event).__name__
        if kind == "ScalarEvent" and event.value and not _unfit(event.value):
            if event.anchor:
                self._anchors[event.anchor] = Node(event.value, Mark(*_position(event)))
            return str(event.value)
        message = "a key must be a text: not empty, not a list, a map or an alias"
        template = kind == "MappingStartEvent" and event.flow_style
        hint = "put quotes around a text that starts with '{{'" if template else "write 'name: value'"
        self._fault(event, "invalid-key", message, hint, path)
        if kind in {"SequenceStartEvent", "MappingStartEvent"}:
            self._node(event, path)
        return None

    def _add(self, node: Node, pair: _Pair, event: Any, path: Path_) -> None:
        if pair.key in node.value:
            message = f"the key '{pair.key}' is given twice; the first is on line {node.mark.keys[pair.key][0]}"
            self._fault(event, "duplicate-key", message, "keep one of them", path)
            return
        _put(node, pair)

    def _merge(self, event: Any, child: Node, path: Path_) -> list[_Pair]:
        sources = [child]
        if isinstance(child.value, list):
            sources = [Node(value, child.mark.children[index]) for index, value in enumerate(child.value)]
        if not all(isinstance(source.value, dict) for source in sources):
            message = "'<<' takes a map, or a list of maps, to copy keys from"
            self._fault(event, "invalid-yaml", message, "give it an alias such as '*common'", path)
            return []
        return [
            _Pair(key, source.mark.keys[key], Node(value, source.mark.children[key]))
            for source in sources
            for key, value in source.value.items()
        ]

    def _grow(self, node: Node, child: Node, event: Any) -> None:
        node.size += child.size
        if node.size > MAX_NODES:
            message = f"the file holds more than {MAX_NODES:,} values once aliases are spelled out"
            self._fault(event, "file-too-large", message, "write fewer or smaller anchors")
            raise TooMuch


_ONE_DOCUMENT = "one file holds one job: take out the '---' line, or split the file"


def plain_value(text: str) -> Any:
    """What an unquoted scalar means, by YAML 1.2's core schema."""
    if text in _NULL:
        return None
    if text in _BOOLEAN:
        return _BOOLEAN[text]
    if _INTEGER.fullmatch(text):
        return _integer(text)
    if _FLOAT.fullmatch(text):
        number = float(text)
        return number if isfinite(number) else text
    return text


def _integer(text: str) -> Any:
    base = {"0o": 8, "0x": 16}.get(text[:2], 10)
    try:
        return int(text[2:] if base != 10 else text, base)
    except ValueError:  # more digits than Python converts
        return text


def _unfit(text: str) -> bool:
    """Whether no command, path or variable can hold the text."""
    return _UNFIT.search(text) is not None


def _put(node: Node, pair: _Pair) -> None:
    node.value[pair.key] = pair.node.value
    node.mark.children[pair.key] = pair.node.mark
    node.mark.keys[pair.key] = pair.place


def _position(event: Any) -> tuple[int, int]:
    return event.start_mark.line + 1, event.start_mark.column + 1


def _is_nothing(event: Any) -> bool:
    """Whether a key has no value at all: ``key:``."""
    return type(event).__name__ == "ScalarEvent" and event.style is None and not event.value and not event.anchor


def _tag(event: Any) -> str | None:
    """The short name of an explicit standard tag, ``""`` for the non-specific ``!``, None when there is none."""
    tag = event.tag
    if tag is None:
        return None
    text = str(tag)
    if text == "!":
        return ""
    return text.removeprefix(_STANDARD) if text.startswith(_STANDARD) else text


def _nearest_anchor(name: str, known: dict[str, Any]) -> str:
    import difflib

    close = difflib.get_close_matches(name, known, 1)
    return f"did you mean '*{close[0]}'?" if close else f"define it first: '&{name}' before the value"
