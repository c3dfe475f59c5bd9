"""MLflow's search language: ``metrics.acc > 0.9 and params.lr = "0.1"``, and ``metrics.acc DESC``."""

from __future__ import annotations

import math
import re
from typing import Any, Callable, List, NamedTuple

from .errors import RefusedError, invalid

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<text>'[^']*'|"[^"]*")
    | (?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?![\w.])
    | (?P<sign><=|>=|!=|<>|=|<|>)
    | (?P<mark>[(),])
    | (?P<word>`[^`]*`|[A-Za-z_](?:[\w/:\-]|\.(?=[\w/]))*)(?:\.(?P<quoted>`[^`]*`|"[^"]*"))?
    )""",
    re.VERBOSE,
)
_KINDS = {
    "metric": "metric",
    "metrics": "metric",
    "param": "param",
    "params": "param",
    "parameter": "param",
    "parameters": "param",
    "tag": "tag",
    "tags": "tag",
    "attribute": "attribute",
    "attributes": "attribute",
    "attr": "attribute",
    "run": "attribute",
    "dataset": "dataset",
    "datasets": "dataset",
}
_ALIASES = {
    "created": "start_time",
    "run name": "run_name",
    "id": "run_id",
    "user": "user_id",
    "end time": "end_time",
    "start time": "start_time",
    "creation_timestamp_ms": "creation_timestamp",
    "last_updated_timestamp_ms": "last_updated_timestamp",
}
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda one, other: one == other,
    "!=": lambda one, other: one != other,
    "<": lambda one, other: one < other,
    "<=": lambda one, other: one <= other,
    ">": lambda one, other: one > other,
    ">=": lambda one, other: one >= other,
    "LIKE": lambda one, other: _like(other, 0).fullmatch(one) is not None,
    "ILIKE": lambda one, other: _like(other, re.IGNORECASE).fullmatch(one) is not None,
    "IN": lambda one, other: one in other,
    "NOT IN": lambda one, other: one not in other,
}
_FOR_TEXTS = ("=", "!=", "LIKE", "ILIKE", "IN", "NOT IN")
_FOR_NUMBERS = ("=", "!=", "<", "<=", ">", ">=")


class Key(NamedTuple):
    """What is compared: ``kind`` is attribute, metric, param, tag or dataset."""

    kind: str
    name: str


class Condition(NamedTuple):
    """``IS NULL`` and ``IS NOT NULL`` have no value."""

    key: Key
    sign: str
    value: Any = None


# Where a condition's key is looked up: the values, none where there is no such thing.
Lookup = Callable[[Key], List[Any]]


def parse(filter_text: str, numeric: frozenset[str]) -> list[Condition]:
    """The conditions, all of which must hold. ``numeric``: attributes that are numbers. Raises RefusedError."""
    return _Parser(filter_text, numeric).conditions()


def holds(conditions: list[Condition], lookup: Lookup) -> bool:
    """Whether something has what all conditions ask for; what it does not have at all fits none but ``IS NULL``."""
    return all(_holds(condition, lookup(condition.key)) for condition in conditions)


def order(clauses: list[str]) -> list[tuple[Key, bool]]:
    """``["metrics.acc DESC", "name"]`` as keys, and whether the greatest comes first."""
    found = []
    for clause in clauses:
        body, _, last = clause.strip().rpartition(" ")
        direction = last.upper()
        body = body if direction in ("ASC", "DESC") and body else clause.strip()
        tokens = _tokens(body)
        if len(tokens) != 1 or tokens[0][0] != "key":
            raise invalid(f"Invalid order_by clause '{clause}': a column, then ASC or DESC, is wanted")
        found.append((_key(tokens[0][1]), direction == "DESC"))
    return found


def ordered(things: list[Any], clauses: list[tuple[Key, bool]], lookup: Callable[[Any, Key], list[Any]]) -> list[Any]:
    """The things in that order; what has no value, or NaN, comes last either way."""
    for key, is_descending in reversed(clauses):
        with_value: list[Any] = []
        without: list[Any] = []
        for thing in things:
            values = [value for value in lookup(thing, key) if value is not None]
            is_there = bool(values) and not (isinstance(values[0], float) and math.isnan(values[0]))
            (with_value if is_there else without).append(thing)
        with_value.sort(key=lambda thing: lookup(thing, key)[0], reverse=is_descending)
        things = with_value + without
    return things


def _holds(condition: Condition, values: list[Any]) -> bool:
    if condition.sign == "IS NULL":
        return not values
    if condition.sign == "IS NOT NULL":
        return bool(values)
    compare = _COMPARE[condition.sign]
    return any(value is not None and compare(value, condition.value) for value in values)


def _like(pattern: str, flags: int) -> re.Pattern[str]:
    parts = (".*" if mark == "%" else "." if mark == "_" else re.escape(mark) for mark in pattern)
    return re.compile("".join(parts), flags | re.DOTALL)


def _tokens(text: str) -> list[tuple[str, str]]:
    """(``text``, ``number``, ``sign``, ``mark``, ``key``; what it says). A key keeps a NUL between its two parts."""
    found, position, text = [], 0, text.strip()
    while position < len(text):
        token = _TOKEN.match(text, position)
        if token is None or token.end() == position:
            raise _wrong(text, f"cannot be read from {text[position : position + 20]!r} on")
        kind, said = token.lastgroup or "", token.group().strip()
        if token.group("word") is not None:
            kind, word, quoted = "key", token.group("word"), token.group("quoted")
            said = f"{word}\0{quoted[1:-1]}" if quoted else word.strip("`")
        elif kind == "text":
            said = said[1:-1]
        found.append((kind, said))
        position = token.end()
    return found


def _key(said: str) -> Key:
    head, mark, name = said.partition("\0")
    if not mark:
        head, mark, name = said.partition(".")
    kind = _KINDS.get(head.lower())
    if not mark or kind is None:
        kind, name = "attribute", said.replace("\0", ".")
    return Key(kind, _ALIASES.get(name.lower(), name) if kind == "attribute" else name)


def _wrong(text: str, why: str) -> RefusedError:
    return invalid(f"Invalid filter string '{text}': {why}")


class _Parser:
    def __init__(self, text: str, numeric: frozenset[str]) -> None:
        self._text = text
        self._numeric = numeric
        self._rest = _tokens(text)[::-1]

    def conditions(self) -> list[Condition]:
        found = []
        while self._rest:
            found.append(self._condition())
            if self._rest:
                self._word("AND")
                if not self._rest:
                    raise _wrong(self._text, "a condition is missing after AND")
        return found

    def _next(self, wanted: str) -> tuple[str, str]:
        if not self._rest:
            raise _wrong(self._text, f"{wanted} is missing at its end")
        return self._rest.pop()

    def _word(self, *words: str) -> str:
        kind, said = self._next(" or ".join(words))
        if kind != "key" or said.upper() not in words:
            raise _wrong(self._text, f"{' or '.join(words)} is wanted, not {said!r}; OR is not part of the language")
        return said.upper()

    def _condition(self) -> Condition:
        kind, said = self._next("a column")
        if kind != "key":
            raise _wrong(self._text, f"a column (like metrics.loss) is wanted, not {said!r}")
        key = _key(said)
        sign = self._sign()
        if sign.startswith("IS"):
            return Condition(key, sign)
        is_number = key.kind == "metric" or (key.kind == "attribute" and key.name in self._numeric)
        if sign not in (_FOR_NUMBERS if is_number else _FOR_TEXTS):
            raise _wrong(self._text, f"{key.name} cannot be compared with {sign}")
        if sign.endswith("IN"):
            return Condition(key, sign, self._list())
        kind, value = self._next("a value")
        if kind != ("number" if is_number else "text"):
            wanted = "a number" if is_number else "a text in quotes"
            raise _wrong(self._text, f"{key.name} is compared with {wanted}, not with {value!r}")
        return Condition(key, sign, float(value) if is_number else value)

    def _sign(self) -> str:
        kind, said = self._next("a comparison")
        if kind == "sign":
            return "!=" if said == "<>" else said
        word = said.upper() if kind == "key" else ""
        if word == "NOT":
            self._word("IN")
            return "NOT IN"
        if word == "IS":
            if self._word("NULL", "NOT") == "NOT":
                self._word("NULL")
                return "IS NOT NULL"
            return "IS NULL"
        if word not in ("LIKE", "ILIKE", "IN"):
            raise _wrong(self._text, f"a comparison is wanted, not {said!r}")
        return word

    def _list(self) -> tuple[str, ...]:
        found = []
        opening = self._next("(")
        while opening == ("mark", "("):
            kind, said = self._next("a text in quotes")
            if kind != "text":
                break
            found.append(said)
            mark = self._next(")")
            if mark == ("mark", ")"):
                return tuple(found)
            if mark != ("mark", ","):
                break
        raise _wrong(self._text, "a list of texts in parentheses is wanted after IN")
