"""A first job file for a script, with comments that say what else could stand there. Text in, text out.

It is written in today's words (generation G3), so that every editor with a schema and ``az ml`` read it too.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath, PurePosixPath

from mlcli.domain.job import DataInput, Input, LiteralInput, Scalar
from mlcli.spec.script_flags import Flag

_PLAIN = re.compile(r"(?:[A-Za-z_/]|\.\.?/)[\w./@:-]*(?: [\w./@=-]+)*", re.ASCII)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_EXPERIMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_CODE_FOLDERS = frozenset({"src", "code", "scripts", "app"})
_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n", "~"})
_WIDTH = 110
_RUNNERS = {".py": "python", ".sh": "bash", ".r": "Rscript", ".jl": "julia"}
_URL = re.compile(r"(https?://|azureml:)")


@dataclass(frozen=True)
class Starter:
    """What goes into the file.

    ``file``: the job file's own name. ``code``: the folder, relative to the job file. ``environment``: ``current``,
    ``azureml:...``, or the path of a conda file, relative to the job file; ``requirements`` (pip's lines) takes its place when there are any.
    ``flags``: what the script declares; ``inputs``: what some of them get.
    """

    command: str
    code: str
    environment: str
    compute: str
    file: str = "job.yml"
    requirements: tuple[str, ...] = ()
    requirements_file: str = "requirements.txt"
    python: str = "3.11"
    flags: tuple[Flag, ...] = ()
    inputs: Mapping[str, Input] = field(default_factory=dict)
    experiment_name: str | None = None


def is_name(text: str) -> bool:
    """Whether an input may be called so."""
    return _NAME.fullmatch(text) is not None


def experiment_of(folder: PurePath) -> str | None:
    """An experiment name from where a script is: its folder's, or the one above when that only says "code"."""
    name = folder.parent.name if folder.name in _CODE_FOLDERS else folder.name
    return name if _EXPERIMENT.fullmatch(name) else None


def runner(script: str) -> str | None:
    """The shell words that run a script from within its folder (``python train.py``); None when its kind is not known."""
    program = _RUNNERS.get(PurePosixPath(script).suffix.lower())
    return f"{program} {shlex.quote(script)}" if program else None


def offered(flags: Iterable[Flag]) -> dict[str, Input]:
    """The flags that have a value of their own, as inputs: what the script does without flags, open to change."""
    values = ((flag.name, flag.default) for flag in flags if flag.takes == "one")
    return {
        name: LiteralInput(value)
        for name, value in values
        if value is not None and not isinstance(value, bool) and _is_writable(value)
    }


def missing(flags: Iterable[Flag], inputs: Mapping[str, Input]) -> tuple[Flag, ...]:
    """The flags that the script cannot do without and that have no value yet."""
    return tuple(flag for flag in flags if flag.required and flag.takes != "none" and flag.name not in inputs)


def as_input(text: str, *, is_file: bool, is_dir: bool, path: str) -> Input:
    """What a person typed as the value of an input: a file or a folder that exists (``path``: as the job file names it),
    an address, or a literal.
    """
    if is_file or is_dir:
        return DataInput(path, "uri_file" if is_file else "uri_folder")
    if _URL.match(text):
        last = text.split("?", maxsplit=1)[0].rstrip("/").rsplit("/", 1)[-1]
        return DataInput(text, "uri_file" if text.startswith("http") or "." in last else "uri_folder")
    return LiteralInput(_literal(text))


def write(starter: Starter) -> str:
    """The job file's text."""
    return (
        "\n".join([*_head(starter), *_what(starter), *_inputs(starter), *_environment(starter), *_where(starter)])
        + "\n"
    )


def _head(starter: Starter) -> Iterator[str]:
    file = shlex.quote(starter.file) if starter.file.isprintable() else "FILE"
    yield f"# Check it:  mlcli job validate -f {file}        Run it:  mlcli job create -f {file} --stream"
    yield ""
    if starter.experiment_name:
        yield "# Runs with the same experiment name are listed together."
        yield f"experiment_name: {_scalar(starter.experiment_name)}"
        yield ""


def _what(starter: Starter) -> Iterator[str]:
    yield "# The folder that the command runs in, as a copy. .gitignore (or .amlignore) says what is left out."
    yield f"code: {_scalar(starter.code)}"
    yield ""
    yield "# What is run. ${{inputs.NAME}} becomes the input's value, as one word whatever it holds."
    by_name = {flag.name: flag for flag in starter.flags}
    words = [_argument(by_name.get(name), name) for name in _in_order(by_name, starter.inputs)]
    yield from _command(starter.command, words)
    switches = [flag for flag in starter.flags if flag.name not in starter.inputs]
    if switches:
        yield "# The script also takes:"
        yield from (f"#   {_usage(flag)}" for flag in switches)
    yield ""


def _in_order(by_name: Mapping[str, Flag], inputs: Mapping[str, Input]) -> list[str]:
    """Flags first, arguments by position last and in their own order; then inputs that no flag is known for."""
    known = [name for name in by_name if name in inputs]
    return [*(name for name in known if by_name[name].word), *(name for name in known if not by_name[name].word)]


def _argument(flag: Flag | None, name: str) -> str:
    reference = f"${{{{inputs.{name}}}}}"
    return f"{flag.word} {reference}" if flag and flag.word else reference


def _command(command: str, words: Sequence[str]) -> Iterator[str]:
    whole = " ".join([command, *words])
    if "\n" in command or not words:
        yield f"command: {_scalar(command)}"
    elif len(whole) + 9 <= _WIDTH and _foldable(whole):
        yield f"command: {whole}"
    elif _foldable(command):
        yield "command: >-"
        yield from (f"  {line}" for line in _folded([command, *words]))
    else:
        yield f"command: {_scalar(whole)}"


def _foldable(line: str) -> bool:
    """Whether a line of a plain or folded scalar stays the line it is."""
    return line.isprintable() and line == line.strip() and line[:1].isalpha() and ": " not in line and " #" not in line


def _folded(words: Sequence[str]) -> Iterator[str]:
    line = ""
    for word in words:
        if line and len(line) + 1 + len(word) > _WIDTH - 2:
            yield line
            line = ""
        line = f"{line} {word}" if line else word
    yield line


def _usage(flag: Flag) -> str:
    value = {"none": "", "many": " ...", "one": f" {flag.name.upper()}"}[flag.takes] if flag.word else ""
    return f"{flag.word or flag.name}{value}{_note(flag)}"


def _note(flag: Flag | None) -> str:
    if flag is None:
        return ""
    told = [flag.help] if flag.help else []
    if flag.choices:
        told.append(f"one of {', '.join(flag.choices)}")
    text = "; ".join(told).replace("%%", "%").replace("%(default)s", "the default")
    text = "".join(letter for letter in text if letter.isprintable())
    return f"  ({text[:80]}{'...' if len(text) > 80 else ''})" if text else ""


def _inputs(starter: Starter) -> Iterator[str]:
    yield "# Change one for a single run with --set inputs.NAME=VALUE. Files and folders are inputs too, for example:"
    yield "#   data: {type: uri_folder, path: ./data}    (or uri_file; or an http(s) address)"
    if not starter.inputs:
        yield "# inputs:"
    else:
        yield "inputs:"
    by_name = {flag.name: flag for flag in starter.flags}
    for name, value in starter.inputs.items():
        note = _note(by_name.get(name))
        remark = f"  # {note.strip()[1:-1]}" if note else ""
        if isinstance(value, LiteralInput):
            yield f"  {name}: {_scalar(value.value)}{remark}"
        else:
            yield f"  {name}:{remark}"
            yield f"    type: {value.type}"
            yield f"    path: {_scalar(value.path)}"
    yield ""
    yield "# Files that the command leaves in ./outputs are kept with the run. A named output is a folder of its own:"
    yield "# outputs:"
    yield "#   model: {type: uri_folder}                 (then write to ${{outputs.model}})"
    yield ""


def _environment(starter: Starter) -> Iterator[str]:
    yield "# What it runs in: `current` (the python of your shell), a conda file (conda_file: environment.yml), or a container"
    yield "# image (image: python:3.12-slim)."
    if starter.requirements:
        yield "environment:"
        yield f"  # the packages of {starter.requirements_file}"
        yield "  conda_file:"
        yield "    dependencies:"
        yield f"      - python={starter.python}"
        yield "      - pip:"
        yield from (f"          - {_scalar(line)}" for line in starter.requirements)
    elif starter.environment == "current" or starter.environment.startswith("azureml:"):
        yield f"environment: {_scalar(starter.environment)}"
    else:
        yield "environment:"
        yield f"  conda_file: {_scalar(starter.environment)}"
    yield "# environment_variables:"
    yield "#   LOG_LEVEL: info"
    yield ""


def _where(starter: Starter) -> Iterator[str]:
    yield "# Where it runs: `local` is this machine."
    yield f"compute: {_scalar(starter.compute)}"
    yield ""
    yield "# limits:"
    yield "#   timeout: 3600                             (seconds)"


def _is_writable(value: Scalar) -> bool:
    return math.isfinite(value) if isinstance(value, float) else value != ""


def _literal(text: str) -> Scalar:
    if text.lower() in {"true", "false"}:
        return text.lower() == "true"
    for kind in (int, float):
        try:
            value = kind(text)
        except ValueError:
            continue
        if math.isfinite(value) and str(value) == text:
            return value
    return text


def _scalar(value: Scalar) -> str:
    """A value as YAML that every reader, old and new, takes for the same value."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        written = repr(value)
        return written.replace("e", ".0e") if "e" in written and "." not in written else written
    if isinstance(value, int):
        return str(value)
    if _PLAIN.fullmatch(value) and not value.endswith(":") and value.lower() not in _WORDS:
        return value
    if value == ".":
        return "."
    return f'"{"".join(map(_in_quotes, value))}"'


def _in_quotes(letter: str) -> str:
    """A letter as it stands in YAML's double quotes (YAML 1.2, section 5.7)."""
    if letter in '"\\':
        return f"\\{letter}"
    if letter == "\n":
        return "\\n"
    return letter if letter.isprintable() else f"\\U{ord(letter):08x}"
