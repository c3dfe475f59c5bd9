"""``--set a.b=value``: a loaded file with some values replaced, typed as YAML types them.

A value that starts with ``[``, ``{`` or a quote is read as YAML; any other is one plain scalar, so that a command with
``#`` or ``: `` in it needs no second layer of quotes. A step that holds a dot is quoted: ``tags."a.b"=1``. A number picks
an item of a list (``values.0``, or ``values[0]`` as ``az`` writes it), the number after the last one appends. Whether the
path means anything is for the schema to say: the values carry ``--set a.b`` as their place, so an unknown key is reported
there, with the nearest name.

Both ways of naming a compute work in every generation: ``compute.target=local`` (and ``compute.instance_count=2``), which
people know from 2021, and ``compute=local``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mlcli.domain.errors import Diagnostic, InvalidSpecError, Place, Severity
from mlcli.domain.job import Generation
from mlcli.spec.compose import Composer, Mark, Node, Path_, plain_value
from mlcli.spec.generation import Kind, recognise
from mlcli.spec.interpolate import references
from mlcli.spec.load import Document, json_path
from mlcli.spec.validate import did_you_mean

__all__ = ["OPTION", "apply", "idle_inputs", "with_flags"]

OPTION = "--set"
_STEP = re.compile(r"""\s*(?:"([^"]*)"|'([^']*)'|([^."'[]+))\s*((?:\[\d{1,9}\])*)\s*(?:\.(?=.)|$)""")


@dataclass(frozen=True)
class _Override:
    path: Path_
    node: Node
    origin: str


def apply(document: Document, assignments: Sequence[str]) -> Document:
    """``document`` with each ``path=value`` of ``assignments`` set, the later over the earlier.

    Raises InvalidSpecError with every assignment that cannot be read or whose path leads through a single value.
    """
    kind = recognise(document.tree)
    faults: list[Diagnostic] = []
    for assignment in assignments:
        try:
            override = _parse(assignment, document.tree, kind)
            root = _set(Node(document.tree, document.marks), override.path, 0, override)
            document = document.with_tree(root.value, root.mark)
        except InvalidSpecError as error:
            faults.extend(error.diagnostics)
    if faults:
        raise InvalidSpecError(tuple(faults))
    return document


def with_flags(document: Document, given: Mapping[str, tuple[Path_, Any]]) -> Document:
    """``document`` with what flags say: flag -> path and value. The flag is the place of its value."""
    for origin, (path, value) in given.items():
        mark = Mark(1, 1, origin=origin)
        if isinstance(value, dict):
            mark.children.update({key: Mark(1, 1, origin=origin) for key in value})
        override = _Override(path, Node(value, mark), origin)
        root = _set(Node(document.tree, document.marks), path, 0, override)
        document = document.with_tree(root.value, root.mark)
    return document


def idle_inputs(before: Document, after: Document) -> Iterator[Diagnostic]:
    """A warning for each input that was set though the file has none of that name and its command refers to none: most
    likely a name that is misspelt. ``before``: the document without the assignments.
    """
    kind = recognise(after.tree)
    at: Path_ = ("trial",) if kind.type == "sweep" and kind.generation is Generation.G1 else ()
    old, new = (_inputs(document, at) for document in (before, after))
    body = after.tree.get("trial") if kind.type == "sweep" else after.tree
    command = body.get("command") if isinstance(body, dict) else None
    if kind.noun != "job" or not isinstance(command, str):
        return
    used = {found.name.split(".")[0] for found in references(command, kind.generation) if found.kind == "inputs"}
    for name in new:
        if name not in old and name not in used:
            message = f"the file has no input '{name}', and the command does not refer to it"
            hint = did_you_mean(name, old, label="its inputs are")
            path, severity = (*at, "inputs", name), Severity.WARNING
            yield after.diagnose(path, "bad-override", message, hint=hint, severity=severity)


def _inputs(document: Document, at: Path_) -> Mapping[str, Any]:
    body = document.tree
    for step in (*at, "inputs"):
        body = body.get(step) if isinstance(body, dict) else None
    return body if isinstance(body, dict) else {}


