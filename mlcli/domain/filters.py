"""MLflow's filter grammar for runs, and its order clauses. Pure.

``metrics.accuracy > 0.9 and params.lr < 0.1 and tags.`my tag` LIKE '%x%' and status = 'FINISHED'``. What MLflow takes means
here what it means there: a run that does not have the value never matches, whatever the comparison. Beyond it, parameters
and tags may be compared as numbers (``params.lr < 0.1``), and take IN.
"""

from __future__ import annotations

import difflib
import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from mlcli.domain.errors import UsageError

METRICS, PARAMS, TAGS, ATTRIBUTES = "metrics", "params", "tags", "attributes"
_KINDS = {
    **dict.fromkeys(("metrics", "metric"), METRICS),
    **dict.fromkeys(("params", "param", "parameters", "parameter"), PARAMS),
    **dict.fromkeys(("tags", "tag"), TAGS),
    **dict.fromkeys(("attributes", "attribute", "attr", "run"), ATTRIBUTES),
}
_NUMERIC = frozenset({"start_time", "end_time", "created", "duration", "exit_code"})
_TEXTUAL = frozenset({"run_id", "run_name", "status", "experiment_name", "compute", "user_id", "type", "parent"})
_ALIASES = {"created_time": "created", "run name": "run_name", "name": "run_id", "display_name": "run_name"}
_ORDERING: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_EQUALITY: Mapping[str, Callable[[Any, Any], bool]] = {"=": operator.eq, "!=": operator.ne}
_TOKEN = re.compile(
    r"""(?P<space>\s+)
      | (?P<operator><=|>=|!=|<>|==|=|<|>)
      | (?P<mark>[(),])
      | (?P<number>[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?(?![^\s<>=!(),]))
      | (?P<text>'(?:[^']|'')*'|"(?:[^"]|"")*")
      | (?P<name>(?:[A-Za-z]+\.)?`[^`]+`|[A-Za-z]+\."[^"]+"|[^\s<>=!(),'"`]+)""",
    re.VERBOSE,
)

Value = float | str


@dataclass(frozen=True)
class Candidate:
    """A run as filters see it. An attribute may have several spellings (``Completed``, ``FINISHED``): a tuple."""

    metrics: Mapping[str, float] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    attributes: Mapping[str, float | str | tuple[str, ...] | None] = field(default_factory=dict)

    def value(self, kind: str, key: str) -> float | str | tuple[str, ...] | None:
        """What it has under that name, None when nothing."""
        held: Mapping[str, Any] = getattr(self, kind)
        return held.get(key)


@dataclass(frozen=True)
class Comparison:
    """One condition. ``operator``: in capitals; ``value``: a tuple for IN and NOT IN."""

    kind: str
    key: str
    operator: str
    value: Value | tuple[Value, ...]

    def holds(self, run: Candidate) -> bool:
        """Whether it is so of the run."""
        held = run.value(self.kind, self.key)
        if held is None:
            return False
        spellings = held if isinstance(held, tuple) else (held,)
        if self.operator in {"!=", "NOT IN"}:
            return all(self._one(spelling) for spelling in spellings)
        return any(self._one(spelling) for spelling in spellings)

    def _one(self, held: Value) -> bool:
        if isinstance(self.value, tuple):
            return any(_equal(held, value) for value in self.value) == (self.operator == "IN")
        if self.operator in _ORDERING:
            return _ordered(held, self.value, _ORDERING[self.operator])
        if self.operator in _EQUALITY:
            return _equal(held, self.value) == (self.operator == "=")
        flags = re.IGNORECASE if self.operator == "ILIKE" else 0
        return re.fullmatch(_pattern(str(self.value)), str(held), flags | re.DOTALL) is not None


def _equal(held: Value, value: Value) -> bool:
    if isinstance(value, float):
        return _number(held) == value
    return str(held) == value


def _ordered(held: Value, value: Value, compare: Callable[[Any, Any], bool]) -> bool:
    """As numbers where both are, else as texts; what is no number is neither above nor below one."""
    one, other = _number(held), _number(value)
    if one is not None and other is not None:
        return compare(one, other)
    return not isinstance(value, float) and compare(str(held), value)


def _number(value: Value) -> float | None:
    try:
        return float(value)
    except ValueError:
        return None


