"""Shell completion: what a word may become, and the few lines that make a shell ask.

The shell runs ``mlcli --complete SHELL WORD...``, the last word being the one under the cursor, and gets one answer a line; no
answer leaves the word to the shell's own file names.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from mlcli.cli.app import NOUNS, PROGRAM, load
from mlcli.cli.formats import printable
from mlcli.cli.render import say, write_text
from mlcli.domain.errors import MlcliError, UsageError

if TYPE_CHECKING:
    from mlcli.cli.command import Command
    from mlcli.cli.options import Flag

_BASH = """\
_mlcli_complete() {
    local IFS=$'\\n'
    COMPREPLY=($(mlcli --complete bash "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _mlcli_complete mlcli
"""
_ZSH = """\
#compdef mlcli
_mlcli() {
    local -a found
    found=("${(@f)$(mlcli --complete zsh "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    if [[ -n "$found" ]]; then
        _describe 'mlcli' found
    else
        _files
    fi
}
if [[ "$funcstack[1]" == "_mlcli" ]]; then
    _mlcli "$@"
else
    compdef _mlcli mlcli
fi
"""
_FISH = """\
complete -c mlcli -a '(mlcli --complete fish (commandline -opc)[2..] (commandline -ct) 2>/dev/null)'
"""
SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def run(flag: str, arguments: list[str]) -> int:
    """``--complete SHELL WORD...``, ``--show-completion [SHELL]`` or ``--install-completion [SHELL]``."""
    if flag == "--complete":
        shell, *words = arguments
        write_text("".join(f"{_line(shell, value, meaning)}\n" for value, meaning in candidates(words or [""])))
        return 0
    shell = _shell(arguments)
    if flag == "--show-completion":
        write_text(SCRIPTS[shell])
    else:
        _install(shell)
    return 0


def candidates(words: list[str]) -> Iterator[tuple[str, str]]:
    """What the last word may become, each with what it means, given the words before it."""
    *before, typed = words
    if not before:
        yield from _starting(typed, NOUNS)
        return
    if before[0] not in NOUNS:
        return
    from mlcli.cli.command import Command

    member = load(before[0])
    if isinstance(member, Command):
        yield from _of_command(member, before[1:], typed)
    elif len(before) == 1:
        yield from _starting(typed, {name: command.summary for name, command in member.commands.items()})
    elif before[1] in member.commands:
        yield from _of_command(member.commands[before[1]], before[2:], typed)


def _of_command(command: Command, before: list[str], typed: str) -> Iterator[tuple[str, str]]:
    from mlcli.cli.options import COMMON

    flags = {**COMMON, **command.flags}
    open_flag = _named_by(before[-1], flags) if before else None
    workspace = _value_of(flags["workspace_name"], before)
    if open_flag is not None and open_flag.metavar is not None:
        yield from _values(open_flag, typed, workspace)
    elif typed.startswith("-"):
        yield from _starting(typed, {flag.names[0]: flag.help for flag in flags.values()})
    else:
        for flag in command.flags.values():
            if flag.named:
                yield from _values(flag, typed, workspace)


def _values(flag: Flag, typed: str, workspace: str | None) -> Iterator[tuple[str, str]]:
    if flag.complete is not None:
        yield from ((value, "") for value in flag.complete(typed, workspace))


def _named_by(word: str, flags: Mapping[str, Flag]) -> Flag | None:
    return next((flag for flag in flags.values() if word in flag.names), None)


def _value_of(flag: Flag, words: list[str]) -> str | None:
    return next((value for name, value in pairwise(words) if name in flag.names), None)


def _starting(typed: str, known: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    return ((name, meaning) for name, meaning in known.items() if name.startswith(typed))


def _line(shell: str, value: str, meaning: str) -> str:
    if shell == "zsh":
        escaped = value.replace(":", "\\:")
        return f"{escaped}:{meaning}" if meaning else escaped
    return f"{value}\t{meaning}" if shell == "fish" and meaning else value


def _shell(arguments: list[str]) -> str:
    shell = arguments[0] if arguments else Path(os.environ.get("SHELL", "")).name
    if shell not in SCRIPTS:
        raise UsageError(f"no completion for the shell {shell!r}", hint=f"name one of {', '.join(SCRIPTS)}")
    return shell


def _install(shell: str) -> None:
    """Write the script where the shell looks for it; nobody's start-up files are touched."""
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share")
    config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    target, next_step = {
        "bash": (
            data / "bash-completion/completions" / PROGRAM,
            "without the package bash-completion, add to ~/.bashrc: source {}",
        ),
        "zsh": (data / "zsh/site-functions" / f"_{PROGRAM}", "add to ~/.zshrc, before compinit: fpath+=({})"),
        "fish": (config / "fish/completions" / f"{PROGRAM}.fish", ""),
    }[shell]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(SCRIPTS[shell], encoding="utf-8")
    except OSError as error:
        raise MlcliError(
            f"{target} cannot be written: {error.strerror}", hint=f"{PROGRAM} --show-completion {shell}"
        ) from error
    say(f"completion is in {printable(str(target))}; it works in new shells")
    if next_step:
        say(next_step.format(printable(str(target.parent if shell == "zsh" else target))))
