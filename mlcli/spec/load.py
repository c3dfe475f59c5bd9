"""YAML text -> :class:`Document`: plain values, and for each the line and column where it stands.

One job file is one YAML 1.2 mapping in UTF-8 of at most a megabyte. Anchors, aliases and merge keys work. How scalars
are read is told in :mod:`mlcli.spec.compose`. The Azure ML SDK reads YAML 1.1, where an unquoted ``yes`` is a boolean;
here it stays the word, and schemas take it where a boolean is meant, as the SDK does for the quoted form.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from mlcli.domain.errors import Diagnostic, InvalidSpecError, Place, Severity
from mlcli.domain.redaction import MASK, is_secret_name, masked
from mlcli.spec.compose import Composer, Fault, Mark, Node, Path_, TooMuch

__all__ = ["MAX_BYTES", "Document", "Path_", "json_path", "load", "shown_line"]

MAX_BYTES = 1_000_000
_MAX_SHOWN = 400
_BREAK = re.compile(r"\r\n|\n|\r")
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_HIDDEN = frozenset({"environment_variables", "environmentVariables"})
_PLAIN_NAME = re.compile(r"[A-Za-z_$][\w$-]*")
_KEY_AND_VALUE = re.compile(r"(?P<before>\s*(?:-\s+)?[\"']?(?P<name>[\w.-]{1,120})[\"']?\s*:\s+)\S.*")
_KEY_IN_FLOW = re.compile(r"[{,]\s*[\"']?(?P<name>[\w.-]{1,120})[\"']?\s*:\s*")


@dataclass(frozen=True, eq=False)
class Document:
    """A job file as it was written: ``tree`` holds plain dicts (keys are text), lists and scalars; aliases share objects,
    so the tree is never to be changed in place. ``faults``: what is wrong with the YAML and still leaves a tree to check
    (keys that are given twice; the last one counts).
    """

    file: str
    text: str
    tree: Any
    marks: Mark
    faults: tuple[Diagnostic, ...] = ()

    @cached_property
    def _lines(self) -> list[str]:
        return _BREAK.split(self.text)

    def place(self, path: Path_, *, key: bool = False) -> Place:
        """Where the value at ``path`` stands (with ``key``: its key); for a missing one, its nearest ancestor."""
        mark, origin = self.marks, self.marks.origin
        line, column = mark.line, mark.column
        for position, step in enumerate(path):
            child = mark.children.get(step)
            if child is None:
                if position:
                    line, column = self._key_place(path[:position]) or (line, column)
                break
            mark, origin = child, child.origin or origin
            line, column = mark.line, mark.column
        else:
            if key and path:
                line, column = self._key_place(path) or (line, column)
        return Place(origin or self.file, line, column)

    def written(self, path: Path_) -> str | None:
        """The text of the unquoted scalar at ``path`` as it stands in the file (``0.10``, ``1e-4``), None for anything
        else.
        """
        mark = self._mark(path)
        return mark.written if mark else None

    def source_line(self, line: int) -> str:
        """One line of the file, without its line break; empty when there is no such line."""
        return self._lines[line - 1] if 0 < line <= len(self._lines) else ""

    def json_path(self, path: Path_) -> str:
        """``("inputs", "iris", 0)`` -> ``$.inputs.iris[0]``."""
        return json_path(path)

    def diagnose(
        self,
        path: Path_,
        code: str,
        message: str,
        *,
        hint: str | None = None,
        key: bool = False,
        severity: Severity = Severity.ERROR,
        within: str | None = None,
    ) -> Diagnostic:
        """A diagnostic about the value at ``path`` (with ``key``: about its key; ``within``: about the first occurrence of
        this text in it).
        """
        place = self.place(path, key=key)
        if within and place.file == self.file:
            place = self._occurrence(place, within) or place
        source = None
        if place.file == self.file:
            source = shown_line(self.source_line(place.line), secret=bool(_HIDDEN.intersection(path)))
        return Diagnostic(place, code, message, json_path(path), hint, source, severity)

    def with_tree(self, tree: Any, marks: Mark) -> Document:
        """The same file with other values."""
        return replace(self, tree=tree, marks=marks)

    def _occurrence(self, start: Place, text: str) -> Place | None:
        """Where ``text`` first stands at or after ``start``, when it stands on one line as it is."""
        for number in range(start.line, len(self._lines) + 1):
            column = self._lines[number - 1].find(text, start.column - 1 if number == start.line else 0)
            if column >= 0:
                return Place(start.file, number, column + 1)
        return None

    def _mark(self, path: Path_) -> Mark | None:
        mark: Mark | None = self.marks
        for step in path:
            mark = mark.children.get(step) if mark else None
        return mark

    def _key_place(self, path: Path_) -> tuple[int, int] | None:
        parent, last = self._mark(path[:-1]), path[-1]
        return parent.keys.get(last) if parent and isinstance(last, str) else None


def load(text: str | bytes, file: str, *, keep_going: bool = False) -> Document:
    """Read one job file. ``file`` is the name that errors show.

    Raises InvalidSpecError with everything that is wrong with the YAML itself, in file order. ``keep_going``: where a tree
    can be read all the same, that is left in ``faults``, so that the rest of the file is checked in the same go.
    """
    if len(text) > MAX_BYTES:
        message = f"the file is {len(text) / 1e6:.1f} MB; a job file is at most 1 MB"
        hint = "keep data in files of its own and name them as inputs"
        _refuse(file, [], [Fault(1, 1, "file-too-large", message, hint)])
    decoded = _decode(text, file)
    lines = _BREAK.split(decoded)
    _refuse(file, lines, _unprintable(decoded))
    root, faults = _compose(decoded, lines)
    survivable = keep_going and {fault.code for fault in faults} <= {"duplicate-key"}
    if not faults or survivable:
        faults = [*faults, *_not_a_job(root)]
    if not survivable or root is None or not isinstance(root.value, dict):
        _refuse(file, lines, faults)
    assert root is not None  # noqa: S101  (_not_a_job has refused it)
    return Document(file, decoded, root.value, root.mark, _diagnostics(file, lines, faults))


def json_path(path: Path_) -> str:
    """``("inputs", "iris", 0)`` -> ``$.inputs.iris[0]``."""
    steps = []
    for step in path:
        if isinstance(step, int):
            steps.append(f"[{step}]")
        else:
            steps.append(f".{step}" if _PLAIN_NAME.fullmatch(step) else f"[{step!r}]")
    return "$" + "".join(steps)


def shown_line(line: str, *, secret: bool = False) -> str:
    """A source line fit for an error text: no credential of a URL, no value of a secret-looking key, not endless."""
    if secret and ":" in line:
        line = f"{line[: line.index(':') + 1]} {MASK}"
    if len(line) > 5 * _MAX_SHOWN:  # cut at a word, so that no half of a secret is left
        line = line[: 5 * _MAX_SHOWN].rsplit(maxsplit=1)[0]
    line = masked(line)
    found = _KEY_AND_VALUE.fullmatch(line)
    if found and is_secret_name(found["name"]):
        line = found["before"] + MASK
    inside = next((key for key in _KEY_IN_FLOW.finditer(line) if is_secret_name(key["name"])), None)
    if inside:
        line = line[: inside.end()] + MASK
    return line if len(line) <= _MAX_SHOWN else line[:_MAX_SHOWN] + " ..."


def _decode(text: str | bytes, file: str) -> str:
    if isinstance(text, str):
        return text.removeprefix("\ufeff")
    if text.startswith((b"\xff\xfe", b"\xfe\xff")):
        _refuse(file, [], [Fault(1, 1, "not-utf8", "the file is UTF-16, not UTF-8", "save it as UTF-8")])
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = _BREAK.split(text[: error.start].decode("utf-8", "replace"))
        message = f"the byte 0x{text[error.start]:02x} is not UTF-8"
        fault = Fault(len(before), len(before[-1]) + 1, "not-utf8", message, "save the file as UTF-8")
        _refuse(file, _BREAK.split(text.decode("utf-8", "replace")), [fault])
        raise


def _unprintable(text: str) -> list[Fault]:
    faults = []
    for found in _UNPRINTABLE.finditer(text):
        before = _BREAK.split(text[: found.start()])
        message = f"the control character U+{ord(found[0]):04X} cannot stand in YAML"
        hint = 'take it out, or write it as an escape in double quotes, such as "\\x1b"'
        faults.append(Fault(len(before), len(before[-1]) + 1, "unprintable-character", message, hint))
        if len(faults) == 20:
            break
    return faults


def _compose(text: str, lines: list[str]) -> tuple[Node | None, list[Fault]]:
    from mlcli.spec.events import events

    composer = Composer(events(text))
    root = None
    try:
        root = composer.document()
    except TooMuch:
        pass
    except Exception as error:  # noqa: BLE001  (the parser's own defects on odd text are invalid YAML to us)
        from mlcli.spec.syntax import explain

        composer.faults.extend(explain(error, lines))
    return root, composer.faults


def _not_a_job(root: Node | None) -> list[Fault]:
    if root is None or root.value is None:
        return [
            Fault(
                1,
                1,
                "empty-file",
                "the file is empty",
                "a job needs at least 'command' and 'environment', a run configuration a 'script'",
            )
        ]
    if not isinstance(root.value, dict):
        what = "a list" if isinstance(root.value, list) else "a single value"
        message = f"the file holds {what}, and not a map of 'key: value' lines"
        return [
            Fault(
                root.mark.line, root.mark.column, "not-a-mapping", message, "start with a key, such as 'command: ...'"
            )
        ]
    return []


def _refuse(file: str, lines: list[str], faults: list[Fault]) -> None:
    if faults:
        raise InvalidSpecError(_diagnostics(file, lines, faults))


def _diagnostics(file: str, lines: list[str], faults: list[Fault]) -> tuple[Diagnostic, ...]:
    found = []
    for fault in sorted(faults, key=lambda fault: (fault.line, fault.column)):
        line = lines[fault.line - 1] if fault.line <= len(lines) else None
        source = None if line is None else shown_line(line, secret=bool(_HIDDEN.intersection(fault.path)))
        place = Place(file, fault.line, fault.column)
        found.append(Diagnostic(place, fault.code, fault.message, json_path(fault.path), fault.hint, source))
    return tuple(found)
