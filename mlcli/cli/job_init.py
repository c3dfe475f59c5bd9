"""``job init``: a first job file for a script, from what lies around it and what the person says."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlcli.domain.errors import InvalidSpecError, MlcliError, NotFoundError, Severity, UsageError
from mlcli.spec import requirements, starter
from mlcli.spec.load import shown_line
from mlcli.spec.script_flags import Flag, read_flags

if TYPE_CHECKING:
    from mlcli.cli.command import Session
    from mlcli.domain.job import Input

CONDA_FILES = ("environment.yml", "environment.yaml", "conda.yml", "conda.yaml", "conda_dependencies.yml")
REQUIREMENTS_FILE = "requirements.txt"
_LONGEST_SCRIPT = 1_000_000


@dataclass(frozen=True)
class Wish:
    """What the person said on the command line; None: not said."""

    script: Path
    target: Path
    command: str | None
    environment: str | None
    compute: str | None
    inputs: Sequence[str]
    force: bool


def write_starter(session: Session, wish: Wish) -> dict[str, Any]:
    """Write the job file and answer what it holds."""
    _check_target(wish)
    content = _content(session, wish)
    text = starter.write(content)
    _check_text(text, wish.target)
    try:
        wish.target.parent.mkdir(parents=True, exist_ok=True)
        wish.target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise MlcliError(f"{wish.target} cannot be written: {error.strerror}") from error
    shown = shlex.quote(str(wish.target))
    session.console.notice(f"written: {wish.target}   run it: mlcli job create -f {shown} --stream")
    return {
        "file": str(wish.target),
        "code": content.code,
        "command": content.command,
        "environment": content.environment,
        "compute": content.compute,
        "inputs": list(content.inputs),
    }


def _check_target(wish: Wish) -> None:
    if not wish.script.is_file():
        what = "is a folder" if wish.script.is_dir() else "does not exist"
        raise NotFoundError(f"the script {wish.script} {what}", hint="mlcli job init train.py")
    if wish.target.exists() and not wish.force:
        raise UsageError(
            f"{wish.target} exists already", hint="--force overwrites it, -f OTHER.yml writes another file"
        )


def _content(session: Session, wish: Wish) -> starter.Starter:
    base = wish.target.absolute().parent
    folder = wish.script.absolute().parent
    command = wish.command or starter.runner(wish.script.name)
    if command is None:
        raise UsageError(
            f"how to run {wish.script.name} cannot be told from its name", hint="say it: --command './run ...'"
        )
    flags = _flags(session, wish)
    inputs = {**starter.offered(flags), **_given(wish.inputs, base)}
    inputs.update(_asked(session, starter.missing(flags, inputs), base))
    environment, lines = _environment(session, wish, folder, base)
    return starter.Starter(
        command=command,
        code=_relative(folder, base),
        environment=environment,
        compute=_compute(session, wish),
        file=wish.target.name,
        requirements=lines,
        requirements_file=environment,
        python=f"{sys.version_info.major}.{sys.version_info.minor}",
        flags=flags,
        inputs=inputs,
        experiment_name=starter.experiment_of(folder),
    )


def _flags(session: Session, wish: Wish) -> tuple[Flag, ...]:
    """What the script takes; nothing when the person gave the whole command."""
    if wish.command is not None or wish.script.suffix != ".py" or wish.script.stat().st_size > _LONGEST_SCRIPT:
        return ()
    flags = read_flags(wish.script.read_text(encoding="utf-8", errors="replace"))
    if flags is None:
        session.console.notice(f"the flags of {wish.script.name} could not be read: add them to the command by hand")
    return flags or ()


def _given(pairs: Sequence[str], base: Path) -> dict[str, Input]:
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not starter.is_name(name):
            raise UsageError(f"--input {pair!r} is not NAME=VALUE", hint="--input data=./data --input rounds=50")
        found[name] = _as_input(value, base)
    return found


def _as_input(text: str, base: Path) -> Input:
    path = Path(text)
    is_file, is_dir = (path.is_file(), path.is_dir()) if text and len(text) < 1000 else (False, False)
    return starter.as_input(text, is_file=is_file, is_dir=is_dir, path=_relative(path.absolute(), base))


def _asked(session: Session, flags: Sequence[Flag], base: Path) -> Mapping[str, Input]:
    """The values that the script cannot do without. Raises UsageError where nobody is there to ask."""
    if not flags:
        return {}
    if not session.console.interactive:
        hint = " ".join(f"--input {flag.name}=VALUE" for flag in flags)
        raise UsageError(f"the script needs {', '.join(flag.word or flag.name for flag in flags)}", hint=hint)
    return {flag.name: _as_input(session.console.ask(_question(flag)), base) for flag in flags}


def _question(flag: Flag) -> str:
    about = flag.help or (f"one of {', '.join(flag.choices)}" if flag.choices else "a value, a file or a folder")
    return f"{flag.word or flag.name} ({about})"


def _environment(session: Session, wish: Wish, folder: Path, base: Path) -> tuple[str, tuple[str, ...]]:
    """What the job runs in; a requirements file's name with its lines where it is made from them."""
    chosen = wish.environment
    if chosen is None:
        chosen = _nearby(folder)
        if session.console.interactive:
            chosen = session.console.ask("environment (current, a conda file or a requirements file)", chosen)
    if chosen == "current" or chosen.startswith("azureml:"):
        return chosen, ()
    path = Path(chosen)
    if not path.is_file():
        raise NotFoundError(
            f"--environment: there is no file {chosen}", hint="current, azureml:NAME:VERSION, or a file"
        )
    if path.suffix != ".txt":
        return _relative(path.absolute(), base), ()
    lines, left_out = requirements.flatten(path.absolute(), _disk())
    for line in left_out:
        session.console.warn(
            f"{path.name}: left out, for it names a local file or holds a credential: {shown_line(line)}"
        )
    return (path.name, lines) if lines else ("current", ())


def _nearby(folder: Path) -> str:
    """The first environment file beside the script or in the current folder."""
    for place in (folder, Path.cwd()):
        for name in (*CONDA_FILES, REQUIREMENTS_FILE):
            if (place / name).is_file():
                return os.path.relpath(place / name)
    return "current"


def _compute(session: Session, wish: Wish) -> str:
    if wish.compute is not None:
        return wish.compute
    return session.console.ask("compute", "local") if session.console.interactive else "local"


def _relative(path: Path, base: Path) -> str:
    return Path(os.path.relpath(path, base)).as_posix()


def _disk() -> Any:
    from mlcli.operations.files import DiskFiles

    return DiskFiles()


def _check_text(text: str, target: Path) -> None:
    """Nothing is written that ``job validate`` would refuse. Raises InvalidSpecError."""
    from mlcli.spec.jobs import check_file

    _, found = check_file(text, str(target), target.absolute().parent, _disk())
    if any(one.severity is Severity.ERROR for one in found):
        raise InvalidSpecError(found)
