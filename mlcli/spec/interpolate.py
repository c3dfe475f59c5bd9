"""References in a command, and the values that take their place.

Three forms are read:

- ``${{inputs.x}}`` (generations G2 and G3, taken in G1 too): blanks may stand inside; ``${{name}}`` and
  ``${{parent.jobs.a.outputs.b}}`` are of the same form.
- ``{inputs.x}`` and ``{search_space.x}`` (G1 only): nothing but the name may stand inside, and no ``$`` right before it.
  Every other brace is the shell's: ``${VAR}``, awk programs and JSON stay byte for byte.
- ``<inputs.x>``, ``<outputs.x>`` and ``<search_space.x>`` (this project's own, in every generation): a reference only when
  the job has an input (output, parameter) of that name, because ``cat <inputs.txt>copy`` is also a pair of redirections.

``$[[--rate ${{inputs.rate}}]]`` is a fragment that goes away, whole, when an input that it names has no value, or a search
parameter that only some trials have.

Azure ML pastes values into the command as they are. Here each is quoted for the place where it stands
(:mod:`mlcli.spec.shell`), so that it stays one word, or the inside of the word it stands in.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlcli.domain.errors import MlcliError
from mlcli.domain.job import Generation
from mlcli.spec.shell import UnquotableError, fill

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from mlcli.domain.errors import Place
    from mlcli.domain.job import Scalar

_DOLLAR = r"\$\{\{\s*(?P<dollar>[A-Za-z_][\w-]*(?:\.[\w-]+)*)\s*\}\}"
_BRACE = r"(?<!\$)\{(?P<brace>(?:inputs|search_space)\.[A-Za-z0-9_][\w-]*(?:\.[\w-]+)*)\}"
_ANGLE = r"(?<!<)<(?P<angle>(?:inputs|outputs|search_space)\.[A-Za-z_][\w-]*)>"
_EVERY_FORM = re.compile(f"{_DOLLAR}|{_BRACE}|{_ANGLE}")
_WITHOUT_BRACES = re.compile(f"{_DOLLAR}|{_ANGLE}")
_FRAGMENT = re.compile(r"\$\[\[(?P<inside>.*?)\]\]", re.DOTALL)
_MAY_LACK = frozenset({"inputs", "search_space"})
_DEEP_KINDS = ("parent.inputs", "parent.outputs", "parent.jobs")


@dataclass(frozen=True)
class Reference:
    """One reference in a text: ``kind`` (``inputs``, ``outputs``, ``search_space``, ``jobs``, ``parent.inputs``,
    ``parent.outputs``, ``parent.jobs``, or a single word such as ``name``), ``name`` (what stands behind it, empty for a
    single word), ``span`` ((start, end) offsets), ``form`` (``dollar``, ``brace`` or ``angle``), and whether it stands in
    an optional ``$[[...]]`` fragment.
    """

    kind: str
    name: str
    span: tuple[int, int]
    form: str
    optional: bool = False

    @property
    def key(self) -> str:
        """``inputs.x``: how values are named."""
        return f"{self.kind}.{self.name}" if self.name else self.kind


def references(text: str, generation: Generation = Generation.G3) -> tuple[Reference, ...]:
    """Every reference in ``text``, in order; those in angle brackets too, whether or not the job declares them."""
    pattern = _EVERY_FORM if generation is Generation.G1 else _WITHOUT_BRACES
    fragments = [match.span() for match in _FRAGMENT.finditer(text)]
    found = []
    for match in pattern.finditer(text):
        form = match.lastgroup or ""
        kind, name = _split(match[form])
        optional = any(start < match.start() < end for start, end in fragments)
        found.append(Reference(kind, name, match.span(), form, optional))
    return tuple(found)


def rewrite(text: str, generation: Generation, declared: Container[str]) -> str:
    """The text with every reference in today's form, ``${{inputs.x}}``, and nothing else changed.

    ``declared`` holds the keys (``inputs.x``) that exist; an angle-bracket form of another key is the shell's.
    """
    parts, at = [], 0
    for reference in references(text, generation):
        if reference.form == "angle" and reference.key not in declared:
            continue
        start, end = reference.span
        parts += [text[at:start], "${{", reference.key, "}}"]
        at = end
    return "".join([*parts, text[at:]])


def interpolate(
    command: str,
    values: Mapping[str, str],
    *,
    generation: Generation = Generation.G3,
    place: Place | None = None,
) -> str:
    """The command with each reference replaced by its value, quoted for the shell where it stands.

    ``values``: key (``inputs.x``, ``outputs.y``, ``search_space.z``, ``name``) -> text. An optional input without a value
    is left out of ``values``. ``place``: where the command stands, for errors. Raises MlcliError for a reference without
    a value, and for a value that no quoting can keep whole where it stands; the error never shows the value.
    """
    text = without_absent_fragments(command, values, _MAY_LACK)
    found = [
        reference
        for reference in references(text, generation)
        if reference.form != "angle" or reference.key in values
    ]  # fmt: skip
    for reference in found:
        if reference.key not in values:
            raise MlcliError(
                f"the command refers to {reference.key!r}, which has no value",
                hint=_known(values),
                place=place,
            )
    try:
        return fill(text, [reference.span for reference in found], [values[reference.key] for reference in found])
    except UnquotableError as error:
        where = "" if error.hole is None else f" of {found[error.hole].key!r}"
        raise MlcliError(
            f"the value{where} cannot be put into the command: {error}",
            hint="put the reference elsewhere in the command, or hand the value over in environment_variables",
            place=place,
        ) from error


def literal_text(value: Scalar | None, written: str | None = None) -> str:
    """A literal as text: strings as they are, numbers as the file wrote them, booleans ``True`` and ``False`` (which is
    what the Azure ML SDK sends), nothing as an empty text.

    ``written``: the unquoted scalar as it stands in the file; it counts for decimal numbers (``0.10``, ``1e-4``), while a
    number in another notation (``0x1F``) becomes its decimal value.
    """
    if value is None:
        return ""
    if isinstance(value, (bool, str)) or written is None:
        return str(value)
    return written if re.fullmatch(r"[-+]?(\d+|\d+\.\d*|\.\d+)([eE][-+]?\d+)?", written) else str(value)


def _split(key: str) -> tuple[str, str]:
    for kind in _DEEP_KINDS:
        if key.startswith(f"{kind}."):
            return kind, key[len(kind) + 1 :]
    kind, _, name = key.partition(".")
    return kind, name


def without_absent_fragments(command: str, values: Container[str], kinds: Container[str]) -> str:
    """The command without the optional fragments that refer to something of these ``kinds`` that is not among ``values``
    (keys), and with the others' brackets taken off; fragments that refer to nothing of these kinds stay as they are.
    """

    def resolved(match: re.Match[str]) -> str:
        named = [found for found in references(match["inside"]) if found.form == "dollar" and found.kind in kinds]
        if not named:
            return match[0]  # bash's old arithmetic, or a pattern: not ours
        return match["inside"] if all(found.key in values for found in named) else ""

    return _FRAGMENT.sub(resolved, command)


def _known(values: Mapping[str, str]) -> str:
    return f"it can refer to: {', '.join(sorted(values))}" if values else "the job declares no inputs and no outputs"