def _pattern(like: str) -> str:
    return "".join({"%": ".*", "_": "."}.get(letter, re.escape(letter)) for letter in like)


def matches(conditions: Iterable[Comparison], run: Candidate) -> bool:
    """Whether every condition holds."""
    return all(condition.holds(run) for condition in conditions)


@dataclass(frozen=True)
class Order:
    """One order clause. ``descending``: None when the person did not say."""

    kind: str
    key: str
    descending: bool | None = None


def in_order(runs: Sequence[Any], candidate: Callable[[Any], Candidate], orders: Sequence[Order]) -> list[Any]:
    """The runs, sorted; what lacks a value comes last whichever way, NaN just before it."""
    for order in reversed(orders):
        held = {id(run): _spelling(candidate(run).value(order.kind, order.key)) for run in runs}
        lacking = [run for run in runs if _rank(held[id(run)]) > 0]
        having = [run for run in runs if _rank(held[id(run)]) == 0]
        having.sort(key=lambda run: _sortable(held[id(run)]), reverse=bool(order.descending))
        runs = having + sorted(lacking, key=lambda run: _rank(held[id(run)]))
    return list(runs)


def _spelling(held: float | str | tuple[str, ...] | None) -> Value | None:
    return held[0] if isinstance(held, tuple) else held


def _rank(value: Value | None) -> int:
    if value is None:
        return 2
    return int(isinstance(value, float) and math.isnan(value))


def _sortable(value: Value | None) -> tuple[bool, float, str]:
    """Numbers by size, then texts."""
    as_number = _number(value) if value is not None else None
    if as_number is None or math.isnan(as_number):
        return True, 0.0, str(value)
    return False, as_number, ""


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    at: int


def parse_filter(text: str, flag: str = "--filter") -> tuple[Comparison, ...]:
    """The conditions; none for an empty text. Raises UsageError that points at the place."""
    return _Parser(text, flag).conditions()


def parse_order(text: str, flag: str = "--sort") -> tuple[Order, ...]:
    """The clauses of ``metrics.accuracy DESC, start_time``. Raises UsageError that points at the place."""
    return _Parser(text, flag).orders()