def _parse(assignment: str, tree: Mapping[str, Any], kind: Kind) -> _Override:
    name, equals, text = assignment.partition("=")
    if not equals or not name.strip():
        raise _fault(OPTION, (), f"'{name}' sets nothing", "write a path, '=' and a value: --set inputs.rate=0.1")
    origin = f"{OPTION} {name.strip()}"
    steps = _steps(name)
    if steps is None:
        raise _fault(
            origin,
            (),
            "this path is not names parted by single dots",
            'quote a name that holds a dot: tags."a.b"; an item of a list is values[0]',
        )
    node = _value(text, origin, tuple(steps))
    node.mark.origin = origin
    return _Override(_compute_path(tuple(steps), tree, kind, node.value), node, origin)


def _steps(name: str) -> list[str] | None:
    steps, position = [], 0
    while position < len(name):
        found = _STEP.match(name, position)
        if found is None:
            return None
        *names, items = found.groups()
        steps.append(next(name for name in names if name is not None).strip())
        steps += re.findall(r"\d+", items)
        position = found.end()
    return steps if all(steps) else None


def _value(text: str, origin: str, path: Path_) -> Node:
    if text[:1] not in {"[", "{", '"', "'"}:
        return Node(plain_value(text), Mark(1, 1, written=text))
    from ruamel.yaml import YAML

    composer = Composer(iter(YAML(typ="safe", pure=True).parse(text)))
    try:
        root = composer.document()
    except Exception:  # noqa: BLE001  (whatever the parser trips over, the value is not YAML)
        root = None
    if root is not None and not composer.faults:
        return root
    if text[0] in {'"', "'"} and not composer.faults:
        return Node(text, Mark(1, 1))
    message = composer.faults[0].message if composer.faults else "this list or map is not valid YAML"
    raise _fault(origin, path, message, "a list is [1, 2], a map is {a: 1}; put a text that starts so in quotes")


def _compute_path(path: Path_, tree: Mapping[str, Any], kind: Kind, value: Any) -> Path_:
    """The path in the file's own generation, for the names of a compute that the other ones use."""
    if path[:1] != ("compute",) or kind.noun != "job":
        return path
    if kind.generation is Generation.G1:
        inner = path if len(path) > 1 or isinstance(value, dict) else ("compute", "target")
        return ("trial", *inner) if kind.type == "sweep" else inner
    if isinstance(tree.get("compute"), dict):
        return path
    if path == ("compute", "target"):
        return ("compute",)
    if path in {("compute", "instance_count"), ("compute", "instance_type")}:
        return ("resources", path[1])
    return path


def _set(node: Node, path: Path_, depth: int, override: _Override) -> Node:
    """``node`` with the override put in at ``path[depth:]``; nothing of the old tree is changed."""
    if depth == len(path):
        return override.node
    step = path[depth]
    if node.value is None:
        node = Node({}, Mark(1, 1, origin=override.origin))
    if isinstance(node.value, list):
        return _set_item(node, path, depth, override)
    if not isinstance(node.value, dict):
        above = json_path(path[:depth]).removeprefix("$.")
        message = f"'{above}' is a single value, not a map, so '{step}' cannot be set in it"
        raise _fault(override.origin, path, message, f"set all of it: {OPTION} '{above}={{{step}: ...}}'")
    missing = Node(None, Mark(1, 1, origin=override.origin))
    child = Node(node.value[step], node.mark.children[step]) if step in node.value else missing
    child = _set(child, path, depth + 1, override)
    mark = replace(node.mark, children={**node.mark.children, step: child.mark}, keys=dict(node.mark.keys))
    mark.keys.setdefault(str(step), (1, 1))
    return Node({**node.value, step: child.value}, mark)


def _set_item(node: Node, path: Path_, depth: int, override: _Override) -> Node:
    step, length = path[depth], len(node.value)
    index = int(step) if str(step).isascii() and str(step).isdigit() and len(str(step)) < 10 else -1
    if not 0 <= index <= length:
        above = json_path(path[:depth]).removeprefix("$.")
        message = f"'{above}' is a list of {length}, and '{step}' is not one of its items"
        raise _fault(override.origin, path, message, f"items count from 0; {length} appends one")
    missing = Node(None, Mark(1, 1, origin=override.origin))
    child = Node(node.value[index], node.mark.children[index]) if index < length else missing
    child = _set(child, path, depth + 1, override)
    mark = replace(node.mark, children={**node.mark.children, index: child.mark})
    return Node([*node.value[:index], child.value, *node.value[index + 1 :]], mark)


def _fault(origin: str, path: Path_, message: str, hint: str) -> InvalidSpecError:
    return InvalidSpecError((Diagnostic(Place(origin), "bad-override", message, json_path(path), hint),))
