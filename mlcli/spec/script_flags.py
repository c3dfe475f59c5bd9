"""The command-line flags that a Python script declares, read from its text alone: nothing of it is run or imported.

Read are the two forms that nearly every training script uses: ``parser.add_argument("--rate", type=float, default=0.1)``
(argparse) and ``@click.option("--rate", type=float, default=0.1)`` (click). What is not written out as a constant there is
not guessed.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

from mlcli.domain.job import Scalar

_SWITCHES = frozenset({"store_true", "store_false", "store_const", "count", "append_const", "BooleanOptionalAction"})
_OTHER_ACTIONS = frozenset({"help", "version"})
_TYPES = {"int": "integer", "float": "number", "str": "string", "Path": "path", "INT": "integer", "FLOAT": "number"}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Flag:
    """One flag of a script.

    ``word``: as it is typed (``--learning-rate``), empty for an argument by position. ``name``: as an input may be called
    (``learning_rate``). ``type``: ``integer``, ``number``, ``string``, ``path``, or None when the script does not say.
    ``takes``: how many values: ``one``, ``none`` (a switch) or ``many``.
    """

    word: str
    name: str
    type: str | None = None
    default: Scalar | None = None
    required: bool = False
    takes: str = "one"
    help: str = ""
    choices: tuple[str, ...] = ()


def read_flags(source: str) -> tuple[Flag, ...] | None:
    """The flags in the order in which the script declares them; None when that cannot be told: no Python that this
    version reads, or a script with commands of its own below it (subparsers, click groups).
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
        calls = sorted(_calls(tree), key=lambda call: (call.lineno, call.col_offset))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    if any(_called(call) in {"add_subparsers", "group"} for call in calls):
        return None
    found: dict[str, Flag] = {}
    for call in calls:
        flag = _flag(call)
        if flag is not None:
            found.setdefault(flag.name, flag)
    return tuple(found.values())


def _calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def _called(call: ast.Call) -> str:
    function = call.func
    return (
        function.attr if isinstance(function, ast.Attribute) else function.id if isinstance(function, ast.Name) else ""
    )


def _flag(call: ast.Call) -> Flag | None:
    called = _called(call)
    if called not in {"add_argument", "option", "argument"}:
        return None
    words = [word.value for word in call.args if isinstance(word, ast.Constant) and isinstance(word.value, str)]
    by_name = [word for word in words if word.startswith("-")]
    if not words or (called == "option" and not by_name) or (called == "argument" and by_name):
        return None
    word = max(by_name, key=len) if by_name else ""
    name = (word or words[0]).split("/")[0].lstrip("-").replace("-", "_")
    given = {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}
    action = _word(given.get("action"))
    if not _NAME.fullmatch(name) or action in _OTHER_ACTIONS:
        return None
    default = _constant(given.get("default"))
    return Flag(
        word=word.split("/")[0],
        name=name,
        type=_type(given.get("type"), default),
        default=default,
        required=_required(given, word, called),
        takes=_takes(given, action, word),
        help=_text(given.get("help")),
        choices=_choices(given),
    )


def _required(given: dict[str, ast.expr], word: str, called: str) -> bool:
    if "required" in given:
        return _constant(given["required"]) is True and "default" not in given
    optional = _word(given.get("nargs")) in {"?", "*"} or "default" in given
    return not word and called != "option" and not optional


def _takes(given: dict[str, ast.expr], action: str, word: str) -> str:
    if action in _SWITCHES or "is_flag" in given or "/" in word:
        return "none"
    many = {"nargs", "multiple"} & given.keys() and _word(given.get("nargs")) != "?"
    return "many" if many or action in {"append", "extend"} or _word(given.get("type")) == "bool" else "one"


def _type(node: ast.expr | None, default: Scalar | None) -> str | None:
    written = _TYPES.get(_word(node))
    if written or node is not None:
        return written
    if isinstance(default, bool):
        return None
    return "integer" if isinstance(default, int) else "number" if isinstance(default, float) else None


def _choices(given: dict[str, ast.expr]) -> tuple[str, ...]:
    node: ast.AST | None = given.get("choices")
    if isinstance(given.get("type"), ast.Call) and _word(given["type"]) == "Choice":
        node = next(iter(given["type"].args), None)  # type: ignore[attr-defined]
    if not isinstance(node, (ast.List, ast.Tuple, ast.Set)):
        return ()
    return tuple(str(value) for item in node.elts if (value := _constant(item)) is not None)


def _word(node: ast.expr | None) -> str:
    """The last name of what is written (``pathlib.Path`` -> ``Path``), or the text of a constant."""
    if isinstance(node, ast.Call):
        node = node.func
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Name):
        return node.id
    return str(node.value) if isinstance(node, ast.Constant) else ""


def _constant(node: ast.expr | None) -> Scalar | None:
    if isinstance(node, ast.Call) and _word(node) == "Path" and len(node.args) == 1:
        node = node.args[0]
    if node is None:
        return None
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return None
    return value if isinstance(value, (str, int, float, bool)) else None


def _text(node: ast.expr | None) -> str:
    value = _constant(node)
    return " ".join(value.split()) if isinstance(value, str) else ""
