"""The values of a request, each checked as MLflow checks it. Raises RefusedError."""

from __future__ import annotations

import json
import math
import posixpath
import re
from typing import Any, Iterator
from urllib.parse import unquote

from .errors import RefusedError, invalid

LONGEST_KEY = 250
LONGEST_PARAM = 6000
LONGEST_TAG = 8000
LONGEST_EXPERIMENT_NAME = 500
MOST_IN_BATCH = {"metrics": 1000, "params": 100, "tags": 100}
WORDS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_NAME = re.compile(r"[/\w.\- :]*")
_INT64 = 1 << 63
_HINT = " See MLflow's REST documentation for the call's parameters."

Request = Any  # a decoded JSON object: dict[str, Any]


def invalid_value(path: str, value: Any, why: str) -> RefusedError:
    """The value that is wrong, and why; a long one by its beginning."""
    shown = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    shown = shown if len(shown) <= 300 else shown[:300] + "..."
    return invalid(f"Invalid value {shown} for parameter '{path}' supplied: {why}")


def _absent(path: str) -> RefusedError:
    return invalid(f"Missing value for required parameter '{path}'.{_HINT}")


def text(request: Request, name: str, path: str = "") -> str:
    """A text that must be there and is not empty."""
    value = optional_text(request, name, path)
    if not value:
        raise _absent(path or name)
    return value


def optional_text(request: Request, name: str, path: str = "") -> str | None:
    """A text, None where there is none."""
    value = request.get(name)
    if value is not None and not isinstance(value, str):
        raise invalid_value(path or name, value, f"a text is wanted, not {_kind(value)}.{_HINT}")
    return value


def integer(request: Request, name: str, path: str = "") -> int | None:
    """A 64-bit integer, as number or as text; None where there is none."""
    value = request.get(name)
    if value is None:
        return None
    try:
        if isinstance(value, (bool, list, dict)):
            raise ValueError
        number = int(value)
        if not -_INT64 <= number < _INT64 or (isinstance(value, float) and number != value):
            raise ValueError
    except (ValueError, OverflowError):
        raise invalid_value(path or name, value, f"a 64-bit integer is wanted, not {_kind(value)}.{_HINT}") from None
    return number


def required_integer(request: Request, name: str, path: str = "") -> int:
    """An integer that must be there."""
    value = integer(request, name, path)
    if value is None:
        raise _absent(path or name)
    return value


def number(request: Request, name: str, path: str = "") -> float:
    """A double that must be there: a number, its text, or one of the words for what JSON has no number for."""
    value = request.get(name)
    if value is None or value == "":
        raise _absent(path or name)
    try:
        if isinstance(value, (bool, list, dict)):
            raise ValueError
        return WORDS[value] if value in WORDS else float(value)
    except (ValueError, OverflowError):
        why = f"a 64-bit floating point number is wanted, not {_kind(value)}.{_HINT}"
        raise invalid_value(path or name, value, why) from None


def items(request: Request, name: str) -> list[dict[str, Any]]:
    """A list of objects, empty where there is none."""
    value = request.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise invalid_value(name, value, f"a list of objects is wanted.{_HINT}")
    return value


def texts(request: Request, name: str) -> list[str]:
    """A list of texts, empty where there is none. One text is a list of one: so a query string has it."""
    value = request.get(name)
    value = [] if value is None else [value] if isinstance(value, str) else value
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise invalid_value(name, value, f"a list of texts is wanted.{_HINT}")
    return value


def most(request: Request, default: int, limit: int) -> int:
    """``max_results``."""
    value = integer(request, "max_results")
    if value is None:
        return default
    if not 0 < value <= limit:
        raise invalid_value("max_results", value, f"it must be between 1 and {limit}.")
    return value


def offset(request: Request) -> int:
    """Where a page begins: tokens are offsets."""
    token = optional_text(request, "page_token")
    if not token:
        return 0
    if not token.isdecimal():
        raise invalid_value("page_token", token, "this server has given no such token.")
    return int(token)


def status(request: Request, name: str, words: dict[int, str]) -> str | None:
    """A word of an enumeration, or its number."""
    value = request.get(name)
    if value is None:
        return None
    word = value if isinstance(value, str) and not value.isdecimal() else words.get(integer(request, name) or 0)
    if word not in words.values():
        raise invalid_value(name, value, f"it must be one of {', '.join(words.values())}.")
    return word


def key(what: str, value: str, path: str = "key") -> str:
    """A name of a metric, parameter or tag."""
    if not _NAME.fullmatch(value):
        allowed = "letters, digits, underscores (_), dashes (-), periods (.), spaces ( ), colons (:) and slashes (/)"
        raise invalid_value(path, value, f"Names may only contain {allowed}.")
    if posixpath.normpath(value) != value or value in (".", "..") or value.startswith(("../", "/")):
        normal = posixpath.normpath(value)
        raise invalid_value(
            path, value, f"Names must not change when they are taken as paths. This would be '{normal}'"
        )
    if len(value) > LONGEST_KEY:
        raise too_long(what, value, LONGEST_KEY)
    return value


def too_long(what: str, value: str, limit: int) -> RefusedError:
    """A text longer than MLflow has it."""
    return invalid(f"{what} '{value[:250]}' had length {len(value)}, which exceeded length limit of {limit}")


def pairs(request: Request, name: str) -> Iterator[tuple[str, str]]:
    """Parameters or tags: the keys as they are, a value that is not there is empty."""
    for index, item in enumerate(items(request, name)):
        path = f"{name}[{index}]"
        yield text(item, "key", f"{path}.key"), optional_text(item, "value", f"{path}.value") or ""


def artifact_path(value: str) -> str:
    """A path below a folder of artifacts, however its characters are written; "" for the folder."""
    plain = value
    for _ in range(5):
        plain = unquote(plain)
    parts = plain.replace("\\", "/").split("/")
    if (
        plain.startswith("/")
        or ".." in parts
        or "\0" in plain
        or any(mark in plain for mark in "?#")
        or ":" in parts[0]
    ):
        raise invalid("Invalid path")
    normal = posixpath.normpath(value)
    return "" if normal == "." else normal


def _kind(value: Any) -> str:
    return {str: "a text", bool: "a boolean", list: "a list", dict: "an object"}.get(type(value), "a number")
