"""Editing a mapping in place, in order, whether it is plain or one of ruamel's that carry a file's comments.

A comment stays with its key. One whose key goes moves to the key that takes its place, or to the one before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping, MutableSequence
from copy import copy
from typing import Any

Body = MutableMapping[str, Any]

# where ruamel keeps the comment behind a value, in the entry of a map's key and of a list's item
_BEHIND_VALUE = 2
_BEHIND_ITEM = 0


def rename(body: Body, old: str, new: str, value: Any = ...) -> None:
    """Put ``new`` where ``old`` stands, with the old value or another one."""
    kept = body[old] if value is ... else _alike(body, value)
    lost = _lost(body, body[old], kept)
    position = list(body).index(old)
    if _is_commented(body):
        entry = body.ca.items.pop(old, None)  # type: ignore[attr-defined]
        del body[old]
        body.insert(position, new, kept)  # type: ignore[attr-defined]
        if entry is not None:
            if isinstance(kept, MutableMapping) and kept:
                lost += _cut_own_lines(entry)
            body.ca.items[new] = entry  # type: ignore[attr-defined]
        _append(body, new, lost)
    else:
        _insert(body, position, new, kept, old)


def put_after(body: Body, anchor: str, key: str, value: Any) -> None:
    """Put a key right behind another one; one that is there already gets the value where it stands."""
    if key in body:
        replace(body, key, value)
    elif _is_commented(body):
        behind = _taken_behind(body, anchor)
        body.insert(list(body).index(anchor) + 1, key, _alike(body, value))  # type: ignore[attr-defined]
        _append(body, key, behind)
    else:
        _insert(body, list(body).index(anchor) + 1, key, value, None)


def move_after(source: Body, key: str, target: Body, anchor: str) -> None:
    """Move a key and its comments from one mapping to another, right behind a key there."""
    entry = source.ca.items.pop(key, None) if _is_commented(source) else None  # type: ignore[attr-defined]
    put_after(target, anchor, key, source[key])
    del source[key]
    kept = {id(token) for token in _tokens(target[key])}
    _append(target, key, [token for token in _flat(entry) if id(token) not in kept])


def replace(body: Body, key: str, value: Any) -> None:
    """Give a key another value."""
    value = _alike(body, value)
    lost = _lost(body, body.get(key), value)
    body[key] = value
    _append(body, key, lost)


def remove(body: Body, key: str) -> None:
    """Take a key out, if it is there."""
    if key not in body:
        return
    position = list(body).index(key)
    lost = [*_entry_tokens(body, key), *_tokens(body[key])] if _is_commented(body) else []
    del body[key]
    if lost:
        body.ca.items.pop(key, None)  # type: ignore[attr-defined]
        keys = list(body)
        if keys:
            _append(body, keys[max(position - 1, 0)], lost)


def replace_word(body: Any, key: str, words: Mapping[str, str]) -> None:
    """Replace a word by today's, in any case; leave every other value."""
    if isinstance(body, MutableMapping):
        word = body.get(key)
        if isinstance(word, str) and word.lower() in words:
            body[key] = words[word.lower()]


def _insert(body: Body, position: int, key: str, value: Any, replaced: str | None) -> None:
    items = [(name, item) for name, item in body.items() if name != replaced]
    items.insert(position, (key, value))
    body.clear()
    body.update(items)


def _is_commented(value: Any) -> bool:
    return hasattr(value, "ca")


def _alike(body: Body, value: Any) -> Any:
    """A new plain map as one of the kind that ``body`` is, so that it can carry comments."""
    make: Any = type(body)
    return make(value) if type(value) is dict and _is_commented(body) else value


def _lost(body: Body, old: Any, new: Any) -> list[Any]:
    """The comments of ``old`` that are not ``new``'s."""
    if not _is_commented(body) or old is new:
        return []
    kept = {id(token) for token in _tokens(new)}
    return [token for token in _tokens(old) if id(token) not in kept]


def _taken_behind(body: Any, key: str) -> list[Any]:
    """The own-line comments behind a key's value: they stand before whatever comes next, so they go with it."""
    if isinstance(body[key], (MutableMapping, MutableSequence)):
        return []
    entry = body.ca.items.get(key)
    token = entry[_BEHIND_VALUE] if entry else None
    if token is None or not token.value.startswith("\n"):
        return []
    entry[_BEHIND_VALUE] = None
    return [token]


def _cut_own_lines(entry: list[Any]) -> list[Any]:
    """Cut off what stands on lines of its own behind a value: where a map takes the value's place, it goes behind that."""
    token = entry[_BEHIND_VALUE]
    first, _, own_lines = token.value.partition("\n") if token else ("", "", "")
    if not own_lines:
        return []
    rest = copy(token)
    rest.value = f"\n{own_lines}"
    if first:
        token.value = f"{first}\n"
    else:
        entry[_BEHIND_VALUE] = None
    return [rest]


def _tokens(value: Any) -> Iterator[Any]:
    """Every comment of a value and of what stands in it, in order."""
    if not _is_commented(value):
        return
    yield from _flat(value.ca.comment)
    is_map = isinstance(value, MutableMapping)
    for key, item in value.items() if is_map else enumerate(value):
        yield from _entry_tokens(value, key)
        yield from _tokens(item)
    yield from _flat(getattr(value.ca, "end", None))


def _entry_tokens(body: Any, key: Any) -> Iterator[Any]:
    yield from _flat(body.ca.items.get(key))


def _flat(entry: Any) -> Iterator[Any]:
    if isinstance(entry, (list, tuple)):
        for item in entry:
            yield from _flat(item)
    elif entry is not None:
        yield entry


def _append(body: Any, key: Any, tokens: list[Any]) -> None:
    """Put comments behind the last value that stands at ``key``."""
    if not tokens:
        return
    while isinstance(body[key], (MutableMapping, MutableSequence)) and len(body[key]) and _is_commented(body[key]):
        body = body[key]
        key = list(body)[-1] if isinstance(body, MutableMapping) else len(body) - 1
    slot = _BEHIND_VALUE if isinstance(body, MutableMapping) else _BEHIND_ITEM
    entry = body.ca.items.setdefault(key, [None, None, None, None])
    there = {id(token) for token in _flat(entry)}
    for token in tokens:
        if id(token) in there:
            continue  # ruamel hangs one comment on a key and on its value
        there.add(id(token))
        joined = copy(token)
        if entry[slot] is not None:
            joined.value = f"{entry[slot].value.removesuffix(chr(10))}\n{token.value.removeprefix(chr(10))}"
            joined.start_mark = entry[slot].start_mark
        entry[slot] = joined
