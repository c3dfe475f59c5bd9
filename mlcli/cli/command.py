"""How a function becomes a typer command: its flags, the ones that every command has, examples in its help.

A command function takes a :class:`Session` and its own flags as keywords (annotated with a ``Flag`` of ``options``); several
commands may share a dataclass whose fields are flags. Its docstring is its help. It answers None or an exit code.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer
from typer.core import TyperCommand

from mlcli.cli import groups, helptext
from mlcli.cli.failures import Interrupted, ReaderGone
from mlcli.cli.options import COMMON, IGNORED, Flag
from mlcli.cli.render import Console
from mlcli.domain.errors import UsageError

if TYPE_CHECKING:
    from mlcli.workspace import Workspace

CommandFunction = Callable[..., "int | None"]
METADATA = "output_metadata_file"
"""The parameter of ``--output-metadata-file``, which every command of a noun may have without a word of its own."""


class Session:
    """One command line being carried out: what it prints to, and the workspace it asks, opened when it is needed."""

    def __init__(self, console: Console, workspace_name: str | None, folder: Path | None = None) -> None:
        self.console = console
        self.workspace_name = workspace_name
        self.folder = folder

    @cached_property
    def services(self) -> Workspace:
        """The workspace: the one that was named, or that of the attached folder, or the one in use."""
        from mlcli.workspace import open_workspace

        return open_workspace(self.workspace_name, None if self.folder is None else self.folder.absolute())

    def tell_notices(self) -> None:
        """What the workspace had to mend meanwhile, if it was opened at all."""
        for sentence in self.services.notices() if "services" in vars(self) else ():
            self.console.notice(sentence)


class _Typed(TyperCommand):
    """A typer command with our help, our words for what is wrong, and az's way of giving several values to one flag."""

    definition: Command

    def get_params(self, ctx: Any) -> list[Any]:
        """The flags, ``--help`` too."""
        return groups.as_typed(super().get_params(ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Repeat the flag for az's ``--set a=1 b=2``, then parse. Raises UsageError."""
        flags = self.definition.all_flags.values()
        typed, rest = parted(args, flags) if self.definition.has_rest else (args, [])
        try:
            return super().parse_args(ctx, [*spread(typed, flags), *rest])
        except groups.TyperUsageError as error:
            raise groups.refusal(error, ctx, [name for flag in flags for name in flag.names]) from None

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """The help, the same with every release of typer."""
        formatter.write(self.definition.help(ctx.command_path))


@dataclass(frozen=True)
class Command:
    """A function with what its help shows. ``ignored``: flags that it accepts for older scripts' sake."""

    function: CommandFunction
    examples: tuple[str, ...]
    ignored: Mapping[str, Flag] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The help, paragraph by paragraph."""
        return "\n".join(line.strip() for line in (self.function.__doc__ or "").strip().splitlines())

    @property
    def summary(self) -> str:
        """The first paragraph of the help."""
        return " ".join(self.text.partition("\n\n")[0].split())

    @cached_property
    def flags(self) -> Mapping[str, Flag]:
        """Its own flags: parameter name -> flag, in the place of a shared dataclass those of its fields."""
        hints: dict[str, Any] = {}
        for name, hint in get_type_hints(self.function, include_extras=True).items():
            hints |= get_type_hints(hint, include_extras=True) if is_dataclass(hint) else {name: hint}
        return {name: mark for name, hint in hints.items() for mark in _marks(hint)}

    @cached_property
    def _shared(self) -> Mapping[str, type]:
        """The dataclasses of flags among its parameters."""
        hints = get_type_hints(self.function, include_extras=True)
        return {name: hint for name, hint in hints.items() if is_dataclass(hint) and isinstance(hint, type)}

    @cached_property
    def _defaults(self) -> Mapping[str, Any]:
        shared = (each for bundle in self._shared.values() for each in fields(bundle))
        return {
            **{each.name: each.default for each in shared if each.default is not MISSING},
            **(self.function.__kwdefaults__ or {}),
        }

    @cached_property
    def all_flags(self) -> Mapping[str, Flag]:
        """Its own, the ones that every command has, and those that are ignored, without the names that its own have."""
        own = {name for flag in self.flags.values() for name in flag.names}
        left = {name: tuple(typed for typed in flag.names if typed not in own) for name, flag in self.ignored.items()}
        ignored = {name: replace(flag, names=left[name]) for name, flag in self.ignored.items() if left[name]}
        return {**IGNORED, **ignored, **COMMON, **self.flags}

    @property
    def has_rest(self) -> bool:
        """Whether everything from the first word on that belongs to no flag is one of its values."""
        return any(flag.rest for flag in self.flags.values())

    def build(self, name: str) -> Any:
        """The command object that typer runs."""
        single = typer.Typer(add_completion=False, rich_markup_mode=None, context_settings=dict(groups.SETTINGS))
        single.command(name, cls=_Typed)(self._flat())
        built: Any = typer.main.get_command(single)
        built.definition = self
        return built

    def help(self, path: str) -> str:
        """The text of ``--help``."""
        return helptext.command(
            self.usage(path),
            self.text,
            {
                "Arguments": {flag.metavar or "": flag.help for flag in self.flags.values() if flag.named},
                "Flags": {
                    flag.shown: "The same, by flag." if flag.named else flag.help
                    for flag in self.flags.values()
                    if not flag.rest
                },
                "Flags of every command": {flag.shown: flag.help for flag in COMMON.values()},
            },
            self.examples,
        )

    def usage(self, path: str) -> str:
        """How it is typed."""
        names = (f"{flag.metavar}..." if flag.many else f"{flag.metavar}" for flag in self.flags.values() if flag.named)
        return " ".join([path, *names, "[FLAGS]"])

    def _flat(self) -> Callable[..., int | None]:
        """The function as typer wants it: one flat list of parameters, no session."""

        def flat(**typed: Any) -> int | None:
            values = {name: self._value(name, flag, typed) for name, flag in self.all_flags.items()}
            own = {name: values[name] for name in self.flags}
            session = _session(values, None if METADATA in own else values.get(METADATA))
            try:
                return self.function(session, **self._arguments(own))
            except KeyboardInterrupt:
                raise Interrupted("by Ctrl-C") from None
            except BrokenPipeError as error:
                raise ReaderGone from error
            finally:
                session.tell_notices()

        parameters = [
            parameter
            for name, flag in self.all_flags.items()
            for parameter in _parameters(name, flag, hidden=self._is_ignored(name))
        ]
        flat.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        flat.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return flat

    def _arguments(self, own: dict[str, Any]) -> dict[str, Any]:
        """The values of its flags as its parameters."""
        shared = {
            name: bundle(**{each.name: own.pop(each.name) for each in fields(bundle)})
            for name, bundle in self._shared.items()
        }
        return {**own, **shared}

    def _is_ignored(self, name: str) -> bool:
        return name not in self.flags and name not in COMMON

    def _value(self, name: str, flag: Flag, typed: Mapping[str, Any]) -> Any:
        """What the function gets for a flag, from the texts that were typed. Raises UsageError."""
        given = typed[name]
        if flag.metavar is None:
            return bool(given)
        if flag.rest:
            return _listed(given)
        if flag.named:
            return _about(flag, [*_listed(typed[f"{name}_flag"]), *_listed(given)])
        if flag.many:
            return [_parsed(flag, text) for text in _listed(given)]
        return self._defaults.get(name) if given is None else _parsed(flag, given)


def _parsed(flag: Flag, text: str) -> Any:
    """The value of a flag's text. Raises UsageError that names the flag."""
    try:
        return flag.parse(text)
    except UsageError as error:
        raise UsageError(f"{flag.names[0]}: {error.message}", hint=error.hint) from None


def _marks(hint: Any) -> Iterator[Flag]:
    """The flag that an annotation carries; Python 3.10 puts ``Optional[...]`` around one whose default is None."""
    for layer in (hint, *getattr(hint, "__args__", ())):
        yield from (mark for mark in getattr(layer, "__metadata__", ()) if isinstance(mark, Flag))


def _parameters(name: str, flag: Flag, *, hidden: bool) -> Iterator[inspect.Parameter]:
    """A flag in typer's words; two for what may be given by flag and by position."""
    complete: Any = {} if flag.complete is None else {"autocompletion": _completer(flag)}
    kind: Any = bool if flag.metavar is None else (list[str] | None) if flag.many else (str | None)
    option: Any = typer.Option(
        *flag.names, metavar=flag.metavar, help=flag.help, hidden=hidden, show_default=False, **complete
    )
    if flag.named:
        argument: Any = typer.Argument(metavar=flag.metavar, help=flag.help, show_default=False, **complete)
        yield _parameter(name, Annotated[list[str] | None, argument], None)
        if not flag.rest:
            yield _parameter(f"{name}_flag", Annotated[kind, option], None)
    else:
        yield _parameter(name, Annotated[kind, option], False if kind is bool else None)


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _completer(flag: Flag) -> Callable[[typer.Context, str], list[str]]:
    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        return flag.complete(incomplete, ctx.params.get("workspace_name")) if flag.complete else []

    return complete


def _listed(value: Any) -> list[str]:
    if value is None:
        return []
    return [value] if isinstance(value, str) else list(value)


def _about(flag: Flag, typed: Iterable[str]) -> Any:
    """What the command is about, however it was given. Raises UsageError for none, or for two where one is meant."""
    values = list(dict.fromkeys(flag.parse(text) for text in typed))
    if not values and flag.required:
        raise UsageError(f"which {flag.named}? give {flag.names[0]} {flag.metavar}")
    if flag.many:
        return values
    if len(values) > 1:
        raise UsageError(f"unknown argument {values[1]!r}", hint=f"the {flag.named} is {values[0]!r} already")
    return values[0] if values else None


def _session(values: Mapping[str, Any], metadata: Path | None) -> Session:
    console = Console(
        metadata=metadata,
        output=values["output"],
        query=values["query"],
        verbose=values["verbose"] or values["debug"],
        quiet=values["only_show_errors"],
    )
    return Session(console, values["workspace_name"], values.get("attached_folder"))


@dataclass(frozen=True)
class Noun:
    """The commands of one noun, in the order in which the help lists them.

    ``ignored``: flags that every one of them accepts for older scripts' sake, unless it has its own of that name. ``absent``:
    commands that az has and this noun has not -> what to do in their place.
    """

    summary: str
    ignored: Mapping[str, Flag] = field(default_factory=dict)
    absent: Mapping[str, str] = field(default_factory=dict)
    commands: dict[str, Command] = field(default_factory=dict)

    def command(
        self, name: str, *examples: str, accepts: Mapping[str, Flag] | None = None
    ) -> Callable[[CommandFunction], CommandFunction]:
        """Add the decorated function as the command ``name``. ``accepts``: flags beside ``ignored``, for this command alone."""

        def add(function: CommandFunction) -> CommandFunction:
            self.commands[name] = Command(function, examples, {**self.ignored, **(accepts or {})})
            return function

        return add

    @property
    def summaries(self) -> Mapping[str, str]:
        """The line of each command in the help."""
        return {name: command.summary for name, command in self.commands.items()}

    def build(self, name: str) -> Any:
        """The group object that typer runs."""

        def build(verb: str) -> Any:
            return self.commands[verb].build(verb)

        return groups.group(name, self.summaries, build, self.help, absent=self.absent)

    def help(self, path: str) -> str:
        """The text of ``--help``."""
        return helptext.group(
            path, self.summary, self.summaries, {"--help, -h": "Show this help; every command has its own."}
        )


def parted(arguments: Sequence[str], flags: Iterable[Flag]) -> tuple[list[str], list[str]]:
    """What is typed up to the first word that belongs to no flag, and from there on, with ``--`` before it. Pure."""
    takes_value = {name: flag.metavar is not None for flag in flags if not flag.rest for name in flag.names}
    at = 0
    while at < len(arguments):
        word = arguments[at]
        if word == "--":
            return list(arguments[:at]), list(arguments[at:])
        if word == "-" or not word.startswith("-"):
            return list(arguments[:at]), ["--", *arguments[at:]]
        at += 2 if takes_value.get(word) else 1
    return list(arguments), []


def spread(arguments: Iterable[str], flags: Iterable[Flag]) -> Iterator[str]:
    """``--set a=1 b=2`` as ``--set a=1 --set b=2``: what follows the first value of a flag with many and reads ``key=value``
    belongs to it; and ``-o=table`` as ``-o table``. Pure.
    """
    known = list(flags)
    many = {name for flag in known if flag.many and not flag.named for name in flag.names}
    short = {name for flag in known if flag.metavar for name in flag.names if len(name) == 2}
    current: str | None = None
    expecting = False
    rest = iter(arguments)
    for argument in rest:
        if argument == "--":
            yield argument
            yield from rest
            return
        if expecting:
            expecting = False
        elif argument in many:
            current, expecting = argument, True
        elif argument.startswith("-") or "=" not in argument:
            current = None
        elif current is not None:
            yield current
        if argument[:2] in short and argument[2:3] == "=":
            yield argument[:2]
            argument = argument[3:]  # noqa: PLW2901
        yield argument