class _Parser:
    """Reads one text from left to right."""

    def __init__(self, text: str, flag: str) -> None:
        self._text = text
        self._flag = flag
        self._tokens = list(self._scan())
        self._next = 0

    def _scan(self) -> Iterable[_Token]:
        at = 0
        while at < len(self._text):
            found = _TOKEN.match(self._text, at)
            if found is None:
                letter = self._text[at]
                quotes = {"'": "the text is not closed", '"': "the text is not closed", "`": "the name is not closed"}
                self._refuse(at, quotes.get(letter, f"{letter!r} has no place here"))
            kind = str(found.lastgroup)
            if kind != "space":
                yield _Token(kind, found[0], at)
            at = found.end()

    def conditions(self) -> tuple[Comparison, ...]:
        found: list[Comparison] = []
        while self._peek() is not None:
            if found:
                self._conjunction()
            found.append(self._comparison())
        return tuple(found)

    def orders(self) -> tuple[Order, ...]:
        found: list[Order] = []
        while True:
            if found:
                self._mark(",")
            kind, key = self._identifier()
            word = self._word("ASC", "DESC")
            found.append(Order(kind, key, None if word is None else word == "DESC"))
            if self._peek() is None:
                return tuple(found)

    def _conjunction(self) -> None:
        here = self._peek()
        if self._word("AND") is None:
            hint = "the grammar has no OR: run the command once for each" if here and _is(here, "OR") else None
            self._refuse(here.at if here else len(self._text), "AND is expected here", hint)

    def _comparison(self) -> Comparison:
        kind, key = self._identifier()
        here = self._take("a comparison (=, !=, <, <=, >, >=, LIKE, ILIKE, IN) is expected here")
        if here.kind == "operator":
            symbol = {"<>": "!=", "==": "="}.get(here.text, here.text)
            return Comparison(kind, key, symbol, self._value(kind, key))
        word = here.text.upper()
        if word in {"LIKE", "ILIKE"}:
            if self._is_number(kind, key):
                self._refuse(here.at, f"{word} is for texts, and {kind}.{key} is a number")
            return Comparison(kind, key, word, self._text_value())
        if word == "NOT":
            word = f"NOT {self._word('IN')}"
        if word not in {"IN", "NOT IN"}:
            self._refuse(here.at, f"{here.text!r} is no comparison", "=, !=, <, <=, >, >=, LIKE, ILIKE, IN or NOT IN")
        return Comparison(kind, key, word, self._list(kind, key))

    def _identifier(self) -> tuple[str, str]:
        here = self._take("a name such as metrics.accuracy is expected here")
        if here.kind != "name":
            self._refuse(here.at, f"a name such as metrics.accuracy is expected, not {here.text!r}")
        prefix, dot, rest = here.text.partition(".")
        if here.text.startswith("`") or not dot:
            return ATTRIBUTES, self._attribute(here, here.text)
        kind = _KINDS.get(prefix.lower())
        if kind is None:
            hint = "metrics.NAME, params.NAME, tags.NAME or attributes.NAME"
            self._refuse(here.at, f"there is no {prefix!r}", hint)
        key = rest[1:-1] if rest[:1] in {"`", '"'} else rest
        if not key:
            self._refuse(here.at + len(here.text), "a name is missing here")
        return kind, self._attribute(here, key) if kind == ATTRIBUTES else key

    def _attribute(self, here: _Token, written: str) -> str:
        name = written.strip("`").lower()
        name = _ALIASES.get(name, name)
        known = _NUMERIC | _TEXTUAL
        if name not in known:
            near = difflib.get_close_matches(name, [*known, *_ALIASES], n=1)
            hint = f"did you mean {near[0]}?" if near else f"attributes: {', '.join(sorted(known))}; or metrics.{name}"
            self._refuse(here.at, f"runs have no attribute {written!r}", hint)
        return name

    def _is_number(self, kind: str, key: str) -> bool:
        return kind == METRICS or (kind == ATTRIBUTES and key in _NUMERIC)

    def _value(self, kind: str, key: str) -> Value:
        here = self._take("a value is expected here")
        if here.kind == "number":
            return float(here.text)
        if here.kind == "text" and not self._is_number(kind, key):
            return _unquoted(here.text)
        if self._is_number(kind, key):
            return self._refuse(here.at, f"{kind}.{key} is compared with a number, not with {here.text}")
        what = f"a number or a text in quotes is expected, not {here.text!r}"
        return self._refuse(here.at, what, f"write '{here.text}'")

    def _text_value(self) -> str:
        here = self._take("a text in quotes is expected here")
        if here.kind != "text":
            self._refuse(here.at, f"a text in quotes is expected, not {here.text!r}", f"write '{here.text}'")
        return _unquoted(here.text)

    def _list(self, kind: str, key: str) -> tuple[Value, ...]:
        self._mark("(")
        found = [self._value(kind, key)]
        while (here := self._take(") is expected here")).text == ",":
            found.append(self._value(kind, key))
        if here.text != ")":
            self._refuse(here.at, f", or ) is expected, not {here.text!r}")
        return tuple(found)

    def _mark(self, mark: str) -> None:
        here = self._take(f"{mark} is expected here")
        if here.text != mark:
            self._refuse(here.at, f"{mark} is expected, not {here.text!r}")

    def _word(self, *words: str) -> str | None:
        here = self._peek()
        if here is None or not _is(here, *words):
            return None
        self._next += 1
        return here.text.upper()

    def _peek(self) -> _Token | None:
        return self._tokens[self._next] if self._next < len(self._tokens) else None

    def _take(self, otherwise: str) -> _Token:
        here = self._peek()
        if here is None:
            self._refuse(len(self._text), otherwise)
        self._next += 1
        return here

    def _refuse(self, at: int, what: str, hint: str | None = None) -> NoReturn:
        shown = "".join(letter if letter.isprintable() else " " for letter in self._text)
        from_here = max(0, at - 70)
        raise UsageError(
            f"{self._flag}: {what}",
            details=(shown[from_here : from_here + 100], f"{' ' * (at - from_here)}^"),
            hint=hint or "such as: metrics.accuracy > 0.9 and params.lr < 0.1 and tags.stage = 'final'",
        )


def _is(token: _Token, *words: str) -> bool:
    return token.kind == "name" and token.text.upper() in words


def _unquoted(text: str) -> str:
    return text[1:-1].replace(text[0] * 2, text[0])
